"""Table estimators around networks of plain columns of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp import DataError, MLPClassifier, MLPRegressor, TableClassifier, TableRegressor
from gpubp.estimators.standardizer import Standardizer
from gpubp.models.number_columns import number_encoder, with_columns_of
from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.table import Table

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(24, 3)) * [1, 1e3, 1] + [0, 0, 1e8]
LABELS = np.array(["u", "v"])[np.arange(24) % 2]


def table(y: np.ndarray, names: str = "cab") -> Table:
    columns = {name: NumberColumn(X[:, j]) for j, name in enumerate(names)}
    target = TextColumn.of(y.tolist()) if y.dtype.kind == "U" else NumberColumn(y)
    return Table(columns | {"y": target}, 24, "rows.csv", ("y",))


def test_an_encoder_of_numbers_by_hand() -> None:
    scaling = Standardizer(np.array([1.0, -2.0]), np.array([2.0, 0.5]))
    encoder = number_encoder(("a", "b"), scaling, np.dtype(np.float64))
    rows = {"b": [0.0, np.nan], "a": [2.0, 1.0], "c": ["x", "y"]}
    assert_array_equal(encoder.transform(rows), [[0.5, 4.0], [0.0, 0.0]], strict=True)
    assert_array_equal(encoder.get_feature_names_out(), ["a", "b"])
    assert [row["type"] for row in encoder.summary()] == ["number", "number"]


def test_the_columns_of_a_table_for_an_estimator_of_arrays() -> None:
    network = MLPClassifier((3,), max_iter=2, random_state=0).fit(X, LABELS)
    model = with_columns_of(network, table(LABELS))
    assert type(model) is TableClassifier
    assert_array_equal(model.feature_names_in_, ["c", "a", "b"])
    assert_array_equal(model.encode(table(LABELS)), X)
    assert_array_equal(model.predict(table(LABELS)), network.predict(X))
    other_order = table(LABELS).select(["y", "b", "a", "c"])
    assert_array_equal(model.predict(other_order), network.predict(X))
    number = MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0).fit(X, X[:, 0])
    rows = table(X[:, 0])
    model = with_columns_of(number, rows)
    assert type(model) is TableRegressor
    assert_allclose(model.predict(rows), number.predict(X), rtol=1e-5)
    assert model.get_params()["hidden_layer_sizes"] == (3,)


def test_another_number_of_columns() -> None:
    network = MLPClassifier((3,), max_iter=2).fit(X[:, :2], LABELS)
    with pytest.raises(DataError, match=r"has 3 columns without the target 'y', but the model was"):
        with_columns_of(network, table(LABELS))
