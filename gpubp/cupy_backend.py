"""CuPy on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.arrays import Array, Memory, Step

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise


class CupyBackend:
    """CuPy on one CUDA device, which is the current device while this backend is in use."""

    def __init__(self, index: int, why: str = "asked for") -> None:
        import cupy

        self.name = f"cuda:{index}"
        self.why = why
        self._cupy = cupy
        self._device = cupy.cuda.Device(index)
        self._device.use()

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        return self._cupy.ascontiguousarray(self._cupy.asarray(values, dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        return self._cupy.asnumpy(array)  # type: ignore[no-any-return]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._cupy.empty(shape, dtype)  # CuPy aligns to 512 bytes

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._cupy.zeros(shape, dtype)

    def run(
        self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...], rows: int = 0
    ) -> None:
        outputs = out if isinstance(out, tuple) else (out,)
        step.kernel(*inputs, *outputs, **({"size": rows} if rows else {}))

    def gemm(
        self,
        A: Array,
        B: Array,
        *,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,
    ) -> None:
        A = A.swapaxes(-1, -2) if transpose_a else A
        B = B.swapaxes(-1, -2) if transpose_b else B
        self._cupy.matmul(A, B, out=out)
        if bias is not None:
            self._cupy.add(out, bias, out=out)

    def record(self, step: Step) -> Step:
        # cupy.matmul cannot be captured in a CUDA graph, so the step runs as it is written.
        return step

    def synchronize(self) -> None:
        self._device.synchronize()

    def memory(self) -> Memory:
        free, total = self._device.mem_info
        return Memory(total - free, free, total)

    @contextmanager
    def threads(self, count: int | None, work: int) -> Iterator[None]:
        yield
