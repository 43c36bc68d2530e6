"""A population in tasks, which several processes train.

`split` makes the tasks, and `train_task` trains one of them where it is called. This file does not
know how tasks and results travel between the processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gpubp.backends.choice import BackendChoice
from gpubp.training.fit import Fitted
from gpubp.training.population import Member, epoch_work, fit_population, groups

# Tasks per worker. More balance the load better, and their results come sooner; fewer train more
# networks at once.
TASKS_PER_WORKER = 4


class Task(NamedTuple):
    """Members that are trained together in one process.

    places : their indices. is_part : whether others could be trained together with them.
    """

    places: list[int]
    is_part: bool


def split(members: Sequence[Member], workers: int) -> list[Task]:
    """Return the tasks of a population, the task with the most work first.

    The members of a task can be trained together. Equal members are split equally in every process.
    workers : the number of tasks that are trained at the same time.
    """
    largest = sum(map(_work, members)) / (TASKS_PER_WORKER * max(1, workers))
    tasks = []
    for group in groups(members):
        parts = _parts(members, group, largest)
        tasks += [Task(part, is_part=len(parts) > 1) for part in parts]
    return sorted(tasks, key=lambda task: -sum(_work(members[k]) for k in task.places))


def _parts(members: Sequence[Member], group: list[int], largest: float) -> list[list[int]]:
    """Return the parts of a group, each with at most about the work of ``largest``."""
    parts: list[list[int]] = []
    room = 0.0
    for k in group:
        work = _work(members[k])
        if not parts or work > room:
            parts.append([])
            room = largest
        parts[-1].append(k)
        room -= work
    return parts


def _work(of: Member) -> int:
    """Return the multiply-adds of a training that does not stop early, about."""
    return of.recipe.epochs * epoch_work(of)


def train_task(
    choice: BackendChoice, members: Sequence[Member], threads: int | None, *, is_part: bool
) -> list[Fitted | None]:
    """Train the members of a task in this process; return the trained networks in the same order.

    They have the bits that they have in the whole population.
    threads : see `fit`. is_part : see `Task`. For an interrupt and for errors see `fit_population`.

    Raises BackendUnavailableError if this machine lacks the backend.
    """
    return fit_population(choice.backend(), members, threads=threads, is_part=is_part)
