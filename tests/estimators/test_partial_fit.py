"""partial_fit of few rows: the kept step gives what the one that is made for each call does."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.select import BackendUnavailableError
from gpubp.estimators import fitted_attributes, kept_steps, mlp
from gpubp.estimators.per_thread import PerThread
from gpubp.training import fit, kept_step
from gpubp.training.history import History
from gpubp.training.trainer import Trainer

CLASSES = np.arange(4)
pytestmark = pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")


@pytest.fixture(autouse=True)
def recordings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers of rows of the trainers that are made."""
    rows: list[int] = []
    make = fit.make_trainer

    def counted(*arguments: Any, **options: Any) -> Any:
        rows.append(arguments[3].n_rows)
        return make(*arguments, **options)

    monkeypatch.setattr(fit, "make_trainer", counted)
    monkeypatch.setattr(kept_step, "make_trainer", counted)
    monkeypatch.setattr(kept_steps, "_KEPT", PerThread(kept_steps.MOST))
    return rows


def made(kind: Any = MLPClassifier, **options: Any) -> Any:
    return kind(**{"hidden_layer_sizes": (6, 5), "random_state": 0, "device": "cpu"} | options)


def rows_of(n: int, seed: int = 0, dtype: Any = float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    return rng.normal(size=(n, 3)).astype(dtype), rng.randint(0, 4, n)


def train(model: Any, n: int = 2, seed: int = 0, dtype: Any = float, **more: Any) -> Any:
    X, y = rows_of(n, seed, dtype)
    if isinstance(model, MLPClassifier):
        return model.partial_fit(X, y, classes=CLASSES, **more)
    return model.partial_fit(X, y + X[:, 0], **more)


def unkept(call: Callable[[], Any]) -> Any:
    """Return what ``call`` does where no step is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlp, "keep", lambda *arguments: None)
        patch.setattr(mlp, "train_on", lambda *arguments: None)
        return call()


def state_of(model: Any) -> dict[str, Any]:
    """Return all that a model has learned, its arrays as bytes."""
    has = {name: value for name, value in vars(model).items() if name.endswith("_")}
    has["vectors"] = list(model._optimizer_state.vectors)
    has["updates"] = model._optimizer_state.updates, model._optimizer_state.rate
    has["history"] = vars(model._history)
    for name in ("coefs_", "intercepts_", "vectors"):
        has[name] = [(array.shape, array.dtype, array.tobytes()) for array in has[name]]
    return {name: repr(value) for name, value in has.items()}


def assert_alike(models: Callable[[], Any]) -> Any:
    """Check that ``models`` returns the same model with and without kept steps; return it."""
    model = models()
    assert state_of(model) == state_of(unkept(models))
    return model


OPTIONS: list[dict[str, Any]] = [
    {},
    {"random_state": None},
    {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.5},
    {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 9.0},
    {"solver": "adamw", "clip_norm": 0.1},
    {"solver": "lion", "learning_rate": "cosine"},
    {"batch_size": 3},
    {"batch_size": 3, "row_order": "hash"},
    {"fit_intercept": False},
    {"activation": ["tanh", "gelu"]},
    {"dropout": 0.3},
    {"alpha": 0.5, "shuffle": False},
    {"dtype": "float32"},
    {"compiled": True},
    {"rate_factors": {"weights": "fan_in", "biases": [0.1, 2, 1]}},
    {"solver": "adamw", "decay_factors": {"biases": 3}, "compiled": True},
]


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_the_bits_are_the_same(kind: Any, dtype: Any, options: dict[str, Any]) -> None:
    def trained() -> Any:
        np.random.seed(0)  # what random_state=None draws from
        model = made(kind, **options)
        for k, n in enumerate([1, 8, 8, 8, 1, 2, 250, 8, 1, 3, 4, 5, 6, 1]):
            weighted = {"sample_weight": np.linspace(1, k, n)} if k in (3, 7, 8) else {}
            train(model, n, k, dtype, **weighted)
        model.drawn = np.random.random()
        return model

    try:
        assert_alike(trained)
    except BackendUnavailableError as why:
        pytest.skip(str(why))


@pytest.mark.parametrize(
    "options", [{"loss": "huber"}, {"loss": "quantile", "quantile": [0.1, 0.9]}]
)
@pytest.mark.parametrize("scaling", [False, True])
def test_other_losses_and_units(options: dict[str, Any], scaling: bool, recordings: list) -> None:
    def trained() -> Any:
        model = made(MLPRegressor, target_scaling=scaling, **options)
        for k in range(4):
            train(model, 5, k)
        if scaling:
            model.target_scale_ = model.target_scale_ * 2
        return train(model, 5, 9)

    trained()
    assert len(recordings) == 1 + (scaling and options["loss"] == "huber")
    assert_alike(trained)


def test_other_kinds_of_labels(recordings: list[int]) -> None:
    labels = {
        "text": np.array(list("abcd")),
        "two": np.array([0, 1, 1, 0]),
        "unsigned": np.arange(4, dtype=np.uint8),
        "float": np.arange(4.0),
        "many": np.eye(4, dtype=int),
    }
    for options in ({}, {"label_smoothing": 0.1}, {"batch_size": 3}):
        for y in labels.values():

            def trained(y: Any = y, options: Any = options) -> Any:
                model, X = made(**options), rows_of(4)[0]
                for _ in range(3):
                    model.partial_fit(X, y, classes=CLASSES if y.ndim == 2 else np.unique(y))
                return model

            recordings.clear()
            trained()
            assert recordings == [4]
            assert_alike(trained)


def test_wrong_labels_and_rows_raise_as_before() -> None:
    model = train(train(made()))
    before = state_of(model)
    X, y = rows_of(2)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        model.partial_fit(X, y + 4)
    with pytest.raises(ValueError, match="is expecting 3 features"):
        model.partial_fit(X[:, :2], y)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(X * np.nan, y)
    with pytest.raises(ValueError, match="at least one non-zero"):
        model.partial_fit(X, y, np.zeros(2))
    assert state_of(model) == before


def test_a_step_is_recorded_once_for_each_number_of_rows(recordings: list[int]) -> None:
    model = made()
    for n in (2, 2, 3, 2, 3, 2, 2):
        train(model, n)
    assert recordings == [2, 3]
    for n in (4, 5, 6, 6, 2):
        train(model, n)
    assert recordings == [2, 3, 4, 5, 6, 2]


def test_parameters_are_lists_of_views_that_stay() -> None:
    model = train(made())
    Ws, bs = model.coefs_, model.intercepts_
    train(model, 3)
    for lists, now in ((Ws, model.coefs_), (bs, model.intercepts_)):
        assert type(now) is list
        assert all(a is b and not a.flags.owndata for a, b in zip(lists, now, strict=True))


CHANGES: list[Callable[[Any], Any]] = [
    lambda model: model.coefs_.__setitem__(1, model.coefs_[1] * 2),
    lambda model: model.coefs_.__setitem__(0, model.coefs_[0][::-1]),
    lambda model: setattr(model, "intercepts_", tuple(b + 1 for b in model.intercepts_)),
    lambda model: setattr(model, "coefs_", [W.astype("f4") for W in model.coefs_]),
    lambda model: setattr(model, "_optimizer_state", replace(model._optimizer_state, updates=99)),
    lambda model: setattr(model, "_history", History(losses=[0.0])),
    lambda model: model.loss_curve_.append(-1.0),
    lambda model: model.set_params(alpha=1.0),
    lambda model: model.set_params(batch_size=1),
    lambda model: model.set_params(solver="sgd"),
    lambda model: model.set_params(beta_1=0.5),
    lambda model: model.set_params(clip_norm=1e-3),
    lambda model: model.set_params(label_smoothing=0.2),
    lambda model: model.set_params(dtype="float32"),
    lambda model: model.activation.__setitem__(0, "tanh"),
    lambda model: model.rate_factors.__setitem__("weights", 0.5),
    lambda model: model.rate_factors["biases"].__setitem__(1, 0.5),
    lambda model: model.fit(*rows_of(20)),
]
# The rate goes on from that of the call before, as in scikit-learn.
CHANGES_OF_NO_NUMBER: list[Callable[[Any], Any]] = [
    lambda model: setattr(model, "_optimizer_state", copy.deepcopy(model._optimizer_state)),
    lambda model: model.set_params(learning_rate_init=0.1),
    lambda model: model.set_params(learning_rate="invscaling", hidden_layer_sizes=[6, 5]),
]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("change", CHANGES + CHANGES_OF_NO_NUMBER)
def test_what_is_changed_between_calls_counts(
    change: Callable[[Any], Any], recordings: list[int]
) -> None:
    def trained(change: Callable[[Any], Any] = change) -> Any:
        factors = {"biases": [1, 2, 3]}
        model = made(activation=["relu", "relu"], max_iter=2, tol=0.0, rate_factors=factors)
        for k in range(3):
            train(model, 4, k)
        change(model)
        for k in range(3):
            train(model, 4, k)
        return model

    model = assert_alike(trained)
    if change in CHANGES:
        assert state_of(model) != state_of(trained(lambda model: None))
    recordings.clear()
    trained()
    assert len(recordings) <= 3


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.coefs_[1].__imul__(2),
        lambda model: model.intercepts_[0].__iadd__(1),
        lambda model: model.set_params(random_state=np.random.RandomState(3), max_iter=200),
        lambda model: model.set_params(class_weight={0: 1}).set_params(class_weight=None),
    ],
)
def test_what_needs_no_other_step_counts_too(
    change: Callable[[Any], Any], recordings: list[int]
) -> None:
    def trained() -> Any:
        model = train(train(made(random_state=np.random.RandomState(1))))
        change(model)
        return train(train(model))

    trained()
    assert len(recordings) == 1
    assert_alike(trained)


def test_rows_of_either_dtype(recordings: list[int]) -> None:
    def trained() -> Any:
        model = made()
        for dtype in (np.float32, np.float64, np.float64, np.float32):
            train(model, dtype=dtype)
            assert model.coefs_[0].dtype == dtype
        return model

    trained()
    assert len(recordings) == 3
    assert_alike(trained)


def test_biases_that_must_be_0_are_looked_at() -> None:
    model = train(train(made(fit_intercept=False)))
    model.intercepts_[0][0] = 1
    with pytest.raises(ValueError, match="intercepts_ that are 0"):
        train(model)


def test_predictions_between_calls(recordings: list[int]) -> None:
    def outputs() -> list[np.ndarray]:
        model, found = made(), []
        for k in range(5):
            found.append(train(model, 2, k).predict_proba(rows_of(2)[0]))
        return found

    for got, wanted in zip(outputs(), unkept(outputs), strict=True):
        assert_array_equal(got, wanted)
    assert recordings == [2] * 6


def test_the_estimator_holds_none_of_it(recordings: list[int]) -> None:
    model = train(train(made()))
    wanted = unkept(lambda: train(train(made())))
    assert set(vars(model)) == set(vars(wanted))
    assert abs(len(pickle.dumps(model)) - len(pickle.dumps(wanted))) < 200
    recordings.clear()
    others = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)]
    before = state_of(model)
    after = [state_of(train(other, seed=1)) for other in others]
    assert state_of(model) == before
    assert recordings == [2, 2, 2]
    assert [state_of(train(model, seed=1))] * 3 == after
    assert [state_of(other) for other in others] == after
    assert not hasattr(clone(model), "coefs_")


def test_a_shallow_copy_keeps_its_weights() -> None:
    model = train(train(made()))
    other = copy.copy(model)
    before = state_of(other)
    train(model)
    assert state_of(other) == before


def test_steps_are_few_and_freed_with_their_estimator(recordings: list[int]) -> None:
    models = [train(made()) for _ in range(kept_steps.MOST + 2)]
    kept = kept_steps._KEPT.kept
    assert [each.owner() for each in kept] == models[2:]
    steps = weakref.ref(kept[-1].steps)
    assert len(steps()._steps) == 1  # type: ignore[union-attr]
    for n in range(1, 9):
        train(models[-1], n)
    assert len(steps()._steps) == kept_step.MOST  # type: ignore[union-attr]
    del models
    gc.collect()
    assert steps() is None
    assert not kept


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_fit_keeps_nothing() -> None:
    model = train(made(max_iter=2))
    model.fit(*rows_of(20))
    assert not kept_steps._KEPT.kept


def test_large_ones_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("KEPT_BYTES", "ROWS_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(kept_step, limit, 100)
            train(train(made()))
        assert not kept_steps._KEPT.kept
    model = train(made())
    monkeypatch.setattr(kept_step, "ROWS_BYTES", 10_000)
    train(model, 300)
    assert not kept_steps._KEPT.kept


class _Curve(list):  # type: ignore[type-arg]
    """A list that is only looked at and added to at its places."""

    def __iter__(self) -> Any:
        raise AssertionError("the whole history was read")

    def __getitem__(self, place: Any) -> Any:
        assert not isinstance(place, slice)
        return super().__getitem__(place)


def test_a_long_history_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = train(made(random_state=None))
    (kept,) = kept_steps._KEPT.kept
    curve = _Curve([9.0] * 1_000_000)
    curve[500_000] = model.loss_curve_[0]
    kept.history.losses = model.loss_curve_ = curve
    kept.epochs, kept.best_epoch = len(curve), 500_001

    def fail(*arguments: Any) -> None:
        raise AssertionError("the whole history was read")

    monkeypatch.setattr(fitted_attributes, "_best_epoch", fail)
    monkeypatch.setattr(History, "copy", fail)
    for calls in range(1, 6):
        train(model)
        assert model.loss_curve_ is curve
        assert len(curve) == 1_000_000 + calls
    assert model.best_epoch_ == len(curve)  # the loss goes down
    train(model, seed=5)
    assert model.best_epoch_ == len(curve) - (curve[-1] > curve[-2])


def test_a_call_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class StopError(Exception):
        pass

    epoch = Trainer.epoch

    def fails(self: Trainer, *arguments: Any) -> float:
        epoch(self, *arguments)
        raise StopError

    def fails_later(*arguments: Any) -> None:
        raise StopError

    for where in ((Trainer, "epoch", fails), (kept_steps, "set_fitted", fails_later)):
        model = train(train(made()))
        wanted = unkept(lambda: train(train(train(made(), 2))))
        before, learned = dict(vars(model)), state_of(model)
        with monkeypatch.context() as patch:
            patch.setattr(*where)
            with pytest.raises(StopError):
                train(model)
        assert {name: id(value) for name, value in vars(model).items()} == {
            name: id(value) for name, value in before.items()
        }
        assert state_of(model) == learned
        assert state_of(train(model)) == state_of(wanted)


def test_after_a_divergence() -> None:
    def trained() -> Any:
        model = train(train(made(MLPRegressor, solver="sgd")))
        model.coefs_[0][:] = 1e200
        with pytest.raises(ValueError, match=r"beyond float64|non-finite"):
            train(model)
        model.coefs_[0][:] = 0.1
        return train(train(model))

    assert_alike(trained)


def test_an_interrupt_keeps_what_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = Trainer.epoch

    def interrupted(self: Trainer, *arguments: Any) -> float:
        epoch(self, *arguments)
        raise KeyboardInterrupt

    def trained() -> Any:
        model = train(train(made()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "epoch", interrupted)
            with pytest.warns(UserWarning, match="interrupted"):
                train(model)
        return train(train(model))

    assert_alike(trained)


def test_threads_share_none(recordings: list[int]) -> None:
    def trained(model: Any) -> Any:
        for k in range(100):
            train(model, 1 + k % 3, k)
        return model

    wanted = state_of(unkept(lambda: trained(made())))
    models = [made() for _ in range(3)]
    recordings.clear()
    threads = [Thread(target=trained, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [state_of(model) for model in models] == [wanted] * 3
    assert len(recordings) == 9
    assert not kept_steps._KEPT.kept  # those were of other threads


def test_threads_in_turns() -> None:
    def trained() -> Any:
        model = train(made())
        for k in range(6):
            thread = Thread(target=train, args=(model, 2, k))
            thread.start()
            thread.join()
            train(model, 2, k)
        return model

    assert_alike(trained)


def test_printing_is_done_in_each_call(capsys: pytest.CaptureFixture[str]) -> None:
    model = train(train(made()))
    train(train(model.set_params(verbose=True)))
    assert capsys.readouterr().out.count("Iteration 1, loss") == 2


def test_a_batch_that_is_too_large_is_warned_of_in_each_call() -> None:
    model = made(batch_size=5)
    for _ in range(3):
        with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger") as caught:
            train(model)
        assert len(caught) == 1
