"""The report of a run: a table as text, CSV, and the failures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.machine import THREAD_VARIABLES
from gpubp.bench.results import OURS, Part, Row
from gpubp.bench.runner import Progress

HEADS = (
    *("us/step", "spread", "rows/s", "ratio", "of products", "of bytes", "peak MB"),
    "other cores",
)
# Columns that a table has only if a row has the figure: in suites of populations, and if the
# ceilings of the device are known.
_MORE = {"network-steps/s": "network_steps_per_second", "of floor": "of_floor"}
_WIDTHS = {"us/step": 11, "rows/s": 13}  # smallest widths of columns; of others 8
_COLUMNS = (
    *("network", "sizes", "batch", "mode", "device", "precision", "solver", "loss", "dataset"),
    *("rows", "epochs", "population", "seed", "peer"),
)
_FIGURES = (
    *(
        "us_per_step",
        "rows_per_second",
        "network_steps_per_second",
        "ratio",
        "of_products",
        "of_bytes",
        "bytes_us",
    ),
    *("peak_bytes", "other_cores", "disturbed_rounds"),
)


def cases_of(part: Part) -> list[Case]:
    """Return the cases of a part."""
    return [Case.from_values(values) for values in part.settings["suite"]["cases"]]


def heads_of(part: Part) -> list[str]:
    """Return the names of the columns of a part's table; the column of ratios is "ratio"."""
    found = {name for row in part.rows for name in row.figures}
    return [*HEADS, *(head for head, name in _MORE.items() if name in found)]


def with_cases(part: Part) -> Iterator[tuple[Case, Row]]:
    """Yield every row of a part with its case."""
    cases = {case.key: case for case in cases_of(part)}
    return ((cases[row.case, row.peer], row) for row in part.rows)


def heading(part: Part) -> list[str]:
    """Return the lines above a table: machine, versions, threads and variables."""
    facts, settings = part.machine, part.settings
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items())
    variables = {k: v for k, v in facts["variables"].items() if k not in THREAD_VARIABLES}
    kept = {k: v for k, v in variables.items() if k not in facts["unset"]}
    lines = [
        f"{facts['cpu']}, {settings['threads']} of {facts['cores']} cores, {facts['system']}",
        f"gpubp {facts['gpubp']}, Python {facts['python']}, {packages}",
        f"BLAS threads: {settings['threads']} for every peer",
    ]
    if facts["unset"]:
        lines.append(f"unset for every peer: {_assignments(facts['unset'])} (--keep-env keeps)")
    return lines + ([f"set: {_assignments(kept)}"] if kept else [])


def _assignments(variables: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in variables.items())


def describe(case: Case) -> str:
    """Return the properties of a case that its name does not have: data, rows and steps."""
    data = case.dataset or f"drawn from seed {case.seed}"
    if not case.trains:
        return f"{case.rows:,} rows, {case.steps:,} calls"
    if case.mode == "epochs":
        return f"{data}, {case.rows:,} rows, {case.steps:,} steps per epoch"
    epochs = "epoch" if case.epochs == 1 else "epochs"
    if case.population > 1:
        each = case.steps // case.population
        data = f"{case.population:,} networks, {data}"
        return f"{data}, {case.rows:,} rows, {case.epochs:,} {epochs}, {each:,} steps each"
    return f"{data}, {case.rows:,} rows, {case.epochs:,} {epochs}, {case.steps:,} steps per fit"


def table(part: Part) -> str:
    """Return the whole table."""
    baseline, lines = part.settings["suite"]["baseline"], []
    pairs = list(with_cases(part))
    width = max([14, *(len(case.peer) + 3 for case, _ in pairs)])
    columns = heads_of(part)
    heads = [f"x {baseline}" if head == "ratio" else head for head in columns]
    widths = [max(_WIDTHS.get(head, 8), len(head) + 2) for head in heads]
    for name in dict.fromkeys(case.name for case, _ in pairs):
        own = [(case, row) for case, row in pairs if case.name == name]
        lines += ["", f"{name}: {describe(own[0][0])}"]
        head = "".join(f"{h:>{w}}" for h, w in zip(heads, widths, strict=True))
        lines.append(f"{'':<{width}}{head}")
        for case, row in own:
            cells = zip(table_cells(row, columns), widths, strict=True)
            text = "".join(f"{cell:>{w}}" for cell, w in cells)
            line = f"  {case.peer:<{width - 2}}" + (text if row.status == "ok" else row.status)
            lines.append(line.rstrip())
    lines += _notes(pairs)
    if pairs and all(case.peer != baseline for case, _ in pairs):
        lines.append(f"no ratios: {baseline} is not in the table; --baseline names another peer")
    return "\n".join(lines)


def table_cells(row: Row, heads: Sequence[str]) -> list[str]:
    """Return the cells of a row in the columns ``heads``; "-" for a missing figure."""
    if row.status != "ok" or row.timing is None:
        return ["-"] * len(heads)
    figures = row.figures
    mark = "*" if figures.get("disturbed_rounds") else ""
    own = row.peer != FLOOR
    cells = {
        "us/step": f"{figures['us_per_step']:,.1f}",
        "spread": f"{row.timing.spread:.1%}",
        "rows/s": f"{figures['rows_per_second']:,.0f}",
        "ratio": _cell(figures, "ratio", "{:.2f}") if not row.not_compared else "differs",
        "of products": _cell(figures, "of_products", "{:.0%}") if own else "100%",
        "of bytes": _cell(figures, "of_bytes", "{:.0%}"),
        "peak MB": f"{figures['peak_bytes'] / 1e6:.1f}" if "peak_bytes" in figures else "-",
        "other cores": _cell(figures, "other_cores", "{:.1f}") + mark,
        "network-steps/s": _cell(figures, "network_steps_per_second", "{:,.0f}"),
        "of floor": _cell(figures, "of_floor", "{:.0%}"),
    }
    return [cells[head] for head in heads]


def _cell(figures: dict[str, float], name: str, form: str) -> str:
    return form.format(figures[name]) if name in figures else "-"


def _notes(pairs: Sequence[tuple[Case, Row]]) -> Iterator[str]:
    """Yield a line per reason, with the networks that it applies to; then the legend."""
    yield ""
    reasons: dict[str, list[str]] = {}
    for case, row in pairs:
        if row.status == "skipped":
            reasons.setdefault(f"{case.peer} skipped: {row.reason}", [])
        elif why := "; ".join(filter(None, [row.reason, row.not_compared])):
            reasons.setdefault(f"{case.peer} {row.status}: {why}", []).append(case.network)
    for reason, networks in reasons.items():
        yield reason + (f" ({', '.join(dict.fromkeys(networks))})" if networks else "")
    if any(row.figures.get("disturbed_rounds") for _, row in pairs):
        yield "* other processes kept cores busy in a round: do not trust it"
    if any(case.population > 1 for case, _ in pairs):
        yield "network-steps/s: training steps per second, summed over the networks"
    yield "us/step: median of the rounds (or epochs); spread: their quartile distance / median"
    yield "x peer: rows/s divided by that peer's rows/s, median of the ratios within each round"
    yield "of products, of bytes: time of only the matrix products, or of a copy, / time of the row"
    yield "peak MB: memory above imports and data; other cores: cores that other processes used"


def to_csv(part: Part) -> str:
    """Return a part as CSV, with one line per row."""
    text = io.StringIO()
    heads = (*_COLUMNS, "status", "reason", "median_seconds", "low_seconds", "high_seconds")
    losses = ("first_loss", "last_loss")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*heads, "rounds", *losses, *_FIGURES))
    for case, row in with_cases(part):
        reason = "; ".join(filter(None, [row.reason, row.not_compared]))
        timing = row.timing
        seconds = (timing.median, timing.low, timing.high) if timing else ("", "", "")
        first_and_last = (row.losses[0], row.losses[-1]) if row.losses else ("", "")
        found = (row.figures.get(name, "") for name in _FIGURES)
        times = (*seconds, len(row.rounds))
        writer.writerow((*_values(case), row.status, reason, *times, *first_and_last, *found))
    return text.getvalue()


def _values(case: Case) -> Iterable[Any]:
    values = case.values() | {"sizes": "-".join(map(str, case.sizes))}
    return (values[name] for name in _COLUMNS)


def progress_line(progress: Progress, rounds: int) -> str:
    """Return a measurement as a line of text, with the estimated time left."""
    row = progress.row
    told = f"{row.rounds[-1]:.3f} s" if row.rounds else f"{row.status}: {row.reason}"
    count = f"[{progress.done:>{len(str(progress.total))}}/{progress.total}]"
    return (
        f"{count} round {progress.round}/{rounds}, {_duration(progress.left)} left: "
        f"{row.case}, {row.peer}: {told}"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def below(part: Part, least: float) -> list[str]:
    """Return a line for each case in which gpubp is not ``least`` times as fast as the baseline."""
    baseline, problems, compared = part.settings["suite"]["baseline"], [], 0
    for case, row in with_cases(part):
        if case.peer not in OURS or row.status == "skipped":
            continue
        ratio = row.figures.get("ratio")
        if ratio is None:
            why = row.not_compared or row.reason or f"no figure of {baseline} in the same case"
            problems.append(f"{case.name}: {why}")
        elif ratio < least:
            problems.append(f"{case.name}: {ratio:.2f} times {baseline}, below {least:g}")
        compared += 1
    return problems if compared else ["gpubp was not measured"]
