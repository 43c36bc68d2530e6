"""A step of backpropagation as text: every number with its formula."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gpubp.backprop.optimizers import Optimizer
from gpubp.backprop.parameter_groups import FAN_IN
from gpubp.backprop.solvers import formula_of
from gpubp.explain.example import Example
from gpubp.explain.gradient_check import GradientCheck
from gpubp.explain.loss_landscape import Variation
from gpubp.explain.parameters import parameters_of
from gpubp.explain.stage_text import stage_lines
from gpubp.explain.text_lines import (
    MOST_TERMS,
    MOST_UNITS,
    factor,
    joined,
    largest,
    number,
    rest,
)
from gpubp.explain.trace import LayerTrace, StepTrace, output_divisor

MOST_WEIGHTS = 40  # whose updates are shown
_EXPANDED = 20  # parameters up to which the prediction is written out


class Section(NamedTuple):
    """A heading, and the lines under it."""

    title: str
    lines: list[str]


def sections(example: Example, trace: StepTrace) -> Iterator[Section]:
    """Yield one step as sections, from the network to the cost after the update."""
    story = _Story(example, trace)
    yield Section("The network", story.network())
    if trace.stage is not None:
        yield Section("Input stage", [*stage_lines(example, trace.stage)])
    yield Section("Forward: inputs flow to the prediction", story.forward())
    yield Section("The cost C, or loss", story.cost())
    if example.network.n_parameters <= _EXPANDED:
        yield Section("The prediction, expanded into the weights", story.expanded())
    yield Section("Backward: the error flows to the weights", story.deltas())
    yield Section("Gradients and updates", story.updates())
    yield Section("Forward again, with the new weights", story.again())


def steps_table(example: Example, traces: Sequence[StepTrace]) -> list[str]:
    """Return the cost of each step's row before and after the step, and the new prediction."""
    several = len(example.X) > 1
    lines = [f"{'step':>6}{'row':>6}" if several else f"{'step':>6}"]
    lines[0] += f"  {'C before':>18}  {'C after':>18}  prediction after"
    for trace in traces:
        place = f"{trace.number:>6}{trace.row:>6}" if several else f"{trace.number:>6}"
        costs = f"{number(trace.loss):>18}  {number(trace.new_loss):>18}"
        shown = [number(p) for p in trace.new_prediction[:MOST_UNITS]]
        lines.append(f"{place}  {costs}  {' '.join(shown)}")
    return lines


def checks_table(checks: Sequence[GradientCheck]) -> list[str]:
    """Return both gradients of each parameter as lines, and mark those that differ."""
    lines = [f"{'':>8}  {'backpropagation':>20}  {'central difference':>20}"]
    worst = sorted(checks, key=lambda c: -abs(c.backprop - c.difference))
    shown = checks if len(checks) <= MOST_WEIGHTS else worst[:MOST_WEIGHTS]
    for check in shown:
        result = "" if check.agrees else ("at a kink" if check.kink else "DIFFERS")
        numbers = f"{number(check.backprop):>20}  {number(check.difference):>20}"
        lines.append(f"{check.parameter.name:>8}  {numbers}  {result}".rstrip())
    if len(shown) < len(checks):
        lines.append(f"(the {len(shown)} that differ most of {len(checks)})")
    agree = sum(check.agrees for check in checks)
    kinks = sum(check.kink and not check.agrees for check in checks)
    lines.append(f"{agree} of {len(checks)} agree" + (f", {kinks} at a kink" if kinks else ""))
    return lines


def variation_plot(variation: Variation, width: int = 36) -> list[str]:
    """Return a line for each value of the weight: prediction, cost, and the cost as a bar."""
    shown = np.linspace(0, len(variation.values) - 1, 21).round().astype(int)
    top = variation.losses[np.isfinite(variation.losses)].max(initial=0) or 1.0
    now = len(variation.values) // 2
    lines = [f"{variation.parameter.name:>10}  {'prediction':>12}  {'C':>12}"]
    for k in shown:
        bar = "#" * round(width * min(variation.losses[k] / top, 1))
        numbers = f"{variation.values[k]:>10.4g}  {variation.predictions[k, 0]:>12.5g}"
        mark = " <- now" if k == now else ""
        lines.append(f"{numbers}  {variation.losses[k]:>12.5g}  {bar}{mark}".rstrip())
    return lines


@dataclass(frozen=True)
class _Story:
    """The lines of each section."""

    example: Example
    trace: StepTrace

    @property
    def _weights(self) -> dict[tuple[int, int | None, int], str]:
        parameters = parameters_of(self.example.network)
        return {(p.layer, p.source, p.unit): p.name for p in parameters}

    def network(self) -> list[str]:
        network, example = self.example.network, self.example
        lines = [
            f"{'-'.join(str(size) for size in network.sizes)}, {network.n_parameters} parameters, "
            f"{'with' if network.bias else 'without'} biases"
        ]
        if (stage := network.stage) is not None:
            lines.append(
                f"input stage: {stage.n_inputs} columns to {stage.n_features} features, "
                f"{stage.n_parameters} of the parameters"
            )
        lines += self._origin()
        for k, (names, below) in enumerate(zip(example.names[1:], example.names[:-1], strict=True)):
            layer = self.trace.layers[k]
            lines.append(f"layer {k + 1}, {layer.activation}:")
            for j in largest(layer.delta, MOST_UNITS):
                terms = [
                    f"{below[i]} ({self._weights[k, i, j]} {layer.W[i, j]:.6g})"
                    for i in largest(layer.W[:, j], MOST_TERMS)
                ]
                lines.append(f"  {names[j]} <- {joined(terms, len(below), ', ')}")
            lines += rest(len(names), MOST_UNITS, "units", "delta")
        return lines

    def _origin(self) -> Iterator[str]:
        """Yield the model, the row, and the inputs in the units of the table."""
        origin = self.example.origin
        if origin.facts:
            yield ", ".join(origin.facts)
        for how, what in origin.scaled.items():
            yield f"{how}: {what}"
        if origin.X is not None:
            names, inputs = self.example.columns, self.trace.inputs
            shown = largest(inputs, MOST_UNITS)
            terms = [f"{names[i]} {origin.input(self.trace.row, i):.6g}" for i in shown]
            yield f"in the table: {joined(terms, len(names), ', ')}"

    def forward(self) -> list[str]:
        lines: list[str] = []
        for k, (layer, (below, names)) in enumerate(
            zip(self.trace.layers, pairwise(self.example.names), strict=True)
        ):
            for j in largest(layer.delta, MOST_UNITS):
                lines += self._unit(k, j, layer, below, names[j])
            lines += rest(len(names), MOST_UNITS, "units", "delta")
        return lines

    def _unit(
        self, k: int, j: int, layer: LayerTrace, below: Sequence[str], name: str
    ) -> Iterator[str]:
        """Yield z as its sum, in letters and in numbers, and a = f(z)."""
        shown = largest(layer.W[:, j] * layer.inputs, MOST_TERMS)
        letters = [f"{self._weights[k, i, j]} {below[i]}" for i in shown]
        numbers = [f"{factor(layer.W[i, j])} * {factor(layer.inputs[i])}" for i in shown]
        if layer.b is not None:
            letters.append(self._weights[k, None, j])
            numbers.append(factor(layer.b[j]))
        extra = layer.b is not None
        z = "z" if layer.activation != "identity" else name
        yield f"{name}: {z} = {joined(letters, len(below) + extra, ' + ')}"
        yield f"    = {joined(numbers, len(below) + extra, ' + ')} = {number(layer.Z[j])}"
        if layer.activation == "softmax":
            yield f"    {name} = e^z / sum(e^z) = {number(layer.A[j])}"
        elif layer.activation != "identity":
            yield f"    {name} = {layer.activation}(z) = {number(layer.A[j])}"

    def cost(self) -> list[str]:
        names, trace = self.example.names[-1], self.trace
        shown = largest(trace.layers[-1].delta, MOST_UNITS)
        lines = [
            f"{names[j]}: prediction {number(trace.prediction[j])}, target "
            f"{number(trace.target[j])}"
            for j in shown
        ]
        if (origin := self.example.origin).scales_targets:
            lines += [
                f"{names[j]} in the table: prediction "
                f"{origin.output(float(trace.prediction[j]), j):.6g}, target "
                f"{origin.output(float(trace.target[j]), j):.6g}"
                for j in shown
            ]
        lines += rest(len(names), MOST_UNITS, "outputs", "delta")
        return [*lines, f"C = {self.example.cost.formula} = {number(trace.loss)}"]

    def expanded(self) -> list[str]:
        return [
            f"{name} = {_expression(self.example, self._weights, len(self.trace.layers) - 1, j)}"
            for j, name in enumerate(self.example.names[-1])
        ]

    def deltas(self) -> list[str]:
        names, layers = self.example.names, self.trace.layers
        lines = self._output_deltas()
        for k in range(len(layers) - 2, -1, -1):
            layer, above = layers[k], layers[k + 1]
            assert layer.error is not None
            assert layer.slope is not None
            for j in largest(layer.delta, MOST_UNITS):
                shown = largest(above.blame[j], MOST_TERMS)
                letters = [f"{self._weights[k + 1, j, i]} delta({names[k + 2][i]})" for i in shown]
                numbers = [f"{factor(above.W[j, i])} * {factor(above.delta[i])}" for i in shown]
                total = above.W.shape[1]
                name = names[k + 1][j]
                lines += [
                    f"{name}: error = {joined(letters, total, ' + ')}",
                    f"    = {joined(numbers, total, ' + ')} = {number(layer.error[j])}",
                    f"    delta({name}) = error * slope = {factor(layer.error[j])} * "
                    f"{factor(layer.slope[j])} = {number(layer.delta[j])}",
                ]
            lines += rest(len(layer.delta), MOST_UNITS, "units", "delta")
        if len(layers) > 1:
            lines.append(
                "(error: the sum of weight * delta over the units above; slope: the derivative of "
                "the activation at z)"
            )
        return lines

    def _output_deltas(self) -> list[str]:
        last, names = self.trace.layers[-1], self.example.names[-1]
        lines, m = [], output_divisor([self.trace])
        for j in largest(last.delta, MOST_UNITS):
            prediction, target = self.trace.prediction[j], self.trace.target[j]
            gap = f"{number(prediction)} - {factor(target)}"
            product = {0: "", 1: f"prediction - target = {gap} = "}.get(
                m, f"(prediction - target) / {m} = ({gap}) / {m} = "
            )
            lines.append(f"delta({names[j]}) = dC/dz = {product}{number(last.delta[j])}")
        return lines + rest(len(names), MOST_UNITS, "outputs", "delta")

    def updates(self) -> list[str]:
        parameters = parameters_of(self.example.network)
        gradient = self.trace.gradient[[p.place for p in parameters]]
        rate, optimizer = self.example.rate, self.example.optimizer
        plain = self.example.is_plain
        kind = type(optimizer).__name__
        lines = [
            f"new w = w - rate * dC/dw, rate {number(rate)}"
            if plain
            else f"new w = w - step, the step of {kind} at rate {rate_text(self.example)}"
        ]
        lines += [] if plain else formula_lines(optimizer)
        for k in largest(gradient, MOST_WEIGHTS):
            p, g = parameters[k], gradient[k]
            layer = self.trace.layers[p.layer]
            unit = self.example.names[p.layer + 1][p.unit]
            old, new = self.trace.theta[p.place], self.trace.new_theta[p.place]
            delta = factor(layer.delta[p.unit])
            if p.source is None:
                product = f"delta({unit}) = {number(g)}"
            else:
                below = self.example.names[p.layer][p.source]
                product = (
                    f"{below} * delta({unit}) = {factor(layer.inputs[p.source])} * {delta} = "
                    f"{number(g)}"
                )
            step = f"{number(rate)} * {factor(g)}" if plain else factor(old - new)
            lines += [
                f"{p.name}: dC/d{p.name} = {product}",
                f"    new {p.name} = {number(old)} - {step} = {number(new)}",
            ]
        return lines + rest(len(parameters), MOST_WEIGHTS, "parameters", "gradient")

    def again(self) -> list[str]:
        trace, names = self.trace, self.example.names
        lines = []
        for values, layer in zip((*trace.new_hidden, trace.new_prediction), names[1:], strict=True):
            shown = largest(values, MOST_UNITS)
            lines += [f"{layer[j]} = {number(values[j])}" for j in shown]
            lines += rest(len(layer), MOST_UNITS, "units", "value")
        change = "smaller" if trace.new_loss < trace.loss else "not smaller"
        return [*lines, f"C: {number(trace.loss)} -> {number(trace.new_loss)}, {change}"]


def rate_text(example: Example) -> str:
    """Return the learning rate, with its factors by kind of parameter."""
    rate = number(example.rate)
    if example.factors is None or not example.factors.rate:
        return rate
    factors = example.factors.rate.items()
    named = [f"{'1 / sqrt(inputs)' if f == FAN_IN else f} for {kind}" for kind, f in factors]
    return f"{rate} times {', '.join(named)}"


def formula_lines(optimizer: Optimizer) -> list[str]:
    """Return the update rule of ``optimizer`` and its symbols; [] if there is no formula."""
    lines = formula_of(optimizer)
    if not lines:
        return []
    symbols = "theta: the parameters, g: their gradient with the penalty, t: the steps so far"
    return [*(f"    {line}" for line in lines), f"    ({symbols})"]


def _expression(
    example: Example, weights: dict[tuple[int, int | None, int], str], layer: int, unit: int
) -> str:
    """Return the value of a unit as an expression of the inputs and the weights."""
    below = example.names[layer]
    terms = []
    for i in range(example.network.sizes[layer]):
        inner = below[i] if layer == 0 else _expression(example, weights, layer - 1, i)
        simple = layer == 0 or example.network.activations[layer - 1] != "identity"
        terms.append(f"{weights[layer, i, unit]} {inner if simple else f'({inner})'}")
    if (layer, None, unit) in weights:
        terms.append(weights[layer, None, unit])
    total = " + ".join(terms)
    last = layer == len(example.network.sizes) - 2
    f = example.cost.output if last else example.network.activations[layer]
    return total if f == "identity" else f"{f}({total})"
