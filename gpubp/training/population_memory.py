"""How many networks are trained at once: those that fit in memory, or in the CPU's cache."""

from __future__ import annotations

import os
from pathlib import Path

from gpubp.backends.blas_threads import usable_cores
from gpubp.backends.compiled_backend import ONE_WORKER_LIMIT
from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.training.recipe import Recipe

# Arrays of a step that NumPy computes for several networks at once. With larger ones a step takes
# longer, since the arrays leave the cache: 128 networks 64-128-128-10 take 1.5 times as long as one
# by one (Sapphire Rapids, 2 MB of L2).
CACHE_BYTES = 1 << 22
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
    most = max(1, min(networks, int(PART * free) // whole))
    work = min(recipe.batch_size, n_rows) * network.n_parameters
    if backend.engine == "compiled" and work > ONE_WORKER_LIMIT:
        # All workers have as many networks; those that are left have all workers one by one.
        workers = min(threads or usable_cores(), usable_cores())
        most = max(1, most - most % workers)
    return most


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
