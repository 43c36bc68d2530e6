"""A table read block by block: its encoded rows, its kinds of columns, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gpubp import TableClassifier, TableRegressor
from gpubp.models import large_table_fit, large_table_rows
from gpubp.models.large_table_fit import LargeFit, LargeTableTraining, fit_large_table
from gpubp.models.large_table_rows import LargeTable, classes_of, drawn_sample
from gpubp.models.memory_shares import MemoryShares, least_memory
from gpubp.models.save_load import load, save
from gpubp.tables.files.parquet_blocks import open_parquet
from gpubp.tables.read import DataError, ReadOptions, read_table
from gpubp.tables.table import Table
from gpubp.tables.target import Task, rows_with_target

duckdb = pytest.importorskip("duckdb")

N = 6000
# Blocks of about 1,000 rows, all rows in the sample, and many blocks in each group of the training.
SHARES = MemoryShares(10**9, 10**9, 10**9, 200_000, 100_000, 1 << 27)
SMALL = MemoryShares(20_000, 30_000, 10_000, 200_000, 100_000, 1 << 27)
PLAIN: dict[str, Any] = {"preset": "plain", "random_state": 0, "max_iter": 6}
TABLE = """
    SELECT hash(i) % 1000 / 1000 AS a, CASE WHEN i % 7 > 0 THEN hash(i + 1e6::INT) % 99 / 10 END b,
        'k' || (hash(i + 2e6::INT) % 5) AS kind,
        CASE WHEN hash(i) % 1000 + hash(i + 3e6::INT) % 300 > 600 THEN 'yes' ELSE 'no' END AS y,
        hash(i) % 1000 / 50 + (hash(i + 2e6::INT) % 5) AS z
"""


def write(path: Path, sql: str = TABLE, rows: int = N) -> Path:
    duckdb.sql(
        f"COPY ({sql} FROM range({rows}) AS t(i)) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
    )
    return path


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw samples of few runs, which take less time."""
    monkeypatch.setattr(large_table_rows, "RUNS", 8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "data.parquet")


@contextmanager
def opened(
    path: Path, target: str = "y", task: Task = "classification", shares: MemoryShares = SHARES
) -> Iterator[LargeTable]:
    with open_parquet(path, ReadOptions(), shares.database) as parquet:
        sample = drawn_sample(parquet, shares.sample, 0, (target,))
        sample, _ = rows_with_target(sample, (target,))
        classes, rows = None, None
        if task == "classification":
            classes, rows, _ = classes_of(parquet, target)
        yield LargeTable(parquet, (target,), task, sample, classes, rows, shares)


class Done(NamedTuple):
    model: Any
    fit: LargeFit
    training: LargeTableTraining


def fitted(path: Path, model: Any, test: float = 0.2, **of: Any) -> Done:
    task: Task = "classification" if isinstance(model, TableClassifier) else "regression"
    with opened(path, task=task, **of) as large:
        training = LargeTableTraining(model, large, test, path.parent, 0)
        return Done(model, fit_large_table(training, lambda: None), training)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Fits, and gives what the fit got with the encoded rows: X, y and the validation rows."""

    def run(*args: Any, **of: Any) -> tuple[Done, Any]:
        found = []
        encode = large_table_fit.encode_rows

        def noted(*args: Any) -> Any:
            found.append(encode(*args))
            rows = found[-1]
            found.append((rows.X.array.copy(), rows.y, rows.held))
            return rows

        monkeypatch.setattr(large_table_fit, "encode_rows", noted)
        return fitted(*args, **of), found[1]

    return run


def test_encoded_rows_are_those_of_the_table_in_memory(path: Path, encoded: Any) -> None:
    done, (X, y, held) = encoded(path, TableClassifier(**PLAIN))
    table, roles = read_table(path), done.training.roles
    assert roles.test.sum() == pytest.approx(0.2 * N, rel=0.1)
    assert roles.held.sum() == pytest.approx(0.08 * N, rel=0.2)
    assert not (roles.test & roles.held).any()
    kept = np.flatnonzero(~(roles.test | roles.held))
    encoder = done.model._encoder()
    features = table.select(["a", "b", "kind", "z"])
    wanted = encoder.fit_transform(features.take(kept), whole=table)
    np.testing.assert_array_equal(X, wanted)  # each row once, in order
    labels = table.column("y").texts()  # type: ignore[union-attr]
    assert done.model.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(done.model.classes_[y], labels[kept])
    np.testing.assert_array_equal(
        held[0], encoder.transform(features.take(np.flatnonzero(roles.held)))
    )
    np.testing.assert_array_equal(done.model.classes_[held[1]], labels[roles.held])
    assert done.fit.n_rows == N - roles.test.sum()
    assert done.fit.test.row_numbers is not None
    np.testing.assert_array_equal(done.fit.test.row_numbers, np.flatnonzero(roles.test) + 1)


@pytest.mark.parametrize("preset", ["plain", "tuned"])
def test_the_loss_is_that_in_memory(path: Path, preset: str) -> None:
    of = PLAIN | {"preset": preset, "n_members": None, "hidden_layer_sizes": (32,)}
    done = fitted(path, TableClassifier(**of))
    whole = TableClassifier(**of)
    table = read_table(path)
    kept = np.flatnonzero(~done.training.roles.test)
    whole.fit_table(table.take(kept), ["y"])
    got, wanted = (model.evaluate(done.fit.test, "y") for model in (done.model, whole))
    assert got["log_loss"] == pytest.approx(wanted["log_loss"], abs=0.04)
    assert got["accuracy"] == pytest.approx(wanted["accuracy"], abs=0.03)


def test_a_small_sample_and_small_parts_learn_too(path: Path) -> None:
    done = fitted(path, TableClassifier(**PLAIN), shares=SMALL)
    assert len(done.fit.sample) < N / 4
    assert 100 < len(done.fit.test) < 0.2 * N
    assert done.model.about_["validation_rows"] < 0.08 * N
    assert done.model.evaluate(done.fit.test, "y")["accuracy"] > 0.85
    again = fitted(path, TableClassifier(**PLAIN), shares=SMALL)
    assert again.fit.history.losses == done.fit.history.losses


def test_a_regression(path: Path) -> None:
    done = fitted(path, TableRegressor(**PLAIN, features=("a", "kind")), target="z", shares=SMALL)
    assert done.model.evaluate(done.fit.test, "z")["r2"] > 0.98
    assert done.model.network_.target_mean_ == pytest.approx(12, abs=0.5)


def test_a_saved_model_predicts_the_same(path: Path, tmp_path: Path) -> None:
    done = fitted(path, TableClassifier(**PLAIN), shares=SMALL)
    save(done.model, tmp_path / "m.safetensors")
    again: Any = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(
        again.predict_proba(done.fit.test), done.model.predict_proba(done.fit.test)
    )
    assert again.predict(done.fit.test)[0] in ("no", "yes")


def test_more_than_two_classes_and_their_weights(path: Path) -> None:
    weights = {f"k{k}": 1.0 + 10 * k for k in range(5)}
    model = TableClassifier(**PLAIN, class_weight=weights, features=("a", "b"))
    done = fitted(path, model, target="kind")
    assert done.model.network_.class_weight == weights
    assert done.model.classes_.tolist() == [f"k{k}" for k in range(5)]
    assert sum(done.model.about_["class_rows"]) == done.fit.n_rows
    predicted = done.model.predict(done.fit.test)
    assert (predicted == "k4").mean() > 0.5  # the heaviest, as nothing tells them apart


def test_the_rarer_of_two_texts_is_positive(tmp_path: Path) -> None:
    for rare in ("aye", "zero"):
        sql = f"SELECT i % 77 / 77 AS x, CASE WHEN i % 5 = 0 THEN '{rare}' ELSE 'most' END AS y"
        done = fitted(write(tmp_path / "a.parquet", sql), TableClassifier(**PLAIN))
        assert done.model.positive_class_ == rare


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    sql = "SELECT i % 77 / 77 AS x, CASE WHEN i % 4 = 0 THEN NULL ELSE i % 2 END AS y"
    done = fitted(write(tmp_path / "a.parquet", sql), TableClassifier(**PLAIN))
    assert done.fit.left_out == N / 4
    assert done.fit.n_rows + len(done.fit.test) == 3 * N / 4
    assert done.model.classes_.tolist() == [0, 1]


@pytest.fixture
def first_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws samples of the first 2,000 rows only, so that later blocks may surprise."""
    from gpubp.tables.concatenated import concatenated

    def drawn(parquet: Any, room: int, seed: int, as_text: Any) -> Table:
        return concatenated([parquet.read(parquet.blocks(2000)[0], as_text=as_text)])

    monkeypatch.setitem(globals(), "drawn_sample", drawn)


@pytest.mark.usefixtures("first_rows")
def test_what_the_sample_lacks_is_taken_as_in_new_rows(tmp_path: Path, encoded: Any) -> None:
    sql = """SELECT CASE WHEN i < 3000 OR i % 2 = 0 THEN hash(i) % 100 / 10 END AS gaps,
        CASE WHEN i < 3000 THEN 'k' || i % 3 ELSE 'new' END AS kind,
        CASE WHEN i < 3000 THEN i % 2 ELSE 2 END AS y"""
    done, (X, _, _) = encoded(write(tmp_path / "a.parquet", sql), TableClassifier(**PLAIN))
    assert done.model.classes_.tolist() == [0, 1, 2]  # of all rows
    assert np.isfinite(X).all()
    names = done.training.encoder.get_feature_names_out().tolist()
    assert names[0] == "gaps"
    assert not X[-1, 1:].any()  # an unknown category, as in the rows of a prediction
    # A gap becomes the median of the sample.
    assert len(np.unique(X[-400:, 0], return_counts=True)[1]) < 110
    assert done.model.evaluate(done.fit.test, "y")["accuracy"] > 0.6


@pytest.mark.usefixtures("first_rows")
def test_text_in_later_blocks_only_is_refused_with_advice(tmp_path: Path) -> None:
    sql = "SELECT CASE WHEN i < 3000 THEN (i % 90 / 9)::VARCHAR ELSE 'n' || i END AS x, i % 2 AS y"
    wanted = (
        r"data row 3\d\d\d, column 'x': 'n3\d\d\d' is not a number.*; the kinds of the columns "
        r"were found in a sample of 1,024 rows: set them with --categorical, .*--drop"
    )
    with pytest.raises(DataError, match=wanted):
        fitted(write(tmp_path / "a.parquet", sql), TableClassifier(**PLAIN))
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]


def test_a_target_without_a_label(tmp_path: Path) -> None:
    sql = "SELECT i AS x, NULL::VARCHAR AS y"
    with (
        open_parquet(write(tmp_path / "a.parquet", sql), ReadOptions(), 1 << 27) as parquet,
        pytest.raises(DataError, match="the target 'y' is missing in every row"),
    ):
        classes_of(parquet, "y")


def test_shares_are_less_than_the_memory() -> None:
    shares = MemoryShares.of(1000)
    assert sum(vars(shares).values()) < 1000
    assert least_memory(1_000_000) == pytest.approx(83e6, rel=0.01)
