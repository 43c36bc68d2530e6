"""Optimizer updates: one step over the flat parameter vector.

theta (…, size) contains all weights, then all biases. grad and the optimizer's state have the same
layout. The numbers that change from step to step are computed on the host for a whole epoch: row
``step[0]`` of ``plan`` (n_steps, n_networks, columns) has the numbers of this update. The first
``n_weights`` entries of theta decay: their gradient is grad + l2 * theta.

The NumPy twins use ``grad`` as scratch, so its values are lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .elementwise import Elementwise
from .gather import planned

_PLANNED = "raw T plan, raw int64 step, int64 n_networks, int64 size, int64 n_weights, bool decays"
# Elements that one CUDA thread updates: one 16-byte load and store of float32, two of float64.
FOUR = 4


def _update(name: str, columns: str, state: str, body: str, numpy: Any) -> Elementwise:
    """Return the step that applies ``body`` to each element of theta and of the vectors ``state``.

    columns : names of the columns of the plan, separated by spaces.
    state : names of the optimizer's vectors, separated by spaces.
    body : CUDA that updates theta and the state. It may read g (the gradient with decay), the bool
        ``decay`` (whether this element decays) and the names in ``columns``.

    All sizes are multiples of RUN, as `Network.theta_size` and `Network.n_weights` are.
    """
    names, vectors = columns.split(), ["theta", *state.split()]
    reads = ", ".join(f"{name} = plan[at + {k}]" for k, name in enumerate(names))
    numbers = f"""
const ptrdiff_t network = n_networks == 1 ? 0 : first / size;
const bool decay = decays && first - network * size < n_weights;
const ptrdiff_t at = (step[0] * n_networks + network) * {len(names)};
const T {reads};
"""
    element = Elementwise(
        name,
        f"T grad, {_PLANNED}",
        ", ".join(f"T {v}" for v in vectors),
        f"const T g = decay ? grad + l2 * theta : grad; {body}",
        numpy,
        prologue=numbers,
        vectorizes=True,
    )
    return replace(
        element,
        inputs=f"raw T grad, {_PLANNED}",
        outputs=", ".join(f"raw T {v}" for v in vectors),
        body=_by_four(numbers, vectors, body),
        per_thread=FOUR,
        host=element,
    )


def _by_four(numbers: str, vectors: list[str], body: str) -> str:
    """Return a body that applies ``body`` to FOUR elements, loaded and stored together."""
    loads = ", ".join(f"{v}_4 = (const Four&){v}[first]" for v in vectors)
    locals_ = ", ".join(f"&{v}_k = {v}_4.x[k]" for v in vectors)
    stores = " ".join(f"(Four&){v}[first] = {v}_4;" for v in vectors)
    each = re.sub(rf"\b({'|'.join(vectors)})\b", r"\1_k", body)
    return f"""
const int n = {FOUR};
struct alignas(16) Four {{ T x[n]; }};
const ptrdiff_t first = (ptrdiff_t)i * n;{numbers}const Four grad_4 = (const Four&)grad[first];
Four {loads};
for (int k = 0; k<n; ++k) {{
    T {locals_};
    const T g = decay ? grad_4.x[k] + l2 * theta_k : grad_4.x[k];
    {each}
}}
{stores}
"""


def _columns(row: Any) -> list[Any]:
    """Return the columns of a row of the plan, each 0-d or (…, 1), so that they scale theta."""
    if row.ndim == 1:  # ufuncs handle 0-d arrays in half the time of arrays of one number
        return [row[k, ...] for k in range(len(row))]
    return [row[..., k : k + 1] for k in range(row.shape[-1])]


# Entries that the twins update at a time. A block and its state stay in the CPU's cache during all
# passes over it: Adam of 235,000 parameters takes 0.54 ms by blocks, and 0.75 ms in passes over the
# whole vector (Cascade Lake, NumPy 2.4).
BLOCK = 1 << 15


def _blockwise(rule: Callable[..., None]) -> Callable[..., None]:
    """Return the twin that applies ``rule`` block by block.

    rule : called with np, numbers, grad, work, decaying, theta and the state's vectors. numbers are
        the columns of the plan without l2; work is scratch; decaying is the slice of the block's
        entries that decay.
    """

    def twin(
        np: Any,
        grad: Any,
        plan: Any,
        step: Any,
        n_networks: int,
        size: int,
        n_weights: int,
        decays: bool,
        *vectors: Any,
    ) -> None:
        rate, l2, *numbers = _columns(planned(np, plan, step))
        length = min(size, BLOCK)
        whole = np.empty((*grad.shape[:-1], length), grad.dtype)
        for start in range(0, size, length):
            block = slice(start, min(start + length, size))
            g, theta, *state = (vector[..., block] for vector in (grad, *vectors))
            work = whole[..., : block.stop - start]
            decaying = slice(0, max(0, min(n_weights, block.stop) - start) if decays else 0)
            if decaying.stop:
                np.multiply(theta[..., decaying], l2, out=work[..., decaying])
                np.add(g[..., decaying], work[..., decaying], out=g[..., decaying])
            rule(np, (rate, *numbers), g, work, decaying, theta, *state)

    return twin


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


MOMENTUM = _update(
    "momentum",
    "rate l2 momentum",
    "velocity",
    "velocity = momentum * velocity - rate * g; theta += velocity;",
    _blockwise(_momentum),
)

# Nesterov's momentum in the form of Sutskever et al. (ICML 2013) and of scikit-learn.
NESTEROV = _update(
    "nesterov",
    "rate l2 momentum",
    "velocity",
    "velocity = momentum * velocity - rate * g; theta += momentum * velocity - rate * g;",
    _blockwise(_nesterov),
)

# Kingma and Ba (2014), with m and v stored without the factors (1 - beta). The plan includes these
# factors and the bias corrections in rate and epsilon, which saves two passes over the parameters.
ADAM = _update(
    "adam",
    "rate l2 beta_1 beta_2 epsilon",
    "m v",
    "m = beta_1 * m + g; v = beta_2 * v + g * g; theta -= rate * (m / (sqrt(v) + epsilon));",
    _blockwise(_adam),
)

# Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019): the decay is subtracted from
# the weights directly, and does not enter m and v.
ADAMW = _update(
    "adamw",
    "rate l2 beta_1 beta_2 epsilon decay_rate",
    "m v",
    "m = beta_1 * m + g; v = beta_2 * v + g * g; "
    "theta -= rate * (m / (sqrt(v) + epsilon)) + (decay ? decay_rate * theta : T(0));",
    _blockwise(_adamw),
)

# Chen et al., Symbolic Discovery of Optimization Algorithms (2023), with m stored without the
# factor (1 - beta_2). The sign of 0 is 0 and that of NaN is NaN; comparisons alone would
# turn NaN into 0.
LION = _update(
    "lion",
    "rate l2 mix beta_2 decay_rate",
    "m",
    "const T u = mix * m + g; const T sign = u == u ? T(u > T(0)) - T(u < T(0)) : u; "
    "m = beta_2 * m + g; "
    "theta -= rate * sign + (decay ? decay_rate * theta : T(0));",
    _blockwise(_lion),
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
