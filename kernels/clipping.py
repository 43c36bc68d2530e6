"""Gradient clipping: the norm of each gradient from partial sums, and the scaling to a maximum.

The gradients (…, size) of several networks lie one after the other; each has its own norm.
"""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise


def _squares(np: Any, grad: Any, size: int, n_sums: int, sums: Any) -> None:
    for k in range(n_sums):
        part = grad[..., k:size:n_sums]
        np.vecdot(part, part, out=sums[..., k])


# sums (…, n_sums): sum i of a network is over the squares of its grad[i], grad[i + n_sums], ...
SQUARES = Elementwise(
    name="squares",
    inputs="raw T grad, int64 size, int64 n_sums",
    outputs="T sums",
    body="""
const ptrdiff_t network = i / n_sums, past = (network + 1) * size;
T total = T(0);
for (ptrdiff_t k = network * size + i - network * n_sums; k < past; k += n_sums) {
    const T g = grad[k];
    total += g * g;
}
sums = total;
""",
    numpy=_squares,
)


def _fold(np: Any, parts: Any, size: int, n_sums: int, sums: Any) -> None:
    for k in range(n_sums):
        np.sum(parts[..., k:size:n_sums], axis=-1, out=sums[..., k])


# sums (…, n_sums): sum i of a network is its parts[i] + parts[i + n_sums] + ..., of ``size`` parts.
FOLD = Elementwise(
    name="fold",
    inputs="raw T parts, int64 size, int64 n_sums",
    outputs="T sums",
    body="""
const ptrdiff_t network = i / n_sums, past = (network + 1) * size;
T total = T(0);
for (ptrdiff_t k = network * size + i - network * n_sums; k < past; k += n_sums) total += parts[k];
sums = total;
""",
    numpy=_fold,
)


def _clip(np: Any, squared: Any, limits: Any, clips: Any, size: int, grad: Any) -> None:
    scale = np.empty(squared.shape, grad.dtype)
    np.sqrt(squared, out=scale)
    np.maximum(scale, limits, out=scale)
    np.divide(limits, scale, out=scale)
    np.power(scale, clips, out=scale)  # x ** 0 is 1, also for NaN
    np.multiply(grad, scale, out=grad)


_SCALE = """
const T norm = sqrt(squared[network]), limit = limits[network];
const T scale = norm <= limit || clips[network] == T(0) ? T(1) : limit / norm;
"""

# grad *= min(1, limit / norm), where squared (…, 1) is the squared norm of each gradient, and
# limits (…, 1) are finite: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent
# neural networks (2013), algorithm 1. clips (…, 1) is 0 for gradients that are left as they are.
CLIP = Elementwise(
    name="clip",
    inputs="raw T squared, raw T limits, raw T clips, int64 size",
    outputs="T grad",
    body=f"""
const ptrdiff_t network = i / size;
{_SCALE}
grad *= scale;
""",
    numpy=_clip,
    vectorizes=True,
).on_host(
    prologue=f"const ptrdiff_t network = first / size; {_SCALE}",
    body="grad *= scale",
)
