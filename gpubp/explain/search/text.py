"""A comparison of searches in words, numbers and tables, for the terminal and for the page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

import numpy as np

from gpubp.explain.search.comparison import (
    ESCAPE_STEPS,
    TEXT_RATE,
    TEXT_VALUES,
    Comparison,
    extrapolate,
)
from gpubp.explain.search.methods import Method, Run, Stop

WIDTH = 80
TITLES: dict[Method, str] = {
    "one_at_a_time": "one weight at a time",
    "combinations": "all combinations",
    "random": "random search",
    "backprop": "backpropagation",
}
STOPS: dict[Stop, str] = {
    "stalled": "stalled",
    "all_seen": "all seen",
    "budget": "budget spent",
    "no_improvement": "no more gain",
    "diverged": "diverged",
    "interrupt": "interrupted",
}
HEADINGS = ("method", "evaluations", "seconds", "per second", "best cost", "stopped by")
EXTRAPOLATION = f"Time for all combinations of {TEXT_VALUES:,} values of each weight"
_UNITS = (
    (365.25 * 86400, "years"),
    (86400, "days"),
    (3600, "h"),
    (60, "min"),
    (1, "s"),
    (1e-3, "ms"),
    (1e-6, "us"),
)


def human_time(seconds: float, digits: int = 4) -> str:
    """Return a duration in its largest unit, years to 3 digits: "16.67 min", "31.7 years"."""
    size, unit = next((u for u in _UNITS if seconds >= u[0]), _UNITS[-1])
    value = seconds / size
    if unit != "years":
        return f"{value:.{digits}g} {unit}"
    for scale, name in ((1e9, "billion "), (1e6, "million ")):
        if value >= scale:
            return f"{float(f'{value / scale:.3g}'):,g} {name}{unit}"
    return f"{float(f'{value:.3g}'):,g} {unit}"


def human_count(value: float) -> str:
    """Return a large number to 3 digits: "950", "12.6k", "2.87M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def cost_text(cost: float) -> str:
    """Return a cost to 3 digits, "-" for none."""
    return f"{cost:.3g}" if math.isfinite(cost) else "-"


def table(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row of texts per method, under ``HEADINGS``."""
    return [
        (
            TITLES[run.method],
            f"{run.evaluations:,}",
            f"{run.seconds:.3f}",
            human_count(run.rate),
            cost_text(run.cost),
            STOPS[run.stopped_by],
        )
        for run in comparison.runs
    ]


def heading(comparison: Comparison) -> str:
    """Return a sentence about the network and the settings of the search."""
    example, settings, network = comparison.example, comparison.settings, comparison.example.network
    rows = f"{len(example.X)} row{'s' if len(example.X) > 1 else ''}"
    what = "weights and biases" if network.bias else "weights"
    most, seconds = settings.budget
    budget = f"{most:,} evaluations" if most is not None else f"{seconds:g} s"
    return (
        f"{example.name}: a {'-'.join(map(str, network.sizes))} network, {rows}, "
        f"{network.n_parameters} {what} from {settings.low:g} to {settings.high:g}. "
        f"{budget} for each method, populations of {comparison.size:,} in {settings.dtype} on "
        f"{comparison.device}: {comparison.why}."
    )


def sentences(comparison: Comparison) -> Iterator[str]:
    """Yield sentences about the stall, the share of the grid, and backpropagation's steps."""
    one, grid = comparison.run("one_at_a_time"), comparison.run("combinations")
    if one is not None and one.evaluations:
        yield _stall(one, comparison)
    if grid is not None and grid.evaluations:
        yield _grid(grid, comparison.example.network.n_parameters)
    backprop = comparison.run("backprop")
    if backprop is not None and backprop.evaluations:
        yield _backprop(backprop, comparison)


def _stall(run: Run, comparison: Comparison) -> str:
    sweeps = f"{run.sweeps} sweep{'s' if run.sweeps != 1 else ''}"
    spent = f"at cost {cost_text(run.cost)} after {sweeps} ({run.evaluations:,} evaluations)"
    if run.stopped_by != "stalled":
        return f"One weight at a time was still moving when it ended, {spent}."
    values, escape = f"{comparison.settings.values:,}", comparison.escape
    text = f"One weight at a time stalled {spent}: none of the {values} values of any one weight "
    text += "lowers it."
    if escape is None or escape.weights is None:
        return text
    steps = f"in {escape.curve[-1].evaluations - 1:,} steps"
    if not escape.cost < 0.9 * run.cost:
        return f"{text} Nor does backpropagation from there, in {ESCAPE_STEPS:,} steps."
    if comparison.finer < 0.5 * run.cost:
        text += " Its values are too far apart: one in between would bring one weight alone"
        return f"{text} to {cost_text(comparison.finer)}."
    settings = comparison.settings
    inside = (np.abs(escape.weights - (settings.low + settings.high) / 2)).max() <= (
        settings.high - settings.low
    ) / 2
    between = f"With values in between, one weight alone gets to {cost_text(comparison.finer)}."
    if comparison.finer > 0.99 * run.cost:
        between = "Nor would values in between."
    why = "The weights interact: backpropagation, which moves all of them at once,"
    if not inside:
        why = "Backpropagation, which moves all weights at once and is not held to the range,"
    return (
        f"{text} {between} {why} goes on from that very point to {cost_text(escape.cost)} {steps}."
    )


def _grid(run: Run, n: int) -> str:
    values = f"{run.values:,} values of each of {n} weights"
    if run.stopped_by == "all_seen":
        seen = f"all {run.combinations:,} combinations seen"
    else:
        share = 100 * run.evaluations / run.combinations
        seen = f"{share:.3g}% of {_large(run.combinations)} combinations seen"
    if run.values >= TEXT_VALUES:
        return f"All combinations: {values}, {seen}."
    whole = _large(TEXT_VALUES**n)
    return f"All combinations: {values}, {seen}; {TEXT_VALUES:,} values of each would make {whole}."


def _large(count: int) -> str:
    """Return a count in full, or from 10^12 on as a power of ten."""
    if count < 10**12:
        return f"{count:,}"
    mantissa, _, exponent = f"{count:.2e}".partition("e+")
    return f"10^{exponent}" if mantissa == "1.00" else f"{mantissa} x 10^{exponent}"


def _backprop(run: Run, comparison: Comparison) -> str:
    parts = []
    for other in comparison.runs:
        name = TITLES[other.method]
        if other.method in run.reached:
            steps, seconds = run.reached[other.method]
            parts.append(f"to that of {name} in {steps:,} steps ({human_time(seconds, 3)})")
        elif other is not run:
            parts.append(f"not to that of {name}")
    return (
        f"Backpropagation brought the cost down {', '.join(parts)}. Each of its evaluations is a "
        "forward and a backward pass over all rows, and a step of the optimizer."
    )


def extrapolation(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return rows: weights, combinations, time at the text's rate and at the measured one."""
    return [
        (
            f"{e.weights}",
            _large(e.combinations),
            human_time(e.text_seconds),
            human_time(e.seconds, 3),
        )
        for e in extrapolate(comparison.rate)
        if comparison.rate
    ]


def rates(comparison: Comparison) -> tuple[str, str]:
    """Return the text's rate and the measured one, as headings."""
    return f"in the text, {TEXT_RATE:.0e}/s".replace("+0", ""), (
        f"measured, {human_count(comparison.rate)}/s"
    )


def backprop_time(comparison: Comparison) -> str:
    """Return a sentence about backpropagation's time to the cost of the best search."""
    backprop = comparison.run("backprop")
    searches = [run for run in comparison.runs if run is not backprop]
    if backprop is None or not searches:
        return ""
    best = min(searches, key=lambda run: run.cost)
    if best.method not in backprop.reached:
        return ""
    steps, seconds = backprop.reached[best.method]
    return (
        f"Backpropagation took {steps:,} steps, {human_time(seconds, 3)}, to the lowest cost that "
        f"any search found ({cost_text(best.cost)}, {TITLES[best.method]})."
    )


def text_lines(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yield the report as lines of up to 80 columns, each with its style for a terminal."""
    yield from (("", line) for line in textwrap.wrap(heading(comparison), WIDTH))
    best = min((run.cost for run in comparison.runs), default=math.inf)
    yield "", ""
    yield "bold", "{:<20}{:>14}{:>9}{:>12}{:>11}  {}".format(*HEADINGS)
    for run, row in zip(comparison.runs, table(comparison), strict=True):
        style = "green" if run.cost == best < math.inf else ""
        yield style, "{:<20}{:>14}{:>9}{:>12}{:>11}  {}".format(*row)
    for sentence in sentences(comparison):
        yield "", ""
        yield from (("", line) for line in textwrap.wrap(sentence, WIDTH))
    rows = extrapolation(comparison)
    if rows:
        form = "{:>7}{:>14}{:>23}{:>24}"
        yield "", ""
        yield "", EXTRAPOLATION
        yield "bold", form.format("weights", "combinations", *rates(comparison))
        yield from (("", form.format(*row)) for row in rows)
        yield from (("", line) for line in textwrap.wrap(backprop_time(comparison), WIDTH))
