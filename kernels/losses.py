"""Losses from logits: the value of each row and the output delta, in one step.

Each step goes over the rows of Z (n, n_outputs) and does, for row i,

    row_losses[i] += share[i] * loss(Z[i], Y[i])      (float64, summed up over an epoch)
    delta[i] = share[i] * d loss(Z[i], Y[i]) / d Z[i]

where ``share`` is the row's part of the batch loss: 1/n, or its sample weight over the batch's.
The classification losses report no row below ``low`` or above ``high``, as scikit-learn does
by clipping probabilities; delta is never clipped.
"""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise

_OUTPUTS = "float64 row_losses, raw T delta"


def _of_rows(np: Any, share: Any) -> Any:
    """``share`` shaped to scale rows: a scalar as it is, (n,) as (n, 1)."""
    return share if np.ndim(share) == 0 else share[..., None]


def _accumulate(np: Any, value: Any, share: Any, row_losses: Any) -> None:
    np.multiply(value, share, out=value)
    np.add(row_losses, value, out=row_losses)


def _softmax_cross_entropy(
    np: Any,
    Z: Any,
    y: Any,
    n_outputs: int,
    share: Any,
    low: float,
    high: float,
    row_losses: Any,
    delta: Any,
) -> None:
    rows = Z.shape[:-1]
    top, total = np.empty((*rows, 1), Z.dtype), np.empty((*rows, 1), Z.dtype)
    value, log_total = np.empty(rows, Z.dtype), np.empty(rows, Z.dtype)
    index, first = np.empty(rows, int), np.arange(0, Z.size, n_outputs).reshape(rows)
    flat = delta.reshape(-1)
    np.max(Z, axis=-1, keepdims=True, out=top)
    np.subtract(Z, top, out=delta)
    np.add(first, y, out=index)  # where the logit of each row's class lies
    np.take(flat, index, out=value, mode="clip")
    np.exp(delta, out=delta)
    np.sum(delta, axis=-1, keepdims=True, out=total)
    np.log(total[..., 0], out=log_total)
    np.subtract(log_total, value, out=value)
    np.maximum(value, low, out=value)
    np.minimum(value, high, out=value)
    _accumulate(np, value, share, row_losses)
    np.divide(delta, total, out=delta)
    np.take(flat, index, out=value, mode="clip")
    np.subtract(value, 1, out=value)
    np.put(flat, index, value)
    np.multiply(delta, _of_rows(np, share), out=delta)


def _sigmoid_cross_entropy(
    np: Any,
    Z: Any,
    Y: Any,
    n_outputs: int,
    share: Any,
    low: float,
    high: float,
    row_losses: Any,
    delta: Any,
) -> None:
    e, value = np.empty_like(Z), np.empty_like(Z)
    positive, row_value = np.empty(Z.shape, bool), np.empty(Z.shape[:-1], Z.dtype)
    np.abs(Z, out=e)
    np.negative(e, out=e)
    np.exp(e, out=e)
    # value = max(z, 0) - z y + log(1 + exp(-|z|))
    np.multiply(Z, Y, out=value)
    np.maximum(Z, np.zeros(Z.shape[-1:], Z.dtype), out=delta)
    np.subtract(delta, value, out=value)
    np.log1p(e, out=delta)
    np.add(value, delta, out=value)
    np.maximum(value, low, out=value)
    np.minimum(value, high, out=value)
    np.sum(value, axis=-1, out=row_value)
    _accumulate(np, row_value, share, row_losses)
    # p = (1 if z >= 0 else e) / (1 + e)
    np.greater_equal(Z, 0, out=positive)
    np.maximum(e, positive, out=delta)
    np.add(e, 1, out=e)
    np.divide(delta, e, out=delta)
    np.subtract(delta, Y, out=delta)
    np.multiply(delta, _of_rows(np, share), out=delta)


def _squared_error(
    np: Any, Z: Any, Y: Any, n_outputs: int, share: Any, row_losses: Any, delta: Any
) -> None:
    square, value = np.empty_like(Z), np.empty(Z.shape[:-1], Z.dtype)
    np.subtract(Z, Y, out=delta)
    np.multiply(delta, delta, out=square)
    np.sum(square, axis=-1, out=value)
    np.multiply(value, 0.5 / n_outputs, out=value)
    _accumulate(np, value, share, row_losses)
    np.multiply(delta, _of_rows(np, share), out=delta)
    if n_outputs > 1:
        np.divide(delta, n_outputs, out=delta)


def _softmax(np: Any, Z: Any, n_outputs: int, log_total: Any, P: Any) -> None:
    top, total = np.empty((*Z.shape[:-1], 1), Z.dtype), np.empty((*Z.shape[:-1], 1), Z.dtype)
    np.max(Z, axis=-1, keepdims=True, out=top)
    np.subtract(Z, top, out=P)
    np.exp(P, out=P)
    np.sum(P, axis=-1, keepdims=True, out=total)
    np.log(total[..., 0], out=log_total)
    np.add(log_total, top[..., 0], out=log_total)
    np.divide(P, total, out=P)


_TOP = """
const ptrdiff_t row = (ptrdiff_t)i * n_outputs;
T top = Z[row];
for (int c = 1; c < n_outputs; ++c) { const T z = Z[row + c]; top = z > top ? z : top; }
T total = T(0);
for (int c = 0; c < n_outputs; ++c) total += exp(Z[row + c] - top);
"""

SOFTMAX_CROSS_ENTROPY = Elementwise(
    name="softmax_cross_entropy",
    inputs="raw T Z, raw int32 y, int32 n_outputs, T share, T low, T high",
    outputs=_OUTPUTS,
    body=_TOP
    + """
const ptrdiff_t target = row + y[i];
T value = log(total) - (Z[target] - top);
value = value < low ? low : (value > high ? high : value);
row_losses += (double)(share * value);
for (int c = 0; c < n_outputs; ++c) {
    const T p = exp(Z[row + c] - top) / total;
    delta[row + c] = (row + c == target ? p - T(1) : p) * share;
}
""",
    numpy=_softmax_cross_entropy,
)

SIGMOID_CROSS_ENTROPY = Elementwise(
    name="sigmoid_cross_entropy",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share, T low, T high",
    outputs=_OUTPUTS,
    body="""
const ptrdiff_t row = (ptrdiff_t)i * n_outputs;
T total = T(0);
for (int c = 0; c < n_outputs; ++c) {
    const T z = Z[row + c], y = Y[row + c], e = exp(-fabs(z));
    const T value = (z < T(0) ? T(0) : z) - z * y + log1p(e);
    total += value < low ? low : (value > high ? high : value);
    delta[row + c] = ((z < T(0) ? e : T(1)) / (T(1) + e) - y) * share;
}
row_losses += (double)(share * total);
""",
    numpy=_sigmoid_cross_entropy,
)

# 1/2 the mean over the outputs of (z - y)^2, and its own gradient. scikit-learn reports the same
# value with n_outputs times this gradient (its issue 8349).
SQUARED_ERROR = Elementwise(
    name="squared_error",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share",
    outputs=_OUTPUTS,
    body="""
const ptrdiff_t row = (ptrdiff_t)i * n_outputs;
T total = T(0);
for (int c = 0; c < n_outputs; ++c) {
    const T difference = Z[row + c] - Y[row + c];
    total += difference * difference;
    delta[row + c] = difference * share / T(n_outputs);
}
row_losses += (double)(share * (T(0.5) / T(n_outputs) * total));
""",
    numpy=_squared_error,
)

# Not a loss but its way back to probabilities: P = exp(Z) / sum exp(Z) of each row.
SOFTMAX = Elementwise(
    name="softmax",
    inputs="raw T Z, int32 n_outputs",
    outputs="T log_total, raw T P",
    body=_TOP
    + """
for (int c = 0; c < n_outputs; ++c) P[row + c] = exp(Z[row + c] - top) / total;
log_total = log(total) + top;
""",
    numpy=_softmax,
)
