"""The streams and cuBLAS handles that a thread computes with, and whether an array has room."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from gpubp.backends.cuda_gemm import Products
from gpubp.kernels.cublas.gemm import Precision
from gpubp.kernels.cublas.library import GemmUnavailableError, workspace_bytes

# Arrays of fewer bytes are allocated without a question to the driver, which takes time.
CHECKED_BYTES = 1 << 23


def check_room(cupy: Any, device: Any, needed: int) -> None:
    """Raise a MemoryError where a large array of ``needed`` bytes does not fit on ``device``.

    The drivers of Windows and of WSL do not: they move memory to the host, and each step takes many
    times as long (microsoft/WSL#11050).
    """
    if needed < CHECKED_BYTES or needed <= device.mem_info[0]:
        return
    cupy.get_default_memory_pool().free_all_blocks()
    free = device.mem_info[0]
    if needed > free:
        raise MemoryError(f"cuda:{device.id} has {free:,} bytes free, but {needed:,} are needed")


class Engine:
    """One thread's streams on a device: a main one, one for uploads, and one beside the main.

    lock : of the thread that computes; others wait, where several share the engine.
    products : of the main stream and of the side stream; None where cuBLAS does not load.
    restriction : what cannot be done here, as the end of a sentence.
    """

    products: tuple[Products, Products] | None = None
    restriction = ""

    def __init__(self, cupy: Any, device: Any, precision: Precision) -> None:
        self.lock = threading.RLock()
        make = cupy.cuda.Stream
        self.main, self.side, self.uploads = (make(non_blocking=True) for _ in range(3))
        # Recorded again at each fork and join: a wait is for what an event stands for at that time.
        self.fork, self.join = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        try:
            options = (device.compute_capability, precision)
            check_room(cupy, device, 2 * workspace_bytes(device.compute_capability))
            main, side = (Products(cupy, stream, *options) for stream in (self.main, self.side))
            self.products = main, side
        except GemmUnavailableError as error:
            self.restriction = f"; products by cupy.matmul, and no step is recorded: {error}"


class _Engines:
    """The engines of one device and precision, each of one thread while there are few.

    They live as long as the process: memory that a stream has freed serves its next training, and
    to destroy a cuBLAS handle waits for the device, which breaks any capture of another thread.
    Each keeps workspaces of 8 to 64 MiB, so there are MOST at most. A thread that has ended leaves
    its engine to the next; beyond that, threads share one and take turns (`Engine.lock`).
    """

    MOST = 8

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: list[tuple[Engine, list[weakref.ref[threading.Thread]]]] = []

    def of_this_thread(self, make: Callable[[], Engine]) -> Engine:
        """Return this thread's engine: the one it had, a free one, a new one, or a shared one."""
        me = threading.current_thread()
        with self._lock:
            for _, users in self._engines:
                users[:] = [user for user in users if (t := user()) is not None and t.is_alive()]
            for engine, users in self._engines:
                if any(user() is me for user in users):
                    return engine
            if len(self._engines) < self.MOST and all(users for _, users in self._engines):
                self._engines.append((make(), []))
            engine, users = min(self._engines, key=lambda pair: len(pair[1]))
            users.append(weakref.ref(me))
            return engine


# By device and precision.
_ENGINES: dict[tuple[int, str], _Engines] = {}
_OF_THE_PARENT: list[Any] = []  # CUDA does not work in a forked child, which must not destroy them


def _forget_engines() -> None:
    """Begin without engines, whose locks another thread may have held."""
    _OF_THE_PARENT.append(dict(_ENGINES))
    _ENGINES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_engines)


def engine_of_this_thread(cupy: Any, device: Any, precision: Precision) -> Engine:
    """Return the engine that this thread computes with on ``device``, a cupy.cuda.Device."""

    def make() -> Engine:
        with device:
            return Engine(cupy, device, precision)

    engines = _ENGINES.setdefault((device.id, precision), _Engines())
    return engines.of_this_thread(make)
