"""Tasks of a population on the workers of a Dask cluster.

Dask's own interface is used: with joblib's one (1.6), a search waits forever if a task kills
its worker again and again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpubp.backends.choice import BackendChoice
from gpubp.estimators.packed_tasks import LARGE, Outcome, PackedTask, shared_arrays, train_packed


def is_in_worker() -> bool:
    """Return whether this code runs in a task of Dask."""
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def dask_results(
    client: Any, choice: BackendChoice, threads: int | None, tasks: Sequence[PackedTask]
) -> Iterator[tuple[int, Outcome]]:
    """Yield the index and the outcome of each task when it ends; cancel the others when closed.

    A task is sent when a worker has room for it: a deadline begins when it is sent, and the tasks
    that are sent go on after a cancellation if a worker has begun them.

    Raises the errors of Dask, if workers were lost with data that no other worker has.
    """
    from distributed import as_completed

    common = shared_arrays(tasks)
    # On all workers, so that the data survive the loss of one.
    sent = client.scatter(common, broadcast=True, hash=False) if common else []
    known = {id(array): future for array, future in zip(common, sent, strict=True)}
    waiting, running = deque(range(len(tasks))), as_completed(loop=client.loop)
    numbers: dict[Any, int] = {}
    try:
        while waiting or numbers:
            room = max(1, sum(client.ncores().values())) - len(numbers)
            for _ in range(min(room, len(waiting))):
                number = waiting.popleft()
                future = _submitted(client, choice, threads, tasks[number], known)
                numbers[future] = number
                running.add(future)
            future = next(running)
            yield numbers.pop(future), future.result()
    finally:
        client.cancel(list(numbers))


def _submitted(
    client: Any,
    choice: BackendChoice,
    threads: int | None,
    task: PackedTask,
    known: dict[int, Any],
) -> Any:
    """Send a task; return its future. known : futures of the shared arrays by their id."""
    arguments = [task.pickled, *task.given]
    # Dask warns of large arguments that are sent with a task.
    own = [of for of in arguments if id(of) not in known and _is_large(of)]
    futures = client.scatter(own, hash=False) if own else []
    known = known | {id(of): future for of, future in zip(own, futures, strict=True)}
    sent = [known.get(id(of), of) for of in arguments]
    return client.submit(train_packed, choice, threads, *sent, pure=False)


def _is_large(of: Any) -> bool:
    return isinstance(of, np.ndarray) or (isinstance(of, bytes) and len(of) >= LARGE)
