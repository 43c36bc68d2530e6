"""A recorded step does on replay what it does when it is run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.kernels.elementwise import Elementwise
from tests.cuda_stand_in.kernels import all_steps, outputs_of
from tests.kernels.cases import cases_of
from tests.kernels.checks import Case, Values, check_each, on_device

STEPS = all_steps()


@pytest.mark.parametrize("kernel", STEPS)
def test_replay_does_what_an_eager_run_does(backend: Backend, kernel: str) -> None:
    step = STEPS[kernel]
    check_each(cases_of(step), lambda case: check_replay(backend, case, step))


def check_replay(backend: Backend, case: Case, step: Elementwise) -> None:
    """Record on the values of seed 0, replay on them, then on others in the same arrays.

    What the twin works out while it is recorded, by an operator say, is wrong for the others.
    """
    first, second = case.values(0), case.values(1)
    values = on_device(backend, first)
    with np.errstate(all="ignore"):
        replay = backend.record(lambda: case.call(backend.run, step, values))
        for seed, arguments in enumerate((first, second)):
            overwrite(backend, values, arguments)
            replay()
            outputs = outputs_of(step)
            got = {name: backend.to_numpy(values[name]) for name in outputs}
            expected = case.expected(step, seed)
            if type(backend) is NumpyBackend:
                for name in outputs:
                    np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
            case.check(step, got, expected, seed)


def overwrite(backend: Backend, values: Values, arguments: Values) -> None:
    """Copy the arrays of ``arguments`` into those of ``values``; numbers must be equal."""
    for name, argument in arguments.items():
        if isinstance(argument, np.ndarray):
            values[name][...] = backend.asarray(argument)
        else:
            assert values[name] == argument, f"{name} is bound while recording"


@pytest.mark.parametrize("kernel", STEPS)
def test_recording_computes_nothing(kernel: str) -> None:
    backend, step = NumpyBackend(), STEPS[kernel]

    def check(case: Case) -> None:
        values, untouched = case.values(), case.values()
        with np.errstate(all="ignore"):
            backend.record(lambda: case.call(backend.run, step, values))
        for name, value in untouched.items():
            np.testing.assert_array_equal(values[name], value, err_msg=name)

    check_each(cases_of(step), check)


def test_an_operator_in_a_twin_is_found() -> None:
    """The comparison above can fail: 2 * z is worked out while recording."""

    def twin(np: Any, z: Any, a: Any) -> None:
        np.add(2 * z, 1, out=a)

    step = Elementwise("doubled", "T z", "T a", "a = T(2) * z + T(1)", twin)
    for case in cases_of(step):
        with pytest.raises(AssertionError):
            check_replay(NumpyBackend(), case, step)


# ---- the matrix product ------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (3,)], ids=["one", "population"])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_recorded_gemm(
    backend: Backend,
    lead: tuple[int, ...],
    transpose_a: bool,
    transpose_b: bool,
    with_bias: bool,
    dtype: str,
) -> None:
    A, B, bias = gemm_arguments(0, lead, transpose_a, transpose_b, dtype)
    on = [backend.asarray(array) for array in (A.copy(), B.copy(), bias.copy())]
    out = backend.zeros((*lead, 5, 4), dtype)
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    replay = backend.record(
        lambda: backend.gemm(on[0], on[1], out=out, bias=on[2] if with_bias else None, **options)
    )
    if type(backend) is NumpyBackend:
        assert (out == 0).all()
    for seed in (0, 1):
        A, B, bias = gemm_arguments(seed, lead, transpose_a, transpose_b, dtype)
        for array, values in zip(on, (A, B, bias), strict=True):
            array[...] = backend.asarray(values)
        replay()
        product = np.matmul(
            A.swapaxes(-1, -2) if transpose_a else A, B.swapaxes(-1, -2) if transpose_b else B
        )
        expected = product + bias if with_bias else product
        tolerance = 32 * np.finfo(dtype).eps
        np.testing.assert_allclose(backend.to_numpy(out), expected, tolerance, tolerance)


def gemm_arguments(
    seed: int, lead: tuple[int, ...], transpose_a: bool, transpose_b: bool, dtype: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A (…, 5, 3) and B (…, 3, 4) as their product needs them, and bias (…, 1, 4)."""
    rng = np.random.RandomState(seed)
    shapes = (3, 5) if transpose_a else (5, 3), (4, 3) if transpose_b else (3, 4), (1, 4)
    A, B, bias = (rng.normal(size=(*lead, *shape)).astype(dtype) for shape in shapes)
    return A, B, bias


# ---- what cannot be recorded -------------------------------------------------------------------


def recorded(twin: Any) -> None:
    """Record a step with this ``twin``."""
    backend, array = NumpyBackend(), np.zeros(3)
    step = Elementwise("refused", "T z", "T a", "", twin)
    try:
        backend.record(lambda: backend.run(step, array, out=array))
    finally:  # whatever happened, the next run is made, not kept
        backend.run(STEPS["advance"], 2, out=array)
        np.testing.assert_array_equal(array, [2, 2, 2])


def test_recorded_steps_are_kept_and_the_backend_is_eager_again() -> None:
    recorded(lambda np, z, a: np.add(z, 1, out=a))


def test_what_would_be_put_elsewhere_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a vector"):
        recorded(lambda np, z, a: np.put(z[:, None], [0], 1))


@pytest.mark.parametrize("name", ["where", "clip", "concatenate", "mean", "no_such_function"])
def test_function_that_cannot_be_recorded_is_refused(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"a recorded step cannot call numpy\.{name};"):
        recorded(lambda np, z, a: getattr(np, name)(z))


@pytest.mark.parametrize("name", ["exp", "add", "sum", "max"])
def test_function_without_out_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"numpy\.{name} in a NumPy twin needs out=.*operator"):
        recorded(lambda np, z, a: getattr(np, name)(z))


def test_operator_on_the_result_of_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"numpy\.abs\w* in a NumPy twin needs out="):
        recorded(lambda np, z, a: np.divide(z, 1 + np.abs(z), out=a))


def test_python_numbers_keep_the_dtype_of_the_arrays() -> None:
    """A number is weak on replay as it is when run: 0.1 beside float32 is rounded to float32."""
    backend, z, a = NumpyBackend(), np.ones(1, np.float32), np.zeros(1, np.float64)
    step = Elementwise("weak", "T z", "T a", "", lambda np, z, a: np.multiply(z, 0.1, out=a))
    replay = backend.record(lambda: backend.run(step, z, out=a))
    replay()
    assert a[0] == np.float32(0.1)
