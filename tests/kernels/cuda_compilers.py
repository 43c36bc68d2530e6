"""The releases of NVRTC that compile the kernels in tests, loaded from pip packages by ctypes.

The wheels of CuPy for CUDA 12 and for CUDA 13 exclude each other, but those of NVRTC do not. So one
CuPy writes the sources, and each NVRTC compiles them with the headers of its own CUDA release.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

_SUCCESS, _COMPILATION_ERROR = 0, 6


@dataclass(frozen=True)
class Compiler:
    """One release of NVRTC; another may take other registers and instructions.

    version : major and minor, "13.5".
    nvrtc, headers : the pip packages of the library and of the CUDA headers.
    """

    version: str
    nvrtc: str
    headers: str

    def __str__(self) -> str:
        return f"nvrtc {self.version}"

    def unavailable(self) -> str:
        """Return why nothing can be compiled with it here, or ""."""
        try:
            _ = self.library, self.include
        except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: CuPy finds no NVRTC
            return f"{self} cannot be used ({str(error).splitlines()[0]})"
        return ""

    @cached_property
    def library(self) -> ctypes.CDLL:
        """The library, next to the one that CuPy uses."""
        path = self._installed(self.nvrtc, f"libnvrtc.so.{self.version.split('.')[0]}")
        # CuPy takes any NVRTC that the process has loaded before, so its own one goes first.
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
        return ctypes.CDLL(str(path))

    @cached_property
    def include(self) -> Path:
        """The folder of the CUDA headers."""
        return self._installed(self.headers, "cuda_fp16.h").parent

    def compile(self, source: str, architecture: int) -> tuple[bool, str, str]:
        """Return whether ``source`` compiles with CuPy's options, the log, and the PTX."""
        given = [option.encode() for option in self._options(architecture)]
        options = (ctypes.c_char_p * len(given))(*given)
        program = ctypes.c_void_p()
        start = ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
        self._call("CreateProgram", *start)
        try:
            built = self._call("CompileProgram", program, len(given), options) == _SUCCESS
            log = self._text("ProgramLog", program)
            return built, log, self._text("PTX", program) if built else ""
        finally:
            self._call("DestroyProgram", ctypes.byref(program))

    def _options(self, architecture: int) -> list[str]:
        """Return CuPy's options for an elementwise kernel, with the headers of this CUDA.

        From a private name of CuPy: to launch a kernel is the only public way to its options, and
        takes a device.
        """
        import cupy
        from cupy._core import core

        own = f"-I{Path(cupy.__file__).parent}"
        options = core.assemble_cupy_compiler_options(())
        return [
            *(o for o in options if o.startswith(own) or not o.startswith("-I")),
            *(f"-I{self.include}", "-ftz=true", "--device-as-default-execution-space"),
            *(f"-arch=sm_{architecture}", "--ptxas-options=-v"),
        ]

    def _installed(self, package: str, name: str) -> Path:
        """Return the path of the file ``name`` in ``package``.

        Raises ImportError if the package is missing or of another version.
        """
        distribution = metadata.distribution(package)
        if not distribution.version.startswith(f"{self.version}."):
            raise ImportError(f"{package} is {distribution.version}, not {self.version}")
        for file in distribution.files or ():
            if file.name == name:
                return Path(str(file.locate()))
        raise ImportError(f"{package} {distribution.version} has no {name}")

    def _call(self, function: str, *arguments: object) -> int:
        """Return the result of an NVRTC function: success, or an error in the source."""
        result = getattr(self.library, f"nvrtc{function}")(*arguments)
        assert result in (_SUCCESS, _COMPILATION_ERROR), f"nvrtc{function} returned {result}"
        return int(result)

    def _text(self, what: str, program: ctypes.c_void_p) -> str:
        """Return the "ProgramLog" or the "PTX" of ``program``."""
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, text)
        return text.value.decode()


# The last release of CUDA 12, for the extra `cuda12`, and one of CUDA 13, for `cuda13`.
COMPILERS = (
    Compiler("12.9", "nvidia-cuda-nvrtc-cu12", "nvidia-cuda-runtime-cu12"),
    Compiler("13.5", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime"),
)
