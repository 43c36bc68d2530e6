"""The norm of a gradient, summed up in lanes, and the gradient shortened to a largest norm."""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise


def _squares(np: Any, grad: Any, size: int, lanes: int, sums: Any) -> None:
    for lane in range(lanes):
        part = grad[lane:size:lanes]
        np.vecdot(part, part, out=sums[lane, ...])


# sums (lanes,): lane i sums the squares of every lanes-th entry from i on.
SQUARES = Elementwise(
    name="squares",
    inputs="raw T grad, int64 size, int64 lanes",
    outputs="T sums",
    body="""
T total = T(0);
for (ptrdiff_t k = i; k < size; k += lanes) { const T g = grad[k]; total += g * g; }
sums = total;
""",
    numpy=_squares,
)


def _fold(np: Any, parts: Any, size: int, lanes: int, sums: Any) -> None:
    for lane in range(lanes):
        np.sum(parts[lane:size:lanes], axis=0, out=sums[lane, ...])


# sums (lanes,): lane i sums every lanes-th of ``parts`` from i on.
FOLD = Elementwise(
    name="fold",
    inputs="raw T parts, int64 size, int64 lanes",
    outputs="T sums",
    body="""
T total = T(0);
for (ptrdiff_t k = i; k < size; k += lanes) total += parts[k];
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
