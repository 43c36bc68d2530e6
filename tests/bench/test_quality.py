"""`gpubp bench quality`: its tables, peers and scores, a tiny run, the report and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from gpubp.__main__ import main
from gpubp.bench import quality_tables as made
from gpubp.bench.quality import PEERS, TABLES, QualityRun, quality_suite
from gpubp.bench.quality_measurement import QualityCase, measure, scores, split
from gpubp.bench.quality_page import Errors, quality_page, ratios
from gpubp.bench.quality_peers import Job, QualityPeer, columns, matrix, train_ours
from gpubp.bench.quality_report import cells_of, mean_ranks, quality_table, reasons, spread
from gpubp.bench.quality_tables import RawTable, Source
from gpubp.bench.results import Part, Row, load
from gpubp.bench.runner import Plan

DRAWN = (
    *(made.irrelevant, made.heavy_tails, made.levels, made.gaps, made.binary_columns, made.rare),
    *(made.letters, made.prices, made.jumps, made.arm, made.census),
)


def a_table(task: made.Task = "classification") -> RawTable:
    """600 rows of two numbers and a category of 300 levels, with gaps."""
    rng = np.random.default_rng(0)
    numbers, level = rng.normal(size=(600, 2)), np.arange(600) % 300
    y = numbers[:, 0] + (level % 2)
    numbers[::7, 1] = np.nan
    names = level.astype("U9")
    names[::11] = ""
    labels = y if task == "regression" else (y > 0.5).astype(np.int64)
    metric = "r2" if task == "regression" else "accuracy"
    return RawTable(task, metric, numbers, names[:, None], labels)


def a_row(peer: str, *values: float, table: str = "wine") -> Row:
    more = {"accuracy": values, "log_loss": values, "predict_seconds": values}
    figures = {"train_rows": 8.0, "test_rows": 2.0, "columns": 3.0, "classes": 2.0}
    figures |= {"peak_bytes": 2e6, "predict_peak_bytes": 1e6, "other_cores": 0.5}
    notes, seconds = {"metric": "accuracy"}, (1.0,) * len(values)
    return Row(table, peer, figures=figures, rounds=seconds, by_round=more, notes=notes)


def a_part(*rows: Row) -> Part:
    facts = {"cpu": "c", "cores": 2, "system": "s", "gpubp": "0", "python": "3"}
    facts |= {"packages": {"numpy": "2"}, "variables": {}, "unset": {}}
    settings = {"suite": {"rounds": 2, "baseline": "gpubp"}, "threads": 1, "keep_env": False}
    return Part(facts, "now", 1.0, rows, settings)


# ---- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", DRAWN)
def test_drawn_tables_are_the_same_twice(make: Any) -> None:
    first, second = make(400), make(400)
    for one, other in zip(first[2:], second[2:], strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(first.numbers) == len(first.categories) == len(first.y) == 400
    assert np.isfinite(first.y).all()
    assert first.categories.dtype.kind == "U"


def test_all_tables_need_no_download_and_most_are_drawn() -> None:
    assert {source.make.func for source in TABLES.values() if hasattr(source.make, "func")} == {
        *DRAWN,
        made.bundled,
    }
    assert [name for name, source in TABLES.items() if source.package] == ["mnist_5k"]


def test_drawn_tables_are_as_described() -> None:
    table = made.gaps(2000)
    assert np.isnan(table.numbers).mean() == pytest.approx(0.2, abs=0.03)
    assert (table.categories == "").mean() == pytest.approx(0.2, abs=0.03)
    table = made.rare(5000)
    assert (table.y.sum(), table.metric) == (50, "roc_auc")
    assert set(np.unique(made.binary_columns(300).numbers)) == {0.0, 1.0}
    assert len(np.unique(made.letters(2000).y)) == 26
    assert len(np.unique(made.levels(20_000).categories[:, 0])) > 300
    prices = made.prices(2000).y
    assert prices.mean() > 1.1 * np.median(prices)


def test_a_table_takes_the_form_of_each_library() -> None:
    names = np.array([["b"], [""], ["a"]])
    table = RawTable("regression", "r2", np.array([[1.0], [np.nan], [3.0]]), names, np.arange(3.0))
    np.testing.assert_array_equal(matrix(table), [[1.0, 2.0], [np.nan, np.nan], [3.0, 1.0]])
    assert list(columns(table)) == ["number0", "category0"]
    assert columns(table)["category0"].tolist() == ["b", "", "a"]


def test_every_seed_splits_the_rows_its_own_way() -> None:
    table = a_table()
    train, test = split(table, 0)
    assert (len(train), len(test)) == (480, 120)
    assert sorted([*train, *test]) == list(range(600))
    np.testing.assert_array_equal(test, split(table, 0)[1])
    assert set(test) != set(split(table, 1)[1])
    assert table.y[test].mean() == pytest.approx(table.y.mean(), abs=0.01)


# ---- scores ------------------------------------------------------------------------------------


def test_scores_of_probabilities_are_those_by_hand() -> None:
    table = RawTable("classification", "accuracy", *([np.empty(0)] * 2), np.array([9, 0, 0, 1, 1]))
    P = np.array([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9]])
    found = scores(table, np.array([0, 1]), P, np.array([1, 2, 3, 4]))
    # Rows 1, 3 and 4 have their class most probable; argmax of row 3 is 0, so it is wrong.
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.4, 0.5, 0.9]).mean())
    # Of the four pairs of a positive (.5, .9) and a negative (.2, .6), three are in order.
    assert found["roc_auc"] == 0.75


def test_scores_of_numbers_are_those_by_hand() -> None:
    table = RawTable("regression", "r2", *([np.empty(0)] * 2), np.array([0.0, 1.0, 2.0, 3.0]))
    found = scores(table, None, np.array([1.0, 2.0, 5.0]), np.array([1, 2, 3]))
    assert found["r2"] == -1.0  # squares: of the errors 0 + 0 + 4, around the mean 1 + 0 + 1
    assert found["rmse"] == pytest.approx((4 / 3) ** 0.5)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.filterwarnings("ignore")  # of the libraries; the suite ignores them, too
def test_each_peer_learns(peer: str, task: made.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, "wine", Source(lambda: a_table(task), "a test"))
    case = QualityCase("wine", peer)
    if case.missing:
        pytest.skip(case.missing)
    row = measure(case, 1, 0)
    names = {"accuracy", "log_loss", "roc_auc"} if task == "classification" else {"r2", "rmse"}
    assert {*names, "predict_seconds"} <= set(row.by_round)
    assert row.by_round[row.notes["metric"]][0] > 0.5
    assert (row.figures["train_rows"], row.figures["test_rows"]) == (480, 120)
    assert (row.figures["columns"], row.figures["classes"] > 0) == (3, task == "classification")
    assert row.rounds[0] > 0


def test_a_preset_is_an_entry() -> None:
    job = Job("classification", 2, 1, 5)
    peer = QualityPeer(partial(train_ours, preset="plain", hidden_layer_sizes=(3,)), columns)
    model = peer.train(job, peer.inputs(a_table()), a_table().y)
    assert [W.shape[-1] for W in model.network_.coefs_] == [3, 1]
    assert (model.random_state, model.threads) == (5, 1)


# ---- runs --------------------------------------------------------------------------------------


def test_a_tiny_run_writes_all_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, page = tmp_path / "r.json", tmp_path / "p.html"
    base = ["bench", "quality", "--tables", "wine", "--peers", "gpubp_plain,sklearn_mlp"]
    base += ["--threads", "1", "-o", str(path)]
    assert main([*base, "--seeds", "1", "--html", str(page)]) == 0
    out, err = capsys.readouterr()
    assert "1 seeds, each with its own split: 20% of the rows are for the test" in out
    assert "wine: 178 wines, 3 classes; 142 training rows x 13 columns, 36 test rows" in out
    assert "round 1/1" in err
    assert "<h1>gpubp bench quality</h1>" in page.read_text(encoding="utf-8")
    assert main([*base, "--seeds", "2", "--resume", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "2 measurements are already in the results file" in err
    lines = out.splitlines()
    assert [json.loads(line)["peer"] for line in lines] == ["gpubp_plain", "sklearn_mlp"]
    part = load(path)["quality"]
    assert (part.settings["suite"]["kind"], part.settings["threads"]) == ("quality", 1)
    for row in part.rows:
        assert row.status == "ok", row.reason
        assert len(row.rounds) == 2
        assert {len(values) for values in row.by_round.values()} == {2}
        assert {"accuracy", "log_loss", "roc_auc", "predict_seconds"} <= set(row.by_round)
        assert {"peak_bytes", "predict_peak_bytes", "other_cores"} <= set(row.figures)
    assert main([*base, "--seeds", "1"]) == 0  # a finished run may be replaced
    assert "earlier results of this suite are kept" in capsys.readouterr().err
    assert main(["bench", "compare", str(path), str(path)]) == 2


def test_missing_packages_are_skipped_with_their_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(PEERS, "other", PEERS["gpubp"]._replace(package="no-such-package"))
    monkeypatch.setitem(TABLES, "far", TABLES["wine"]._replace(package="no-such-data"))
    suite = quality_suite(["wine", "far"], ["other"], seeds=3)
    run = QualityRun(Plan(suite, 1), tmp_path / "r.json")
    assert len(list(run.measure())) == 2  # once, not for each seed
    reasons_of = {row.case: (row.status, row.reason) for row in run.part().rows}
    assert reasons_of == {
        "wine": ("skipped", "no-such-package is not installed: pip install no-such-package"),
        "far": ("skipped", "no-such-data is not installed: pip install no-such-data"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tables", "iris"), "--tables: 'iris' is not in the suite; it has wine, diabetes"),
        (("--peers", "x"), "--peers: 'x' is not in the suite; it has gpubp, gpubp_plain"),
        (("--threads", "4000"), "--threads 4000: there are"),
        (("--seeds", "0"), "--seeds"),
    ],
)
def test_bad_options_are_named(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "quality", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_lists_tables_and_peers(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--dry-run", "--tables", "wine, rare", "--peers", "gpubp", "--threads", "1"]
    assert main(["bench", "quality", *arguments]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wine: 178 wines, 3 classes",
        "rare: 1 % positives",
        "  gpubp",
        "2 cases with 3 seeds: 6 processes of 1 threads",
    ]


# ---- the report --------------------------------------------------------------------------------


def test_the_report_has_means_and_spreads_by_hand() -> None:
    assert spread([0.5]) == 0
    assert spread([0.5, 0.7]) == pytest.approx(0.2 / 2**0.5)
    row = a_row("gpubp", 0.5, 0.7)
    expected = ["0.6000", "0.1414", "0.6000", "1.00", "0.600", "2.0", "1.0", "0.5"]
    assert cells_of(row) == expected
    text = quality_table(a_part(row, Row("wine", "xgboost", "skipped", "it is not installed")))
    assert "wine: 178 wines, 3 classes; 8 training rows x 3 columns, 2 test rows" in text
    assert "xgboost skipped: it is not installed" in text
    assert "mean rank" not in text  # of one peer


def test_ranks_are_means_over_the_tables_that_all_peers_have() -> None:
    rows = [
        *(a_row("gpubp", 0.9), a_row("b", 0.8), a_row("c", 0.8)),
        *(a_row(peer, 0.5 + k / 10, table="digits") for k, peer in enumerate(["gpubp", "b", "c"])),
        a_row("gpubp", 0.5, table="rare"),  # of one peer only
    ]
    found = mean_ranks(a_part(*rows))
    assert found == {"tables": 2, "ranks": {"gpubp": 2.0, "b": 2.25, "c": 1.75}}


def test_reasons_name_the_peer_or_the_table() -> None:
    def skipped(table: str, peer: str, reason: str) -> Row:
        return Row(table, peer, "skipped", reason)

    rows = [
        *(skipped(table, "x", "no x") for table in ("a", "b")),
        *(skipped("mnist", peer, "no data") for peer in ("p", "q")),
        *(Row(table, "p", "failed", "it broke") for table in ("a", "b")),
    ]
    assert reasons(a_part(*rows)) == [
        "x skipped: no x",
        "mnist skipped: no data",
        "p failed: it broke (a, b)",
    ]


def test_the_page_shows_errors_over_those_of_the_first_peer() -> None:
    rows = a_row("gpubp", 0.9, 0.8), a_row("xgboost", 0.7, 0.8), a_row("lightgbm", 1.0, 1.0)
    part = a_part(*rows, Row("wine", "realmlp_td", "skipped", "it is <not> installed"))
    ((table, found),) = ratios(part)
    assert table == "wine"
    # Mean errors .15, .25 and 0; by seed .3 / .1 and .2 / .2.
    assert [one.peer for one in found] == ["gpubp", "xgboost", "lightgbm"]
    np.testing.assert_allclose(found[1][1:], Errors("", 5 / 3, 1.0, 3.0)[1:])
    np.testing.assert_allclose(found[2][1:], 0)
    text = quality_page(part)
    assert "Error over that of gpubp" in text
    assert "realmlp_td skipped: it is &lt;not&gt; installed" in text
    drawing = text[text.index("<svg", text.index("<figure")) :]
    ElementTree.fromstring(drawing[: drawing.index("</svg>") + len("</svg>")])
    assert text.count("<tr") == 1 + 1 + (1 + 3) + (1 + 3)


def test_a_perfect_first_peer_has_ratios() -> None:
    rows = a_row("gpubp", 1.0, 1.0), a_row("b", 1.0, 0.9)
    ((_, found),) = ratios(a_part(*rows))
    assert found[1] == Errors("b", np.inf, 1.0, np.inf)
    assert "<svg" in quality_page(a_part(*rows))
    assert ratios(a_part(replace(rows[0], status="failed"))) == []
