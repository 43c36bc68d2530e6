"""Gradient clipping: the norm of the gradient from partial sums, and the scaling to a maximum."""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise


def _squares(np: Any, grad: Any, size: int, n_sums: int, sums: Any) -> None:
    for k in range(n_sums):
        part = grad[k:size:n_sums]
        np.vecdot(part, part, out=sums[k, ...])


# sums (n_sums,): sums[i] is the sum of the squares of grad[i], grad[i + n_sums], ... below size.
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


# sums (n_sums,): sums[i] is parts[i] + parts[i + n_sums] + ... below size.
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


# grad *= min(1, limit / norm), where squared[0] is norm^2: Pascanu, Mikolov and Bengio, On the
# difficulty of training recurrent neural networks (2013), algorithm 1.
CLIP = Elementwise(
    name="clip",
    inputs="raw T squared, T limit",
    outputs="T grad",
    body="const T norm = sqrt(squared[0]); grad *= norm <= limit ? T(1) : limit / norm",
    numpy=_clip,
    vectorizes=True,
)
