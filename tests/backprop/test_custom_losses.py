"""Losses of one's own train as the built-in ones of the same formula do."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

import gpubp
from gpubp import MLPClassifier, MLPRegressor, ModelFileError, check_loss
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backprop.custom_losses import as_loss
from gpubp.backprop.losses import LOSSES, Loss, make_loss
from gpubp.explain.trained_model import of_model
from gpubp.kernels import regression_losses
from gpubp.kernels.elementwise import Elementwise
from gpubp.tables.read import read_table
from gpubp.tables.table import DataError
from tests.estimators.cases import BASE, WEIGHTS, X

OPTIONS: dict[str, Any] = {**BASE, "dtype": "float64", "max_iter": 4}
Y = np.stack([X @ [1.0, -2, 0.5, 1], np.sin(3 * X[:, 1])], 1)
COUNTS = np.floor(np.abs(4 * Y))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def squares(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the mean squared error, as the built-in loss."""
    difference = outputs - targets
    return 0.5 * (difference**2).mean(axis=1), difference / outputs.shape[1]


def log_cosh(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    difference = outputs - targets
    return np.log(np.cosh(difference)).sum(axis=1), np.tanh(difference)


def _log_cosh_twin(
    np: Any, Z: Any, Y: Any, n_outputs: int, share: Any, row_losses: Any, delta: Any
) -> None:
    value, row_value = np.empty_like(Z), np.empty(Z.shape[:-1], Z.dtype)
    np.subtract(Z, Y, out=delta)
    np.cosh(delta, out=value)
    np.log(value, out=value)
    np.sum(value, axis=-1, out=row_value)
    np.multiply(row_value, share, out=row_value)
    np.add(row_losses, row_value, out=row_losses)
    np.tanh(delta, out=delta)
    np.multiply(delta, share if np.ndim(share) == 0 else share[..., None], out=delta)


LOG_COSH = Elementwise(
    name="log_cosh",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share",
    outputs="float64 row_losses, raw T delta",
    body="""
T total = T(0);
for (int c = 0; c < n_outputs; ++c) {
    const ptrdiff_t k = (ptrdiff_t)i * n_outputs + c;
    const T difference = Z[k] - Y[k];
    total += log(cosh(difference));
    delta[k] = tanh(difference) * share;
}
row_losses += (double)(share * total);
""",
    numpy=_log_cosh_twin,
)


def fitted(loss: Any, y: np.ndarray = Y, **options: Any) -> MLPRegressor:
    options = {**OPTIONS, "device": "cpu", **options}
    return MLPRegressor(loss, **options).fit(X, y, sample_weight=WEIGHTS)


def same(got: MLPRegressor, wanted: MLPRegressor, tolerance: float = 1e-12) -> None:
    for name in ("coefs_", "intercepts_"):
        for ours, theirs in zip(getattr(got, name), getattr(wanted, name), strict=True):
            assert_allclose(ours, theirs, tolerance, tolerance)
    assert_allclose(got.loss_, wanted.loss_, tolerance)
    assert got.out_activation_ == wanted.out_activation_


# ---- training --------------------------------------------------------------------------------


@pytest.mark.parametrize("y", [Y, Y[:, 0]], ids=["two outputs", "one"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_function_trains_as_the_loss_of_its_formula(
    y: np.ndarray, dtype: str, solver: str
) -> None:
    options = {"dtype": dtype, "solver": solver}
    tolerance = 2e-3 if dtype == "float32" else 1e-9
    same(fitted(squares, y, **options), fitted("squared_error", y, **options), tolerance)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_step_trains_on_both_devices(device: str, request: pytest.FixtureRequest) -> None:
    if device == "cuda":
        request.getfixturevalue("host_cupy")
    got = fitted(LOG_COSH, device=device)
    same(got, fitted(log_cosh), 1e-10)
    assert got.device_.startswith(device)
    # A kernel that has been compiled is no hindrance.
    for other in (clone(got), pickle.loads(pickle.dumps(got)), copy.deepcopy(got)):
        same(other.fit(X, Y, sample_weight=WEIGHTS), got)


def test_a_loss_brings_its_output_and_its_numbers() -> None:
    same(fitted(make_loss("huber", delta=0.3)), fitted("huber", huber_delta=0.3))
    same(fitted(LOSSES["poisson"], COUNTS), fitted("poisson", COUNTS))
    own = gpubp.Loss("counts", regression_losses.POISSON, "numbers", "exp", "of counts")
    assert_array_equal(fitted(own, COUNTS).predict(X), fitted("poisson", COUNTS).predict(X))


def test_losses_of_several_networks() -> None:
    rng = np.random.RandomState(0)
    Z, targets, share = rng.normal(size=(3, 5, 2)), rng.normal(size=(5, 2)), rng.rand(3, 5)
    for shares, rows in ((share, targets), (0.2, targets), (share, np.stack([targets] * 3))):
        losses, delta = np.ones((3, 5)), np.empty_like(Z)
        as_loss(log_cosh).evaluate(NumpyBackend(), Z, rows, shares, losses, delta)
        assert_allclose(losses, 1 + shares * np.log(np.cosh(Z - targets)).sum(axis=-1))
        part = shares if np.ndim(shares) == 0 else shares[..., None]
        assert_allclose(delta, np.tanh(Z - targets) * part)


# ---- where it cannot run, or is wrong --------------------------------------------------------


def test_a_function_is_for_the_cpu(host_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"loss 'squares' is a Python function.*on cuda:0; "):
        fitted(squares, device="cuda")
    monkeypatch.setattr("gpubp.backends.select.CUDA_CROSSOVER", 1)
    assert fitted("squared_error", device="auto").device_ == "cuda:0"
    assert fitted(squares, device="auto").device_ == "cpu"


def mean_of_all(Z: np.ndarray, Y: np.ndarray) -> Any:
    return ((Z - Y) ** 2).mean(), Z - Y


def slope_alone(Z: np.ndarray, Y: np.ndarray) -> Any:
    return Z - Y


def one_column(Z: np.ndarray, Y: np.ndarray) -> Any:
    return ((Z - Y) ** 2).sum(axis=1), (Z - Y)[:, :1]


def nothing(Z: np.ndarray, Y: np.ndarray) -> Any:
    return None


def logarithm(Z: np.ndarray, Y: np.ndarray) -> Any:
    return np.log(Z).sum(axis=1), 1 / Z


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (mean_of_all, r"'mean_of_all' must return the loss of each row, of shape \(32,\).*\(\(\),"),
        (one_column, r"slope, of shape \(32, 2\).*got \(\(32,\), \(32, 1\)\)"),
        (slope_alone, "got a ndarray"),
        (nothing, "got a NoneType"),
        (logarithm, "'logarithm' must return finite numbers in its first call"),
    ],
)
def test_wrong_results_are_told(function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(function)


def test_later_calls_may_diverge() -> None:
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        fitted(squares, solver="sgd", learning_rate_init=1e200, max_iter=5)


def test_a_function_cannot_write_into_the_network() -> None:
    def spoils(Z: np.ndarray, Y: np.ndarray) -> Any:
        Z[...] = 0
        return Z.sum(axis=1), Z

    def spoils_by_out(Z: np.ndarray, Y: np.ndarray) -> Any:
        np.subtract(Z, Y, out=Z)
        return Z.sum(axis=1), Z

    for function in (spoils, spoils_by_out):
        message = f"loss '{function.__name__}' writes to its arguments, which are read-only; "
        with pytest.raises(ValueError, match=message):
            fitted(function)
        with pytest.raises(ValueError, match=message):
            check_loss(function, Y[:3], Y[:3])


def test_other_errors_of_a_function_are_its_own() -> None:
    def fails(Z: np.ndarray, Y: np.ndarray) -> Any:
        raise ValueError("targets are below 3")

    with pytest.raises(ValueError, match=r"^targets are below 3$"):
        fitted(fails)


@pytest.mark.parametrize("loss", ["no_such_loss", 3, None, ["squared_error"]])
def test_what_is_no_loss_is_scikit_learns_error(loss: Any) -> None:
    wanted = r"The 'loss' parameter of MLPRegressor must be a str among .* a callable\. Got "
    with pytest.raises(InvalidParameterError, match=wanted):
        fitted(loss)


@pytest.mark.parametrize("loss", [100, (100, 50), [7], np.array([7, 5])], ids=repr)
def test_sizes_of_layers_in_place_of_the_loss(loss: Any) -> None:
    wanted = re.escape(f"Got {loss!r} instead. Did you mean hidden_layer_sizes={loss!r}?")
    with pytest.raises(InvalidParameterError, match=wanted):
        MLPRegressor(loss).fit(X, Y)
    for other in ("no_such_loss", ["squared_error"], (100, "relu"), [], None, 0.5):
        with pytest.raises(InvalidParameterError, match=r"instead\.$"):
            MLPRegressor(other).fit(X, Y)


def test_a_negative_count_is_told_as_a_number() -> None:
    for dtype in (np.float64, np.float32):
        y = Y[:, 0].astype(dtype)
        lowest = re.escape(f"but y has {float(y.min())}; choose")
        with pytest.raises(ValueError, match=lowest):
            fitted("poisson", y)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (LOSSES["softmax_cross_entropy"], "got 'softmax_cross_entropy' with targets 'index'"),
        (
            make_loss("quantile", quantile=[0.1, 0.9]),
            "'quantile' with targets 'numbers' and 2 outp",
        ),
        (
            regression_losses.HUBER,
            r"Elementwise 'huber' of a loss must have inputs .* a gpubp.Loss",
        ),
    ],
)
def test_losses_that_do_not_fit_are_refused(loss: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(loss)


# ---- slopes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [squares, log_cosh, LOG_COSH, *map(LOSSES.get, ["squared_error", "huber", "poisson"])]
)
def test_slopes_are_central_differences(loss: Any) -> None:
    outputs = np.random.RandomState(0).normal(0, 2, (20, 2))
    assert check_loss(loss, outputs, COUNTS[:20]) < 1e-7


def test_a_wrong_slope_is_told() -> None:
    def wrong(Z: np.ndarray, Y: np.ndarray) -> Any:
        value, slope = squares(Z, Y)
        slope[3, 1] += 0.01
        return value, slope

    given = r"'wrong' returns the slope .* for output 1 of row 3, but the central difference"
    with pytest.raises(ValueError, match=given):
        check_loss(wrong, Y[:9] + 1, Y[:9])
    assert check_loss(wrong, Y[:9] + 1, Y[:9], tolerance=0.1) == pytest.approx(0.01, rel=1e-4)
    for outputs, targets in ((Y, Y[:, 0]), (Y[:, 0], Y[:, 0]), (Y[:0], Y[:0]), (Y[None], Y[None])):
        shapes = re.escape(f"must both be (n, k), got shapes {outputs.shape} and {targets.shape}")
        with pytest.raises(ValueError, match=shapes):
            check_loss(squares, outputs, targets)


@pytest.mark.parametrize("loss", ["huber", None, 3])
def test_what_is_no_loss_is_not_checked(loss: Any) -> None:
    with pytest.raises(ValueError, match=rf"loss must be a function, .*, got {loss!r}; .*LOSSES"):
        check_loss(loss, Y, Y)


# ---- keeping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [squares, LOG_COSH, make_loss("huber", delta=0.3)])
def test_models_are_cloned_and_pickled(loss: Any) -> None:
    model = fitted(loss)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    same(clone(again).fit(X, Y, sample_weight=WEIGHTS), model)


def test_saving_is_refused_with_a_way_out(tmp_path: Path) -> None:
    model, path = fitted(squares), tmp_path / "model.safetensors"
    told = re.escape("set_params(loss='squared_error'), which predicts the same, or pick")
    with pytest.raises(ModelFileError, match=rf"user-defined loss 'squares' cannot.*{told}"):
        gpubp.save(model, path)
    outputs = model.predict(X)
    gpubp.save(model.set_params(loss="squared_error"), path)
    assert_array_equal(gpubp.load(path).predict(X), outputs)
    steep = Loss("steep", regression_losses.SQUARED_ERROR, "numbers", "logistic", "")
    with pytest.raises(ModelFileError, match="contains no code; pickle it"):
        gpubp.save(fitted(steep), path)
    gpubp.save(MLPClassifier(max_iter=1, device="cpu").fit(X, Y[:, 0] > 0), path)


def test_it_is_not_explained(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", X=X, y=Y[:, 0])
    table = read_table(tmp_path / "rows.npz")
    assert of_model(fitted(make_loss("huber"), Y[:, 0]), table, 0).loss_parameters == (1.0,)
    with pytest.raises(DataError, match="a loss of its own, 'squares', cannot be explained"):
        of_model(fitted(squares, Y[:, 0]), table, 0)
