"""JAX with a whole epoch as one compiled scan over its steps, and donated buffers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

from gpubp.bench.peers.protocol import Session, missing
from gpubp.bench.timing import HostClock
from gpubp.bench.workloads import Workload

name = "jax_scan"
BETA_1, BETA_2 = 0.9, 0.999
# JAX's own default on CUDA is TF32.
_PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


def available(device: str) -> str | None:
    """Return why this peer cannot run on ``device``; None if it can."""
    if why := missing("jax"):
        return why
    try:
        _device(device)
    except RuntimeError as error:
        return f"jax: {error}"
    return None


@contextmanager
def prepare(workload: Workload, device: str) -> Iterator[Session]:
    """Yield ``workload`` on ``device``."""
    import jax

    precision = jax.default_matmul_precision(_PRECISIONS[workload.precision])
    with jax.default_device(_device(device)), precision:
        yield _Session(workload)


def _device(device: str) -> Any:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    kind, _, index = device.partition(":")
    return jax.devices(kind)[int(index or 0)]


class _Session:
    remark = ""

    def __init__(self, workload: Workload) -> None:
        import jax
        import jax.numpy as jnp

        X, y = workload.data()
        self._X, self._y = jnp.asarray(X), jnp.asarray(y)
        shape = (-1, workload.steps, workload.batch)
        self._orders = cycle([jnp.asarray(o, "int32") for o in workload.orders().reshape(shape)])
        Ws, bs = workload.initial_parameters()
        theta = [(jnp.asarray(W), jnp.asarray(b)) for W, b in zip(Ws, bs, strict=True)]
        m, v = (jax.tree.map(jnp.zeros_like, theta) for _ in range(2))
        self._state: Any = (theta, m, v, jnp.zeros((), "float32"))
        self._epoch = jax.jit(_epoch(workload), donate_argnums=0)
        self._loss: Any = None
        # One wait an epoch. Events of XLA's stream cannot be had.
        self.clock = HostClock(self.synchronize)

    def epoch(self) -> None:
        self._state, self._loss = self._epoch(self._state, self._X, self._y, next(self._orders))

    def loss(self) -> float:
        return float(self._loss)

    def synchronize(self) -> None:
        import jax

        jax.block_until_ready((self._state, self._loss))


def _epoch(workload: Workload) -> Any:
    """Return (state, X, y, order (steps, batch)) -> (state, mean loss), to be compiled."""
    import jax
    import jax.numpy as jnp

    dtype = jnp.bfloat16 if workload.precision == "bfloat16" else jnp.float32

    def loss_of(theta: Any, X: Any, y: Any) -> Any:
        A = X.astype(dtype)
        for W, b in theta[:-1]:
            A = jax.nn.relu(A @ W.astype(dtype) + b.astype(dtype))
        W, b = theta[-1]
        Z = (A @ W.astype(dtype) + b.astype(dtype)).astype(jnp.float32)
        target = jnp.take_along_axis(Z, y[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(Z, axis=1) - target)

    def step(state: Any, X: Any, y: Any, rows: Any) -> Any:
        theta, m, v, done = state
        X, y = (source.at[rows].get(mode="promise_in_bounds") for source in (X, y))
        loss, gradient = jax.value_and_grad(loss_of)(theta, X, y)
        done = done + 1
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, gradient)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, gradient)

        def moved(theta: Any, m: Any, v: Any) -> Any:
            spread = jnp.sqrt(v / (1 - BETA_2**done)) + workload.epsilon
            return theta - workload.rate * (m / (1 - BETA_1**done)) / spread

        return (jax.tree.map(moved, theta, m, v), m, v, done), loss

    def epoch(state: Any, X: Any, y: Any, order: Any) -> Any:
        state, losses = jax.lax.scan(lambda s, rows: step(s, X, y, rows), state, order)
        return state, losses.mean()

    return epoch
