"""Training on the processes that mpiexec has started: rank 0 runs the program, the others serve it.

Rank 0 alone reads, decides, prints and writes. It sends jobs to the other ranks, which run them
until rank 0 ends.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from gpubp.backends.blas_threads import share_cores
from gpubp.backends.protocol import Backend
from gpubp.backends.select import BackendUnavailableError
from gpubp.distributed.communicator import SINGLE, Single
from gpubp.distributed.gradient_sums import Asked, Gradients, gradients_on
from gpubp.distributed.launcher import connect
from gpubp.training.row_shards import TILES

T = TypeVar("T")
Job = Callable[[Single], object]

# Signals of Ctrl-C, of a scheduler and of a closed terminal. mpiexec sends them to all ranks, but
# only rank 0 decides what they stop.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Ranks:
    """The other processes, as rank 0 uses them.

    others : the ranks except 0.
    gradients : what is asked to add up gradients: "nccl", "mpi" or "auto".
    reproducible : whether networks have the same bits on 1, 2 and 4 processes.
    """

    def __init__(self, communicator: Single) -> None:
        self.communicator = communicator
        self.others = range(1, communicator.size)
        self.gradients: Asked = "auto"
        self.reproducible = False
        self.is_in_step = False
        self._turn = threading.Lock()

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
        """Send ``value`` to all other ranks."""
        for rank in self.others:
            self.communicator.send(value, rank)

    def end(self) -> None:
        """End the service of the other ranks; end them at once if they cannot be reached."""
        try:
            self.send(None)
        except BaseException as error:
            self.communicator.abort(_reported(error, None))

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Return a context in which all ranks wait for each other.

        Ctrl-C takes effect at its end. If an error leaves it, the others wait in vain, and
        `run_on_ranks` ends them.
        """
        with signals_later():
            self.is_in_step = True
            yield
            self.is_in_step = False

    @contextmanager
    def job(self, job: Job) -> Iterator[None]:
        """Return a context in which the other ranks run ``job``; threads take turns."""
        with self._turn:
            self.send(job)
            yield


Report = Callable[[BaseException], int]
_current: list[Ranks] = []  # of this process, while `run_on_ranks` runs


def current_ranks() -> Ranks | None:
    """Return the other processes within `run_on_ranks`; None if there are none."""
    return _current[-1] if _current else None


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
    function returns None when ``main`` ends. Without mpiexec it only calls ``main``.

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
    communicator = connect()
    ranks = Ranks(communicator)
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
    with ranks_in_use(ranks):
        return _run_main(main, ranks, report)


def _run_main(main: Callable[[], T], ranks: Ranks, report: Report | None) -> T:
    try:
        result = main()
        if ranks.is_in_step:  # an error was caught: the other ranks wait
            ranks.communicator.abort(result if isinstance(result, int) and result else 1)
        return result
    except BaseException as error:
        if ranks.is_in_step:
            ranks.communicator.abort(_reported(error, report))
        raise
    finally:
        ranks.end()


def _reported(error: BaseException, report: Report | None, where: str = "") -> int:
    """Print ``error``, and ``where`` it was; return the exit code."""
    sys.stderr.write(where)
    if report is not None:
        return report(error)
    traceback.print_exception(error)
    return 1


def _serve(communicator: Single) -> None:
    """Run the jobs that rank 0 sends, until it sends None."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    while (job := communicator.receive()) is not None:
        job(communicator)


@contextmanager
def signals_later() -> Iterator[None]:
    """Return a context in which the signals that interrupt take effect at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    came: list[int] = []
    before = [signal.signal(each, lambda number, frame: came.append(number)) for each in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)
