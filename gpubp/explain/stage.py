"""Parts that all stages of the page of `gpubp explain` share."""

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
    """One stage of the page.

    key : its number, such as 2.1. name : on its button. figures : the drawing for narrow screens,
    and the one for wide screens. text : markup.
    """

    key: str
    name: str
    title: str
    figures: tuple[Figure, ...]
    text: str


class Setting:
    """The numbers, names and layouts that every stage is made from."""

    def __init__(self, q: Quantities) -> None:
        self.q = q
        self.words = Words(q)
        self.depth = len(q.traces[0].layers)
        self.layouts = [Layout(q), Layout(q, roomy=True)]
        self.biases = q.example.network.bias
        self.company = q.example.name == "company"
        self.sources = list(_sources(q.example))  # of a step, in addition to the gradient

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
        """Return ``text`` as an aside in the example "company", else ""."""
        return paragraph(text, kind="aside") if self.company else ""


def _sources(example: Example) -> Iterator[str]:
    if example.alpha:
        yield f"the penalty on large weights (alpha {number(example.alpha)})"
    if example.factors is not None:
        yield "the factors of its kind of parameter"
    if not isinstance(example.optimizer, SGD) or example.optimizer.momentum:
        kept = listing([escape(name) for name in example.optimizer.state_names])
        yield f"the optimizer's state from the steps before ({kept})"


def output_plate(layer: int) -> Plate:
    """Return the plate with the outputs of a layer."""
    return Plate("forward", "", f"layers.{layer}.A.{{}}")


def delta_plate(layer: int) -> Plate:
    """Return the plate with the delta of a layer."""
    return Plate("backward", "δ ", f"layers.{layer}.delta.{{}}")


def parameter_name(matrix: str, layer: int, source: int | None, unit: int) -> str:
    """Return the name of a weight's W, dW or new_W; without a source, that of the bias."""
    if source is None:
        return f"layers.{layer}.{matrix.replace('W', 'b')}.{unit}"
    return f"layers.{layer}.{matrix}.{source}.{unit}"
