"""The threads of BLAS, which are one number for the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gpubp.backends import numpy_backend
from gpubp.backends.select import get_backend


class Libraries:
    """What threadpoolctl knows of the BLAS libraries."""

    threads = 8

    def limit(self, limits: int, user_api: str) -> Any:
        before, self.threads = self.threads, limits
        libraries = self

        class Limit:
            def restore_original_limits(self) -> None:
                libraries.threads = before

        assert type(limits) is int
        assert user_api == "blas"
        return Limit()


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[Libraries]:
    libraries = Libraries()
    monkeypatch.setattr(numpy_backend, "_libraries", lambda: libraries)
    monkeypatch.setattr(numpy_backend.os, "cpu_count", lambda: 4)
    yield libraries
    assert libraries.threads == 8


@pytest.mark.parametrize("first_ends", [0, 1])
def test_limits_that_overlap_leave_what_was_before(libraries: Libraries, first_ends: int) -> None:
    backend, stacks = get_backend("cpu"), [ExitStack(), ExitStack()]
    stacks[0].enter_context(backend.in_use(2, 0))
    stacks[1].enter_context(backend.in_use(1, 0))
    assert libraries.threads == 1
    stacks[first_ends].close()
    assert libraries.threads == (1 if first_ends == 0 else 2)
    stacks[1 - first_ends].close()


@pytest.mark.parametrize(("asked", "work", "threads"), [(9, 0, 4), (None, 0, 1), (None, 10**9, 8)])
def test_threads_by_size_and_by_request(
    libraries: Libraries, asked: int | None, work: int, threads: int
) -> None:
    with get_backend("cpu").in_use(asked, work):
        assert libraries.threads == threads


def test_threads_may_be_numpys_integer(libraries: Libraries) -> None:
    import numpy as np

    with get_backend("cpu").in_use(np.int64(3), 0):  # type: ignore[arg-type]
        assert libraries.threads == 3
