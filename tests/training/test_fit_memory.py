"""A training that does not fit on its device takes less memory, and gives the same numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends import cuda_streams
from gpubp.backends.cupy_backend import CupyBackend
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import SGD, Adam
from gpubp.training.batches import Batches
from gpubp.training.data import TrainingData
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit_memory import DeviceMemoryError, OneStepWindows, bytes_needed, place, ways
from gpubp.training.streamed_batches import StreamedBatches
from gpubp.training.trainer import Trainer
from tests.backends.small_training import epochs_of, trainer_of
from tests.cuda_stand_in.cuda import Machine, OutOfMemoryError

ROWS, WIDTH, BATCH = 600, 64, 32
RNG = np.random.RandomState(0)
X = RNG.normal(size=(ROWS, WIDTH))
LABELS = X[:, :3].argmax(axis=1)
NETWORK = Network((WIDTH, 16, 3), ("relu",))
Small = Callable[..., Machine]
STREAMED = "its rows are streamed from the host"


def placed(backend: Backend, y: np.ndarray, make: Any, needed: int, note: Any) -> Trainer:
    data, among = TrainingData(X, y, y, None), ways(backend, X, BATCH)
    return place(backend, data, among, make, lambda trainer: None, needed, note)


def trained_in(backend: Backend, note: Callable[[str], None], **windows: int) -> tuple[Any, ...]:
    """Return the batches, the parts, and the parameters and losses of three epochs."""
    theta = NETWORK.initial_theta(np.random.RandomState(1), np.dtype(float))
    loss, state = LOSSES["softmax_cross_entropy"], OptimizerState(0.01)
    made: list[int] = []

    def make(batches: Batches, parts: int) -> Trainer:
        made.append(parts)
        options: dict[str, Any] = {"alpha": 0.1, "state": state, "parts": parts}
        return trainer_of(backend, NETWORK, loss, Adam(), theta, batches, **options)

    y = LABELS.astype(np.int32)
    needed = bytes_needed(NETWORK, Adam(), np.dtype(float))
    trainer = placed(backend, y, make, needed, note)
    orders = np.random.RandomState(2)
    numbers = epochs_of(trainer, [orders.permutation(ROWS) for _ in range(3)])
    return type(trainer.batches), trainer.parts, numbers


@pytest.mark.parametrize("spills", [False, True])
def test_a_smaller_device_trains_to_the_same_numbers(
    small: Small, spills: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_streams, "CHECKED_BYTES", 0)
    monkeypatch.setattr(StreamedBatches, "window_bytes", 4 * BATCH * X[0].nbytes)
    found: dict[tuple[type, int], list[str]] = {}
    wanted = np.empty(0)
    for memory in np.geomspace(1 << 20, 60_000, 16).astype(int):
        lines = list[str]()
        machine = small(int(memory), spills=spills)
        backend = CupyBackend(0)
        with backend.in_use(None, 0):
            try:
                kind, parts, numbers = trained_in(backend, lines.append)
            except MemoryError:  # some is needed beside the trainer
                assert found
                break
        wanted = numbers if not found else wanted
        if parts == 1:
            assert_array_equal(numbers, wanted)
        else:
            assert_allclose(numbers, wanted, 1e-10, 1e-12)
        assert not machine.settle()
        assert found.setdefault((kind, parts), lines) == lines
    found_ways = [(Batches, 1), (StreamedBatches, 1), (OneStepWindows, 1), (OneStepWindows, 2)]
    assert list(found)[:4] == found_ways
    lack = "cuda:0 has no room for all of the data; its rows are streamed"
    expected = [[], [f"{lack} from the host"], [f"{lack} from the host"]]
    assert list(found.values())[:4] == [
        *expected,
        [f"{lack}, and each batch is computed in 2 parts"],
    ]


def test_what_fits_nowhere_is_told_with_its_bytes(small: Small) -> None:
    machine = small(60_000)
    backend = CupyBackend(0)
    needed = f"{bytes_needed(NETWORK, Adam(), np.dtype(float)):,}"
    free = machine.memory - machine.used[0]
    with (
        backend.in_use(None, 0),
        pytest.raises(DeviceMemoryError, match=f"least {needed} bytes on cuda:0, but {free:,} of"),
    ):
        trained_in(backend, pytest.fail)
    assert issubclass(DeviceMemoryError, MemoryError)
    assert machine.memory - machine.used[0] == free  # what was tried is free again


def test_bytes_needed_are_those_of_the_vectors_and_one_row() -> None:
    network = Network((3, 5, 2), ("tanh",))
    theta = 16 * 4  # of float64 a boundary is 16 entries: W of 15 and 10, b of 5 and 2
    rows = 3 + 2 * (5 + 2)
    for optimizer, vectors in ((SGD(), 3), (Adam(), 4)):
        expected = (vectors * theta + rows) * 8
        assert bytes_needed(network, optimizer, np.dtype(float)) == expected


def test_on_the_cpu_a_memory_error_stays_what_it_is() -> None:
    def make(batches: Batches, parts: int) -> Trainer:
        made.append(parts)
        raise MemoryError("of the host")

    made: list[int] = []
    y = LABELS.astype(np.int32)
    with pytest.raises(MemoryError, match="of the host") as caught:
        placed(NumpyBackend(), y, make, 0, pytest.fail)
    assert type(caught.value) is MemoryError
    assert made == [1]


def test_other_errors_are_not_taken_for_a_lack_of_memory(host_cupy: Machine) -> None:
    def make(batches: Batches, parts: int) -> Trainer:
        raise KeyError("mine")

    backend = CupyBackend(0)
    with backend.in_use(None, 0), pytest.raises(KeyError, match="mine"):
        placed(backend, LABELS.astype(np.int32), make, 0, pytest.fail)


# ---- batches in parts ------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss_name", LOSSES)
def test_parts_of_a_batch_are_the_whole(backend: Backend, loss_name: str, weighted: bool) -> None:
    loss, rng, n = LOSSES[loss_name], np.random.RandomState(0), 23  # two batches of 9, then 5
    network = Network((4, 8, 3), ("gelu",))
    data = rng.normal(size=(n, 4))
    rows = (data[:, :3] > 0).astype(float)
    Y = rows if loss.targets == "numbers" else rows.argmax(axis=1).astype(np.int32)
    weights = rng.uniform(0, 2, n) if weighted else None
    theta = network.initial_theta(rng, np.dtype(float))
    results = []
    for parts in (1, 2, 9):
        batches, orders = Batches(backend, data, Y, 9, weights), np.random.RandomState(3)
        options: dict[str, Any] = {"alpha": 0.1, "state": OptimizerState(0.01), "parts": parts}
        trainer = trainer_of(backend, network, loss, SGD(), theta, batches, **options)
        losses = [trainer.epoch(orders.permutation(n)) for _ in range(2)]
        results.append(np.append(losses, backend.to_numpy(trainer.theta)))
    for got in results[1:]:
        assert_allclose(got, results[0], 1e-11, 1e-13)


# ---- through the estimators ------------------------------------------------------------------

ESTIMATORS: dict[str, tuple[type, dict[str, Any]]] = {
    "classifier": (MLPClassifier, {}),
    "hashed": (MLPClassifier, {"row_order": "hash"}),
    "early stopping": (MLPClassifier, {"early_stopping": True, "solver": "sgd"}),
    "regressor": (MLPRegressor, {"shuffle": False}),
}


@pytest.fixture
def fit(small: Small) -> Callable[[str, int], tuple[str | None, np.ndarray]]:
    """What fits an estimator on a device of so many bytes: how, None if not at all, and weights."""

    def fit(case: str, memory: int) -> tuple[str | None, np.ndarray]:
        kind, options = ESTIMATORS[case]
        options = {"hidden_layer_sizes": (8,), "batch_size": 64, "max_iter": 2, **options}
        model = kind(device="cuda", dtype="float64", random_state=0, **options)
        machine = small(memory)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(X, LABELS)
            except DeviceMemoryError:
                return None, np.empty(0)
            finally:
                assert not machine.settle()
        lines = [str(w.message) for w in caught if "no room" in str(w.message)]
        assert len(lines) <= 1
        how = lines[0].partition("; ")[2] if lines else ""
        return how, np.concatenate([W.ravel() for W in model.coefs_])

    return fit


@pytest.mark.parametrize("case", ESTIMATORS)
def test_an_estimator_fits_on_any_device_or_says_that_it_does_not(fit: Any, case: str) -> None:
    how, wanted = fit(case, 1 << 20)
    taken = [how]
    for memory in np.geomspace(400_000, 40_000, 7).astype(int):
        how, learned = fit(case, int(memory))
        if how is not None:
            assert_allclose(learned, wanted, 1e-9, 1e-11)
        if how != taken[-1]:
            taken.append(how)
    # From one way to the next, and never back.
    assert taken[:2] == ["", STREAMED]
    assert taken[-1] is None
    assert len(set(taken)) == len(taken) > 2


def test_without_the_check_memory_runs_out_within_an_epoch(
    fit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the rows, copies of the parameters and a validation need room too."""
    monkeypatch.setattr("gpubp.training.fit.check_memory", lambda *a, **o: None)

    def shrink() -> None:
        for memory in range(160_000, 40_000, -4096):
            fit("early stopping", memory)

    with pytest.raises(OutOfMemoryError):
        shrink()


def test_a_verbose_estimator_warns_too(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    small(250_000)
    options: dict[str, Any] = {"device": "cuda", "dtype": "float64", "batch_size": 64}
    options |= {"verbose": True, "max_iter": 50, "tol": 1e9, "n_iter_no_change": 1}
    with pytest.warns(UserWarning, match="no room for all of the data") as warned:
        MLPClassifier((8,), **options).fit(X, LABELS)
    assert len(warned) == 1
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("Iteration", "Training loss did not")) for line in lines)


def test_prediction_takes_smaller_chunks_where_memory_is_short(small: Small) -> None:
    model = MLPClassifier((16,), batch_size=BATCH, max_iter=1, random_state=0, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = model.fit(X, LABELS).predict_proba(X)
    model.set_params(device="cuda")
    small(100_000)  # the rows alone take 300,000
    assert_allclose(model.predict_proba(X), expected, rtol=1e-12, atol=1e-14)
    small(1000)
    with pytest.raises(OutOfMemoryError):
        model.predict_proba(X)
