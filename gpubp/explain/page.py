"""The page of `gpubp explain`: the stages of each step, one at a time in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.backprop.optimizers import SGD
from gpubp.explain.backward import backward, gradients, output_delta, update
from gpubp.explain.curves import Curve, curves
from gpubp.explain.example import Example
from gpubp.explain.figure_table import figure_numbers
from gpubp.explain.forward import again, forward, loss, network
from gpubp.explain.markup import sentence
from gpubp.explain.origin import ROBUST, STANDARDISED
from gpubp.explain.quantities import Quantities, kept_steps, outcome, shown_units
from gpubp.explain.script import SCRIPT, STYLE
from gpubp.explain.stage import Setting, Stage
from gpubp.explain.stage_page import input_stage
from gpubp.explain.text import rate_text
from gpubp.explain.trace import StepTrace
from gpubp.reports.html import element, escape, json_script, number, page
from gpubp.reports.tables import scroll_box

_PHONE = 380.0  # pixels for a drawing on a screen of 400
_MOST_COLUMNS = 5  # layers of a drawing that leaves room for text next to it


def explain_page(example: Example, traces: Sequence[StepTrace]) -> str:
    """Return a self-contained HTML page that shows ``traces``, one or more steps of ``example``.

    In a browser without scripts, the page shows all stages of the first step, one below the other.
    """
    with np.errstate(all="ignore"):  # training may have blown up
        shown = shown_units(traces)
        # The count of numbers per step limits the number of steps on the page.
        first = Quantities(example, traces[:1], shown)
        _stages(Setting(first))
        places = kept_steps(len(traces), len(first.names))
        q = Quantities(example, [traces[k] for k in places], shown)
        # Drawings and their tables register numbers, so they come before the data.
        stages = [(stage, _figure(stage)) for stage in _stages(Setting(q))]
        drawn = curves(example, traces) if len(traces) > 1 else []
        data = _data(example, q, places, drawn)
    body = [_head(example, traces), _controls(example, stages, data["steps"])]
    body += [_section(stage, figure, len(shown)) for stage, figure in stages]
    body += [_curves(example, drawn, places), _foot(traces, places), json_script("trace", data)]
    return page(f"{example.name}: backpropagation", "\n".join(body), STYLE, SCRIPT)


def _stages(s: Setting) -> list[Stage]:
    return [
        network(s),
        *([] if s.q.example.network.stage is None else [input_stage(s)]),
        *(forward(s, k) for k in range(s.depth)),
        loss(s),
        output_delta(s),
        *(backward(s, k) for k in reversed(range(s.depth - 1))),
        gradients(s),
        update(s),
        again(s),
    ]


def _figure(stage: Stage) -> str:
    """Return the drawings of a stage, for narrow and for wide screens, their legend and numbers."""
    kinds, first = ("narrow", "wide"), stage.figures[0]
    drawings = "".join(f.markup(kind) for f, kind in zip(stage.figures, kinds, strict=True))
    legend = escape(first.legend)
    for how, what in first.layout.q.example.origin.scaled.items():
        legend += escape(f" {sentence(what)}: {how}.")
    if "data-for" in drawings:
        legend += "<span class='hint'> Select a unit to see its numbers.</span>"
    if first.layout.width > _PHONE:
        legend += "<span class='sideways'> Scroll the drawing sideways to see all of it.</span>"
    caption = element("figcaption", legend)
    return element("figure", scroll_box(drawings, first.label) + caption + figure_numbers(first))


def _data(
    example: Example, q: Quantities, places: Sequence[int], drawn: Sequence[Curve]
) -> dict[str, Any]:
    """Return the numbers of each step in the order of their names, for the page's script."""
    steps = [
        {
            "number": trace.number,
            "row": trace.row,
            "outcome": outcome(trace),
            "curves": [curve.segment(place) for curve in drawn],
            "values": q.values(n),
        }
        for n, (place, trace) in enumerate(zip(places, q.traces, strict=True))
    ]
    return {"example": example.name, "quantities": q.names, "steps": steps}


def _head(example: Example, traces: Sequence[StepTrace]) -> str:
    network, optimizer = example.network, example.optimizer
    # Word joiners: the sizes stay on one line.
    sizes = "\u2060–\u2060".join(str(size) for size in network.sizes)
    solver = type(optimizer).__name__
    if isinstance(optimizer, SGD) and optimizer.momentum:
        solver += f" with momentum {number(optimizer.momentum)}"
    facts = [
        *example.origin.facts,
        *([] if network.stage is None else [f"input stage of {network.stage.n_inputs} columns"]),
        f"{sizes} units",
        f"{network.n_parameters} parameters, {'with' if network.bias else 'without'} biases",
        example.loss.replace("_", " "),
        f"{solver}, learning rate {rate_text(example)}",
    ]
    if len(traces) == 1 and len(example.X) > 1:
        facts.append(f"row {traces[0].row}")
    title = "One step of backpropagation" if len(traces) == 1 else "Backpropagation, step by step"
    name = "" if example.name == "step-by-step" else f": {example.name}"
    head = element("h1", escape(title + name))
    return head + element("p", escape(" · ".join(facts)), class_="facts") + _units(example)


def _units(example: Example) -> str:
    """Return sentences about the scaled quantities; "" if there are none."""
    origin = example.origin
    if not origin.scaled:
        return ""
    data = "training data" if origin.model else "data set"
    formulas = {
        STANDARDISED: f"(value − mean) / standard deviation, both of the column in the {data}.",
        ROBUST: "z / √(1 + z²/9) for z = (value − median) / interquartile range, then "
        "standardised: minus its mean, over its standard deviation, all four of the column in the "
        f"{data}; an input named tails is asinh of a multiple of value − median.",
    }
    sentences = [
        f"{sentence(what)} are {how}: {formulas[how]}" for how, what in origin.scaled.items()
    ]
    last = "Stage 1 shows the row in the units of the table"
    last += "; stages 3 and 8 show the prediction in them." if origin.scales_targets else "."
    return element("p", escape(" ".join([*sentences, last])), class_="facts units")


def _controls(
    example: Example, stages: Sequence[tuple[Stage, str]], steps: Sequence[dict[str, Any]]
) -> str:
    names: dict[str, str] = {}
    for stage, _ in stages:
        names.setdefault(stage.key.split(".")[0], stage.name)
    pills = "".join(
        element(
            "button",
            f"{key}<span> {escape(name)}</span>",
            type="button",
            value=key,
            title=name,
        )
        for key, name in names.items()
    )
    back = element("button", "‹", type="button", class_="move", aria_label="Back", title="Back (←)")
    forward = element(
        "button", "›", type="button", class_="move", aria_label="Next", title="Next (→)"
    )
    parts = [element("div", back + pills + forward, class_="pills")]
    row = " · row <span data-now='row'></span>" if len(example.X) > 1 else ""
    # Screen readers announce the stage that a button or a key has opened.
    parts.append(element("p", class_="heard", role="status", data_now="title"))
    now = f"<span data-now='number'></span> of {steps[-1]['number']}{row}"
    if len(steps) > 1:
        slider = (
            f'<input type="range" id="step" min="0" max="{len(steps) - 1}" value="0" '
            'aria-label="Step">'
        )
        output = element("output", now, aria_live="polite")
        parts.append(element("div", f"Step {slider}{output}", class_="steps"))
    return element("nav", "".join(parts), class_="controls", aria_label="Stages and steps")


def _section(stage: Stage, figure: str, columns: int) -> str:
    heading = element("h2", f"{stage.key} &nbsp;{escape(stage.title)}")
    inner = heading + figure + element("div", stage.text)
    kind = "stage" if columns <= _MOST_COLUMNS else "stage deep"
    return element("section", inner, class_=kind, data_key=stage.key)


def _curves(example: Example, drawn: Sequence[Curve], places: Sequence[int]) -> str:
    if not drawn:
        return ""
    inner = "".join(element("figure", c.markup() + c.numbers(places)) for c in drawn)
    rows = {trace.row for trace in drawn[0].traces}
    notes = ["Each stroke is one step: the value of its row before the step, and after it."]
    notes = notes if len(rows) > 1 else []
    if example.origin.scales_targets and example.network.sizes[-1] == 1:
        notes.append("The prediction is in the units of the table, the loss is not.")
    notes.append(
        "<span class='hint'>Select a place in a curve, or move the slider, to see its step.</span>"
    )
    about = element("p", " ".join(notes), class_="quiet")
    return f"<h2>Over the steps</h2>{about}" + element("div", inner, class_="curves")


def _foot(traces: Sequence[StepTrace], places: Sequence[int]) -> str:
    keys = "← and → go through the stages"
    if len(places) > 1:
        keys += ", with shift through the steps"
    left_out = (
        f" Of {len(traces)} steps, the numbers of {len(places)} are kept here."
        if len(places) < len(traces)
        else ""
    )
    inner = element("span", f"{keys}.", class_="hint") + left_out
    return element("p", inner, class_="quiet")
