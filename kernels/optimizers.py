"""Optimizer updates, each one step over the flat parameter vector; see `updates`.

Next to them: the reported penalty, the step counter, and sums of gradients.
"""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise
from .gather import planned
from .updates import DECAY, update_step


def _momentum(
    np: Any, numbers: Any, g: Any, work: Any, decaying: slice, theta: Any, velocity: Any
) -> None:
    rate, momentum = numbers
    np.multiply(g, rate, out=g)
    np.multiply(velocity, momentum, out=velocity)
    np.subtract(velocity, g, out=velocity)
    np.add(theta, velocity, out=theta)


def _nesterov(
    np: Any, numbers: Any, g: Any, work: Any, decaying: slice, theta: Any, velocity: Any
) -> None:
    rate, momentum = numbers
    np.multiply(g, rate, out=g)
    np.multiply(velocity, momentum, out=velocity)
    np.subtract(velocity, g, out=velocity)
    np.multiply(velocity, momentum, out=work)
    np.subtract(work, g, out=work)
    np.add(theta, work, out=theta)


def _adam_step(np: Any, numbers: Any, g: Any, work: Any, m: Any, v: Any) -> None:
    """Update m and v, and write the decrease of theta into ``work``."""
    rate, beta_1, beta_2, epsilon = numbers
    np.multiply(m, beta_1, out=m)
    np.add(m, g, out=m)
    np.multiply(g, g, out=g)
    np.multiply(v, beta_2, out=v)
    np.add(v, g, out=v)
    np.sqrt(v, out=work)
    np.add(work, epsilon, out=work)
    np.divide(m, work, out=work)
    np.multiply(work, rate, out=work)


def _adam(
    np: Any, numbers: Any, g: Any, work: Any, decaying: slice, theta: Any, m: Any, v: Any
) -> None:
    _adam_step(np, numbers, g, work, m, v)
    np.subtract(theta, work, out=theta)


def _adamw(
    np: Any, numbers: Any, g: Any, work: Any, decaying: slice, theta: Any, m: Any, v: Any
) -> None:
    *of_adam, decay_rate = numbers
    _adam_step(np, of_adam, g, work, m, v)
    if decaying.stop:
        np.multiply(theta[..., decaying], decay_rate, out=g[..., decaying])
        np.add(work[..., decaying], g[..., decaying], out=work[..., decaying])
    np.subtract(theta, work, out=theta)


def _lion(np: Any, numbers: Any, g: Any, work: Any, decaying: slice, theta: Any, m: Any) -> None:
    rate, mix, beta_2, decay_rate = numbers
    np.multiply(m, mix, out=work)
    np.add(work, g, out=work)
    np.sign(work, out=work)
    np.multiply(work, rate, out=work)
    np.multiply(m, beta_2, out=m)
    np.add(m, g, out=m)
    if decaying.stop:
        np.multiply(theta[..., decaying], decay_rate, out=g[..., decaying])
        np.add(work[..., decaying], g[..., decaying], out=work[..., decaying])
    np.subtract(theta, work, out=theta)


def _add(xp: Any, a: Any, b: Any, total: Any) -> None:
    xp.add(a, b, out=total)


def _advance(np: Any, by: int, step: Any) -> None:
    np.add(step, by, out=step)


MOMENTUM = update_step(
    "momentum",
    "rate l2 momentum",
    "velocity",
    "velocity = momentum * velocity - rate * g; theta += velocity;",
    _momentum,
)

# Nesterov's momentum in the form of Sutskever et al. (ICML 2013) and of scikit-learn.
NESTEROV = update_step(
    "nesterov",
    "rate l2 momentum",
    "velocity",
    "velocity = momentum * velocity - rate * g; theta += momentum * velocity - rate * g;",
    _nesterov,
)

# Kingma and Ba (2014), with m and v stored without the factors (1 - beta). The plan includes these
# factors and the bias corrections in rate and epsilon, which saves two passes over the parameters.
ADAM = update_step(
    "adam",
    "rate l2 beta_1 beta_2 epsilon",
    "m v",
    "m = beta_1 * m + g; v = beta_2 * v + g * g; theta -= rate * (m / (sqrt(v) + epsilon));",
    _adam,
)

# Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019): the decay is subtracted from
# the weights directly, and does not enter m and v.
ADAMW = update_step(
    "adamw",
    "rate l2 beta_1 beta_2 epsilon decay_rate",
    "m v",
    "m = beta_1 * m + g; v = beta_2 * v + g * g; "
    f"theta -= rate * (m / (sqrt(v) + epsilon)) + {DECAY};",
    _adamw,
)

# Chen et al., Symbolic Discovery of Optimization Algorithms (2023), with m stored without the
# factor (1 - beta_2). The sign of 0 is 0 and that of NaN is NaN; comparisons alone would
# turn NaN into 0.
LION = update_step(
    "lion",
    "rate l2 mix beta_2 decay_rate",
    "m",
    "const T u = mix * m + g; const T sign = u == u ? T(u > T(0)) - T(u < T(0)) : u; "
    "m = beta_2 * m + g; "
    f"theta -= rate * sign + {DECAY};",
    _lion,
)


def _penalty(
    np: Any,
    theta: Any,
    scale: Any,
    step: Any,
    n_networks: int,
    size: int,
    n_weights: int,
    n_sums: int,
    sums: Any,
) -> None:
    lead = theta.shape[:-1]
    norm, penalty = np.empty(lead, theta.dtype), np.empty(lead, sums.dtype)
    now = planned(np, scale, step)
    for k in range(n_sums):
        weights = theta[..., k:n_weights:n_sums]
        if lead:
            np.vecdot(weights, weights, out=norm)
        else:
            np.dot(weights, weights, out=norm)
        np.multiply(norm, now, out=penalty)
        np.add(sums[..., k], penalty, out=sums[..., k])


_FROM = """
const ptrdiff_t network = n_networks == 1 ? 0 : i / n_sums, base = network * size;
T total = T(0);
ptrdiff_t k = i - network * n_sums;
"""
# For a single sum: 32 independent partial sums, which a compiler can vectorize.
_SINGLE_SUM = """
T parts[32] = {};
if (n_sums == 1)
    for (; k + 32 <= n_weights; k += 32)
        for (int p = 0; p < 32; ++p) { const T w = theta[base + k + p]; parts[p] += w * w; }
for (int p = 0; p < 32; ++p) total += parts[p];
"""
_EVERY_NTH = """
for (; k < n_weights; k += n_sums) { const T w = theta[base + k]; total += w * w; }
sums += scale[step[0] * n_networks + network] * (double)total;
"""

# sums (…, n_sums) += scale[step] |weights|^2, the L2 penalty of a step; theta (…, size), scale
# (n_steps, …). Sum i of a network is over its weights i, i + n_sums, ..., so the threads need no
# synchronisation and no atomic addition.
PENALTY = Elementwise(
    name="penalty",
    inputs="raw T theta, raw float64 scale, raw int64 step, int64 n_networks, int64 size, "
    "int64 n_weights, int64 n_sums",
    outputs="float64 sums",
    body=_FROM + _EVERY_NTH,
    numpy=_penalty,
    vectorizes=True,
).on_host(body=_FROM + _SINGLE_SUM + _EVERY_NTH)

# Advances the step counter, which selects the row of every plan.
ADVANCE = Elementwise("advance", "int64 by", "int64 step", "step += by", _advance, vectorizes=True)

# Adds up the gradients of two parts of a batch.
ADD = Elementwise("add", "T a, T b", "T total", "total = a + b", _add, vectorizes=True)
