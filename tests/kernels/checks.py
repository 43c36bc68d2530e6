"""One case of a kernel test: arguments, how to run a step on them, and what counts as equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.kernels.elementwise import Elementwise
from tests.cuda_stand_in.kernels import outputs_of, parameters

FLOATS = ("float32", "float64")
Values = dict[str, Any]  # arrays and numbers by parameter name
Run = Callable[..., None]  # Backend.run, or what stands in for it
Scale = Callable[[Values, str, np.ndarray], Any]


@dataclass(frozen=True)
class Case:
    """One kernel on one choice of arguments.

    build : seed -> its arguments by parameter name. Outputs have their starting values; an
        output that is an input's own array is computed in place.
    updates : where not 0, the kernel runs so many times, and what ``each`` names has a leading
        axis of so many entries.
    scale : (arguments, output, expected) -> what rounding errors of that output are relative to,
        where it is not the expected value itself.
    """

    name: str
    dtype: str
    build: Callable[[int], Values]
    scale: Scale = lambda values, name, expected: 0.0
    updates: int = 0
    each: tuple[str, ...] = ("grad", "step")

    def values(self, seed: int = 0) -> Values:
        """Return the arguments, C-contiguous; an array given twice is the same array twice."""
        memo: dict[int, np.ndarray] = {}

        def own(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            return memo.setdefault(id(value), _with_room(value))

        built = self.build(seed)
        return {name: own(value) for name, value in built.items()}

    def call(self, run: Run, step: Elementwise, values: Values) -> None:
        """Run ``step`` on ``values``, as often as this case asks for."""
        declared = parameters(step)
        for k in range(self.updates or 1):
            now = values
            if self.updates:
                now = values | {name: values[name][k] for name in self.each if name in values}
            inputs = [now[p.name] for p in declared if not p.written]
            run(step, *inputs, out=tuple(now[p.name] for p in declared if p.written))

    def expected(self, step: Elementwise, seed: int = 0) -> Values:
        """Return the arguments after the NumPy twin has run."""
        values = self.values(seed)
        with np.errstate(all="ignore"):
            self.call(lambda s, *inputs, out: s.numpy(np, *inputs, *out), step, values)
        return values

    def check(self, step: Elementwise, got: Values, expected: Values, seed: int = 0) -> None:
        """Compare the outputs: within 8 eps of their scale, integers exactly."""
        start = self.values(seed)
        for name in outputs_of(step):
            scale = self.scale(start, name, expected[name])
            assert_close(got[name], expected[name], scale, self.dtype, name)


def _with_room(array: np.ndarray) -> np.ndarray:
    """Return a copy with memory behind it, where a wrong body that moves several may write."""
    room = np.zeros(array.size + 16, array.dtype)
    room[: array.size] = array.ravel()
    return room[: array.size].reshape(array.shape)


def assert_close(got: np.ndarray, expected: np.ndarray, scale: Any, dtype: str, label: str) -> None:
    """Check |got - expected| <= 8 eps max(scale, |expected|); NaN and infinities must agree.

    The smallest normal number of ``dtype`` is let through, since CUDA flushes subnormals.
    """
    assert got.dtype == expected.dtype, label
    assert got.shape == expected.shape, label
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected, err_msg=label)
        return
    info = np.finfo(dtype if dtype in FLOATS else expected.dtype)
    with np.errstate(all="ignore"):
        bound = 8.0 * info.eps * np.maximum(np.abs(expected), scale) + info.smallest_normal
        close = np.abs(got - expected) <= np.where(np.isfinite(bound), bound, 0)
        wrong = ~(close | (got == expected) | (np.isnan(got) & np.isnan(expected)))
    where = np.argwhere(wrong)[:1].tolist()
    assert not wrong.any(), (
        f"{label} is wrong in {wrong.sum()} of {wrong.size} entries; at {where}, "
        f"{got[wrong][0]!r} instead of {expected[wrong][0]!r}"
    )


def on_device(backend: Backend, values: Values) -> Values:
    """Return ``values`` with their arrays on the device; one array stays one array."""
    moved: dict[int, Any] = {}
    for value in values.values():
        if isinstance(value, np.ndarray) and id(value) not in moved:
            moved[id(value)] = backend.asarray(value.copy())
    return {name: moved.get(id(value), value) for name, value in values.items()}


def check_each(cases: list[Case], check: Callable[[Case], None]) -> None:
    """Call ``check`` on each case, and then report all that failed."""
    failures = []
    for case in cases:
        try:
            check(case)
        except AssertionError as error:
            failures.append(f"{case.name}: {error}")
    assert cases, "no cases"
    assert not failures, "\n".join(failures)
