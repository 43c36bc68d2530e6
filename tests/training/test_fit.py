"""fit: from arrays and numbers to trained parameters, without an estimator."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import gpubp
from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.protocol import Backend
from gpubp.backends.select import get_backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.backprop.solvers import SOLVERS
from gpubp.estimators.callbacks import CallbackSupportMixin
from gpubp.training.data import TrainingData
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit import Listeners, Start, fit
from gpubp.training.history import Epoch
from gpubp.training.recipe import Recipe
from gpubp.training.validation import ValidationSet

RNG = np.random.RandomState(0)
X = RNG.normal(size=(60, 4))
Y = (X[:, :3] + X[:, 1:]).argmax(axis=1).astype(np.int32)
NETWORK = Network((4, 6, 3), ("tanh",))
LOSS = LOSSES["softmax_cross_entropy"]
RECIPE = Recipe(epochs=5, batch_size=16, learning_rate=0.02, precision="float64")


def rows(part: slice = slice(None)) -> TrainingData:
    return TrainingData(X[part], Y[part], Y[part], None)


@pytest.mark.parametrize("solver", SOLVERS)
def test_it_trains_as_an_estimator_does(backend: Backend, solver: str) -> None:
    recipe = Recipe(6, 16, solver, learning_rate=0.02, alpha=0.1, precision="float64", seed=3)
    fitted = fit(backend, NETWORK, LOSS, rows(), recipe)
    model = MLPClassifier(
        (6,), "tanh", solver=solver, batch_size=16, learning_rate_init=0.02, alpha=0.1,
        max_iter=6, random_state=3, device=backend.name, dtype="float64",
        compiled=type(backend).__name__ == "CompiledBackend",
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning):
        model.fit(X, Y)
    Ws, bs = NETWORK.unpack(fitted.theta)
    for ours, theirs in zip([*Ws, *bs], [*model.coefs_, *model.intercepts_], strict=True):
        assert_array_equal(ours, theirs)
    assert fitted.history.losses == getattr(model, "loss_curve_", [])
    assert (fitted.device, fitted.precision) == (model.device_, "float64")
    assert fitted.stopped_by == model.stopped_by_ == "max_epochs"
    assert sum(fitted.launches.values()) > 0


def test_it_goes_on_where_it_stopped(backend: Backend) -> None:
    still = Recipe(epochs=4, batch_size=16, shuffle=False, precision="float64")
    whole = fit(backend, NETWORK, LOSS, rows(), still)
    half = Recipe(epochs=2, batch_size=16, shuffle=False, precision="float64")
    first = fit(backend, NETWORK, LOSS, rows(), half)
    start = Start(first.theta, np.random.RandomState(0), first.history, first.state)
    second = fit(backend, NETWORK, LOSS, rows(), half, start=start)
    assert_array_equal(second.theta, whole.theta)
    assert second.history.losses == whole.history.losses
    assert first.history.losses == whole.history.losses[:2]  # which the second left alone


def test_rows_held_out_stop_it_and_the_best_parameters_stay(backend: Backend) -> None:
    seen: list[np.ndarray] = []
    recipe = Recipe(epochs=50, batch_size=16, patience=3, tol=1e9, precision="float64")

    def begin(snapshot: Any) -> None:
        seen.append(snapshot().theta)
        listeners.append(snapshot)

    listeners: list[Any] = []
    scores = iter([0.5, 0.9, 0.1, 0.2, 0.3, 0.4])
    fitted = fit(
        backend,
        NETWORK,
        LOSS,
        rows(slice(40)),
        recipe,
        held=ValidationSet(rows(slice(40, None)), lambda outputs, loss: next(scores)),
        listeners=Listeners(begin, lambda epoch: seen.append(listeners[0]().theta)),
    )
    assert fitted.stopped_by == "no_improvement"
    assert fitted.history.scores == [0.5, 0.9, 0.1, 0.2, 0.3]
    assert len(seen) == 6
    assert_array_equal(fitted.theta, seen[2])  # seen[0] is the start
    assert not np.array_equal(seen[2], seen[5])


def test_a_listener_may_stop_it_and_minus_the_loss_is_the_score_by_default() -> None:
    told: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> bool:
        told.append(epoch)
        return epoch.number == 2

    held = ValidationSet(rows(slice(40, None)))
    cpu = get_backend("cpu")
    fitted = fit(
        cpu, NETWORK, LOSS, rows(), RECIPE, held=held, listeners=Listeners(on_epoch=on_epoch)
    )
    assert fitted.stopped_by == "callback"
    assert [epoch.number for epoch in told] == [1, 2]
    assert fitted.history.scores == [-loss for loss in fitted.history.validation_losses]


def test_a_recipe_of_another_precision_is_refused() -> None:
    cpu = get_backend("cpu")
    with pytest.raises(ValueError, match=r"recipe.precision is 'tf32', but .* cpu .* 'float32'"):
        fit(cpu, NETWORK, LOSS, rows(), Recipe(precision="tf32"))


def test_data_are_cast_to_the_precision_of_the_recipe(backend: Backend) -> None:
    fitted = fit(backend, NETWORK, LOSS, rows(), Recipe(epochs=1, precision="float32"))
    assert (fitted.theta.dtype, fitted.precision) == (np.float32, "float32")


OTHER = Network((4, 12, 3), ("tanh",))
ADAM_STATE = OptimizerState(0.1, 1, (np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": rows(slice(0))}, "data has no rows"),
        ({"data": TrainingData(X[:, :3], Y, Y, None)}, "data.X has 3 columns, .* 4 inputs"),
        ({"data": TrainingData(X, Y, Y[:9], None)}, "not as many targets"),
        ({"data": TrainingData(X, Y, Y + 1, None)}, "must be classes from 0 to 2"),
        ({"data": TrainingData(X, Y, Y[:, None], None)}, "must be classes"),
        (
            {"data": TrainingData(X, Y, X[:, :2], None), "loss": LOSSES["squared_error"]},
            r"\(n, 3\)",
        ),
        ({"held": ValidationSet(rows(slice(0)))}, "held has no rows"),
        ({"start": Start.new(OTHER, RECIPE)}, "start.theta is float64 of shape"),
        ({"start": Start.new(NETWORK, Recipe())}, "start.theta is float32"),
        (
            {"start": replace(Start.new(NETWORK, RECIPE), state=ADAM_STATE), "solver": "sgd"},
            "2 vectors, but solver 'sgd' has the vectors velocity",
        ),
        ({"dropout": (0.5,)}, "has 1 rates, but the network needs 2"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], message: str) -> None:
    own = {name: changes[name] for name in ("solver", "dropout") if name in changes}
    options = {name: changes[name] for name in ("held", "start") if name in changes}
    data, loss = changes.get("data", rows()), changes.get("loss", LOSS)
    with pytest.raises(ValueError, match=message):
        fit(get_backend("cpu"), NETWORK, loss, data, replace(RECIPE, **own), **options)


def test_a_snapshot_is_not_changed_by_later_steps() -> None:
    taken: list[Any] = []
    snapshots: list[Any] = []

    def on_epoch(epoch: Epoch) -> None:
        snapshots.append(taken[0]())

    fit(
        get_backend("cpu"),
        NETWORK,
        LOSS,
        rows(),
        RECIPE,
        listeners=Listeners(taken.append, on_epoch),
    )
    for number, one in enumerate(snapshots, start=1):
        assert len(one.history.losses) == number
        assert one.state.updates == 4 * number
    assert len({one.theta.tobytes() for one in snapshots}) == len(snapshots)
    assert len({one.state.vectors[0].tobytes() for one in snapshots}) == len(snapshots)


# ---- the way from an estimator to a step ---------------------------------------------------------

OURS = Path(gpubp.__file__).parent


def frames_above() -> Iterator[str]:
    """The functions of gpubp that are running, from the innermost on, without the caller's."""
    frame = sys._getframe(2)
    while frame is not None:
        if Path(frame.f_code.co_filename).is_relative_to(OURS):
            yield frame.f_code.co_name
        frame = frame.f_back  # type: ignore[assignment]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_from_fit_to_the_step_there_are_few_frames(
    estimator: Any, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpubp.training import batch_gradient

    depths: list[list[str]] = []
    gather = batch_gradient.Batches.gather

    def watched(*arguments: Any) -> Any:
        depths.append([*frames_above()])
        return gather(*arguments)

    monkeypatch.setattr(batch_gradient.Batches, "gather", watched)
    model = estimator(
        hidden_layer_sizes=(4,), solver=solver, max_iter=2, device="cpu", batch_size=60
    )
    with pytest.warns(ConvergenceWarning):
        model.fit(X, Y)
    for names in depths:
        assert names[0] == "__call__"  # of the gradient, within a step
        assert (names[1], names[-1]) == ("step", "fit")
        assert len(names) - 1 <= 8, names


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_an_estimator_has_few_ancestors(estimator: type) -> None:
    ours = [kind for kind in estimator.__mro__[1:] if kind.__module__.startswith("gpubp")]
    ours = [kind for kind in ours if kind is not CallbackSupportMixin]  # gpubp's before 1.9
    assert len(ours) <= 2


def test_a_trainer_is_made_in_one_place() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in OURS.rglob("*.py")}
    makers = [
        name for name, text in texts.items() if re.search(r"\bTrainer\(|\(\s*Trainer,", text, re.M)
    ]
    assert makers == ["fit.py"]
