"""Networks that are trained together are the networks that `fit` trains one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.backends.compiled_backend import CompiledBackend
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.input_stage import InputStage
from gpubp.backprop.losses import LOSSES, Loss, make_loss
from gpubp.backprop.network import Network
from gpubp.training import population, population_loop
from gpubp.training.data import TrainingData
from gpubp.training.fit import Fitted, Listeners, Start, fit
from gpubp.training.history import Epoch
from gpubp.training.population import Member, fit_population, train_population
from gpubp.training.population_batches import PopulationBatches
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import Trainer
from gpubp.training.validation import ValidationSet
from tests.backprop.solver_cases import OPTIMIZERS
from tests.cuda_stand_in.kernels import skip_without_compiler

P, N, ROWS, BATCH = 5, 90, 70, 16
RNG = np.random.RandomState(0)
X = RNG.normal(size=(N, 6))
CLASSES = (X[:, :3] + 0.3 * RNG.normal(size=(N, 3))).argmax(axis=1).astype(np.int32)
NUMBERS = X[:, :2] * X[:, 2:4]
WEIGHTS = RNG.uniform(0.1, 3, (P, N))
NETWORK = Network((6, 8, 5, 3), ("tanh", "tanh"))
STAGE = InputStage(6, (0, 3), ((1, 3), (4, 2)))
STAGED = Network((STAGE.n_features, 8, 3), ("tanh",), stage=STAGE)
RECIPE = Recipe(epochs=10, batch_size=BATCH, patience=100, precision="float64")


def rows_of(k: int) -> np.ndarray:
    """Return the training rows of network ``k``, in an order of its own."""
    return np.random.RandomState(100 + k).permutation(N)[:ROWS]


def member(
    k: int,
    *,
    network: Network = NETWORK,
    loss: Loss = LOSSES["softmax_cross_entropy"],
    targets: np.ndarray = CLASSES,
    rows: Callable[[int], np.ndarray] = rows_of,
    weighted: bool = False,
    held: bool = False,
    **numbers: Any,
) -> Member:
    """Return network ``k``; each of ``numbers`` is a value of the recipe, or a function of k."""
    values = {name: value(k) if callable(value) else value for name, value in numbers.items()}
    data = TrainingData(X, targets, targets, WEIGHTS[k] if weighted else None)
    chosen = rows(k)
    left = np.setdiff1d(np.arange(N), chosen)
    validation = ValidationSet(TrainingData(X, targets, targets, None).take(left))
    recipe = replace(RECIPE, **{"seed": k} | values)
    return Member(network, loss, data.part(chosen), recipe, validation if held else None)


def alone(backend: Backend, of: Member) -> Fitted:
    start = of.start and replace(of.start, rng=np.random.RandomState(of.recipe.seed))
    return fit(backend, of.network, of.loss, of.data, of.recipe, held=of.held, start=start)


def check_equal(backend: Backend, members: list[Member]) -> list[Fitted]:
    """Check that ``members`` are the same trained together as one by one; return them."""
    expected = [alone(backend, each) for each in members]
    got = fit_population(backend, members)
    tolerance = 1e-12 if backend.name == "cpu" else 1e-9
    for one, other in zip(got, expected, strict=True):
        assert one is not None
        assert_allclose(one.theta, other.theta, tolerance, tolerance)
        for v, w in zip(one.state.vectors, other.state.vectors, strict=True):
            assert_allclose(v, w, tolerance, tolerance)
        assert (one.state.rate, one.state.updates) == (other.state.rate, other.state.updates)
        for name in ("losses", "scores", "validation_losses"):
            curves = getattr(one.history, name), getattr(other.history, name)
            assert_allclose(*curves, 10 * tolerance, 10 * tolerance)
        for name in ("epochs", "stopped_by", "samples", "stale"):
            assert getattr(one.history, name) == getattr(other.history, name)
    return [each for each in got if each is not None]


def thirds(k: int) -> float:
    return (0.0, 0.2, 0.4)[k % 3]


STRENGTHS = ("constant", "late_cosine")
SETTINGS: dict[str, dict[str, Any]] = {
    "seeds": {},
    "rates": {"learning_rate": lambda k: 0.002 * (k + 1)},
    "alphas": {"alpha": lambda k: 0.1 * k},
    "betas": {"solver_numbers": lambda k: {"beta_1": 0.9 - 0.1 * k, "beta_2": 0.999 - 0.01 * k}},
    "momentum": {"solver": "sgd", "solver_numbers": lambda k: {"momentum": 0.1 * k}},
    "decay": {"solver": "adamw", "solver_numbers": lambda k: {"weight_decay": 0.1 * k}},
    "rates by layer": {"rate_factors": lambda k: {"weights": "fan_in", "biases": 0.1 * (k + 1)}},
    "rates by layer of some": {"rate_factors": lambda k: {"weights": (1, 3, 0)} if k % 2 else {}},
    "decay by layer": {"solver": "adamw", "decay_factors": lambda k: {"biases": (k, 0, 10)}},
    "dropout": {"dropout": lambda k: (thirds(k), thirds(k + 1), 0.0)},
    "dropout in some": {"dropout": lambda k: (0.0, 0.5, 0.0) if k == 3 else ()},
    "clipping": {"clip_norm": lambda k: 0.02 * (k + 1)},
    "clipping of some": {"clip_norm": lambda k: 0.05 if k % 2 else None},
    "hashed order": {"row_order": "hash"},
    "one order": {"seed": 7, "learning_rate": lambda k: 0.002 * (k + 1)},
    "no shuffle": {"shuffle": False},
    "one batch": {"batch_size": 200},
    "no tail": {"batch_size": 14},
    "weights": {"weighted": True},
    "schedules": {"schedule": lambda k: ("constant", "cosine", "plateau")[k % 3], "patience": 1},
    "dropout that falls": {
        "dropout": lambda k: (thirds(k), 0.3, 0.0),
        "dropout_schedule": lambda k: STRENGTHS[k % 2],
        "epochs": lambda k: 4 + 2 * k,
    },
    "decay that falls": {
        "solver": "adamw",
        "solver_numbers": lambda k: {"weight_decay": 0.5 + k},
        "weight_decay_schedule": lambda k: STRENGTHS[k % 2],
        "epochs": lambda k: 4 + 2 * k,
    },
    "no last batch": {"drop_last": True},
    "no last batch of a hashed order": {"drop_last": True, "row_order": "hash", "weighted": True},
    "one full batch": {"drop_last": True, "batch_size": 40, "dropout": (0.2, 0.1, 0.0)},
    "weights of He": {"weights_init": "he_normal"},
    "warm-up": {"warmup_epochs": lambda k: 0.7 * k},
    "epochs": {"epochs": lambda k: 3 + 2 * k},
    "stopping": {"held": True, "patience": lambda k: k, "tol": 0.01, "learning_rate": 0.02},
    "input stage": {"network": STAGED},
    "input stage with factors": {
        "network": STAGED,
        "solver": "adamw",
        "rate_factors": lambda k: {"scale": 0.5 * k, "periodic": 0.1, "tables": 1 + k},
        "decay_factors": lambda k: {"tables": 0.1 * k},
        "dropout": lambda k: (thirds(k), thirds(k + 1)),
        "clip_norm": lambda k: 0.1 if k else None,
        "held": True,
    },
    "stopping by the loss": {"patience": lambda k: 1, "tol": lambda k: 0.005 * (k + 1)},
    "all at once": {
        "weighted": True,
        "held": True,
        "patience": 2,
        "tol": 0.01,
        "learning_rate": lambda k: 0.004 * (k + 1),
        "dropout": lambda k: (thirds(k), 0.1, 0.2),
        "clip_norm": lambda k: 0.1 if k else None,
        "row_order": "hash",
        "alpha": lambda k: 0.1 * k,
        "dropout_schedule": lambda k: STRENGTHS[k % 2],
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_networks_are_trained_as_they_would_be_alone(backend: Backend, name: str) -> None:
    found = check_equal(backend, [member(k, **SETTINGS[name]) for k in range(P)])
    assert len({each.theta.tobytes() for each in found}) == P


@pytest.mark.parametrize("solver", OPTIMIZERS)
def test_every_solver(backend: Backend, solver: str) -> None:
    from gpubp.backprop.solvers import named_optimizer

    name, numbers = named_optimizer(OPTIMIZERS[solver])
    check_equal(backend, [member(k, solver=name, solver_numbers=numbers) for k in range(3)])


LOSS_CASES: dict[str, tuple[Loss, np.ndarray]] = {
    "soft": (LOSSES["soft_cross_entropy"], np.eye(3)[CLASSES] * 0.9 + 0.1 / 3),
    "sigmoid": (LOSSES["sigmoid_cross_entropy"], (X[:, :3] > 0).astype(float)),
    **{name: (LOSSES[name], abs(X[:, :3])) for name in ("squared_error", "poisson", "huber")},
    "quantiles": (make_loss("quantile", quantile=[0.1, 0.5, 0.9]), X[:, :1]),
}


@pytest.mark.parametrize("name", LOSS_CASES)
def test_every_loss(backend: Backend, name: str) -> None:
    loss, targets = LOSS_CASES[name]
    check_equal(backend, [member(k, loss=loss, targets=targets, held=True) for k in range(3)])


def test_members_of_different_shapes_losses_and_rows(backend: Backend) -> None:
    """Groups of their own, and networks that train alone; the results keep their order."""
    wide = Network((6, 11, 3), ("relu",))
    members = [
        member(0),
        member(1, network=wide),
        member(2, rows=lambda k: rows_of(k)[:-1]),
        member(3),
        member(4, network=wide),
        member(1, drop_last=True),
        member(2, drop_last=True),
        member(5 % P, solver="lbfgs"),
    ]
    found = check_equal(backend, members)
    assert [each.network for each in found] == [each.network for each in members]


def test_targets_of_their_own(backend: Backend) -> None:
    """The same X, but for instance targets with another smoothing."""
    loss, Y = LOSSES["soft_cross_entropy"], np.eye(3)[CLASSES]
    members = [member(k, loss=loss, targets=Y * (1 - k / 10) + k / 30) for k in range(P)]
    assert all(each.data.X.whole is X for each in members)
    check_equal(backend, members)


def test_data_of_their_own(backend: Backend) -> None:
    members = [
        replace(each, data=TrainingData(X[:50] + k, CLASSES[:50], CLASSES[:50], None))
        for k, each in enumerate(map(member, range(3)))
    ]
    check_equal(backend, members)


def test_float32(backend: Backend) -> None:
    members = [
        member(k, precision="float32", network=Network((6, 8, 3), ("relu",))) for k in range(P)
    ]
    for one, of in zip(fit_population(backend, members), members, strict=True):
        assert one is not None
        assert one.theta.dtype == np.float32
        assert_allclose(one.history.losses[-1], alone(backend, of).history.losses[-1], 0.1)


def test_a_network_that_diverges_leaves_the_others_alone(backend: Backend) -> None:
    loss, targets, network = LOSSES["squared_error"], X[:, :3], Network((6, 8, 3), ("relu",))
    numbers: dict[str, Any] = {"loss": loss, "targets": targets, "network": network}
    numbers |= {"solver": "sgd", "learning_rate": lambda k: 1e100 if k == 1 else 0.01}
    members = [member(k, **numbers) for k in range(P)]
    found = check_equal(backend, members)
    assert [each.stopped_by == "non_finite" for each in found] == [False, True, *[False] * 3]


def test_a_network_that_does_not_clip_diverges_next_to_one_that_does(backend: Backend) -> None:
    loss, targets, network = LOSSES["squared_error"], X[:, :3], Network((6, 8, 3), ("relu",))
    numbers: dict[str, Any] = {"loss": loss, "targets": targets, "network": network}
    numbers |= {"solver": "sgd", "learning_rate": 1e60, "epochs": 3}
    members = [member(k, **numbers, clip_norm=None if k else 1e-60) for k in range(3)]
    found = check_equal(backend, members)
    assert [each.stopped_by == "non_finite" for each in found] == [False, True, True]


def test_networks_of_one_generator_draw_an_order_each() -> None:
    rng = np.random.RandomState(0)
    starts = [Start(member(0).network.initial_theta(rng, np.dtype(float)), rng) for _ in range(3)]
    theta = starts[0].theta
    members = [replace(member(0), start=Start(theta, rng)) for _ in starts]
    before = rng.get_state(legacy=False)["state"]["key"].copy(), rng.get_state()[2]
    found = fit_population(NumpyBackend(), members)
    assert len({each.theta.tobytes() for each in found if each}) == 3
    after = rng.get_state(legacy=False)["state"]["key"], rng.get_state()[2]
    assert before[1] != after[1] or not np.array_equal(before[0], after[0])


def test_an_interrupt_at_the_end_of_a_network_does_not_lose_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted, calls = population_loop.PopulationLoop._fitted, [0]

    def interrupt(self: Any, k: int) -> Fitted:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return fitted(self, k)

    monkeypatch.setattr(population_loop.PopulationLoop, "_fitted", interrupt)
    found = fit_population(NumpyBackend(), [member(k, epochs=2) for k in range(3)])
    assert [each and each.stopped_by for each in found] == ["max_epochs", "interrupt", "interrupt"]


def test_an_interrupt_before_the_best_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best score stays that of the parameters which are restored."""
    keep, calls = population_loop.PopulationTrainer.keep, [0]

    def interrupt(self: Any, chosen: np.ndarray, kept: Any) -> None:
        calls[0] += 1
        if calls[0] == 6:  # the best of the third epoch
            raise KeyboardInterrupt
        keep(self, chosen, kept)

    monkeypatch.setattr(population_loop.PopulationTrainer, "keep", interrupt)
    members = [member(k, held=True) for k in range(3)]
    for one in fit_population(NumpyBackend(), members):
        assert one is not None
        assert one.stopped_by == "interrupt"
        assert one.history.best_score == one.history.scores[1] < one.history.scores[2]


def test_a_training_goes_on_from_its_state(backend: Backend) -> None:
    members = [member(k, dropout=(0.1, 0.2, 0.0), held=True) for k in range(3)]
    firsts = [alone(backend, each) for each in members]
    starts = [
        Start(first.theta, np.random.RandomState(k), first.history, first.state)
        for k, first in enumerate(firsts)
    ]
    check_equal(backend, [replace(each, start=s) for each, s in zip(members, starts, strict=True)])


def test_stopped_networks_cost_nothing_once_they_are_repacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    made = population_loop.PopulationTrainer.__init__

    def note(self: Any, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        sizes.append(len(self.each))

    monkeypatch.setattr(population_loop.PopulationTrainer, "__init__", note)
    check_equal(NumpyBackend(), [member(k, epochs=1 + k) for k in range(P)])
    assert sizes == [5, 3, 2, 1]  # 5 and 4, 3, 2, 1


def test_the_last_network_has_all_workers() -> None:
    """Packed alone, it is cut into tiles like any single network."""
    skip_without_compiler()
    backend = CompiledBackend()
    check_equal(backend, [member(k, epochs=2 + k, batch_size=ROWS) for k in range(2)])
    assert (len(backend.tiles), backend.not_cut) == (2, "")  # rows, and weights


def test_listeners_are_called_for_each_network(backend: Backend) -> None:
    calls: list[tuple[int, Any]] = []
    kept: dict[int, Callable[[], Fitted]] = {}

    def listening(k: int) -> Listeners:
        def on_epoch(epoch: Epoch) -> bool:
            calls.append((k, epoch.number))
            assert len(kept[k]().history.losses) == epoch.number
            return epoch.number == k + 1

        return Listeners(lambda snapshot: kept.update({k: snapshot}), on_epoch)

    members = [replace(member(k), listeners=listening(k)) for k in range(3)]
    finished: list[int] = []
    reasons: list[str] = []

    def note(k: int, fitted: Fitted) -> None:
        finished.append(k)
        reasons.append(fitted.stopped_by)

    assert not train_population(backend, members, note)
    assert calls == [(0, 1), (1, 1), (2, 1), (1, 2), (2, 2), (2, 3)]
    assert reasons == ["callback"] * 3
    assert finished == [0, 1, 2]


def test_an_interrupt_keeps_what_there_is(backend: Backend) -> None:
    def interrupt(epoch: Epoch) -> bool:
        if epoch.number == 3:
            raise KeyboardInterrupt
        return False

    first = [member(0, epochs=1), replace(member(1), listeners=Listeners(on_epoch=interrupt))]
    later = member(2, network=Network((6, 1, 3), ("tanh",)))  # a smaller group, which comes last
    found = fit_population(backend, [*first, member(3), later])
    reasons = [each and each.stopped_by for each in found]
    assert reasons == ["max_epochs", "interrupt", "interrupt", None]
    assert found[2] is not None
    assert np.isfinite(found[2].theta).all()


def test_the_best_of_an_epoch_is_kept_before_its_listener_interrupts(backend: Backend) -> None:
    def interrupt(epoch: Epoch) -> bool:
        raise KeyboardInterrupt

    quiet = member(0, held=True, learning_rate=0.02)
    loud = [replace(quiet, listeners=Listeners(on_epoch=interrupt))] * 2
    after_one = fit_population(
        backend, [replace(quiet, recipe=replace(quiet.recipe, epochs=1))] * 2
    )
    for found in (fit_population(backend, loud), fit_population(backend, loud[:1])):
        for one, wanted in zip(found, after_one, strict=False):
            assert one is not None
            assert wanted is not None
            assert one.stopped_by == "interrupt"
            assert_allclose(one.history.best_score, wanted.history.best_score, 1e-12)
            assert_allclose(one.theta, wanted.theta, 1e-12, 1e-12)


def test_an_interrupt_between_waves_keeps_the_networks_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared = population._member_run

    def interrupt(backend: Any, of: Any, number: int, *others: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return prepared(backend, of, number, *others)

    monkeypatch.setattr(population, "most_networks", lambda *_: 2)
    monkeypatch.setattr(population, "_member_run", interrupt)
    found = fit_population(NumpyBackend(), [member(k) for k in range(4)])
    assert [each is not None for each in found] == [True, True, False, False]
    monkeypatch.setattr(population, "most_networks", lambda *_: 4)
    with pytest.raises(KeyboardInterrupt):
        fit_population(NumpyBackend(), [member(k) for k in range(4)])


def test_generators_end_where_those_of_fit_end(backend: Backend) -> None:
    """Also of a network that stops early, and of networks with equal orders."""
    members = [member(k, seed=3, epochs=2 + k, dropout=(0.0, 0.1, 0.0)) for k in range(3)]
    starts = [Start.new(each.network, each.recipe) for each in members]
    fit_population(backend, [replace(m, start=s) for m, s in zip(members, starts, strict=True)])
    for each, start in zip(members, starts, strict=True):
        own = Start.new(each.network, each.recipe)
        fit(backend, each.network, each.loss, each.data, each.recipe, start=own)
        assert start.rng.randint(1 << 30) == own.rng.randint(1 << 30)


def test_mistakes_have_the_messages_of_fit() -> None:
    wrong = replace(member(1), network=Network((7, 3), ()))
    with pytest.raises(ValueError, match=r"data.X has 6 columns, but the network has 7 inputs"):
        fit_population(NumpyBackend(), [member(0), wrong, wrong])


# ---- the comparisons can fail -----------------------------------------------------------------

PLANTED: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "the rows of the first for all": (
        PopulationBatches,
        "_set",
        lambda self, out, values: _set(self, out, np.broadcast_to(values[:1], values.shape)),
    ),
    "a penalty that all share": (
        Trainer,
        "_upload",
        lambda self, weights, rates, of: _upload(self, weights, [rates[0]] * len(rates), of),
    ),
    "strengths that all share": (
        Trainer,
        "_upload",
        lambda self, weights, rates, of: _upload(self, weights, rates, of and [of[0]] * len(rates)),
    ),
    "the best of another": (
        population_loop.PopulationTrainer,
        "keep",
        lambda self, chosen, kept: _keep(self, np.roll(chosen, 1), kept),
    ),
}
_set, _upload = PopulationBatches._set, Trainer._upload
_keep = population_loop.PopulationTrainer.keep


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    monkeypatch.setattr(*PLANTED[bug])
    with pytest.raises(AssertionError):
        check_equal(NumpyBackend(), [member(k, **SETTINGS["all at once"]) for k in range(P)])


def test_the_rows_are_not_copied() -> None:
    members = [member(k) for k in range(P)]
    from gpubp.training.population_batches import Sources

    sources = Sources(NumpyBackend(), [each.data for each in members], np.dtype(np.float64))
    assert sources.X is X
    for k, rows in enumerate(sources.rows):
        assert_array_equal(sources.X[rows.X], X[rows_of(k)])
        of_its_own = sources.targets[rows.targets :][:ROWS]
        assert_array_equal(of_its_own, CLASSES[rows_of(k)])
