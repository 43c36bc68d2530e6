"""Losses, scores and learning rates over the epochs of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpubp.models.description import kept_epoch
from gpubp.training.history import Epoch

MOST_POINTS = 150  # of one network
MOST_OF_ALL = 400  # of all members of an ensemble


@dataclass(frozen=True)
class LearningCurve:
    """The epochs of a network, or iterations of L-BFGS; of very many, some at equal distances.

    member : index in an ensemble, else None. count : of all epochs. epochs : their numbers, from 1.
    losses : of the training, with the penalty. validation_losses, scores : of the validation rows;
    () without any. rates : learning rates; () if not known. kept : the epoch whose weights the
    network has, if they are not the last ones.
    """

    member: int | None
    count: int
    epochs: Sequence[int]
    losses: Sequence[float]
    validation_losses: Sequence[float] = ()
    scores: Sequence[float] = ()
    rates: Sequence[float] = ()
    kept: int | None = None


def learning_curves(network: Any, record: Sequence[Epoch] = ()) -> list[LearningCurve]:
    """Return the curve of a fitted network, or of each member of an ensemble.

    record : the epochs as listeners got them. Without the first ones, the network's own history
    counts, which has no learning rates and nothing of L-BFGS.
    """
    members = getattr(network, "members_", None)
    networks = [network] if members is None else list(members)
    found = []
    for k, each in enumerate(networks):
        member = None if members is None else k
        own = [epoch for epoch in record if epoch.member == member]
        whole = bool(own) and own[0].number == 1  # else the first epochs were in another run
        found.append(_of_record(own) if whole else _of_network(each))
    places = [_places(len(columns[0]), len(networks)) for columns in found]
    return [
        LearningCurve(
            member=None if members is None else k,
            count=len(columns[0]),
            epochs=[place + 1 for place in at],
            **{name: _at(values, at) for name, values in zip(_NAMES, columns, strict=True)},
            kept=kept_epoch(each),
        )
        for k, (each, columns, at) in enumerate(zip(networks, found, places, strict=True))
        if columns[0]
    ]


_NAMES = ("losses", "validation_losses", "scores", "rates")
_Columns = tuple[Sequence[float], ...]


def _of_record(record: Sequence[Epoch]) -> _Columns:
    columns = (
        [epoch.loss for epoch in record],
        [epoch.validation_loss for epoch in record if epoch.validation_loss is not None],
        [epoch.score for epoch in record if epoch.score is not None],
        [epoch.rate for epoch in record if epoch.rate is not None],
    )
    return tuple(of if len(of) == len(record) else [] for of in columns)


def _of_network(network: Any) -> _Columns:
    losses = getattr(network, "loss_curve_", None) or []
    held = (getattr(network, f"validation_{name}_", None) for name in ("loss_curve", "scores"))
    columns = (losses, *(of or [] for of in held), [])
    return tuple(of if len(of) == len(losses) else [] for of in columns)


def _places(count: int, networks: int) -> list[int]:
    """Return the places of the epochs that are kept, the first and the last among them."""
    most = min(MOST_POINTS, max(20, MOST_OF_ALL // networks))
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def _at(values: Sequence[float], places: Sequence[int]) -> list[float]:
    """Return the values at some places, to six significant digits."""
    return [float(f"{values[place]:.6g}") for place in places] if values else []
