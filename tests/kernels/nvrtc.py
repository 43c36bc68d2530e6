"""The CUDA kernels as CuPy writes them, compiled by each NVRTC for each architecture.

No driver and no device are needed. It shows what CUDA's own compiler makes of a body: its errors
and warnings, registers, local memory, instructions. It does not show that the kernel is right.

    python -m tests.kernels.nvrtc  # compile all kernels, and write registers.json anew
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from gpubp.kernels.elementwise import Elementwise
from tests.cuda_stand_in.kernels import TYPES, all_steps, parameters
from tests.kernels.cuda_compilers import COMPILERS, Compiler

# Compute capability 7.5 is the oldest that NVRTC 13 compiles for; NVRTC 12.9 goes back to 5.0.
ARCHITECTURES = (75, 80, 90, 100, 120)
REGISTERS = Path(__file__).with_name("registers.json")
# A ceiling leaves this much above what is measured, for rewritings that change nothing else.
SLACK = 4


class Instance(NamedTuple):
    """A step in one choice of types: (adam, {"T": "float32"})."""

    step: Elementwise
    types: dict[str, str]

    @property
    def name(self) -> str:
        return "_".join([self.step.name, *self.types.values()])

    @property
    def dtypes(self) -> set[str]:
        """The dtypes of its parameters."""
        return {self.types.get(p.type, p.type) for p in parameters(self.step)}


@dataclass
class Compiled:
    """What NVRTC made of one instance.

    messages : errors and warnings. After an error there is nothing else.
    registers : of a thread.
    local_bytes : stack frame and spilled registers of a thread, which lie in device memory.
    instructions : of the PTX, "ld.global.v4.f32" say.
    """

    messages: list[str] = field(default_factory=list)
    registers: int | None = None
    local_bytes: int = 0
    instructions: list[str] = field(default_factory=list)


def instances(steps: Iterable[Elementwise]) -> list[Instance]:
    """Return ``steps``, each in every choice of its types."""
    found = []
    for step in steps:
        used = {p.type for p in parameters(step)}
        variables = [variable for variable in TYPES if variable in used]
        for choice in itertools.product(*[TYPES[variable] for variable in variables]):
            found.append(Instance(step, dict(zip(variables, choice, strict=True))))
    return found


def skip_without(compiler: Compiler) -> None:
    """Skip the test where CuPy or ``compiler`` is missing, unless GPUBP_REQUIRE_CUPY=1."""
    if reason := compiler.unavailable():
        reason += "; pip install -e '.[kernel-test]' compiles the kernels, and needs no GPU"
        if os.environ.get("GPUBP_REQUIRE_CUPY") == "1":
            raise RuntimeError(reason)
        pytest.skip(reason)


def compile_for(
    compiler: Compiler, architecture: int, given: list[Instance]
) -> dict[str, Compiled]:
    """Return what ``compiler`` makes of ``given``, by name.

    All are one program, since CuPy's headers take 0.4 s to read. Where one has an error, the
    others are compiled again without it.
    """
    from cupy._core import core

    headers = "".join(f"#include <{header}>\n" for header in core._cupy_header_list)
    source = headers + "".join(map(_source, given))
    built, log, ptx = compiler.compile(source, architecture)
    found = {instance.name: Compiled() for instance in given}
    for name, text in re.findall(r"^(\w*)\(\d+\): ((?:error|warning).*)$", log, re.MULTILINE):
        assert name in found, f"in CuPy's headers: {text}\n{log}"
        found[name].messages.append(text)
    if built:
        _read_ptxas(log, found)
        _read_ptx(ptx, found)
        return found
    broken = {name for name, made in found.items() if "error" in " ".join(made.messages)}
    assert broken, log
    rest = compile_for(compiler, architecture, [i for i in given if i.name not in broken])
    return {name: made if name in broken else rest[name] for name, made in found.items()}


def most_registers(made: Iterable[dict[str, Compiled]]) -> dict[str, int]:
    """Return the most registers of each instance; ``made`` has a table for each architecture."""
    most: dict[str, int] = {}
    for name, one in itertools.chain.from_iterable(table.items() for table in made):
        if one.registers:
            most[name] = max(most.get(name, 0), one.registers)
    return most


def _source(instance: Instance) -> str:
    """Return the CUDA source of ``instance``; errors in it are reported under its name.

    Arrays are contiguous and smaller than 2^31 elements, as those of a network mostly are. An
    input of a fixed type that is not raw is a number: a size, or a flag.

    CuPy's own compilation uses the same private names. The public way launches the kernel, which
    takes a device.
    """
    import cupy
    import numpy as np
    from cupy._core import _kernel
    from cupy._core._carray import Indexer
    from cupy._core._scalar import CScalar

    array, indexer, scalar = 1, 2, 3
    kernel, arguments = instance.step.kernel, []
    for p, declared in zip(kernel.params, parameters(instance.step), strict=False):
        dtype = np.dtype(instance.types.get(declared.type, declared.type))
        if declared.raw or declared.written or declared.type in TYPES:
            arguments.append(_kernel._ArgInfo(array, cupy.ndarray, dtype, 1, True, True))
        else:
            arguments.append(_kernel._ArgInfo(scalar, CScalar, dtype, 0, True, True))
        assert p.name == declared.name
    arguments.append(_kernel._ArgInfo(indexer, Indexer, None, 1, True, True))
    types = _kernel._TypeMap(tuple((v, np.dtype(name)) for v, name in instance.types.items()))
    code = _kernel._get_elementwise_kernel_code(
        tuple(arguments),
        types,
        kernel.params,
        kernel.operation,
        instance.name,
        kernel.preamble,
        **kernel.kwargs,
    )
    return f'\nnamespace {instance.name}_types {{\n#line 1 "{instance.name}"\n{code}\n}}\n'


def _read_ptxas(log: str, found: dict[str, Compiled]) -> None:
    """Fill in what ptxas says of each kernel; anything else that it warns of is an error."""
    for part in log.split("Compiling entry function '")[1:]:
        made = found[part.split("'")[0]]
        sizes = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", part)
        registers = re.search(r"Used (\d+) registers", part)
        assert registers, log
        assert len(sizes) == 3, log
        made.registers, made.local_bytes = int(registers[1]), max(map(int, sizes))
    missing = [name for name, made in found.items() if made.registers is None]
    assert not missing, f"ptxas says nothing of {missing}:\n{log}"
    warnings = [line for line in log.splitlines() if re.match(r"ptxas\W+(warning|error)", line)]
    assert not warnings, warnings


def _read_ptx(ptx: str, found: dict[str, Compiled]) -> None:
    """Fill in the instructions of each kernel."""
    for part in ptx.split(".entry ")[1:]:
        body = part.split("\n}")[0]
        name = re.match(r"\w+", part)
        assert name, part
        codes = re.findall(r"^\s*(?:@!?%\w+\s+)?([a-z][\w.:]*)", body, re.MULTILINE)
        found[name[0]].instructions = codes


def write_ceilings() -> None:
    """Write what the kernels take now, and SLACK above it, as their ceilings."""
    if reasons := [reason for compiler in COMPILERS if (reason := compiler.unavailable())]:
        raise SystemExit("; ".join(reasons))
    given = instances(all_steps().values())
    targets = itertools.product(COMPILERS, ARCHITECTURES)
    most = most_registers(compile_for(*target, given) for target in targets)
    ceilings = {name: registers + SLACK for name, registers in sorted(most.items())}
    versions = [compiler.version for compiler in COMPILERS]
    REGISTERS.write_text(json.dumps({"nvrtc": versions, "ceilings": ceilings}, indent=2) + "\n")


if __name__ == "__main__":
    write_ceilings()
