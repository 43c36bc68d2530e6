"""Read model files from before TableEncoder: number columns, each with its mean and scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpubp.estimators.regressor import MLPRegressor
from gpubp.estimators.serialization import Estimator, add_target_scaling
from gpubp.estimators.standardizer import Standardizer
from gpubp.models.number_columns import of_network
from gpubp.models.table_estimators import TableEstimator
from gpubp.models.table_record import check_parts
from gpubp.storage.model_file import ModelFileError, choose, only_keys, require_list
from gpubp.tables.target import TASKS

_RESTORE = "restore the file or train the model again"


def table_of_schema(
    header: Mapping[str, Any], network: Estimator, tensors: dict[str, np.ndarray]
) -> TableEstimator:
    """Return the table estimator of a model file with a "schema".

    header : the schema. network : the fitted network. tensors : arrays of the model file; those
    of the schema are removed from the dict.

    Raises ModelFileError for anything missing, unknown or inconsistent.
    """
    only_keys(header, ["features", "targets", "task"])
    features, targets = (tuple(require_list(header, key, str)) for key in ("features", "targets"))
    names = (*features, *targets)
    if not features or not targets or not all(names) or len(set(names)) < len(names):
        raise ModelFileError(
            f"features are {features!r:.200} and targets {targets!r:.200}, but there must be at "
            f"least one of each, with distinct names; {_RESTORE}"
        )
    scaling = _standardizer("features", tensors)
    if scaling.mean.size != len(features):
        raise ModelFileError(
            f"feature scaling has {scaling.mean.size} columns for {len(features)} features; "
            f"{_RESTORE}"
        )
    if isinstance(network, MLPRegressor) and "targets.mean" in tensors:
        # Some versions saved the scale of the targets with the columns, not with the network.
        try:
            add_target_scaling(network, _standardizer("targets", tensors))
        except ValueError as error:
            raise ModelFileError(f"{error}; {_RESTORE}") from None
    choose(header, "task", TASKS)
    model = of_network(network, features, targets, scaling)
    check_parts(header["task"], len(features), network, targets)
    return model


def _standardizer(prefix: str, tensors: dict[str, np.ndarray]) -> Standardizer:
    """Return the mean and scale stored under ``prefix``, and remove them from ``tensors``."""
    names = [f"{prefix}.{part}" for part in ("mean", "scale")]
    for name in names:
        if name not in tensors:
            raise ModelFileError(f"tensor {name!r} is missing; {_RESTORE}")
    try:
        return Standardizer(*(tensors.pop(name) for name in names))
    except ValueError as error:
        raise ModelFileError(f"{prefix}.{error}; {_RESTORE}") from None
