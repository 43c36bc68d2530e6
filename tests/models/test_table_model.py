from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, r2_score
from sklearn.preprocessing import StandardScaler

from gpubp import DataError, MLPClassifier, MLPRegressor, TableModel, load, save
from gpubp.tables.table import Table
from gpubp.training.history import Epoch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
NAMES = ("a", "b", "c")
X = RNG.normal(size=(30, 3)) * [1.0, 100.0, 1e-3] + [0.0, 1e4, 5.0]
LABELS = np.array(["low", "high", "mid"])[np.arange(30) % 3]
Y = np.stack([3e6 + 1e4 * RNG.normal(size=30), RNG.normal(size=30)], axis=1)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0}


class Frame:
    """What TableModel needs of a data frame: names, and cells as an array."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = list(columns)
        self._cells = columns

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.stack(list(self._cells.values()), axis=1)


def _table(X: np.ndarray = X, names: tuple[str, ...] = NAMES, **targets: Any) -> Table:
    others = {name: np.asarray(column) for name, column in targets.items()}
    return Table((*names, *others), X, others, "rows.npz", names, tuple(others))


def _classifier(labels: Any = LABELS, **parameters: Any) -> TableModel:
    table = _table(y=labels)
    return TableModel.fit(MLPClassifier(**SMALL, **parameters), table, ["y"])[0]


def _regressor(outputs: int = 1, **parameters: Any) -> TableModel:
    targets = {f"y{j}": Y[:, j] for j in range(outputs)}
    return TableModel.fit(MLPRegressor(**SMALL, **parameters), _table(**targets), list(targets))[0]


# Training.


def test_the_network_sees_standardised_features_and_targets() -> None:
    model = _regressor(2, dtype="float64")
    by_hand = MLPRegressor(**SMALL, dtype="float64")
    Z, scaler = StandardScaler().fit_transform(X), StandardScaler().fit(Y)
    by_hand.fit(Z, scaler.transform(Y))
    assert_allclose(model.estimator.coefs_[0], by_hand.coefs_[0], rtol=1e-9)
    assert_allclose(model.predict(X), scaler.inverse_transform(by_hand.predict(Z)), rtol=1e-9)


def test_fit_returns_the_history_and_tells_of_each_epoch() -> None:
    epochs: list[Epoch] = []
    notes: list[str] = []
    table = _table(y=LABELS)
    model, history = TableModel.fit(
        MLPClassifier(**SMALL), table, ["y"], on_epoch=epochs.append, note=notes.append
    )
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert [epoch.loss for epoch in epochs] == history.losses == model.estimator.loss_curve_
    assert history.stopped_by == "max_epochs"
    assert len(notes) == 1
    assert "cpu" in notes[0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "auto"])
def test_the_dtype_of_training(dtype: str) -> None:
    model = _classifier(dtype=dtype)
    assert model.estimator.coefs_[0].dtype == ("float64" if dtype == "float64" else "float32")


def test_shapes() -> None:
    assert _classifier().predict(X).shape == (30,)
    assert _classifier().predict_proba(X).shape == (30, 3)
    assert _regressor(1).predict(X).shape == (30,)
    assert _regressor(2).predict(X).shape == (30, 2)
    assert _regressor(1).predict(X).dtype == np.float64


def test_a_target_far_from_zero_keeps_its_digits() -> None:
    table = _table(y=1e12 + Y[:, 1])
    model = TableModel.fit(MLPRegressor(**SMALL, dtype="float32"), table, ["y"])[0]
    assert len(np.unique(model.predict(X))) > 20


# What predict takes.


def test_arrays_tables_and_frames_give_the_same() -> None:
    model = _regressor(2)
    expected = model.predict(X)
    a, b, c = X.T
    same: list[Any] = [
        X.tolist(),
        np.asfortranarray(X),
        X.astype(object),
        _table(),
        _table(X[:, ::-1], NAMES[::-1]),
        _table(np.c_[a, a, b, c], ("other", "a", "b", "c"), y=LABELS),
        Frame({"a": a, "b": b, "c": c}),
        Frame({"c": c, "y0": a, "b": b, "a": a}),
        Frame({"text": LABELS.astype(object), "c": c.astype(object), "b": b, "a": a}),
    ]
    for rows in same:
        assert_array_equal(model.predict(rows), expected, strict=True)


def test_a_frame_of_whole_numbers_and_booleans() -> None:
    model = _classifier()
    whole, truth = np.arange(30), np.arange(30) % 2 == 0
    frame = Frame({"a": whole, "b": whole, "c": whole})
    assert_array_equal(model.predict(frame), model.predict(np.c_[whole, whole, whole] * 1.0))
    frame = Frame({"a": truth, "b": truth, "c": truth})
    assert_array_equal(model.predict_proba(frame), model.predict_proba(np.c_[truth, truth, truth]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (X[:, :2], r"rows has shape \(30, 2\), but the model takes \(n, 3\)"),
        (np.c_[X, X], r"rows has shape \(30, 6\), but the model takes \(n, 3\)"),
        (X[0], r"rows has shape \(3,\), but"),
        (None, r"rows has shape \(\), but"),
        (Frame({"a": X[:, 0], "b": X[:, 1]}), "rows has no column 'c'; it has 'a', 'b'"),
        (Frame({"a": X[:, 0], "b": X[:, 1], "C": X[:, 2]}), "no column 'c'"),
        (_table(X, ("A", "b", "c")), "rows.npz has no column 'a'; did you mean 'A'?"),
    ],
)
def test_wrong_columns(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _classifier().predict(rows)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("abc", "rows, row 4 .counted from 0., column 'b': 'abc' is not a number"),
        (None, "column 'b': nan is not a finite number|column 'b': 'None' is not a number"),
        (np.nan, "rows, row 4 .counted from 0., column 'b': nan is not a finite number"),
        (np.inf, "rows, row 4 .counted from 0., column 'b': inf is not a finite number"),
        (1e300, "column 'b': 1e[+]300 is out of the range of float32"),
        ("", "column 'b': '' is not a number"),
        ([1, 2], "column 'b': '.1, 2.' is not a number"),
    ],
)
def test_wrong_cells(cell: Any, message: str) -> None:
    cells = X.astype(object)
    cells[4, 1] = cell
    for rows in (cells, Frame(dict(zip(NAMES, cells.T, strict=True)))):
        with pytest.raises(DataError, match=message):
            _classifier().predict(rows)


def test_no_rows() -> None:
    with pytest.raises(ValueError, match="0 sample"):
        _classifier().predict(X[:0])


def test_two_columns_of_one_name() -> None:
    frame = Frame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    frame.columns = ["a", "b", "b"]
    with pytest.raises(DataError, match="rows has two columns named 'b'"):
        _classifier().predict(frame)


def test_a_regression_has_no_probabilities() -> None:
    with pytest.raises(ValueError, match="is a regression and has no probabilities; use predict"):
        _regressor().predict_proba(X)


# Evaluation.


@pytest.mark.parametrize(
    "labels",
    [LABELS, np.arange(30) % 3 - 1, np.arange(30) % 2, np.arange(30) % 4 < 2, LABELS == "low"],
)
def test_metrics_of_a_classification(labels: np.ndarray) -> None:
    model = _classifier(labels)
    metrics = model.evaluate(_table(y=labels))
    assert metrics["accuracy"] == accuracy_score(labels, model.predict(X))
    assert_allclose(metrics["log_loss"], log_loss(labels, model.predict_proba(X)), rtol=1e-6)
    assert list(metrics) == ["accuracy", "log_loss"]
    p = model.predict_proba(X)[np.arange(30), np.searchsorted(model.classes_, labels)]
    assert_allclose(metrics["log_loss"], -np.log(p.astype(float)).mean(), rtol=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
def test_metrics_of_a_regression(outputs: int) -> None:
    model = _regressor(outputs)
    metrics = model.evaluate(_table(**{f"y{j}": Y[:, j] for j in range(outputs)}))
    found = model.predict(X).reshape(30, -1)
    residuals = Y[:, :outputs] - found
    assert_allclose(metrics["r2"], r2_score(Y[:, :outputs], found), rtol=1e-12)
    assert_allclose(metrics["rmse"], np.sqrt((residuals**2).mean(axis=0)).mean(), rtol=1e-12)
    assert_allclose(metrics["mae"], mean_absolute_error(Y[:, :outputs], found), rtol=1e-12)
    assert metrics["mae"] > 100  # in the units of the target


def test_targets_under_other_names() -> None:
    model = _classifier()
    truth = model.evaluate(_table(y=LABELS))
    assert model.evaluate(_table(y=LABELS[::-1], truth=LABELS), ["truth"]) == truth


def test_a_label_that_training_had_not() -> None:
    model, labels = _classifier(), LABELS.astype("<U9")
    labels[:3] = "elsewhere"
    metrics = model.evaluate(_table(y=labels))
    assert metrics == {"accuracy": np.mean(labels == model.predict(X))}


def test_fewer_labels_than_training_had() -> None:
    model = _classifier()
    rows = LABELS == "low"
    metrics = model.evaluate(_table(X[rows], y=LABELS[rows]))
    p = model.predict_proba(X[rows])[:, list(model.classes_).index("low")]
    assert_allclose(metrics["log_loss"], -np.log(p.astype(float)).mean(), rtol=1e-6)


def test_one_row() -> None:
    classification = _classifier().evaluate(_table(X[:1], y=LABELS[:1]))
    assert classification["accuracy"] in (0.0, 1.0)
    regression = _regressor().evaluate(_table(X[:1], y0=Y[:1, 0]))
    assert np.isnan(regression["r2"])
    assert regression["rmse"] == pytest.approx(regression["mae"])


def test_whole_numbers_for_labels_of_text() -> None:
    # A CSV column of "1", "2" and "3+" is text, and one of "1" and "2" has numbers.
    model = _classifier(np.array(["1", "2", "3+"])[np.arange(30) % 3])
    found = model.predict(X)
    kept = found != "3+"
    kept[0] = True
    truth = np.where(found[kept] == "1", 1, 2)
    metrics = model.evaluate(_table(X[kept], y=truth))
    assert metrics["accuracy"] == np.mean(found[kept] == truth.astype(str)) > 0


@pytest.mark.parametrize(
    ("trained_on", "truth", "message"),
    [
        (LABELS, np.arange(30), "has labels such as 0, but the model's are such as 'high'"),
        (LABELS, RNG.normal(size=30), "but the model's are such as 'high'; name the column"),
        (np.arange(30) % 3, LABELS, "has labels such as 'low', but the model's are such as 0"),
        (LABELS, np.where(LABELS == "low", "", LABELS), "row 0 .*column 'y' is blank"),
        (np.arange(30) % 3, np.full(30, np.nan), "column 'y': nan is not a finite number"),
    ],
)
def test_labels_of_another_kind(trained_on: Any, truth: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _classifier(trained_on).evaluate(_table(y=truth))


def test_fractions_for_labels_of_whole_numbers_are_wrong_predictions() -> None:
    metrics = _classifier(np.arange(30) % 3).evaluate(_table(y=np.arange(30) % 3 + 0.5))
    assert metrics == {"accuracy": 0.0}


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["a", "b"], "2 targets were given, but the model has 1: y"),
        (["truth"], "rows.npz has no column 'truth'"),
    ],
)
def test_wrong_targets(targets: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _classifier().evaluate(_table(y=LABELS), targets)


def test_text_for_a_number() -> None:
    with pytest.raises(DataError, match="column 'y0': 'low' is not a number"):
        _regressor().evaluate(_table(y0=LABELS))


@pytest.mark.parametrize("loss", ["huber", "poisson", "squared_error"])
@pytest.mark.parametrize("targets", [["a"], ["a", "b"]])
def test_targets_are_scaled_for_losses_that_take_scaled_ones(
    loss: str, targets: list[str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    Y = np.round(10 + 3 * X)
    names = ("x", "z", "a", "b")
    table = Table(names, np.column_stack([X, Y]), {}, "rows", names[:2], names[2:])
    estimator = MLPRegressor(loss, (8,), random_state=0, max_iter=200, learning_rate_init=0.02)
    model, _ = TableModel.fit(estimator, table, targets)
    scaled = loss == "squared_error" or (loss == "huber" and len(targets) == 1)
    assert estimator.target_scaling == scaled == (estimator.target_mean_ is not None)
    assert model.evaluate(table)["r2"] > 0.3
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(table), model.predict(table))


def test_a_fit_that_fails_leaves_the_parameters_of_the_estimator() -> None:
    names = ("x", "y")
    table = Table(names, np.array([[1.0, np.nan], [2.0, 3.0]]), {}, "rows", names[:1], names[1:])
    estimator = MLPRegressor(max_iter=1)
    with pytest.raises(ValueError, match="not a finite number"):
        TableModel.fit(estimator, table, ["y"])
    whole = Table(names, np.array([[1.0, 1.0], [2.0, 3.0]]), {}, "rows", names[:1], names[1:])
    with pytest.raises(ValueError, match="solver"):
        TableModel.fit(estimator.set_params(solver="none"), whole, ["y"])
    assert estimator.target_scaling is False
