"""The CUDA streams and cuBLAS handles of a thread, and a check for free device memory."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from gpubp.backends.cuda_gemm import Products
from gpubp.kernels.cublas.gemm import Precision
from gpubp.kernels.cublas.library import GemmUnavailableError, workspace_bytes

# Smaller arrays are allocated without asking the driver for free memory, which takes time.
CHECKED_BYTES = 1 << 23


def check_room(cupy: Any, device: Any, needed: int) -> None:
    """Raise MemoryError if a large array of ``needed`` bytes does not fit on ``device``.

    The drivers of Windows and WSL do not fail in this case. They move memory to the host, and each
    step takes many times as long (microsoft/WSL#11050).
    """
    if needed < CHECKED_BYTES or needed <= device.mem_info[0]:
        return
    cupy.get_default_memory_pool().free_all_blocks()
    free = device.mem_info[0]
    if needed > free:
        raise MemoryError(f"cuda:{device.id} has {free:,} bytes free, but {needed:,} are needed")


class Engine:
    """The streams of a thread on a device: main stream, side stream and upload stream.

    lock : held by the thread that computes; other threads that share the engine wait for it.
    products : of the main stream and of the side stream; None if cuBLAS cannot be loaded.
    restriction : the consequences of a missing cuBLAS, as the end of a sentence; else "".
    """

    products: tuple[Products, Products] | None = None
    restriction = ""

    def __init__(self, cupy: Any, device: Any, precision: Precision) -> None:
        self.lock = threading.RLock()
        make = cupy.cuda.Stream
        self.main, self.side, self.uploads = (make(non_blocking=True) for _ in range(3))
        # The events are recorded again at each fork and join; a wait uses the latest record.
        self.fork, self.join = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        try:
            options = (device.compute_capability, precision)
            check_room(cupy, device, 2 * workspace_bytes(device.compute_capability))
            main, side = (Products(cupy, stream, *options) for stream in (self.main, self.side))
            self.products = main, side
        except GemmUnavailableError as error:
            self.restriction = f"; products by cupy.matmul, and no step is recorded: {error}"


class _Engines:
    """The engines of one device and precision; each thread has its own, up to MOST threads.

    Engines live as long as the process: the next training reuses memory that a stream has freed,
    and destroying a cuBLAS handle waits for the device, which breaks a capture of another thread.
    Each engine keeps workspaces of 8 to 64 MiB, so there are at most MOST. A new thread takes over
    the engine of a thread that has ended. If there is none, threads share engines and take turns
    (`Engine.lock`).
    """

    MOST = 8

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: list[tuple[Engine, list[weakref.ref[threading.Thread]]]] = []

    def of_this_thread(self, make: Callable[[], Engine]) -> Engine:
        """Return the engine of this thread: its previous one, else a free, new or shared one."""
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
# In a forked child: the engines of the parent. CUDA does not work there, so none may be destroyed.
_OF_THE_PARENT: list[Any] = []


def _forget_engines() -> None:
    """Start a forked child without engines, because another thread may have held their locks."""
    _OF_THE_PARENT.append(dict(_ENGINES))
    _ENGINES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_engines)


def engine_of_this_thread(cupy: Any, device: Any, precision: Precision) -> Engine:
    """Return the engine of this thread on ``device``, a cupy.cuda.Device."""

    def make() -> Engine:
        with device:
            return Engine(cupy, device, precision)

    engines = _ENGINES.setdefault((device.id, precision), _Engines())
    return engines.of_this_thread(make)
