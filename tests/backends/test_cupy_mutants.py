"""What may go wrong on CUDA, planted one at a time: a comparison or the stand-in finds it."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest

from gpubp import MLPClassifier
from gpubp.backends import cupy_backend
from gpubp.backends.cuda_gemm import CublasEpilogues
from gpubp.backends.cupy_backend import CupyBackend
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.kernels.cublas.epilogue_gemm import Epilogue
from gpubp.kernels.cublas.gemm import Gemm
from gpubp.kernels.cublas.library import CublasError
from gpubp.kernels.gather import GATHER, TAKE
from gpubp.kernels.losses import SOFTMAX_CROSS_ENTROPY
from gpubp.kernels.optimizers import ADAM, ADVANCE
from gpubp.training.batches import Batches
from gpubp.training.trainer import Trainer
from tests.backends.small_training import STEPS, trained
from tests.cuda_stand_in.cuda import CUDARuntimeError, Machine, MisuseError, issue

WEIGHTS = np.random.RandomState(0).uniform(0.1, 3, 100)
LOSS = "softmax_cross_entropy"
RELUS = ("relu", "relu")
_run, _gemm, _record = CupyBackend.run, CupyBackend.gemm, CupyBackend.record
_side_stream, _gather, _share = CupyBackend.side_stream, Batches.gather, Batches.share
_mask, _fused = CublasEpilogues._mask, CublasEpilogues._fused


@pytest.fixture(autouse=True)
def _numpys(host_cupy: Machine) -> None:
    numpys()  # before anything is planted
    numpys(RELUS)


@cache
def numpys(activations: tuple[str, str] = ("gelu", "relu")) -> np.ndarray:
    return trained(NumpyBackend(), "float64", LOSS, weights=WEIGHTS, activations=activations)


def differ(
    *,
    record: bool = True,
    before: Callable[[Trainer], None] | None = None,
    parts: int = 1,
    activations: tuple[str, str] = ("gelu", "relu"),
) -> bool:
    """Whether a training on CUDA differs from NumPy's."""
    backend, options = CupyBackend(0, record=record), {"activations": activations, "parts": parts}
    got = trained(backend, "float64", LOSS, weights=WEIGHTS, before=before, **options)
    return not np.allclose(got, numpys(activations), 1e-11, 0)


def test_without_a_mutant_nothing_is_found() -> None:
    assert not differ()
    assert not differ(record=False)
    assert not differ(parts=3, activations=RELUS)


# ---- arguments -------------------------------------------------------------------------------

Arguments = Callable[[list[Any], list[Any]], None]


def _swap(k: int) -> Arguments:
    """Swap two neighbours among the inputs."""

    def swap(inputs: list[Any], outputs: list[Any]) -> None:
        inputs[k], inputs[k + 1] = inputs[k + 1], inputs[k]

    return swap


def _swap_outputs(inputs: list[Any], outputs: list[Any]) -> None:
    outputs[:2] = outputs[1], outputs[0]


def _number(k: int, change: Callable[[Any], Any]) -> Arguments:
    def number(inputs: list[Any], outputs: list[Any]) -> None:
        inputs[k] = change(inputs[k])

    return number


ARGUMENTS: dict[str, tuple[Any, Arguments]] = {
    "relu_delta-operands": (ACTIVATIONS["relu"].delta, _swap(0)),
    "gelu_delta-operands": (ACTIVATIONS["gelu"].delta, _swap(0)),
    "adam-outputs": (ADAM, _swap_outputs),
    "adam-sizes": (ADAM, _swap(4)),
    "adam-decay": (ADAM, _number(6, lambda decays: not decays)),
    "adam-n_networks": (ADAM, _number(3, lambda n: n + 1)),
    "gather-sizes": (GATHER, _swap(9)),
    "gather-batch_size": (GATHER, _number(6, lambda size: size - 1)),
    "gather-first": (GATHER, _number(7, lambda first: first + 1)),
    "take-first": (TAKE, _number(3, lambda first: first + 1)),
    "take-width": (TAKE, _number(5, lambda width: width - 1)),
    "loss-bounds": (SOFTMAX_CROSS_ENTROPY, _swap(4)),
    "loss-n_outputs": (SOFTMAX_CROSS_ENTROPY, _number(2, lambda n: n - 1)),
    "loss-share": (SOFTMAX_CROSS_ENTROPY, _number(3, lambda share: 0.125)),
    "advance-by": (ADVANCE, _number(0, lambda by: 0)),
}


@pytest.mark.parametrize("mutant", ARGUMENTS)
def test_wrong_arguments(monkeypatch: pytest.MonkeyPatch, host_cupy: Machine, mutant: str) -> None:
    kernel, change = ARGUMENTS[mutant]
    host_cupy.cublas.offered.clear()  # so that each kernel runs

    def run(self: CupyBackend, step: Any, *inputs: Any, out: Any) -> None:
        changed, outputs = list(inputs), list(out) if isinstance(out, tuple) else [out]
        if step is kernel:
            change(changed, outputs)
        _run(self, step, *changed, out=tuple(outputs))

    monkeypatch.setattr(CupyBackend, "run", run)
    with pytest.raises(AssertionError, match=r"differ|indexes outside of an array"):
        assert not differ(), "the trainings differ"


REFUSED: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "swapped": lambda new: (new(np.int64), new(np.float32), 1, 0, 1, 1, new(np.float32)),
    "numpy": lambda new: (np.zeros(1, np.float32), new(np.int64), 1, 0, 1, 1, new(np.float32)),
    "none": lambda new: (None, new(np.int64), 1, 0, 1, 1, new(np.float32)),
    "too-few": lambda new: (new(np.float32), new(np.int64), 1, 0, 1, new(np.float32)),
    "too-many": lambda new: (new(np.float32), new(np.int64), 0, 1, 0, 1, 1, new(np.float32)),
    "two-dtypes": lambda new: (new(np.float32), new(np.int64), 1, 0, 1, 1, new(np.float64)),
    "int32": lambda new: (new(np.float32), new(np.int32), 1, 0, 1, 1, new(np.float32)),
}


@pytest.mark.parametrize("mutant", REFUSED)
def test_arguments_that_cupy_refuses(mutant: str) -> None:
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        *inputs, out = REFUSED[mutant](lambda dtype: chosen.zeros((1,), dtype))
        with pytest.raises(TypeError, match=r"mismatched|Unsupported type|Wrong number"):
            chosen.run(TAKE, *inputs, out=out)


# ---- by-value scalars ------------------------------------------------------------------------


def _step_number_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the number of the next step from the host: a number that a capture freezes."""
    count = [0]
    plan = Batches.plan

    def planned(self: Batches, order: Any) -> Any:
        count[0] = 0
        return plan(self, order)

    def run(self: CupyBackend, step: Any, *inputs: Any, out: Any) -> None:
        if step is ADVANCE:
            count[0] += 1
            out[...] = count[0] % STEPS
        else:
            _run(self, step, *inputs, out=out)

    monkeypatch.setattr(Batches, "plan", planned)
    monkeypatch.setattr(CupyBackend, "run", run)


def _factor_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale one product by a number that is to change from step to step."""
    powers = (0.5**k for k in itertools.count())

    def gemm(self: Any, *arrays: Any, out: Any, **options: Any) -> None:
        if options.get("bias") is not None:
            self._products.gemm(*arrays, out, alpha=next(powers))
        else:
            _gemm(self, *arrays, out=out, **options)

    monkeypatch.setattr(CupyBackend, "gemm", gemm)


def test_a_step_number_by_value_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    _step_number_by_value(monkeypatch)
    assert not differ(record=False)  # it does no harm where nothing is recorded
    assert differ()


def test_a_factor_by_value_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    _factor_by_value(monkeypatch)
    recorded = trained(CupyBackend(0), "float64", LOSS)
    _factor_by_value(monkeypatch)
    assert not np.array_equal(recorded, trained(CupyBackend(0, record=False), "float64", LOSS))


# ---- streams, parts and epilogues of the engine ----------------------------------------------


@contextmanager
def _without_fork(self: CupyBackend) -> Iterator[None]:
    self._products = self._engine.products[1]
    with self._engine.side:
        yield
    self._products = self._engine.products[0]


@contextmanager
def _with_one_workspace(self: CupyBackend) -> Iterator[None]:
    main, side = self._engine.products
    side.gemm.workspace = main.gemm.workspace
    with _side_stream(self):
        yield


def _join_before(self: CupyBackend) -> None:
    """Wait for the event as it was recorded at the join before."""
    self._engine.main.wait_event(self._engine.join)
    self._engine.join.record(self._engine.side)


STREAMS: dict[str, tuple[str, Callable[..., Any]]] = {
    "no fork": ("side_stream", _without_fork),
    "no join": ("join", lambda self: None),
    "the join before": ("join", _join_before),
    "one workspace": ("side_stream", _with_one_workspace),
}


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("mutant", STREAMS)
def test_work_aside_that_is_not_ordered(
    host_cupy: Machine, monkeypatch: pytest.MonkeyPatch, mutant: str, record: bool
) -> None:
    monkeypatch.setattr(CupyBackend, *STREAMS[mutant])
    with pytest.raises((MisuseError, CublasError, CUDARuntimeError)) as caught:
        differ(record=record)
    if isinstance(caught.value, CublasError):  # as no error goes through C
        assert all("does not wait for" in fault for fault in host_cupy.faults)
    host_cupy.faults.clear()
    gc.collect()  # what the broken training held is freed amid its work
    host_cupy.faults.clear()


def _gemm_that(accumulates: bool) -> Callable[..., None]:
    def gemm(self: CupyBackend, *arrays: Any, accumulate: bool = False, **options: Any) -> None:
        changed = accumulates if options.get("transpose_a") else accumulate
        _gemm(self, *arrays, accumulate=changed, **options)

    return gemm


def _biases_that_do_not_accumulate(
    self: CupyBackend, *arrays: Any, accumulate: bool = False, **options: Any
) -> None:
    _gemm(self, *arrays, accumulate=accumulate and "transpose_a" in options, **options)


def _from_the_first(self: Batches, X: Any, Y: Any, first: int = 0) -> Any:
    return _gather(self, X, Y)


def _share_from_the_first(self: Batches, rows: int, of: int, first: int = 0) -> Any:
    return _share(self, rows, of)


def _share_of_the_part(self: Batches, rows: int, of: int, first: int = 0) -> Any:
    share = _share(self, rows, of, first)
    share *= of / rows
    return share


OF_PARTS: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "gradients that always accumulate": (CupyBackend, "gemm", _gemm_that(True)),
    "gradients that never accumulate": (CupyBackend, "gemm", _gemm_that(False)),
    "biases that never accumulate": (CupyBackend, "gemm", _biases_that_do_not_accumulate),
    "rows from the first": (Batches, "gather", _from_the_first),
    "shares from the first": (Batches, "share", _share_from_the_first),
    "shares of the part": (Batches, "share", _share_of_the_part),
}


@pytest.mark.parametrize("mutant", OF_PARTS)
def test_parts_that_are_not_put_together(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    monkeypatch.setattr(*OF_PARTS[mutant])
    assert differ(parts=3)


def _of_one_layer(self: CublasEpilogues, A: Any) -> Any:
    return _mask(self, _first_of.setdefault(len(A), A))


def _claims(self: CublasEpilogues, *arrays: Any, **options: Any) -> bool:
    _fused(self, *arrays, **options)
    return True


_first_of: dict[int, Any] = {}
EPILOGUES: dict[str, tuple[str, Callable[..., Any], set[int]]] = {
    "the mask of another layer": ("_mask", _of_one_layer, set()),
    "a product that was refused": ("_fused", _claims, {Epilogue.BGRADA}),
    "a forward that was refused": ("_fused", _claims, {Epilogue.RELU_AUX_BIAS}),
}


@pytest.mark.parametrize("mutant", EPILOGUES)
def test_epilogues_that_are_mistaken(
    host_cupy: Machine, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    name, planted, refused = EPILOGUES[mutant]
    host_cupy.cublas.offered -= refused
    assert not differ(activations=RELUS)
    _first_of.clear()
    monkeypatch.setattr(CublasEpilogues, name, planted)
    assert differ(activations=RELUS)
    _first_of.clear()


# ---- what a capture must not do --------------------------------------------------------------

FORBIDDEN: dict[str, tuple[type[Exception], str, Callable[[Any, Any], Any]]] = {
    "allocates": (MisuseError, "allocated inside", lambda b, x: b.empty(x.shape, x.dtype)),
    "copies": (MisuseError, "allocated inside", lambda b, x: x.copy()),
    "uploads": (MisuseError, "allocated inside", lambda b, x: b.asarray(np.ones(3))),
    "overwrites": (RuntimeError, "H2D", lambda b, x: x.set(np.ones(x.shape, x.dtype))),
    "sums": (MisuseError, "allocated inside", lambda b, x: x.sum()),
    "reads": (RuntimeError, "D2H", lambda b, x: float(x.reshape(-1)[0])),
    "downloads": (RuntimeError, "D2H", lambda b, x: b.to_numpy(x)),
    "waits": (CUDARuntimeError, "CaptureUnsupported", lambda b, x: b.synchronize()),
    "waits-for-all": (
        CUDARuntimeError,
        "CaptureUnsupported",
        lambda b, x: b._device.synchronize(),
    ),
    "multiplies": (
        NotImplementedError,
        "calling cuBLAS",
        lambda b, x: b._cupy.matmul(x, x, out=x),
    ),
    "converts": (TypeError, "Implicit conversion", lambda b, x: np.asarray(x)),
}


@pytest.mark.parametrize("mutant", FORBIDDEN)
def test_a_step_that_cannot_be_captured(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    error, message, does = FORBIDDEN[mutant]

    def run(self: CupyBackend, step: Any, *inputs: Any, out: Any) -> None:
        _run(self, step, *inputs, out=out)
        if self._engine.main.is_capturing():
            does(self, arrays[0])
        elif not arrays:
            arrays.append(self.zeros((2, 2), np.float32))

    arrays: list[Any] = []
    monkeypatch.setattr(CupyBackend, "run", run)
    with pytest.raises(error, match=message):
        differ()


def test_a_step_that_was_not_run_before_its_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(self: CupyBackend, step: Any) -> Any:
        steps = itertools.chain([lambda: None], itertools.repeat(step))

        def skipped_once() -> None:
            next(steps)()

        return _record(self, skipped_once)

    monkeypatch.setattr(CupyBackend, "record", record)
    with pytest.raises(MisuseError, match="compiled inside of a capture"):
        differ()


def test_a_handle_that_is_made_inside_a_capture(host_cupy: Machine) -> None:
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        workspace = chosen.empty((1024,), np.uint8)
        chosen._engine.main.begin_capture()
        with pytest.raises(RuntimeError, match="cublasCreate_v2"):
            Gemm(chosen._engine.main, workspace)
        chosen._products.gemm.close()
        with pytest.raises(MisuseError, match="is empty"):
            chosen._engine.main.end_capture()
    assert host_cupy.faults == [f"a cuBLAS handle is {x} inside of a capture" for x in _MADE]
    host_cupy.faults.clear()


_MADE = ("created", "destroyed")


# ---- arrays of a recording -------------------------------------------------------------------


def test_an_array_that_is_replaced_after_its_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(self: Batches, order: Any) -> Any:
        sums = original(self, order)
        self.order = self.target_order = self.order.copy()  # and frees what the graphs read
        return sums

    original = Batches.plan
    monkeypatch.setattr(Batches, "plan", plan)
    assert not differ(record=False)
    with pytest.raises(MisuseError, match="gather of a launched graph uses memory freed"):
        differ()


def test_an_array_that_is_replaced_while_others_keep_it() -> None:
    def replace(trainer: Trainer) -> None:
        kept.append(trainer.batches.order)
        batches = trainer.batches
        batches.order = batches.target_order = batches.order.copy()

    kept: list[Any] = []
    assert not differ(record=False, before=replace)
    assert differ(before=replace)


def test_a_product_whose_workspace_was_freed(host_cupy: Machine) -> None:
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        A, out = chosen.zeros((2, 2), np.float32), chosen.zeros((2, 2), np.float32)
        workspace = chosen.empty((1024,), np.uint8)
        gemm = Gemm(chosen._engine.main, workspace)
        chosen._engine.main.begin_capture()
        gemm(A, A, out)
        graph = chosen._engine.main.end_capture()
        graph.launch()
        del workspace, gemm
        with pytest.raises(MisuseError, match="gemm of a launched graph uses memory freed"):
            graph.launch()


def test_memory_that_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CupyBackend, "zeros", CupyBackend.empty)
    with pytest.raises(AssertionError, match="gather indexes outside of an array"):
        differ()


def test_an_output_that_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: CupyBackend, step: Any, *inputs: Any, out: Any) -> None:
        if step is not TAKE:
            _run(self, step, *inputs, out=out)

    monkeypatch.setattr(CupyBackend, "run", run)
    assert differ()


# ---- streams ---------------------------------------------------------------------------------


def test_work_outside_of_in_use(host_cupy: Machine) -> None:
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        kept = chosen.zeros((3,), np.float32)
    for work in (
        lambda: chosen.zeros((3,), np.float32),
        lambda: chosen.asarray(np.ones(3)),
        lambda: kept.fill(1),
        lambda: chosen._cupy.add(kept, kept, out=kept),
        lambda: issue("anything", lambda: None),
    ):
        with pytest.raises(MisuseError, match="null stream"):
            work()
    assert chosen.to_numpy(kept).tolist() == [0, 0, 0]  # to read is safe: in_use has waited


def test_an_estimator_that_does_not_enter_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def in_use(self: CupyBackend, threads: int | None, work: int) -> Iterator[None]:
        with self._device:
            yield

    cupy_backend.probe(0)  # which would find it out
    monkeypatch.setattr(CupyBackend, "in_use", in_use)
    with pytest.raises(MisuseError, match="null stream"):
        MLPClassifier(device="cuda").fit(np.eye(6), np.arange(6) % 2)


def test_a_host_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def in_use(self: CupyBackend, threads: int | None, work: int) -> Iterator[None]:
        with self._device, self._engine.main:
            yield
            self._cupy.zeros((3,), np.float32)
            kept.append(self._cupy.zeros((3,), np.float32))

    kept: list[Any] = []
    monkeypatch.setattr(CupyBackend, "in_use", in_use)
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        pass
    with pytest.raises(MisuseError, match="does not wait for"):
        chosen.to_numpy(kept[0])


def _second_stream(chosen: CupyBackend) -> Any:
    return chosen._cupy.cuda.Stream(non_blocking=True)


def test_streams_that_do_not_wait_for_each_other() -> None:
    chosen = CupyBackend(0)
    with chosen._device, _second_stream(chosen) as other:
        with chosen._engine.main:
            shared = chosen.zeros((3,), np.float32)
        with pytest.raises(MisuseError, match="does not wait for"):
            shared.sum()
        chosen.synchronize()
        shared.sum()
        with chosen._engine.main, pytest.raises(MisuseError, match="does not wait for"):
            shared.fill(1)  # which the other stream may still be reading
        other.synchronize()


def test_memory_that_is_freed_while_another_stream_uses_it(host_cupy: Machine) -> None:
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        shared = chosen.zeros((3,), np.float32)
        chosen.synchronize()
        with _second_stream(chosen):
            shared.fill(1)
            del shared
    assert host_cupy.faults == ["12 bytes were freed while in use"]
    host_cupy.faults.clear()


def test_a_capture_whose_work_goes_elsewhere() -> None:
    chosen = CupyBackend(0)
    with chosen._device, _second_stream(chosen):
        counter = chosen.zeros((1,), np.int64)
        chosen.run(ADVANCE, 1, out=counter)
        chosen._engine.main.begin_capture()
        chosen.run(ADVANCE, 1, out=counter)
        with pytest.raises(MisuseError, match="is empty"):
            chosen._engine.main.end_capture()
