"""The threads of the BLAS libraries: one number per library for the whole process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock, get_ident
from typing import Any, NamedTuple


class _Limit(NamedTuple):
    threads: int
    thread: int  # the identifier of the thread that has set it


class BlasThreads:
    """Limits the threads of BLAS.

    Of several limits at a time the newest holds; when the last has ended, the number before it
    comes back. A number that other code has set in the meantime stays.
    """

    def __init__(self) -> None:
        self._lock = RLock()  # of one thread: a signal handler may predict, or fork
        self._limits: list[_Limit] = []
        # By library: the threads without limits, and those that we have set.
        self._before: list[int] = []
        self._ours: list[int] = []

    @contextmanager
    def limited_to(self, threads: int) -> Iterator[None]:
        """Return a context with at most so many threads."""
        own = _Limit(threads, get_ident())
        libraries = _libraries()
        with self._lock:
            now = [library.get_num_threads() for library in libraries]
            if not self._limits:
                self._before, self._ours = now, [*now]
            for k, library in enumerate(libraries):
                if now[k] != self._ours[k]:  # set by other code
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
        """End all limits but these."""
        self._limits = limits
        for k, library in enumerate(_libraries()):
            now = library.get_num_threads()
            if now == self._ours[k]:
                self._set(k, library, now, limits[-1].threads if limits else self._before[k])

    def _set(self, k: int, library: Any, now: int, threads: int) -> None:
        if threads != now:
            library.set_num_threads(threads)
            now = library.get_num_threads()  # it may have a maximum
        self._ours[k] = now

    def before_fork(self) -> None:
        """Let no other thread be in the middle of a change while the process forks."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """End the limits of other threads, which the child does not have."""
        mine = [each for each in self._limits if each.thread == get_ident()]
        if len(mine) < len(self._limits):
            self._keep(mine)
        self._lock.release()


@cache
def _libraries() -> list[Any]:
    """Return threadpoolctl's controllers of the BLAS libraries; to look for them takes 2 ms."""
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
