"""Convert a fitted table estimator to a part of a model file's header, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.serialization import Estimator, columns_of_y, parameters_from, plain
from gpubp.models.table_estimators import TableClassifier, TableEstimator, TableRegressor
from gpubp.models.table_parameters import encoder_parameters
from gpubp.models.table_presets import scaling_of
from gpubp.storage.model_file import ModelFileError, choose, only_keys, require, require_list
from gpubp.tables.encoder import TableEncoder

TABLES: dict[str, type[TableClassifier] | type[TableRegressor]] = {
    "TableClassifier": TableClassifier,
    "TableRegressor": TableRegressor,
}
# Parameters that files of earlier versions do not have, with what they were trained with.
OF_EARLIER_FILES = {"preset": "plain", "scaling": "standard"}
_RESTORE = "restore the file or train the model again"


def table_to_header(model: TableEstimator) -> dict[str, Any]:
    """Return the header of a fitted table estimator: all but its network and encoder's tensors."""
    return {
        "class": type(model).__name__,
        "task": model.task,
        "targets": list(model.target_names_),
        "left_out": model.n_rows_without_target_,
        "parameters": {k: plain(v) for k, v in model.get_params(deep=False).items()},
        "encoder": model.encoder_.to_header(),
        "about": model.about_,
    }


def table_from(
    header: dict[str, Any], network: Estimator, tensors: dict[str, np.ndarray]
) -> TableEstimator:
    """Return the table estimator of a header.

    header : as `table_to_header` returns it. network : the fitted network.
    tensors : arrays of the model file; those of the encoder are removed from the dict.

    Raises ModelFileError for anything missing, unknown or inconsistent.
    """
    only_keys(header, ["class", "task", "targets", "left_out", "parameters", "encoder", "about"])
    kind = TABLES[choose(header, "class", TABLES)]
    choose(header, "task", [kind.task])
    parameters = parameters_from(kind, require(header, "parameters", dict))
    model: TableEstimator = kind(**OF_EARLIER_FILES | parameters)
    encoder = _encoder_from(require(header, "encoder", dict), model, tensors)
    targets = tuple(require_list(header, "targets", str))
    check_parts(model.task, encoder.n_features_out_, network, targets)
    model._set_fitted(encoder, network, targets, require(header, "left_out", int))
    model.about_ = require(header, "about", dict)
    return model


def _encoder_from(
    header: dict[str, Any], model: TableEstimator, tensors: dict[str, np.ndarray]
) -> TableEncoder:
    """Return the fitted encoder, with the parameters of ``model``; remove its tensors."""
    if not (model.na is None or isinstance(model.na, str | tuple)):
        raise ModelFileError(f"'na' is {model.na!r:.200}, but must be a list of texts; {_RESTORE}")
    try:
        model._validate_params()
        encoder = TableEncoder.from_parts(header, tensors)
        own = encoder.tensors()
    except ValueError as error:
        raise ModelFileError(f"{error}; {_RESTORE}") from None
    for name in own:
        tensors.pop(name, None)
    given = {name: getattr(model, name) for name in encoder_parameters()}
    encoder.set_params(**given | {"scaling": scaling_of(vars(model))})
    return encoder


def check_parts(task: str, n_columns: int, network: Estimator, targets: tuple[str, ...]) -> None:
    """Raise ModelFileError unless encoder, network and targets fit together."""
    if isinstance(network, MLPClassifier):
        multilabel = network._binarizer.y_type_.startswith("multilabel")
        n_targets = network.n_outputs_ if multilabel else 1
    else:
        n_targets = columns_of_y(network)
    if (
        isinstance(network, MLPClassifier) != (task == "classification")
        or n_columns != network.n_features_in_
        or len(targets) != n_targets
    ):
        raise ModelFileError(
            f"a {task} of {len(targets)} targets from {n_columns} encoded columns does not "
            f"fit the {type(network).__name__} of {network.n_features_in_} features in the same "
            f"file; {_RESTORE}"
        )
