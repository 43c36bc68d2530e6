"""The input stage of a fitted estimator: its shape, and its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gpubp.backprop.input_stage import InputStage, StageParameters
from gpubp.backprop.network import Network

_KEYS = ("periodic", "tables")


def stage_of(given: Any, n_inputs: int) -> InputStage | None:
    """Return the input stage that the parameter ``input_stage`` describes; None for None.

    n_inputs : the columns of X.

    Raises
    ------
    ValueError
        For an unknown key, a value of another type, or a column that X does not have.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping) or not set(given) <= set(_KEYS):
        raise ValueError(
            "input_stage must be None or a dict with 'periodic' (columns, or 'all') and 'tables' "
            f"({{column: levels}}), got {given!r}"
        )
    tables = {} if given.get("tables") is None else given["tables"]
    if not isinstance(tables, Mapping):
        raise ValueError(f"input_stage['tables'] must be a dict {{column: levels}}, got {tables!r}")
    tables = {_whole(column, "tables"): _whole(n, "tables") for column, n in tables.items()}
    columns = _periodic_columns(given.get("periodic"), n_inputs, tables)
    return InputStage(n_inputs, columns, tuple(tables.items()))


def _periodic_columns(given: Any, n_inputs: int, tables: Mapping[int, int]) -> tuple[int, ...]:
    """Return the columns with periodic features; for "all", those without a table."""
    if given is None:
        return ()
    if isinstance(given, str) and given == "all":
        return tuple(column for column in range(n_inputs) if column not in tables)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"input_stage['periodic'] must be columns of X or 'all', got {given!r}")
    return tuple(_whole(column, "periodic") for column in given)


def _whole(value: Any, key: str) -> int:
    if not isinstance(value, int | np.integer) or value is True or value is False:
        raise ValueError(f"input_stage[{key!r}] must have whole numbers, got {value!r}")
    return int(value)


def fitted_stage(estimator: Any) -> InputStage | None:
    """Return the input stage of a fitted estimator; None if it has none."""
    if estimator._of_fit("input_stage") is None:
        return None
    stage = stage_of(estimator._of_fit("input_stage"), estimator.n_features_in_)
    if stage is None or "_stage_vector" not in vars(estimator):
        raise ValueError(
            "the model has an input_stage, but its parameters are missing; call fit, or set "
            "input_stage=None"
        )
    return stage


def check_same_stage(estimator: Any, before: Any) -> None:
    """Raise ValueError unless a training that goes on has the stage of the last fit.

    before : the parameter ``input_stage`` of that fit.
    """
    now = estimator.input_stage
    was, is_now = (stage_of(each, estimator.n_features_in_) for each in (before, now))
    if was != is_now:
        raise ValueError(
            "warm_start and partial_fit continue with the input_stage of the last fit, "
            f"{before!r}, got {now!r}; use the same input_stage, or fit again with warm_start=False"
        )


def stage_vector(estimator: Any, dtype: np.dtype) -> np.ndarray | None:
    """Return the parameters of the input stage (…, size), in ``dtype``; None without a stage.

    Without a change of dtype, it is the estimator's own array.
    """
    if (stage := fitted_stage(estimator)) is None:
        return None
    vector: np.ndarray = estimator._stage_vector
    if vector.dtype == dtype:
        return vector
    return stage.repacked(stage.views(StageParameters(vector)), dtype)


def set_stage(estimator: Any, network: Network, thetas: list[np.ndarray]) -> None:
    """Set the parameters of the input stage from those of the network, or of each member."""
    vars(estimator).pop("_stage_vector", None)
    if network.stage is not None:
        vectors = [network.stage_vector(theta).copy() for theta in thetas]
        estimator._stage_vector = vectors[0] if estimator.n_members is None else np.stack(vectors)


def stage_parts(estimator: Any) -> dict[str, np.ndarray]:
    """Return views of the parameters of the input stage by name; {} without one."""
    stage = fitted_stage(estimator)
    return {} if stage is None else stage.views(StageParameters(estimator._stage_vector))
