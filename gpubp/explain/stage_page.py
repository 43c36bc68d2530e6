"""The input stage on the page of `gpubp explain`: stage 2.0."""

from __future__ import annotations

from gpubp.explain.figure import Edges
from gpubp.explain.input_stage import Sizes
from gpubp.explain.markup import law, paragraph, table
from gpubp.explain.stage import INPUT, Setting, Stage
from gpubp.explain.text_lines import MOST_UNITS, largest
from gpubp.kernels.input_stage import FEATURES, LEVEL_WIDTH
from gpubp.reports.html import element, escape


def input_stage(s: Setting) -> Stage:
    """Return stage 2.0: the features of the columns, their gradients, and the step."""
    d, features = len(s.q.example.columns), s.q.example.network.sizes[0]
    text = paragraph(
        f"In front of the first layer, {d} columns become {features} features. Each feature f "
        "times its scale s is an input of the first layer. The stage learns with the layers: its "
        "gradients begin with g, the sum of w δ over the units of the first layer."
    )
    text += _tables(s) + _periodic(s) + _scales(s)
    edges = [Edges("plain", "W", False)] * s.depth
    plates = [[INPUT], *[[]] * s.depth]
    return s.stage("2.0", "Forward", "The input stage", edges, plates, text)


def columns_of(s: Setting) -> tuple[tuple[int, ...], str, str]:
    """Return the columns of X that the page shows, the name of their quantity, and the rest."""
    q = s.q
    if (trace := q.traces[0].stage) is None:
        return q.shown[0].units, "layers.0.inputs", s.words.others(0)
    shown = tuple(largest(trace.X, MOST_UNITS))
    return shown, "stage.X", _rest(len(trace.X), "columns")


def _tables(s: Setting) -> str:
    """Return the vector of the row's level for each table, its gradient, and the new vector."""
    q, trace = s.q, s.q.traces[0].stage
    assert trace is not None
    parts = []
    for k, of in enumerate(trace.tables[:MOST_UNITS]):
        name, place = escape(q.example.columns[of.column]), f"stage.tables.{k}"
        rows = [
            [str(j + 1), *(q(f"{place}.row.{part}.{j}") for part in range(3))]
            for j in range(LEVEL_WIDTH)
        ]
        parts.append(element("h3", f"{name}: level {q(f'{place}.level')} of its table"))
        parts.append(table(["", "Vector", "Gradient", "New"], rows, cards=False))
    if parts:
        parts.append(
            paragraph(
                "The features of such a column are the vector of the row's level. The other levels "
                "have no gradient.",
                "They may move nevertheless, by the optimizer's state." if s.sources else "",
            )
        )
    return "".join(parts) + _rest(len(trace.tables), "tables")


def _periodic(s: Setting) -> str:
    """Return the features of the periodic columns, and the sizes of gradients and steps."""
    q, trace = s.q, s.q.traces[0].stage
    assert trace is not None
    if not trace.periodic:
        return ""
    text = paragraph("A periodic column x has 16 frequencies w, and 3 features:")
    text += law("e = V cos(u) + v, u = 2π w x + b")
    for k, of in enumerate(trace.periodic[:MOST_UNITS]):
        name, place = escape(q.example.columns[of.column]), f"stage.periodic.{k}"
        text += element("h3", f"{name} = {q(f'{place}.x')}")
        features = [
            [f"e{j + 1}", q(f"{place}.e.{j}", 12), q(f"{place}.new_e.{j}", 12)]
            for j in range(FEATURES)
        ]
        text += table(["", "Before", "After the step"], features)
        sizes = [
            [part, *(q(f"{place}.sizes.{part}.{n}", 12) for n in (0, 1))] for part in Sizes._fields
        ]
        text += table(["", "Norm of the gradient", "Norm of the step"], sizes)
    return text + _rest(len(trace.periodic), "periodic columns")


def _scales(s: Setting) -> str:
    """Return the features, their scales, the gradients of these, and the new scales."""
    q = s.q
    rows = [
        [
            s.words.unit(0, k),
            q(f"stage.features.{k}", 12),
            q(f"stage.scale.{k}", 12),
            q(f"layers.0.inputs.{k}", 12),
            q(f"stage.g.{k}", 12),
            q(f"stage.dscale.{k}", 12),
            q(f"stage.new_scale.{k}", 12),
        ]
        for k in q.shown[0].units
    ]
    text = element("h3", "The scale") + law("dC/ds = g f")
    headers = ["", "f", "s", "s f", "g", "Gradient of s", "New s"]
    return text + table(headers, rows) + s.words.others(0)


def _rest(total: int, what: str) -> str:
    more = total - MOST_UNITS
    return paragraph(f"… and {more} more {what}.", kind="quiet") if more > 0 else ""
