"""The CUDA bodies on the host: compiled as C++ by g++ and run on NumPy arrays.

It shows that a body and its twin agree, not what only a device can show: CUDA's own mathematical
functions, flushed subnormals, contraction to fused multiply-adds, speed.
"""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import gpubp.kernels
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Recording, Step, Unrecorded
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.host.compiler import C_TYPES, Parameter, parameters

# What each type variable of a step stands for in turn.
TYPES = {"T": ("float32", "float64"), "U": ("float32", "float64", "int32")}
# The warnings refuse what would move a float32 body to double precision, and unused parameters.
# No contraction: a * b + c is rounded twice, as NumPy rounds it.
FLAGS = [
    *("-std=c++17", "-O0", "-shared", "-fPIC", "-ffp-contract=off", "-fno-diagnostics-show-caret"),
    *("-Wall", "-Wextra", "-Wdouble-promotion", "-Wfloat-conversion"),
]
PRELUDE = """
#include <math.h>
#include <cstddef>
extern "C" { long long outside = 0; }
// Of CUDA, and of C since 2023.
static inline float host_cospi(float x) { return (float)cos(M_PI * remainder((double)x, 2.0)); }
static inline double host_cospi(double x) { return cos(M_PI * remainder(x, 2.0)); }
static inline float host_sinpi(float x) { return (float)sin(M_PI * remainder((double)x, 2.0)); }
static inline double host_sinpi(double x) { return sin(M_PI * remainder(x, 2.0)); }
#define cospi host_cospi
#define sinpi host_sinpi
// A raw parameter. An index that lies outside of it is counted, and reads a zero; the first and
// the last of the others are kept.
template <typename E> struct Raw {
    E* data;
    ptrdiff_t size, *touched;
    E& operator[](ptrdiff_t k) const {
        static E nowhere[8];  // a body may take four at a time
        if (k >= 0 && k < size) {
            if (k < touched[0]) touched[0] = k;
            if (k > touched[1]) touched[1] = k;
            return data[k];
        }
        ++outside;
        nowhere[0] = E();
        return nowhere[0];
    }
};
template <typename E> struct Raw<const E> {
    Raw<E> array;
    const E& operator[](ptrdiff_t k) const { return array[k]; }
};
"""


def all_steps() -> dict[str, Elementwise]:
    """Return every Elementwise of gpubp.kernels by name."""
    found: dict[str, Elementwise] = {}
    for info in pkgutil.iter_modules(gpubp.kernels.__path__):
        for step in _steps_in(vars(import_module(f"gpubp.kernels.{info.name}"))):
            assert found.setdefault(step.name, step) is step, f"two steps are named {step.name!r}"
    return found


def _steps_in(value: Any) -> Iterator[Elementwise]:
    if isinstance(value, Elementwise):
        yield value
        yield from _steps_in(getattr(value, "with_factors", None))
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _steps_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _steps_in(entry)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _steps_in(vars(value))


def outputs_of(step: Elementwise) -> list[str]:
    """Return the names of the parameters that ``step`` writes."""
    return [p.name for p in parameters(step) if p.written]


def bare_literals(body: str) -> list[str]:
    """Return the floating-point literals of ``body`` that do not stand as ``T(literal)``.

    g++ has no warning for all of them: ``T x = 0.5`` and ``T(0.5 * n)`` are silent.
    """
    number = r"(?<![\w.])(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?[fFlL]?"
    return re.findall(number, re.sub(rf"\bT\(\s*-?{number}\s*\)", "", body))


def skip_without_compiler() -> None:
    """Skip the test where g++ is missing, unless GPUBP_REQUIRE_COMPILER=1."""
    if shutil.which("g++") is None:
        reason = "g++ is not installed; it compiles the CUDA bodies for the host"
        if os.environ.get("GPUBP_REQUIRE_COMPILER") == "1":
            raise RuntimeError(reason)
        import pytest  # here, since `gpubp.bench.gpu` imports this file without pytest

        pytest.skip(reason)


class HostLibrary:
    """Steps compiled for the host, in each of ``types``.

    types : what each type variable stands for, in turn.
    warnings : what g++ said about the body of each step, by the step's name.
    """

    def __init__(
        self, steps: Iterable[Elementwise], types: dict[str, tuple[str, ...]] = TYPES
    ) -> None:
        steps = list(steps)
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "steps.cpp"), Path(folder, "steps.so")
            source.write_text(PRELUDE + "".join(_source(step, types) for step in steps))
            built = subprocess.run(
                ["g++", *FLAGS, str(source), "-o", str(library)],
                env={**os.environ, "LC_ALL": "C"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert built.returncode == 0, built.stderr
            self._library = ctypes.CDLL(str(library))
        self._outside = ctypes.c_longlong.in_dll(self._library, "outside")
        self.warnings: dict[str, list[str]] = {step.name: [] for step in steps}
        for name, text in re.findall(r"^(\w+):\d+:\d+: warning: (.*)$", built.stderr, re.MULTILINE):
            self.warnings[name].append(text)

    def run(self, step: Elementwise, *inputs: Any, out: Any) -> None:
        """Apply the body of ``step``, as ``Backend.run`` does.

        Raises
        ------
        AssertionError
            If the body indexes outside of an array, or an argument does not fit its parameter.
        """
        declared = parameters(step)
        arguments = [*inputs, *(out if isinstance(out, tuple) else (out,))]
        assert len(arguments) == len(declared), f"{step.name} takes {len(declared)} arguments"
        types = _bound_types(declared, arguments)
        arrays = [
            np.asarray(argument, types[p.type])
            for p, argument in zip(declared, arguments, strict=True)
        ]
        self.bind(step, types, arrays, _size(step, declared, arrays))()

    def bind(
        self, step: Elementwise, types: dict[str, str], arrays: list[np.ndarray], size: int
    ) -> BoundStep:
        """Return a call of the body on all its arguments as arrays, for ``size`` elements.

        types : the dtype name of each type; the arrays have them, and are C-contiguous.
        """
        function = getattr(self._library, _symbol(step, types))
        return BoundStep(step.name, function, self._outside, arrays, size)


class BoundStep:
    """A body on its arguments.

    touched : the first and the last index of each raw one that the last call has used; they are
        the other way round where it used none.
    """

    def __init__(
        self, name: str, function: Any, outside: Any, arrays: list[np.ndarray], size: int
    ) -> None:
        n = len(arrays)
        self._name, self._function, self._outside, self._arrays = name, function, outside, arrays
        data = (ctypes.c_void_p * n)(*[array.ctypes.data for array in arrays])
        sizes = (ctypes.c_ssize_t * n)(*[array.size for array in arrays])
        self.touched = (ctypes.c_ssize_t * (2 * n))()
        self._arguments = ctypes.c_ssize_t(size), data, sizes, self.touched
        self._untouched = [sys.maxsize, -1] * n

    def __call__(self) -> None:
        self.touched[:], self._outside.value = self._untouched, 0
        self._function(*self._arguments)
        assert self._outside.value == 0, f"{self._name} indexes outside of an array"


@cache
def host_library() -> HostLibrary:
    """Return all steps, compiled once."""
    return HostLibrary(all_steps().values())


class HostBackend(NumpyBackend):
    """NumPy arrays and products with the CUDA bodies for the steps, none of them recorded.

    What NumPy's twins ignore, the sizes that only a body needs, has to be right here.
    """

    name = "host"

    def run(self, step: Elementwise, *inputs: Any, out: Any) -> None:
        inputs = tuple(np.ascontiguousarray(x) if np.ndim(x) else x for x in inputs)
        host_library().run(step, *inputs, out=out)

    def record(self, step: Step) -> Recording:
        return Unrecorded(step, {})


def _bound_types(declared: tuple[Parameter, ...], arguments: list[Any]) -> dict[str, str]:
    """Return the dtype name of each type in ``declared``; arrays bind the variables."""
    types = {name: name for name in C_TYPES}
    for p, argument in zip(declared, arguments, strict=True):
        if isinstance(argument, np.ndarray):
            bound = types.setdefault(p.type, argument.dtype.name)
            assert argument.dtype.name == bound, f"{p.name} is {argument.dtype}, not {bound}"
            assert argument.flags.c_contiguous, f"{p.name} is not C-contiguous"
        else:
            assert not p.written, f"{p.name} must be an array"
            assert not p.raw, f"{p.name} must be an array"
    return types


def _size(step: Elementwise, declared: tuple[Parameter, ...], arrays: list[np.ndarray]) -> int:
    """Return how often the body runs: once for each element of the parameters that are not raw."""
    if step.per_thread > 1:
        assert all(p.raw for p, array in zip(declared, arrays, strict=True) if array.ndim)
        first = next(a for p, a in zip(declared, arrays, strict=True) if p.written)
        assert first.size % step.per_thread == 0, f"{step.name} would leave elements out"
        return first.size // step.per_thread
    sizes = {array.size for p, array in zip(declared, arrays, strict=True) if not p.raw} - {1}
    assert len(sizes) <= 1, f"parameters that are not raw have sizes {sizes}"
    return sizes.pop() if sizes else 1


def _symbol(step: Elementwise, types: dict[str, str]) -> str:
    return "_".join([step.name, *(types[variable] for variable in _variables(step))])


def _variables(step: Elementwise) -> list[str]:
    used = {p.type for p in parameters(step)}
    return [variable for variable in TYPES if variable in used]


def _source(step: Elementwise, types: dict[str, tuple[str, ...]]) -> str:
    """Return the C++ functions of ``step``, one for each choice of types."""
    variables = _variables(step)
    choices = itertools.product(*[types[variable] for variable in variables])
    return "".join(_function(step, dict(zip(variables, c, strict=True))) for c in choices)


def _function(step: Elementwise, types: dict[str, str]) -> str:
    """Return one C++ function; errors in it are reported under the name of the step."""
    symbol, whole, each = _symbol(step, types), "", ""
    aliases = "".join(f"typedef {C_TYPES[types[t]]} {t}; " for t in types)
    for k, p in enumerate(parameters(step)):
        c_type = C_TYPES.get(p.type, p.type)
        const = "" if p.written else "const "
        if p.raw:
            data = f"{{({c_type}*)data[{k}], sizes[{k}], touched + {2 * k}}}"
            whole += f"const Raw<{const}{c_type}> {p.name} = {data};\n"
        else:  # a single number serves every element
            element = f"(({c_type}*)data[{k}])[sizes[{k}] == 1 ? 0 : i]"
            each += f"{const}{c_type}& {p.name} = {element};\n"
    return f"""
namespace {symbol}_types {{ {aliases}
#line 1 "{step.name}"
extern "C" void {symbol}(
    ptrdiff_t size, void** data, const ptrdiff_t* sizes, ptrdiff_t* touched) {{
(void)sizes, (void)touched;
{whole}
for (ptrdiff_t i = 0; i < size; ++i) {{
{each}
{step.body};
}}
}}
}}
"""
