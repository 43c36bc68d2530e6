"""Calls of the host within a recorded step: their place, how often they are made, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.backends.compiled_backend import CompiledBackend, CompiledTape
from gpubp.backends.cupy_backend import CupyBackend
from gpubp.backends.pooled_recording import PooledRecording
from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.clipping import Clipping
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.optimizers import ADVANCE
from gpubp.training import trainer as trainers
from gpubp.training.batch_gradient import BatchGradient
from tests.backends.small_training import STEPS, trained
from tests.cuda_stand_in.cuda import Machine
from tests.cuda_stand_in.kernels import skip_without_compiler

HALF = Elementwise(
    "half", "T z", "T a", "a = T(0.5) * z", lambda np, z, a: np.multiply(z, 0.5, out=a)
)
EPOCHS = 3  # of `trained`


class Between:
    """Puts a call of the host, which multiplies the gradient, between gradient and update."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.factor: float | None = 1.0  # None for no call
        self.calls = 0
        real, this = trainers.update, self

        def update(backend: Backend, *args: Any) -> None:
            this.call(backend, args[-3])  # before the state and the factors
            real(backend, *args)

        monkeypatch.setattr(trainers, "update", update)

    def call(self, backend: Backend, gradient: Array) -> None:
        factor = self.factor

        def multiply() -> None:
            self.calls += 1
            gradient[...] = backend.asarray(backend.to_numpy(gradient) * factor)

        if factor is not None:
            backend.call_on_host(multiply, [gradient])


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    return Between(monkeypatch)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_call_that_changes_nothing_leaves_the_bits(
    backend: Backend, between: Between, dtype: str, parts: int
) -> None:
    called = trained(backend, dtype, "softmax_cross_entropy", parts=parts)
    assert between.calls == EPOCHS * STEPS  # and not while the steps are recorded
    between.factor = None
    assert_array_equal(called, trained(backend, dtype, "softmax_cross_entropy", parts=parts))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_call_that_halves_the_gradient_is_a_step_that_halves_it(
    backend: Backend, between: Between, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    between.factor = 0.5
    on_host = trained(backend, dtype, "squared_error")
    monkeypatch.setattr(between, "call", lambda on, gradient: on.run(HALF, gradient, out=gradient))
    assert_array_equal(on_host, trained(backend, dtype, "squared_error"))
    monkeypatch.setattr(between, "call", lambda on, gradient: None)
    assert not np.allclose(on_host, trained(backend, dtype, "squared_error"), rtol=1e-3)


@pytest.mark.parametrize("times", [1, 5])
def test_a_call_keeps_its_place(backend: Backend, times: int) -> None:
    """What is before it and after it would be done at other times if nothing were between."""
    step, seen = StepOfCounters(backend), []
    run = backend.record(lambda: step(lambda: seen.append(step.counts())))
    start = step.counts()
    run(times)
    expected = np.arange(times)[:, None] + [start[0] + 1, start[1]]
    assert_array_equal(seen, expected)


def test_an_error_of_a_call_ends_the_replay_there(backend: Backend) -> None:
    step, errors = StepOfCounters(backend), [KeyError("mine")]

    def fail() -> None:
        if errors:
            raise errors.pop()

    with backend.in_use(2, 10**9):
        run = backend.record(lambda: step(fail))
        before, after = step.counts()
        with pytest.raises(KeyError, match="mine"):
            run(4)
        assert step.counts() == (before + 1, after)
        run(4)
        assert step.counts() == (before + 5, after + 4)


def test_a_call_that_is_not_recorded_is_made_at_once(backend: Backend) -> None:
    calls: list[int] = []
    backend.call_on_host(lambda: calls.append(1), [])
    assert calls == [1]


@pytest.mark.parametrize("record", [True, False])
def test_the_device_has_done_its_work_when_the_host_is_called(
    host_cupy: Machine, record: bool
) -> None:
    chosen = CupyBackend(0, record=record)
    with chosen.in_use(None, 0):
        step, done = StepOfCounters(chosen), []
        run = chosen.record(lambda: step(lambda: done.append(chosen.mark().done)))
        run(5)
    assert done == [True] * 5
    assert run.launches["host call"] == 1


def _first_into(recordings: list[Any]) -> Callable[[Any], None]:
    """A function that appends the recording of a trainer's full steps."""
    return lambda trainer: recordings.append(trainer.recordings[0])


class StepOfCounters:
    """A step that counts before and after its call of the host, next to two products."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.X, self.W = (backend.asarray(np.ones(s, np.float32)) for s in ((4, 32), (32, 32)))
        self.Z, self.dW = backend.zeros((4, 32), np.float32), backend.zeros((32, 32), np.float32)
        self.first, self.last = backend.zeros((1,), np.int64), backend.zeros((1,), np.int64)

    def __call__(self, function: Callable[[], object]) -> None:
        backend = self.backend
        backend.gemm(self.X, self.W, out=self.Z)
        backend.gemm(self.X, self.Z, out=self.dW, transpose_a=True)
        backend.run(ADVANCE, 1, out=self.first)
        backend.call_on_host(function, [self.dW])
        backend.run(ADVANCE, 1, out=self.last)

    def counts(self) -> tuple[int, int]:
        first, last = (self.backend.to_numpy(a)[0] for a in (self.first, self.last))
        return int(first), int(last)


# ---- compiled steps ----------------------------------------------------------------------------


@pytest.fixture
def compiled() -> CompiledBackend:
    skip_without_compiler()
    return CompiledBackend()


def test_phases_are_cut_at_a_call(compiled: CompiledBackend, between: Between) -> None:
    called, plain = [], []
    trained(compiled, "float32", "squared_error", before=_first_into(called))
    between.factor = None
    trained(compiled, "float32", "squared_error", before=_first_into(plain))
    assert isinstance(called[0], PooledRecording)
    assert [len(called[0].tiles), len(plain[0].tiles)] == [3, 2]
    assert called[0].launches == {"NumPy calls": 1, "compiled calls": 2}
    assert plain[0].launches == {"NumPy calls": 0, "compiled calls": 1}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_call_may_precede_clipping(
    compiled: CompiledBackend, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Norm and penalty are computed after it, in phases of their own."""
    real, found = Clipping.run, []

    def run(clipping: Clipping) -> None:
        gradient = clipping._gradient
        factor = 1e6 if found else 1.0
        compiled.call_on_host(lambda: np.multiply(gradient, factor, out=gradient), [gradient])
        real(clipping)

    monkeypatch.setattr(Clipping, "run", run)
    recipe: dict[str, Any] = {"alpha": 0.1, "clip_norm": 1e-3}
    for _ in range(2):
        found.append(trained(compiled, dtype, "squared_error", **recipe))
        assert compiled.tiles
    monkeypatch.setattr(Clipping, "run", real)
    assert_array_equal(found[0], trained(compiled, dtype, "squared_error", **recipe))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_calls_between_the_parts_of_a_batch_are_replayed_as_a_tape(
    compiled: CompiledBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made, calls = BatchGradient.__call__, [], []

    def gradient(this: BatchGradient, *args: Any, **options: Any) -> None:
        real(this, *args, **options)
        this.backend.call_on_host(lambda: calls.append(1), [])

    monkeypatch.setattr(BatchGradient, "__call__", gradient)
    options: dict[str, Any] = {"parts": 2, "before": lambda each: made.append(each.recordings[0])}
    found = trained(compiled, "float64", "squared_error", **options)
    assert isinstance(made[0], CompiledTape)
    assert "before its gradient is complete" in compiled.not_cut
    assert len(calls) == EPOCHS * 2 * STEPS
    monkeypatch.setattr(BatchGradient, "__call__", real)
    plain = trained(compiled, "float64", "squared_error", **options)
    assert isinstance(made[1], PooledRecording)
    np.testing.assert_allclose(found, plain, rtol=1e-9)


def test_calls_between_steps_of_several_networks_are_replayed_as_a_tape(
    compiled: CompiledBackend,
) -> None:
    step, seen = np.zeros(1, np.int64), []

    def advance() -> None:
        compiled.run(ADVANCE, 1, out=step)
        compiled.call_on_host(lambda: seen.append(int(step[0])), [step])

    run = compiled.record(advance, networks=3, counter=step)
    assert isinstance(run, CompiledTape)
    assert "the host is called" in compiled.not_cut
    run(2)
    assert seen == [1, 2]


def test_weights_that_a_call_writes_are_read_by_the_next_step(compiled: CompiledBackend) -> None:
    """Tiles would multiply by the weights as they were packed before."""
    X, W, Z, dW = (np.ones(shape) for shape in ((5, 16), (16, 4), (5, 4), (16, 4)))

    def step() -> None:
        compiled.gemm(X, W, out=Z)
        compiled.gemm(X, Z, out=dW, transpose_a=True)
        compiled.call_on_host(lambda: np.multiply(W, 2, out=W), [W])

    compiled.record(step)(3)
    assert "is not elementwise" in compiled.not_cut
    assert (Z == 4 * 16).all()
