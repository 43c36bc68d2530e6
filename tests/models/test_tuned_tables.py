"""Table estimators with the tuned preset, which is their default."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import gpubp
from gpubp import TableClassifier, TableRegressor
from gpubp.estimators.fit_estimators import fit_estimator
from gpubp.models.unsmoothed import unsmoothed
from tests.models.table_cases import COLUMNS, LABELS, A, N, Y

RNG = np.random.default_rng(4)
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
QUIET = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
MODELS = [(TableClassifier, LABELS), (TableRegressor, Y[:, 0])]

# What it learns.


def test_a_periodic_target() -> None:
    X = np.random.default_rng(0).uniform(-3, 3, size=(900, 2))
    y = np.sin(5 * X[:, 0])
    tuned, plain = (
        TableRegressor(random_state=0, preset=preset).fit(X[:600], y[:600])
        for preset in ("auto", "plain")
    )
    errors = [1 - model.score(X[600:], y[600:]) for model in (tuned, plain)]
    assert errors[0] < 0.5 * errors[1]


def test_irrelevant_columns() -> None:
    X = np.random.default_rng(1).normal(size=(1300, 10))
    labels = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    tuned, plain = (
        TableClassifier(random_state=0, preset=preset).fit(X[:900], labels[:900])
        for preset in ("auto", "plain")
    )
    errors = [1 - model.score(X[900:], labels[900:]) for model in (tuned, plain)]
    assert errors[0] < 0.6 * errors[1]


# Its models.


@QUIET
@pytest.mark.parametrize(("kind", "y"), MODELS)
def test_saved_pickled_and_fitted_again(kind: Any, y: Any, tmp_path: Path) -> None:
    model = kind(**QUICK).fit(COLUMNS, y)
    assert model.network_.n_members == 4
    assert model.network_.input_stage == {"periodic": (0, 1)}
    gpubp.save(model, tmp_path / "m")
    loaded = gpubp.load(tmp_path / "m")
    assert loaded.get_params() == model.get_params()
    assert loaded.network_.get_params() == model.network_.get_params()
    assert loaded.encoder_.get_params() == model.encoder_.get_params()
    for again in (loaded, pickle.loads(pickle.dumps(model)), clone(model).fit(COLUMNS, y)):
        assert_array_equal(again.predict(COLUMNS), model.predict(COLUMNS), strict=True)
        for found, wanted in zip(again.network_.coefs_, model.network_.coefs_, strict=True):
            assert_array_equal(found, wanted, strict=True)
    if kind is TableClassifier:
        assert_array_equal(loaded.predict_proba(COLUMNS), model.predict_proba(COLUMNS))
    other = clone(model).set_params(random_state=1).fit(COLUMNS, y)
    assert not np.array_equal(other.network_.coefs_[0], model.network_.coefs_[0])
    plain = model.set_params(preset="plain").fit(COLUMNS, y)
    assert plain.network_.n_members is plain.network_.input_stage is None


@QUIET
def test_a_file_of_an_encoder_without_numbers_keeps_its_scaling(tmp_path: Path) -> None:
    model = TableClassifier(**QUICK).fit({"kind": COLUMNS["kind"]}, A > 0)
    gpubp.save(model, tmp_path / "m")
    assert gpubp.load(tmp_path / "m").encoder_.scaling == model.encoder_.scaling == "robust"


@QUIET
def test_validation_rows_and_weights() -> None:
    half = np.arange(N) < N // 2
    part, rest = ({name: of[rows] for name, of in COLUMNS.items()} for rows in (half, ~half))
    model = TableClassifier(**QUICK)
    model.fit(part, LABELS[half], X_val=rest, y_val=LABELS[~half])
    assert model.about_["validation_rows"] == N // 2
    assert all(len(member.validation_scores_) == 3 for member in model.network_.members_)
    weights = np.where(LABELS == "low", 100.0, 1.0)
    plain = TableClassifier(**QUICK).fit(COLUMNS, LABELS)
    weighed = TableClassifier(**QUICK).fit(COLUMNS, LABELS, sample_weight=weights)
    classed = TableClassifier(**QUICK, class_weight={"low": 100.0, "mid": 1.0, "high": 1.0})
    classed.fit(COLUMNS, LABELS)
    low = list(plain.classes_).index("low")
    means = [of.predict_proba(COLUMNS)[:, low].mean() for of in (plain, weighed, classed)]
    assert min(means[1:]) > means[0] + 0.05


# Tables at the edges.


def _fits(model: Any, X: Any, y: Any) -> Any:
    """Fit without any warning; return the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model.fit(X, y)


@pytest.mark.parametrize("n", [3, 4, 5, 12, 20])
@pytest.mark.parametrize("classes", [2, 3])
def test_few_rows(n: int, classes: int) -> None:
    X = RNG.normal(size=(n, 2))
    labels = np.arange(n) % classes
    model = _fits(TableClassifier(random_state=0), X, labels)
    assert_array_equal(model.classes_, np.arange(classes))
    P = model.predict_proba(X)
    assert_allclose(P.sum(axis=1), 1, rtol=1e-6)
    found = _fits(TableRegressor(random_state=0), X, X[:, 0]).predict(X)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("n", [30, 120])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_of_one_row(n: int, classes: int) -> None:
    labels = np.arange(n) % (classes - 1) + 1
    labels[7] = 0
    model = _fits(TableClassifier(random_state=0), RNG.normal(size=(n, 2)), labels)
    assert model.network_.early_stopping
    assert_array_equal(model.classes_, np.arange(classes))


@QUIET
def test_a_class_of_one_row_in_a_table_of_one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubp.models.tuned_recipe.MOST_CELLS", N * 4)
    labels = np.where(np.arange(N) == 7, "rare", "x")
    for columns in (COLUMNS, {"kind": np.repeat(list("abcdef"), N // 6)}):
        # The first has 3 columns, and 6 encoded ones, which decide. The others are 1 and 6.
        model = TableClassifier(**QUICK).fit(columns, labels)
        assert model.network_.n_members is None
        assert len(model.network_.validation_scores_) == 3
        assert model.about_["validation_rows"] == N // 4 - 1  # without the row of the rare class
        assert_array_equal(model.classes_, ["rare", "x"])


@QUIET
def test_tables_of_one_class_of_constants_and_of_categories() -> None:
    one = TableClassifier(**QUICK).fit(COLUMNS, np.full(N, "only"))
    assert set(one.predict(COLUMNS)) == {"only"}
    constant = COLUMNS | {"same": np.ones(N)}
    assert TableClassifier(**QUICK).fit(constant, LABELS).network_.n_features_in_ == 6
    kinds = {"kind": COLUMNS["kind"]}
    model = TableRegressor(**QUICK).fit(kinds, Y[:, 1])
    assert model.network_.input_stage == {"periodic": ()}
    assert model.predict(kinds).std() > 0


@QUIET
def test_sparse_rows() -> None:
    parameters = QUICK | {"preset": "tuned"}
    dense, sparse = (
        TableClassifier(**parameters, sparse=way).fit(COLUMNS, LABELS) for way in (False, True)
    )
    assert_allclose(sparse.predict_proba(COLUMNS), dense.predict_proba(COLUMNS), atol=1e-4)


@QUIET
def test_1001_columns_get_the_plain_recipe() -> None:
    X = RNG.normal(size=(30, 1001))
    y = X[:, 0]
    wide = TableRegressor(**QUICK).fit(X, y)
    assert wide.network_.input_stage is wide.network_.n_members is None
    narrower = TableRegressor(**QUICK).fit(X[:, :1000], y)
    assert narrower.network_.input_stage == {"periodic": ()}
    assert narrower.network_.n_members == 4


# Outputs.


@QUIET
def test_predictions_stay_in_the_range_of_the_targets() -> None:
    columns = {"a": A + 1, "b": A**2}
    far = {"a": 1e4 * np.linspace(-1, 1, 50), "b": np.linspace(-1e4, 1e8, 50)}
    for y in (A, np.stack([A, 100 - A], axis=1)):
        model = TableRegressor(**QUICK).fit(columns, y)
        found = model.predict(far)
        assert found.shape == (50, *y.shape[1:])
        assert (found >= y.min(axis=0) - 1e-6).all()
        assert (found <= y.max(axis=0) + 1e-6).all()


def test_unsmoothed_probabilities_by_hand() -> None:
    P = np.array([[0.9, 0.06, 0.04], [0.4, 0.35, 0.25], [1.0, 0.0, 0.0]])
    part = 0.12 / 3
    raised = [[0.86, 0.02, 0.1 * part], [0.36, 0.31, 0.21], [0.96, 0.1 * part, 0.1 * part]]
    wanted = np.array(raised) / np.sum(raised, axis=1, keepdims=True)
    assert_allclose(unsmoothed(P, 0.12), wanted, rtol=1e-12)


@QUIET
def test_only_the_smoothing_of_the_preset_is_undone() -> None:
    model = TableClassifier(**QUICK | {"max_iter": 20}).fit(COLUMNS, LABELS)
    raw = model.network_.predict_proba(model.encode(COLUMNS))
    P, deviations = model.predict_proba(COLUMNS, return_std=True)
    assert_allclose(P, unsmoothed(raw, 0.1), rtol=1e-5)
    assert_array_equal(P.argmax(axis=1), raw.argmax(axis=1))
    assert P.max(axis=1).mean() > raw.max(axis=1).mean()
    assert P.min() > 0
    assert_allclose(P.sum(axis=1), 1, rtol=1e-6)
    assert deviations.shape == P.shape
    own = TableClassifier(**QUICK, label_smoothing=0.1).fit(COLUMNS, LABELS)
    assert_array_equal(own.predict_proba(COLUMNS), own.network_.predict_proba(own.encode(COLUMNS)))
    before = model.predict_proba(COLUMNS)  # parameters for the next fit change nothing
    assert_array_equal(model.set_params(label_smoothing=0.3).predict_proba(COLUMNS), before)
    several = TableClassifier(**QUICK).fit(COLUMNS, np.stack([A > 0, A > 1], axis=1).astype(int))
    found = several.predict_proba(COLUMNS)
    assert_array_equal(found, several.network_.predict_proba(several.encode(COLUMNS)))


# The time limit.


@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_a_short_time_limit_trains_less(kind: Any, tmp_path: Path) -> None:
    X = RNG.normal(size=(20_000, 10))
    y = X[:, 0] if kind is TableRegressor else np.where(X[:, 0] > 0, "x", "y")
    planned = kind()._network(y, X.shape, given=False).max_iter
    began = perf_counter()
    model = _fits(kind(time_limit=0.2, random_state=0), X, y)
    assert perf_counter() - began < 30  # the first step of a machine compiles
    assert model.network_.max_iter < planned
    gpubp.save(model, tmp_path / "m")
    network = gpubp.load(tmp_path / "m").network_
    assert (network.max_iter, network.n_members) == (model.network_.max_iter, None)


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
def test_a_long_time_limit_changes_nothing(solver: str) -> None:
    parameters: dict[str, Any] = {"random_state": 0, "solver": solver, "max_iter": 5}
    parameters["n_iter_no_change"] = "auto"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limited, free = (
            TableClassifier(**parameters, time_limit=limit).fit(COLUMNS, LABELS)
            for limit in (600, None)
        )
    assert_array_equal(limited.network_.coefs_[0], free.network_.coefs_[0])
    assert limited.network_.get_params() == free.network_.get_params()


@pytest.mark.parametrize("limit", [0, -1, "long"])
def test_a_time_limit_that_is_none(limit: Any) -> None:
    with pytest.raises(ValueError, match="The 'time_limit' parameter of TableRegressor"):
        TableRegressor(time_limit=limit).fit(COLUMNS, A)


@QUIET
def test_a_time_limit_that_has_passed_times_no_second_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed = []

    def counting(*args: Any, **options: Any) -> Any:
        timed.append(args)
        return fit_estimator(*args, **options)

    monkeypatch.setattr("gpubp.models.time_limit.fit_estimator", counting)
    model = TableRegressor(**QUICK, time_limit=1e-9).fit(COLUMNS, Y[:, 0])
    assert len(timed) == 1
    assert model.about_["time_limit"]["reduced"].startswith("1 network instead of 4, 1 epoch of")


@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_the_tuned_preset_with_other_solvers(kind: Any) -> None:
    y = Y[:, 0] if kind is TableRegressor else LABELS
    with pytest.raises(ValueError, match="preset='tuned' trains in steps, which solver='lbfgs'"):
        kind(preset="tuned", solver="lbfgs").fit(COLUMNS, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        kind(**QUICK, preset="tuned", solver="sgd").fit(COLUMNS, y)
