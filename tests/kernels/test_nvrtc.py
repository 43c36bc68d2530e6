"""Every CUDA kernel compiles for every architecture, by CUDA's own compilers and without a GPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gpubp.kernels.elementwise import Elementwise
from tests.cuda_stand_in.kernels import all_steps
from tests.kernels.cuda_compilers import COMPILERS, Compiler
from tests.kernels.nvrtc import (
    ARCHITECTURES,
    REGISTERS,
    SLACK,
    Compiled,
    Instance,
    compile_for,
    instances,
    most_registers,
    skip_without,
)

INSTANCES = instances(all_steps().values())
each_architecture = pytest.mark.parametrize(
    "architecture", ARCHITECTURES, ids=[f"sm_{number}" for number in ARCHITECTURES]
)


@pytest.fixture(scope="module", params=COMPILERS, ids=str)
def compiler(request: pytest.FixtureRequest) -> Compiler:
    skip_without(request.param)
    return request.param  # type: ignore[no-any-return]


@cache
def compiled(compiler: Compiler, architecture: int) -> dict[str, Compiled]:
    return compile_for(compiler, architecture, INSTANCES)


# ---- what is asked of a kernel ---------------------------------------------------------------

Find = Callable[[Instance, Compiled], list[str]]


def check(find: Find, compiler: Compiler, architecture: int) -> None:
    """Fail with what ``find`` has against the kernels, a line each."""
    made = compiled(compiler, architecture)
    against = {i.name: find(i, made[i.name]) for i in INSTANCES}
    lines = [f"{name}: {'; '.join(problems)}" for name, problems in against.items() if problems]
    assert not lines, "\n".join([f"{compiler}, for sm_{architecture}", *lines])


def messages(instance: Instance, made: Compiled) -> list[str]:
    return made.messages


def local_memory(instance: Instance, made: Compiled) -> list[str]:
    """Return how much does not fit into registers, if anything.

    The reason is an array indexed by a variable, more values than registers, or a function of
    CUDA with a slow path, as sin has (no kernel calls one).
    """
    return [f"{made.local_bytes} bytes of local memory"] if made.local_bytes else []


def doubles(instance: Instance, made: Compiled) -> list[str]:
    """Return the double-precision instructions that a kernel in float32 must not have.

    One with a float64 parameter may widen a value, scale it and add it up: an addition for each
    value. It may move doubles as well. For sm_100 and later, NVRTC widens the float32 sum of
    `penalty` inside the branch that has weights, and moves 0.0 in the other; NVRTC 12.9 calls this
    mov.f64, and NVRTC 13.5 mov.b64.
    """
    if "float64" in instance.types.values():
        return []
    codes = [code for code in made.instructions if ".f64" in code]
    if "float64" not in instance.dtypes:
        return sorted(set(codes))
    widened = [code for code in codes if re.fullmatch(r"cvt(\.ftz)?\.f64\.f32", code)]
    added = [code for code in codes if re.match(r"(add|fma)\.", code)]
    moved = [code for code in codes if re.match(r"(ld|st|mov)\.", code)]
    if len(added) > len(widened):
        return [f"{len(added)} additions of {len(widened)} widened values"]
    return sorted(set(codes) - {*widened, *added, *moved})


def narrow_stores(instance: Instance, made: Compiled) -> list[str]:
    """Return the stores of single elements in a kernel that has several elements a thread."""
    stores = {code for code in made.instructions if code.startswith("st.global")}
    wide = {code for code in stores if ".v2." in code or ".v4." in code}
    if instance.step.per_thread == 1 or not made.instructions:
        return []
    return sorted(stores - wide) if wide else ["no store of several elements"]


def over_ceiling(most: dict[str, int], ceilings: dict[str, int]) -> list[str]:
    """Return the kernels with more registers than they may have, or with no ceiling yet."""
    new = [f'add "{name}": {most[name] + SLACK},' for name in most if name not in ceilings]
    return new + [
        f"{name}: {registers} registers, over its {ceilings[name]}"
        for name, registers in most.items()
        if registers > ceilings.get(name, registers)
    ]


# ---- all kernels -----------------------------------------------------------------------------


@each_architecture
def test_kernels_compile_without_a_warning(compiler: Compiler, architecture: int) -> None:
    assert len(INSTANCES) > 40
    check(messages, compiler, architecture)


@each_architecture
def test_kernels_use_no_local_memory(compiler: Compiler, architecture: int) -> None:
    check(local_memory, compiler, architecture)


@each_architecture
def test_float32_kernels_compute_in_float32(compiler: Compiler, architecture: int) -> None:
    check(doubles, compiler, architecture)


@each_architecture
def test_kernels_of_several_elements_a_thread_store_them_at_once(
    compiler: Compiler, architecture: int
) -> None:
    check(narrow_stores, compiler, architecture)


def recorded() -> dict[str, Any]:
    return json.loads(REGISTERS.read_text())  # type: ignore[no-any-return]


def test_registers_stay_under_their_ceilings(compiler: Compiler) -> None:
    most = most_registers(compiled(compiler, architecture) for architecture in ARCHITECTURES)
    problems = over_ceiling(most, recorded()["ceilings"])
    advice = f"where that is meant, `python -m tests.kernels.nvrtc` writes {REGISTERS.name} anew"
    assert not problems, "\n".join([*problems, advice])


def test_the_ceilings_are_those_of_these_compilers() -> None:
    versions = [compiler.version for compiler in COMPILERS]
    assert recorded()["nvrtc"] == versions, "run tests/kernels/nvrtc.py, and look at what changes"


def test_every_ceiling_belongs_to_a_kernel() -> None:
    left = set(recorded()["ceilings"]) - {instance.name for instance in INSTANCES}
    assert not left, f"`python -m tests.kernels.nvrtc` writes {REGISTERS.name} anew, without these"


# ---- planted faults --------------------------------------------------------------------------

LOCAL_ARRAY = """
T many[64] = {};
for (int k = 0; k < 64; ++k) many[(int)(z * T(k)) & 63] += z;
a = many[(int)z & 63]
"""
DOUBLE_ACCUMULATOR = """
double total = 0;
for (int k = 0; k < (int)z; ++k) total += z;
a = z;
sums += total
"""
TOO_MANY_VALUES = """
T many[260];
#pragma unroll
for (int k = 0; k < 260; ++k) many[k] = exp(z * T(k));
__syncthreads();
T total = T(0);
#pragma unroll
for (int k = 0; k < 260; ++k) total = total * many[k] + many[259 - k];
a = total
"""
# Who finds it, and the body: T a from T z, and float64 sums to add to.
PLANTED: dict[str, tuple[Find, str]] = {
    "a syntax error": (messages, "a = z +"),
    "an unknown name": (messages, "a = relu(z)"),
    "an unused variable": (messages, "int unused; a = z"),
    "a bare literal": (doubles, "a = 0.1 * z"),
    "a double function": (doubles, "a = T(exp((double)z))"),
    "a double accumulator": (doubles, DOUBLE_ACCUMULATOR),
    "a sum of doubles": (doubles, "a = z; sums += sqrt((double)z)"),
    "an array": (local_memory, LOCAL_ARRAY),
    "too many values": (local_memory, TOO_MANY_VALUES),
}
SOUND = "a = T(0.1) * exp(z); sums += (double)a"


@cache
def planted(compiler: Compiler, architecture: int) -> list[tuple[Instance, Compiled]]:
    """Return the bodies of PLANTED, and the sound one, in float32, compiled as one program."""
    bodies = [*(body for _, body in PLANTED.values()), SOUND]
    steps = [
        Elementwise(f"planted_{k}", "T z", "T a, float64 sums", body, lambda np, *arrays: None)
        for k, body in enumerate(bodies)
    ]
    given = [Instance(step, {"T": "float32"}) for step in steps]
    made = compile_for(compiler, architecture, given)
    return [(instance, made[instance.name]) for instance in given]


def finders(instance: Instance, made: Compiled) -> list[Find]:
    return [find for find in (messages, local_memory, doubles) if find(instance, made)]


@each_architecture
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, compiler: Compiler, architecture: int) -> None:
    found = finders(*planted(compiler, architecture)[list(PLANTED).index(fault)])
    assert found == [PLANTED[fault][0]]


@each_architecture
def test_a_sound_kernel_beside_them_passes(compiler: Compiler, architecture: int) -> None:
    instance, made = planted(compiler, architecture)[-1]
    assert made.registers
    assert any(".f64" in code for code in made.instructions)
    assert not finders(instance, made)


@each_architecture
def test_a_planted_narrow_store_is_found(compiler: Compiler, architecture: int) -> None:
    instance, made = planted(compiler, architecture)[-1]
    several = Instance(replace(instance.step, per_thread=4), instance.types)
    assert narrow_stores(several, made) == ["no store of several elements"]
    mixed = replace(made, instructions=["st.global.v4.f32", "st.global.f32"])
    assert narrow_stores(several, mixed) == ["st.global.f32"]


def test_a_planted_rise_in_registers_is_found() -> None:
    problems = over_ceiling({"a": 19, "b": 20, "new": 30}, {"a": 18, "b": 20})
    assert problems == ['add "new": 34,', "a: 19 registers, over its 18"]


# ---- the compilers ---------------------------------------------------------------------------


def version_in_cupy(first: str) -> str:
    """Return the version of CuPy's NVRTC in a new process that runs the statement ``first``."""
    asked = f"{first}; from cupy_backends.cuda.libs.nvrtc import getVersion; print(getVersion())"
    command = [sys.executable, "-c", f"from tests.kernels.cuda_compilers import COMPILERS; {asked}"]
    root = Path(__file__).parents[2]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def test_cupy_keeps_its_own_nvrtc(compiler: Compiler) -> None:
    loaded = version_in_cupy(f"COMPILERS[{COMPILERS.index(compiler)}].library")
    assert loaded == version_in_cupy("pass")


def test_another_version_is_unavailable(compiler: Compiler) -> None:
    other = replace(compiler, version=f"{compiler.version}9")
    assert f"not {other.version}" in other.unavailable()


def test_a_missing_package_is_unavailable() -> None:
    assert "no-such-package" in Compiler("1.0", "no-such-package", "none").unavailable()
