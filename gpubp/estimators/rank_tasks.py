"""Tasks of a population on the ranks of an MPI job."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import sleep
from typing import Any

from gpubp.backends.blas_threads import share_of_cores
from gpubp.backends.choice import BackendChoice
from gpubp.distributed.communicator import Single
from gpubp.estimators.packed_tasks import Failure, Outcome, PackedTask, train_packed
from gpubp.settings import default_threads
from gpubp.training.ranks import Ranks, handlers, signals_later

PAUSE = 1e-3  # seconds between two looks for results


@dataclass(frozen=True)
class TasksJob:
    """The job of another rank: to train the tasks that rank 0 sends, one after the other."""

    choice: BackendChoice
    threads: int | None

    def __call__(self, communicator: Single) -> None:
        """Train until rank 0 sends None."""
        choice = self.choice.on_rank(communicator.local_rank)
        arrays: dict[int, Any] = {}  # those sent so far, by their number at rank 0
        while (message := communicator.receive()) is not None:
            number, pickled, needed, new = message
            arrays |= new
            given = [arrays[key] for key in needed]
            try:
                with handlers(signal.default_int_handler):  # mpiexec sends Ctrl-C to all ranks
                    outcome = train_packed(choice, self.threads, pickled, *given)
            except KeyboardInterrupt as error:  # before or after the training, which catches it
                outcome = Failure(error)
            communicator.send((number, outcome), 0)


class _Dispatcher:
    """A thread of rank 0 that sends tasks to the other ranks, one at a time, and takes results.

    The queue of outcomes ends with None, or with an exception.
    """

    def __init__(self, ranks: Ranks, tasks: Sequence[PackedTask]) -> None:
        self._ranks, self._tasks = ranks, tasks
        self._waiting = deque(range(len(tasks)))  # that nobody has begun
        self._outcomes: SimpleQueue[tuple[int, Outcome] | BaseException | None] = SimpleQueue()
        self._has_ended = False
        # The arrays that each rank has, by their ids: all tasks exist before the first is sent, so
        # no new array can get the id of one that was freed.
        self._known: dict[int, set[int]] = {rank: set() for rank in ranks.others}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._dispatch()
            self._outcomes.put(None)
        except BaseException as error:
            self._outcomes.put(error)

    def _dispatch(self) -> None:
        communicator, running = self._ranks.communicator, set[int]()
        while True:
            for rank in self._ranks.others:
                if rank not in running and (number := self.next()) is not None:
                    self._send(number, rank)
                    running.add(rank)
            if not running:
                return
            found = communicator.senders(sorted(running))
            for rank in found:
                self._outcomes.put(communicator.receive(rank))
                running.discard(rank)
            if not found:
                sleep(PAUSE)

    def next(self) -> int | None:
        """Return the number of a task to begin; None if none is left."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _send(self, number: int, rank: int) -> None:
        """Send a task with the arrays that the rank does not have yet."""
        task, known = self._tasks[number], self._known[rank]
        new = {id(each): each for each in task.given if id(each) not in known}
        known.update(new)
        message = number, task.pickled, [id(each) for each in task.given], new
        self._ranks.communicator.send(message, rank)

    def results(self, *, wait: bool) -> Iterator[tuple[int, Outcome]]:
        """Yield the outcomes that have come; or, if ``wait``, those of all tasks until the end."""
        while not self._has_ended and (wait or not self._outcomes.empty()):
            found = self._outcomes.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                self._has_ended = True
            else:
                yield found

    def stop(self) -> None:
        """Begin no further task, and wait for those that have begun."""
        self._waiting.clear()
        with signals_later():
            self._thread.join()


class RankWorkers:
    """The ranks of an MPI job as workers; see `population_workers.Workers`."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.count = ranks.communicator.size

    def threads(self, given: int | None) -> int | None:
        """Return the threads of a task: those ``given``, else the share of a rank."""
        given = default_threads() if given is None else given
        return given or share_of_cores(self._ranks.communicator.local_size)

    def results(
        self, choice: BackendChoice, threads: int | None, tasks: Sequence[PackedTask]
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Yield the index and the outcome of each task when it ends; begin no others if closed.

        Rank 0 trains tasks as the other ranks do.
        """
        of_rank_0 = choice.on_rank(self._ranks.communicator.local_rank)
        with self._ranks.job(TasksJob(choice, threads)):
            dispatcher = _Dispatcher(self._ranks, tasks)
            try:
                while (number := dispatcher.next()) is not None:
                    task = tasks[number]
                    yield number, train_packed(of_rank_0, threads, task.pickled, *task.given)
                    yield from dispatcher.results(wait=False)
                yield from dispatcher.results(wait=True)
            finally:
                dispatcher.stop()
