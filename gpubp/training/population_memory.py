"""How many networks are trained at once: those that fit in memory, or in the CPU's cache."""

from __future__ import annotations

import os
from pathlib import Path

from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.training.recipe import Recipe

# Arrays of a step that NumPy computes for several networks at once: with larger ones, training
# them one by one is faster, since the arrays of each then stay in the cache.
CACHE_BYTES = 1 << 20
PART = 0.5  # of the free memory that a wave may take


def most_networks(
    backend: Backend,
    network: Network,
    recipe: Recipe,
    n_rows: int,
    networks: int,
    threads: int | None,
) -> int:
    """Return how many of ``networks`` networks of this shape are trained at once; at least 1."""
    step, whole = _bytes(network, recipe, n_rows)
    if backend.engine == "numpy":
        return max(1, min(networks, CACHE_BYTES // step))
    free = backend.memory().free or _free_memory()
    return max(1, min(networks, int(PART * free) // whole))


def _bytes(network: Network, recipe: Recipe, n_rows: int) -> tuple[int, int]:
    """Return the bytes of one network that a step uses, and all of it."""
    item, rows = recipe.dtype.itemsize, min(recipe.batch_size, n_rows)
    theta = network.theta_size(recipe.dtype)
    vectors = 2 + len(recipe.optimizer.state_names)
    widths = network.sizes[0] + 3 * sum(network.sizes[1:])
    step = item * (vectors * theta + rows * widths)
    # In addition the best and the lowest parameters, packed weights, and the order of the rows.
    return step, step + item * 4 * theta + 16 * n_rows


def _free_memory() -> int:
    """Return the free memory of the host in bytes, about."""
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 1 << 32
