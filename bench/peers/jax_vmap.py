"""JAX with the epochs of all networks as one compiled scan over steps that are vmapped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import numpy as np

from gpubp.bench.peers.jax_scan import JaxScan, device_order, host_data, jax_context, new_epoch
from gpubp.bench.peers.protocol import PopulationLearner, PopulationPeer
from gpubp.bench.workloads import ORDERS, Workload


class JaxVmap(PopulationPeer):
    """JAX, an epoch of all networks at a time."""

    name = "jax_vmap"

    def available(self, device: str) -> str | None:
        return JaxScan().available(device)

    @contextmanager
    def population(self, workload: Workload, device: str) -> Iterator[PopulationLearner]:
        with jax_context(workload, device):
            yield _Learner(workload)


class _Learner:
    remark = ""

    def __init__(self, workload: Workload) -> None:
        import jax

        self._data, self.networks = host_data(workload), workload.population
        members = workload.members()
        each = zip(*(one.initial_parameters() for one in members), strict=True)
        Ws, bs = ([np.stack(arrays) for arrays in zip(*layers, strict=True)] for layers in each)
        self._initial = list(zip(Ws, bs, strict=True))
        self._orders = _stacked_orders(workload)
        state = (0, 0, 0, None)  # the axis of the networks; all have made equally many updates
        epoch = jax.vmap(new_epoch(workload), (state, None, None, 0, 0), (state, 0))
        self._epoch = jax.jit(epoch, donate_argnums=0)

    def fit(self, epochs: int) -> np.ndarray:
        import jax
        import jax.numpy as jnp

        X, y = (jnp.asarray(values) for values in self._data)
        theta = [(jnp.array(W), jnp.array(b)) for W, b in self._initial]
        m, v = (jax.tree.map(jnp.zeros_like, theta) for _ in range(2))
        state: Any = (theta, m, v, jnp.zeros((), X.dtype))
        losses = []
        for _, order in zip(range(epochs), cycle(self._orders), strict=False):
            state, loss = self._epoch(state, X, y, *order)
            losses.append(np.asarray(loss))
        jax.block_until_ready(state)
        return np.array(losses)


def _stacked_orders(workload: Workload) -> list[tuple[Any, Any]]:
    """Return the row orders of all networks, as `device_order` does for one."""
    import jax.numpy as jnp

    each = [[device_order(one, order) for order in one.orders()] for one in workload.members()]
    return [
        (jnp.stack([own[k][0] for own in each]), jnp.stack([own[k][1] for own in each]))
        for k in range(ORDERS)
    ]
