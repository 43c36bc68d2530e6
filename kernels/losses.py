"""Losses of classification, from logits: the value of each row and the output delta, in one step.

Each step goes over the rows of Z (n, n_outputs) and does, for row i,

    row_losses[i] += share[i] * loss(Z[i], Y[i])      (float64, summed up over an epoch)
    delta[i] = share[i] * d loss(Z[i], Y[i]) / d Z[i]

where ``share`` is the weight of the row in the batch loss: 1/n, or its sample weight divided by the
sum over the batch. Each -log p in the loss is clipped to [``low``, ``high``]; scikit-learn clips
the probabilities instead, with the same result. delta is not clipped.
"""

from __future__ import annotations

from typing import Any

from .activations import logistic
from .elementwise import Elementwise

_OUTPUTS = "float64 row_losses, raw T delta"


def _of_rows(np: Any, share: Any) -> Any:
    """Return ``share`` in a shape that scales rows: a scalar unchanged, (n,) as (n, 1)."""
    return share if np.ndim(share) == 0 else share[..., None]


def row_sums(np: Any, values: Any) -> Any:
    """Return the row sums (…, n) of ``values`` (…, n, k); with one column, a view of it."""
    if values.shape[-1] == 1:
        return values[..., 0]
    sums = np.empty(values.shape[:-1], values.dtype)
    np.sum(values, axis=-1, out=sums)
    return sums


def _accumulate(np: Any, value: Any, share: Any, row_losses: Any) -> None:
    np.multiply(value, share, out=value)
    np.add(row_losses, value, out=row_losses)


def _class_first(Z: Any) -> Any:
    """Return ``Z`` (…, n, C) as a view (C, …, n)."""
    return Z.transpose(Z.ndim - 1, *range(Z.ndim - 1))


def _below_top(np: Any, Z: Any, n_outputs: int) -> tuple[Any, Any]:
    """Return ``Z`` (…, n, C) minus the maximum of each row, as (C, …, n); and the maxima (…, n)."""
    # ``work`` has one row per class, because NumPy reduces over the first axis by whole rows: 8 us
    # at 512 x 10, against 39 us over the last axis (Zen 5, NumPy 2.4).
    rows = Z.shape[:-1]
    work, top = np.empty((n_outputs, *rows), Z.dtype), np.empty(rows, Z.dtype)
    np.copyto(work, _class_first(Z))
    np.max(work, axis=0, out=top)
    np.subtract(work, top, out=work)
    return work, top


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
    total, value, index = np.empty(rows, Z.dtype), np.empty(rows, Z.dtype), np.empty(rows, int)
    work, _ = _below_top(np, Z, n_outputs)
    flat = work.reshape(-1)
    np.multiply(y, value.size, out=index)
    np.add(index, np.arange(value.size).reshape(rows), out=index)  # the logit of a row's class
    np.take(flat, index, out=value, mode="clip")
    np.exp(work, out=work)
    np.sum(work, axis=0, out=total)
    np.divide(work, total, out=work)
    np.log(total, out=total)
    np.subtract(total, value, out=value)
    np.maximum(value, low, out=value)
    np.minimum(value, high, out=value)
    _accumulate(np, value, share, row_losses)
    np.take(flat, index, out=value, mode="clip")
    np.subtract(value, 1, out=value)
    np.put(flat, index, value)
    np.multiply(work, share, out=work)
    np.copyto(_class_first(delta), work)


def _log_losses(np: Any, Z: Any, Y: Any, low: float, high: float, scratch: Any) -> Any:
    """Return max(z, 0) - z y + log(1 + exp(-abs(z))) per entry, clipped; overwrite ``scratch``."""
    e, value = np.empty_like(Z), np.empty_like(Z)
    np.abs(Z, out=e)
    np.negative(e, out=e)
    np.exp(e, out=e)
    np.multiply(Z, Y, out=value)
    np.maximum(Z, np.zeros(Z.shape[-1:], Z.dtype), out=scratch)
    np.subtract(scratch, value, out=value)
    np.log1p(e, out=scratch)
    np.add(value, scratch, out=value)
    np.maximum(value, low, out=value)
    np.minimum(value, high, out=value)
    return value


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
    value = _log_losses(np, Z, Y, low, high, delta)
    _accumulate(np, row_sums(np, value), share, row_losses)
    logistic(np, Z, delta)
    np.subtract(delta, Y, out=delta)
    np.multiply(delta, _of_rows(np, share), out=delta)


def _label_weighted_cross_entropy(
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
    targets, weights = Y[..., :n_outputs], Y[..., n_outputs:]
    value = _log_losses(np, Z, targets, low, high, delta)
    np.multiply(value, weights, out=value)
    _accumulate(np, row_sums(np, value), share, row_losses)
    logistic(np, Z, delta)
    np.subtract(delta, targets, out=delta)
    np.multiply(delta, weights, out=delta)
    np.multiply(delta, _of_rows(np, share), out=delta)


def _softmax_cross_entropy_rows(
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
    rows, value = Z.shape[:-1], np.empty_like(Z)
    column, mass = np.empty((*rows, 1), Z.dtype), np.empty((*Y.shape[:-1], 1), Z.dtype)
    np.max(Z, axis=-1, keepdims=True, out=column)
    np.subtract(Z, column, out=value)
    np.exp(value, out=delta)
    np.sum(delta, axis=-1, keepdims=True, out=column)
    np.divide(delta, column, out=delta)
    np.log(column, out=column)
    # value = -log p of each class
    np.subtract(column, value, out=value)
    np.maximum(value, low, out=value)
    np.minimum(value, high, out=value)
    np.multiply(value, Y, out=value)
    _accumulate(np, row_sums(np, value), share, row_losses)
    # delta = p sum(y) - y
    np.sum(Y, axis=-1, keepdims=True, out=mass)
    np.multiply(delta, mass, out=delta)
    np.subtract(delta, Y, out=delta)
    np.multiply(delta, _of_rows(np, share), out=delta)


def _softmax(np: Any, Z: Any, n_outputs: int, log_total: Any, P: Any) -> None:
    total = np.empty(log_total.shape, Z.dtype)
    work, top = _below_top(np, Z, n_outputs)
    np.exp(work, out=work)
    np.sum(work, axis=0, out=total)
    np.log(total, out=log_total)
    np.add(log_total, top, out=log_total)
    np.divide(work, total, out=_class_first(P))


def _exps(kept: str) -> str:
    """Return the start of a body: ``kept`` = exp(Z - top) of row i, with their sum ``total``.

    The values are stored in the array ``kept``, because computing them twice takes longer. Their
    loop contains nothing else, so that a compiler vectorizes it. A loss reads Z again afterwards,
    so ``kept`` must not be Z.
    """
    return f"""
const ptrdiff_t row = (ptrdiff_t)i * n_outputs;
T top = Z[row];
for (int c = 1; c < n_outputs; ++c) {{ const T z = Z[row + c]; top = z > top ? z : top; }}
for (int c = 0; c < n_outputs; ++c) {kept}[row + c] = exp(Z[row + c] - top);
T total = T(0);
for (int c = 0; c < n_outputs; ++c) total += {kept}[row + c];
"""


SOFTMAX_CROSS_ENTROPY = Elementwise(
    name="softmax_cross_entropy",
    inputs="raw T Z, raw int32 y, int32 n_outputs, T share, T low, T high",
    outputs=_OUTPUTS,
    body=_exps("delta")
    + """
const ptrdiff_t target = row + y[i];
T value = log(total) - (Z[target] - top);
value = value < low ? low : (value > high ? high : value);
row_losses += (double)(share * value);
for (int c = 0; c < n_outputs; ++c) {
    const T p = delta[row + c] / total;
    delta[row + c] = (row + c == target ? p - T(1) : p) * share;
}
""",
    numpy=_softmax_cross_entropy,
    small=8192,
)

# -sum y log p, where a row y of Y is a distribution over the classes, such as a smoothed label.
SOFTMAX_CROSS_ENTROPY_ROWS = Elementwise(
    name="softmax_cross_entropy_rows",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share, T low, T high",
    outputs=_OUTPUTS,
    body=_exps("delta")
    + """
const T log_total = log(total);
T value = T(0), mass = T(0);
for (int c = 0; c < n_outputs; ++c) {
    const T y = Y[row + c], surprise = log_total - (Z[row + c] - top);
    value += y * (surprise < low ? low : (surprise > high ? high : surprise));
    mass += y;
}
row_losses += (double)(share * value);
for (int c = 0; c < n_outputs; ++c)
    delta[row + c] = (mass * (delta[row + c] / total) - Y[row + c]) * share;
""",
    numpy=_softmax_cross_entropy_rows,
    small=8192,
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

# SIGMOID_CROSS_ENTROPY with one weight per output: Y (n, 2 n_outputs) has the targets, then the
# weights.
LABEL_WEIGHTED_CROSS_ENTROPY = Elementwise(
    name="label_weighted_cross_entropy",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share, T low, T high",
    outputs=_OUTPUTS,
    body="""
const ptrdiff_t row = (ptrdiff_t)i * n_outputs, target = row + row;
T total = T(0);
for (int c = 0; c < n_outputs; ++c) {
    const T z = Z[row + c], y = Y[target + c], e = exp(-fabs(z));
    const T weight = Y[target + n_outputs + c];
    const T value = (z < T(0) ? T(0) : z) - z * y + log1p(e);
    total += (value < low ? low : (value > high ? high : value)) * weight;
    delta[row + c] = ((z < T(0) ? e : T(1)) / (T(1) + e) - y) * weight * share;
}
row_losses += (double)(share * total);
""",
    numpy=_label_weighted_cross_entropy,
)

# The probabilities of the classes, P = exp(Z) / sum exp(Z) per row; not a loss.
SOFTMAX = Elementwise(
    name="softmax",
    inputs="raw T Z, int32 n_outputs",
    outputs="T log_total, raw T P",
    body=_exps("P")
    + """
for (int c = 0; c < n_outputs; ++c) P[row + c] /= total;
log_total = log(total) + top;
""",
    numpy=_softmax,
)
