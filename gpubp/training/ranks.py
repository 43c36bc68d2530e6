"""Training on the processes that mpiexec has started: rank 0 runs the program, the others serve it.

Rank 0 alone reads, decides, prints and writes. It sends jobs to the other ranks, which run them
until rank 0 ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, NoReturn, TypeVar

from gpubp.backends.blas_threads import share_cores
from gpubp.backends.protocol import Backend
from gpubp.backends.select import BackendUnavailableError
from gpubp.distributed.communicator import SINGLE, Ended, Single
from gpubp.distributed.environment import hidden_launcher
from gpubp.distributed.gradient_sums import Asked, Gradients, gradients_on
from gpubp.distributed.launcher import connect
from gpubp.training.row_shards import TILES

T = TypeVar("T")
Job = Callable[[Single], object]
Report = Callable[[BaseException], int]

# Signals of Ctrl-C, of a scheduler and of a closed terminal. mpiexec sends them to all ranks, but
# only rank 0 decides what they stop.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Ranks:
    """The other processes, as rank 0 uses them.

    others : the ranks except 0.
    gradients : what is asked to add up gradients: "nccl", "mpi" or "auto".
    reproducible : whether networks have the same bits on 1, 2 and 4 processes.
    report : see `run_on_ranks`.
    """

    def __init__(self, communicator: Single, report: Report | None = None) -> None:
        self.communicator, self._report = communicator, report
        self.others = range(1, communicator.size)
        self.gradients: Asked = "auto"
        self.reproducible = False
        self._turn = threading.Lock()

    def unless_busy(self) -> Ranks | None:
        """Return these ranks; while they train a network, what this process has alone.

        A callback or a thread that the training waits for must not wait for the other ranks.
        """
        if not self._turn.locked():
            return self
        alone = Ranks(SINGLE)
        alone.reproducible = self.reproducible
        return alone if self.reproducible else None

    def gradients_on(self, backend: Backend) -> Gradients:
        """Return how to add up gradients of ``backend``; see `gradient_sums`.

        Raises BackendUnavailableError if they cannot be added up as asked.
        """
        communicator, in_order = self.communicator, self.reproducible
        if in_order and communicator.size not in (1, 2, 4):
            raise BackendUnavailableError(
                f"reproducible training needs 1, 2 or 4 processes, got {communicator.size}; start "
                "so many, or leave out reproducible"
            )
        return gradients_on(backend, self.gradients, communicator, in_order=in_order)

    def can_share(self, rows: int) -> bool:
        """Return whether so many ``rows`` are enough for each process, and for each tile."""
        return rows >= max(self.communicator.size, TILES if self.reproducible else 1)

    def threads(self, backend: Backend, threads: int | None) -> int | None:
        """Return the threads of a training, for which ``threads`` were asked; None: any.

        BLAS has other bits with other numbers of threads, so reproducible training takes one.
        """
        return 1 if self.reproducible and backend.engine == "numpy" and not threads else threads

    def description(self, backend: Backend) -> str:
        """Return a line for the user on how the rows are shared."""
        size, by = self.communicator.size, self.gradients_on(backend)
        if size == 1:
            return f"the gradients of {TILES} tiles of each batch are added up in a fixed order"
        name = "NCCL" if by == "nccl" else "MPI"
        order = " in a fixed order" if self.reproducible else ""
        return f"the rows are shared by {size} processes; {name} adds up their gradients{order}"

    def send(self, value: Any) -> None:
        """Send ``value`` to all other ranks; Ctrl-C takes effect at the end."""
        with signals_later():
            for rank in self.others:
                self.communicator.send(value, rank)

    def end(self) -> None:
        """End the service of the other ranks; end them at once if they cannot be reached."""
        try:
            self.send(Ended())
        except BaseException as error:
            self.abort(error)

    def abort(self, error: BaseException) -> NoReturn:
        """Print ``error`` and end all processes at once."""
        self.communicator.abort(_reported(error, self._report))

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Return a context in which all ranks wait for each other.

        Ctrl-C takes effect at its end. An error in it ends all processes, since the others would
        wait in vain.
        """
        with signals_later():
            try:
                yield
            except BaseException as error:
                self.abort(error)

    @contextmanager
    def job(self, job: Job) -> Iterator[None]:
        """Return a context in which the other ranks run ``job``, which None ends at the latest."""
        with self._turn:
            try:
                self.send(job)
                yield
            finally:
                self.send(None)


_current: list[Ranks] = []  # of this process, while `run_on_ranks` runs


def current_ranks() -> Ranks | None:
    """Return the other processes within `run_on_ranks`; None if there are none that are free."""
    return _current[-1].unless_busy() if _current else None


def measured_by_all(measure: Callable[[Single], T]) -> T:
    """Return ``measure(communicator)`` of rank 0, which calls this; all ranks measure at once."""
    ranks = current_ranks()
    if ranks is None:
        return measure(SINGLE)
    with ranks.job(measure), ranks.in_step():
        return measure(ranks.communicator)


@contextmanager
def ranks_in_use(ranks: Ranks) -> Iterator[None]:
    """Return a context in which `current_ranks` returns ``ranks``."""
    _current.append(ranks)
    try:
        yield
    finally:
        _current.remove(ranks)


def run_on_ranks(
    main: Callable[[], T], *, reproducible: bool = False, report: Report | None = None
) -> T | None:
    """Run ``main`` in the process of rank 0, with training on the processes of all ranks.

    Start the script by ``mpiexec -n 4 python script.py``. All processes have to call this function.
    ``main`` runs in one of them only; its estimators train on all. In the other processes the
    function returns None when ``main`` ends. Without mpiexec, or within another ``main``, it only
    calls ``main``. Processes that ``main`` starts train alone.

    reproducible : whether networks have the same bits on 1, 2 and 4 processes, also without
    mpiexec. A step takes up to about twice as long.
    report : prints an error that ends all processes, and returns their exit code; None prints the
    traceback and returns 1.

    An error of another rank ends all processes with its message and a code above 0.

    Raises
    ------
    LaunchError
        If several processes were started that cannot reach each other.
    """
    if _current:  # the other ranks serve already
        with _reproducible(_current[-1], reproducible):
            return main()
    communicator = connect()
    ranks = Ranks(communicator, report)
    ranks.reproducible = reproducible
    if communicator.size == 1:
        with ranks_in_use(ranks) if reproducible else nullcontext():
            return main()
    share_cores(communicator.local_size)
    if communicator.rank > 0:
        try:
            _serve(communicator)
        except BaseException as error:
            communicator.abort(_reported(error, report, f"rank {communicator.rank}: "))
        return None
    try:
        with ranks_in_use(ranks), hidden_launcher():
            return main()
    finally:
        ranks.end()


@contextmanager
def _reproducible(ranks: Ranks, also: bool) -> Iterator[None]:
    """Return a context in which ``ranks`` train reproducibly if they did or ``also`` is True."""
    before = ranks.reproducible
    ranks.reproducible = before or also
    try:
        yield
    finally:
        ranks.reproducible = before


def _reported(error: BaseException, report: Report | None, where: str = "") -> int:
    """Print ``error``, and ``where`` it was; return the exit code."""
    with suppress(Exception):  # nothing can be printed; the processes have to end all the same
        if report is not None:
            sys.stderr.write(where)
            return report(error)
        # At once, since the error of another rank may end this process at any time.
        sys.stderr.write(where + "".join(traceback.format_exception(error)))
    return 1


def _serve(communicator: Single) -> None:
    """Run the jobs that rank 0 sends, until it ends."""
    with handlers(signal.SIG_IGN), suppress(Ended):
        while True:
            if (job := communicator.receive()) is not None:  # None: the end of the one before
                job(communicator)


@contextmanager
def handlers(handler: Any) -> Iterator[None]:
    """Return a context in which ``handler`` gets the signals that interrupt.

    Signals with a handler that Python does not know keep it.
    """
    before = {each: found for each in SIGNALS if (found := signal.getsignal(each)) is not None}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        with blocked(before):  # or an own handler that raises would leave the others replaced
            for number, own in before.items():
                signal.signal(number, own)


@contextmanager
def blocked(signals: Iterable[int]) -> Iterator[None]:
    """Return a context in which the system keeps ``signals`` back."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def signals_later() -> Iterator[None]:
    """Return a context in which the signals that interrupt take effect at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    came: list[int] = []
    try:
        with handlers(lambda number, frame: came.append(number)):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_current.clear)  # MPI is the parent's
