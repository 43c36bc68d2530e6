"""Batches that are streamed train as those that lie on the device, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.backends.cupy_backend import CupyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import Adam
from gpubp.training.batches import Batches, HashedOrder
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.streamed_batches import StreamedBatches
from tests.backends.small_training import epochs_of, trainer_of
from tests.cuda_stand_in.cuda import Machine, MisuseError

BATCH, WIDTH = 4, 5
NETWORK = Network((WIDTH, 8, 3), ("relu",))
CASES = {  # rows and steps of a window: 11 rows are two full batches, then 3 rows
    "tail": (27, 2),
    "no tail": (28, 2),
    "last window is the tail": (27, 3),
    "one step": (27, 1),
    "all at once": (27, 99),
    "one batch": (3, 2),
    "two windows": (16, 2),
}


def data(rows: int, weighted: bool = False) -> tuple[Any, ...]:
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(rows, WIDTH)), rng.randint(3, size=rows).astype(np.int32)
    return X, y, rng.uniform(0, 2, rows) if weighted else None


def streamed(backend: Backend, rows: int, window: int, weighted: bool = False) -> StreamedBatches:
    X, y, weights = data(rows, weighted)

    class Windows(StreamedBatches):
        window_bytes = window * BATCH * (X[0].nbytes + y[0].nbytes)

    return Windows(backend, X, y, BATCH, weights)


def orders(rows: int, hashed: bool) -> list[Any]:
    rng = np.random.RandomState(1)
    if hashed:
        return [HashedOrder(7, epoch) for epoch in range(4)]
    return [rng.permutation(rows) for _ in range(4)]


def seen(backend: Backend, batches: Batches, order: Any) -> tuple[np.ndarray, ...]:
    """Return the rows, targets and shares of each row of an epoch, in the order of its steps."""
    parts: dict[int, list[Any]] = {}
    for size in {batches.batch_size, batches.tail} - {0}:
        parts[size] = [
            backend.zeros((size, WIDTH), float),
            backend.zeros((size,), np.int32),
            backend.zeros((size,), float),
        ]
    found: list[list[np.ndarray]] = []

    def step(size: int) -> None:
        X, Y, shares = parts[size]
        X, Y = batches.gather(X, Y)
        shares[...] = batches.share(size, size)
        batches.step += 1
        found.append([np.array(backend.to_numpy(part)) for part in (X, Y, shares)])

    sums = batches.plan(order)
    for kind, steps in batches.windows():
        for _ in range(steps):
            step(batches.kinds[kind].rows)
    return *(np.concatenate(kind) for kind in zip(*found, strict=True)), np.array(sums)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_same_rows_in_the_same_order(
    backend: Backend, case: str, hashed: bool, weighted: bool
) -> None:
    rows, window = CASES[case]
    whole = Batches(backend, *data(rows)[:2], BATCH, data(rows, weighted)[2])
    batches = streamed(backend, rows, window, weighted)
    assert batches.window == min(window, -(-rows // BATCH))
    for order in orders(rows, hashed):
        wanted = seen(backend, whole, order)
        for got, expected in zip(seen(backend, batches, order), wanted, strict=True):
            assert_array_equal(got, expected)
        if not hashed and rows > BATCH:
            assert_array_equal(wanted[0], data(rows)[0][order])


def trained_on(backend: Backend, batches: Batches, hashed: bool = False) -> np.ndarray:
    """Return the losses of four epochs, then the parameters."""
    loss, state = LOSSES["softmax_cross_entropy"], OptimizerState(0.1)
    theta = NETWORK.initial_theta(np.random.RandomState(2), np.dtype(float))
    trainer = trainer_of(backend, NETWORK, loss, Adam(), theta, batches, alpha=0.1, state=state)
    return epochs_of(trainer, orders(batches.n_rows, hashed))


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_training_has_the_bits_of_data_that_lie_on_the_device(
    backend: Backend, case: str, hashed: bool
) -> None:
    rows, window = CASES[case]
    weighted = case in ("tail", "no tail")
    wanted = trained_on(
        backend, Batches(backend, *data(rows, weighted)[:2], BATCH, data(rows, weighted)[2]), hashed
    )
    assert np.isfinite(wanted).all()
    got = trained_on(backend, streamed(backend, rows, window, weighted), hashed)
    assert_array_equal(got, wanted)


def test_a_window_has_the_steps_that_fit_into_its_bytes() -> None:
    from gpubp.backends.numpy_backend import NumpyBackend

    X, y, _ = data(27)
    for kind, steps in (
        (StreamedBatches, 7),
        (type("W", (StreamedBatches,), {"window_bytes": 1}), 1),
    ):
        assert kind(NumpyBackend(), X, y, BATCH).window == steps


# ---- planted bugs ----------------------------------------------------------------------------


def _nothing(*_: Any) -> None:
    pass


def _upload_at_once(self: CupyBackend, host: np.ndarray, out: Any, after: Any) -> Any:
    uploads = self._engine.uploads
    out.set(host, stream=uploads)
    return self._marked(uploads)


def _of_before(self: CupyBackend) -> Any:
    """A mark of nothing."""
    return self._cupy.cuda.Event(disable_timing=True)


def _filled_by_one(self: StreamedBatches) -> Any:
    for first in range(0, self.steps, self.window):
        half = first // self.window % 2
        self._fill(0, first * self.batch_size)
        yield 0, max(0, min(self.window, self.full - first))
        self._used[half] = self.backend.mark()
    if self.tail:
        yield 1, 1


PLANTED: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "steps that do not wait for their rows": (CupyBackend, "wait", _nothing),
    "a host that does not wait": (CupyBackend, "wait_on_host", _nothing),
    "uploads that do not wait for steps": (CupyBackend, "upload", _upload_at_once),
    "a mark of nothing": (CupyBackend, "mark", _of_before),
    "one window": (StreamedBatches, "windows", _filled_by_one),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_found(
    host_cupy: Machine, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    backend, (owner, name, planted) = CupyBackend(0), PLANTED[bug]
    with backend.in_use(None, 0):
        wanted = trained_on(backend, Batches(backend, *data(27)[:2], BATCH))
        monkeypatch.setattr(owner, name, planted)
        try:
            # Of one step: the host waits before it launches many.
            found = not np.array_equal(trained_on(backend, streamed(backend, 27, 1)), wanted)
        except MisuseError:
            found = True
        monkeypatch.undo()
        for stream in (backend._engine.uploads, backend._engine.main):
            stream.synchronize()
    assert found or host_cupy.faults
    host_cupy.faults.clear()
