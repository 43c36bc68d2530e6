"""What a thread keeps for estimators from call to call: beside them, not in them.

So it is never copied, pickled or saved with an estimator, no two threads share it, and it is freed
with its estimator.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from threading import local
from typing import Any, Generic, Protocol, TypeVar

import numpy as np


class Owned(Protocol):
    """What can be kept."""

    @property
    def owner(self) -> weakref.ref[Any]:
        """The estimator that it is kept for, by what `PerThread.owner` returns."""


T = TypeVar("T", bound=Owned)


class PerThread(local, Generic[T]):
    """Things kept for estimators by this thread, at most ``most``, the one used last at the end."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: list[T] = []

    def owner(self, estimator: Any) -> weakref.ref[Any]:
        """Return a weak reference to ``estimator``, with which goes what is kept for it."""
        kept = self.kept  # of this thread: any other may free the estimator

        def forget(owner: weakref.ref[Any]) -> None:
            _drop(kept, lambda each: each.owner is owner)

        return weakref.ref(estimator, forget)

    def of(self, estimator: Any) -> Iterator[T]:
        """Yield what is kept for ``estimator``, the one used last first."""
        return (each for each in reversed(self.kept) if each.owner() is estimator)

    def add(self, one: T) -> None:
        """Keep ``one``, as the one used last."""
        self.kept.append(one)
        del self.kept[: -self.most]

    def take(self, one: T) -> None:
        """Keep ``one`` no more, for as long as it is in use: a signal handler may run meanwhile."""
        _drop(self.kept, lambda each: each is one)

    def forget(self, estimator: Any) -> None:
        """Free what is kept for ``estimator``."""
        _drop(self.kept, lambda each: each.owner() is estimator)


def _drop(kept: list[T], unwanted: Callable[[T], bool]) -> None:
    for one in [*kept]:  # which may change meanwhile, as the garbage collector frees estimators
        if unwanted(one):
            # By identity: equal tuples would be compared array by array.
            for k, each in enumerate(kept):
                if each is one:
                    del kept[k]
                    break


def are_same(arrays: list[np.ndarray], kept: list[np.ndarray], shapes: list[Any]) -> bool:
    """Return whether ``arrays`` are the ones that are kept, and of the shapes that they had."""
    if len(arrays) != len(kept) or any(a is not b for a, b in zip(arrays, kept, strict=True)):
        return False
    return [array.shape for array in arrays] == shapes
