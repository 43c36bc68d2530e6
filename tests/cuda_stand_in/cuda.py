"""A CUDA runtime on the host: devices, streams, events and graphs, as gpubp uses them.

Work is done at once, in the order in which it is issued, so a race cannot change a number here.
What a device would leave to chance is found by bookkeeping instead and fails the test: work on
the null stream, memory that another stream may still be using, two branches of a capture that
use the same memory, a host that reads or overwrites before it has waited, an allocation inside of
a capture, a graph whose memory was freed.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable
from typing import ClassVar, Self

from tests.cuda_stand_in.graphs import Capture, Graph, Node
from tests.cuda_stand_in.machine import (
    BAD_DEVICE,
    BAD_HANDLE,
    CAPTURE_ISOLATION,
    CAPTURE_UNMATCHED,
    CAPTURE_UNSUPPORTED,
    CAPTURED_EVENT,
    ILLEGAL_STATE,
    NO_DEVICE,
    NOT_READY,
    OLD_DRIVER,
    Block,
    Bytes,
    Clock,
    CUDARuntimeError,
    Machine,
    MemoryPointer,
    MemoryPool,
    MisuseError,
    OutOfMemoryError,
    Span,
    alloc_pinned_memory,
    learn,
    machine,
    start,
)

__all__ = [
    "BAD_DEVICE",
    "NO_DEVICE",
    "OLD_DRIVER",
    "Block",
    "CUDARuntimeError",
    "Device",
    "Event",
    "Graph",
    "Machine",
    "MemoryPointer",
    "MemoryPool",
    "MisuseError",
    "OutOfMemoryError",
    "Span",
    "Stream",
    "alloc_pinned_memory",
    "device_properties",
    "get_current_stream",
    "get_elapsed_time",
    "issue",
    "machine",
    "start",
    "stream_at",
]

MILLISECONDS = 0.01  # that events tell of one piece of work, where it does not say otherwise

# ---- devices and streams ---------------------------------------------------------------------


class Device:
    """One CUDA device, current inside of ``with``."""

    def __init__(self, device: int | None = None) -> None:
        self.id = machine().thread.device if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Self:
        if self.id >= machine().device_count():
            raise CUDARuntimeError(BAD_DEVICE)
        machine().thread.devices.append(machine().thread.device)
        machine().thread.device = self.id
        return self

    def __exit__(self, *error: object) -> None:
        machine().thread.device = machine().thread.devices.pop()

    def synchronize(self) -> None:
        for stream in list(machine().streams.values()):
            if stream.device_id == self.id:
                stream.synchronize()

    @property
    def mem_info(self) -> tuple[int, int]:
        return max(0, machine().memory - machine().used[self.id]), machine().memory

    @property
    def compute_capability(self) -> str:
        return "80"


class Stream:
    """A queue of work; only streams that do not wait for the null stream.

    clock : the number of its last work, and what that comes after on other streams.
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
        self._begin(next(self._pointers), machine().thread.device)
        machine().streams[self.ptr] = self

    def _begin(self, ptr: int, device_id: int) -> None:
        self.ptr, self.device_id = ptr, device_id
        self.clock: Clock = {ptr: 0}
        self._capture: Capture | None = None

    def __repr__(self) -> str:
        return f"<Stream {self.ptr:#x} (device {self.device_id})>"

    def __enter__(self) -> Self:
        here = machine().thread.device
        if self.device_id not in (-1, here):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with "
                f"the current device ({here})"
            )
        machine().thread.streams.append((here, self))
        return self

    def __exit__(self, *error: object) -> None:
        machine().thread.streams.pop()

    def synchronize(self) -> None:
        if self._capture is not None:
            self._capture.broken = True
            raise CUDARuntimeError(CAPTURE_UNSUPPORTED)
        machine().inform(self.clock)

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if self.ptr == 0:
            raise MisuseError("the null stream waits for an event, but no other for it")
        mine, theirs = self._capture, event._capture
        if theirs is not None and theirs.ended:
            raise CUDARuntimeError(CAPTURED_EVENT)
        if theirs is not None:
            theirs.admit(self)
        elif mine is not None and event._clock:
            raise mine.failed(CAPTURE_ISOLATION)
        learn(self._now, event._clock)

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._capture is not None:
            raise CUDARuntimeError(ILLEGAL_STATE)
        self._capture = Capture(self)
        machine().thread.capturing += 1

    def end_capture(self) -> Graph:
        capture = self._capture
        if capture is None:
            raise CUDARuntimeError(ILLEGAL_STATE)
        if capture.origin is not self:
            raise capture.failed(CAPTURE_UNMATCHED)
        machine().thread.capturing -= 1
        return Graph._of(capture.end())

    def is_capturing(self) -> bool:
        return self._capture is not None

    @property
    def _broken(self) -> bool:
        return self._capture is not None and self._capture.broken

    @_broken.setter
    def _broken(self, broken: bool) -> None:
        assert self._capture is not None
        self._capture.broken = broken

    @property
    def _now(self) -> Clock:
        """The clock of its next work, in its capture if it is in one."""
        return self.clock if self._capture is None else self._capture.clocks[self]

    def _note(self, name: str, reads: Iterable[Span], writes: Iterable[Span]) -> None:
        """Keep track of who uses which bytes.

        Raises
        ------
        MisuseError
            If another stream may still be writing, or reading what is to be written.
        """
        self._now[self.ptr] += 1
        self._use(name, reads, writes)

    def _use(self, name: str, reads: Iterable[Span], writes: Iterable[Span] = ()) -> None:
        """Let its last work use these bytes too."""
        clock, capture = self._now, self._capture
        known = (clock,) if capture else (clock, machine().host)
        for spans, writing in ((reads, False), (writes, True)):
            for block, used in spans:
                usage = capture.usage(block) if capture else block.usage
                if (other := usage.unknown(used, writing, *known)) is not None:
                    which = f"stream {other:#x}{' in its capture' if capture else ''}"
                    raise MisuseError(f"{name} on {self} does not wait for {which}")
                usage.note(used, self.ptr, clock, writing)


Stream.null = object.__new__(Stream)
Stream.null._begin(0, -1)


def get_current_stream(device_id: int = -1) -> Stream:
    """Return this thread's stream for a device, the current one by default."""
    device = machine().thread.device if device_id == -1 else device_id
    return machine().thread.stream(device) or Stream.null


def stream_at(ptr: int) -> Stream:
    """Return the stream with this address."""
    stream = machine().streams.get(ptr) if ptr else Stream.null
    if stream is None:
        raise MisuseError(f"address {ptr:#x} is of no stream")
    return stream


class Event:
    """What a stream has done at one point, for others and the host to wait for."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess:
            raise NotImplementedError("the stand-in has one process")
        self._timed, self._device = not disable_timing, machine().thread.device
        self._clock: Clock = {}  # of nothing, until it is recorded
        self._capture: Capture | None = None
        self._milliseconds, self._asked = 0.0, False

    def record(self, stream: Stream | None = None) -> None:
        stream = get_current_stream() if stream is None else stream
        if stream.ptr == 0:
            raise MisuseError("an event is recorded on the null stream, which waits for no other")
        if stream.device_id != self._device:
            raise CUDARuntimeError(BAD_HANDLE)
        self._capture, self._clock = stream._capture, dict(stream._now)
        self._milliseconds, self._asked = machine().milliseconds, False

    def synchronize(self) -> None:
        self._refuse_captured()
        machine().inform(self._clock)

    @property
    def done(self) -> bool:
        """Whether the host has waited; a host that asks again is told so the second time."""
        if self._capture is not None:  # CuPy takes the error for a no
            raise MisuseError("an event of a capture is never done")
        if not self._is_known() and not self._asked:
            self._asked = True
            return False
        machine().inform(self._clock)
        return True

    def _is_known(self) -> bool:
        return all(machine().host.get(s, 0) >= n for s, n in self._clock.items())

    def _refuse_captured(self) -> None:
        if self._capture is not None:
            raise self._capture.failed(CAPTURED_EVENT)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return the milliseconds between two events, which the host has waited for."""
    for event in (start_event, end_event):
        event._refuse_captured()
        if not event._timed or not event._clock:
            raise CUDARuntimeError(BAD_HANDLE)
        if not event._is_known():
            raise CUDARuntimeError(NOT_READY)
    return end_event._milliseconds - start_event._milliseconds


# ---- work ------------------------------------------------------------------------------------


def issue(
    name: str,
    run: Callable[[], None],
    reads: Iterable[Span] = (),
    writes: Iterable[Span] = (),
    stream: Stream | None = None,
    milliseconds: float = MILLISECONDS,
    parts: Iterable[Span] = (),
    read: Callable[[], list[Bytes]] = list,
) -> None:
    """Do ``run`` on ``stream``, the current one by default; or record it if that is capturing.

    reads, writes : the memory that it uses. Its other values are bound.
    milliseconds : what events are to say that it takes.
    parts, read : memory that it reads in part, and what tells, afterwards, of each which bytes.
    """
    stream = get_current_stream() if stream is None else stream
    reads, writes, parts = list(reads), list(writes), list(parts)
    if stream.ptr == 0:
        raise MisuseError(f"{name} is issued on the null stream, which waits for no other")
    if away := {block.device_id for block, _ in reads + writes + parts} - {stream.device_id}:
        raise MisuseError(f"{name} on {stream} uses memory of device {away.pop()}")
    if stream._capture is not None:
        stream._note(name, reads + parts, writes)
        machine().captured[name] += 1
        spans = (reads, writes, parts)
        refs = ([(weakref.ref(block), used) for block, used in of] for of in spans)
        stream._capture.nodes.append(Node(name, run, *refs, read, milliseconds))
        return
    stream._note(name, reads, writes)
    machine().issued[name] += 1
    machine().milliseconds += milliseconds
    run()
    if parts:
        stream._use(name, [(block, used) for (block, _), used in zip(parts, read(), strict=True)])


def device_properties(device: int) -> dict[str, bytes | int]:
    """Return what CUDA tells of a device, of which CuPy's dictionary has more."""
    if not 0 <= device < machine().device_count():
        raise CUDARuntimeError(BAD_DEVICE)
    sizes = {"totalGlobalMem": machine().memory, "l2CacheSize": 50 * 2**20}
    return {"name": b"Stand-in", "major": 8, "minor": 0, "multiProcessorCount": 108, **sizes}
