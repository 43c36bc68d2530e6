"""`gpubp bench quality`: how well gpubp and other libraries learn tables.

Each round is a seed, with its own split into training and test rows and its own seed of the
models. No test row is used to train or to choose anything.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from gpubp.bench.machine import installed
from gpubp.bench.quality_measurement import QualityCase
from gpubp.bench.quality_peers import PEERS
from gpubp.bench.quality_tables import TABLES
from gpubp.bench.results import Row
from gpubp.bench.runner import Plan, Run
from gpubp.bench.suite import Suite

NAME = "quality"
SEEDS, SECONDS = 3, 600.0  # rounds, and the time limit of a process
# Without -P, modules in the current folder would hide installed ones.
CHILD = (sys.executable, "-P", "-m", "gpubp.bench.quality_measurement")


def quality_suite(
    tables: Sequence[str] = tuple(TABLES),
    peers: Sequence[str] = tuple(PEERS),
    seeds: int = SEEDS,
    timeout: float = SECONDS,
) -> Suite:
    """Return the suite of ``tables`` and ``peers``; the first peer is the baseline."""
    cases = tuple(QualityCase(table, peer) for table in tables for peer in peers)
    return Suite(NAME, cases, seeds, timeout, peers[0], kind=NAME)


class QualityRun(Run):
    """A run of the suite of tables."""

    def __init__(self, plan: Plan, path: Path) -> None:
        super().__init__(plan, path)
        packages = {peer.package for peer in PEERS.values()}
        packages |= {table.package for table in TABLES.values()}
        found = {
            name: version for name in sorted(packages) if name and (version := installed(name))
        }
        self._machine["packages"] |= found

    def _measured(self, case: QualityCase, number: int) -> Row:
        if case.missing:
            return Row(*case.key, "skipped", case.missing)
        return super()._measured(case, number)

    def _command(self, case: QualityCase, number: int) -> list[str]:
        return [*CHILD, case.to_json(), str(self._plan.threads), str(number - 1)]

    def _with_figures(self) -> list[Row]:
        keys = (case.key for case in self._plan.suite.cases)
        return [self._rows[key] for key in keys if key in self._rows]
