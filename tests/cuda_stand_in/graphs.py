"""Captures of streams, and the graphs that they give; see `cuda`."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tests.cuda_stand_in.machine import (
    CAPTURE_INVALIDATED,
    CAPTURE_MERGE,
    CAPTURE_UNJOINED,
    Block,
    Bytes,
    Clock,
    CUDARuntimeError,
    MisuseError,
    Span,
    Usage,
    machine,
)

if TYPE_CHECKING:
    from tests.cuda_stand_in.cuda import Stream


WeakSpan = tuple[weakref.ref[Block], Bytes]  # which does not keep its memory alive


class Node(NamedTuple):
    """One piece of work in a graph, which does not keep the memory alive; see `host_cuda.issue`."""

    name: str
    run: Callable[[], None]
    reads: list[WeakSpan]
    writes: list[WeakSpan]
    parts: list[WeakSpan]
    read: Callable[[], list[Bytes]]
    milliseconds: float


class Capture:
    """What is recorded from ``origin`` and the streams that have waited for its events.

    clocks : of each stream in it, over the capture's work alone.
    """

    def __init__(self, origin: Stream) -> None:
        self.origin = origin
        self.nodes: list[Node] = []
        self.clocks: dict[Stream, Clock] = {origin: {origin.ptr: 0}}
        self.broken = self.ended = False
        self._usage: dict[weakref.ref[Block], Usage] = {}

    def usage(self, block: Block) -> Usage:
        return self._usage.setdefault(weakref.ref(block), Usage())

    def admit(self, stream: Stream) -> None:
        """Take ``stream`` in; that counts as work, so that it has to be joined in any case."""
        if stream._capture is None:
            stream._capture, self.clocks[stream] = self, {stream.ptr: 1}
        elif stream._capture is not self:
            stream._capture.broken = True
            raise self.failed(CAPTURE_MERGE)

    def failed(self, status: int) -> CUDARuntimeError:
        """Return the error of this status, after which the capture is of no use."""
        self.broken = True
        return CUDARuntimeError(status)

    def end(self) -> list[Node]:
        """Let its streams go, and return its work."""
        self.ended = True
        joined = self.clocks[self.origin]
        for stream in self.clocks:
            stream._capture = None
        if self.broken:
            raise CUDARuntimeError(CAPTURE_INVALIDATED)
        if any(joined.get(s.ptr, 0) < clock[s.ptr] for s, clock in self.clocks.items()):
            raise CUDARuntimeError(CAPTURE_UNJOINED)
        return self.nodes


class Graph:
    """What a stream has captured."""

    def __init__(self) -> None:
        raise NotImplementedError("a graph is created by a capture")

    @classmethod
    def _of(cls, nodes: list[Node]) -> Graph:
        if not nodes:
            raise MisuseError("the capture is empty: its work went to another stream")
        graph = object.__new__(cls)
        graph._nodes = nodes
        graph._names = Counter(node.name for node in nodes)
        graph._reads = {used: node.name for node in nodes for used in node.reads}
        graph._writes = {used: node.name for node in nodes for used in node.writes}
        graph._parts = {used: node.name for node in nodes for used in node.parts}
        return graph

    _nodes: list[Node]
    _names: Counter[str]
    _reads: dict[WeakSpan, str]
    _writes: dict[WeakSpan, str]
    _parts: dict[WeakSpan, str]

    def launch(self, stream: Stream | None = None) -> None:
        stream = machine().thread.stream(machine().thread.device) if stream is None else stream
        if stream is None or stream.ptr == 0:
            raise MisuseError("a graph is launched on the null stream, which waits for no other")
        if stream.is_capturing():
            raise NotImplementedError("the stand-in has no graphs in graphs")
        _alive(self._parts)
        stream._note("a graph", _alive(self._reads), _alive(self._writes))
        machine().launches += 1
        machine().replayed.update(self._names)
        for node in self._nodes:
            machine().milliseconds += node.milliseconds
            node.run()
            if node.parts:
                spans = zip(node.parts, node.read(), strict=True)
                stream._use("a graph", [(ref(), used) for (ref, _), used in spans])

    def upload(self, stream: Stream | None = None) -> None:
        pass


def _alive(names: dict[WeakSpan, str]) -> list[Span]:
    spans = []
    for (ref, used), name in names.items():
        if (block := ref()) is None:
            raise MisuseError(f"{name} of a launched graph uses memory freed since its capture")
        spans.append((block, used))
    return spans
