"""The binding of cuBLAS: signatures and numbers against the real library, where it is installed."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from numpy._core import _multiarray_umath

from gpubp.kernels.cublas import library as cublas
from gpubp.kernels.cublas.library import (
    CublasError,
    GemmUnavailableError,
    check,
    declare,
    load_cublas,
)
from tests.cuda_stand_in.cublas import PROTOTYPES, STATUS_NAMES, HostCublas
from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.kernels.real_cublas import arguments_in_header, headers, kind_of, library

NUMBERS = {
    "CUBLAS_OP_N": cublas.OP_N,
    "CUBLAS_OP_T": cublas.OP_T,
    "CUBLAS_COMPUTE_32F": cublas.COMPUTE_32F,
    "CUBLAS_COMPUTE_64F": cublas.COMPUTE_64F,
    "CUBLAS_COMPUTE_32F_FAST_16BF": cublas.COMPUTE_32F_FAST_16BF,
    "CUBLAS_COMPUTE_32F_FAST_TF32": cublas.COMPUTE_32F_FAST_TF32,
    "CUBLAS_GEMM_DEFAULT": cublas.GEMM_DEFAULT,
    "CUBLAS_POINTER_MODE_HOST": cublas.POINTER_MODE_HOST,
}
NUMBERS_NOT_IN_CUPY = {
    "CUBLAS_ATOMICS_NOT_ALLOWED": cublas.ATOMICS_NOT_ALLOWED,
    "CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION": (
        cublas.MATH_DISALLOW_REDUCED_PRECISION_REDUCTION
    ),
    "CUDA_R_32F": cublas.R_32F,
    "CUDA_R_64F": cublas.R_64F,
    "CUDA_R_16BF": cublas.R_16BF,
}


def test_signatures_are_the_stand_ins() -> None:
    declared = {
        name: [kind_of(argument) for argument in arguments]
        for name, arguments in cublas.SIGNATURES.items()
        if name not in cublas.TEXTS
    }
    assert declared == {
        name: [kind_of(argument) for argument in arguments]
        for name, arguments in PROTOTYPES.items()
    }


@pytest.mark.parametrize("function", cublas.SIGNATURES)
def test_signature_is_the_headers(function: str) -> None:
    declared = [kind_of(argument) for argument in cublas.SIGNATURES[function]]
    assert declared == arguments_in_header(function)


@pytest.mark.parametrize("name", [*NUMBERS, *NUMBERS_NOT_IN_CUPY])
def test_number_is_the_headers(name: str) -> None:
    found = re.search(rf"\b{name}\s*=\s*(-?\d+)", headers())
    assert found is not None
    assert (NUMBERS | NUMBERS_NOT_IN_CUPY)[name] == int(found[1])


@pytest.mark.parametrize("name", NUMBERS)
def test_number_is_cupys(name: str) -> None:
    library()
    import cupy

    assert NUMBERS[name] == getattr(cupy.cuda.cublas, name)


def test_library_has_every_function_and_is_cupys() -> None:
    real = library()
    import cupy

    functions = [getattr(real, name) for name in cublas.SIGNATURES]
    assert all(ctypes.cast(function, ctypes.c_void_p).value for function in functions)
    version = ctypes.c_int()
    real.cublasGetProperty(0, ctypes.byref(version))
    assert version.value == cupy.cuda.runtime.runtimeGetVersion() // 1000
    assert real.cublasLtGetVersion() // 10000 == version.value


@pytest.mark.parametrize(("status", "name"), STATUS_NAMES.items())
def test_library_names_a_status(status: int, name: str) -> None:
    error = CublasError(library(), "cublasX", status)
    assert re.match(rf"cublasX returned {name} \({status}\): \w+", str(error))


def test_status_becomes_an_error_with_its_name() -> None:
    stand_in = declare(HostCublas())
    stand_in.failing["cublasCreate_v2"] = 3
    with pytest.raises(CublasError) as error:
        check(stand_in, "cublasCreate_v2", ctypes.byref(ctypes.c_void_p()))
    assert (error.value.function, error.value.status) == ("cublasCreate_v2", 3)
    assert str(error.value) == (
        "cublasCreate_v2 returned CUBLAS_STATUS_ALLOC_FAILED (3): CUBLAS_STATUS_ALLOC_FAILED; "
        "free device memory"
    )


def test_declare_sets_what_ctypes_would_guess_wrong() -> None:
    functions = {name: SimpleNamespace() for name in cublas.SIGNATURES}
    declare(SimpleNamespace(**functions))
    assert {name: f.argtypes for name, f in functions.items()} == cublas.SIGNATURES
    texts = {name for name, f in functions.items() if f.restype is ctypes.c_char_p}
    assert texts == {"cublasGetStatusName", "cublasGetStatusString"}
    assert all(f.restype is ctypes.c_int for name, f in functions.items() if name not in texts)


def test_declare_names_a_missing_function() -> None:
    stand_in = HostCublas()
    del stand_in.cublasSetMathMode
    with pytest.raises(AttributeError, match="cublasSetMathMode"):
        declare(stand_in)


@pytest.fixture
def fresh_load() -> Any:
    load_cublas.cache_clear()
    yield load_cublas
    load_cublas.cache_clear()


def test_without_cupy(fresh_load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(GemmUnavailableError, match=r"cupy.*pip install 'gpubp\[cuda12\]'"):
        fresh_load()


def install(monkeypatch: pytest.MonkeyPatch, module: str, **libraries: str) -> None:
    """Let CuPy's ``module`` and the libraries that pathfinder finds be these files."""
    cuda = SimpleNamespace(
        cublas=SimpleNamespace(__file__=module),
        runtime=SimpleNamespace(runtimeGetVersion=lambda: 13020),
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))

    def load(name: str) -> SimpleNamespace:
        if name not in libraries:
            raise RuntimeError(f'Failure finding "{name}"\n  listdir(...)')
        return SimpleNamespace(abs_path=libraries[name])

    pathfinder = SimpleNamespace(load_nvidia_dynamic_lib=load)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(pathfinder=pathfinder))


NOT_CUBLAS = _multiarray_umath.__file__


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"cublas": NOT_CUBLAS, "cublasLt": NOT_CUBLAS}, "cublasCreate_v2"),
        ({"cublas": "/nowhere/cublas.so", "cublasLt": NOT_CUBLAS}, "cannot open shared object"),
        ({"cublas": NOT_CUBLAS}, r'Failure finding "cublasLt"\);'),
    ],
    ids=["not cuBLAS", "no file", "not found"],
)
def test_unusable_library(
    fresh_load: Any, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], reason: str
) -> None:
    install(monkeypatch, NOT_CUBLAS, **files)
    with pytest.raises(GemmUnavailableError, match=reason):
        fresh_load()


def built(folder: Path, name: str, functions: Iterable[str], *linked: str, major: int = 13) -> str:
    """Compile a library whose ``functions`` do nothing; return its file."""
    skip_without_compiler()
    text = "".join(f'extern "C" int {f}() {{ return 0; }}\n' for f in functions)
    text += f'extern "C" int cublasGetProperty(int, int* v) {{ *v = {major}; return 0; }}\n'
    source, made = folder / f"{name}.cpp", folder / f"lib{name}.so"
    source.write_text(text if functions else "")
    link = [f"-L{folder}", *(f"-l{other}" for other in linked), f"-Wl,-rpath,{folder}"]
    command = ["g++", "-shared", "-fPIC", "-Wl,--no-as-needed", str(source), "-o", str(made)]
    subprocess.run([*command, *link], check=True)
    return str(made)


@pytest.mark.parametrize("dlsym_follows_links", [True, False], ids=["Linux", "Windows"])
@pytest.mark.parametrize("cupys_own", [True, False])
def test_library_is_the_one_that_cupy_loaded(
    fresh_load: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    dlsym_follows_links: bool,
    cupys_own: bool,
) -> None:
    functions = [name for name in cublas.SIGNATURES if not name.startswith("cublasLt")]
    (tmp_path / "other").mkdir()
    ours = built(tmp_path, "ours", functions, major=13 if cupys_own else 12)
    other = built(tmp_path / "other", "other", functions)
    lt = built(tmp_path, "lt", ["cublasLtGetVersion"])
    linked = ["ours"] if cupys_own else []
    module = built(tmp_path, "module", [], *linked) if dlsym_follows_links else lt
    if dlsym_follows_links and not cupys_own:
        module = other
    install(monkeypatch, module, cublas=ours, cublasLt=lt)
    if not cupys_own:
        with pytest.raises(GemmUnavailableError, match=r"libours.so' was found, but CuPy uses"):
            fresh_load()
        return
    library = fresh_load()
    assert library.cublasCreate_v2(ctypes.byref(ctypes.c_void_p())) == 0
    assert library.cublasLtGetVersion() == 0


@pytest.mark.parametrize(
    ("capability", "mebibytes"), [("75", 4), ("89", 4), ("90", 32), ("100", 32), ("120", 32)]
)
def test_workspace_bytes(capability: str, mebibytes: int) -> None:
    assert cublas.workspace_bytes(capability) == mebibytes * 1024 * 1024
