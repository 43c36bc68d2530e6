"""What the stages of the page of `gpubp explain` have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpubp.backprop.optimizers import SGD
from gpubp.explain.example import Example
from gpubp.explain.figure import Edges, Figure, Plate
from gpubp.explain.layout import Layout
from gpubp.explain.markup import Words, listing, paragraph
from gpubp.explain.quantities import Quantities
from gpubp.reports.html import escape, number

INPUT = Plate("forward", "", "layers.0.inputs.{}")
TARGET = Plate("target", "target ", "target.{}")


class Stage(NamedTuple):
    """One stage: its number, such as 2.1, its name among the eight, its title, its content.

    figures : one for narrow and one for wide screens.
    """

    key: str
    name: str
    title: str
    figures: tuple[Figure, ...]
    text: str


class Setting:
    """What every stage is told from."""

    def __init__(self, q: Quantities) -> None:
        self.q = q
        self.words = Words(q)
        self.depth = len(q.traces[0].layers)
        self.layouts = [Layout(q), Layout(q, roomy=True)]
        self.biases = q.example.network.bias
        self.company = q.example.name == "company"
        self.sources = list(_sources(q.example))  # of a step, beside the gradient

    def stage(
        self,
        key: str,
        name: str,
        title: str,
        edges: Sequence[Edges],
        plates: Sequence[Sequence[Plate]],
        text: str,
    ) -> Stage:
        """Return the stage with its drawings."""
        figures = (Figure(layout, title, edges, plates) for layout in self.layouts)
        return Stage(key, name, title, tuple(figures), text)

    def aside(self, text: str) -> str:
        """Return what a stage is in a company, for the example of that name."""
        return paragraph(text, kind="aside") if self.company else ""


def _sources(example: Example) -> Iterator[str]:
    if example.alpha:
        yield f"the penalty on large weights (alpha {number(example.alpha)})"
    if not isinstance(example.optimizer, SGD) or example.optimizer.momentum:
        kept = listing([escape(name) for name in example.optimizer.state_names])
        yield f"what the optimizer keeps from the steps before ({kept})"


def output_plate(layer: int) -> Plate:
    """Return the plate with what a layer passes on."""
    return Plate("forward", "", f"layers.{layer}.A.{{}}")


def delta_plate(layer: int) -> Plate:
    """Return the plate with the delta of a layer."""
    return Plate("backward", "δ ", f"layers.{layer}.delta.{{}}")


def parameter_name(matrix: str, layer: int, source: int | None, unit: int) -> str:
    """Return the name of a weight's W, dW or new_W, or without a source that of its bias."""
    if source is None:
        return f"layers.{layer}.{matrix.replace('W', 'b')}.{unit}"
    return f"layers.{layer}.{matrix}.{source}.{unit}"
