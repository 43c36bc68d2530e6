"""The threads of BLAS, which are one number for the whole process."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from threading import Event, Thread

import pytest

from gpubp.backends import blas_threads, numpy_backend
from gpubp.backends.select import get_backend


class Library:
    """A BLAS library as threadpoolctl knows it."""

    most = 16

    def __init__(self, threads: int = 8) -> None:
        self.threads = threads

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, threads: int) -> None:
        assert type(threads) is int
        self.threads = min(threads, self.most)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(blas_threads, "_libraries", lambda: [library])
    monkeypatch.setattr(numpy_backend.os, "cpu_count", lambda: 4)
    return library


@pytest.mark.parametrize("first_ends", [0, 1])
def test_limits_that_overlap_leave_what_was_before(library: Library, first_ends: int) -> None:
    backend, stacks = get_backend("cpu"), [ExitStack(), ExitStack()]
    stacks[0].enter_context(backend.in_use(2, 0))
    stacks[1].enter_context(backend.in_use(1, 0))
    assert library.threads == 1
    stacks[first_ends].close()
    assert library.threads == (1 if first_ends == 0 else 2)
    stacks[1 - first_ends].close()
    assert library.threads == 8


@pytest.mark.parametrize(("asked", "work", "threads"), [(9, 0, 4), (None, 0, 1), (None, 10**9, 8)])
def test_threads_by_size_and_by_request(
    library: Library, asked: int | None, work: int, threads: int
) -> None:
    with get_backend("cpu").in_use(asked, work):
        assert library.threads == threads
    assert library.threads == 8


def test_threads_may_be_numpys_integer(library: Library) -> None:
    import numpy as np

    with get_backend("cpu").in_use(np.int64(3), 0):  # type: ignore[arg-type]
        assert library.threads == 3


def test_threads_that_other_code_sets_stay(library: Library) -> None:
    backend = get_backend("cpu")
    with backend.in_use(1, 0):
        library.threads = 5
    assert library.threads == 5
    with backend.in_use(1, 0):
        library.threads = 6
        with backend.in_use(2, 0):
            assert library.threads == 2
        assert library.threads == 1
    assert library.threads == 6


def test_a_limit_above_the_most_of_a_library_ends_too(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "most", 3)
    library.threads = 2
    with get_backend("cpu").in_use(4, 0):
        assert library.threads == 3
    assert library.threads == 2


# ---- after a fork --------------------------------------------------------------------------------

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
CHILDREN = """
import os, signal, threading, time, warnings
import numpy as np
from gpubp import MLPClassifier
from gpubp.backends.blas_threads import _libraries

warnings.simplefilter("ignore")
X = np.random.RandomState(0).normal(size=(50, 4))
model = MLPClassifier((8,), max_iter=2, device="cpu").fit(X, X[:, 0] > 0)
for library in _libraries():
    library.set_num_threads(2)
before = [library.get_num_threads() for library in _libraries()]

def predict():
    while True:
        model.predict(X)

threading.Thread(target=predict, daemon=True).start()
wrong = []
for _ in range(60):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        model.predict(X)
        now = [library.get_num_threads() for library in _libraries()]
        os._exit(0 if now == before else 3)
    status = os.waitpid(child, 0)[1]
    if status:
        wrong.append(status)
        if len(wrong) > 2:
            break
print(wrong)
os._exit(len(wrong))
"""


@forks
def test_children_of_a_process_with_threads_predict() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CHILDREN], capture_output=True, text=True, timeout=200, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr


@pytest.mark.parametrize("own", [None, 3])
def test_a_child_has_the_limits_of_its_own_thread_alone(library: Library, own: int | None) -> None:
    backend, entered, leave = get_backend("cpu"), Event(), Event()

    def elsewhere() -> None:
        with backend.in_use(1, 0):
            entered.set()
            leave.wait(60)

    other = Thread(target=elsewhere)
    with ExitStack() as stack:
        if own is not None:
            stack.enter_context(backend.in_use(own, 0))
        other.start()
        assert entered.wait(60)
        assert library.threads == 1
        # What os.fork does, but for the rest of the child, where there is one thread.
        blas_threads.BLAS.before_fork()
        blas_threads.BLAS.after_fork_in_child()
        assert library.threads == (own or 8)
    assert library.threads == 8
    leave.set()
    other.join()
    assert library.threads == 8
