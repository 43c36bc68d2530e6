"""The input stage in the text of `gpubp explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gpubp.explain.example import Example
from gpubp.explain.input_stage import PeriodicTrace, Sizes, StageTrace, TableTrace
from gpubp.explain.text_lines import MOST_UNITS, factor, joined, largest, number, rest


def stage_lines(example: Example, trace: StageTrace) -> Iterator[str]:
    """Yield the stage of one step: features, gradients, and the parameters after the step."""
    columns, names = example.columns, example.names[0]
    shown = largest(trace.X, MOST_UNITS)
    yield f"row: {joined([f'{columns[i]} {trace.X[i]:.6g}' for i in shown], len(columns), ', ')}"
    for table in trace.tables:
        yield from _table(columns[table.column], table)
    for column in trace.periodic:
        yield from _periodic(columns[column.column], column)
    yield "each feature f is multiplied by its scale s; the product is an input of layer 1:"
    shown = largest(trace.outputs, MOST_UNITS)
    for k in shown:
        yield (
            f"  {names[k]} = s{k + 1} f = {number(trace.scale[k])} * {factor(trace.features[k])}"
            f" = {number(trace.outputs[k])}"
        )
    yield from rest(len(names), MOST_UNITS, "features", "product")
    yield "backward, g = dC/d(s f) is the sum of weight * delta over the units of layer 1:"
    for k in largest(trace.dscale, MOST_UNITS):
        yield (
            f"  dC/ds{k + 1} = g f = {number(trace.g[k])} * {factor(trace.features[k])} = "
            f"{number(trace.dscale[k])}"
        )
        yield f"      new s{k + 1} = {number(trace.new_scale[k])}; {names[k]} becomes " + number(
            trace.new_outputs[k]
        )
    yield from rest(len(names), MOST_UNITS, "scales", "gradient")


def _table(name: str, table: TableTrace) -> Iterator[str]:
    """Yield the vector of the row's level, and those that the step changes."""
    yield f"{name}: the features are the vector of level {table.level} (of 0 to {table.levels - 1})"
    yield f"    {_numbers(table.vectors[table.level])}"
    if not table.changed:
        yield "    the step changes none of its levels"
    sizes = np.abs(table.new - table.vectors)[table.changed].sum(axis=1)
    for k in (table.changed[n] for n in largest(sizes, MOST_UNITS)):
        yield f"    gradient of level {k}: {_numbers(table.gradients[k])}"
        yield f"    new level {k}: {_numbers(table.new[k])}"
    yield from rest(len(sizes), MOST_UNITS, "changed levels", "change")


def _periodic(name: str, column: PeriodicTrace) -> Iterator[str]:
    """Yield the features of a column, and the sizes of its gradients and steps."""
    yield f"{name} = {number(column.x)}: e = V cos(u) + v with u = 2 pi w x + b of 16 frequencies"
    yield f"    e = {_numbers(column.e)}"
    for part, (gradient, step) in zip(Sizes._fields, column.sizes, strict=True):
        yield f"    {part}: gradient of norm {number(gradient)}, changed by {number(step)}"
    yield f"    e becomes {_numbers(column.new_e)}"


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
