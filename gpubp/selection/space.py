"""A space of hyperparameters as text: TOML with lists, ranges and single values.

hidden_layer_sizes = [[64], [128, 64]]                         # one of these
learning_rate_init = { low = 1e-4, high = 1e-1, log = true }   # drawn from a range
max_iter = 30                                                  # always this
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from gpubp.backprop.hyperparameter_spec import meant
from gpubp.models.table_estimators import TableEstimator
from gpubp.models.table_parameters import meant_parameter

DIGITS = 4  # significant ones of a drawn number
_KEYS = ("low", "high", "log")


class SpaceError(ValueError):
    """A space cannot be used; the message names the parameter and what is allowed."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included, evenly or on a log scale.

    It has the methods of a distribution of scipy.stats that the samplers call.
    """

    low: float
    high: float
    log: bool = False

    def ppf(self, q: float) -> float:
        """Return the quantile at ``q``, rounded to `DIGITS` digits."""
        value = float(f"{self._at(q, self.low, self.high):.{DIGITS}g}")
        return min(max(value, self.low), self.high)

    def _at(self, q: float, low: float, high: float) -> float:
        if self.log:
            return math.exp(math.log(low) + q * (math.log(high) - math.log(low)))
        return low + q * (high - low)

    def rvs(self, random_state: Any = None) -> float:
        """Return a random number."""
        return self.ppf(check_random_state(random_state).uniform())


class WholeNumbers(Range):
    """Whole numbers from ``low`` to ``high``, both included, evenly or on a log scale."""

    def ppf(self, q: float) -> int:
        """Return the quantile at ``q``."""
        return min(math.floor(self._at(q, self.low, self.high + 1)), int(self.high))

    def pmf(self, k: int) -> float:
        """Return the probability of ``k``."""
        if not self.low <= k <= self.high:
            return 0.0
        if self.log:
            return math.log((k + 1) / k) / math.log((self.high + 1) / self.low)
        return 1 / (self.high - self.low + 1)


Space = dict[str, list[Any] | Range]


def parsed(text: str) -> dict[str, Any]:
    """Return TOML as a dict; raise SpaceError if it is not TOML or has no parameter."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpaceError(f"it is not TOML: {error}") from None
    if not values:
        raise SpaceError("it has no parameter; give at least one, such as dropout = [0.0, 0.2]")
    return values


def space_of(values: Mapping[str, Any], estimator: TableEstimator, y: np.ndarray) -> Space:
    """Return the space of parsed TOML: for each parameter a list or a range.

    y : the targets of the training.

    Raises SpaceError for an unknown parameter, a wrong range and a value that is not allowed.
    """
    check_names(values, [estimator])
    fixed = {n: _plain(v) for n, v in values.items() if not isinstance(v, list | dict)}
    check = _Check(estimator, y, fixed)
    return {name: _entry(name, value, check) for name, value in values.items()}


def check_names(values: Mapping[str, Any], estimators: list[TableEstimator]) -> None:
    """Raise SpaceError, with the nearest name, for a parameter that no estimator has."""
    names = {name: None for each in estimators for name in each.get_params()}
    for name in values:
        if name not in names:
            near = meant_parameter(name, names)
            kinds = " and ".join(type(each).__name__ for each in estimators)
            hint = f"did you mean {near!r}?" if near else f"see the parameters of {kinds}"
            raise SpaceError(f"unknown parameter {name!r}; {hint}")


class _Check:
    """Checks values of parameters.

    fixed : parameters with a single value, which are set for every check.
    """

    def __init__(self, estimator: TableEstimator, y: np.ndarray, fixed: dict[str, Any]) -> None:
        self._estimator, self._y, self._fixed = estimator, y, fixed

    def __call__(self, name: str, value: Any) -> None:
        """Raise SpaceError if the estimator does not allow ``value``."""
        try:
            trial = clone(self._estimator).set_params(**{**self._fixed, name: value})
            trial._validate_params()
            network = trial._network(self._y, (len(self._y), 1), False)
            network._validate_params()
            network._hidden_sizes()
        except (ValueError, TypeError) as error:
            raise SpaceError(f"{name} = {value!r}: {_first_line(error)}") from None

    def allows(self, name: str, value: Any) -> bool:
        """Return whether the estimator allows ``value``."""
        try:
            self(name, value)
        except SpaceError:
            return False
        return True


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0]
    if isinstance(error, InvalidParameterError):
        text = text.partition(" must be ")[2] or text
        return f"it must be {text.partition('. Got ')[0]}"
    return text


def _entry(name: str, value: Any, check: _Check) -> list[Any] | Range:
    if isinstance(value, dict):
        return _range(name, value, check)
    if not isinstance(value, list):
        value = [value]
    if not value:
        raise SpaceError(f"{name} is an empty list; give values, or leave it out")
    return [_allowed(name, _plain(each), check) for each in value]


def _allowed(name: str, value: Any, check: _Check) -> Any:
    """Return an allowed value: "none" is None, which TOML lacks, where None is allowed."""
    if value == "none" and not check.allows(name, value) and check.allows(name, None):
        return None
    check(name, value)
    return value


def _plain(value: Any) -> Any:
    """Return a list as a tuple, as layer sizes and names of columns are given."""
    return tuple(_plain(each) for each in value) if isinstance(value, list) else value


def _range(name: str, given: dict[str, Any], check: _Check) -> Range:
    for key in given:
        if key not in _KEYS:
            near = meant(key, _KEYS)
            hint = f"did you mean {near!r}?" if near else "a range has low, high and log"
            raise SpaceError(f"{name} has the key {key!r}; {hint}")
    for key in ("low", "high"):
        if key not in given:
            raise SpaceError(f"{name} has no {key!r}; a range has low, high and log")
    low, high, log = given["low"], given["high"], given.get("log", False)
    if not _is_number(low) or not _is_number(high) or not isinstance(log, bool):
        raise SpaceError(f"{name}: low and high must be finite numbers, and log true or false")
    if not low < high:
        raise SpaceError(f"{name}: low is {low!r}, which must be below high, {high!r}")
    if log and low <= 0:
        raise SpaceError(f"{name}: low is {low!r}, but a log scale needs low above 0")
    check(name, low)
    check(name, high)
    whole = isinstance(low, int) and isinstance(high, int) and not check.allows(name, low + 0.5)
    kind = WholeNumbers if whole else Range
    return kind(low, high, log) if whole else kind(float(low), float(high), log)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def description(space: Space) -> dict[str, Any]:
    """Return the space as values for JSON, equal for equal spaces."""
    return {
        name: asdict(entry) if isinstance(entry, Range) else list(entry)
        for name, entry in space.items()
    }


def is_log(entry: Any) -> bool:
    """Return whether a parameter is drawn on a log scale."""
    return isinstance(entry, Range) and entry.log


def ranges(space: Space) -> Iterator[str]:
    """Yield the names of the parameters that are ranges, which have no grid."""
    yield from (name for name, entry in space.items() if isinstance(entry, Range))
