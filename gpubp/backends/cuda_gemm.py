"""Matrix products on CUDA by cuBLAS, with epilogues where cuBLASLt supports them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gpubp.backends.protocol import Array, Epilogues
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.kernels.cublas import library as cublas
from gpubp.kernels.cublas.epilogue_gemm import Epilogue, EpilogueGemm, mask_shape
from gpubp.kernels.cublas.gemm import Gemm, Precision

Count = Callable[[str], None]


class Products:
    """Matrix products on one stream, with their own cuBLAS handle and workspace."""

    def __init__(self, cupy: Any, stream: Any, capability: str, precision: Precision) -> None:
        self.stream = stream
        with stream:
            workspace = cupy.empty((cublas.workspace_bytes(capability),), "uint8")
        self.gemm = Gemm(stream, workspace, precision)
        self.fused: EpilogueGemm | None = None
        with suppress(AttributeError):  # a library without cuBLASLt
            self.fused = EpilogueGemm(self.gemm)

    def product(
        self, A: Array, B: Array, out: Array, *, bias: Array | None, beta: float, **transposed: bool
    ) -> bool:
        """Write A B + beta out into ``out``; return whether ``bias`` was added, too."""
        if self.fused and bias is not None and not beta:
            options: dict[str, Any] = {"epilogue": Epilogue.BIAS, "bias": bias, **transposed}
            if self.fused(A, B, out, **options):
                return True
        self.gemm(A, B, out, beta=beta, **transposed)
        return False


class CublasEpilogues(Epilogues):
    """The epilogues of cuBLASLt; a method returns False if it has none on this device.

    empty : function of (shape, dtype) that returns an array on the device.
    products : function that returns the `Products` of the current stream.
    count : function that counts a launch by its name.
    """

    def __init__(
        self,
        empty: Callable[[tuple[int, ...], Any], Array],
        products: Callable[[], Products],
        count: Count,
    ) -> None:
        self._empty, self._products, self._count = empty, products, count
        # Per layer with ReLU: the array for its mask, and whether `forward` has written it for
        # `delta_below`. The key is id(A); an entry is removed together with A.
        self._masks: dict[int, tuple[Array, bool]] = {}

    def forward(
        self,
        X: Array,
        W: Array,
        b: Array | None,
        activation: Any,
        Z: Array,
        A: Array,
        *,
        inference: bool,
    ) -> bool:
        if b is None:
            return False
        if activation is ACTIVATIONS["relu"] and Z is A:
            if inference:
                return self._fused(Epilogue.RELU_BIAS, X, W, A, bias=b)
            mask = self._mask(A)
            done = self._fused(Epilogue.RELU_AUX_BIAS, X, W, A, bias=b, mask=mask)
            self._masks[id(A)] = mask, done
            return done
        if activation is ACTIVATIONS["gelu"] and Z is not A:
            return self._fused(Epilogue.GELU_AUX_BIAS, X, W, A, bias=b, mask=Z)
        return False

    def weight_gradient(self, A: Array, delta: Array, dW: Array, db: Array) -> bool:
        return self._fused(Epilogue.BGRADA, A, delta, dW, bias=db, transpose_a=True)

    def delta_below(
        self,
        delta: Array,
        W: Array,
        activation: Any,
        kept: Array,
        out: Array,
        db: Array | None,
    ) -> bool:
        if db is None:
            return False
        options: dict[str, Any] = {"bias": db, "transpose_b": True}
        if activation is ACTIVATIONS["relu"]:
            mask, written = self._masks.get(id(kept), (None, False))
            return written and self._fused(
                Epilogue.DRELU_BGRAD, delta, W, out, mask=mask, **options
            )
        if activation is ACTIVATIONS["gelu"]:
            return self._fused(Epilogue.DGELU_BGRAD, delta, W, out, mask=kept, **options)
        return False

    def _mask(self, A: Array) -> Array:
        if id(A) not in self._masks:
            self._masks[id(A)] = self._empty(mask_shape(A.shape), "uint8"), False
            weakref.finalize(A, self._masks.pop, id(A)).atexit = False
        return self._masks[id(A)][0]

    def _fused(self, epilogue: Epilogue, A: Array, B: Array, out: Array, **options: Any) -> bool:
        fused = self._products().fused
        done = fused is not None and fused(A, B, out, epilogue=epilogue, **options)
        if done:
            self._count(f"gemm {epilogue.name}")
        return done
