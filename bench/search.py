"""`python -m gpubp.bench.search`: compares MLPSearchCV with searches of scikit-learn.

All searches train the same candidates on the same folds of scikit-learn's digits, each for at most
the same number of epochs. They run in turns, each in a fresh process. The table shows medians over
the rounds; a ratio is that of the seconds within a round.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import click

from gpubp.backends.blas_threads import usable_cores
from gpubp.bench.isolation import isolated_row
from gpubp.bench.machine import machine
from gpubp.bench.ratios import ratio_of
from gpubp.bench.results import Part, Row, save
from gpubp.bench.runner import environment
from gpubp.bench.search_measurement import PEERS, Search, to_json

# Without -P, modules in the current folder would hide installed ones.
CHILD = (sys.executable, "-P", "-m", "gpubp.bench.search_measurement")
BASELINE = "sklearn"
SECONDS = 600.0  # limit of one search
_NAMES = {
    "gpubp": "MLPSearchCV",
    "gpubp_in_sklearn": "RandomizedSearchCV of gpubp's MLPClassifier",
    "sklearn": "RandomizedSearchCV of scikit-learn's MLPClassifier",
}


@click.command(help=__doc__)
@click.option("--candidates", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=30, show_default=True)
@click.option("--rows", type=click.IntRange(min=100), default=1797, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes of scikit-learn's searches.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Results file.")
def main(rounds: int, path: Path | None, jobs: int | None, **sizes: int) -> None:
    """Measure all searches in turn, and print the table."""
    started, begun = datetime.now(UTC).isoformat(timespec="seconds"), monotonic()
    search = Search(BASELINE, jobs=jobs or usable_cores(), **sizes)
    rows = with_ratios(measure(search, rounds))
    known = machine("cpu")
    for line in table(rows, known, search):
        click.echo(line)
    if path is not None:
        settings = {"search": {name: getattr(search, name) for name in (*sizes, "jobs", "seed")}}
        part = Part(known, started, monotonic() - begun, tuple(rows), settings)
        save({"search": part}, path)
    if failed := [row for row in rows if row.status == "failed"]:
        raise click.ClickException(f"{failed[0].peer}: {failed[0].reason}")


def measure(search: Search, rounds: int) -> list[Row]:
    """Return the row of each peer over all rounds."""
    rows: dict[str, Row] = {}
    for number in range(rounds):
        for peer in PEERS:
            row = _measured(replace(search, peer=peer))
            click.echo(f"round {number + 1}/{rounds}: {peer}: {_result(row)}", err=True)
            rows[peer] = _merged(rows[peer], row) if number else row
    return list(rows.values())


def _merged(old: Row, new: Row) -> Row:
    """Return the row of all rounds so far; a search that fails once has failed."""
    if old.status != "ok" or new.status != "ok":
        return old if old.status != "ok" else new
    figures = dict(new.figures)
    if "other_cores" in figures:
        figures["other_cores"] = max(old.figures["other_cores"], figures["other_cores"])
    return replace(new, rounds=old.rounds + new.rounds, figures=figures)


def _measured(search: Search) -> Row:
    cores = usable_cores()
    # Each process of scikit-learn's search gets its share of the cores.
    threads = cores if search.peer == "gpubp" else max(1, cores // search.jobs)
    return isolated_row(
        [*CHILD, to_json(search)],
        f"{search.peer}/{search.name}",
        seconds=SECONDS,
        environment=environment(threads, keep_env=False),
    )


def _result(row: Row) -> str:
    return f"{row.rounds[-1]:.2f} s" if row.rounds else f"{row.status}: {row.reason}"


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their speed divided by that of the baseline, within rounds."""
    known = [row for row in rows if row.peer == BASELINE and row.status == "ok"]
    return [
        replace(row, figures=row.figures | {"ratio": ratio_of(known[0], row)})
        if known and row.status == "ok"
        else row
        for row in rows
    ]


def table(rows: Sequence[Row], known: dict[str, Any], search: Search) -> Iterator[str]:
    """Yield the lines of a table in Markdown, and the conditions."""
    heads = ("search", "s", f"x {BASELINE}", "best score", "mean score", "other cores")
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        figures = row.figures
        if row.status != "ok":
            yield f"| {_NAMES[row.peer]} | {row.status} |"
            continue
        cells = (
            _NAMES[row.peer],
            f"{statistics.median(row.rounds):.2f}",
            f"{figures['ratio']:.2f}" if "ratio" in figures else "-",
            f"{figures['best_score']:.4f}",
            f"{figures['mean_score']:.4f}",
            f"{figures['other_cores']:.1f}" if "other_cores" in figures else "-",
        )
        yield f"| {' | '.join(cells)} |"
    packages = ", ".join(f"{name} {found}" for name, found in known["packages"].items())
    yield f"{search.name}, {search.rows:,} rows; scikit-learn's searches with {search.jobs} jobs"
    yield f"{known['cpu']}, {known['cores']} cores; Python {known['python']}, {packages}"


if __name__ == "__main__":
    main()
