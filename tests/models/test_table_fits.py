"""What fit of a table estimator learns from: columns, weights, and rows held out."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp import DataError, TableClassifier, TableRegressor
from gpubp.models.table_rows import hold_out
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.read import load_dataset
from gpubp.tables.target import labels_of
from tests.models.table_cases import COLUMNS, LABELS, SMALL, A, N, full_table

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

HELD = SMALL | {"early_stopping": True, "validation_fraction": 0.2}


def test_a_target_that_is_no_feature_is_not_learned_from() -> None:
    iris = load_dataset("iris")
    model = TableClassifier(**SMALL).fit(iris, labels_of(iris.columns["target"]))
    assert model.feature_names_in_.tolist() == list(iris.names[:4])
    assert "target" not in TableEncoder().fit(iris).feature_names_in_
    with pytest.raises(DataError, match=r"only the target 'target' and no other column; add"):
        TableEncoder().fit(iris.select(["target"]))


@pytest.mark.parametrize("parameters", [SMALL, HELD])
@pytest.mark.parametrize("rows", [N - 10, N + 10])
def test_weights_of_another_length_are_refused(parameters: dict[str, Any], rows: int) -> None:
    weights = np.ones(rows)
    with pytest.raises(ValueError, match="sample_weight"):
        TableClassifier(**parameters).fit(COLUMNS, LABELS, sample_weight=weights)
    with pytest.raises(ValueError, match="sample_weight"):
        TableClassifier(**parameters).fit(
            COLUMNS | {"y": LABELS}, target="y", sample_weight=weights
        )


@pytest.mark.filterwarnings("ignore:column .* of X equals y")
@pytest.mark.parametrize("parameters", [SMALL, HELD])
@pytest.mark.parametrize("target", [None, "y"])
def test_one_weight_is_that_of_each_row(parameters: dict[str, Any], target: str | None) -> None:
    y = np.where(np.arange(N) == 3, np.nan, A) if target else A
    X, y = (COLUMNS | {"y": y}, None) if target else (COLUMNS, y)
    models = [
        TableRegressor(**parameters).fit(X, y, target=target, sample_weight=weight)
        for weight in (2.0, np.full(N, 2.0))
    ]
    assert_array_equal(models[0].predict(COLUMNS), models[1].predict(COLUMNS))


def test_a_classifier_learns_one_target_of_a_frame() -> None:
    frame = COLUMNS | {"p": LABELS, "q": LABELS}
    with pytest.raises(DataError, match="targets are 'p', 'q', but classification takes one"):
        TableClassifier(**SMALL).fit(frame, target=["p", "q"])


def test_several_labels_are_predicted_but_not_scored() -> None:
    Y = np.stack([A > 0, A > 1], axis=1).astype(int)
    model = TableClassifier(**SMALL).fit(COLUMNS, Y)
    assert_array_equal(model.predict(COLUMNS), model.predict_proba(COLUMNS) > 0.5)
    with pytest.raises(DataError, match=r"is multi-label, with targets 'y0', 'y1', but only"):
        model.evaluate(COLUMNS | {"y0": Y[:, 0], "y1": Y[:, 1]})


@pytest.mark.filterwarnings("ignore:column .* of X equals y")
def test_rows_held_out_tell_the_encoder_nothing() -> None:
    kept, out = hold_out(A, 0.2, "regression", np.random.RandomState(0))
    rare = np.where(np.arange(N) == out[0], "rare", COLUMNS["kind"])
    columns = COLUMNS | {"kind": rare}
    plain = HELD | {"min_frequency": 1, "preset": "plain"}  # an ensemble's members hold out rows
    model = TableRegressor(**plain).fit(columns, A)
    found = model.encoder_.types_[1].statistics
    assert found is not None
    assert found.mean == pytest.approx(np.nanmean(COLUMNS["b"][kept]))
    assert "kind=rare" not in model.encoder_.get_feature_names_out()
    others = np.where(np.isin(np.arange(N), out), COLUMNS["b"] + 1e3, COLUMNS["b"])
    again = TableRegressor(**plain).fit(columns | {"b": others}, A)
    assert_array_equal(again.encode(columns), model.encode(columns))


@pytest.mark.parametrize("sparse", [False, True])
def test_parts_have_the_bits_of_all_rows(sparse: bool) -> None:
    table = full_table(y=LABELS)
    kept, out = np.arange(0, N, 2), np.arange(1, N, 2)
    encoder = TableEncoder(sparse=sparse)
    parts = encoder.fit_transform_parts(table, kept, out)
    other = TableEncoder(sparse=sparse).fit(table.take(kept), whole=table)
    assert other.to_header() == encoder.to_header()
    for part, places in zip(parts, (kept, out), strict=True):
        want = other.transform(table)[places]
        assert type(part) is type(want)
        assert_array_equal(part.toarray() if sparse else part, want.toarray() if sparse else want)


def test_no_second_copy_of_the_encoded_rows() -> None:
    rows, width = 20_000, 20
    X = np.random.default_rng(0).normal(size=(rows, width))
    places = np.random.default_rng(0).permutation(rows)
    encoder = TableEncoder()
    tracemalloc.start()
    try:
        parts = encoder.fit_transform_parts(X, places[2000:], places[:2000])
        assert tracemalloc.get_traced_memory()[1] < 1.5 * rows * width * 4 + X.nbytes
    finally:
        tracemalloc.stop()
    assert [part.shape for part in parts] == [(18_000, 20), (2_000, 20)]


def test_a_failed_refit_leaves_the_encoder_as_it_was() -> None:
    encoder = TableEncoder().fit(COLUMNS)
    before = encoder.to_header()
    with pytest.raises(DataError, match="no column to learn from"):
        encoder.fit(np.ones((3, 2)))
    assert encoder.to_header() == before


@pytest.mark.parametrize("sparse", [1, 0, "yes"])
def test_sparse_is_a_bool_or_auto(sparse: Any) -> None:
    with pytest.raises(ValueError, match=r"sparse is .*; give True, False or 'auto'"):
        TableEncoder(sparse=sparse).fit(COLUMNS)


def test_categories_of_half_precision() -> None:
    X = np.array([[1], [2.5], [60000]] * 20, np.float16)
    encoder = TableEncoder(categorical=["x0"]).fit(X)
    assert encoder.get_feature_names_out().tolist() == ["x0=1", "x0=2.5", "x0=60000"]


@pytest.mark.parametrize("target", [2, "2"])
def test_frames_whose_columns_are_numbered(target: Any) -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    labels = np.where(A > 0, "1", "2")
    frame = pd.DataFrame({0: A, 1: COLUMNS["kind"], 2: labels})
    model = TableClassifier(**SMALL, features=[0], numeric=[0]).fit(frame, target=target)
    assert model.classes_.tolist() == ["1", "2"]  # text stays text
    assert [found.name for found in model.encoder_.types_] == ["0"]
    assert model.target_names_ == ("2",)
    with pytest.raises(ValueError, match=r"features is \[None\]; give names as text"):
        TableEncoder(features=[None]).fit(frame)
