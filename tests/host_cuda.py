"""A CUDA runtime on the host: devices, memory, streams and graphs, as gpubp uses them.

Work is done at once, in the order in which it is issued, so a race cannot change a number here.
What a device would leave to chance is found by bookkeeping instead and fails the test: work on
the null stream, memory that another stream may still be using, a host that reads before it has
waited, an allocation inside of a capture, a graph whose memory was freed.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

ALIGNMENT = 512  # bytes, of CuPy's allocations
POISON = 0xFF  # of every new byte: NaN as a float, -1 as an integer

NO_DEVICE, BAD_DEVICE, OLD_DRIVER = 100, 101, 35
ILLEGAL_STATE, CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED = 401, 900, 901
_STATUS = {
    OLD_DRIVER: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA "
    "runtime version",
    NO_DEVICE: "cudaErrorNoDevice: no CUDA-capable device is detected",
    BAD_DEVICE: "cudaErrorInvalidDevice: invalid device ordinal",
    ILLEGAL_STATE: "cudaErrorIllegalState: the operation cannot be performed in the present state",
    CAPTURE_UNSUPPORTED: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream "
    "is capturing",
    CAPTURE_INVALIDATED: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous "
    "error during capture",
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


class Machine:
    """The devices that a test sees, and a count of what they were asked to do.

    devices : how many; memory : bytes of each; driver : the status that every call fails with,
        or 0.
    issued : work by name, done as it was issued; captured : recorded instead; replayed : done by
        launches of graphs, of which there were ``launches``.
    faults : misuse that was found where nothing could be raised.
    """

    def __init__(self, devices: int = 1, memory: int = 1 << 30, driver: int = 0) -> None:
        self.devices, self.memory, self.driver = devices, memory, driver
        self.used: Counter[int] = Counter()  # bytes by device
        # The memory behind each address that was asked for.
        self.addresses: weakref.WeakValueDictionary[int, Block] = weakref.WeakValueDictionary()
        self.streams: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()
        self.issued: Counter[str] = Counter()
        self.captured: Counter[str] = Counter()
        self.replayed: Counter[str] = Counter()
        self.launches = 0
        self.faults: list[str] = []
        self.loaded: set[Any] = set()  # kernels, on the devices that have run them
        self.thread = _Thread()

    def device_count(self) -> int:
        if self.driver:
            raise CUDARuntimeError(self.driver)
        return self.devices

    def block_at(self, address: int) -> Block:
        """Return the memory of an array whose ``data.ptr`` is ``address``."""
        block = self.addresses.get(address)
        if block is None:
            raise MisuseError(f"address {address:#x} is of no array on a device")
        return block


class _Thread(threading.local):
    """What is current in this thread; capturing : how many captures it has begun."""

    def __init__(self) -> None:
        self.device = 0
        self.devices: list[int] = []
        self.streams: list[tuple[int, Stream]] = []
        self.capturing = 0


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
        self._stream = get_current_stream()
        if self._stream.ptr == 0:
            raise MisuseError(f"{size} bytes are allocated on the null stream")
        self.size, self._room = size, -(-size // ALIGNMENT) * ALIGNMENT
        self.device_id = owner.thread.device
        self.writer: tuple[Stream, int] | None = None
        self.readers: dict[Stream, int] = {}
        in_use = owner.used[self.device_id]
        if in_use + self._room > owner.memory:
            self._room = 0
            raise OutOfMemoryError(size, in_use)
        owner.used[self.device_id] += self._room
        room = np.full(self._room + ALIGNMENT, POISON, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        self.bytes = room[start : start + size]
        self.address = room.ctypes.data + start

    def users(self) -> Iterable[tuple[Stream, int]]:
        """Return the streams that have used this memory, with the number of their last use."""
        return [*self.readers.items(), *([self.writer] if self.writer else [])]

    def __del__(self) -> None:
        if getattr(self, "_room", 0):
            self._machine.used[self.device_id] -= self._room
            # CuPy hands freed memory out again on the stream that it was allocated on.
            if any(s is not self._stream and s._finished < k for s, k in self.users()):
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


# ---- devices and streams ---------------------------------------------------------------------


class Device:
    """One CUDA device, current inside of ``with``."""

    def __init__(self, device: int | None = None) -> None:
        self.id = _machine.thread.device if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Self:
        if self.id >= _machine.device_count():
            raise CUDARuntimeError(BAD_DEVICE)
        _machine.thread.devices.append(_machine.thread.device)
        _machine.thread.device = self.id
        return self

    def __exit__(self, *error: object) -> None:
        _machine.thread.device = _machine.thread.devices.pop()

    def synchronize(self) -> None:
        for stream in list(_machine.streams.values()):
            if stream.device_id == self.id:
                stream.synchronize()

    @property
    def mem_info(self) -> tuple[int, int]:
        return _machine.memory - _machine.used[self.id], _machine.memory

    @property
    def compute_capability(self) -> str:
        return "80"


class Stream:
    """A queue of work; only streams that do not wait for the null stream.

    Work is numbered; ``_finished`` is the last that the host has waited for.
    """

    null: ClassVar[Stream]
    _pointers = itertools.count(0x1000, 0x10)

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: int | None = None,
    ) -> None:
        if null or ptds or not non_blocking:
            raise NotImplementedError("the stand-in has only streams with non_blocking=True")
        self._begin(next(self._pointers), _machine.thread.device)
        _machine.streams[self.ptr] = self

    def _begin(self, ptr: int, device_id: int) -> None:
        self.ptr, self.device_id = ptr, device_id
        self._issued = self._finished = 0
        self._nodes: list[_Node] | None = None
        self._broken = False

    def __repr__(self) -> str:
        return f"<Stream {self.ptr:#x} (device {self.device_id})>"

    def __enter__(self) -> Self:
        here = _machine.thread.device
        if self.device_id not in (-1, here):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with "
                f"the current device ({here})"
            )
        _machine.thread.streams.append((here, self))
        return self

    def __exit__(self, *error: object) -> None:
        _machine.thread.streams.pop()

    def synchronize(self) -> None:
        if self._nodes is not None:
            self._broken = True
            raise CUDARuntimeError(CAPTURE_UNSUPPORTED)
        self._finished = self._issued

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._nodes is not None:
            raise CUDARuntimeError(ILLEGAL_STATE)
        self._nodes, self._broken = [], False
        _machine.thread.capturing += 1

    def end_capture(self) -> Graph:
        nodes, self._nodes = self._nodes, None
        if nodes is None:
            raise CUDARuntimeError(ILLEGAL_STATE)
        _machine.thread.capturing -= 1
        if self._broken:
            raise CUDARuntimeError(CAPTURE_INVALIDATED)
        return Graph._of(nodes)

    def is_capturing(self) -> bool:
        return self._nodes is not None

    def _note(self, name: str, reads: Iterable[Block], writes: Iterable[Block]) -> None:
        """Keep track of who uses which memory.

        Raises
        ------
        MisuseError
            If another stream may still be writing, or reading what is to be written.
        """
        self._issued += 1
        for block, writing in [(b, False) for b in reads] + [(b, True) for b in writes]:
            users = block.users() if writing else [block.writer] if block.writer else []
            for stream, number in users:
                if stream is not self and stream._finished < number:
                    raise MisuseError(f"{name} on {self} does not wait for {stream}")
            if writing:
                block.writer, block.readers = (self, self._issued), {}
            else:
                block.readers[self] = self._issued

    def _keep(self, node: _Node) -> None:
        """Add ``node`` to the capture."""
        assert self._nodes is not None
        self._nodes.append(node)


Stream.null = object.__new__(Stream)
Stream.null._begin(0, -1)


def get_current_stream(device_id: int = -1) -> Stream:
    """Return this thread's stream for a device, the current one by default."""
    device = _machine.thread.device if device_id == -1 else device_id
    streams = [s for where, s in _machine.thread.streams if where == device]
    return streams[-1] if streams else Stream.null


def stream_at(ptr: int) -> Stream:
    """Return the stream with this address."""
    return _machine.streams[ptr] if ptr else Stream.null


# ---- work ------------------------------------------------------------------------------------


class _Node(NamedTuple):
    """One piece of work in a graph, which does not keep the memory alive."""

    name: str
    run: Callable[[], None]
    reads: list[weakref.ref[Block]]
    writes: list[weakref.ref[Block]]


def issue(
    name: str,
    run: Callable[[], None],
    reads: Iterable[Block] = (),
    writes: Iterable[Block] = (),
    stream: Stream | None = None,
) -> None:
    """Do ``run`` on ``stream``, the current one by default; or record it if that is capturing.

    reads, writes : the memory that it uses. Its other values are bound.
    """
    stream = get_current_stream() if stream is None else stream
    reads, writes = list(reads), list(writes)
    if stream.ptr == 0:
        raise MisuseError(f"{name} is issued on the null stream, which waits for no other")
    if away := {block.device_id for block in reads + writes} - {stream.device_id}:
        raise MisuseError(f"{name} on {stream} uses memory of device {away.pop()}")
    if stream.is_capturing():
        _machine.captured[name] += 1
        refs = ([weakref.ref(block) for block in blocks] for blocks in (reads, writes))
        stream._keep(_Node(name, run, *refs))
        return
    _machine.issued[name] += 1
    stream._note(name, reads, writes)
    run()


class Graph:
    """What a stream has captured."""

    def __init__(self) -> None:
        raise NotImplementedError("a graph is created by a capture")

    @classmethod
    def _of(cls, nodes: list[_Node]) -> Graph:
        if not nodes:
            raise MisuseError("the capture is empty: its work went to another stream")
        graph = object.__new__(cls)
        graph._nodes = nodes
        graph._names = Counter(node.name for node in nodes)
        graph._reads = {ref: node.name for node in nodes for ref in node.reads}
        graph._writes = {ref: node.name for node in nodes for ref in node.writes}
        return graph

    _nodes: list[_Node]
    _names: Counter[str]
    _reads: dict[weakref.ref[Block], str]
    _writes: dict[weakref.ref[Block], str]

    def launch(self, stream: Stream | None = None) -> None:
        stream = get_current_stream() if stream is None else stream
        if stream.is_capturing():
            raise NotImplementedError("the stand-in has no graphs in graphs")
        if stream.ptr == 0:
            raise MisuseError("a graph is launched on the null stream, which waits for no other")
        stream._note("a graph", _alive(self._reads), _alive(self._writes))
        _machine.launches += 1
        _machine.replayed.update(self._names)
        for node in self._nodes:
            node.run()

    def upload(self, stream: Stream | None = None) -> None:
        pass


def _alive(blocks: dict[weakref.ref[Block], str]) -> list[Block]:
    alive = [(ref(), name) for ref, name in blocks.items()]
    for block, name in alive:
        if block is None:
            raise MisuseError(f"{name} of a launched graph uses memory freed since its capture")
    return [block for block, _ in alive if block is not None]
