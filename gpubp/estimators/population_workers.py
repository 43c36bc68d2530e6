"""Networks trained by other processes: the ranks of an MPI job, or the workers of joblib."""

from __future__ import annotations

import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from typing import Any

import joblib
import numpy as np
from joblib.parallel import get_active_backend

from gpubp.backends.blas_threads import usable_cores
from gpubp.backends.choice import BackendChoice
from gpubp.backends.protocol import Backend
from gpubp.backends.select import BackendUnavailableError
from gpubp.estimators.callbacks import Note
from gpubp.estimators.packed_tasks import Failure, Outcome, PackedTask, packed, train_packed
from gpubp.estimators.rank_tasks import RankWorkers
from gpubp.settings import default_threads
from gpubp.training.fit import Fitted
from gpubp.training.population import Member, train_population
from gpubp.training.population_loop import OnFinished
from gpubp.training.population_tasks import split
from gpubp.training.ranks import current_ranks

# Tasks that are lost with their workers are sent again. This many losses without a result in
# between end the attempts.
MOST_LOSSES = 3
_OF_LOST_WORKERS = (CancelledError, BrokenProcessPool, OSError)  # and KilledWorker of distributed

OnFailed = Callable[[list[int], Exception], None]


class Workers:
    """The workers of a joblib backend: processes of this machine, or the workers of Dask.

    count : the number of tasks that they train at the same time.
    """

    def __init__(self, joblib_backend: Any, count: int) -> None:
        self._client = getattr(joblib_backend, "client", None) if _is_dask(joblib_backend) else None
        self.count = count

    def threads(self, given: int | None) -> int | None:
        """Return the threads of a task. given : those that the caller asked for; None: any."""
        given = default_threads() if given is None else given
        if given is None and (self._client is not None or usable_cores() < 2 * self.count):
            return 1
        # joblib limits BLAS in its processes to their share of the cores, which None takes.
        return given

    def results(
        self, choice: BackendChoice, threads: int | None, tasks: Sequence[PackedTask]
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Yield the index and the outcome of each task when it ends; stop the others if closed."""
        if self._client is not None:
            from gpubp.estimators.dask_tasks import dask_results

            yield from dask_results(self._client, choice, threads, tasks)
            return
        stopped = threading.Event()
        calls = (
            joblib.delayed(_numbered)(k, choice, threads, task.pickled, *task.given)
            for k, task in takewhile(lambda _: not stopped.is_set(), enumerate(tasks))
        )
        # A task is sent when a worker has room for it: a deadline begins when it is sent.
        parallel = joblib.Parallel(
            return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1
        )
        found = parallel(calls)
        try:
            for result in found:  # noqa: UP028 (it would close the tasks before the finally clause)
                yield result
        except BaseException:
            # Loky's thread fails on a task that is sent while its workers are killed: send no more,
            # and let it take the last one.
            stopped.set()
            time.sleep(0.05)
            raise
        finally:
            with warnings.catch_warnings():  # of the tasks that are stopped
                warnings.filterwarnings("ignore", r".*\d+ tasks ", UserWarning)
                found.close()


AnyWorkers = Workers | RankWorkers


def _numbered(k: int, *task: Any) -> tuple[int, Outcome]:
    return k, train_packed(*task)


def _is_dask(joblib_backend: Any) -> bool:
    return type(joblib_backend).__name__ == "DaskDistributedBackend"


def active_workers(note: Note) -> AnyWorkers | None:
    """Return the ranks of an MPI job, else the workers of `joblib.parallel_config`, or None.

    None: the networks are trained in this process, as with a backend of threads, and within a task
    of a worker.
    note : called with a message if a Dask cluster has no workers.
    """
    ranks = current_ranks()
    if ranks is not None and ranks.others:
        return RankWorkers(ranks)
    backend, n_jobs = get_active_backend()
    n_jobs = getattr(backend, "default_n_jobs", 1) if n_jobs is None else n_jobs
    if n_jobs == 1 or backend.nesting_level or getattr(backend, "uses_threads", False):
        return None
    if _is_dask(backend):
        from gpubp.estimators.dask_tasks import is_in_worker

        if is_in_worker():
            return None
    try:
        count = joblib.effective_n_jobs(n_jobs)
    except TimeoutError:
        note("the Dask cluster has no workers; the networks are trained in this process")
        return None
    return Workers(backend, count) if count > 1 or _is_dask(backend) else None


def train_on_workers(
    workers: AnyWorkers,
    backend: Backend,
    members: Sequence[Member],
    remote: Sequence[Member | None],
    finish: OnFinished,
    *,
    threads: int | None,
    note: Note,
) -> bool:
    """Train like `train_population`, on ``workers``; return whether it was interrupted.

    remote : for each member, itself for another process; None for one that is trained here.
    note : called with a message if the workers cannot train.

    Raises the first error of the tasks, after the others have ended.
    """
    left = set(range(len(members)))
    errors: list[Exception] = []

    def finished(place: int, fitted: Fitted) -> None:
        left.discard(place)
        finish(place, fitted)

    def failed(places: list[int], error: Exception) -> None:
        left.difference_update(places)
        errors.append(error)

    try:
        try:
            tasks = _packed_tasks(workers, remote)
            del remote  # each keeps its initial parameters
            _train_tasks(workers, backend, tasks, finished, failed, threads)
        except _WorkersFail as failure:
            note(f"{failure}; the networks that are left are trained in this process")
        if _train_here(backend, members, sorted(left), finished, threads):
            return True
    except KeyboardInterrupt:
        return True
    if errors:
        raise errors[0]
    return False


def _train_here(
    backend: Backend,
    members: Sequence[Member],
    places: Sequence[int],
    finished: OnFinished,
    threads: int | None,
) -> bool:
    """Train the members at ``places`` in this process; return whether it was interrupted."""
    chosen = [members[place] for place in places]
    return bool(places) and train_population(
        backend, chosen, lambda k, fitted: finished(places[k], fitted), threads=threads
    )


class _WorkersFail(Exception):
    """The workers cannot train; the message says why."""


def _packed_tasks(workers: AnyWorkers, remote: Sequence[Member | None]) -> list[PackedTask]:
    places = [place for place, member in enumerate(remote) if member is not None]
    members = _with_own_generators([member for member in remote if member is not None])
    try:
        tasks = list(packed(members, split(members, workers.count)))
    except Exception as error:  # of pickling, which raises errors of any kind
        raise _WorkersFail(f"a network cannot be sent to another process ({error})") from error
    return [replace(task, places=[places[k] for k in task.places]) for task in tasks]


def _with_own_generators(members: Sequence[Member]) -> list[Member]:
    """Give each member that shares its generator one of its own, with a seed drawn from it."""
    uses = Counter(id(member.start.rng) for member in members if member.start)

    def own(member: Member) -> Member:
        if (start := member.start) is None or uses[id(start.rng)] == 1:
            return member
        rng = np.random.RandomState(start.rng.randint(np.iinfo(np.int32).max))
        return replace(member, start=replace(start, rng=rng))

    return [own(member) for member in members]


def _train_tasks(
    workers: AnyWorkers,
    backend: Backend,
    tasks: list[PackedTask],
    finished: OnFinished,
    failed: OnFailed,
    threads: int | None,
) -> None:
    """Train ``tasks``; those that are lost with a worker are sent again.

    finished, failed : called for each network, and for each task with an error.
    """
    how = BackendChoice.like(backend), workers.threads(threads)
    losses = 0
    while tasks:
        ended: set[int] = set()
        try:
            with closing(_checked(workers.results(*how, tasks))) as results:
                for k, outcome in results:
                    ended.add(k)
                    task, tasks[k] = tasks[k], PackedTask([], b"", [])  # frees its arrays
                    _take(outcome, task, finished, failed)
        except _Lost as lost:
            losses = 0 if ended else losses + 1
            if losses == MOST_LOSSES:
                raise _WorkersFail(str(lost)) from lost
        tasks = [task for k, task in enumerate(tasks) if k not in ended]


class _Lost(Exception):
    """A worker was lost with its task."""


def _checked(
    results: Generator[tuple[int, Outcome], None, None],
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield ``results``; raise _Lost or _WorkersFail for errors that are not of a task."""
    with closing(results):
        while True:
            try:
                result = next(results)
            except StopIteration:
                return
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                if isinstance(error, _OF_LOST_WORKERS) or type(error).__name__ == "KilledWorker":
                    raise _Lost(f"the workers were lost ({reason})") from error
                raise _WorkersFail(f"the workers cannot train ({reason})") from error
            yield result


def _take(outcome: Outcome, task: PackedTask, finished: OnFinished, failed: OnFailed) -> None:
    """Pass on the networks or the error of a task. Raises KeyboardInterrupt of the worker."""
    if isinstance(outcome, Failure):
        if isinstance(outcome.error, KeyboardInterrupt):
            raise KeyboardInterrupt
        if isinstance(outcome.error, BackendUnavailableError):
            raise _WorkersFail(f"the workers cannot train ({outcome.error})")
        failed(task.places, outcome.error)
        return
    for place, fitted in zip(task.places, outcome, strict=True):
        if fitted is not None:
            finished(place, fitted)
    if any(fitted is None or fitted.stopped_by == "interrupt" for fitted in outcome):
        raise KeyboardInterrupt
