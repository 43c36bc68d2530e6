"""Tasks of a population as pickles whose large arrays are sent once for all tasks."""

from __future__ import annotations

import io
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

import numpy as np

from gpubp.backends.choice import BackendChoice
from gpubp.backprop.losses import LABEL_WEIGHTED, LOSSES, Loss
from gpubp.training.deadline import Deadline
from gpubp.training.fit import Fitted
from gpubp.training.population import Member
from gpubp.training.population_tasks import Task, train_task

try:
    from cloudpickle import CloudPickler
except ImportError:  # joblib before 1.6 has its own copy
    from joblib.externals.cloudpickle import CloudPickler

# Smaller arrays stay in the pickle of a task.
LARGE = 1 << 16  # bytes
_LOSSES = {**LOSSES, LABEL_WEIGHTED.name: LABEL_WEIGHTED}


@dataclass(frozen=True)
class PackedTask:
    """The members of a task.

    places : their indices among all members. pickled : the members and whether they are a part of a
    group, without the objects ``given``: large arrays and deadlines. Equal arrays of several tasks
    are one object.
    """

    places: list[int]
    pickled: bytes
    given: list[Any]


@dataclass(frozen=True)
class Failure:
    """The error of a task that could not be trained, or its interrupt."""

    error: Exception | KeyboardInterrupt


Outcome = list[Fitted | None] | Failure


class _Known:
    """Arrays by their content, so that equal ones are sent once."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[Any, ...], np.ndarray] = {}
        self._seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def array(self, of: np.ndarray) -> np.ndarray:
        """Return the first array that is equal to ``of``."""
        if id(of) not in self._seen:
            columns = of.flags.f_contiguous and not of.flags.c_contiguous
            order: Literal["F", "C"] = "F" if columns else "C"
            values = np.asarray(of, order=order)
            content = blake2b(values.ravel(order=order).view(np.uint8).data).digest()
            key = content, of.dtype.str, of.shape, order
            # ``of`` is kept, so that no other object gets its id.
            self._seen[id(of)] = of, self._arrays.setdefault(key, values)
        return self._seen[id(of)][1]


class _Pickler(CloudPickler):
    """Pickles members, without the objects that it appends to ``given``."""

    def __init__(self, file: io.BytesIO, known: _Known) -> None:
        super().__init__(file)
        self._known = known
        self.given: list[Any] = []

    def persistent_id(self, of: Any) -> tuple[Any, ...] | None:
        """Return how the other process gets ``of``; None for objects in the pickle."""
        if type(of) in (np.ndarray, np.memmap) and of.nbytes >= LARGE and not of.dtype.hasobject:
            return "given", self._place(self._known.array(of))
        if isinstance(of, Deadline):  # its seconds are those at the time of sending
            return "given", self._place(of)
        if isinstance(of, Loss) and of == _loss(of.name, of.parameters):
            return "loss", of.name, of.parameters
        return None

    def _place(self, of: Any) -> int:
        for place, each in enumerate(self.given):
            if each is of:
                return place
        self.given.append(of)
        return len(self.given) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, pickled: bytes, given: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(pickled))
        self._given = given

    def persistent_load(self, pid: tuple[Any, ...]) -> Any:
        kind, *of = pid
        if kind == "loss":
            return _loss(*of)
        given = self._given[of[0]]
        return given if isinstance(given, Deadline) else np.asarray(given)


def _loss(name: str, parameters: tuple[float, ...]) -> Loss | None:
    """Return a loss of gpubp; None for an unknown name."""
    loss = _LOSSES.get(name)
    if loss is None or loss.parameters == parameters:
        return loss
    return replace(loss, parameters=parameters)


def packed(members: Sequence[Member], tasks: Sequence[Task]) -> Iterator[PackedTask]:
    """Yield the ``tasks`` of ``members``.

    Raises the errors of pickling.
    """
    known = _Known()
    for places, is_part in tasks:
        file = io.BytesIO()
        pickler = _Pickler(file, known)
        pickler.dump(([members[k] for k in places], is_part))
        yield PackedTask(places, file.getvalue(), pickler.given)


def shared_arrays(tasks: Sequence[PackedTask]) -> list[np.ndarray]:
    """Return the large arrays that several tasks need."""
    arrays = {id(of): of for task in tasks for of in task.given if not isinstance(of, Deadline)}
    uses = Counter(key for task in tasks for key in {id(of) for of in task.given})
    return [array for key, array in arrays.items() if uses[key] > 1]


def train_packed(
    choice: BackendChoice, threads: int | None, pickled: bytes, *given: Any
) -> Outcome:
    """Train a packed task in this process; return the trained networks, or the error."""
    try:
        members, is_part = _Unpickler(pickled, given).load()
        return train_task(choice, members, threads, is_part=is_part)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return Failure(RuntimeError(f"{type(error).__name__}: {error}"))
        return Failure(error)
