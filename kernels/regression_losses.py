"""Losses of regression, from logits: the value of each row and the output delta, in one step.

The steps update ``row_losses`` and ``delta`` as those of `losses` do. All losses except Poisson are
means over the outputs, and delta is the gradient of this mean.
"""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise
from .losses import row_sums

_OUTPUTS = "float64 row_losses, raw T delta"


def _reduce(
    np: Any,
    value: Any,
    slope: Any,
    share: Any,
    row_losses: Any,
    delta: Any,
    *,
    outputs: int,
    scale: float = 1.0,
) -> None:
    """Add the row sums of ``value`` (…, n, k) to ``row_losses``, and write ``slope`` to ``delta``.

    Both are multiplied by ``share`` and divided by ``outputs``. scale : further factor of the sums.
    """
    row_value = row_sums(np, value)
    if scale != outputs:
        np.multiply(row_value, scale / outputs, out=row_value)
    np.multiply(row_value, share, out=row_value)
    np.add(row_losses, row_value, out=row_losses)
    np.multiply(slope, share if np.ndim(share) == 0 else share[..., None], out=delta)
    if outputs > 1:
        np.divide(delta, outputs, out=delta)


def _squared_error(
    np: Any, Z: Any, Y: Any, n_outputs: int, share: Any, row_losses: Any, delta: Any
) -> None:
    value = np.empty_like(Z)
    np.subtract(Z, Y, out=delta)
    # Divided before the sum, because in float32 the sum may overflow although the mean does not.
    np.multiply(delta, 0.5 / n_outputs, out=value)
    np.multiply(value, delta, out=value)
    _reduce(np, value, delta, share, row_losses, delta, outputs=n_outputs, scale=n_outputs)


def _pinball(
    np: Any,
    Z: Any,
    Y: Any,
    n_outputs: int,
    share: Any,
    n_targets: int,
    first: int,
    under: float,
    over: float,
    row_losses: Any,
    delta: Any,
) -> None:
    columns, zeros = slice(first, first + n_targets), np.zeros((n_targets,), Z.dtype)
    z = Z[..., columns]
    value, slope, above = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    np.subtract(z, Y, out=value)
    np.sign(value, out=slope)
    np.maximum(slope, zeros, out=above)
    np.multiply(above, over, out=above)
    np.minimum(slope, zeros, out=slope)
    np.multiply(slope, under, out=slope)
    np.add(slope, above, out=slope)
    np.multiply(value, slope, out=value)
    _reduce(np, value, slope, share, row_losses, delta[..., columns], outputs=n_outputs)


def _huber(
    np: Any, Z: Any, Y: Any, n_outputs: int, share: Any, bend: float, row_losses: Any, delta: Any
) -> None:
    value, slope, half = np.empty_like(Z), np.empty_like(Z), np.empty_like(Z)
    np.subtract(Z, Y, out=value)
    np.minimum(value, bend, out=slope)
    np.maximum(slope, -bend, out=slope)
    np.multiply(slope, 0.5, out=half)
    np.subtract(value, half, out=value)
    np.multiply(value, slope, out=value)
    _reduce(np, value, slope, share, row_losses, delta, outputs=n_outputs)


def _poisson(
    np: Any, Z: Any, Y: Any, n_outputs: int, share: Any, row_losses: Any, delta: Any
) -> None:
    value, slope, counted = np.empty_like(Z), np.empty_like(Z), np.empty(Z.shape, bool)
    excess = np.zeros(Z.shape, Z.dtype)
    np.exp(Z, out=value)
    np.subtract(value, Y, out=slope)
    # For y != 0: y (exp(excess) - 1 - excess), with excess = log(prediction / y).
    np.not_equal(Y, 0, out=counted)
    np.log(Y, out=excess, where=counted)
    np.subtract(Z, excess, out=excess, where=counted)
    np.expm1(excess, out=value, where=counted)
    np.subtract(value, excess, out=value, where=counted)
    np.multiply(value, Y, out=value, where=counted)
    _reduce(np, value, slope, share, row_losses, delta, outputs=1)


# Half the mean over the outputs of (z - y)^2, and its gradient. scikit-learn has the same value,
# but n_outputs times this gradient (its issue 8349).
SQUARED_ERROR = Elementwise(
    name="squared_error",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share",
    outputs=_OUTPUTS,
    body="""
const ptrdiff_t row = (ptrdiff_t)i * n_outputs;
const T half = T(0.5) / T(n_outputs);
T total = T(0);
for (int c = 0; c < n_outputs; ++c) {
    const T difference = Z[row + c] - Y[row + c];
    total += half * difference * difference;
    delta[row + c] = difference * share / T(n_outputs);
}
row_losses += (double)(share * total);
""",
    numpy=_squared_error,
)

# The mean over the outputs of under (y - z) for z < y and over (z - y) for z > y, with slope 0 at
# z = y. This is the quantile loss of Koenker and Bassett (1978), or |z - y| if under = over = 1.
# A launch computes the n_targets outputs from ``first`` on, for the targets Y (n, n_targets).
PINBALL = Elementwise(
    name="pinball",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share, int32 n_targets, int32 first, "
    "T under, T over",
    outputs=_OUTPUTS,
    body="""
const ptrdiff_t row = (ptrdiff_t)i * n_outputs + first, target = (ptrdiff_t)i * n_targets;
const T part = share / T(n_outputs);
T total = T(0);
for (int c = 0; c < n_targets; ++c) {
    const T difference = Z[row + c] - Y[target + c];
    // NaN stays.
    const T slope = difference > T(0) ? over : (difference < T(0) ? -under : difference);
    total += slope * difference;
    delta[row + c] = slope * part;
}
row_losses += (double)(part * total);
""",
    numpy=_pinball,
)

# The mean over the outputs of 1/2 (z - y)^2 for |z - y| up to ``bend``, and of the tangent
# bend (|z - y| - bend / 2) above: Huber (1964). It is computed as c (z - y - c / 2), where c is
# z - y clipped to [-bend, bend].
HUBER = Elementwise(
    name="huber",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share, T bend",
    outputs=_OUTPUTS,
    body="""
const ptrdiff_t row = (ptrdiff_t)i * n_outputs;
const T part = share / T(n_outputs);
T total = T(0);
for (int c = 0; c < n_outputs; ++c) {
    const T difference = Z[row + c] - Y[row + c];
    const T slope = difference > bend ? bend : (difference < -bend ? -bend : difference);
    total += slope * (difference - T(0.5) * slope);
    delta[row + c] = slope * part;
}
row_losses += (double)(part * total);
""",
    numpy=_huber,
)

# Half the Poisson deviance of y from exp(z), as in scikit-learn: the sum (not the mean) over the
# outputs of y log(y / exp(z)) - y + exp(z). With excess = z - log(y), there is no cancellation for
# large counts that are predicted nearly exactly.
POISSON = Elementwise(
    name="poisson",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share",
    outputs=_OUTPUTS,
    body="""
const ptrdiff_t row = (ptrdiff_t)i * n_outputs;
T total = T(0);
for (int c = 0; c < n_outputs; ++c) {
    const T z = Z[row + c], y = Y[row + c], mean = exp(z), excess = z - log(y);
    total += y == T(0) ? mean : y * (expm1(excess) - excess);
    delta[row + c] = (mean - y) * share;
}
row_losses += (double)(share * total);
""",
    numpy=_poisson,
)
