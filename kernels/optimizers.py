"""Optimizer updates: one step over the flat parameter vector.

theta (…, size) holds all weights, then all biases; grad, and the optimizer's state, lie the same
way. What changes from step to step is planned on the host for a whole epoch: row ``step[0]`` of
``plan`` (n_steps, n_networks, columns) has the numbers of this update. The first ``n_weights``
entries of theta decay: their gradient is grad + l2 * theta.

The NumPy twins use ``grad`` as scratch: it does not survive the update.
"""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise

_INPUTS = (
    "T grad, raw T plan, raw int64 step, int64 n_networks, int64 size, int64 n_weights, bool decays"
)


def _body(columns: str, update: str) -> str:
    names = columns.split()
    reads = ", ".join(f"{name} = plan[at + {k}]" for k, name in enumerate(names))
    return f"""
const ptrdiff_t at = (step[0] * n_networks + i / size) * {len(names)};
const T {reads};
const T g = decays && i % size < n_weights ? grad + l2 * theta : grad;
{update}
"""


def _planned(np: Any, plan: Any, step: Any) -> list[Any]:
    """The columns of this step's row of ``plan``, each (…, 1) so that it scales theta."""
    now = np.empty((1, *plan.shape[1:]), plan.dtype)
    np.take(plan, step, axis=0, out=now, mode="clip")
    return [now[0, ..., k : k + 1] for k in range(plan.shape[-1])]


def _add_decay(np: Any, grad: Any, theta: Any, l2: Any, n_weights: int, work: Any) -> None:
    np.multiply(theta[..., :n_weights], l2, out=work[..., :n_weights])
    np.add(grad[..., :n_weights], work[..., :n_weights], out=grad[..., :n_weights])


def _momentum_step(
    np: Any,
    grad: Any,
    plan: Any,
    step: Any,
    theta: Any,
    velocity: Any,
    n_weights: int,
    decays: bool,
    work: Any,
) -> Any:
    """velocity = momentum * velocity - rate * g; leave rate * g in grad, return momentum."""
    rate, l2, momentum = _planned(np, plan, step)
    if decays:
        _add_decay(np, grad, theta, l2, n_weights, work)
    np.multiply(grad, rate, out=grad)
    np.multiply(velocity, momentum, out=velocity)
    np.subtract(velocity, grad, out=velocity)
    return momentum


def _momentum(
    np: Any,
    grad: Any,
    plan: Any,
    step: Any,
    n_networks: int,
    size: int,
    n_weights: int,
    decays: bool,
    theta: Any,
    velocity: Any,
) -> None:
    work = np.empty_like(grad) if decays else None
    _momentum_step(np, grad, plan, step, theta, velocity, n_weights, decays, work)
    np.add(theta, velocity, out=theta)


def _nesterov(
    np: Any,
    grad: Any,
    plan: Any,
    step: Any,
    n_networks: int,
    size: int,
    n_weights: int,
    decays: bool,
    theta: Any,
    velocity: Any,
) -> None:
    work = np.empty_like(grad)
    momentum = _momentum_step(np, grad, plan, step, theta, velocity, n_weights, decays, work)
    np.multiply(velocity, momentum, out=work)
    np.subtract(work, grad, out=work)
    np.add(theta, work, out=theta)


def _adam(
    np: Any,
    grad: Any,
    plan: Any,
    step: Any,
    n_networks: int,
    size: int,
    n_weights: int,
    decays: bool,
    theta: Any,
    m: Any,
    v: Any,
) -> None:
    rate, l2, beta_1, beta_2, epsilon = _planned(np, plan, step)
    work = np.empty_like(grad)
    if decays:
        _add_decay(np, grad, theta, l2, n_weights, work)
    np.multiply(m, beta_1, out=m)
    np.add(m, grad, out=m)
    np.multiply(grad, grad, out=grad)
    np.multiply(v, beta_2, out=v)
    np.add(v, grad, out=v)
    np.sqrt(v, out=work)
    np.add(work, epsilon, out=work)
    np.divide(m, work, out=work)
    np.multiply(work, rate, out=work)
    np.subtract(theta, work, out=theta)


def _advance(np: Any, by: int, step: Any) -> None:
    np.add(step, by, out=step)


MOMENTUM = Elementwise(
    name="momentum",
    inputs=_INPUTS,
    outputs="T theta, T velocity",
    body=_body(
        "rate l2 momentum",
        "const T u = momentum * velocity - rate * g; velocity = u; theta += u;",
    ),
    numpy=_momentum,
)

# Nesterov's momentum as Sutskever et al. (ICML 2013) write it, and scikit-learn computes it.
NESTEROV = Elementwise(
    name="nesterov",
    inputs=_INPUTS,
    outputs="T theta, T velocity",
    body=_body(
        "rate l2 momentum",
        "const T u = momentum * velocity - rate * g; velocity = u;\n"
        "theta += momentum * u - rate * g;",
    ),
    numpy=_nesterov,
)

# Kingma and Ba (2014), with m and v kept without the factors (1 - beta): the plan folds these and
# the bias corrections into rate and epsilon, which saves two passes over the parameters.
ADAM = Elementwise(
    name="adam",
    inputs=_INPUTS,
    outputs="T theta, T m, T v",
    body=_body(
        "rate l2 beta_1 beta_2 epsilon",
        "const T first = beta_1 * m + g, second = beta_2 * v + g * g;\n"
        "m = first; v = second; theta -= rate * (first / (sqrt(second) + epsilon));",
    ),
    numpy=_adam,
)

# The one counter that all planned values are read by.
ADVANCE = Elementwise("advance", "int64 by", "int64 step", "step += by", _advance)
