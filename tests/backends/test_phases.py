"""How a recorded step is cut into phases of tiles, and which steps are not."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from gpubp.backends.compiled_backend import CompiledBackend, CompiledTape
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.phases import TILE_ROWS
from gpubp.backends.pooled_recording import PooledRecording
from gpubp.backends.protocol import Backend
from gpubp.backends.step_recorder import MOST_SUMMED, Unplanned
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.backprop.parameter_groups import GroupFactors, groups_of
from gpubp.backprop.solvers import STEPWISE, make_optimizer
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.host.compiler import CompilerError
from gpubp.training.batches import Batches
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.trainer import Trainer
from tests.backends.small_training import trainer_of
from tests.cuda_stand_in.kernels import skip_without_compiler

ADD_ONE = Elementwise("one", "T z", "T a", "a = z + 1", lambda np, z, a: np.add(z, 1, out=a))


@pytest.fixture(autouse=True)
def _compiler() -> None:
    skip_without_compiler()


def trainer(
    rows: int = 130,
    batch: int = 64,
    sizes: tuple[int, ...] = (6, 70, 3),
    backend: Backend | None = None,
    solver: str = "adam",
    dtype: str = "float32",
    **options: Any,
) -> Trainer:
    rng, network = np.random.RandomState(0), Network(sizes, ("relu",) * (len(sizes) - 2))
    X = rng.normal(size=(rows, sizes[0])).astype(dtype)
    Y = rng.randint(sizes[-1], size=rows).astype(np.int32)
    backend = backend or CompiledBackend()
    return trainer_of(
        backend,
        network,
        LOSSES["softmax_cross_entropy"],
        make_optimizer(solver),
        network.initial_theta(rng, np.dtype(dtype)),
        Batches(backend, X, Y, batch),
        state=OptimizerState(1e-3),
        **options,
    )


def tiles(made: Trainer) -> list[int]:
    assert isinstance(made.recordings[0], PooledRecording)
    return made.recordings[0].tiles


def test_a_batch_takes_two_phases() -> None:
    rows, weights = tiles(trainer())
    assert rows == 1
    assert weights >= 1
    rows, _ = tiles(trainer(rows=500, batch=500))
    assert rows == -(-500 // TILE_ROWS)


def test_the_penalty_is_computed_next_to_the_rows() -> None:
    assert [tiles(trainer(alpha=1.0))[0], tiles(trainer())[0]] == [2, 1]


def test_clipping_takes_a_phase_of_its_own() -> None:
    """The norm needs the whole gradient, and the update needs the norm."""
    assert len(tiles(trainer(clip_norm=0.1))) == 3


def test_each_part_of_a_batch_takes_two_phases() -> None:
    assert len(tiles(trainer(parts=2))) == 4


def test_large_layers_are_cut_into_tiles_of_weights() -> None:
    _, few = tiles(trainer(sizes=(100, 20, 3)))
    _, many = tiles(trainer(sizes=(400, 500, 500, 3)))
    assert few < 6 < many


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("a function of NumPy", "numpy.exp"),
        ("no product", "no product"),
        ("populations", "not of matrices"),
        ("many rows", f"{MOST_SUMMED:,} rows"),
    ],
)
def test_other_steps_are_replayed_as_a_tape(what: str, reason: str) -> None:
    backend, n = CompiledBackend(), MOST_SUMMED + 1 if what == "many rows" else 5
    A, W, out = np.ones((n, 4)), np.ones((4, 3)), np.zeros((n, 3))
    sums, ones = np.zeros((4, 3)), np.zeros((2, 3))

    def step() -> None:
        if what == "a function of NumPy":
            backend._np.exp(A, out=A)
        elif what == "populations":
            two = (np.stack([each, each]) for each in (A, W, out))
            A_2, W_2, out_2 = two
            backend.gemm(A_2, W_2, out=out_2)
        elif what == "many rows":
            backend.gemm(A, W, out=out)
            backend.gemm(A, out, out=sums, transpose_a=True)
        else:
            backend.run(ADD_ONE, ones, out=ones)

    assert isinstance(backend.record(step), CompiledTape)
    assert reason in backend.not_cut


@pytest.mark.parametrize("options", [{}, {"alpha": 1.0}, {"clip_norm": 0.1}, {"parts": 3}])
def test_epochs_are_those_of_the_same_calls_in_order(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    order, thetas = np.random.RandomState(1).permutation(130), []
    for cut in (True, False):
        if not cut:
            monkeypatch.setattr("gpubp.backends.compiled_backend.cut", refuse)
        made = trainer(sizes=(6, 70, 40, 3), **options)
        assert isinstance(made.recordings[0], PooledRecording) is cut
        losses = [made.epoch(order) for _ in range(3)]
        thetas.append(np.append(made.theta, losses))
    np.testing.assert_allclose(*thetas, rtol=2e-5, atol=2e-6)


def refuse(_: Any) -> Any:
    raise Unplanned("asked for")


def test_an_update_that_reads_the_gradient_as_a_whole_is_not_cut() -> None:
    """Its tiles would not pack the weights that it updates."""
    backend = CompiledBackend()
    X, W = np.ones((5, 16)), np.ones((16, 4))
    Z, dW = np.empty((5, 4)), np.zeros((16, 4))
    numpy: Any = lambda np, grad, theta: np.subtract(theta, grad, out=theta)  # noqa: E731
    update = Elementwise("whole", "raw T grad", "T theta", "theta = theta - grad[i]", numpy)

    def step() -> None:
        backend.gemm(X, W, out=Z)
        backend.gemm(X, Z, out=dW, transpose_a=True)
        backend.run(update, dW.reshape(-1), out=W.reshape(-1))

    run = backend.record(step)
    assert "is not elementwise" in backend.not_cut
    run(2)
    assert W[0, 0] == (1 - 5 * 16) - 5 * 16 * (1 - 5 * 16)


FACTORS = {"weights": (0, 2, 0.5), "biases": (1, 0, 3)}


@pytest.mark.parametrize("solver", STEPWISE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_update_with_factors_is_cut_and_computes_the_same(solver: str, dtype: str) -> None:
    sizes, thetas = (6, 70, 40, 3), []
    network = Network(sizes, ("relu", "relu"))
    options: dict[str, Any] = {"solver": solver, "dtype": dtype, "sizes": sizes, "alpha": 1.0}
    options["factors"] = GroupFactors(FACTORS, {"weights": 0.0, "biases": (1, 0, 1)})
    for backend in (CompiledBackend(), NumpyBackend()):
        made = trainer(batch=65, backend=backend, **options)
        start = made.theta.copy()
        assert isinstance(made.recordings[0], PooledRecording) is (type(backend) is CompiledBackend)
        for seed in range(3):
            made.epoch(np.random.RandomState(seed).permutation(130))
        groups = groups_of(network, np.dtype(dtype))
        moved = [
            not np.array_equal(made.theta[g.start : g.stop], start[g.start : g.stop])
            for g in groups
        ]
        assert moved == [False, True, True, True, False, True]
        thetas.append(made.theta)
    tolerance = 1e-9 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(*thetas, rtol=tolerance, atol=tolerance / 10)


def test_a_gradient_that_is_added_to_others_is_left_to_blas() -> None:
    """One chain over the rows of many steps would lose digits."""
    backend, A, out = CompiledBackend(), np.ones((5, 4)), np.zeros((4, 3))
    Z, W = np.empty((5, 3)), np.ones((4, 3))

    def step() -> None:
        backend.gemm(A, W, out=Z)
        backend.gemm(A, Z, out=out, transpose_a=True, accumulate=True)

    backend.record(step)(2)
    assert "added to that of other steps" in backend.not_cut
    assert (out == 2 * 5 * 4).all()


def test_products_that_cannot_be_compiled_are_left_to_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> Any:
        raise CompilerError("gemm.h is broken")

    monkeypatch.setattr("gpubp.backends.step_recorder.gemm_library", broken)
    monkeypatch.setattr("gpubp.backends.step_recorder._COMPILED", set())
    assert isinstance(trainer().recordings[0], CompiledTape)


def test_a_recording_is_freed_without_the_garbage_collector() -> None:
    made = trainer()
    freed = weakref.ref(made.recordings[0])
    gc.disable()
    try:
        del made
        assert freed() is None
    finally:
        gc.enable()
