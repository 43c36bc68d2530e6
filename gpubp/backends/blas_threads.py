"""Limits on the threads of the BLAS libraries, whose numbers hold for the whole process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock, get_ident
from typing import Any, NamedTuple


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_of_cores(processes: int) -> int:
    """Return how many cores each of ``processes`` processes on this machine may use.

    If fewer cores are usable than there are, a launcher has given each process cores of its own.
    """
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else max(1, cores // processes)


def share_cores(processes: int) -> None:
    """Let BLAS use at most this process's share of the cores, of ``processes`` processes."""
    for library in _libraries():
        library.set_num_threads(min(library.get_num_threads(), share_of_cores(processes)))


class _Limit(NamedTuple):
    threads: int
    thread: int  # identifier of the thread that set the limit


class BlasThreads:
    """Limits the threads of BLAS.

    If several limits are active, the newest is used. When the last one ends, the number of threads
    from before the first is restored, unless other code has changed it in the meantime.
    """

    def __init__(self) -> None:
        self._lock = RLock()  # reentrant: a signal handler of the same thread may predict or fork
        self._limits: list[_Limit] = []
        # Per library: the number of threads without limits, and the number that we have set.
        self._before: list[int] = []
        self._ours: list[int] = []

    @contextmanager
    def limited_to(self, threads: int) -> Iterator[None]:
        """Return a context in which BLAS uses at most ``threads`` threads."""
        own = _Limit(threads, get_ident())
        libraries = _libraries()
        with self._lock:
            now = [library.get_num_threads() for library in libraries]
            if not self._limits:
                self._before, self._ours = now, [*now]
            for k, library in enumerate(libraries):
                if now[k] != self._ours[k]:  # other code has set it
                    self._before[k] = now[k]
                self._set(k, library, now[k], threads)
            self._limits.append(own)
        try:
            yield
        finally:
            with self._lock:
                self._keep([each for each in self._limits if each is not own])

    def threads(self) -> int:
        """Return the threads of BLAS that hold without our limits."""
        with self._lock:
            if self._limits:
                return max(self._before, default=1)
            return max((library.get_num_threads() for library in _libraries()), default=1)

    def _keep(self, limits: list[_Limit]) -> None:
        """End all limits except ``limits``."""
        self._limits = limits
        for k, library in enumerate(_libraries()):
            now = library.get_num_threads()
            if now == self._ours[k]:
                self._set(k, library, now, limits[-1].threads if limits else self._before[k])

    def _set(self, k: int, library: Any, now: int, threads: int) -> None:
        if threads != now:
            library.set_num_threads(threads)
            now = library.get_num_threads()  # the library may have a maximum
        self._ours[k] = now

    def before_fork(self) -> None:
        """Take the lock, so that no thread is changing the limits while the process forks."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Release the lock."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """End the limits of other threads, which do not exist in the child; release the lock."""
        mine = [each for each in self._limits if each.thread == get_ident()]
        if len(mine) < len(self._limits):
            self._keep(mine)
        self._lock.release()


@cache
def _libraries() -> list[Any]:
    """Return threadpoolctl's controllers of the BLAS libraries; the search takes 2 ms."""
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().lib_controllers
    return [library for library in found if library.user_api == "blas"]


BLAS = BlasThreads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=BLAS.before_fork,
        after_in_parent=BLAS.after_fork_in_parent,
        after_in_child=BLAS.after_fork_in_child,
    )
