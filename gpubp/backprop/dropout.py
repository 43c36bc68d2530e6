"""Dropout: each training step leaves out random units.

Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, JMLR 2014. Training scales up the units
that are kept, so that prediction uses all units unscaled.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.kernels.dropout import DROPOUT, dropout_keys, last_kept


@dataclass(frozen=True)
class Dropout:
    """The dropout rates of a training, and the seed of its masks.

    rates : fraction of units to drop, in [0, 1): of the inputs, then of each hidden layer.
    seed : of the masks.
    trained : the number of rows trained on before. Steps are numbered from it; an epoch never has
        more steps than rows, so two steps never have the same masks.
    """

    rates: tuple[float, ...]
    seed: int = 0
    trained: int = 0


def rates_by_layer(hidden: Any, inputs: float, n_hidden: int) -> tuple[float, ...]:
    """Return the dropout rates of the inputs and of each of ``n_hidden`` hidden layers.

    hidden : one rate for all hidden layers, or one per hidden layer, in [0, 1).
    inputs : the rate of the inputs.

    Raises
    ------
    ValueError
        If ``hidden`` has a rate outside of [0, 1), or another number of rates.
    """
    rates = list(hidden) if np.iterable(hidden) else [hidden] * n_hidden
    if len(rates) != n_hidden or not all(_is_rate(rate) for rate in rates):
        raise ValueError(
            "dropout must be a rate of at least 0 and below 1, or one such rate for each of the "
            f"{n_hidden} hidden layers, got {hidden!r}"
        )
    return (float(inputs), *map(float, rates))


def _is_rate(value: Any) -> bool:
    return isinstance(value, Real) and 0 <= float(value) < 1


class Masks:
    """Dropout masks for the inputs of each layer; this base class drops nothing.

    ``layer`` counts from 0, the layer whose inputs are X.
    """

    def plan(self, trained: Sequence[int], strengths: Sequence[float | np.ndarray]) -> None:
        """Prepare for an epoch.

        trained : for each network, the rows trained on before.
        strengths : for each network the factor of its rates, a number or one per step.
        """

    def part(self, first: int) -> Masks:
        """Return the masks for the rows of each batch from ``first`` on."""
        return self

    def drops(self, layer: int) -> bool:
        """Return whether the inputs of ``layer`` have a dropout rate above 0."""
        return False

    def drop(self, layer: int, A: Array) -> Array:
        """Return ``A`` (…, n, d), the inputs of ``layer``, with some units dropped."""
        return A

    def dropped(self, layer: int, A: Array) -> Array:
        """Return the array that `drop` returned for ``A``."""
        return A

    def drop_delta(self, layer: int, delta: Array) -> None:
        """Apply the mask of `drop` in place to ``delta`` (…, n, d) of the inputs of ``layer``."""


class HashedMasks(Masks):
    """Masks computed by a hash of seed, network, step, layer, row of the data and unit.

    sizes : units by layer.
    dropouts : one for each network.
    order : (steps, …, batch_size), the rows of the data that each step takes.
    step : (1,), the number of the current step in its epoch.
    rows : the maximum number of rows of a part of a batch.
    lead : the leading axes of the arrays, for several networks.
    """

    def __init__(
        self,
        backend: Backend,
        sizes: tuple[int, ...],
        dropouts: Sequence[Dropout],
        order: Array,
        step: Array,
        rows: int,
        dtype: np.dtype,
        *,
        lead: tuple[int, ...] = (),
    ) -> None:
        layers, steps, networks = len(sizes) - 1, len(order), len(dropouts)
        self._backend, self._dropouts, self._order, self._step = backend, dropouts, order, step
        self._keys, self._last = (
            backend.zeros((layers, steps, networks), np.uint64) for _ in range(2)
        )
        self._scale = backend.zeros((layers, steps, networks), dtype)
        self._first, self._strengths = 0, list[float]()
        rates = np.array([dropout.rates for dropout in dropouts]).T  # (layers, networks)
        self._rates = rates[:, None]
        self._set_strengths([1.0] * networks)
        # Separate arrays, since the backward pass may need the A before dropout.
        self._room = [
            backend.empty((*lead, rows, d), dtype) if of.any() else None
            for (d, _), of in zip(pairwise(sizes), rates, strict=True)
        ]

    def plan(self, trained: Sequence[int], strengths: Sequence[float | np.ndarray]) -> None:
        self._set_strengths(strengths)
        layers, steps, _ = self._keys.shape
        keys = [
            dropout_keys(dropout.seed, first, (layers, steps, 1))
            for dropout, first in zip(self._dropouts, trained, strict=True)
        ]
        self._keys[...] = self._backend.asarray(np.concatenate(keys, axis=-1))

    def _set_strengths(self, strengths: Sequence[float | np.ndarray]) -> None:
        """Set the rates of each step, unless they are those of the epoch before."""
        plain = [of for of in strengths if type(of) is float]
        if len(plain) == len(strengths) and plain == self._strengths:
            return
        self._strengths = plain if len(plain) == len(strengths) else []
        steps = self._keys.shape[1]
        factors = np.stack([np.broadcast_to(of, steps) for of in strengths], axis=-1)
        rates = self._rates * factors  # (layers, steps, networks)
        self._last[...] = self._backend.asarray(last_kept(rates))
        self._scale[...] = self._backend.asarray(1 / (1 - rates), self._scale.dtype)

    def part(self, first: int) -> HashedMasks:
        masks = copy.copy(self)
        masks._first = first
        return masks

    def drops(self, layer: int) -> bool:
        return self._room[layer] is not None

    def drop(self, layer: int, A: Array) -> Array:
        dropped = self.dropped(layer, A)
        if self.drops(layer):
            self._run(layer, A, dropped)
        return dropped

    def dropped(self, layer: int, A: Array) -> Array:
        room = self._room[layer]
        if room is None:
            return A
        *lead, most, width = room.shape
        rows = A.shape[-2]
        if rows == most:
            return room
        return room.reshape(-1)[: math.prod(lead) * rows * width].reshape(*lead, rows, width)

    def drop_delta(self, layer: int, delta: Array) -> None:
        if self.drops(layer):
            self._run(layer, delta, delta)

    def _run(self, layer: int, A: Array, out: Array) -> None:
        keys, batch_size = self._keys[layer], self._order.shape[-1]
        *_, rows, width = out.shape
        planned = keys, self._order, self._step, len(self._dropouts), batch_size
        numbers = self._last[layer], self._scale[layer]
        self._backend.run(DROPOUT, A, *planned, self._first, rows, width, *numbers, out=out)
