"""Standardisation, the schema of a model, and the task of a table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gpubp.tables.read import DataError, load_dataset, read_table
from gpubp.tables.schema import (
    Schema,
    Standardizer,
    check_targets,
    feature_names,
    infer_task,
    resolve_targets,
)


@pytest.fixture
def table_of(tmp_path):
    def table_of(**columns):
        rows = zip(*columns.values(), strict=True)
        lines = [",".join(columns), *(",".join(str(cell) for cell in row) for row in rows)]
        path = tmp_path / "data.csv"
        path.write_text("\n".join(lines) + "\n")
        return read_table(path)

    return table_of


def _schema(task="regression"):
    X = np.random.default_rng(0).normal(3, 2, (20, 2))
    scaling = Standardizer.fit(X)
    return Schema(("a", "b"), ("y",), task, scaling)


# Standardizer


def test_fit_by_hand():
    scaling = Standardizer.fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    # Column 0: mean 2, deviations -1 and 1, so standard deviation 1; column 1 is constant.
    assert scaling.mean.tolist() == [2, 5]
    assert scaling.scale.tolist() == [1, 1]


def test_weights_are_rows_repeated() -> None:
    X = np.random.RandomState(0).normal(1e6, 3.0, (40, 3))
    times = np.arange(40) % 4 + 1
    got = Standardizer.fit(X, times / 8)
    wanted = Standardizer.fit(np.repeat(X, times, axis=0))
    np.testing.assert_allclose(got.mean, wanted.mean, rtol=1e-14)
    np.testing.assert_allclose(got.scale, wanted.scale, rtol=1e-12)


def test_fit_is_mean_and_standard_deviation_across_blocks(monkeypatch):
    X = np.random.default_rng(1).normal(5, [1, 100, 1e-6], (1000, 3))
    monkeypatch.setattr("gpubp.estimators.standardizer._BLOCK_CELLS", 100)
    for dtype in (np.float64, np.float32):
        scaling = Standardizer.fit(X.astype(dtype))
        exact = X.astype(dtype).astype(np.float64)
        np.testing.assert_allclose(scaling.mean, exact.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(scaling.scale, exact.std(axis=0), rtol=1e-9)
        Z = scaling.transform(X.astype(dtype))
        np.testing.assert_array_equal(Z, (exact - scaling.mean) / scaling.scale)


def test_round_trip():
    X = np.random.default_rng(2).normal(-7, 3, (50, 4))
    scaling = Standardizer.fit(X)
    back = scaling.transform(X) * scaling.scale + scaling.mean
    np.testing.assert_allclose(back, X, rtol=1e-14)
    single = Standardizer.fit(X[:, :1])
    np.testing.assert_array_equal(single.transform(X[:, 0]), single.transform(X[:, :1])[:, 0])
    with pytest.raises(ValueError, match=r"array has shape \(50, 3\); give \(n, 4\)"):
        scaling.transform(X[:, :3])
    with pytest.raises(ValueError, match=r"array has shape \(4,\); give \(n, 4\)"):
        scaling.transform(X[0])


def test_a_large_mean_costs_no_digits():
    X = 1e8 + np.random.default_rng(3).normal(size=(10_000, 1))
    Z = Standardizer.fit(X).transform(X, np.float32)
    assert Z.dtype == np.float32
    assert abs(Z.mean(dtype=np.float64)) < 1e-6
    assert abs(Z.std(dtype=np.float64) - 1) < 1e-6


def test_an_outlier_costs_no_digits():
    X = np.random.default_rng(4).normal(size=(10_000, 1))
    X[0] = 1e10
    scaling = Standardizer.fit(X)
    np.testing.assert_allclose(scaling.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, X.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_squares_neither_overflow_nor_vanish(size):
    X = np.array([[1.0], [2.0], [4.0]]) * size
    Z = Standardizer.fit(X).transform(X)
    np.testing.assert_allclose(Z.std(), 1, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8, 1e300, 5e-324])
def test_a_constant_column_becomes_zero(value):
    X = np.full((37, 1), value)
    scaling = Standardizer.fit(X)
    assert scaling.scale.tolist() == [1]
    assert not scaling.transform(X).any()
    assert scaling.mean[0] == value


def test_the_smallest_width_keeps_a_positive_scale():
    X = np.zeros((100, 1))
    X[0] = 5e-324
    assert Standardizer.fit(X).scale[0] > 0


def test_a_width_beyond_float64_is_an_error():
    with pytest.raises(ValueError, match=r"column 1 \(counted from 0\) reaches from -1e\+308"):
        Standardizer.fit(np.array([[1, -1e308], [2, 1e308]]))


@pytest.mark.parametrize(
    ("mean", "scale", "message"),
    [
        ([0.0], [0.0], "scale holds 0.0; give positive"),
        ([0.0], [-1.0], "scale holds -1.0; give positive"),
        ([0.0], [np.nan], "scale holds NaN or infinity"),
        ([np.inf], [1.0], "mean holds NaN or infinity"),
        ([0.0, 1.0], [1.0], "mean has 2 columns and scale 1"),
        ([[0.0]], [[1.0]], r"mean has dtype float64 and shape \(1, 1\)"),
        ([0], [1.0], "mean has dtype int64"),
    ],
)
def test_a_standardizer_refuses_what_cannot_be(mean, scale, message):
    with pytest.raises(ValueError, match=message):
        Standardizer(np.array(mean), np.array(scale))


# Schema


def test_transform_matches_columns_by_name(table_of):
    schema = _schema()
    table = table_of(y=[0, 1], b=[5, 6], extra=["u", "v"], a=[7, 8.5])
    Z = schema.transform(table, np.float32)
    expected = schema.feature_scaling.transform(np.array([[7, 5], [8.5, 6]]), np.float32)
    np.testing.assert_array_equal(Z, expected)
    assert Z.dtype == np.float32


def test_transform_names_what_is_missing_or_bad(table_of):
    schema = _schema()
    with pytest.raises(DataError, match=r"data.csv has no 2 columns 'a', 'b'; it has 'x', 'y'"):
        schema.transform(table_of(x=[1], y=[2]), np.float32)
    with pytest.raises(DataError, match=r"data.csv, line 3, column 'b': 'n/a' is not a number"):
        schema.transform(table_of(a=[1, 2], b=[1, "n/a"]), np.float32)
    with pytest.raises(DataError, match=r"line 2, column 'a': 1e\+200 is out of the range of flo"):
        schema.transform(table_of(a=[1e200], b=[2]), np.float32)


def test_a_float64_column_is_standardised_before_it_becomes_float32(table_of):
    values = 1e8 + np.random.default_rng(5).normal(size=200)
    table = table_of(a=[repr(float(v)) for v in values], y=range(200))
    scaling = Standardizer.fit(table.matrix(("a",)))
    schema = Schema(("a",), ("y",), "classification", scaling)
    assert abs(schema.transform(table, np.float32).std() - 1) < 1e-6


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_header_and_tensors_round_trip(task):
    schema = _schema(task)
    tensors = {**schema.tensors(), "W0": np.ones(3)}
    again = Schema.from_parts(json.loads(json.dumps(schema.to_header())), tensors)
    assert again.to_header() == schema.to_header()
    assert again.tensors().keys() == schema.tensors().keys()
    for name, array in schema.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "ranking"}, "task is 'ranking'; give 'classification' or 'regression'"),
        ({"task": ["regression"]}, r"task is \['regression'\]"),
        ({"task": "classification", "targets": ["y", "z"]}, "classification has one target, got"),
        ({"features": "ab"}, "features is 'ab'; give a list of names"),
        ({"features": ["a", 1]}, r"features is \['a', 1\]; give a list of names"),
        ({"features": ["a"]}, "feature scaling has 2 columns for 1 features"),
        ({"features": []}, "at least one of each"),
        ({"features": ["a", "a"]}, "every name once"),
        ({"features": ["a", "y"]}, "every name once"),
        ({"features": ["a", ""]}, "every name once"),
        ({"targets": []}, "at least one of each"),
        ({"more": 1}, "it needs the keys"),
        ({"features.mean": None}, "tensor 'features.mean' is missing"),
        ({"features.scale": np.array([1.0, 0.0])}, "features.scale holds 0.0; give positive"),
        ({"features.mean": np.array([np.nan, 0.0])}, "features.mean holds NaN"),
        ({"features.mean": np.zeros(2, np.float32)}, "features.mean has dtype float32"),
    ],
)
def test_inconsistent_parts_are_refused(change, message):
    schema = _schema()
    header, tensors = schema.to_header(), schema.tensors()
    for key, value in change.items():
        if "." not in key:
            header[key] = value
        elif value is None:
            del tensors[key]
        else:
            tensors[key] = value
    with pytest.raises(ValueError, match=message):
        Schema.from_parts(header, tensors)


def test_a_header_that_is_no_mapping_is_refused():
    with pytest.raises(ValueError, match="it needs the keys"):
        Schema.from_parts(["features"], {})


# Targets, features and task


def test_targets_and_features(table_of):
    table = table_of(a=[1, 2], price=[3, 4], y=[5, 6])
    assert resolve_targets(table, None) == ("y",)
    assert resolve_targets(table, ["price", "a"]) == ("price", "a")
    assert feature_names(table, ("price",)) == ("a", "y")
    with pytest.raises(DataError, match=r"data.csv has no column 'prise'; did you mean 'price'\?"):
        resolve_targets(table, ["prise"])
    with pytest.raises(DataError, match="targets are 'a', 'a'; name every column once"):
        resolve_targets(table, ["a", "a"])
    with pytest.raises(DataError, match=r"data.csv has no column besides the target 'y'; add feat"):
        feature_names(table_of(y=[1, 2]), ("y",))


def test_targets_of_arrays_are_never_features(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.ones((4, 2)), y=np.ones((4, 2)))
    table = read_table(path)
    assert resolve_targets(table) == ("y0", "y1")
    assert feature_names(table, ("y0",)) == ("x0", "x1")
    assert feature_names(table, ("x0",)) == ("x1",)
    np.savez(path, X=np.ones((4, 2)))
    with pytest.raises(DataError, match=r"data.npz has no target; add an array y"):
        resolve_targets(read_table(path))


@pytest.mark.parametrize(
    ("name", "task", "reason"),
    [
        ("digits", "classification", "target 'target' has 10 distinct whole numbers in 1797 rows"),
        ("breast_cancer", "classification", "target 'target' is text"),
        ("wine", "classification", "target 'target' is text"),
        ("iris", "classification", "target 'target' is text"),
        ("diabetes", "regression", "target 'target' has 214 distinct whole numbers in 442 rows"),
    ],
)
def test_the_task_of_the_built_in_data_sets(name, task, reason):
    table = load_dataset(name)
    assert infer_task(table, ("target",)) == (task, reason)
    check_targets(table, ("target",), task)


@pytest.mark.parametrize(
    ("target", "task", "reason"),
    [
        ([0, 1] * 5, "classification", "2 distinct whole numbers in 10 rows"),
        ([0, 1], "classification", "2 distinct whole numbers in 2 rows"),
        ([1, 2, 3] * 3, "classification", "3 distinct whole numbers in 9 rows"),
        ([1, 2, 3, 4] * 2, "regression", "4 distinct whole numbers in 8 rows"),
        (list(range(20)) * 9, "classification", "20 distinct whole numbers in 180 rows"),
        (list(range(21)) * 9, "regression", "21 distinct whole numbers in 189 rows"),
        ([0.5, 1.5] * 20, "regression", "2 distinct numbers in 40 rows"),
        (["True", "False"] * 3, "classification", "is text"),
        (["1", "2", "3+"] * 2, "classification", "is text"),
    ],
)
def test_the_task_of_a_column(table_of, target, task, reason):
    got, line = infer_task(table_of(a=range(len(target)), y=target), ("y",))
    assert got == task
    assert line.startswith("target 'y' ")
    assert line.endswith(reason)


def test_the_task_of_bools_and_of_several_targets(tmp_path, table_of):
    np.savez(tmp_path / "data.npz", X=np.ones((2, 1)), y=np.array([True, False]))
    table = read_table(tmp_path / "data.npz")
    assert infer_task(table, ("y",)) == ("classification", "target 'y' is true or false")
    table = table_of(a=[1, 2], y=[0, 1], z=[0, 1])
    assert infer_task(table, ("y", "z")) == ("regression", "2 targets: 'y', 'z'")


def test_a_stray_cell_among_many_numbers_is_an_error_not_a_class(table_of):
    values = [f"{v / 10}" for v in range(40)]
    values[17] = "n/a"
    with pytest.raises(DataError, match=r"data.csv, line 19, column 'y': 'n/a' is not a number"):
        infer_task(table_of(a=range(40), y=values), ("y",))
    values[17] = "nan"
    with pytest.raises(DataError, match=r"data.csv, line 19, column 'y': nan is not a finite"):
        infer_task(table_of(a=range(40), y=values), ("y",))


def test_a_target_of_decimal_commas_is_an_error_not_a_class(table_of):
    values = [f'"{k},5"' for k in range(40)]
    with pytest.raises(DataError, match=r"column 'y': '0,5' is not a number; write numbers as 12"):
        infer_task(table_of(a=range(40), y=values), ("y",))


def test_text_that_is_half_numbers_is_labels(table_of):
    words = [f"w{j}" for j in range(11)]
    table = table_of(a=range(22), y=[*words, *range(11)])
    assert infer_task(table, ("y",)) == ("classification", "target 'y' is text")
    with pytest.raises(DataError, match=r"line 2, column 'y': 'w0' is not a number"):
        infer_task(table_of(a=range(22), y=[*words[:9], *range(13)]), ("y",))


@pytest.mark.parametrize(
    ("target", "task", "message"),
    [
        (["u"] * 4, "classification", "data.csv, column 'y': the target has one class only, 'u'"),
        ([3] * 4, "classification", "data.csv, column 'y': the target has one class only, 3;"),
        ([3.5] * 4, "regression", "column 'y': the target is 3.5 in every row"),
        ([1, 0.5, 2], "classification", "column 'y': the target has 0.5, which is no class"),
        (["u", "", "v"], "classification", "data.csv, line 3, column 'y' is blank"),
        (["u", "v"], "regression", "data.csv, line 2, column 'y': 'u' is not a number"),
        ([f"id{j}" for j in range(30)], "classification", "has 30 different texts in 30 rows"),
    ],
)
def test_targets_that_cannot_be_learned(table_of, target, task, message):
    with pytest.raises(DataError, match=message):
        check_targets(table_of(a=range(len(target)), y=target), ("y",), task)


def test_classification_takes_one_target(table_of):
    with pytest.raises(DataError, match="targets are 'y', 'z', but classification takes one"):
        check_targets(table_of(a=[1, 2], y=[0, 1], z=[0, 1]), ("y", "z"), "classification")


def test_targets_that_can_be_learned(table_of):
    table = table_of(a=[1, 2, 3], y=["u", "v", "u"], z=[0.5, 1, 2])
    check_targets(table, ("y",), "classification")
    check_targets(table, ("z", "a"), "regression")
