"""A cache per thread of objects that belong to estimators, stored outside the estimators.

So the objects are never copied, pickled or saved with an estimator, two threads never share one,
and they are freed with their estimator.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from threading import local
from typing import Any, Generic, Protocol, TypeVar

import numpy as np


class Owned(Protocol):
    """An object that `PerThread` can keep."""

    @property
    def owner(self) -> weakref.ref[Any]:
        """The weak reference to its estimator, made by `PerThread.owner`."""


T = TypeVar("T", bound=Owned)


class PerThread(local, Generic[T]):
    """Objects kept for estimators by this thread, at most ``most``, most recently used last."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: list[T] = []

    def owner(self, estimator: Any) -> weakref.ref[Any]:
        """Return a weak reference to ``estimator`` that drops its kept objects when it is freed."""
        kept = self.kept  # of this thread; another thread may free the estimator

        def forget(owner: weakref.ref[Any]) -> None:
            _drop(kept, lambda each: each.owner is owner)

        return weakref.ref(estimator, forget)

    def of(self, estimator: Any) -> Iterator[T]:
        """Yield the objects kept for ``estimator``, most recently used first."""
        return (each for each in reversed(self.kept) if each.owner() is estimator)

    def add(self, one: T) -> None:
        """Keep ``one`` as the most recently used object."""
        self.kept.append(one)
        del self.kept[: -self.most]

    def take(self, one: T) -> None:
        """Remove ``one`` while it is in use, since a signal handler may run meanwhile."""
        _drop(self.kept, lambda each: each is one)

    def forget(self, estimator: Any) -> None:
        """Free the objects kept for ``estimator``."""
        _drop(self.kept, lambda each: each.owner() is estimator)


def _drop(kept: list[T], unwanted: Callable[[T], bool]) -> None:
    for one in [*kept]:  # a copy: the garbage collector may free estimators meanwhile
        if unwanted(one):
            # By identity, since == would compare tuples array by array.
            for k, each in enumerate(kept):
                if each is one:
                    del kept[k]
                    break


def are_same(arrays: list[np.ndarray], kept: list[np.ndarray], shapes: list[Any]) -> bool:
    """Return whether ``arrays`` are the objects ``kept`` and still have ``shapes``."""
    if len(arrays) != len(kept) or any(a is not b for a, b in zip(arrays, kept, strict=True)):
        return False
    return [array.shape for array in arrays] == shapes
