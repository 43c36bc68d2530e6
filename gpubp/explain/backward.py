"""The stages of the backward pass on the page of `gpubp explain`: 4 to 7."""

from __future__ import annotations

from gpubp.explain.figure import Edges
from gpubp.explain.markup import formula, law, listing, paragraph, plus, sentence, table
from gpubp.explain.stage import (
    INPUT,
    TARGET,
    Setting,
    Stage,
    delta_plate,
    output_plate,
    parameter_name,
)
from gpubp.explain.text import formula_lines, rate_text
from gpubp.explain.trace import output_divisor
from gpubp.reports.html import escape, number

# Formulas of slopes where they are short; other activations show only the number.
_SLOPES = {
    "logistic": "a (1 − a) = ",
    "tanh": "1 − a² = ",
    "relu": "(1 if z &gt; 0, else 0) = ",
    "leaky_relu": "(1 if z &gt; 0, else 0.01) = ",
}


def output_delta(s: Setting) -> Stage:
    """Return stage 4: the delta of the output."""
    q, k = s.q, s.depth - 1
    f = q.traces[0].layers[k].activation
    loss = escape(q.example.loss.replace("_", " "))
    m = output_divisor(s.q.traces)
    by = {0: "", 1: "prediction − target"}.get(m, f"(prediction − target) / {m}, with {m} outputs")
    text = paragraph(
        "Now backward. The delta δ of a unit is the rate at which C changes with its z. If δ is "
        "negative, a larger z would lower the loss; if it is positive, a smaller one would. At "
        "the output:"
    )
    text += law("δ = dC/dz = dC/da · f′(z)")
    if by:
        text += paragraph(f"For {loss} on {escape(f)} outputs this comes to {by}.")
    text += s.aside(
        f"{sentence(s.words.people(s.depth))} {s.words.verb(s.depth, 'answer')} for the forecast: "
        "the blame begins at the top."
    )
    text += "".join(_difference(s, j) for j in q.shown[-1].units)
    text += s.words.units(s.depth, ["", "δ"], [f"layers.{k}.delta.{{}}"])
    edges = [Edges("forward", "W", False)] * s.depth
    plates = [[INPUT], *([output_plate(m)] for m in range(s.depth))]
    plates[-1].append(delta_plate(k))
    return s.stage("4", "Output δ", "The delta of the output", edges, plates, text)


def _difference(s: Setting, j: int) -> str:
    """Return the delta of one output, with its numbers."""
    q, k = s.q, s.depth - 1
    delta = q(f"layers.{k}.delta.{j}", kind="backward")
    a, target = q(f"layers.{k}.A.{j}", kind="forward"), q(f"target.{j}", factor=True)
    m = output_divisor(q.traces)
    product = {0: "", 1: f"{a} − {target} = "}.get(m, f"({a} − {target}) / {m} = ")
    return formula(s.words.unit(s.depth, j), [f"δ = {product}{delta}"])


def backward(s: Setting, k: int) -> Stage:
    """Return stage 5 for one hidden layer: the deltas of its units."""
    q, words = s.q, s.words
    f = q.traces[0].layers[k].activation
    text = paragraph(
        "Along each line, its weight times the δ at its right end flows back: w<sub>jk</sub> "
        "δ<sub>k</sub>, the share of the blame of the unit on its left. A unit adds up its "
        "shares. Times the slope of its activation, that is its own δ:"
    )
    text += law("δ<sub>j</sub> = f′(z<sub>j</sub>) · Σ<sub>k</sub> w<sub>jk</sub> δ<sub>k</sub>")
    text += paragraph(
        "Where f is steep, much of the sum passes; where f is flat, almost nothing."
        if f != "identity"
        else "Here f is the identity, with slope 1 everywhere.",
        "The same rule goes on from layer to layer, however many there are." if k else "",
    )
    text += s.aside(
        f"The correction goes down the company, from {words.people(k + 2)} to "
        f"{words.people(k + 1)}: the more weight a report had, the larger its share."
    )
    text += "".join(_blame(s, k, j) for j in q.shown[k + 1].units)
    quantities = [f"layers.{k}.{name}.{{}}" for name in ("error", "slope", "delta")]
    text += words.units(k + 1, ["", "Σ w δ", "f′(z)", "δ"], quantities)
    above = q.shown[k + 2].units
    shares = [
        [words.unit(k + 1, j), *(f"{q(f'share.{k + 1}.{j}.{i}', 3)} %" for i in above)]
        for j in q.shown[k + 1].units
    ]
    text += "<h3>How the blame is shared out</h3>"
    text += table(["", *(f"of {words.unit(k + 2, i)}" for i in above)], shares)
    edges = [
        Edges("backward", "blame", m == k + 1) if m > k else Edges("plain", "W", False)
        for m in range(s.depth)
    ]
    plates = [[INPUT], *([output_plate(m)] for m in range(s.depth))]
    for m in range(k, s.depth):
        plates[m + 1].append(delta_plate(m))
    title = f"Backward into {words.layer(k + 1)}"
    return s.stage(f"5.{s.depth - 1 - k}", "Backward", title, edges, plates, text)


def _blame(s: Setting, k: int, j: int) -> str:
    """Return the error and the delta of one hidden unit, with their numbers."""
    q, f = s.q, s.q.traces[0].layers[k].activation
    terms = [
        f"{q(f'layers.{k + 1}.W.{j}.{i}', factor=True)} × "
        f"{q(f'layers.{k + 1}.delta.{i}', factor=True, kind='backward')}"
        for i in q.shown[k + 2].units
    ]
    if rest := len(q.shown[k + 2].rest):
        terms.append(f"{q(f'blame_rest.{k}.{j}', factor=True)} <small>({rest} more)</small>")
    error, slope = f"layers.{k}.error.{j}", f"layers.{k}.slope.{j}"
    lines = [
        f"Σ w δ = {plus(terms, q(error))}",
        f"f′(z) = {_SLOPES.get(f, '')}{q(slope)}",
        f"δ = {q(slope, factor=True)} × {q(error, factor=True)} = "
        f"{q(f'layers.{k}.delta.{j}', kind='backward')}",
    ]
    return formula(s.words.unit(k + 1, j), lines, f"{k + 1}.{j}")


def gradients(s: Setting) -> Stage:
    """Return stage 6: the gradient of each weight."""
    q, words = s.q, s.words
    text = paragraph(
        "A weight has two ends: the number a<sub>i</sub> that comes in on the left, and the δ "
        "of the unit on the right. Their product is its gradient:"
    )
    text += law("dC/dw<sub>ij</sub> = a<sub>i</sub> δ<sub>j</sub>")
    text += paragraph(
        "The gradient is large if a large number came in and δ is large; if the number was 0, "
        "the weight had no part in the loss.",
        "A bias is added without a factor, so its gradient is δ itself." if s.biases else "",
    )
    text += s.aside(
        f"{sentence(words.people(1))} now {words.verb(1, 'go')} through the reports of "
        f"{words.people(0)}: the larger a report and the larger the listener's δ, the more the "
        "trust in that report has to change."
    )

    def row(k: int, i: int | None, j: int) -> list[str]:
        product = f"δ({words.unit(k + 1, j)})"
        if i is not None:
            a = q(f"layers.{k}.inputs.{i}", kind="forward", factor=True)
            delta = q(f"layers.{k}.delta.{j}", kind="backward", factor=True)
            product = f"{words.unit(k, i)} × {product} = {a} × {delta}"
        return [product, q(parameter_name("dW", k, i, j), 12)]

    text += words.parameters(["a × δ", "Gradient"], row)
    edges = [Edges("backward", "dW", True)] * s.depth
    plates = [[INPUT], *([output_plate(m), delta_plate(m)] for m in range(s.depth))]
    return s.stage("6", "Gradients", "The gradient of each weight", edges, plates, text)


def update(s: Setting) -> Stage:
    """Return stage 7: the step itself."""
    q, rate = s.q, number(s.q.example.rate)
    plain = not s.sources
    if plain:
        text = paragraph(
            f"Each weight takes a small step against its gradient; the learning rate, {rate}, "
            "is the factor. All gradients were taken with the old weights."
        )
        text += law("new w = w − rate × dC/dw")
    else:
        text = paragraph(
            f"<code>{escape(repr(q.example.optimizer))}</code> computes the step of each weight at "
            f"learning rate {escape(rate_text(q.example))} from "
            f"{listing(['the gradient', *s.sources])}. All gradients were taken with the old "
            "weights."
        )
        text += law("new w = w − step")
        text += "".join(law(escape(line.strip())) for line in formula_lines(q.example.optimizer))
    text += s.aside(
        "Everybody now trusts each report a little more or a little less, and the company makes "
        "its next forecast with the new weights."
    )

    def row(k: int, i: int | None, j: int) -> list[str]:
        step = f"{rate} × {q(parameter_name('dW', k, i, j), factor=True)}"
        if not plain:
            step = q(f"move_b.{k}.{j}" if i is None else f"move.{k}.{i}.{j}", factor=True)
        old, new = parameter_name("W", k, i, j), parameter_name("new_W", k, i, j)
        return [f"{q(old, 12)} − {step}", q(new, 12)]

    header = "Old − rate × gradient" if plain else "Old − step"
    text += s.words.parameters([header, "New"], row)
    edges = [Edges("plain", "new_W", True)] * s.depth
    plates = [[INPUT], *[[]] * (s.depth - 1), [TARGET]]
    return s.stage("7", "Update", "The update", edges, plates, text)
