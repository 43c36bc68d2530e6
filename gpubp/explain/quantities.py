"""The numbers on the page of `gpubp explain`: their units, names and steps.

Markup refers to a number by its index in ``Quantities.names``. The page's data has that list and,
for each step, the values in the same order, so a page holds only the numbers that it shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from gpubp.explain.example import Example
from gpubp.explain.trace import StepTrace
from gpubp.reports.html import element, escape, number

MOST_UNITS = 8  # of a layer; a wider one shows its FEW largest and counts the rest
FEW_UNITS = 6
_MOST_WEIGHED = 1000  # steps
MOST_NUMBERS = 45_000  # of all steps: about 1 MB


@dataclass(frozen=True)
class Shown:
    """The units of one layer that the page shows, and those that it leaves out."""

    units: tuple[int, ...]
    rest: tuple[int, ...]


def shown_units(traces: Sequence[StepTrace]) -> list[Shown]:
    """Return the units to show of each layer, the inputs first.

    The units of a wide layer are ranked by their share of the layer's values forward and of its
    deltas backward, summed over the steps.
    """
    traces = traces[:: -(-len(traces) // _MOST_WEIGHED)]
    layers = traces[0].layers
    parts = [np.zeros(len(layers[0].inputs))] + [np.zeros(len(layer.Z)) for layer in layers]
    with np.errstate(all="ignore"):
        for trace in traces:
            for k, layer in enumerate(trace.layers):
                parts[k] += _part(np.abs(layer.inputs) * np.abs(layer.W).sum(axis=1))
                parts[k + 1] += _part(layer.delta)
    return [_largest(part) for part in parts]


def _part(values: np.ndarray) -> np.ndarray:
    sizes = np.nan_to_num(np.abs(values), nan=0.0, posinf=0.0)
    part: np.ndarray = sizes / max(sizes.sum(), np.finfo(float).tiny)
    return part


def _largest(part: np.ndarray) -> Shown:
    everything = range(len(part))
    if len(part) <= MOST_UNITS:
        return Shown(tuple(everything), ())
    units = sorted(int(j) for j in np.argsort(-part, kind="stable")[:FEW_UNITS])
    return Shown(tuple(units), tuple(j for j in everything if j not in units))


def weight_name(sizes: Sequence[int], layer: int, source: int, unit: int) -> str:
    """Return the name of a weight as in `parameters_of`, without building the whole list."""
    before = sum(d * h for d, h in pairwise(sizes[: layer + 1]))
    return f"w{before + unit * sizes[layer] + source + 1}"


def bias_name(sizes: Sequence[int], layer: int, unit: int) -> str:
    """Return the name of a bias as in `parameters_of`."""
    return f"b{sum(sizes[1 : layer + 1]) + unit + 1}"


def kept_steps(count: int, numbers: int) -> list[int]:
    """Return the indices of the steps, of ``count``, whose numbers a page keeps.

    numbers : how many numbers a step has. If MOST_NUMBERS is not enough for all steps, half of
    the kept steps are the first ones, and the others lie at growing distances up to the last.
    """
    room = max(MOST_NUMBERS // max(numbers, 1), 4)
    if count <= room:
        return list(range(count))
    near = room // 2
    apart = np.geomspace(near, count - 1, room - near).round().astype(int)
    return sorted({*range(near), *(int(k) for k in apart)})


def outcome(trace: StepTrace) -> Literal["smaller", "same", "larger", "lost"]:
    """Return how the step changed the loss of its row; "lost" if it is no longer finite."""
    if not np.isfinite(trace.new_loss):
        return "lost"
    if trace.new_loss == trace.loss:
        return "same"
    return "smaller" if trace.new_loss < trace.loss else "larger"


class Quantities:
    """The numbers of a page, each registered by name where the markup asks for it.

    A name is a path in `StepTrace`, such as ``layers.0.W.1.0``, or one of these:
    ``flow_rest.k.j`` and ``blame_rest.k.j``, the sum of the units that are not shown in Z and in
    error; ``share.k.i.j``, the percentage that unit i gets of all that unit j sends back;
    ``difference.j``, prediction - target; ``move.k.i.j`` and ``move_b.k.j``, old - new;
    ``new.k.j``, outputs of layer k after the step; ``change``, new loss - loss; in the units of
    the table, ``table_input.i``, ``table_target.j``, ``table_prediction.j``, ``table_new.j`` and
    ``table_difference.j``.
    """

    def __init__(self, example: Example, traces: Sequence[StepTrace], shown: list[Shown]) -> None:
        self.example = example
        self.traces = traces
        self.shown = shown
        self.names: list[str] = []
        self._places: dict[str, int] = {}
        self._histories: dict[str, list[float]] = {}

    def place(self, name: str) -> int:
        """Return the index of ``name`` in ``names``; add it if it is new."""
        if name not in self._places:
            self._places[name] = len(self.names)
            self.names.append(name)
        return self._places[name]

    def __call__(
        self,
        name: str,
        digits: int = 6,
        *,
        factor: bool = False,
        kind: str | None = None,
        word: str = "",
    ) -> str:
        """Return the number of the first step as markup that the page's script can fill in.

        digits : significant ones. factor : whether a negative number needs brackets, as in a
        product or after a minus. kind : CSS class. word : text before the number.
        """
        value = self.first(name)
        text = number(value, digits)
        bracketed = f"({text})" if factor and value < 0 else text
        attributes = {
            "class_": kind,
            "data_n": self.place(name),
            "data_d": digits if digits != 6 else None,
            "data_f": factor,
            "data_word": word or None,
        }
        return element("span", escape(word) + bracketed, **attributes)

    def first(self, name: str) -> float:
        """Return the value of a number in the first step."""
        return self.history(name)[0]

    def history(self, name: str) -> list[float]:
        """Return the values of a number in all steps."""
        if name not in self._histories:
            head, _, rest = name.partition(".")
            derived = _DERIVED.get(head)
            if derived is None:
                keys = name.split(".")
                values: list[Any] = [reduce(_part_of, keys, trace) for trace in self.traces]
            else:
                places = [int(key) for key in rest.split(".") if key]
                values = [derived(self, trace, *places) for trace in self.traces]
            self._histories[name] = [float(value) for value in values]
        return self._histories[name]

    def values(self, step: int) -> list[float | str]:
        """Return all registered numbers of one step; NaN and infinities as text, for JSON."""
        numbers = [self.history(name)[step] for name in self.names]
        return [v if math.isfinite(v) else str(v) for v in numbers]

    def largest(self, names: Iterable[str]) -> float:
        """Return the largest absolute value that any of ``names`` has in any step."""
        values = (abs(v) for name in names for v in self.history(name))
        return max((v for v in values if math.isfinite(v)), default=0.0)


def _part_of(thing: Any, key: str) -> Any:
    return thing[int(key)] if key.isdigit() else getattr(thing, key)


def _flow_rest(q: Quantities, trace: StepTrace, k: int, j: int) -> float:
    layer, rest = trace.layers[k], list(q.shown[k].rest)
    return float(layer.inputs[rest] @ layer.W[rest, j])


def _blame_rest(q: Quantities, trace: StepTrace, k: int, j: int) -> float:
    above, rest = trace.layers[k + 1], list(q.shown[k + 2].rest)
    return float(above.W[j, rest] @ above.delta[rest])


def _share(q: Quantities, trace: StepTrace, k: int, i: int, j: int) -> float:
    sizes = np.abs(trace.layers[k].W[:, j])
    return float(100 * sizes[i] / sizes.sum()) if sizes.any() else 0.0


def _difference(q: Quantities, trace: StepTrace, j: int) -> float:
    return float(trace.prediction[j] - trace.target[j])


def _move(q: Quantities, trace: StepTrace, k: int, i: int, j: int) -> float:
    return float(trace.layers[k].W[i, j] - trace.layers[k].new_W[i, j])


def _move_b(q: Quantities, trace: StepTrace, k: int, j: int) -> float:
    b, new_b = trace.layers[k].b, trace.layers[k].new_b
    assert b is not None
    assert new_b is not None
    return float(b[j] - new_b[j])


def _new(q: Quantities, trace: StepTrace, k: int, j: int) -> float:
    return float((*trace.new_hidden, trace.new_prediction)[k][j])


def _change(q: Quantities, trace: StepTrace) -> float:
    return trace.new_loss - trace.loss


def _table_input(q: Quantities, trace: StepTrace, i: int) -> float:
    return q.example.origin.input(trace.row, i)


def _table_target(q: Quantities, trace: StepTrace, j: int) -> float:
    return q.example.origin.output(float(trace.target[j]), j)


def _table_prediction(q: Quantities, trace: StepTrace, j: int) -> float:
    return q.example.origin.output(float(trace.prediction[j]), j)


def _table_new(q: Quantities, trace: StepTrace, j: int) -> float:
    return q.example.origin.output(float(trace.new_prediction[j]), j)


def _table_difference(q: Quantities, trace: StepTrace, j: int) -> float:
    return q.example.origin.distance(_difference(q, trace, j), j)


_DERIVED: dict[str, Callable[..., float]] = {
    "flow_rest": _flow_rest,
    "blame_rest": _blame_rest,
    "share": _share,
    "difference": _difference,
    "move": _move,
    "move_b": _move_b,
    "new": _new,
    "change": _change,
    "table_input": _table_input,
    "table_target": _table_target,
    "table_prediction": _table_prediction,
    "table_new": _table_new,
    "table_difference": _table_difference,
}
