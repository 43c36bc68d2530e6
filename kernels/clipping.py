"""The norm of a gradient by partial sums, and the gradient shortened to a largest norm."""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise


def _squares(np: Any, grad: Any, size: int, n_sums: int, sums: Any) -> None:
    for k in range(n_sums):
        part = grad[k:size:n_sums]
        np.vecdot(part, part, out=sums[k, ...])


# sums (n_sums,): sum i sums the squares of every n_sums-th entry from i on.
SQUARES = Elementwise(
    name="squares",
    inputs="raw T grad, int64 size, int64 n_sums",
    outputs="T sums",
    body="""
T total = T(0);
for (ptrdiff_t k = i; k < size; k += n_sums) { const T g = grad[k]; total += g * g; }
sums = total;
""",
    numpy=_squares,
)


def _fold(np: Any, parts: Any, size: int, n_sums: int, sums: Any) -> None:
    for k in range(n_sums):
        np.sum(parts[k:size:n_sums], axis=0, out=sums[k, ...])


# sums (n_sums,): sum i sums every n_sums-th of ``parts`` from i on.
FOLD = Elementwise(
    name="fold",
    inputs="raw T parts, int64 size, int64 n_sums",
    outputs="T sums",
    body="""
T total = T(0);
for (ptrdiff_t k = i; k < size; k += n_sums) total += parts[k];
sums = total;
""",
    numpy=_fold,
)


def _clip(np: Any, squared: Any, limit: float, grad: Any) -> None:
    scale = np.empty((), grad.dtype)
    np.sqrt(squared[0, ...], out=scale)
    np.maximum(scale, limit, out=scale)
    np.divide(limit, scale, out=scale)
    np.multiply(grad, scale, out=grad)


# grad *= min(1, limit / norm), where squared[0] is the square of the norm; Pascanu, Mikolov and
# Bengio, On the difficulty of training recurrent neural networks (2013), algorithm 1.
CLIP = Elementwise(
    name="clip",
    inputs="raw T squared, T limit",
    outputs="T grad",
    body="const T norm = sqrt(squared[0]); grad *= norm <= limit ? T(1) : limit / norm",
    numpy=_clip,
    vectorizes=True,
)
