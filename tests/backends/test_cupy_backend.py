"""The CUDA path of Python over CuPy's stand-in: whole trainings, recordings, devices.

What is planted in `test_cupy_mutants.py` shows that these comparisons can fail.
"""

from __future__ import annotations

import csv
import gc
import json
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, MLPRegressor
from gpubp.__main__ import main
from gpubp.backends import cuda_graph, cupy_backend, select
from gpubp.backends.cuda_streams import _Engines
from gpubp.backends.cupy_backend import CupyBackend
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.estimators.fit_estimators import fit_estimator
from gpubp.kernels.cublas import library as cublas
from gpubp.kernels.cublas.library import GemmUnavailableError
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.optimizers import ADVANCE
from tests.backends.small_training import trained
from tests.backprop.solver_cases import OPTIMIZERS, estimator_parameters
from tests.cuda_stand_in.cuda import (
    BAD_DEVICE,
    NO_DEVICE,
    OLD_DRIVER,
    CUDARuntimeError,
    Machine,
    start,
)

pytestmark = pytest.mark.usefixtures("host_cupy")
ENGINES = _Engines.MOST
RNG = np.random.RandomState(0)
X = RNG.normal(size=(90, 4))
WEIGHTS = RNG.uniform(0.1, 3, len(X))
LABELS = (X[:, :3] + X[:, 1:]).argmax(axis=1)
BASE: dict[str, Any] = {"hidden_layer_sizes": (7, 5), "batch_size": 32, "max_iter": 4}
CASES: dict[str, tuple[type, np.ndarray, dict[str, Any]]] = {
    "classifier": (MLPClassifier, LABELS, {}),
    "binary": (MLPClassifier, LABELS > 0, {"activation": "tanh"}),
    "multi-label": (MLPClassifier, X > 0.3, {"activation": "logistic"}),
    "regressor": (MLPRegressor, X @ [1.0, -2, 0.5, 1], {"activation": "identity"}),
    "outputs": (MLPRegressor, X[:, :2] * X[:, 2:], {"activation": "gelu"}),
    "no-penalty": (MLPClassifier, LABELS, {"alpha": 0.0, "activation": "leaky_relu"}),
    "no-tail": (MLPClassifier, LABELS, {"batch_size": 30}),
    "one-batch": (MLPClassifier, LABELS, {"batch_size": 90}),
    "invscaling": (MLPClassifier, LABELS, {"solver": "sgd", "learning_rate": "invscaling"}),
    **{
        f"by-{name}": (MLPClassifier, LABELS, estimator_parameters(optimizer) | {"alpha": 0.1})
        for name, optimizer in OPTIMIZERS.items()
    },
    "hash": (MLPClassifier, LABELS, {"row_order": "hash"}),
    "clipped": (MLPClassifier, LABELS, {"clip_norm": 0.1}),
    "unshuffled": (MLPClassifier, LABELS, {"shuffle": False}),
    "no-hidden-layer": (MLPClassifier, LABELS, {"hidden_layer_sizes": ()}),
    "early-stopping": (
        MLPClassifier,
        LABELS,
        {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 30, "tol": 0.5},
    ),
}


@pytest.fixture(params=["recorded", "unrecorded"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of running a step on CUDA: recorded with cuBLAS, and without cuBLAS."""
    if request.param == "unrecorded":
        monkeypatch.setattr(cublas, "load_cublas", _no_cublas)
    return str(request.param)


def _no_cublas() -> Any:
    raise GemmUnavailableError("there is none")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def both(kind: type, dtype: str, **options: Any) -> tuple[Any, Any]:
    """Return the same estimator twice, for CUDA and for the CPU."""
    options = {**BASE, "random_state": 0, "dtype": dtype, **options}
    return kind(**options, device="cuda"), kind(**options, device="cpu")


def assert_same(ours: Any, theirs: Any, tolerance: float) -> None:
    """Compare all that two estimators have learned."""
    assert (ours.device_, theirs.device_) == ("cuda:0", "cpu")
    for name in ("n_iter_", "t_", "stopped_by_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, tolerance)
    if theirs.validation_scores_ is not None:
        assert_array_equal(ours.validation_scores_, theirs.validation_scores_)
    for name in ("coefs_", "intercepts_"):
        for got, wanted in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert got.dtype == wanted.dtype
            assert_allclose(got, wanted, tolerance, tolerance, err_msg=name)
    method = "predict_proba" if hasattr(ours, "predict_proba") else "predict"
    got, wanted = getattr(ours, method)(X), getattr(theirs, method)(X)
    assert got.dtype == wanted.dtype
    assert_allclose(got, wanted, tolerance, tolerance)


# ---- whole trainings -------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_training_is_numpys(host_cupy: Machine, case: str) -> None:
    kind, y, options = CASES[case]
    ours, theirs = both(kind, "float64", **options)
    assert_same(ours.fit(X, y), theirs.fit(X, y), 1e-12)
    assert host_cupy.launches


def test_training_with_sample_weights_is_numpys(way: str) -> None:
    ours, theirs = both(MLPClassifier, "float64")
    weights = np.where(np.arange(len(X)) < 3, 0, WEIGHTS)
    assert_same(ours.fit(X, LABELS, weights), theirs.fit(X, LABELS, weights), 1e-12)


def test_training_goes_on_as_numpys_does(way: str) -> None:
    ours, theirs = both(MLPClassifier, "float64", warm_start=True)
    for _ in range(2):
        assert_same(ours.fit(X, LABELS), theirs.fit(X, LABELS), 1e-12)
    ours, theirs = both(MLPRegressor, "float64", solver="sgd")
    for part in np.split(np.arange(90), [40]):
        for estimator in (ours, theirs):
            estimator.partial_fit(X[part], X[part, 0])
    assert_same(ours, theirs, 1e-12)


def test_loss_curve_of_digits_in_float32_is_numpys() -> None:
    digits, labels = load_digits(return_X_y=True)
    options = {"hidden_layer_sizes": (24,), "batch_size": 200, "max_iter": 20}
    ours, theirs = both(MLPClassifier, "float32", **options)
    for estimator in (ours, theirs):
        estimator.fit(digits / 16, labels)
    assert len(ours.loss_curve_) == 20
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, 1e-4)


def test_prediction_is_numpys_in_chunks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = both(MLPClassifier, "float64")
    theirs.fit(X, LABELS)
    ours.fit(X, LABELS)
    ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    monkeypatch.setattr(
        "gpubp.training.inference.DEVICE_CHUNK_BYTES", 32 * 7 * 8
    )  # 32 rows, then 26
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), 1e-14)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again = (
        trained(CupyBackend(0), "float32", "softmax_cross_entropy", weights=WEIGHTS)
        for _ in range(2)
    )
    assert_array_equal(first, again)


# ---- arrays and kernels ----------------------------------------------------------------------


def test_arrays_have_the_dtype_and_the_layout_that_was_asked_for() -> None:
    chosen, host = CupyBackend(0), np.arange(6).reshape(2, 3)
    with chosen.in_use(None, 0):
        for values in (host, host.T, host[:, ::2], chosen.asarray(host).T):
            got = chosen.asarray(values, np.float32)
            assert got.dtype == np.float32
            assert got.flags.c_contiguous
            expected = values if isinstance(values, np.ndarray) else host.T
            assert_array_equal(chosen.to_numpy(got), expected)
        kept = chosen.asarray(host)
        assert chosen.asarray(kept) is kept


def test_a_kernel_of_several_elements_a_thread_runs_for_all_of_them() -> None:
    body = "y[2 * i] = x[2 * i + 1]; y[2 * i + 1] = x[2 * i]"
    swap = Elementwise("swap", "raw T x", "raw T y", body, lambda *_: None, per_thread=2)
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        x, y = chosen.asarray(np.arange(6.0)), chosen.zeros((6,), np.float64)
        chosen.run(swap, x, out=y)
        assert chosen.to_numpy(y).tolist() == [1, 0, 3, 2, 5, 4]


# ---- recordings ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "sigmoid_cross_entropy", "squared_error"]
)
def test_a_recorded_training_has_the_bits_of_an_unrecorded_one(
    host_cupy: Machine, loss: str, dtype: str
) -> None:
    unrecorded = trained(CupyBackend(0, record=False), dtype, loss, weights=WEIGHTS)
    assert not host_cupy.launches
    recorded = trained(CupyBackend(0), dtype, loss, weights=WEIGHTS)
    assert host_cupy.launches
    assert_array_equal(recorded, unrecorded)


def test_an_epoch_launches_graphs_alone(host_cupy: Machine) -> None:
    def epochs(issued: dict[int, Any]) -> Callable[[int], None]:
        return lambda epoch: issued.update({epoch: dict(host_cupy.issued)})

    issued: dict[int, dict[str, int]] = {}
    trained(CupyBackend(0), "float32", "squared_error", weights=WEIGHTS, then=epochs(issued))
    first, last = issued[0], issued[2]
    new = {name: last[name] - first[name] for name in last if last[name] != first[name]}
    # Of the two epochs between: the plan goes up, and sums come down.
    assert set(new) == {"upload", "copy", "fill", "dot"}


@pytest.mark.parametrize("most", [1, 3, 64])
def test_a_recording_runs_as_often_as_it_is_told_to(
    host_cupy: Machine, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(cuda_graph, "MOST_STEPS", most)
    monkeypatch.setattr(cuda_graph, "GRAPH_SECONDS", 1e9 if most > 1 else 0.0)
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        counter = chosen.zeros((1,), np.int64)
        recording = chosen.record(lambda: chosen.run(ADVANCE, 1, out=counter))
        expected = int(counter[0])
        for times in (1, 0, 100, 100, 1, 7, 64, 65, 130):
            before = host_cupy.launches
            recording(times)
            expected += times
            assert int(counter[0]) == expected
            if times == 100 and expected > 150:  # the graph of many is there
                assert host_cupy.launches - before == {1: 100, 3: 50, 64: 2}[most]


def test_a_recording_is_made_in_use() -> None:
    chosen = CupyBackend(0)
    with pytest.raises(RuntimeError, match="inside in_use"):
        chosen.record(lambda: None)


def test_an_error_of_a_step_ends_its_capture() -> None:
    chosen, error = CupyBackend(0), [KeyError("mine")]
    with chosen.in_use(None, 0):
        counter = chosen.zeros((1,), np.int64)

        def step() -> None:
            chosen.run(ADVANCE, 1, out=counter)
            if chosen._engine.main.is_capturing() and error:
                chosen._engine.main._broken = True  # as CUDA's own errors do
                raise error.pop()

        with pytest.raises(KeyError, match="mine"):
            chosen.record(step)
        assert not chosen._engine.main.is_capturing()
        chosen.record(step)()
        assert int(counter[0]) == 3


def test_a_recording_keeps_its_arrays_alive() -> None:
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        counter = chosen.zeros((1,), np.int64)
        step = _advance_through_scratch(chosen, counter)
        recording = chosen.record(step)
        del step
        recording(5)
        assert int(counter[0]) == 6


def _advance_through_scratch(chosen: CupyBackend, counter: Any) -> Callable[[], None]:
    scratch = chosen.zeros((1,), np.int64)

    def step() -> None:
        scratch[...] = counter
        chosen.run(ADVANCE, 1, out=scratch)
        counter[...] = scratch

    return step


def test_threads_train_side_by_side() -> None:
    def train(_: int) -> np.ndarray:
        return trained(CupyBackend(0), "float32", "squared_error", epochs=6)

    alone = train(0)
    with ThreadPoolExecutor(3) as pool:
        for together in pool.map(train, range(3)):
            assert_array_equal(together, alone)


def test_memory_is_given_back(host_cupy: Machine) -> None:
    CupyBackend(0)
    engine = host_cupy.used[0]  # which stays, for the next
    for _ in range(2):
        trained(CupyBackend(0), "float32", "squared_error")
        gc.collect()
        assert host_cupy.used[0] == engine


def test_large_arrays_are_uploaded_from_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_backend, "STAGED_BYTES", 0)
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        array = chosen.asarray(X.T, np.float32)
        assert (array.dtype, array.flags.c_contiguous) == (np.float32, True)
        assert_array_equal(chosen.to_numpy(array), X.T.astype(np.float32))
    ours, theirs = both(MLPClassifier, "float64")
    assert_same(ours.fit(X, LABELS), theirs.fit(X, LABELS), 1e-10)


class _Failure(RuntimeError):
    """An error of CUDA, with its status."""

    def __init__(self, status: int) -> None:
        super().__init__("cudaError")
        self.status = status


@pytest.mark.parametrize(("status", "expected"), [(2, MemoryError), (700, _Failure)])
def test_a_recording_without_room_is_a_memory_error(
    status: int, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise _Failure(status)

    monkeypatch.setattr(cuda_graph.RecordedGraph, "_capture", fail)
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        step = chosen.zeros((1,), np.int64)
        with pytest.raises(expected, match="cudaError"):
            chosen.record(lambda: chosen.run(ADVANCE, 1, out=step))


def test_without_room_for_a_long_graph_the_short_one_is_launched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture = cuda_graph.RecordedGraph._capture

    def fail(self: Any, steps: int) -> Any:
        if steps > 1:
            raise _Failure(2)
        return capture(self, steps)

    monkeypatch.setattr(cuda_graph.RecordedGraph, "_capture", fail)
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        step = chosen.zeros((1,), np.int64)
        recorded = chosen.record(lambda: chosen.run(ADVANCE, 1, out=step))
        step[...] = 0
        recorded(5)
        recorded(3)
        assert chosen.to_numpy(step) == [8]


def test_what_is_left_of_an_upload_is_waited_for() -> None:
    chosen = CupyBackend(0)
    with chosen.in_use(None, 0):
        host, array = chosen.pinned((4,), np.float32), chosen.zeros((4,), np.float32)
        host[...] = 1
        chosen.upload(host, array, None)  # as an interrupt leaves it: nobody waits
    with chosen.in_use(None, 0):
        array[...] = 2
        assert_array_equal(chosen.to_numpy(array), [2, 2, 2, 2])


def test_a_thread_has_one_engine_a_device() -> None:
    start(devices=2)
    first, again, elsewhere = CupyBackend(0), CupyBackend(0), CupyBackend(1)
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(CupyBackend, 0).result()
    assert first._engine is again._engine
    streams = [
        stream
        for x in (first, elsewhere, beside)
        for stream in (x._engine.main, x._engine.side, x._engine.uploads)
    ]
    assert len({stream.ptr for stream in streams}) == 9
    assert [stream.device_id for stream in streams] == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    other = CupyBackend(0, precision="tf32")
    assert other._engine is not first._engine


@pytest.mark.parametrize("collected", [False, True])
def test_engines_of_threads_that_have_ended_serve_the_next(collected: bool) -> None:
    found: list[Any] = []
    threads = []
    for _ in range(2 * ENGINES):
        thread = threading.Thread(target=lambda: found.append(CupyBackend(0)._engine))
        thread.start()
        thread.join()
        threads += [] if collected else [thread]
    assert len(found) == 2 * ENGINES
    assert len(set(found)) == 1


def test_many_threads_share_few_engines(host_cupy: Machine) -> None:
    """Each thread trains while the others hold theirs; more than there are engines take turns."""
    threads = 2 * ENGINES
    started = threading.Barrier(threads)

    def train(_: int) -> tuple[Any, np.ndarray]:
        chosen = CupyBackend(0)
        started.wait()
        return chosen._engine, trained(chosen, "float32", "squared_error", epochs=2)

    alone = trained(CupyBackend(0), "float32", "squared_error", epochs=2)
    each = host_cupy.used[0]
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(train, range(threads)))
    assert len({engine for engine, _ in results} | {CupyBackend(0)._engine}) == ENGINES
    assert host_cupy.used[0] == ENGINES * each
    for _, together in results:
        assert_array_equal(together, alone)


def test_the_collector_is_off_while_a_step_is_captured() -> None:
    chosen, states = CupyBackend(0), []
    with chosen.in_use(None, 0):
        counter = chosen.zeros((1,), np.int64)

        def step() -> None:
            states.append((chosen._engine.main.is_capturing(), gc.isenabled()))
            chosen.run(ADVANCE, 1, out=counter)

        chosen.record(step)(3)
        assert set(states) == {(False, True), (True, False)}
        assert gc.isenabled()
        gc.disable()
        try:
            chosen.record(step)
            assert not gc.isenabled()
        finally:
            gc.enable()


# ---- the choice of a device ------------------------------------------------------------------


def test_auto_takes_cuda_from_the_crossover_on() -> None:
    work = select.CUDA_CROSSOVER
    assert (get_backend("auto", work).name, get_backend("auto", work - 1).name) == ("cuda:0", "cpu")
    assert get_backend("auto").name == "cuda:0"
    assert f"{work - 1:,}" in get_backend("auto", work - 1).reason


def test_estimators_choose_by_the_size_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = (4 + 1) * 7 + (7 + 1) * 5 + (5 + 1) * 3
    for more, device, dtype in ((0, "cuda:0", np.float32), (1, "cpu", np.float64)):
        monkeypatch.setattr(select, "CUDA_CROSSOVER", 32 * parameters + more)
        model = MLPClassifier(**BASE, random_state=0).fit(X, LABELS)
        assert model.device_ == device
        assert model.coefs_[0].dtype == dtype
        # All 90 rows are predicted at once, which is work enough for CUDA.
        assert model.predict(X).shape == (90,)


def test_a_device_that_is_missing_is_named() -> None:
    with pytest.raises(BackendUnavailableError, match=r"no device cuda:1, only 1 device\(s\)"):
        get_backend("cuda:1")
    with pytest.raises(BackendUnavailableError, match="cuda:7"):
        MLPClassifier(device="cuda:7").fit(X, LABELS)
    with pytest.raises(CUDARuntimeError) as caught:
        CupyBackend(1)
    assert caught.value.status == BAD_DEVICE


@pytest.mark.parametrize("driver", [OLD_DRIVER, NO_DEVICE])
def test_an_error_of_the_driver_is_told(driver: int) -> None:
    start(driver=driver)
    reason = str(CUDARuntimeError(driver))
    with pytest.raises(BackendUnavailableError) as caught:
        get_backend("cuda")
    assert f"no CUDA device answers ({reason})" in str(caught.value)
    chosen = get_backend("auto")
    assert chosen.name == "cpu"
    assert chosen.reason == f"no CUDA device answers ({reason})"


def test_without_cupy_auto_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendUnavailableError, match="CuPy is not installed; pip install 'gpubp"):
        get_backend("cuda")
    chosen = get_backend("auto")
    assert (chosen.name, chosen.reason) == ("cpu", "CuPy is not installed")


def test_everything_stays_on_the_device_that_was_asked_for() -> None:
    machine = start(devices=2)
    ours, theirs = both(MLPClassifier, "float64")
    ours.set_params(device="cuda:1").fit(X, LABELS)
    assert ours.device_ == "cuda:1"
    assert_allclose(ours.predict_proba(X), theirs.fit(X, LABELS).predict_proba(X), 1e-12)
    assert machine.used[0] == 0
    assert machine.thread.device == 0


def test_memory_is_the_devices(host_cupy: Machine) -> None:
    chosen = CupyBackend(0)
    before = chosen.memory()
    with chosen.in_use(None, 0):
        kept = chosen.empty((1 << 18,), np.float32)
        after = chosen.memory()
    assert (before.total, after.total) == (host_cupy.memory, host_cupy.memory)
    assert after.used - before.used == before.free - after.free == kept.nbytes


def test_without_cublas_products_are_cupys_and_a_line_says_so(
    host_cupy: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cublas, "load_cublas", _no_cublas)
    lines: list[str] = []
    fit_estimator(MLPClassifier(**BASE, device="cuda"), X, LABELS, note=lines.append)
    assert "no step is recorded: there is none" in lines[0]
    assert (host_cupy.issued["gemm"], host_cupy.launches) == (0, 0)
    assert host_cupy.issued["matmul"] > 0


# ---- the command line ------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    with Path("data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*"abcd", "label"])
        names = ["no", "yes", "maybe"]
        writer.writerows([*row, names[k]] for row, k in zip(X, LABELS, strict=True))
    return "data.csv"


def test_the_command_line_trains_and_predicts_on_cuda(
    host_cupy: Machine, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    probabilities = {}
    for device in ("cuda", "cpu"):
        where = ("--device", device)
        train = ("train", table, "--epochs", "3", "--hidden", "6", "--out", f"{device}.safetensors")
        assert main([*train, *where, "--json"]) == 0
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert events[-1]["device"] == {"cuda": "cuda:0", "cpu": "cpu"}[device]
        evaluate = ("evaluate", f"{device}.safetensors", table)
        assert main([*evaluate, *where]) == 0
        predict = ("predict", f"{device}.safetensors", table, "--proba", "--out", "out.csv")
        assert main([*predict, *where]) == 0
        out = np.loadtxt("out.csv", delimiter=",", skiprows=1, usecols=(-3, -2, -1))
        probabilities[device] = out
        capsys.readouterr()
    assert_allclose(probabilities["cuda"], probabilities["cpu"], 1e-4)
    assert host_cupy.issued["gpubp_softmax"] >= 2


def test_the_command_line_names_a_missing_device(
    table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", table, "--device", "cuda:3"]) == 2
    assert "no device cuda:3" in capsys.readouterr().err


def test_the_host_backend_is_not_disturbed(host_cupy: Machine) -> None:
    trained(NumpyBackend(), "float32", "squared_error")
    assert not host_cupy.issued
