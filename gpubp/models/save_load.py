"""Saving and loading: estimators and table models to model files and back."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.estimators.serialization import (
    Estimator,
    add_target_scaling,
    columns_of_y,
    from_record,
    to_record,
)
from gpubp.models.table_model import TableModel
from gpubp.storage.model_file import (
    ModelFileError,
    ModelRecord,
    errors_of,
    only_keys,
    read_model,
    require,
    write_model,
)
from gpubp.tables.schema import Schema, stored_standardizer


def save(model: Estimator | TableModel, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator, or a TableModel, to ``path``; nothing in the file is executable.

    The file has what prediction and `loss_curve_` need. It has no optimizer state: partial_fit
    after `load` starts a new optimizer. Nor has it a random generator, or a function for
    ``scoring``: such parameters are None after `load`.

    Raises ModelFileError if the path cannot be written, NotFittedError before fit.
    """
    estimator = model.estimator if isinstance(model, TableModel) else model
    if not isinstance(estimator, MLPClassifier | MLPRegressor):
        raise TypeError(
            f"save takes an MLPClassifier, MLPRegressor or TableModel, got {type(model).__name__}"
        )
    record, tensors = to_record(estimator)
    header: dict[str, Any] = {"estimator": record}
    if isinstance(model, TableModel):
        header["schema"] = model.schema.to_header()
        tensors |= model.schema.tensors()
    try:
        _model_from(header, dict(tensors))
    except ModelFileError as error:
        raise ModelFileError(
            f"the model cannot be saved, its attributes do not fit together ({error}); fit it again"
        ) from None
    write_model(path, ModelRecord(header, tensors))


def load(path: str | os.PathLike[str], *, device: str = "auto") -> Any:
    """Return the model in the file at ``path``: a TableModel from `gpubp train`, else an estimator.

    device : where the loaded model predicts, whatever it was trained on.

    Raises ModelFileError for anything that is not a whole model file this gpubp can read.
    """
    record = read_model(path)
    with errors_of(path):
        model = _model_from(record.header, dict(record.tensors))
    estimator = model.estimator if isinstance(model, TableModel) else model
    estimator.set_params(device=device)
    return model


def _model_from(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Estimator | TableModel:
    """Return the model of a header and its tensors, or raise ModelFileError."""
    only_keys(header, ["estimator", "schema"])
    estimator = from_record(require(header, "estimator", dict), tensors)
    if "schema" not in header:
        only_keys(tensors, [])
        return estimator
    try:
        schema = Schema.from_parts(require(header, "schema", dict), tensors)
        if isinstance(estimator, MLPRegressor) and "targets.mean" in tensors:
            # Versions that kept the scale of the targets beside the columns.
            add_target_scaling(estimator, stored_standardizer("targets", tensors))
            tensors = {name: tensors[name] for name in tensors if not name.startswith("targets.")}
    except ValueError as error:
        raise ModelFileError(f"{error}; restore the file or train the model again") from None
    _check_schema(schema, estimator)
    only_keys(tensors, schema.tensors())
    return TableModel(schema, estimator)


def _check_schema(schema: Schema, estimator: Estimator) -> None:
    classifies = isinstance(estimator, MLPClassifier)
    targets = 1 if isinstance(estimator, MLPClassifier) else columns_of_y(estimator)
    if (
        (schema.task == "classification") != classifies
        or len(schema.features) != estimator.n_features_in_
        or len(schema.targets) != targets
    ):
        raise ModelFileError(
            f"a {schema.task} of {len(schema.features)} columns does not fit the "
            f"{type(estimator).__name__} of {estimator.n_features_in_} features in the same file; "
            "restore the file or train the model again"
        )
