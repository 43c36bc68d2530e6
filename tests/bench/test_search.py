"""The benchmark of searches: the same candidates and scores, the rounds and the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpubp.bench import search as command
from gpubp.bench.results import Row, load
from gpubp.bench.search import main, measure, table, with_ratios
from gpubp.bench.search_measurement import PEERS, Search, to_json
from gpubp.bench.search_measurement import measure as measure_one

TINY = Search("gpubp", candidates=3, folds=2, epochs=3, rows=200, jobs=1)
MACHINE = {"packages": {"numpy": "2"}, "cpu": "c", "cores": 2, "python": "3"}


def test_all_searches_find_the_same_candidate() -> None:
    rows = [measure_one(replace(TINY, peer=peer)) for peer in PEERS]
    assert [row.peer for row in rows] == ["gpubp", "gpubp_in_sklearn", "sklearn"]
    assert len({row.case for row in rows}) == 1
    for row in rows:
        assert row.notes == rows[0].notes
        assert "learning_rate_init" in row.notes["best_params"]
        assert row.figures["best_score"] == pytest.approx(rows[0].figures["best_score"], abs=0.02)
        assert row.figures["best_score"] >= row.figures["mean_score"] > 0
        assert row.rounds[0] > 0


def a_row(search: Search) -> Row:
    """A row without a search: each round of gpubp takes 1 s, of scikit-learn 4 s."""
    seconds = 1.0 if search.peer == "gpubp" else 4.0
    figures = {"best_score": 0.9, "mean_score": 0.5, "other_cores": seconds / 10}
    return Row(search.name, search.peer, rounds=(seconds,), figures=figures)


def test_rounds_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_measured", a_row)
    rows = with_ratios(measure(TINY, 2))
    assert [row.rounds for row in rows] == [(1.0, 1.0), (4.0, 4.0), (4.0, 4.0)]
    assert [row.figures["ratio"] for row in rows] == [4.0, 1.0, 1.0]
    lines = list(table(rows, MACHINE, TINY))
    assert lines[2] == "| MLPSearchCV | 1.00 | 4.00 | 0.9000 | 0.5000 | 0.1 |"
    assert len(lines) == 2 + 3 + 2


def test_a_search_that_fails_once_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = iter(["ok", "failed", "ok", "failed", "ok", "ok"])

    def measured(search: Search) -> Row:
        return replace(a_row(search), status=next(rows), reason="why")

    monkeypatch.setattr(command, "_measured", measured)
    assert [row.status for row in measure(TINY, 2)] == ["failed", "failed", "ok"]


def test_the_command_prints_and_saves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "_measured", a_row)
    path = tmp_path / "search.json"
    done = CliRunner().invoke(main, ["--rounds", "1", "--jobs", "2", "--json", str(path)])
    assert done.exit_code == 0, done.output
    assert "60 candidates x 5 folds, 30 epochs, 1,797 rows" in done.output
    part = load(path)["search"]
    sizes = {"candidates": 60, "folds": 5, "epochs": 30, "rows": 1797}
    assert part.settings["search"] == sizes | {"jobs": 2, "seed": 0}
    assert [row.figures["ratio"] for row in part.rows] == [4.0, 1.0, 1.0]


def test_a_failure_is_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_measured", lambda s: Row(s.name, s.peer, "failed", "no room"))
    done = CliRunner().invoke(main, ["--rounds", "1"])
    assert done.exit_code == 1
    assert "gpubp: no room" in done.output


def test_a_process_measures_one_search() -> None:
    row = command._measured(TINY)
    assert (row.status, row.peer, row.case) == ("ok", "gpubp", TINY.name), row.reason
    assert Search(**json.loads(to_json(TINY))) == TINY
