"""The description of a parameter of a solver, schedule or loss: default, range, documentation.

The tables SOLVERS, SCHEDULES and LOSSES contain these records. Estimators, docstrings, the command
line and the tests read them, so that each parameter is described in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from numbers import Integral, Real
from typing import Any, Literal, TypeVar

import numpy as np

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class HyperparameterSpec:
    """A numeric or boolean parameter of a solver, schedule or loss.

    default : the default; its type (float, int or bool) is the type of the parameter.
    doc : its description in the documentation and the command line.
    low, high : the bounds; high=None for no upper bound. Infinity and NaN are never allowed.
    closed : the bounds that are allowed values: "left", "both" or "neither".
    several : whether a list of such numbers is also allowed.
    """

    name: str
    default: float
    doc: str
    low: float = 0
    high: float | None = None
    closed: Literal["left", "both", "neither"] = "left"
    several: bool = False

    @property
    def kind(self) -> type:
        """The type of the parameter: float, int or bool."""
        return type(self.default)

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.kind is bool:
            return "True or False"
        low, high = f"{self.low:g}", "" if self.high is None else f"{self.high:g}"
        if self.high is None:
            noun = "a whole number" if self.kind is int else "a finite number"
            text = f"{noun} above {low}" if self.closed == "neither" else f"{noun} of {low} or more"
        else:
            text = {
                "left": f"a number from {low} up to, but not including, {high}",
                "both": f"a number from {low} to {high}",
                "neither": f"a number between {low} and {high}",
            }[self.closed]
        return f"{text}, or a list of such numbers" if self.several else text

    def checked(self, value: Any) -> Any:
        """Return ``value`` as a Python number of this kind; a list as a tuple of them.

        Raises ValueError for another type and for a value out of range.
        """
        listed = self.several and (isinstance(value, list | tuple) or np.ndim(value) == 1)
        items = list(value) if listed else [value]
        if not items or not all(self._allows(item) for item in items):
            raise ValueError(f"{self.name} must be {self.allowed}, got {value!r}")
        numbers = tuple(self.kind(item) for item in items)
        return numbers if listed else numbers[0]

    def _allows(self, value: Any) -> bool:
        is_bool = isinstance(value, bool | np.bool_)
        if self.kind is bool or is_bool:
            return self.kind is bool and is_bool
        if not isinstance(value, Integral if self.kind is int else Real):
            return False
        try:
            number = float(value)
        except OverflowError:  # an int too large for a float
            return False
        above = number > self.low if self.closed == "neither" else number >= self.low
        return isfinite(number) and above and self._is_below_high(number)

    def _is_below_high(self, number: float) -> bool:
        if self.high is None:
            return True
        return number <= self.high if self.closed == "both" else number < self.high


# Names of other libraries and textbooks, with the names here.
_SYNONYMS = {
    "sigmoid": "logistic",
    "linear": "identity",
    "swish": "silu",
    "pinball": "quantile",
    **dict.fromkeys(("mae", "l1"), "absolute_error"),
    **dict.fromkeys(("mse", "l2", "rmse"), "squared_error"),
}


def meant(name: Any, known: Iterable[str]) -> str:
    """Return the name among ``known`` that an unknown ``name`` stands for; "" if none is near."""
    if not isinstance(name, str):
        return ""
    known, name = sorted(known), name.lower()
    near = get_close_matches(name, known, n=1) or [""]
    return _SYNONYMS[name] if _SYNONYMS.get(name) in known else near[0]


def entry_of(table: Mapping[str, Entry], name: Any, what: str) -> Entry:
    """Return the entry ``name`` of ``table``.

    what : the name of the argument, for the message.

    Raises ValueError for a name that is not in the table.
    """
    if not isinstance(name, str) or name not in table:
        near = meant(name, table)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"{what} must be one of {sorted(table)}, got {name!r}{hint}")
    return table[name]


def checked(
    owner: str, parameters: Sequence[HyperparameterSpec], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the value of each of ``parameters`` by name: the given one, or its default.

    owner : the entry that has these parameters, for the message, such as "solver 'adam'".

    Raises ValueError for an unknown parameter and for a value out of range.
    """
    known = [parameter.name for parameter in parameters]
    for name in given:
        if name not in known:
            takes = f"only {', '.join(map(repr, known))}" if known else "none"
            raise ValueError(f"{owner} has no parameter {name!r}; it takes {takes}")
    return {each.name: each.checked(given.get(each.name, each.default)) for each in parameters}


def numbers_of(entries: Mapping[str, Any]) -> dict[str, dict[str, HyperparameterSpec]]:
    """Return the parameters of a table's ``entries`` as name -> {entry: parameter}."""
    found: dict[str, dict[str, HyperparameterSpec]] = {}
    for name, entry in entries.items():
        for parameter in entry.parameters:
            found.setdefault(parameter.name, {})[name] = parameter
    return found
