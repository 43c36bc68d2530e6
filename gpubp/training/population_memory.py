"""How many networks are trained at once: those that fit in memory, or in the CPU's cache."""

from __future__ import annotations

from gpubp.backends.blas_threads import usable_cores
from gpubp.backends.compiled_backend import ONE_WORKER_LIMIT
from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.training.host_memory import free_memory
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
    step, kept, plan = _bytes(network, recipe, n_rows)
    if backend.engine == "numpy":
        return max(1, min(networks, CACHE_BYTES // step))
    on_device = backend.memory().free
    host = plan if on_device is not None else step + kept + plan
    most = int(PART * free_memory()) // host
    if on_device is not None:
        most = min(most, int(PART * on_device) // (step + kept + 16 * n_rows))
    most = max(1, min(networks, most))
    work = min(recipe.batch_size, n_rows) * network.n_parameters
    if backend.engine == "compiled" and work > ONE_WORKER_LIMIT:
        # All workers have as many networks; those that are left have all workers one by one.
        workers = min(threads or usable_cores(), usable_cores())
        most = max(1, most - most % workers)
    return most


def _bytes(network: Network, recipe: Recipe, n_rows: int) -> tuple[int, int, int]:
    """Return the bytes of one network: those of a step, kept next to them, and on the host."""
    item, rows = recipe.dtype.itemsize, min(recipe.batch_size, n_rows)
    theta = item * network.theta_size(recipe.dtype)
    widths = network.numbers_per_row(deltas=True)
    step = (2 + len(recipe.optimizer.state_names)) * theta + item * rows * widths
    # Kept: the lowest and the best parameters, and packed weights twice. On the host: six arrays
    # of int64 indices, those of the rows, of their permutation and of the order; and parameters.
    return step, 4 * theta, 48 * n_rows + 4 * theta
