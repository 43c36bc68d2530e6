"""Save estimators and table estimators to model files, and load them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from gpubp.estimators.checkpoint_file import is_checkpoint
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.estimators.serialization import Estimator, from_record, to_record
from gpubp.models.earlier_files import table_of_schema
from gpubp.models.table_estimators import TableClassifier, TableEstimator, TableRegressor
from gpubp.models.table_record import table_from, table_to_header
from gpubp.settings import is_device_name
from gpubp.storage.model_file import (
    ModelFileError,
    ModelRecord,
    errors_of,
    only_keys,
    read_model,
    require,
    write_model,
)

Model = Estimator | TableClassifier | TableRegressor


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a fitted model to the file ``path``.

    Nothing in the file is executable. The file has the weights, the parameters and the fitted
    attributes such as `loss_curve_`, but not the optimizer state: partial_fit after `load` starts
    with a new optimizer. A RandomState or a function, given as ``random_state`` or ``scoring``, is
    not saved either: such parameters are None after `load`.

    model : an MLPClassifier, MLPRegressor, TableClassifier or TableRegressor.

    Raises ModelFileError if the path cannot be written, NotFittedError before fit.
    """
    header, tensors = _record(model)
    try:
        _model_from(header, dict(tensors))
    except ModelFileError as error:
        raise ModelFileError(
            f"the model cannot be saved, as its attributes do not fit together ({error}); fit it "
            "again"
        ) from None
    write_model(path, ModelRecord(header, tensors))


def _record(model: Model) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if isinstance(model, MLPClassifier | MLPRegressor):
        record, tensors = to_record(model)
        return {"estimator": record}, tensors
    if not isinstance(model, TableEstimator):
        raise TypeError(
            "save takes an MLPClassifier, MLPRegressor, TableClassifier or TableRegressor of "
            f"gpubp, got {_name_of(model)}{_advice(model)}"
        )
    check_is_fitted(model)
    record, tensors = to_record(model.network_)
    header = {"estimator": record, "table": table_to_header(model)}
    return header, tensors | model.encoder_.tensors()


def _name_of(model: Any) -> str:
    """Return the class of a model, such as "Pipeline of scikit-learn"."""
    kind = type(model)
    of_sklearn = kind.__module__.startswith("sklearn.")
    return f"{kind.__name__}{' of scikit-learn' * of_sklearn}"


def _advice(model: Any) -> str:
    """Return what to do with a pipeline or search, or another estimator of scikit-learn."""
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.pipeline import Pipeline

    if isinstance(model, Pipeline):
        return (
            "; save all of it with joblib.dump, or only the network with save(pipeline[-1], path)"
        )
    if isinstance(model, BaseSearchCV):
        return (
            "; save all of it with joblib.dump, or only the best model with "
            "save(search.best_estimator_, path)"
        )
    return "; use joblib.dump" if isinstance(model, BaseEstimator) else ""


def load(path: str | os.PathLike[str], *, device: str = "auto") -> Any:
    """Return the model in the file at ``path``.

    It has the class of the saved model: TableClassifier or TableRegressor, which `gpubp train`
    saves, or MLPClassifier or MLPRegressor.

    device : "auto", "cpu", "cuda" or "cuda:N": where the loaded model predicts, whatever device it
    was trained on. The first prediction raises an error if it cannot be used.

    Raises ModelFileError for a file that is not a complete model file this gpubp can read,
    ValueError if ``device`` is not one of these names.
    """
    if not is_device_name(str(device)):
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    record = read_model(path)
    with errors_of(path):
        model = _model_from(record.header, dict(record.tensors))
    model.set_params(device=device)
    if isinstance(model, TableEstimator):
        model.network_.set_params(device=device)
    return model


def _model_from(header: Mapping[str, Any], tensors: dict[str, np.ndarray]) -> Model:
    """Return the model of a header and its tensors; raise ModelFileError if they do not fit."""
    if is_checkpoint(header):
        raise ModelFileError(
            "the checkpoint of a training that has not ended, not a model; start the training "
            "again with the same data and options to go on from it"
        )
    only_keys(header, ["estimator", "schema", "table"])
    if "table" in header and "schema" in header:
        raise ModelFileError(
            "the header has both 'table' and 'schema', but only one is allowed; restore the file "
            "or save the model again"
        )
    estimator = from_record(require(header, "estimator", dict), tensors)
    if "table" in header:
        model: Model = table_from(require(header, "table", dict), estimator, tensors)
    elif "schema" in header:
        model = table_of_schema(require(header, "schema", dict), estimator, tensors)
    else:
        model = estimator
    only_keys(tensors, [])
    return model
