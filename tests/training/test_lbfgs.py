"""solver="lbfgs": scikit-learn's loss, gradient, steps, attributes and messages."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import estimator_checks_generator

import gpubp
from gpubp import MLPClassifier, MLPRegressor
from gpubp.__main__ import main
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.estimators.fit_estimators import fit_estimator
from gpubp.estimators.fitted_attributes import warn_why_stopped
from gpubp.training import fit_memory, lbfgs
from gpubp.training.batches import Batches
from gpubp.training.fit_memory import DeviceMemoryError
from tests.estimators.cases import (
    CLASSES,
    FACTS,
    NUMBERS,
    OURS,
    PROBLEMS,
    TARGETS,
    WEIGHTS,
    X,
    fit,
    pair,
    watched,
)

ACTIVATIONS = ("identity", "logistic", "relu", "tanh")
COUNTS = np.round(np.exp(X[:, 0])) + (X[:, 1] > 0)
CASES: dict[str, tuple[str, np.ndarray, dict[str, Any]]] = {
    **{name: (*PROBLEMS[name], {}) for name in TARGETS},
    "poisson": ("regressor", COUNTS, {"loss": "poisson"}),
}
LOSS_OF = {
    "binary": "sigmoid_cross_entropy",
    "multi-class": "softmax_cross_entropy",
    "multi-label": "sigmoid_cross_entropy",
    "regression": "squared_error",
    "outputs": "squared_error",
    "poisson": "poisson",
}


def both(case: str, **parameters: Any) -> tuple[Any, Any, np.ndarray]:
    """Our estimator, scikit-learn's, and y."""
    kind, y, more = CASES[case]
    return *pair(kind, solver="lbfgs", **more, **parameters), y


def theirs_at(x: np.ndarray, model: Any, y: np.ndarray, weights: Any) -> tuple[float, np.ndarray]:
    """scikit-learn's loss and gradient at ``x``; ``model`` is fitted."""
    if hasattr(model, "_label_binarizer"):
        y = model._label_binarizer.transform(y)
    n = model.n_layers_ - 1
    lists = ([X, *[None] * n], [None] * n, [None] * n, [None] * n)
    return model._loss_grad_lbfgs(x, X, y.reshape(len(X), -1), weights, *lists)  # type: ignore[no-any-return]


def objective_of(
    backend: Backend, case: str, y: np.ndarray, activation: str, weights: Any, rows: int, alpha: Any
) -> lbfgs.Objective:
    """The objective of a 4-7-5-k network, taken ``rows`` rows at a time."""
    loss = LOSSES[LOSS_OF[case]]
    if loss.targets == "index":
        targets, k = y.astype(np.int32), 3
    else:
        targets = y.reshape(len(y), -1).astype(float)
        k = targets.shape[1]
    network = Network((4, 7, 5, k), (activation,) * 2)
    theta = network.initial_theta(np.random.RandomState(0), np.dtype(float))
    batches = Batches(backend, X, targets, rows, weights)
    return lbfgs.Objective(backend, network, loss, theta, batches, alpha=alpha)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_scikit_learns(backend: Backend, case: str, activation: str) -> None:
    _, theirs, y = both(case, activation=activation, alpha=0.7, max_iter=1)
    fit(theirs, X, y)
    tolerance = 1e-12 if backend.name == "cpu" else 1e-9
    for weights in (None, WEIGHTS):
        objective = objective_of(backend, case, y, activation, weights, len(X), 0.7)
        x = np.random.RandomState(5).normal(0, 0.6, len(objective.start))
        loss, gradient = objective(x)
        wanted_loss, wanted = theirs_at(x.copy(), theirs, y, weights)
        assert_allclose(loss, wanted_loss, tolerance)
        assert gradient.dtype == np.float64
        assert_allclose(gradient, wanted, tolerance, tolerance * np.abs(wanted).max())


def test_of_several_outputs_the_gradient_is_that_of_the_loss(backend: Backend) -> None:
    Y = np.stack([X[:, 0], X[:, 1] ** 2, np.sin(X[:, 2])], axis=1)
    theirs = fit(pair("regressor", solver="lbfgs", activation="tanh", max_iter=1)[1], X, Y)
    theirs.alpha = 0.0
    objective = objective_of(backend, "outputs", Y, "tanh", None, 90, 0.0)
    x = np.random.RandomState(5).normal(0, 0.6, len(objective.start))
    loss, gradient = objective(x)
    wanted_loss, wanted = theirs_at(x.copy(), theirs, Y, None)
    assert_allclose(loss, wanted_loss, 1e-12)
    assert_allclose(gradient, wanted / 3, 1e-9, 1e-12)
    for k in (0, 40, len(x) - 1):
        h = 1e-6 * np.eye(len(x))[k]
        assert_allclose(gradient[k], (objective(x + h)[0] - objective(x - h)[0]) / 2e-6, 1e-5)


@pytest.mark.parametrize("case", ["multi-class", "regression"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_steps_add_up_to_the_whole(backend: Backend, case: str, weights: Any) -> None:
    y = CASES[case][1]
    found = []
    for rows in (90, 45, 32, 7):  # one step; two; two and a tail; many
        objective = objective_of(backend, case, y, "relu", weights, rows, 0.3)
        x = np.random.RandomState(5).normal(0, 0.6, len(objective.start))
        loss, gradient = objective(x)
        again = objective(x)
        assert again[0] == loss
        assert_array_equal(again[1], gradient)
        found.append(np.append(gradient, loss))
    for got in found[1:]:
        assert_allclose(got, found[0], 1e-11, 1e-14)


def test_large_data_are_taken_in_steps_of_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = OURS["classifier"](solver="lbfgs", max_iter=5, random_state=0)
    whole = fit(ours, X, CLASSES, WEIGHTS).coefs_
    made: list[int] = []
    init = Batches.__init__

    def note(self: Batches, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        made.append(self.batch_size)

    monkeypatch.setattr(Batches, "__init__", note)
    monkeypatch.setattr(fit_memory, "STEP_BYTES", 30 * 8 * (4 + 3 * 103))
    stepwise = fit(ours, X, CLASSES, WEIGHTS).coefs_
    assert made == [32]
    for got, wanted in zip(stepwise, whole, strict=True):
        assert_allclose(got, wanted, 1e-8, 1e-10)


# ---- the estimators --------------------------------------------------------------------------


def assert_same_weights(ours: Any, theirs: Any, tolerance: float = 1e-8) -> None:
    for name in ("coefs_", "intercepts_"):
        for got, wanted in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert got.dtype == wanted.dtype
            assert_allclose(got, wanted, tolerance, tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("case", CASES)
def test_steps_are_scikit_learns(case: str, activation: str) -> None:
    # Rounding grows from step to step: 4e-8 after 20 for the binary problem under logistic.
    steps = 20 if activation != "logistic" else 12
    ours, theirs, y = both(case, activation=activation, max_iter=steps)
    fit(ours, X, y), fit(theirs, X, y)
    assert_same_weights(ours, theirs)
    assert_allclose(ours.loss_, theirs.loss_, 1e-9)
    for name in FACTS:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in NUMBERS:
        assert hasattr(ours, name) == hasattr(theirs, name) == (name == "loss_")


OPTIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "alpha": ("regression", {"alpha": 3.0}, {}),
    "weights": ("multi-class", {}, {"sample_weight": WEIGHTS}),
    "weights alpha": ("poisson", {"alpha": 3.0}, {"sample_weight": WEIGHTS}),
    "early stopping": ("binary", {"early_stopping": True}, {}),
    "batch size": ("binary", {"batch_size": 500, "learning_rate_init": 9.0}, {}),
    "tol": ("multi-label", {"tol": 0.05}, {}),
    "no hidden layer": ("multi-class", {"hidden_layer_sizes": ()}, {}),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_are_heeded_as_by_scikit_learn(option: str) -> None:
    case, parameters, arguments = OPTIONS[option]
    ours, theirs, y = both(case, max_iter=12, **parameters)
    assert watched(lambda: ours.fit(X, y, **arguments)) == watched(
        lambda: theirs.fit(X, y, **arguments)
    )
    assert_same_weights(ours, theirs)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)


@pytest.mark.parametrize("case", CASES)
def test_where_it_ends_the_loss_is_scikit_learns(case: str) -> None:
    ours, theirs, y = both(case, activation="tanh", max_iter=1000, alpha=1.0, tol=1e-3)
    assert watched(lambda: ours.fit(X, y)) == watched(lambda: theirs.fit(X, y)) == set()
    assert ours.stopped_by_ == "convergence"
    assert_allclose(ours.loss_, theirs.loss_, 0.02)


def test_warm_start_goes_on_as_scikit_learn() -> None:
    ours, theirs, y = both("multi-class", warm_start=True, max_iter=6)
    for _ in range(2):
        fit(ours, X, y), fit(theirs, X, y)
        assert_same_weights(ours, theirs)
    assert ours.n_iter_ == 6
    once = fit(both("multi-class", max_iter=6)[0], X, y)
    assert ours.loss_ < once.loss_


def test_float32_rows_give_float64_weights_as_in_scikit_learn() -> None:
    ours, theirs, y = both("regression", max_iter=8)
    fit(ours, X.astype(np.float32), y), fit(theirs, X.astype(np.float32), y)
    assert_same_weights(ours, theirs, 1e-5)  # there initial weights are rounded to float32
    single = fit(both("regression", max_iter=8)[0].set_params(dtype="float32"), X, y)
    assert single.coefs_[0].dtype == np.float32
    assert_allclose(single.loss_, ours.loss_, 1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_cuda_as_on_the_cpu(host_cupy: Any, dtype: str) -> None:
    ours, _, y = both("multi-class", max_iter=8, alpha=0.1)
    fit(ours.set_params(dtype=dtype), X, y, WEIGHTS)
    device = fit(OURS["classifier"](**ours.get_params()).set_params(device="cuda"), X, y, WEIGHTS)
    assert device.device_ == "cuda:0"
    for got, wanted in zip(device.coefs_, ours.coefs_, strict=True):
        assert got.dtype == wanted.dtype == dtype
        assert_allclose(got, wanted, *((1e-9, 1e-10) if dtype == "float64" else (0.01, 0.01)))
    assert_allclose(device.loss_, ours.loss_, 1e-9 if dtype == "float64" else 1e-3)


def test_a_device_that_is_too_small_for_the_data(small: Any) -> None:
    """They are streamed, in ever smaller steps, to the same weights."""
    rng = np.random.RandomState(0)
    data = rng.normal(size=(600, 64))
    y = data[:, :3].argmax(axis=1)
    options: dict[str, Any] = {"device": "cuda", "dtype": "float64", "random_state": 0}
    found: list[tuple[int, np.ndarray]] = []
    for memory in (1 << 20, 250_000, 40_000, 10_000):
        machine = small(memory)
        model = MLPClassifier((8,), solver="lbfgs", max_iter=2, **options)
        if memory == 10_000:
            with pytest.raises(DeviceMemoryError, match=r"training needs .* bytes on cuda:0"):
                model.fit(data, y)
            continue
        told = watched(partial(model.fit, data, y))
        streamed = [text for _, text in told if "its rows are streamed from the host" in text]
        found.append((len(streamed), model.coefs_[0]))
        assert not machine.settle()
    assert [streamed for streamed, _ in found] == [0, 1, 1]
    for _, weights in found[1:]:
        assert_allclose(weights, found[0][1], 1e-9, 1e-11)


SOME_CHECKS = {
    "check_classifiers_train",
    "check_regressors_train",
    "check_dict_unchanged",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_fit1d",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_sample_weight_equivalence_on_dense_data",
    "check_supervised_y_2d",
}


@pytest.mark.parametrize("kind", OURS)
def test_check_estimator(kind: str) -> None:
    model, done = OURS[kind](hidden_layer_sizes=(10,), solver="lbfgs", max_iter=30), set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator, check in estimator_checks_generator(model):
            if (name := check.func.__name__) in SOME_CHECKS:
                check(estimator)
                done.add(name)
    assert len(done) == len(SOME_CHECKS) - 1


# ---- messages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "stopped_by"), [({"max_iter": 3}, "max_epochs"), ({"max_fun": 4}, "max_fun")]
)
def test_what_stops_short_warns_as_scikit_learn(
    parameters: dict[str, Any], stopped_by: str
) -> None:
    ours, theirs, y = both("multi-class", **{"max_iter": 500, **parameters})
    found = watched(lambda: ours.fit(X, y))
    assert found == watched(lambda: theirs.fit(X, y))
    assert [kind for kind, _ in found] == [ConvergenceWarning]
    assert (ours.n_iter_, ours.stopped_by_) == (theirs.n_iter_, stopped_by)


def test_a_loss_that_is_not_finite_ends_as_in_scikit_learn() -> None:
    ours, theirs, y = both("regression")
    found = watched(lambda: ours.fit(X * 1e200, y))
    # scikit-learn's own arithmetic warns beside it.
    convergence = {
        w for w in watched(lambda: theirs.fit(X * 1e200, y)) if w[0] is ConvergenceWarning
    }
    assert found == convergence
    assert len(found) == 1
    assert np.isnan(ours.loss_)
    assert np.isnan(theirs.loss_)
    assert (ours.n_iter_, ours.stopped_by_) == (theirs.n_iter_, "line_search") == (0, "line_search")


def test_weights_that_are_not_finite_are_refused() -> None:
    messages = []
    for model in both("regression", warm_start=True, max_iter=2)[:2]:
        fit(model, X, CLASSES).coefs_[0][0, 0] = np.nan
        with pytest.raises(ValueError, match="non-finite") as caught:
            watched(partial(model.fit, X, CLASSES))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith("Solver produced non-finite parameter weights.")


def test_there_is_no_partial_fit() -> None:
    # scikit-learn's regressor has one: it forgets to call its own check.
    errors = []
    for model in (*pair("classifier", solver="lbfgs"), pair("regressor", solver="lbfgs")[0]):
        assert not hasattr(model, "partial_fit")
        with pytest.raises(AttributeError) as caught:
            _ = model.partial_fit
        message = str(caught.value).replace("MLPRegressor", "MLPClassifier")
        errors.append((message, repr(caught.value.__cause__)))
        assert hasattr(model.set_params(solver="sgd"), "partial_fit")
    assert errors[0] == errors[1] == errors[2]
    assert "lbfgs is not stochastic." in errors[0][1]


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_verbose(solver: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = fit(
        MLPRegressor(hidden_layer_sizes=(3,), solver=solver, max_iter=2, verbose=True), X, X[:, 0]
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["Iteration 1", "Iteration 2"]
    assert lines[-1] == f"Iteration 2, loss = {model.loss_:.8f}"


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, evaluation: int) -> None:
    call = lbfgs.Objective.__call__

    def interrupted(self: lbfgs.Objective, x: np.ndarray) -> tuple[float, np.ndarray]:
        if self.evaluations == evaluation:
            raise KeyboardInterrupt
        return call(self, x)

    monkeypatch.setattr(lbfgs.Objective, "__call__", interrupted)


def test_an_interrupt_is_passed_on_as_in_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _, y = both("multi-class", max_iter=50)
    _interrupt_at(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        ours.fit(X, y)
    assert ours.stopped_by_ == "interrupt"
    assert 3 < ours.n_iter_ < 9
    monkeypatch.undo()
    reached = fit(both("multi-class", max_iter=ours.n_iter_)[0], X, y)
    assert_array_equal(ours.coefs_[0], reached.coefs_[0])
    assert ours.loss_ == reached.loss_


def test_who_watches_may_stop_it() -> None:
    ours, _, y = both("multi-class", max_iter=50)
    stopped = fit_estimator(ours, X, y, on_epoch=lambda epoch: epoch.number == 4)
    assert (stopped.stopped_by, stopped.epochs) == ("callback", 4)
    warn_why_stopped(ours, stopped)  # without a warning
    reached = fit(both("multi-class", max_iter=4)[0], X, y)
    assert_array_equal(ours.coefs_[0], reached.coefs_[0])
    assert ours.loss_ == reached.loss_
    last: list[bool] = []
    fit_estimator(ours.set_params(max_iter=3), X, y, on_epoch=lambda epoch: last.append(epoch.last))
    assert last == [False, False, True]


def test_solvers_take_turns() -> None:
    ours, _, y = both("multi-class", max_iter=3)
    fit(ours.set_params(solver="adam"), X, y)
    assert len(ours.loss_curve_) == 3
    fit(ours.set_params(solver="lbfgs"), X, y)
    assert not any(hasattr(ours, name) for name in NUMBERS if name != "loss_")
    loss = ours.loss_
    fit(ours.set_params(solver="adam", warm_start=True, learning_rate_init=1e-4), X, y)
    assert len(ours.loss_curve_) == 3
    assert ours.loss_ == ours.loss_curve_[-1] < 1.05 * loss
    fit(ours.set_params(solver="lbfgs"), X, y)
    assert len(ours.loss_curve_) == 3  # as scikit-learn leaves it
    assert ours.loss_ < ours.loss_curve_[-1]
    ours.set_params(solver="sgd").partial_fit(X, y)
    assert ours.loss_ == ours.loss_curve_[3]


# ---- files and the command line --------------------------------------------------------------


def test_save_and_load(tmp_path: Path) -> None:
    ours, _, y = both("multi-class", max_iter=4, warm_start=True)
    gpubp.save(fit(ours, X, y), tmp_path / "model")
    loaded = gpubp.load(tmp_path / "model")
    for name in ("loss_", "n_iter_", "t_", "stopped_by_"):
        assert getattr(loaded, name) == getattr(ours, name)
    assert not any(hasattr(loaded, name) for name in NUMBERS if name != "loss_")
    assert_array_equal(loaded.predict_proba(X), ours.predict_proba(X))
    assert_array_equal(fit(loaded, X, y).coefs_[0], fit(ours, X, y).coefs_[0])


def test_save_and_load_without_a_finite_loss(tmp_path: Path) -> None:
    ours, _, y = both("regression")
    gpubp.save(fit(ours, X * 1e200, y), tmp_path / "model")
    assert np.isnan(gpubp.load(tmp_path / "model").loss_)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN = ("train", "iris", "--solver", "lbfgs", "--hidden", "6", "--epochs", "12")


def test_train(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN]) == 0
    out = capsys.readouterr().out
    assert "\niteration  1/12  loss " in out
    assert "\niteration 12/12  loss " in out
    assert "120 to train, 30 to test" in out
    assert "training    all 12 iterations done in " in out
    assert " 0 rows/s" not in out
    assert main(["predict", "model.safetensors", "iris"]) == 0
    assert main(["evaluate", "model.safetensors", "iris"]) == 0
    estimator = gpubp.load("model.safetensors").network_
    assert (estimator.solver, estimator.max_iter, estimator.n_iter_) == ("lbfgs", 12, 12)


def test_train_with_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--json"]) == 0
    columns, *steps, result = map(json.loads, capsys.readouterr().out.splitlines())
    assert columns["event"] == "columns"
    assert [step["event"] for step in steps] == ["iteration"] * 12
    assert [set(step) for step in steps] == [{"event", "iteration", "loss", "seconds"}] * 12
    losses = [step["loss"] for step in steps]
    assert losses == sorted(losses, reverse=True)
    assert (result["solver"], result["epochs"]) == ("lbfgs", 12)
    assert result["train"]["loss"] == losses[-1]
    assert result["rows_per_second"] >= 12 * 120 / result["seconds"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("lr", "0.1"), ("batch-size", "5"), ("validation-size", "0.2"), ("patience", "3")],
)
@pytest.mark.parametrize("config", [False, True])
def test_train_refuses_options_of_epochs(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, config: bool
) -> None:
    (folder / "run.toml").write_text(f"{option} = {value}\n")
    given = ["--config", "run.toml"] if config else [f"--{option}", value]
    assert main([*TRAIN, *given]) == 2
    assert f"--{option} is for --solver adam, " in capsys.readouterr().err
    assert not (folder / "model.safetensors").exists()


@pytest.mark.parametrize(("evaluation", "saved"), [(0, False), (9, True)])
def test_an_interrupt_of_train(
    folder: Path, monkeypatch: pytest.MonkeyPatch, evaluation: int, saved: bool
) -> None:
    _interrupt_at(monkeypatch, evaluation)
    assert main([*TRAIN]) == 130
    assert (folder / "model.safetensors").exists() == saved


def test_train_on_a_loss_that_is_not_finite(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        lbfgs.Objective, "__call__", lambda self, x: (np.nan, np.full(len(x), np.nan))
    )
    assert main([*TRAIN]) == 1
    assert "training diverged: the loss of the initial weights" in capsys.readouterr().err
    assert not (folder / "model.safetensors").exists()


def test_explain_takes_a_step_of_gradient_descent(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "--quiet", "--alpha", "0"]) == 0
    capsys.readouterr()
    assert main(["explain", "model.safetensors", "iris", "--json"]) == 0
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    rate = gpubp.load("model.safetensors").network_.learning_rate_init
    parameters = list(step["parameters"].values())
    moved = np.array([p["new"] - p["value"] for p in parameters])
    assert np.abs(moved).max() > 0
    assert_allclose(moved, [-rate * p["gradient"] for p in parameters], 1e-6, 1e-9)


def test_what_is_recorded_goes_with_its_objective() -> None:
    """No cycle keeps the arrays of a fit until the garbage collector comes."""
    import gc
    import weakref

    from gpubp.backends.numpy_backend import NumpyBackend

    gc.disable()
    try:
        objective = objective_of(NumpyBackend(), "binary", CASES["binary"][1], "relu", None, 90, 0)
        objective(objective.start)
        known = weakref.ref(objective)
        del objective
        assert known() is None
    finally:
        gc.enable()
