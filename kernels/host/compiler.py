"""Compiles steps for the host: the CUDA body of a step as C++, for this processor.

Compiled steps are kept in the user's cache folder, under a hash of everything that they depend on.
Each step is therefore compiled once per machine.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gpubp.settings import default_compiled

from ..elementwise import RUN, Elementwise
from .cache import Cache, cached, digest, one_at_a_time, open_cache, store
from .functions import FUNCTIONS
from .processes import output_of

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int32": "int",
    "int64": "long long",
    "uint64": "unsigned long long",
    "bool": "bool",
}
# Without contraction, a * b + c is rounded twice, as in NumPy. errno and floating-point traps are
# not used, and would prevent the vectorization of sqrt and comparisons.
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)
SECONDS = 120  # timeout of a compiler run
# Prefix of the names of temporary folders, and the age at which one is certainly unused.
_PREFIX, _STALE_SECONDS = "gpubp-compiled-", 3600


class CompilerError(RuntimeError):
    """There is no C++ compiler, or it failed."""


class CompilerKilledError(CompilerError):
    """The C++ compiler was ended by a signal; it may work the next time."""


class Parameter(NamedTuple):
    """One parameter of a step: "raw T Z" is (type="T", name="Z", raw=True).

    written : whether it is an output.
    """

    type: str
    name: str
    raw: bool
    written: bool


@cache
def parameters(step: Elementwise) -> tuple[Parameter, ...]:
    """Return the parameters of ``step``, inputs first."""
    found = []
    for text, written in ((step.inputs, False), (step.outputs, True)):
        for declaration in text.split(","):
            *raw, type_name, name = declaration.split()
            found.append(Parameter(type_name, name, raw == ["raw"], written))
    return tuple(found)


class Form(NamedTuple):
    """The variant of a step that is compiled.

    types : (variable, dtype name) of each type variable. single : for each parameter, whether it is
    one number for all elements. bias : whether a bias vector is added to each row of the first
    parameter. sums : whether the rows of the last parameter are summed. in_place : whether a raw
    input is the same array as an output.
    """

    types: tuple[tuple[str, str], ...]
    single: tuple[bool, ...]
    bias: bool = False
    sums: bool = False
    in_place: bool = False


def compiled(step: Elementwise, form: Form) -> Any:
    """Return the function that does ``step`` to a range of its elements.

    It takes two C arrays, then the first element and the end. The arrays are the addresses of all
    parameters in their order, then of the bias or of the sums; and the number of columns. With a
    bias or sums, the range is of whole rows; with sums, of all rows.

    Raises
    ------
    CompilerError
        If there is no compiler, or if it fails.
    """
    return _library(source(step, form)).gpubp_step


@cache
def replay_library() -> ctypes.CDLL:
    """Return the library that replays calls one after the other (``replay.h``)."""
    return _library(_text("replay"))


@cache
def pool_library() -> ctypes.CDLL:
    """Return the library that runs phases of tiles on a pool of workers (``pool.h``)."""
    return _library(_text("replay", "pool"), ("-pthread",))


@cache
def gemm_library(dtype: str) -> ctypes.CDLL:
    """Return the library of matrix products by tiles (``gemm.h``) for a dtype name.

    Its products round a * b + c once, by a fused multiply-add.
    """
    return _library(f"typedef {C_TYPES[dtype]} Scalar;\n{_text('gemm')}", ("-ffp-contract=fast",))


def compile_at_once(jobs: list[Callable[[], Any]]) -> None:
    """Call ``jobs``, which may start compilers, in as many threads as there are processors.

    Those for which no thread starts, as at the end of a program, are called one after the other.
    """
    started: list[Future[Any]] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for job in jobs:
            try:
                started.append(threads.submit(job))
            except RuntimeError:
                break
        for future in started:
            future.result()
    for job in jobs[len(started) :]:
        job()


def _text(*names: str) -> str:
    """Return the C++ sources of these names, each of which uses those before it."""
    return "\n".join(Path(__file__).with_name(f"{name}.h").read_text("utf-8") for name in names)


def source(step: Elementwise, form: Form) -> str:
    """Return the C++ source that `compiled` compiles.

    The body is a lambda, so that ``return`` ends it for one element, as on CUDA.
    """
    aliases = "".join(f"typedef {C_TYPES[dtype]} {name};\n" for name, dtype in form.types)
    whole, each, after = "", "", ""
    for k, (p, single) in enumerate(zip(parameters(step), form.single, strict=True)):
        c_type, const = C_TYPES.get(p.type, p.type), "" if p.written else "const "
        if p.raw:
            only = "" if p.written or form.in_place else "__restrict "
            whole += f"{const}{c_type}* {only}{p.name} = ({c_type}*)data[{k}];\n"
        elif form.bias and k == 0:
            whole += f"const {c_type}* {p.name}_ = ({c_type}*)data[{k}];\n"
            each += f"const {c_type} {p.name} = {p.name}_[i] + bias[i - start];\n"
        elif single:
            reference = "&" if p.written else ""
            whole += f"{const}{c_type} {reference}{p.name} = *({c_type}*)data[{k}];\n"
        else:
            whole += f"{c_type}* {p.name}_ = ({c_type}*)data[{k}];\n"
            each += f"{const}{c_type} &{p.name} = {p.name}_[i];\n"
    if form.bias:
        whole += f"const T* __restrict bias = (const T*)data[{len(form.single)}];\n"
    if form.sums:
        whole += f"T* __restrict row_sums = (T*)data[{len(form.single)}];\n"
        whole += "for (ptrdiff_t k = 0; k < columns; ++k) row_sums[k] = T(0);\n"
        last = parameters(step)[-1].name
        after = f"for (ptrdiff_t k = 0; k < columns; ++k) row_sums[k] += {last}_[start + k];\n"
    # The outer loop is over rows, over runs of elements with a prologue, or has one pass.
    by_rows = form.bias or form.sums
    length = "columns" if by_rows else str(RUN) if step.prologue else "(end - begin)"
    before = f"const ptrdiff_t first = start;\n{step.prologue}" if step.prologue else ""
    return f"""#include <math.h>
#include <cstddef>
{FUNCTIONS}{aliases}
extern "C" void gpubp_step(
    void* const* data, const ptrdiff_t* numbers, ptrdiff_t begin, ptrdiff_t end) {{
const ptrdiff_t columns = numbers[0];
(void)columns;
{whole}for (ptrdiff_t start = begin; start < end; start += {length}) {{
{before}{_RUN if step.prologue else _LOOP}for (ptrdiff_t i = start; i < start + {length}; ++i) {{
{each}[&] {{ {step.body}; }}();
}}
{after}}}
}}
"""


# Elements are independent of each other: arrays that overlap are identical.
_LOOP = """
#ifdef __clang__
#pragma clang loop vectorize(assume_safety)
#else
#pragma GCC ivdep
#endif
"""
# GCC would unroll a run of a short body, and then not vectorize it.
_RUN = f"{_LOOP}#ifndef __clang__\n#pragma GCC unroll 1\n#endif\n"


def _library(text: str, flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    if default_compiled() is False:
        raise CompilerError("GPUBP_COMPILED=0 forbids starting a compiler")
    command, (folder, reason) = _compiler(), open_cache()
    flags = (*FLAGS, *flags)
    key = "\n".join((*command, *flags, _version(command), _processor(), text))
    name = digest(key.encode())
    if folder is None:
        return _compiled(command, flags, text, Cache(None, reason), name)
    # Of several processes, one compiles and the others wait for it.
    if (kept := cached(folder, name)) is not None:
        return kept
    with one_at_a_time(folder, name):
        kept = cached(folder, name)
        return kept or _compiled(command, flags, text, Cache(folder), name)


def _compiled(
    command: tuple[str, ...], flags: tuple[str, ...], text: str, cache: Cache, name: str
) -> ctypes.CDLL:
    """Compile ``text``, store the library in the cache under ``name``, and load it."""
    try:
        _sweep()
        # Windows cannot delete a loaded library; `_sweep` deletes such folders later.
        place = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise CompilerError(f"there is no folder to compile in ({error})") from error
    with place:
        made = _build(command, flags, text, Path(place.name))
        stored = cache.folder and store(made, cache.folder, name)
        if stored is None:
            _note_not_kept(cache.reason or f"{cache.folder} cannot be written to")
        # Prefer the stored library. The temporary one stays usable after its file is deleted.
        for path in filter(None, (stored, made)):
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                problem = error
                path.unlink()
    raise CompilerError(f"the library that {shlex.join(command)} made cannot be loaded ({problem})")


@cache
def _note_not_kept(reason: str) -> None:
    """Log once per process why compiled steps are not kept for other processes."""
    logging.getLogger("gpubp").info("compiled steps are not kept: %s", reason)


def _sweep() -> None:
    """Delete folders that earlier processes could not delete while their library was loaded."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # the folder is gone, or belongs to another user
            if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _build(command: tuple[str, ...], flags: tuple[str, ...], text: str, place: Path) -> Path:
    """Compile ``text`` in the folder ``place``; return the path of the library."""
    whole, made = place / "step.cpp", place / "step.so"
    try:
        whole.write_text(text)
    except OSError as error:
        raise CompilerError(f"{whole} cannot be written ({error})") from error
    built = _run([*command, *flags, str(whole), "-o", str(made)])
    if built.returncode < 0 or "signal terminated" in built.stderr:
        raise CompilerKilledError(f"{shlex.join(command)} was killed")
    if built.returncode or not made.exists():
        told = built.stderr.strip()[-500:] or "there is no output file"
        raise CompilerError(f"{shlex.join(command)} does not compile for this processor: {told}")
    return made


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return output_of(command, SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"{command[0]} does not run ({error})") from error


@cache
def _compiler() -> tuple[str, ...]:
    """Return the command of the C++ compiler: $CXX, or the first compiler that is installed."""
    given = os.environ.get("CXX", "")
    try:
        chosen = shlex.split(given)
    except ValueError as error:
        raise CompilerError(f"CXX is {given!r}, which is not a command ({error})") from None
    if chosen:
        return tuple(chosen)
    for name in ("g++", "clang++", "c++"):
        if shutil.which(name):
            return (name,)
    raise CompilerError("there is no C++ compiler (g++, clang++ or c++)")


def compiler_version() -> str:
    """Return the first line of the compiler's --version; raise CompilerError if there is none."""
    if default_compiled() is False:
        raise CompilerError("GPUBP_COMPILED=0 forbids starting a compiler")
    return _version(_compiler()).partition("\n")[0]


@cache
def _version(command: tuple[str, ...]) -> str:
    return _run([*command, "--version"]).stdout


@cache
def _processor() -> str:
    """Return the properties that "-march=native" depends on.

    They are part of the hash, because several machines may share a cache folder.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU "))]
    return "\n".join(dict.fromkeys(told))
