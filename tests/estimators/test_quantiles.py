"""Several quantiles at once: their coverage, their gradients, and that they do not cross."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp import DataError, MLPRegressor, ModelFileError, load, save
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import make_loss
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import SGD
from gpubp.estimators.quantiles import by_level, nearest_to_the_median
from gpubp.explain.trained_model import of_model
from gpubp.models.table_estimators import TableRegressor
from gpubp.storage.model_file import read_model, write_model
from gpubp.tables.column import NumberColumn
from gpubp.tables.table import Table
from gpubp.training.batches import Batches
from gpubp.training.epoch_plan import OptimizerState
from tests.backends.small_training import trainer_of
from tests.estimators.cases import BASE, WEIGHTS, X, fit

LEVELS = [0.1, 0.5, 0.9]
ONE = X @ [1.0, -2.0, 0.5, 0.0] + np.exp(X[:, 1]) * np.random.RandomState(2).normal(size=len(X))
TWO = np.stack([ONE, 1e4 + 100 * X[:, 0]], axis=1)
THREE = np.column_stack([TWO, ONE**2])


def regressor(**options: Any) -> MLPRegressor:
    return MLPRegressor(**{**BASE, "loss": "quantile", "quantile": LEVELS, **options})


@pytest.mark.parametrize("target_scaling", [False, True])
def test_each_level_covers_its_part_of_new_rows(target_scaling: bool) -> None:
    """The spread grows from left to right by nine times, and every part is covered alike."""
    rng, levels = np.random.RandomState(0), (0.05, 0.25, 0.5, 0.75, 0.95)
    rows = rng.uniform(-1, 1, (24_000, 1))
    noise = rng.gumbel(size=24_000) * (0.5 + 0.4 * rows[:, 0])
    y = (100 if target_scaling else 1) * (np.sin(3 * rows[:, 0]) + noise)
    options = {"quantile": levels, "target_scaling": target_scaling, "batch_size": 200}
    options |= {"hidden_layer_sizes": (24,), "activation": "tanh", "learning_rate_init": 0.01}
    options |= {"learning_rate": "cosine", "max_iter": 30, "device": "cpu", "tol": 0.0}
    new = slice(12_000, None)
    model = fit(regressor(**options), rows[:12_000], y[:12_000])
    quantiles = model.predict_quantiles(rows[new])
    below = np.mean(y[new, None] < quantiles, axis=0)
    assert_allclose(below, levels, atol=0.02)
    for side in (rows[new, 0] < 0, rows[new, 0] > 0):
        assert_allclose(np.mean((y[new, None] < quantiles)[side], axis=0), levels, atol=0.03)


@pytest.mark.parametrize("y", [ONE, np.stack([ONE, ONE**2], axis=1)], ids=["one", "two"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_gradients_are_central_differences(y: np.ndarray, weights: Any) -> None:
    targets = y.reshape(len(y), -1)
    network = Network((4, 5, targets.shape[1] * len(LEVELS)), ("tanh",))
    loss, backend, rate = make_loss("quantile", quantile=LEVELS), NumpyBackend(), 1e-3
    start = network.initial_theta(np.random.RandomState(1), np.dtype(np.float64))

    def epoch(theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss of one step over all rows, and the parameters after it."""
        batches = Batches(backend, X, targets, len(X), weights)
        state, options = OptimizerState(rate), {"alpha": 0.3}
        trainer = trainer_of(
            backend, network, loss, SGD(0.0, nesterov=False), theta, batches, state=state, **options
        )
        return trainer.epoch(np.arange(len(X))), np.array(trainer.theta)

    gradient = (start - epoch(start)[1]) / rate
    places = np.flatnonzero(gradient)
    assert len(places) == network.n_parameters
    for place in places:
        step = np.zeros_like(start)
        step[place] = 1e-7
        measured = (epoch(start + step)[0] - epoch(start - step)[0]) / 2e-7
        assert_allclose(gradient[place], measured, rtol=1e-5, atol=2e-5 * abs(gradient).max())


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_shapes_order_and_predictions(backend: Backend, solver: str) -> None:
    options: dict[str, Any] = {"solver": solver, "device": backend.name, "dtype": "float64"}
    options |= {"quantile": (0.9, 0.1, 0.4, 0.6), "max_iter": 4}
    for y in (ONE, TWO):
        model = fit(regressor(**options), X, y)
        found = model.predict_quantiles(X)
        assert found.shape == (*y.shape, 4)
        assert model.n_outputs_ == 4 * y[0].size
        # In the order of the levels: 0.9, 0.1, 0.4, 0.6.
        assert (np.diff(found[..., [1, 2, 3, 0]], axis=-1) >= 0).all()
        assert len(np.unique(found)) > found.size / 2
        assert_array_equal(model.predict(X), found[..., 2])
        assert model.score(X, y) < 1


@pytest.mark.parametrize("quantile", [0.3, LEVELS], ids=str)
@pytest.mark.parametrize("target_scaling", [False, True])
def test_rows_on_a_device_have_their_quantiles_there(
    cupy: Any, quantile: Any, target_scaling: bool
) -> None:
    options = {"quantile": quantile, "target_scaling": target_scaling, "dtype": "float64"}
    for y in (ONE, TWO):
        model = fit(regressor(**options, device="cuda", early_stopping=True), cupy.asarray(X), y)
        for predict in (model.predict, model.predict_quantiles):
            found = predict(cupy.asarray(X))
            assert isinstance(found, cupy.ndarray)
            assert_allclose(found.get(), predict(X), rtol=1e-12)


def test_what_crosses_is_sorted_and_nothing_else() -> None:
    """Two rows of two targets at three levels, out of order: 0.5, 0.9, 0.1."""
    outputs = np.array([[5.0, 50, 9, 20, 1, 10], [5, 50, 3, 60, 7, 40]])
    wanted = [[[5, 9, 1], [20, 50, 10]], [[5, 7, 3], [50, 60, 40]]]
    assert_array_equal(by_level(outputs, [0.5, 0.9, 0.1]), wanted)
    assert by_level(outputs, 0.3).shape == (2, 6, 1)
    for quantile, nearest in ((0.3, 0), ([0.6, 0.4], 1), ([0.1, 0.5], 1), ([0.9, 0.2], 1)):
        assert nearest_to_the_median(quantile) == nearest


@pytest.mark.parametrize("low", [0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45])
def test_of_two_levels_as_near_the_lower_one_is_predicted(low: float) -> None:
    """Rounded, 0.95 is nearer 0.5 than 0.05 is."""
    assert nearest_to_the_median([low, 1 - low]) == 0
    assert nearest_to_the_median([1 - low, low]) == 1
    assert nearest_to_the_median([low, round(1 - low, 2)]) == 0
    model = fit(regressor(quantile=[round(1 - low, 2), low], max_iter=2, device="cpu"), X, ONE)
    assert_array_equal(model.predict(X), model.predict_quantiles(X)[:, 1])


@pytest.mark.parametrize("one", [0.3, [0.3], np.array([0.3])], ids=repr)
def test_one_level_is_one_column(one: Any) -> None:
    for y in (ONE, TWO):
        model, plain = (fit(regressor(quantile=q, device="cpu"), X, y) for q in (one, 0.3))
        assert_array_equal(model.predict_quantiles(X)[..., 0], plain.predict(X))
        assert model.predict_quantiles(X).shape == (*y.shape, 1)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_other_losses_have_no_quantiles(loss: str) -> None:
    model = regressor(loss=loss)
    assert not hasattr(model, "predict_quantiles")
    message = f"only available for loss='quantile', got loss={loss!r}; set loss='quantile'"
    with pytest.raises(AttributeError, match=message):
        model.predict_quantiles(X)
    assert hasattr(regressor(), "predict_quantiles")


@pytest.mark.parametrize("quantile", [LEVELS, (0.5,), np.array(LEVELS)], ids=repr)
def test_several_levels_need_their_loss(quantile: Any) -> None:
    for begin in (MLPRegressor.fit, MLPRegressor.partial_fit):
        with pytest.raises(ValueError, match="is for loss='quantile', got loss='squared_error'; s"):
            begin(regressor(loss="squared_error", quantile=quantile), X, ONE)
    fit(regressor(loss="squared_error", quantile=0.3, max_iter=1, device="cpu"), X, ONE)


@pytest.mark.parametrize(
    ("quantile", "message"),
    [
        ([], "quantile must be a number between 0 and 1, or a list of such numbers"),
        ([0.1, 1.0], "quantile must be a number between 0 and 1, or a list"),
        ([0.1, "0.5"], "quantile must be a number between 0 and 1, or a list"),
        ([[0.1, 0.5]], "quantile must be a number between 0 and 1, or a list"),
        (1.0, r"'quantile' parameter .* \(0.0, 1.0\) or an array-like. Got 1.0"),
        ("median", "'quantile' parameter .* Got 'median'"),
    ],
)
def test_bad_levels_are_refused(quantile: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        regressor(quantile=quantile).fit(X, ONE)


def test_training_does_not_go_on_with_more_outputs() -> None:
    model = fit(regressor(), X, ONE).set_params(quantile=[0.1, 0.9], warm_start=True)
    with pytest.raises(ValueError, match="continue from coefs_ of shapes"):
        model.fit(X, ONE)


@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize(
    ("y", "fitted", "other"),
    [
        (THREE, 0.5, {"quantile": [0.1, 0.5, 0.9]}),
        (ONE, [0.1, 0.5, 0.9], {"quantile": 0.5}),
        (ONE, [0.1, 0.5, 0.9], {"loss": "squared_error", "quantile": 0.5}),
    ],
    ids=["one to three", "three to one", "three to a mean"],
)
def test_training_does_not_go_on_with_another_number_of_levels(
    y: np.ndarray, fitted: Any, other: dict[str, Any], scaling: bool, tmp_path: Path
) -> None:
    model = fit(regressor(quantile=fitted, target_scaling=scaling, device="cpu"), X, y)
    save(model, tmp_path / "model")
    message = r"quantile=.* (1 level|3 levels), but the model was fitted with [13]; set them back"
    for each in (model, load(tmp_path / "model")):
        predicted = each.predict(X)
        # The new number of levels, of as many outputs.
        outputs = ONE if y is THREE else THREE
        with pytest.raises(ValueError, match=message):
            each.set_params(**other, warm_start=True).fit(X, outputs)
        assert_array_equal(each.predict(X), predicted, strict=True)
    fit(model.set_params(**other, warm_start=False), X, outputs)
    assert len(model.predict(X)) == len(X)


def test_other_levels_of_the_same_number_are_taken() -> None:
    model = fit(regressor(quantile=[0.2, 0.7], device="cpu"), X, TWO)
    model.set_params(quantile=[0.1, 0.8], warm_start=True)
    assert fit(model, X, TWO).predict_quantiles(X).shape == (*TWO.shape, 2)


@pytest.mark.parametrize("scoring", [None, "loss", "neg_median_absolute_error"])
def test_early_stopping_scores_the_median(scoring: Any) -> None:
    model = regressor(early_stopping=True, scoring=scoring, target_scaling=True, device="cpu")
    fit(model, X[20:], TWO[20:], X_val=X[:20], y_val=TWO[:20])
    if scoring is None:
        assert_allclose(model.best_validation_score_, model.score(X[:20], TWO[:20]))
    best = model.validation_loss_curve_[model.best_epoch_ - 1]
    errors = (TWO[:20, :, None] - model.predict_quantiles(X[:20])) / model.target_scale_[:, None]
    by_hand = np.maximum(np.multiply(LEVELS, errors), np.subtract(LEVELS, 1) * errors).mean()
    assert by_hand < best + 1e-9  # sorted, they lose no more
    assert_allclose(best, by_hand, rtol=0.05)


# ---- models on disk, and their explanation ---------------------------------------------------


@pytest.mark.parametrize("y", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("target_scaling", [False, True])
def test_models_keep_their_levels(y: np.ndarray, target_scaling: bool, tmp_path: Path) -> None:
    model = fit(regressor(quantile=np.array(LEVELS), target_scaling=target_scaling), X, y)
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.quantile == tuple(LEVELS)
    assert_array_equal(loaded.predict_quantiles(X), model.predict_quantiles(X), strict=True)
    assert_array_equal(loaded.predict(X), model.predict(X), strict=True)


@pytest.mark.parametrize("wrong", [[0.1, 0.9], [], [None], "x", [[0.1]], [2.0], 7])
def test_a_file_with_other_levels_is_refused(wrong: Any, tmp_path: Path) -> None:
    save(fit(regressor(), X, ONE), tmp_path / "model")
    record = read_model(tmp_path / "model")
    record.header["estimator"]["parameters"]["quantile"] = wrong
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match="restore the file"):
        load(tmp_path / "model")


def test_a_table_s_model_predicts_the_median_in_units(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "y", "z")
    cells = zip(names, np.column_stack([X, TWO]).T, strict=True)
    columns = {name: NumberColumn(column) for name, column in cells}
    table = Table(columns, len(X), "rows", ("y", "z"))
    options = {"max_iter": 100, "learning_rate_init": 0.01, "n_iter_no_change": 99}
    model = TableRegressor(**regressor(**options).get_params() | {"target_scaling": "auto"})
    model.fit_table(table, ("y", "z"))
    save(model, tmp_path / "model")
    found = load(tmp_path / "model").predict(table)
    assert found.shape == TWO.shape
    assert np.corrcoef(found[:, 1], TWO[:, 1])[0, 1] > 0.9
    with pytest.raises(DataError, match="3 quantiles cannot be explained"):
        of_model(model, table, 0)
