"""Steps compiled for the host: what they compute, what is compiled, and what happens if not."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.backends import compiled_calls, host_blas, pooled_recording
from gpubp.backends.compiled_backend import CompiledBackend
from gpubp.backends.compiled_calls import Call, bind, product
from gpubp.backends.pooled_recording import SECONDS, AtOnce
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.backends.step_recorder import MOST_SUMMED
from gpubp.backprop.solvers import SOLVERS
from gpubp.kernels.activations import ACTIVATIONS, EXP
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.host import cache as host_cache
from gpubp.kernels.host import compiler as host_compiler
from gpubp.kernels.host.compiler import CompilerError, Form, parameters, source
from gpubp.kernels.optimizers import ADAM, ADVANCE
from gpubp.kernels.regression_losses import SQUARED_ERROR
from tests.cuda_stand_in.kernels import all_steps, skip_without_compiler

STEPS = all_steps()
VECTORIZED = {name: step for name, step in STEPS.items() if step.vectorizes}
RELU: Any = ACTIVATIONS["relu"]


@pytest.fixture(autouse=True)
def _compiler() -> None:
    skip_without_compiler()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A machine on which nothing was compiled yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    caches: list[Any] = [compiled_calls._function, host_compiler.replay_library]
    caches += [host_compiler._compiler, host_compiler._version]
    for each in caches:
        each.cache_clear()
    yield monkeypatch
    for each in caches:
        each.cache_clear()


def form_of(step: Elementwise) -> Form:
    numbers = tuple(not p.raw and p.type in ("int64", "bool") for p in parameters(step))
    return Form((("T", "float32"), ("U", "int32")), numbers)


# ---- what the compiler makes of a step ---------------------------------------------------------


def test_what_is_fastest_compiled_is_said_to_be() -> None:
    """All activations and solvers; and no loss."""
    assert {"relu", "relu_delta", "tanh", "gelu_delta", "adam", "momentum"} <= set(VECTORIZED)
    assert {"gather", "penalty"} <= set(VECTORIZED)
    assert not {"softmax_cross_entropy", "poisson"} & set(VECTORIZED)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_is_within_two_units_in_the_last_place(dtype: Any) -> None:
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    ends = np.log([info.tiny, info.max])
    inside = np.linspace(*ends, 100_003)[1:-1]
    x = np.concatenate([inside, rng.normal(size=10_000)]).astype(dtype)
    got, exact = exp_of(x), np.exp(x.astype(np.longdouble))
    assert np.abs((got - exact) / np.spacing(exact.astype(dtype))).max() < 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_at_its_ends(dtype: Any) -> None:
    info = np.finfo(dtype)
    x = np.array([np.nan, np.inf, -np.inf, info.max, -info.max, 0, -0.0, info.tiny], dtype)
    np.testing.assert_array_equal(exp_of(x), [np.nan, np.inf, 0, np.inf, 0, 1, 1, 1])
    least = np.log(np.float64(info.smallest_subnormal))
    x = np.linspace(least, np.log(info.tiny), 50).astype(dtype)  # whose exp is subnormal
    np.testing.assert_allclose(exp_of(x), np.exp(x), rtol=0, atol=2 * info.smallest_subnormal)
    beyond = np.array([least - 1, np.log(np.float64(info.max)) + 0.01], dtype)
    np.testing.assert_array_equal(exp_of(beyond), [0, np.inf])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["expm1", "tanh", "log1p"])
def test_functions_are_within_four_units_in_the_last_place(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    scales = (1e-30, 1e-6, 1e-3, 0.1, 0.3, 1, 3, 30)
    x = np.concatenate([rng.normal(size=20_000) * scale for scale in scales]).astype(dtype)
    x = x[(x > -1) if name == "log1p" else (x < 80)]
    exact = getattr(np, name)(x.astype(np.longdouble))
    error = np.abs(function_of(name, x) - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert error.max() < 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "function"), [("sinpi", np.sin), ("cospi", np.cos)])
def test_sinpi_and_cospi_are_within_two_units_of_one(name: str, function: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=20_000) * scale for scale in (1e-6, 1, 30, 1e4)])
    x = np.concatenate([x, np.arange(-4, 4, 0.25)]).astype(dtype)
    turns = np.remainder(x.astype(np.longdouble), 2)
    exact = function(np.longdouble("3.14159265358979323846") * turns)
    assert np.abs(function_of(name, x) - exact).max() < 2 * np.finfo(dtype).eps
    ends = np.array([np.inf, -np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):
        assert np.isnan(function_of(name, ends)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log1p"])
def test_functions_at_their_ends(name: str, dtype: Any) -> None:
    big = np.finfo(dtype).max
    x = np.array([np.nan, np.inf, -np.inf, big, -big, 1e30, -1e30, 0, -0.0, -1, -2, 0.5], dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    got = function_of(name, x)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(expected[known]))


def function_of(name: str, x: np.ndarray) -> np.ndarray:
    """Return the function of C called ``name`` of ``x`` (n,), as compiled bodies compute it."""
    step = Elementwise(name, "T z", "T a", f"a = {name}(z)", lambda *_: None)
    return run_alone(step, x)


def exp_of(x: np.ndarray) -> np.ndarray:
    """Return exp(x), (n,), as compiled bodies compute it."""
    return run_alone(EXP, x)


def run_alone(step: Elementwise, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    call = bind(step, (x, out))
    assert isinstance(call, Call)
    call.function(call.data, call.numbers, 0, len(x))  # not by a replay: subnormals count
    return out


@pytest.mark.parametrize("kernel", [k for k in VECTORIZED if k != "advance"])  # of one number
def test_what_is_said_to_be_vectorized_is(kernel: str, tmp_path: Path) -> None:
    if not (gcc := shutil.which("g++")):
        pytest.skip("g++ is not installed; it says what it has vectorized")
    step = VECTORIZED[kernel].host or VECTORIZED[kernel]
    text = source(step, form_of(step))
    (tmp_path / "step.cpp").write_text(text)
    level = {"x86_64": ["-march=x86-64-v3"]}.get(platform.machine(), [])  # has rint
    flags = [*level, *(flag for flag in host_compiler.FLAGS if flag != "-march=native")]
    command = [gcc, *flags, "-fopt-info-vec-optimized", "step.cpp", "-o", "step.so"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "vectorized using" in told.stderr, text


@pytest.mark.parametrize("kernel", STEPS)
def test_no_parameter_is_named_as_what_is_written_around_a_body(kernel: str) -> None:
    step = STEPS[kernel]
    around = {"begin", "end", "columns", "start", "bias", "row_sums", "data", "numbers"}
    assert not {p.name for p in parameters(step)} & around
    assert not set(re.findall(r"\b[a-z]\w*\b", step.body)) & around


def test_adam_is_bit_for_bit_that_of_numpy() -> None:
    rng = np.random.RandomState(0)
    vectors = [np.abs(rng.normal(size=64)).astype(np.float32) for _ in range(4)]
    plan, step = rng.uniform(0.1, 0.9, (3, 5)).astype(np.float32), np.array([1])
    results = []
    for backend in (CompiledBackend(), get_backend("cpu")):
        grad, *written = [v.copy() for v in vectors]
        inputs = (grad, plan, step, 1, 64, 32, True)
        backend.record(lambda b=backend, i=inputs, w=written: b.run(ADAM, *i, out=tuple(w)))()
        results.append(np.stack(written))
    np.testing.assert_array_equal(*results)
    assert (results[0] != np.stack(vectors[1:])).all()


# ---- what is compiled --------------------------------------------------------------------------


def test_arguments_that_do_not_suit_a_body_are_left_to_numpy() -> None:
    z, a = np.full((4, 6), -1.0), np.ones((4, 6))
    assert isinstance(bind(RELU.forward, (z, a)), Call)
    assert bind(RELU.forward, (z.T, a.T)) is None
    assert bind(RELU.forward, (z.astype(np.float32), a)) is None
    assert bind(RELU.forward, (z[:1], a)) is None
    assert bind(RELU.forward, (z.astype(np.float16), a.astype(np.float16))) is None
    backend = CompiledBackend()
    backend.record(lambda: backend.run(RELU.forward, z.T, out=a.T))()
    np.testing.assert_array_equal(a, 0)


def test_products_that_blas_cannot_take_are_left_to_numpy() -> None:
    A, B, out = np.ones((3, 2)), np.ones((2, 5)), np.zeros((3, 5))
    plain = {"transpose_a": False, "transpose_b": False, "accumulate": False}
    assert isinstance(product(A, B, out, **plain), Call)
    assert product(A.T.copy().T, B, out, **plain) is None
    assert product(A[None], B[None], out[None], **plain) is None
    assert product(A.astype(int), B.astype(int), out.astype(int), **plain) is None
    assert product(A[:, :0], B[:0], out, **plain) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (7, 4), (7, 1), (1, 1)])
@pytest.mark.parametrize("kind", ["plain", "bias", "accumulate"])
def test_products_are_those_of_numpy(
    dtype: Any, transposed: tuple[bool, bool], rows: int, columns: int, kind: str
) -> None:
    rng, (flip_a, flip_b) = np.random.RandomState(0), transposed
    A, B = (rng.normal(size=shape).astype(dtype) for shape in ((rows, 5), (5, columns)))
    out, bias = (rng.normal(size=(n, columns)).astype(dtype) for n in (rows, 1))
    with np.errstate(invalid="ignore"):  # of numbers next to the arrays, which OpenBLAS reads too
        expected = A @ B + (out if kind == "accumulate" else 0) + (bias if kind == "bias" else 0)
    A, B = (A.T.copy() if flip_a else A), (B.T.copy() if flip_b else B)
    options: dict[str, Any] = {"transpose_a": flip_a, "transpose_b": flip_b}
    options |= {"bias": bias} if kind == "bias" else {"accumulate": kind == "accumulate"}
    backend = CompiledBackend()
    step = backend.record(lambda: backend.gemm(A, B, out=out, **options))
    assert step.launches == {"NumPy calls": 0, "compiled calls": 1}
    step()
    np.testing.assert_allclose(out, expected, rtol=1e-5 if dtype == np.float32 else 1e-13)


def test_the_whole_step_of_a_small_network_is_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    clf = gpubp.MLPClassifier((2,), max_iter=3, random_state=0, compiled=True, device="cpu")
    seen: list[dict[str, int]] = []
    real = CompiledBackend.record

    def record(backend: CompiledBackend, step: Any) -> Any:
        tape = real(backend, step)
        seen.append(tape.launches)
        return tape

    monkeypatch.setattr(CompiledBackend, "record", record)
    with pytest.warns(match="Maximum iterations"):
        clf.fit(X, y)
    assert seen == [{"NumPy calls": 0, "compiled calls": 1}]


@pytest.mark.parametrize("times", [0, 1, 2, 3, 4, 1000])
def test_steps_that_are_made_in_one_go_are_counted(times: int) -> None:
    backend, step, Z = CompiledBackend(), np.zeros(1, np.int64), np.ones((2, 2))
    of_two_parts = np.zeros(1, np.int64)
    whole = backend.record(lambda: backend.run(ADVANCE, 1, out=step))

    def parts() -> None:
        backend.run(ADVANCE, 1, out=of_two_parts)
        backend.run(ACTIVATIONS["tanh"].forward, Z.T, out=Z.T)  # NumPy's

    in_parts = backend.record(parts)
    whole(times)
    in_parts(times)
    assert step[0] == of_two_parts[0] == times
    assert in_parts.launches == {"NumPy calls": 1, "compiled calls": 1}


@pytest.mark.parametrize("seconds", [1e-6, 1e-3, SECONDS / 3, 1.0])
def test_an_interrupt_waits_for_few_steps(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now, made = [0.0], []

    def make(times: int) -> None:
        made.append(times)
        now[0] += seconds * times

    monkeypatch.setattr(pooled_recording, "perf_counter", lambda: now[0])
    at_once = AtOnce()
    for times in (1, 1, 500, 3, 500):
        at_once(make, times)
    assert sum(made) == 1005
    most = max(1, SECONDS / seconds)
    assert max(made) <= most
    assert len(made) <= 16 + 2 * 1000 / most  # no shorter than they need to be


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not an x86 processor")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_numbers_count_as_0_in_a_replay_alone(dtype: Any) -> None:
    tiny = np.finfo(dtype).tiny
    g = np.array([tiny, 4 * tiny, -tiny / 2, 1], dtype)
    a, delta = np.full(4, 0.5, dtype), np.zeros(4, dtype)
    backend, step = CompiledBackend(), ACTIVATIONS["logistic"].delta
    backend.record(lambda: backend.run(step, g, a, out=delta))()
    assert list(delta) == [0, tiny, 0, 0.25]
    assert (g[:1] / 2)[0] == tiny / 2 != 0  # as before, here


FORK = """
import os
import numpy as np
from gpubp.backends.compiled_backend import CompiledBackend

backend, A, out = CompiledBackend(), np.full((512, 512), 1e-160), np.empty((512, 512))
A.dot(A, out)
if os.fork():  # BLAS starts threads anew in the child
    raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
backend.record(lambda: backend.gemm(np.ones((512, 512)), np.ones((512, 512)), out=out))()
assert (out == 512).all()
os._exit(not A.dot(A, out).all())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor")
def test_subnormal_numbers_count_in_threads_that_blas_starts_for_a_replay() -> None:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    ended = subprocess.run(command, check=False, cwd=Path(__file__).parents[2], env=environment)
    assert ended.returncode == 0


def test_the_sum_of_many_rows_of_a_delta_is_left_to_blas() -> None:
    """One by one, a float32 sum of 10^6 rows alike is off by 1 %."""
    rows, sums = MOST_SUMMED + 1, np.zeros((1, 4), np.float32)
    delta, W = np.full((rows, 1), 0.1, np.float32), np.ones((4, 1), np.float32)
    kept, out = np.ones((2, rows, 4), np.float32)
    backend, taken = CompiledBackend(), []

    def step(n: int) -> None:
        arrays = delta[:n], W, RELU, kept[:n], out[:n], sums
        taken.append(backend.epilogues.delta_below(*arrays))

    backend.record(lambda: step(MOST_SUMMED))()
    np.testing.assert_allclose(sums, 0.1 * MOST_SUMMED, rtol=1e-4)
    backend.record(lambda: step(rows))
    assert taken[1::2] == [True, False]  # after a recording that cannot be cut into tiles


# ---- whole trainings ---------------------------------------------------------------------------

rng = np.random.RandomState(0)
X = rng.normal(size=(203, 6))
CLASSES = rng.randint(3, size=len(X))
VALUES = X[:, :2] ** 2


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_training_is_that_of_numpy(activation: str, solver: str) -> None:
    trained = []
    for compiled in (False, True):
        options: dict[str, Any] = {"random_state": 0, "max_iter": 5, "batch_size": 32}
        options |= {"dtype": "float64", "device": "cpu", "compiled": compiled}
        clf = gpubp.MLPClassifier((40, 30), activation, solver=solver, **options)
        with pytest.warns(match=r"[Mm]aximum iterations|converge"):
            trained.append(clf.fit(X, CLASSES))
    for theirs, ours in zip(trained[0].coefs_, trained[1].coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)
    expected = trained[0].predict_proba(X)
    np.testing.assert_allclose(trained[1].predict_proba(X), expected, rtol=1e-7)


@pytest.mark.parametrize("hidden", [(1,), (7, 1), (5,)])
@pytest.mark.parametrize("batch", [1, 101])
def test_batches_of_one_row_and_layers_of_one_unit(hidden: tuple[int, ...], batch: int) -> None:
    """203 rows leave a tail of one."""
    curves = []
    for compiled in (False, True):
        options: dict[str, Any] = {"dtype": "float64", "device": "cpu", "compiled": compiled}
        options |= {"random_state": 0, "max_iter": 2, "batch_size": batch}
        reg = gpubp.MLPRegressor("squared_error", hidden, **options)
        with pytest.warns(match="Maximum iterations"):
            curves.append(reg.fit(X, VALUES[:, 0] + 5).loss_curve_)
    np.testing.assert_allclose(*curves, rtol=1e-10)


def test_a_return_in_a_body_ends_it_for_one_row() -> None:
    step = SQUARED_ERROR
    body = f"if (n_outputs) {{ {step.body}; return; }}"
    own = Elementwise("returning", step.inputs, step.outputs, body, step.numpy)
    Z, Y = np.random.RandomState(0).normal(size=(2, 5, 2))
    results = []
    for backend in (get_backend("cpu"), CompiledBackend()):
        row_losses, delta = np.zeros(5), np.zeros((5, 2))
        inputs, out = (Z, Y, 2, 0.2), (row_losses, delta)
        backend.record(lambda b=backend, i=inputs, o=out: b.run(own, *i, out=o))()
        results.append(np.column_stack(out))
    np.testing.assert_allclose(*results, rtol=1e-12)


def test_training_without_an_address_of_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = []
    for address in (host_blas.address, lambda _: None):
        monkeypatch.setattr(host_blas, "address", address)
        options: dict[str, Any] = {"dtype": "float64", "device": "cpu", "compiled": True}
        reg = gpubp.MLPRegressor("squared_error", (8,), random_state=0, max_iter=5, **options)
        with pytest.warns(match="Maximum iterations"):
            curves.append(reg.fit(X, VALUES).loss_curve_)
    np.testing.assert_allclose(*curves, rtol=1e-12)


def test_the_parameter_is_saved_and_validated(tmp_path: Path) -> None:
    clf = gpubp.MLPClassifier((3,), max_iter=1, compiled=True, device="cpu")
    with pytest.warns(match="Maximum iterations"):
        clf.fit(X, CLASSES)
    gpubp.save(clf, tmp_path / "model.safetensors")
    assert gpubp.load(tmp_path / "model.safetensors").compiled is True
    with pytest.raises(ValueError, match="'compiled' parameter"):
        gpubp.MLPClassifier(compiled="yes").fit(X, CLASSES)


def test_predictions_need_no_compiler(fresh: pytest.MonkeyPatch) -> None:
    clf = gpubp.MLPClassifier((3,), max_iter=1, compiled=True, device="cpu", random_state=0)
    with pytest.warns(match="Maximum iterations"):
        expected = clf.fit(X, CLASSES).predict_proba(X)
    fresh.setenv("CXX", "no-such-compiler")
    for each in (compiled_calls._function, host_compiler.replay_library, host_compiler._compiler):
        each.cache_clear()
    with pytest.raises(BackendUnavailableError):
        clf.fit(X, CLASSES)
    np.testing.assert_array_equal(clf.predict_proba(X), expected)


# ---- compilers and caches ----------------------------------------------------------------------


def test_a_step_is_compiled_once(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    form = Form((("T", "float64"),), (False, False))
    host_compiler.compiled(RELU.forward, form)
    (made,) = (tmp_path / "gpubp" / "compiled").iterdir()
    when = made.stat().st_mtime_ns
    host_compiler.compiled(RELU.forward, form)
    assert [made] == list(made.parent.iterdir())
    assert made.stat().st_mtime_ns == when


@pytest.mark.parametrize("kept", [0, 4, 8192])
def test_half_a_file_in_the_cache_is_made_anew(
    fresh: pytest.MonkeyPatch, tmp_path: Path, kept: int
) -> None:
    host_compiler.replay_library()
    (made,) = (tmp_path / "gpubp" / "compiled").iterdir()
    whole = made.read_bytes()
    made.unlink()  # the process has it in use
    made.write_bytes(whole[:kept])
    host_compiler.replay_library.cache_clear()
    assert host_compiler.replay_library().replay
    (again,) = (tmp_path / "gpubp" / "compiled").iterdir()
    assert len(again.read_bytes()) == len(whole)


@pytest.mark.parametrize(
    ("compiler", "problem"),
    [
        ("no-such-compiler", "no-such-compiler does not run"),
        ("false", "false does not compile for this processor"),
        ("true", "true does not compile for this processor: there is no output file"),
        ("g++ -c", r"the library that g\+\+ -c made cannot be loaded"),
        ("", r"there is no C\+\+ compiler"),
    ],
)
def test_without_a_compiler(fresh: pytest.MonkeyPatch, compiler: str, problem: str) -> None:
    if compiler:
        fresh.setenv("CXX", compiler)
    else:
        fresh.delenv("CXX", raising=False)
        fresh.setenv("PATH", "")
    with pytest.raises(BackendUnavailableError, match=rf"{problem}.*; install g\+\+ or clang"):
        gpubp.MLPClassifier(compiled=True, device="cpu").fit(X, CLASSES)


def test_the_cache_is_a_folder_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert host_cache.compiled_folder() == tmp_path / "x" / "gpubp" / "compiled"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert host_cache.compiled_folder() == tmp_path / ".cache" / "gpubp" / "compiled"


@pytest.mark.parametrize("why", ["not writable", "no home"])
def test_without_a_cache_nothing_is_kept(
    fresh: pytest.MonkeyPatch, tmp_path: Path, why: str
) -> None:
    def homeless() -> None:
        raise RuntimeError("no home")

    (tmp_path / "gpubp").write_text("in the way")
    if why == "no home":
        fresh.setenv("XDG_CACHE_HOME", "")
        fresh.setattr(Path, "home", homeless)
    backend, z = get_backend("cpu", compiled=True), np.array([[-1.0, 2.0]])
    backend.record(lambda: backend.run(RELU.forward, z, out=z))()
    np.testing.assert_array_equal(z, [[0, 2]])


def test_a_folder_that_cannot_be_deleted_is_deleted_later(
    fresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On Windows a library that is in use stays, here that of a cache that cannot be written."""
    temporary, form = tmp_path / "temporary", Form((("T", "float64"),), (False, False))
    temporary.mkdir()
    fresh.setattr(tempfile, "tempdir", str(temporary))
    (tmp_path / "gpubp").write_text("in the way")
    unlink = os.unlink

    def refuse(path: Any, *arguments: Any, **options: Any) -> None:
        if str(path).endswith(".so"):
            raise PermissionError(13, "The process cannot access the file", str(path))
        unlink(path, *arguments, **options)

    with fresh.context() as windows:
        windows.setattr(os, "unlink", refuse)
        assert host_compiler.compiled(RELU.forward, form)
        (left,) = temporary.iterdir()
        host_compiler.compiled(RELU.delta, Form(form.types, (False, False, False)))
        assert left.exists()  # it may be in use, or being written
        assert len(list(temporary.iterdir())) == 2
    os.utime(left, (0, 0))
    host_compiler.compiled(RELU.forward, form)
    assert not left.exists()


def test_a_step_that_cannot_be_compiled_is_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise CompilerError("it broke")

    backend, z = CompiledBackend(), np.array([[-1.0, 2.0]])
    monkeypatch.setattr(compiled_calls, "compiled", broken)
    compiled_calls._function.cache_clear()
    with pytest.warns(match="NumPy computes relu: it broke"):
        backend.record(lambda: backend.run(RELU.forward, z, out=z))
    step = backend.record(lambda: backend.run(RELU.forward, z, out=z))  # and does not warn again
    compiled_calls._function.cache_clear()
    step()
    np.testing.assert_array_equal(z, [[0, 2]])


@pytest.mark.skipif(shutil.which("clang++") is None, reason="clang++ is not installed")
def test_clang_compiles_too(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("CXX", "clang++")
    backend, z = get_backend("cpu", compiled=True), np.array([[-1.0, 2.0]])
    backend.record(lambda: backend.run(RELU.forward, z, out=z))()
    np.testing.assert_array_equal(z, [[0, 2]])


def test_a_compiler_with_options(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("CXX", f"{shutil.which(os.environ.get('CXX', 'g++'))} -DNOTHING")
    assert host_compiler.replay_library().replay
