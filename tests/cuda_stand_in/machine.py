"""The machine that `cuda` pretends: its errors, its memory, and who knows what is done.

Order is kept by vector clocks: a stream numbers its work, and a clock says, for each stream by
its address, up to which number all is known to be done. Two pieces of work are ordered if the
later one's clock has the earlier one's number; see Mattern, "Virtual Time and Global States of
Distributed Systems" (1989).
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

if TYPE_CHECKING:
    from tests.cuda_stand_in.cuda import Stream

ALIGNMENT = 512  # bytes, of CuPy's allocations
SPILL = 1024  # bytes of an array that must not lie on the host; what CuPy makes beside may
POISON = 0xFF  # of every new byte: NaN as a float, -1 as an integer

NO_DEVICE, BAD_DEVICE, OLD_DRIVER, BAD_HANDLE, NOT_READY = 100, 101, 35, 400, 600
ILLEGAL_STATE, CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, CAPTURE_MERGE = 401, 900, 901, 902
CAPTURE_UNMATCHED, CAPTURE_UNJOINED, CAPTURE_ISOLATION, CAPTURED_EVENT = 903, 904, 905, 907
_STATUS = {
    OLD_DRIVER: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA "
    "runtime version",
    NO_DEVICE: "cudaErrorNoDevice: no CUDA-capable device is detected",
    BAD_DEVICE: "cudaErrorInvalidDevice: invalid device ordinal",
    BAD_HANDLE: "cudaErrorInvalidResourceHandle: invalid resource handle",
    ILLEGAL_STATE: "cudaErrorIllegalState: the operation cannot be performed in the present state",
    NOT_READY: "cudaErrorNotReady: device not ready",
    CAPTURE_UNSUPPORTED: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream "
    "is capturing",
    CAPTURE_INVALIDATED: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous "
    "error during capture",
    CAPTURE_MERGE: "cudaErrorStreamCaptureMerge: operation would result in a merge of separate "
    "capture sequences",
    CAPTURE_UNMATCHED: "cudaErrorStreamCaptureUnmatched: capture was not ended in the same stream "
    "as it began",
    CAPTURE_UNJOINED: "cudaErrorStreamCaptureUnjoined: capturing stream has unjoined work",
    CAPTURE_ISOLATION: "cudaErrorStreamCaptureIsolation: dependency created on uncaptured work in "
    "another stream",
    CAPTURED_EVENT: "cudaErrorCapturedEvent: operation not permitted on an event last recorded in "
    "a capturing stream",
}


class MisuseError(AssertionError):
    """What a device might let pass, with wrong numbers or a crash later."""


class CUDARuntimeError(RuntimeError):
    """A call to CUDA failed, with this status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(_STATUS[status])


class OutOfMemoryError(MemoryError):
    """The device has no room for ``size`` bytes beside the ``total`` that are in use."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes)."
        )


# ---- order -----------------------------------------------------------------------------------

Clock = dict[int, int]


def learn(clock: Clock, other: Clock) -> None:
    """Let ``clock`` know all that ``other`` does."""
    for stream, number in other.items():
        clock[stream] = max(clock.get(stream, 0), number)


class Bytes(NamedTuple):
    """Bytes of an allocation: pieces of ``size``, ``period`` apart, from ``start`` up to ``stop``.

    period : 0 where there is but one piece, or where pieces are not told apart.
    """

    start: int
    stop: int
    period: int
    size: int

    def overlap(self, other: Bytes) -> bool:
        """Whether a byte is in both; true too where the pieces do not tell."""
        if self.stop <= other.start or other.stop <= self.start:
            return False
        period = self.period or other.period
        if not period or period != (other.period or period):
            return True
        between = other.start - self.start
        return between % period < self.size or -between % period < other.size

    def cover(self, other: Bytes) -> bool:
        """Whether every byte of ``other`` is in these; false too where the pieces do not tell."""
        if self.period:
            return self == other
        return self.start <= other.start and other.stop <= self.stop


Span = tuple["Block", Bytes]


def bytes_of(view: np.ndarray, first: int) -> Bytes:
    """Return the bytes of ``view`` in the memory that begins at ``first``."""
    start, stop = byte_bounds(view)
    size, period, whole = view.itemsize, 0, start == stop or view.flags.c_contiguous
    axes = (
        []
        if whole
        else sorted((abs(s), n) for n, s in zip(view.shape, view.strides, strict=True) if n > 1)
    )
    inner = size
    for stride, n in axes:  # from the innermost on
        if not period and stride > inner:
            period, size = stride, inner
        elif period and stride % period:
            period = 0  # pieces at irregular places
            break
        inner += (n - 1) * stride
    return Bytes(start - first, stop - first, period, size if period else stop - start)


class Usage:
    """The last work that wrote each byte of some memory, and the work that has read it since.

    By bytes, stream, and whether it wrote: the number of the work.
    """

    def __init__(self) -> None:
        self._uses: dict[tuple[Bytes, int, bool], int] = {}

    def note(self, used: Bytes, stream: int, clock: Clock, writing: bool) -> None:
        """Add work that comes after all that `unknown` has found nothing in."""
        uses = self._uses
        if writing:  # who knows of this knows of what it overwrote
            for use in [use for use in uses if used.cover(use[0])]:
                del uses[use]
        uses[used, stream, writing] = clock[stream]

    def unknown(self, used: Bytes, writing: bool, *clocks: Clock) -> int | None:
        """Return a stream that none of ``clocks`` knows to be done with them, or None."""
        for (others, stream, wrote), number in self._uses.items():
            if (writing or wrote) and used.overlap(others):
                for clock in clocks:
                    if number <= clock.get(stream, 0):
                        break
                else:
                    return stream
        return None


class Transfer(NamedTuple):
    """A copy to or from pinned memory, until the host has waited for it.

    done : what the host's waiting does, which may return a fault.
    """

    stream: int
    number: int
    done: Callable[[], str | None]


class Machine:
    """The devices that a test sees, and a count of what they were asked to do.

    devices : how many; memory : bytes of each; driver : the status that every call fails with,
        or 0; missing : libraries of CUDA that are not installed, "nvrtc" or "cublas".
    spills : whether what does not fit lies on the host instead of failing, as on Windows and WSL.
    issued : work by name, done as it was issued; captured : recorded instead; replayed : done by
        launches of graphs, of which there were ``launches``.
    faults : misuse that was found where nothing could be raised.
    cublas : the library of the fixture ``host_cupy``.
    milliseconds : what the work so far has taken, as events tell the time.
    """

    def __init__(
        self,
        devices: int = 1,
        memory: int = 1 << 30,
        driver: int = 0,
        missing: frozenset[str] = frozenset(),
        spills: bool = False,
    ) -> None:
        self.spills = spills
        self.devices, self.memory, self.driver, self.missing = devices, memory, driver, missing
        self.used: Counter[int] = Counter()  # bytes by device
        # The memory behind each address that was asked for.
        self.addresses: weakref.WeakValueDictionary[int, Block] = weakref.WeakValueDictionary()
        self.streams: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()
        self.issued: Counter[str] = Counter()
        self.captured: Counter[str] = Counter()
        self.replayed: Counter[str] = Counter()
        self.launches = 0
        self.milliseconds = 0.0
        self.faults: list[str] = []
        self.loaded: set[Any] = set()  # kernels, on the devices that have run them
        self.thread = _Thread()
        self.host: Clock = {}  # what the host has waited for
        self.transfers: list[Transfer] = []
        self.pinned: weakref.WeakValueDictionary[int, PinnedMemory] = weakref.WeakValueDictionary()
        self.cublas: Any = None

    def require(self, library: str, kind: type[Exception]) -> None:
        """Raise an error of this kind, as CuPy does, where a library is not installed."""
        if library in self.missing:
            raise kind(f'Failure finding "lib{library}.so"\n  listdir(...):\n    libcudart.so.13')

    def device_count(self) -> int:
        if self.driver:
            raise CUDARuntimeError(self.driver)
        return self.devices

    def span_of(self, view: np.ndarray) -> Span:
        """Return where ``view`` lies, which begins at the ``data.ptr`` of an array."""
        address = view.ctypes.data
        block = self.addresses.get(address)
        if block is None:
            raise MisuseError(f"address {address:#x} is of no array on a device")
        used = bytes_of(view, block.address)
        if used.stop > block.size:
            size = used.stop - used.start
            raise MisuseError(f"{size} bytes at {address:#x} go beyond their array's memory")
        return block, used

    def inform(self, clock: Clock) -> None:
        """Let the host know what ``clock`` does: it has waited, and all later work comes after."""
        learn(self.host, clock)
        waiting, self.transfers = self.transfers, []
        for transfer in waiting:
            if self.host.get(transfer.stream, 0) < transfer.number:
                self.transfers.append(transfer)
            elif fault := transfer.done():
                self.faults.append(fault)

    def settle(self) -> list[str]:
        """Return the faults, with those of copies that no one has waited for."""
        for transfer in self.transfers:
            self.inform({transfer.stream: transfer.number})
        return self.faults


class _Thread(threading.local):
    """What is current in this thread; capturing : how many captures it has begun."""

    def __init__(self) -> None:
        self.device = 0
        self.devices: list[int] = []
        self.streams: list[tuple[int, Stream]] = []
        self.capturing = 0

    def stream(self, device: int) -> Stream | None:
        """Return the current stream for a device, None where it is the null stream."""
        streams = [s for where, s in self.streams if where == device]
        return streams[-1] if streams else None


_machine = Machine()


def start(**options: Any) -> Machine:
    """Return a fresh machine, which everything here is about from now on."""
    global _machine  # noqa: PLW0603
    _machine = Machine(**options)
    return _machine


def machine() -> Machine:
    """Return the machine that was started last."""
    return _machine


# ---- memory ----------------------------------------------------------------------------------


class Block:
    """An allocation: ``bytes`` on the host from ``address`` on, and who has been using it."""

    def __init__(self, size: int) -> None:
        self._machine = owner = _machine
        if owner.thread.capturing:
            raise MisuseError(f"{size} bytes are allocated inside of a capture")
        self.device_id = owner.thread.device
        stream = owner.thread.stream(self.device_id)
        if stream is None:
            raise MisuseError(f"{size} bytes are allocated on the null stream")
        self.size, self._room = size, -(-size // ALIGNMENT) * ALIGNMENT
        self._stream, self.usage = stream, Usage()
        in_use = owner.used[self.device_id]
        if in_use + self._room > owner.memory:
            if not owner.spills:
                self._room = 0
                raise OutOfMemoryError(size, in_use)
            if size >= SPILL:
                owner.faults.append(f"{size} bytes do not fit, and lie on the host")
        owner.used[self.device_id] += self._room
        room = np.full(self._room + ALIGNMENT, POISON, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        self.bytes = room[start : start + size]
        self.address = room.ctypes.data + start

    def __del__(self) -> None:
        if getattr(self, "_room", 0):
            self._machine.used[self.device_id] -= self._room
            # CuPy hands freed memory out again on the stream that it was allocated on.
            known = self._stream.clock, self._machine.host
            if self.usage.unknown(Bytes(0, self.size, 0, self.size), True, *known) is not None:
                self._machine.faults.append(f"{self.size} bytes were freed while in use")


class MemoryPointer:
    """An address on a device; keeps the memory alive."""

    def __init__(self, mem: Block, offset: int) -> None:
        self.mem, self.ptr, self.device_id = mem, mem.address + offset, mem.device_id
        _machine.addresses[self.ptr] = mem


class MemoryPool:
    """What is allocated; nothing is cached."""

    def used_bytes(self) -> int:
        return _machine.used[_machine.thread.device]

    def total_bytes(self) -> int:
        return self.used_bytes()

    def free_all_blocks(self, stream: Stream | None = None) -> None:
        pass


class PinnedMemory(bytearray):
    """Memory of the host that a device copies from and to while the host goes on."""

    def __init__(self, size: int) -> None:
        super().__init__(bytes([POISON]) * size)
        self.ptr = np.frombuffer(self, np.uint8).ctypes.data if size else 0
        _machine.pinned[self.ptr] = self


def alloc_pinned_memory(size: int) -> PinnedMemory:
    """Return ``size`` bytes, for np.frombuffer."""
    return PinnedMemory(size)


def pinned_at(address: int) -> PinnedMemory | None:
    """Return the pinned memory that ``address`` is in, or None."""
    for memory in list(_machine.pinned.values()):
        if memory.ptr <= address < memory.ptr + len(memory):
            return memory
    return None


def transfer(
    stream: Stream,
    memory: PinnedMemory,
    address: int,
    expected: bytes,
    after: bytes | None = None,
    keep: bool = False,
) -> None:
    """Find out, when the host waits for the last work of ``stream``, what it did before.

    expected : what lies at ``address`` of ``memory`` unless the host has written there.
    after : what the copy writes there; it arrives as late as it may.
    keep : whether ``memory`` stays alive until then.
    """
    alive, kept, first = weakref.ref(memory), memory if keep else None, address - memory.ptr
    place = slice(first, first + len(expected))

    def done(_kept: Any = kept) -> str | None:
        memory = alive()
        if memory is None:
            return "pinned memory was freed while it was copied"
        if memory[place] != expected:
            return "pinned memory was overwritten while it was copied"
        if after is not None:
            memory[place] = after
        return None

    _machine.transfers.append(Transfer(stream.ptr, stream.clock[stream.ptr], done))
