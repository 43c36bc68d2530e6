"""The stages of the forward pass on the page of `gpubp explain`: 1 to 3, and 8."""

from __future__ import annotations

from gpubp.explain.figure import Edges, Plate
from gpubp.explain.markup import formula, listing, paragraph, plus, sentence, table
from gpubp.explain.origin import STANDARDISED
from gpubp.explain.quantities import outcome
from gpubp.explain.stage import INPUT, TARGET, Setting, Stage, output_plate, parameter_name
from gpubp.explain.stage_page import columns_of
from gpubp.reports.html import element, escape

# Formulas where they are short; other activations go by their names.
_F = {
    "identity": "z",
    "logistic": "1 / (1 + e<sup>−z</sup>)",
    "relu": "max(0, z)",
    "leaky_relu": "max(0.01 z, z)",
    "softmax": "e<sup>z</sup> / Σ e<sup>z</sup>",
}
_EXPANDED = 20  # parameters up to which the prediction is written out


def network(s: Setting) -> Stage:
    """Return stage 1: the network before the step."""
    people, verb = s.words.people, s.words.verb
    chain = "; ".join(f"{people(k)} {verb(k, 'report')} to {people(k + 1)}" for k in range(s.depth))
    kinds = ["weights", *(["biases"] if s.biases else [])]
    if s.q.example.network.stage is not None:
        kinds.append("parameters of the input stage")
    what = listing(kinds)
    text = paragraph(
        "Numbers run through a network in two directions. <b class='forward'>Forward</b>, from "
        "left to right, the inputs become a prediction. <b class='backward'>Backward</b>, from "
        "right to left, the error of the prediction becomes a correction for each weight. "
        "Training alternates between the two. A trained network in use runs only forward."
    )
    text += paragraph(
        "Each line is a weight: the factor by which the unit on its right multiplies the "
        "number from the unit on its left.",
        f"The {s.q.example.network.n_parameters} {what} are all that training may change.",
    )
    text += s.aside(
        f"Think of a company: {chain}. The thicker a line, the more the one who listens relies "
        "on the one who reports."
    )
    text += _row(s)
    text += s.words.parameters(["Value"], lambda k, i, j: [s.q(parameter_name("W", k, i, j), 12)])
    edges = [Edges("plain", "W", True)] * s.depth
    plates = [[INPUT], *[[]] * (s.depth - 1), [TARGET]]
    return s.stage("1", "Network", "The network", edges, plates, text)


def _row(s: Setting) -> str:
    """Return the row in the units of the table and scaled; "" if nothing is scaled."""
    origin, q, words, d = s.q.example.origin, s.q, s.words, s.depth
    rows, (columns, name, others) = [], columns_of(s)
    if origin.X is not None:
        rows += [
            [escape(q.example.columns[i]), q(f"table_input.{i}", 12), q(f"{name}.{i}", 12)]
            for i in columns
        ]
    if origin.scales_targets:
        rows += [
            [
                f"{words.unit(d, j)} <small>target</small>",
                q(f"table_target.{j}", 12),
                q(f"target.{j}", 12),
            ]
            for j in q.shown[d].units
        ]
    if not rows:
        return ""
    rest = others if origin.X is not None else ""
    scaled = "Standardised" if [*origin.scaled] == [STANDARDISED] else "Scaled"
    return element("h3", "The row") + table(["", "In the table", scaled], rows) + rest


def forward(s: Setting, k: int) -> Stage:
    """Return stage 2 for one layer: the sums and outputs of its units."""
    f = s.q.traces[0].layers[k].activation
    bias = ", and its bias" if s.biases else ""
    text = paragraph(
        f"A unit adds up the numbers that reach it, each times the weight of its line{bias}. "
        "The sum is its z. Its output is a = f(z).",
        "Here f leaves z as it is." if f == "identity" else "",
    )
    text += s.aside(
        f"{sentence(s.words.people(k + 1))} {s.words.verb(k + 1, 'hear')} from "
        f"{s.words.people(k)}, and each report counts for as much as it is trusted."
    )
    text += "".join(_sum(s, k, j) for j in s.q.shown[k + 1].units)
    quantities = [f"layers.{k}.Z.{{}}", f"layers.{k}.A.{{}}"]
    text += s.words.units(k + 1, ["", "z", "a"], quantities)
    edges = [Edges("forward" if m <= k else "plain", "W", m == k) for m in range(s.depth)]
    plates = [[INPUT], *([output_plate(m)] if m <= k else [] for m in range(s.depth))]
    title = f"Forward into {s.words.layer(k + 1)}"
    return s.stage(f"2.{k + 1}", "Forward", title, edges, plates, text)


def _sum(s: Setting, k: int, j: int) -> str:
    """Return z and a of one unit, with their numbers."""
    q, f = s.q, s.q.traces[0].layers[k].activation
    terms = [
        f"{q(f'layers.{k}.inputs.{i}', factor=True, kind='forward')} × "
        f"{q(f'layers.{k}.W.{i}.{j}', factor=True)}"
        for i in q.shown[k].units
    ]
    if rest := len(q.shown[k].rest):
        terms.append(f"{q(f'flow_rest.{k}.{j}', factor=True)} <small>({rest} more)</small>")
    if s.biases:
        terms.append(f"{q(f'layers.{k}.b.{j}', factor=True)} <small>(bias)</small>")
    z, a = q(f"layers.{k}.Z.{j}"), q(f"layers.{k}.A.{j}", kind="forward")
    lines = [f"z = {plus(terms, z)}", f"a = {_F.get(f, f'{escape(f)}(z)')} = {a}"]
    return formula(s.words.unit(k + 1, j), lines, f"{k + 1}.{j}")


def loss(s: Setting) -> Stage:
    """Return stage 3: the loss of the prediction."""
    q, k = s.q, s.depth - 1
    symbols = q.example.cost.formula.replace("-", "−")
    symbols = symbols.replace("^2", "²").replace("1/2", "½")
    text = s.aside(
        f"{sentence(s.words.people(s.depth))} forecast the answer of the customers, and now the "
        "answer is known. The difference has to be explained."
    )
    text += paragraph(
        "The loss C, or cost, says in one number how far the prediction is from the target.",
        "Inputs and target are given, so only other weights can bring it down. How fast C "
        "changes with a weight is that weight's gradient; training follows the gradients "
        "downhill, toward the least C that it can find.",
        "This is the loss of one row; the next step learns from the next row."
        if len(q.example.X) > 1
        else "",
    )
    lines = [f"C = {escape(symbols)} = {q('loss')}"]
    if s.q.example.network.sizes[-1] == 1 and "prediction" in symbols:
        numbers = escape(symbols).replace("target", q("target.0", factor=True))
        numbers = numbers.replace("prediction", q(f"layers.{k}.A.0", factor=True))
        lines = [f"C = {escape(symbols)}", f"C = {numbers} = {q('loss')}"]
    text += formula("Loss", lines)
    if s.q.example.network.n_parameters <= _EXPANDED:
        text += paragraph("Written out down to the inputs, the prediction is:")
        for j in q.shown[-1].units:
            name = s.words.unit(s.depth, j)
            text += formula(name, [f"a = {s.words.expression(s.depth, j)}"])
    quantities = [f"layers.{k}.A.{{}}", "target.{}", "difference.{}"]
    headers = ["", "Prediction", "Target", "Difference"]
    scaled = q.example.origin.scales_targets
    text += element("h3", "Standardised") if scaled else ""
    text += s.words.units(s.depth, headers, quantities)
    if scaled:
        names = ["table_prediction.{}", "table_target.{}", "table_difference.{}"]
        text += element("h3", "In the units of the table")
        text += s.words.units(s.depth, headers, names)
    text += table(["", "C"], [["Loss", q("loss", 12)]])
    edges = [Edges("forward", "W", False)] * s.depth
    plates = [[INPUT], *([output_plate(m)] for m in range(s.depth))]
    plates[-1].append(TARGET)
    return s.stage("3", "Loss", "The prediction and its loss", edges, plates, text)


def again(s: Setting) -> Stage:
    """Return stage 8: the forward pass with the new weights."""
    q = s.q
    change = f"from {q('loss')} to {q('new_loss')}."
    why = (
        "The step was made from the slope at the old weights, and it went beyond where that holds."
        if not s.sources
        else f"The step was made from the slope at the old weights and from {listing(s.sources)}; "
        "together, they did not lower the loss of this row."
    )
    text = paragraph("The same row once more, now with the new weights.")
    text += _verdict(s, "smaller", "good", f"The loss fell {change}")
    text += _verdict(s, "same", "", f"The loss stayed at {q('loss')}.")
    text += _verdict(
        s,
        "larger",
        "bad",
        f"The loss rose {change} {why} A smaller learning rate makes shorter steps.",
    )
    text += _verdict(
        s,
        "lost",
        "bad",
        "The loss is not a finite number any more: the weights have grown out of the range of "
        "floating-point numbers. A smaller learning rate makes shorter steps.",
    )
    if q.example.alpha:
        text += paragraph("The loss is shown without the penalty, which the step lowers too.")
    text += table(["", "Before", "After"], _before_and_after(s))
    text += paragraph("Then the next step begins. Training is many such steps, and nothing else.")
    edges = [Edges("forward", "new_W", True)] * s.depth
    plates = [[INPUT], *([Plate("forward", "", f"new.{m}.{{}}")] for m in range(s.depth))]
    plates[-1].append(TARGET)
    return s.stage("8", "Again", "Forward again", edges, plates, text)


def _before_and_after(s: Setting) -> list[list[str]]:
    """Return the outputs of all units and the loss, with the old and with the new weights."""
    q = s.q
    rows = [
        [s.words.unit(k + 1, j), q(f"layers.{k}.A.{j}", 12), q(f"new.{k}.{j}", 12)]
        for k in range(s.depth)
        for j in q.shown[k + 1].units
    ]
    if q.example.origin.scales_targets:
        rows += [
            [
                f"{s.words.unit(s.depth, j)} <small>in the units of the table</small>",
                q(f"table_prediction.{j}", 12),
                q(f"table_new.{j}", 12),
            ]
            for j in q.shown[-1].units
        ]
    rows.append(["Loss C", q("loss", 12), q("new_loss", 12)])
    return rows


def _verdict(s: Setting, when: str, kind: str, text: str) -> str:
    """Return the sentence for a step with this outcome, hidden if the first step has another."""
    hidden = outcome(s.q.traces[0]) != when
    return element("p", text, class_=f"result {kind}", data_when=when, hidden=hidden)
