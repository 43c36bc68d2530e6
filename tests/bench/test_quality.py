from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gpubp.bench.quality import HEAD, LEARNERS, Result, encoded, line, quality
from gpubp.bench.quality_tables import TABLES, RawTable, bundled, mixed


def test_rows_are_encoded_by_what_the_training_rows_say() -> None:
    numbers = np.arange(40.0)[:, None]
    numbers[:20] = np.nan
    kinds = np.array([["a"], ["b"]] * 20)
    table = RawTable("regression", "r2", numbers, kinds, np.arange(40.0))
    rows = encoded(table, 0)
    assert (rows.X.shape, rows.X_test.shape) == ((30, 4), (10, 4))
    np.testing.assert_allclose(rows.X[:, :2].mean(axis=0), 0, atol=1e-12)
    gaps = rows.y < 20
    assert len(np.unique(rows.X[gaps, 0])) == 1  # the median
    assert (rows.X[gaps, 1] > 0).all()
    assert (rows.X[~gaps, 1] < 0).all()
    np.testing.assert_array_equal(rows.X_test[:, 2], rows.y_test % 2 == 0)
    np.testing.assert_array_equal(rows.X_test[:, 3], rows.y_test % 2 == 1)


def test_drawn_tables_are_the_same_twice_and_have_gaps() -> None:
    first, second = (mixed(500, "several", 3) for _ in range(2))
    np.testing.assert_array_equal(first.numbers, second.numbers)
    np.testing.assert_array_equal(first.y, second.y)
    assert first.y.shape == (500, 3)
    assert 100 < np.isnan(first.numbers).sum() < 300  # 5 % of 4,000
    assert first.categories is not None
    assert 20 < (first.categories == "?").sum() < 90
    assert np.isfinite(first.y).all()


def test_positives_are_as_rare_as_asked() -> None:
    table = mixed(1000, "class", 3, positives=0.01)
    assert (table.y.sum(), table.metric) == (10, "average_precision")


def test_a_line_has_a_cell_for_each_learner() -> None:
    scores = [{"r2": 0.5}, {"r2": 0.7}]
    of = {"scikit-learn": [2.0, 4.0], "recipe": [1.0, 2.0]}
    results = [Result("t", name, (1500, 4), "r2", scores, seconds) for name, seconds in of.items()]
    own = "0.600 ± 0.100"
    assert line(results) == f"| t, 1,500 x 4 | r2 | {own}, 3.00 s | - | {own}, 1.50 s | 0.50 |"
    assert line(results[:1]) == f"| t, 1,500 x 4 | r2 | {own}, 3.00 s | - | - | - |"
    assert line(results).count("|") == len(HEAD) + 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_each_learner_learns(task: str, learner: str) -> None:
    table = bundled("wine") if task == "classes" else mixed(1200, "several", 3)
    scores, seconds = LEARNERS[learner](encoded(table, 0), 0)
    assert scores[table.metric] > {"classes": 0.6, "numbers": 0.3}[task]
    assert seconds > 0


def test_the_command_prints_a_table_and_writes_all_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLES, "small", lambda: bundled("iris"))
    path = tmp_path / "quality.json"
    options = ["small", "--seeds", "2", "--learner", "recipe", "--json", str(path)]
    result = CliRunner().invoke(quality, options)
    assert result.exit_code == 0, result.output
    head, rule, row = result.output.splitlines()
    assert head == "| table | score | scikit-learn | early stopping | recipe | time |"
    assert rule == "|---|---|---|---|---|---|"
    assert row.startswith("| small, 112 x 4 | accuracy | - | - | 0.9")
    content = json.loads(path.read_text(encoding="utf-8"))
    (found,) = content["results"]
    assert (found["learner"], found["shape"]) == ("recipe", [112, 4])
    assert [set(scores) >= {"accuracy", "log_loss"} for scores in found["scores"]] == [True, True]
    assert len(found["seconds"]) == 2
    assert content["machine"]["cpu"]


def test_an_unknown_table_is_named() -> None:
    result = CliRunner().invoke(quality, ["nope"])
    assert result.exit_code == 2
    assert "no table 'nope'; there are iris, wine" in result.output
