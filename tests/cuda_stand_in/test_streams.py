"""Streams, events, captures and pinned memory of the stand-in; where it can be, against CuPy."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.kernels.cublas.gemm import Gemm
from tests.cuda_stand_in.cuda import Machine, MisuseError, start

Streams = tuple[Any, Any]


@pytest.fixture
def streams(cupy: Any) -> Streams:
    """The current stream, and a second one."""
    return cupy.cuda.get_current_stream(), cupy.cuda.Stream(non_blocking=True)


@pytest.fixture
def two(host_cupy: Machine) -> Any:
    """The stand-in, with two streams S and T, of which S is current."""
    import cupy

    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True) as S:
        yield cupy, S, cupy.cuda.Stream(non_blocking=True)
        cupy.cuda.Device(0).synchronize()


def refused(does: Callable[[], Any], status: int) -> None:
    """Check that CUDA refuses ``does`` with this status."""
    with pytest.raises(RuntimeError, match=r"cudaErrorStreamCapture|cudaErrorCaptured") as caught:
        does()
    assert caught.value.status == status  # type: ignore[attr-defined]


# ---- events ----------------------------------------------------------------------------------


def test_a_stream_waits_for_another(cupy: Any, streams: Streams) -> None:
    S, T = streams
    x = cupy.zeros((3,))
    T.wait_event(S.record())
    with T:
        x.fill(2)
        done = cupy.cuda.Event(disable_timing=True)
        done.record()
    S.wait_event(done)
    x += 1
    assert cupy.asnumpy(x).tolist() == [3] * 3
    S.wait_event(cupy.cuda.Event())  # of nothing
    done.synchronize()
    assert done.done


def test_events_tell_the_time(cupy: Any, streams: Streams) -> None:
    S, _ = streams
    first, last = S.record(), cupy.cuda.Event()
    x = cupy.zeros((1000,))
    x.fill(3)
    assert S.record(last) is last
    last.synchronize()
    assert cupy.cuda.get_elapsed_time(first, last) > 0
    with pytest.raises(RuntimeError, match="InvalidResourceHandle"):
        cupy.cuda.get_elapsed_time(first, cupy.cuda.Event())
    untimed = S.record(cupy.cuda.Event(disable_timing=True))
    S.synchronize()
    with pytest.raises(RuntimeError, match="InvalidResourceHandle"):
        cupy.cuda.get_elapsed_time(first, untimed)


def test_what_was_not_waited_for(two: Any) -> None:
    cupy, S, T = two
    x = cupy.zeros((3,))
    event = S.record()
    x.fill(1)
    T.wait_event(event)
    with T, pytest.raises(MisuseError, match=r"fill on .* does not wait for"):
        x.fill(2)  # the event comes before the last work of S
    event.synchronize()
    with T, pytest.raises(MisuseError, match="does not wait for"):
        x.fill(2)
    event.record()
    T.wait_event(event)
    with T:
        x.fill(2)
    with pytest.raises(MisuseError, match="does not wait for"):
        x.copy()
    T.record().synchronize()
    x.copy()


def test_reading_together_is_no_race_but_writing_is(two: Any) -> None:
    cupy, S, T = two
    x = cupy.zeros((3,))
    S.synchronize()
    y = x.copy()
    with T:
        z = x.copy()
        with pytest.raises(MisuseError, match="does not wait for"):
            x.fill(1)
        T.wait_event(S.record())
        x.fill(1)
    S.wait_event(T.record())
    z += y
    S.synchronize()
    T.wait_event(S.record())  # which frees z


def test_waiting_is_transitive(two: Any) -> None:
    cupy, S, T = two
    x, U = cupy.zeros((3,)), cupy.cuda.Stream(non_blocking=True)
    T.wait_event(S.record())
    U.wait_event(T.record())
    with U:
        x.fill(1)
    U.synchronize()  # and with it S and T
    assert cupy.asnumpy(x).tolist() == [1] * 3
    with T:
        x.fill(2)
    T.synchronize()
    assert cupy.asnumpy(x).tolist() == [2] * 3


def test_a_time_that_no_one_waited_for(two: Any) -> None:
    cupy, S, _ = two
    first = S.record()
    cupy.zeros((3,))
    last = S.record()
    with pytest.raises(RuntimeError, match="NotReady"):
        cupy.cuda.get_elapsed_time(first, last)
    assert [last.done, last.done] == [False, True]  # whoever asks again is told
    assert cupy.cuda.get_elapsed_time(first, last) == pytest.approx(0.01)


def test_the_null_stream_takes_no_events(two: Any) -> None:
    cupy, S, _ = two
    null = cupy.cuda.Stream.null
    with pytest.raises(MisuseError, match="null stream"):
        null.record()
    with pytest.raises(MisuseError, match="null stream"):
        null.wait_event(S.record())


def test_memory_of_a_stream_that_was_waited_for_is_freed(two: Any, host_cupy: Machine) -> None:
    cupy, S, T = two
    for waits in (True, False):
        x = cupy.zeros((3,))
        T.wait_event(S.record())
        with T:
            x.fill(1)
        if waits:
            S.wait_event(T.record())
        del x
    assert host_cupy.faults == ["24 bytes were freed while in use"]
    host_cupy.faults.clear()


# ---- parts of one allocation -----------------------------------------------------------------

PARTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], bool]] = {
    "halves": (lambda x: x[:12], lambda x: x[12:], False),
    "one number": (lambda x: x[:13], lambda x: x[12:], True),
    "inside": (lambda x: x, lambda x: x[3:4], True),
    "empty": (lambda x: x, lambda x: x[3:3], False),
    "columns": (lambda x: x.reshape(4, 6)[:, :3], lambda x: x.reshape(4, 6)[:, 3:], False),
    "columns, one": (lambda x: x.reshape(4, 6)[:, :4], lambda x: x.reshape(4, 6)[:, 3:], True),
    "one column": (lambda x: x.reshape(4, 6)[:, 1:4], lambda x: x.reshape(4, 6)[2, 3:4], True),
    "no column": (lambda x: x.reshape(4, 6)[:, 1:4], lambda x: x.reshape(4, 6)[2, 4:], False),
    "weights": (  # of a population, each network with its biases behind its weights
        lambda x: x.reshape(2, 12)[:, :8].reshape(2, 2, 4),
        lambda x: x.reshape(2, 12)[:, 8:][:, None, :],
        False,
    ),
    "weights, one": (
        lambda x: x.reshape(2, 12)[:, :8].reshape(2, 4, 2).swapaxes(1, 2),
        lambda x: x.reshape(2, 12)[:, 7:],
        True,
    ),
    "two axes": (
        lambda x: x.reshape(2, 2, 6)[..., :4].reshape(2, 2, 2, 2),
        lambda x: x.reshape(2, 2, 6)[..., 4:],
        False,
    ),
    # Taken for their hulls, which is all that gpubp needs.
    "every third and fourth": (lambda x: x[::3], lambda x: x[1::4], True),
}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("case", PARTS)
def test_two_streams_on_parts_of_one_allocation(
    two: Any, case: str, captured: bool, swapped: bool
) -> None:
    cupy, S, T = two
    *parts, races = PARTS[case]
    x = cupy.zeros((24,))
    first, second = (part(x) for part in (reversed(parts) if swapped else parts))
    S.synchronize()
    if captured:
        S.begin_capture()
    T.wait_event(S.record())
    with T:
        first.fill(1)
    if races:
        with pytest.raises(MisuseError, match="does not wait for"):
            second.fill(2)
    else:
        second.fill(2)
    S.wait_event(T.record())
    x.fill(3)  # all of it, after both
    if captured:
        S.end_capture().launch()


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_a_kernel_reads_what_it_indexes(two: Any, first: int, captured: bool) -> None:
    cupy, S, T = two
    x, y, at = cupy.zeros((24,)), cupy.zeros((12,)), cupy.asarray(np.array([first]))
    body = "y = x[at[0] + i]"
    kernel = cupy.ElementwiseKernel("raw float64 x, raw int64 at", "float64 y", body, "part")
    launch = partial(kernel, x, at, y)
    launch()
    S.synchronize()
    if captured:
        S.begin_capture()
        launch()
        launch = S.end_capture().launch
    with T:
        x[12:].fill(1)
    if first:
        with pytest.raises(MisuseError, match="does not wait for"):
            launch()
    else:
        launch()
        with T:
            x[12:].fill(2)
            with pytest.raises(MisuseError, match="does not wait for"):
                x[:4].fill(2)
    T.synchronize()


def test_graphs_on_parts_of_one_allocation(two: Any) -> None:
    cupy, S, T = two
    x, graphs = cupy.zeros((24,)), []
    S.synchronize()
    for stream, part in ((S, x[:12]), (T, x[12:]), (T, x[11:])):
        with stream:
            stream.begin_capture()
            part.fill(1)
            graphs.append(stream.end_capture())
    graphs[0].launch(stream=S)
    graphs[1].launch(stream=T)
    with pytest.raises(MisuseError, match=r"a graph on .* does not wait for"):
        graphs[2].launch(stream=T)
    T.synchronize()


def test_what_was_overwritten_is_waited_for_with_it(two: Any, host_cupy: Machine) -> None:
    cupy, S, T = two
    x, U = cupy.zeros((24,)), cupy.cuda.Stream(non_blocking=True)
    for part in (slice(5), slice(5, None), slice(2, 9)):
        x[part] = 1
    T.wait_event(S.record())
    with T:
        x[4:].fill(2)
    U.wait_event(T.record())
    with U:
        x.fill(3)
    with pytest.raises(MisuseError, match="does not wait for"):
        x[23:].fill(4)
    del x
    assert host_cupy.faults == ["192 bytes were freed while in use"]
    host_cupy.faults.clear()


def test_part_of_freed_memory_that_is_in_use(two: Any, host_cupy: Machine) -> None:
    cupy, S, T = two
    x = cupy.zeros((24,))
    T.wait_event(S.record())
    with T:
        x[20:].fill(1)
    x[:20].fill(1)
    del x
    assert host_cupy.faults == ["192 bytes were freed while in use"]
    host_cupy.faults.clear()


def test_products_on_parts_of_one_allocation(two: Any, host_cupy: Machine) -> None:
    cupy, S, T = two
    A, out = cupy.zeros((2, 4, 4)), cupy.zeros((2, 40))
    workspaces = [cupy.empty((1024,), np.uint8) for _ in range(3)]
    S.synchronize()
    gemms = [Gemm(stream, room) for stream, room in zip((S, T, T), workspaces, strict=True)]
    gemms[0](A, A, out[:, :16].reshape(2, 4, 4))
    gemms[1](A, A, out[:, 24:].reshape(2, 4, 4))
    assert host_cupy.faults == []
    with pytest.raises(RuntimeError, match="INTERNAL_ERROR"):
        gemms[2](A, A, out[:, 15:31].reshape(2, 4, 4))
    assert "does not wait for" in host_cupy.faults.pop()
    T.synchronize()


# ---- captures with branches ------------------------------------------------------------------


def forked(cupy: Any, S: Any, T: Any, work: Callable[[], None]) -> None:
    """Do ``work`` on T, forked off S and joined with it."""
    T.wait_event(S.record())
    with T:
        work()
    S.wait_event(T.record())


def test_a_capture_takes_in_a_stream(cupy: Any, streams: Streams) -> None:
    S, T = streams
    x, y = cupy.zeros((3,)), cupy.zeros((3,))
    for stream in (S, T):  # load the kernels
        with stream:
            cupy.add(cupy.zeros((3,)), 1, out=cupy.zeros((3,)))
            stream.synchronize()
    S.begin_capture()
    x.fill(2)
    T.wait_event(S.record())
    assert T.is_capturing()
    with T:
        cupy.add(x, 1, out=y)
    S.wait_event(T.record())
    y += x
    graph = S.end_capture()
    assert not T.is_capturing()
    assert not S.is_capturing()
    assert float(y[0]) == 0
    graph.launch(stream=S)
    assert cupy.asnumpy(y).tolist() == [5] * 3


def test_a_branch_that_is_not_joined(cupy: Any, streams: Streams) -> None:
    S, T = streams
    x = cupy.zeros((3,))
    S.synchronize()
    S.begin_capture()
    T.wait_event(S.record())
    with T:
        x.fill(1)
    refused(S.end_capture, 904)
    assert not S.is_capturing()
    assert not T.is_capturing()


def test_work_after_the_join(cupy: Any, streams: Streams) -> None:
    S, T = streams
    x = cupy.zeros((3,))
    S.synchronize()
    S.begin_capture()
    forked(cupy, S, T, lambda: x.fill(1))
    with T:
        x.fill(2)
    refused(S.end_capture, 904)


def test_a_branch_without_work_is_joined_too(two: Any) -> None:
    cupy, S, T = two
    x = cupy.zeros((3,))
    S.begin_capture()
    x.fill(1)
    T.wait_event(S.record())
    refused(S.end_capture, 904)


def test_an_event_of_a_capture_that_has_ended(two: Any) -> None:
    cupy, S, T = two
    x = cupy.zeros((3,))
    S.begin_capture()
    x.fill(1)
    event = S.record()
    S.end_capture()
    refused(lambda: T.wait_event(event), 907)
    S.record(event)
    T.wait_event(event)


def test_a_capture_ends_where_it_began(cupy: Any, streams: Streams) -> None:
    S, T = streams
    x = cupy.zeros((3,))
    S.synchronize()
    S.begin_capture()
    forked(cupy, S, T, lambda: x.fill(1))
    refused(T.end_capture, 903)
    refused(S.end_capture, 901)


def test_dependencies_across_a_capture(cupy: Any, streams: Streams) -> None:
    S, T = streams
    x = cupy.zeros((3,))
    with T:
        before = T.record()
    S.synchronize()
    S.begin_capture()
    x.fill(1)
    refused(lambda: S.wait_event(before), 905)
    refused(S.end_capture, 901)


def test_the_host_does_not_wait_for_a_captured_event(cupy: Any, streams: Streams) -> None:
    S, _ = streams
    x = cupy.zeros((3,))
    S.synchronize()
    S.begin_capture()
    x.fill(1)
    event = S.record()
    refused(event.synchronize, 907)
    with suppress(RuntimeError):
        S.end_capture()
    refused(event.synchronize, 907)


def test_a_captured_event_is_not_asked(two: Any) -> None:
    cupy, S, _ = two
    x = cupy.zeros((3,))
    S.begin_capture()
    x.fill(1)
    event = S.record()
    with pytest.raises(MisuseError, match="is never done"):
        event.done  # noqa: B018
    S.end_capture()


def test_two_captures_do_not_merge(cupy: Any, streams: Streams) -> None:
    S, T = streams
    x = cupy.zeros((3,))
    S.synchronize()
    S.begin_capture()
    T.begin_capture()
    x.fill(1)
    refused(lambda: T.wait_event(S.record()), 902)
    for stream in (S, T):
        refused(stream.end_capture, 901)


def test_a_stream_of_a_capture_is_not_waited_for(cupy: Any, streams: Streams) -> None:
    S, T = streams
    x = cupy.zeros((3,))
    S.synchronize()
    S.begin_capture()
    forked(cupy, S, T, lambda: x.fill(1))
    refused(T.synchronize, 900)
    refused(S.end_capture, 901)


RACES: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "write-write": (lambda x, y: x.fill(1), lambda x, y: x.fill(2)),
    "write-read": (lambda x, y: x.fill(1), lambda x, y: y.__setitem__(..., x)),
    "read-write": (lambda x, y: y.__setitem__(..., x), lambda x, y: x.fill(2)),
}


@pytest.mark.parametrize("race", RACES)
def test_branches_that_use_the_same_memory(two: Any, race: str) -> None:
    cupy, S, T = two
    on_branch, meanwhile = RACES[race]
    x, y = cupy.zeros((3,)), cupy.zeros((3,))
    S.synchronize()
    S.begin_capture()
    x.fill(0)
    T.wait_event(S.record())
    with T:
        on_branch(x, y)
    with pytest.raises(MisuseError, match=r"does not wait for .* in its capture"):
        meanwhile(x, y)
    S.wait_event(T.record())
    meanwhile(x, y)
    S.end_capture().launch()


def test_branches_that_only_read_the_same_memory(two: Any) -> None:
    cupy, S, T = two
    x, y, z = (cupy.zeros((3,)) for _ in range(3))
    x.fill(2)
    S.synchronize()
    S.begin_capture()
    T.wait_event(S.record())
    with T:
        y[...] = x
    z[...] = x
    S.wait_event(T.record())
    S.end_capture().launch()
    assert [cupy.asnumpy(array).tolist() for array in (y, z)] == [[2] * 3] * 2


def test_an_allocation_on_a_branch(two: Any) -> None:
    cupy, S, T = two
    S.begin_capture()
    T.wait_event(S.record())
    with T, pytest.raises(MisuseError, match="allocated inside of a capture"):
        cupy.zeros((3,))
    S.wait_event(T.record())
    with pytest.raises(MisuseError, match="is empty"):
        S.end_capture()


def test_a_graph_comes_after_what_its_branches_did_before(two: Any) -> None:
    cupy, S, T = two
    x = cupy.zeros((3,))
    S.synchronize()
    S.begin_capture()
    forked(cupy, S, T, lambda: x.fill(1))
    graph = S.end_capture()
    with T:
        x.fill(2)
    with pytest.raises(MisuseError, match=r"a graph on .* does not wait for"):
        graph.launch()
    S.wait_event(T.record())
    graph.launch()
    with T, pytest.raises(MisuseError, match="does not wait for"):
        x.fill(3)


# ---- pinned memory ---------------------------------------------------------------------------


def pinned(cupy: Any, *values: float) -> np.ndarray:
    array = np.frombuffer(cupy.cuda.alloc_pinned_memory(8 * len(values)), float, len(values))
    array[...] = values
    return array


def test_pinned_memory_is_copied_from_and_to(cupy: Any, streams: Streams) -> None:
    S, T = streams
    host, back = pinned(cupy, 1, 2, 3), pinned(cupy, 0, 0, 0)
    x = cupy.empty((3,))
    T.wait_event(S.record())
    x.set(host, stream=T)
    event = T.record()
    S.wait_event(event)
    x += 1
    assert x.get(out=back, blocking=False) is back
    S.synchronize()
    assert back.tolist() == [2, 3, 4]
    host[...] = 0
    memory = cupy.cuda.alloc_pinned_memory(16)
    assert np.frombuffer(memory, np.uint8).ctypes.data == memory.ptr


def test_memory_that_is_not_pinned_may_be_used_again_at_once(cupy: Any) -> None:
    host, x = np.ones(3), cupy.empty((3,))
    x.set(host)
    host[...] = 2
    assert x.get(out=np.empty(3), blocking=False).tolist() == [1, 1, 1]


OVERWRITTEN = "pinned memory was overwritten while it was copied"


def test_pinned_memory_that_is_overwritten(two: Any, host_cupy: Machine) -> None:
    cupy, S, _ = two
    host, x = pinned(cupy, 1, 2, 3), cupy.empty((3,))
    x.set(host)
    event = S.record()
    x.fill(0)
    event.synchronize()  # the copy is done, though the stream is not
    host[1] = 7
    x.set(host)
    earlier = event.record
    assert host_cupy.faults == []
    host[1] = 8
    event.synchronize()  # which was recorded before
    assert host_cupy.faults == []
    earlier()
    event.synchronize()
    assert host_cupy.faults == [OVERWRITTEN]
    host_cupy.faults.clear()
    x.set(host)
    host[:] = 1
    assert host_cupy.settle() == [OVERWRITTEN]  # at the end of each test
    host_cupy.faults.clear()


def test_pinned_memory_that_is_freed(two: Any, host_cupy: Machine) -> None:
    cupy, S, _ = two
    host, x = pinned(cupy, 1, 2, 3), cupy.empty((3,))
    x.set(host)
    del host
    S.synchronize()
    assert host_cupy.faults == ["pinned memory was freed while it was copied"]
    host_cupy.faults.clear()
    kept = cupy.asarray(pinned(cupy, 1, 2, 3))  # CuPy sees to it
    assert float(kept[2]) == 3


def test_a_host_that_reads_too_early(two: Any, host_cupy: Machine) -> None:
    cupy, S, _ = two
    x, back = cupy.zeros((3,)), pinned(cupy, 5, 5, 5)
    x.get(out=back, blocking=False)
    assert np.isnan(back).all()
    S.synchronize()
    assert_array_equal(back, np.zeros(3))
    x.get(out=back, blocking=False)
    back[0] = 3
    S.synchronize()
    assert host_cupy.faults == [OVERWRITTEN]
    host_cupy.faults.clear()


# ---- the device ------------------------------------------------------------------------------


def test_properties_of_the_device(cupy: Any) -> None:
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    assert isinstance(properties["name"], bytes)
    assert properties["l2CacheSize"] >= 2**20
    free, total = cupy.cuda.Device(0).mem_info
    assert free <= total <= properties["totalGlobalMem"] + 2**20
    capability = f"{properties['major']}{properties['minor']}"
    assert capability == cupy.cuda.Device(0).compute_capability
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cupy.cuda.runtime.getDeviceProperties(99)


def test_memory_of_what_went_out_of_scope_is_free(host_cupy: Machine) -> None:
    import cupy

    machine = start(memory=2048)

    def scope() -> None:
        x = cupy.zeros((100,))
        y = x[2:].reshape(-1, 2)
        x += 1
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
            cupy.zeros((200,))
        del x
        assert machine.used[0] == 1024  # a view keeps it
        y.fill(0)

    gc.disable()  # not even cycles are needed
    try:
        with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True):
            for _ in range(3):
                scope()
                assert machine.used[0] == 0
    finally:
        gc.enable()
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
