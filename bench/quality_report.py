"""The report of `gpubp bench quality` as text: scores, seconds and memory, table by table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from scipy.stats import rankdata

from gpubp.bench.quality_measurement import TEST_SIZE
from gpubp.bench.quality_tables import TABLES
from gpubp.bench.report import heading
from gpubp.bench.results import Part, Row, find

HEADS = ("spread", "log loss", "fit s", "predict s", "fit MB", "predict MB", "other cores")
METRICS = {"accuracy": "accuracy", "roc_auc": "ROC AUC", "r2": "R²"}


def main_scores(row: Row) -> tuple[float, ...]:
    """Return the main score of a measured row for each seed."""
    return row.by_round[row.notes["metric"]]


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation over the seeds (with n - 1), 0 for one seed."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def quality_heading(part: Part) -> list[str]:
    """Return the lines above the table: machine, versions, threads, and the method."""
    seeds = part.settings["suite"]["rounds"]
    method = f"{seeds} seeds, each with its own split: {TEST_SIZE:.0%} of the rows are for the test"
    return [*heading(part), method]


def quality_table(part: Part) -> str:
    """Return the whole table."""
    lines, width = [], 3 + max((len(row.peer) for row in part.rows), default=0)
    for table, rows in by_table(part):
        lines += ["", describe(table, rows)]
        measured = [row for row in rows if row.status == "ok"]
        if measured:
            heads = [METRICS[measured[0].notes["metric"]], *HEADS]
            lines.append(" " * width + "".join(f"{head:>{len(head) + 3}}" for head in heads))
        for row in measured:
            cells = zip(cells_of(row), heads, strict=True)
            text = "".join(f"{cell:>{len(head) + 3}}" for cell, head in cells)
            lines.append(f"  {row.peer:<{width - 2}}{text}")
    return "\n".join([*lines, *_notes(part)])


def by_table(part: Part) -> Iterator[tuple[str, list[Row]]]:
    """Yield every table with its rows."""
    for table in dict.fromkeys(row.case for row in part.rows):
        yield table, [row for row in part.rows if row.case == table]


def describe(table: str, rows: Sequence[Row]) -> str:
    """Return a line with the kind and the size of a table."""
    text = f"{table}: {TABLES[table].about}" if table in TABLES else table
    for row in rows:
        if row.status == "ok":
            size = row.figures
            text += f"; {size['train_rows']:,.0f} training rows x {size['columns']:,.0f} columns"
            return f"{text}, {size['test_rows']:,.0f} test rows"
    return text


def cells_of(row: Row) -> list[str]:
    """Return the cells of a measured row: the mean of the main score, then those of `HEADS`."""
    figures, scores = row.figures, main_scores(row)
    loss = row.by_round.get("log_loss")
    mean = statistics.fmean
    other = figures.get("other_cores")
    return [
        f"{mean(scores):.4f}",
        f"{spread(scores):.4f}",
        f"{mean(loss):.4f}" if loss else "-",
        f"{mean(row.rounds):.2f}",
        f"{mean(row.by_round['predict_seconds']):.3f}",
        f"{figures['peak_bytes'] / 1e6:.1f}",
        f"{figures['predict_peak_bytes'] / 1e6:.1f}",
        "-" if other is None or other != other else f"{other:.1f}",
    ]


def measured_peers(part: Part) -> list[str]:
    """Return the peers that were measured on a table."""
    return list(dict.fromkeys(row.peer for row in part.rows if row.status == "ok"))


def mean_ranks(part: Part) -> dict[str, Any]:
    """Return the mean "ranks" of the measured peers by the main score; 1 is the best.

    "tables" is the number of tables that all of these peers were measured on, and that count.
    """
    peers, ranks = measured_peers(part), []
    for table, _ in by_table(part):
        rows = [row for peer in peers if (row := find(part.rows, table, peer))]
        if len(rows) == len(peers) > 1:
            ranks.append(rankdata([-statistics.fmean(main_scores(row)) for row in rows]))
    means = [float(sum(of) / len(ranks)) for of in zip(*ranks, strict=True)]
    return {"tables": len(ranks), "ranks": dict(zip(peers, means, strict=False))}


def _notes(part: Part) -> Iterator[str]:
    """Yield the mean ranks, the reasons of missing rows, and the legend."""
    yield ""
    found = mean_ranks(part)
    if found["ranks"]:
        ranks = ", ".join(f"{peer} {rank:.2f}" for peer, rank in found["ranks"].items())
        yield f"mean rank by score over {found['tables']} tables (1 is the best): {ranks}"
    yield from reasons(part)
    yield "spread: standard deviation over the seeds; seconds: means, by the clock; MB: largest"
    yield "fit MB, predict MB: memory above imports and data; other cores: used by other processes"


def reasons(part: Part) -> list[str]:
    """Return a line for each reason why rows are missing: the peer or the table, and the reason."""
    rows: dict[str, list[Row]] = {}
    for row in part.rows:
        if row.reason:
            rows.setdefault(f"{row.status}: {row.reason}", []).append(row)
    found = []
    for reason, of in rows.items():
        peers, tables = ({getattr(row, name): 0 for row in of} for name in ("peer", "case"))
        is_table = len(tables) == 1 < len(peers)  # such as one of a package that is missing
        where = "" if is_table or "skipped" in reason else f" ({', '.join(tables)})"
        found.append(f"{', '.join(tables if is_table else peers)} {reason}{where}")
    return found
