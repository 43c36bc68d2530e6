"""Every CUDA body says what its NumPy twin says: on the host as C++, and on the device."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.backends.protocol import Backend
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.gather import TAKE
from tests.backprop import solver_cases
from tests.cuda_stand_in.kernels import (
    HostLibrary,
    all_steps,
    bare_literals,
    host_library,
    outputs_of,
    parameters,
    skip_without_compiler,
)
from tests.kernels.cases import BUILDERS, PADDING, cases_of
from tests.kernels.checks import Case, check_each, on_device

STEPS = all_steps()


@pytest.fixture(scope="module")
def library() -> HostLibrary:
    skip_without_compiler()
    return host_library()


@pytest.mark.parametrize("kernel", STEPS)
def test_kernel_has_cases_in_every_type(kernel: str) -> None:
    step = STEPS[kernel]
    tried = {case.dtype for case in cases_of(step)}
    if {"T", "U"} & {p.type for p in parameters(step)}:
        assert {"float32", "float64"} <= tried


def test_kernel_without_a_case_fails() -> None:
    step = Elementwise("new", "raw T z", "T a", "a = z[i]", np.copyto)
    with pytest.raises(LookupError, match="new has no test case"):
        cases_of(step)


def test_kernels_are_found_in_modules_and_in_their_tables() -> None:
    assert STEPS["take"] is TAKE
    assert STEPS["gelu_delta"] is ACTIVATIONS["gelu"].delta


def test_every_builder_has_its_kernel() -> None:
    assert set(BUILDERS) <= set(STEPS)


@pytest.mark.parametrize("kernel", STEPS)
def test_body_has_no_bare_literal(kernel: str) -> None:
    assert bare_literals(STEPS[kernel].body) == []


@pytest.mark.parametrize("kernel", STEPS)
def test_body_compiles_without_a_warning(library: HostLibrary, kernel: str) -> None:
    assert library.warnings[kernel] == []


@pytest.mark.parametrize("kernel", STEPS)
def test_body_on_the_host_matches_twin(library: HostLibrary, kernel: str) -> None:
    step = STEPS[kernel]

    def check(case: Case) -> None:
        got = case.values()
        case.call(library.run, step, got)
        case.check(step, got, case.expected(step))

    check_each(cases_of(step), check)


@pytest.mark.parametrize("kernel", STEPS)
def test_kernel_matches_twin(backend: Backend, kernel: str) -> None:
    step = STEPS[kernel]

    def check(case: Case) -> None:
        values = on_device(backend, case.values())
        with np.errstate(all="ignore"):
            case.call(backend.run, step, values)
        got = {name: backend.to_numpy(values[name]) for name in outputs_of(step)}
        case.check(step, got, case.expected(step))

    check_each(cases_of(step), check)


@pytest.mark.parametrize("kernel", solver_cases.STEPS)
def test_padding_stays_zero(backend: Backend, kernel: str) -> None:
    step = STEPS[kernel]

    def check(case: Case) -> None:
        values = on_device(backend, case.values())
        case.call(backend.run, step, values)
        for name in outputs_of(step):
            vector = backend.to_numpy(values[name])
            assert (vector[..., -PADDING:] == 0).all(), name
            assert (vector[..., :-PADDING] != 0).all(), name

    check_each([case for case in cases_of(step) if "draws" in case.name], check)


# ---- the cases reach what they are there for ---------------------------------------------------


@pytest.mark.parametrize("kernel", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
@pytest.mark.parametrize("kind", ["extreme", "clipped"])
def test_losses_are_clipped_on_both_sides(kernel: str, kind: str) -> None:
    """The reported value with and without bounds differs in rows at either bound."""
    step = STEPS[kernel]
    case = next(c for c in cases_of(step) if c.name == f"{kind}-float64")
    values, free = case.values(), case.values()
    start = values["row_losses"].copy()
    free |= {"low": 0.0, "high": np.inf}
    for arguments in (values, free):
        case.call(lambda s, *inputs, out: s.numpy(np, *inputs, *out), step, arguments)
    clipped, unclipped = ((v["row_losses"] - start) / values["share"] for v in (values, free))
    assert (clipped < unclipped - 1e-6).any()
    assert (clipped > unclipped + 1e-17).any()
    np.testing.assert_array_equal(values["delta"], free["delta"])


def test_body_that_indexes_outside_of_an_array_is_reported(library: HostLibrary) -> None:
    case = cases_of(STEPS["take"])[0]
    values = case.values() | {"step": np.array([6])}
    with pytest.raises(AssertionError, match="take indexes outside of an array"):
        case.call(library.run, STEPS["take"], values)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("a = T(0.5) * z + T(1) - T(-2e-3)", []),
        ("a = plan[at + 2] * z1 + x0 / 3", []),
        ("T x = 0.5; a = x", ["0.5"]),
        ("a = T(0.5 * z)", ["0.5"]),
        ("a = z * 1e-3 + .5f - 2.", ["1e-3", ".5f", "2."]),
        ("a = fooT(0.5)", ["0.5"]),
    ],
)
def test_bare_literals_are_found(body: str, found: list[str]) -> None:
    assert bare_literals(body) == found
