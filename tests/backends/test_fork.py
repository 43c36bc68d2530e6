"""State of CUDA that a forked child inherits: locks that nobody releases there, and handles."""

from __future__ import annotations

import gc
from threading import Event, Thread
from typing import Any

import pytest

from gpubp.backends import cuda_graph, cuda_streams
from gpubp.training import inference


class Owner:
    pass


def test_captures_of_other_threads_end_in_a_child() -> None:
    collector, entered, leave = cuda_graph._Collector(), Event(), Event()

    def elsewhere() -> None:
        with collector.paused():
            entered.set()
            leave.wait(60)

    other = Thread(target=elsewhere)
    other.start()
    assert entered.wait(60)
    assert not gc.isenabled()
    other_lock = collector._lock
    with other_lock:  # as another thread may have held it
        collector.after_fork_in_child()
        assert gc.isenabled()
        with collector.paused():
            assert not gc.isenabled()
        assert gc.isenabled()
        collector._captures = 1  # as in the parent, whose thread goes on
    leave.set()
    other.join()


def test_a_child_keeps_what_it_must_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_streams, "_ENGINES", {(0, "float32"): "engines"})
    kept: list[Any] = []
    for module in (cuda_streams, inference):
        monkeypatch.setattr(module, "_OF_THE_PARENT", kept)
    owner = Owner()
    uploaded: Any = object()
    inference._UPLOADED[owner] = uploaded
    cuda_streams._forget_engines()
    inference._forget_uploads()
    assert kept == [{(0, "float32"): "engines"}, uploaded]
    assert not cuda_streams._ENGINES
    assert not inference._UPLOADED
