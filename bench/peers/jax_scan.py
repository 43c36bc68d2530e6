"""JAX with a whole epoch as one compiled scan over its steps, and donated buffers.

A last batch that is not full is one more step of the same compilation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import numpy as np

from gpubp.bench.peers.protocol import Peer, Session, missing
from gpubp.bench.timing import HostClock
from gpubp.bench.workloads import MOMENTUM, Workload

BETA_1, BETA_2 = 0.9, 0.999
# JAX's own default on CUDA is TF32.
_PRECISIONS = {
    "float32": "highest",
    "float64": "highest",
    "tf32": "tensorfloat32",
    "bfloat16": "default",
}


class JaxScan(Peer):
    """JAX, an epoch at a time."""

    name = "jax_scan"

    def available(self, device: str) -> str | None:
        if why := missing("jax"):
            return why
        try:
            _device(device)
        except RuntimeError as error:
            return f"jax: {error}"
        return None

    @contextmanager
    def session(self, workload: Workload, device: str) -> Iterator[Session]:
        with jax_context(workload, device):
            yield _Session(workload)


@contextmanager
def jax_context(workload: Workload, device: str) -> Iterator[None]:
    """Compute on ``device`` in the workload's precision."""
    import jax

    if workload.precision == "float64":
        jax.config.update("jax_enable_x64", True)
    precision = jax.default_matmul_precision(_PRECISIONS[workload.precision])
    with jax.default_device(_device(device)), precision:
        yield


def _device(device: str) -> Any:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    kind, _, index = device.partition(":")
    return jax.devices(kind)[int(index or 0)]


class _Session(Session):
    def __init__(self, workload: Workload) -> None:
        import jax

        self._workload, self._data = workload, host_data(workload)
        self._initial = list(zip(*workload.initial_parameters(), strict=True))
        self._all_orders = [device_order(workload, order) for order in workload.orders()]
        self._epoch = jax.jit(new_epoch(workload), donate_argnums=0)
        self._outputs = jax.jit(_outputs(workload))
        self._loss: Any = None
        self._computing: list[Any] = []  # outputs that may not be there yet
        # One wait an epoch. Events of XLA's stream cannot be had.
        self.clock = HostClock(self.synchronize)
        self.restart()

    def restart(self) -> None:
        import jax
        import jax.numpy as jnp

        self._X, self._y = map(jnp.asarray, self._data)
        theta = [(jnp.array(W), jnp.array(b)) for W, b in self._initial]
        m, v = (jax.tree.map(jnp.zeros_like, theta) for _ in range(2))
        self._state: Any = (theta, m, v, jnp.zeros((), self._X.dtype))
        self._orders = cycle(self._all_orders)

    def place(self, X: np.ndarray) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(X)

    def forward(self, X: Any) -> Any:
        outputs = self._outputs(self._state[0], X)
        self._computing.append(outputs)
        return outputs

    def to_host(self, outputs: Any) -> np.ndarray:
        self._computing.clear()  # all before it is done, too
        return np.asarray(outputs)

    def epoch(self) -> None:
        self._state, self._loss = self._epoch(self._state, self._X, self._y, *next(self._orders))

    def loss(self) -> float:
        return float(self._loss)

    def synchronize(self) -> None:
        import jax

        jax.block_until_ready((self._state, self._loss, self._computing))
        self._computing.clear()


def host_data(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return the data; targets are classes (rows,), or numbers (rows, d_L)."""
    X, y = workload.data()
    n_outputs, is_index = workload.sizes[-1], workload.loss == "cross_entropy"
    return X, y if is_index and n_outputs > 1 else y.reshape(-1, n_outputs).astype(X.dtype)


def device_order(workload: Workload, order: np.ndarray) -> tuple[Any, Any]:
    """Return the rows of the full batches (steps, batch), and of the last one if it is not."""
    import jax.numpy as jnp

    full = workload.full_steps * workload.batch
    rows = jnp.asarray(order, "int32")
    return rows[:full].reshape(workload.full_steps, workload.batch), rows[full:]


def _logits(workload: Workload) -> Any:
    """Return (parameters, X) -> logits, in the precision."""
    import jax
    import jax.numpy as jnp

    dtype = jnp.bfloat16 if workload.precision == "bfloat16" else workload.dtype

    def logits(theta: Any, X: Any) -> Any:
        A = X.astype(dtype)
        for W, b in theta[:-1]:
            A = jax.nn.relu(A @ W.astype(dtype) + b.astype(dtype))
        W, b = theta[-1]
        return (A @ W.astype(dtype) + b.astype(dtype)).astype(workload.dtype)

    return logits


def _outputs(workload: Workload) -> Any:
    """Return (parameters, X) -> outputs."""
    import jax

    logits = _logits(workload)
    if workload.loss == "squared_error":
        return logits
    last = jax.nn.sigmoid if workload.sizes[-1] == 1 else jax.nn.softmax
    return lambda theta, X: last(logits(theta, X))


def _mean_loss(workload: Workload) -> Any:
    """Return (parameters, X, y) -> mean loss."""
    import jax
    import jax.numpy as jnp

    logits = _logits(workload)

    def softmax_loss(theta: Any, X: Any, y: Any) -> Any:
        Z = logits(theta, X)
        target = jnp.take_along_axis(Z, y[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(Z, axis=1) - target)

    def sigmoid_loss(theta: Any, X: Any, y: Any) -> Any:
        Z = logits(theta, X)
        return jnp.mean(jax.nn.softplus(Z) - y * Z)

    def squared_loss(theta: Any, X: Any, y: Any) -> Any:
        return 0.5 * jnp.mean((logits(theta, X) - y) ** 2)

    if workload.loss == "squared_error":
        return squared_loss
    return sigmoid_loss if workload.sizes[-1] == 1 else softmax_loss


def _update(workload: Workload) -> Any:
    """Return (gradient, (theta, m, v, updates made)) -> the same after an update."""
    import jax
    import jax.numpy as jnp

    def adam(gradient: Any, state: Any) -> Any:
        theta, m, v, done = state
        done = done + 1
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, gradient)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, gradient)

        def moved(theta: Any, m: Any, v: Any) -> Any:
            spread = jnp.sqrt(v / (1 - BETA_2**done)) + workload.epsilon
            return theta - workload.rate * (m / (1 - BETA_1**done)) / spread

        return jax.tree.map(moved, theta, m, v), m, v, done

    def sgd(gradient: Any, state: Any) -> Any:
        theta, m, v, done = state
        m = jax.tree.map(lambda m, g: MOMENTUM * m + g, m, gradient)
        theta = jax.tree.map(
            lambda theta, m, g: theta - workload.rate * (g + MOMENTUM * m), theta, m, gradient
        )
        return theta, m, v, done

    return adam if workload.solver == "adam" else sgd


def new_epoch(workload: Workload) -> Any:
    """Return (state, X, y, order (steps, batch), rest) -> (state, mean loss), to be compiled."""
    import jax

    mean_loss, update = _mean_loss(workload), _update(workload)

    def step(state: Any, X: Any, y: Any, rows: Any) -> Any:
        X, y = (source.at[rows].get(mode="promise_in_bounds") for source in (X, y))
        loss, gradient = jax.value_and_grad(mean_loss)(state[0], X, y)
        return update(gradient, state), loss

    def epoch(state: Any, X: Any, y: Any, order: Any, rest: Any) -> Any:
        state, losses = jax.lax.scan(lambda s, rows: step(s, X, y, rows), state, order)
        total = losses.sum() * workload.batch
        if workload.rest:
            state, loss = step(state, X, y, rest)
            total = total + loss * workload.rest
        return state, total / workload.rows

    return epoch
