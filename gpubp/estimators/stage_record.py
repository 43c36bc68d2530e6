"""The input stage of a fitted estimator in a model file."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.estimators.fitted_stage import stage_of, stage_parts
from gpubp.storage.model_file import ModelFileError, require, require_tensor

# Number of columns of X: with an input stage, the first layer has more inputs.
HEADER = "n_features"


def stage_record(estimator: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the entry of the header, and the tensors; both empty without an input stage."""
    parts = stage_parts(estimator)
    header = {HEADER: int(estimator.n_features_in_)} if parts else {}
    return header, {f"input_stage.{name}": part for name, part in parts.items()}


def read_stage(estimator: Any, header: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Set the input stage and the columns of X; remove its tensors from ``tensors``.

    Raises ModelFileError for anything missing or inconsistent.
    """
    *lead, inputs, _ = estimator.coefs_[0].shape
    estimator.n_features_in_ = inputs
    if estimator._of_fit("input_stage") is None:
        return
    columns = require(header, HEADER, int)
    if not 0 < columns <= inputs:  # checked first, since a stage lists its columns
        raise ModelFileError(
            f"{HEADER!r} is {columns}, but must be from 1 to the {inputs} inputs of the first "
            "layer; restore the file or save the model again"
        )
    try:
        stage = stage_of(estimator._of_fit("input_stage"), columns)
    except ValueError as error:
        raise ModelFileError(f"{error}; restore the file or save the model again") from None
    if stage is None or stage.n_features != inputs:
        raise ModelFileError(
            f"an input stage for {columns} columns does not give the {inputs} inputs of the first "
            "layer; restore the file or save the model again"
        )
    parts, dtype = {}, estimator.coefs_[0].dtype
    for name, shape in stage.parts.items():
        require_tensor(tensors, f"input_stage.{name}", (*lead, *shape))
        parts[name] = tensors.pop(f"input_stage.{name}")
    if {part.dtype for part in parts.values()} != {dtype}:
        raise ModelFileError(
            f"the parameters of the input stage must be of {dtype}, as the weights are; restore "
            "the file or save the model again"
        )
    estimator.n_features_in_ = columns
    estimator._stage_vector = stage.repacked(parts, dtype)
