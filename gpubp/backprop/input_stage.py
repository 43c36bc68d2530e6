"""The input stage in front of the first dense layer: features of single columns, and their scale.

A category becomes the vector of its level in a learned table. For each column with periodic
features, u = 2 pi w x + b and e = V cos(u) + v, with w, b (FREQUENCIES,), V (FEATURES, FREQUENCIES)
and v (FEATURES,) of its own. The outputs, which the dense layer gets, are s * [tables, e, numbers],
with a learned factor s for each of these D features. Backward, ds = sum dC/d outputs * features;
with g = s * dC/d outputs, which is dC/de for the periodic features,

    dV = sum g^T cos(u)    dv = sum g    gu = -(g V) * sin(u)    db = sum gu    dw = 2 pi sum x gu

and the gradient of a level is the sum of g over its rows. All sums are over the rows of the batch.
X gets no gradient. This file has the layout of the parameters and both passes; the kernels are in
`kernels.input_stage` (forward, g) and `kernels.input_gradients` (the sums).

Periodic features: Gorishniy, Rubachev and Babenko (2022). This form of them, and the front scale:
Holzmueller, Grinsztajn and Steinwart, Better by Default (2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.protocol import ALIGNMENT, Array, Backend
from gpubp.kernels.input_gradients import PERIODIC_GRADIENT, TABLES_GRADIENT
from gpubp.kernels.input_stage import (
    ENTRIES,
    FEATURES,
    FREQUENCIES,
    INPUT_FEATURES,
    LEVEL_WIDTH,
    LEVELS_PER_RUN,
    SCALE_DELTA,
    of_columns,
)

# Standard deviation of the initial w, and bound of the initial V and v.
FREQUENCY_SCALE, MIXING_BOUND = 0.1, 0.25


def padded(size: int, dtype: np.dtype) -> int:
    """Return ``size`` numbers of ``dtype``, padded to a multiple of ALIGNMENT bytes."""
    unit = ALIGNMENT // np.dtype(dtype).itemsize
    return -(-size // unit) * unit


class StageParameters(NamedTuple):
    """The parameters of an input stage, or their gradients, in a flat ``vector`` (…, size).

    start : index of the first of them in the vector. `InputStage.parts` has their order and shapes.
    """

    vector: Array
    start: int = 0


@dataclass(frozen=True)
class InputStage:
    """The shape of an input stage.

    n_inputs : number of columns of X.
    periodic : the columns with periodic features.
    tables : (column, number of levels) of each category; X contains the number of the level, from 0
        on.

    Raises ValueError for a column that is used twice or not in X, and for a table without levels.
    """

    n_inputs: int
    periodic: tuple[int, ...] = ()
    tables: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        columns = [*self.periodic, *(column for column, _ in self.tables)]
        if len(set(columns)) < len(columns):
            raise ValueError(
                f"a column of an input stage is periodic or has a table, and only once, got "
                f"periodic={self.periodic!r}, tables={self.tables!r}"
            )
        if columns and (min(columns) < 0 or max(columns) >= self.n_inputs):
            raise ValueError(
                f"the columns of an input stage must be from 0 to {self.n_inputs - 1}, got "
                f"{sorted(columns)}"
            )
        if any(levels < 1 for _, levels in self.tables):
            raise ValueError(f"each table needs 1 or more levels, got {self.tables!r}")

    @property
    def others(self) -> tuple[int, ...]:
        """The columns that are features themselves: all that have no table."""
        tables = {column for column, _ in self.tables}
        return tuple(column for column in range(self.n_inputs) if column not in tables)

    @property
    def n_levels(self) -> int:
        """The number of levels of all tables, padded to a multiple of LEVELS_PER_RUN."""
        levels: int = sum(levels for _, levels in self.tables)
        return levels + -levels % int(LEVELS_PER_RUN)

    @property
    def from_feature(self) -> int:
        """The index of the first periodic feature."""
        width: int = LEVEL_WIDTH
        return len(self.tables) * width

    @property
    def n_features(self) -> int:
        """D, the number of features, which are the inputs of the first dense layer."""
        numbers: int = len(self.periodic) * FEATURES + len(self.others)
        return self.from_feature + numbers

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """The shape of each part of the parameters, by name and in their order."""
        found = {
            "scale": (self.n_features,),
            "periodic": (len(self.periodic), ENTRIES),
            "tables": (self.n_levels, LEVEL_WIDTH),
        }
        return {name: shape for name, shape in found.items() if math.prod(shape)}

    @property
    def n_parameters(self) -> int:
        """The number of parameters, without padding."""
        unused: int = self.n_levels - sum(levels for _, levels in self.tables)
        return sum(map(math.prod, self.parts.values())) - unused * int(LEVEL_WIDTH)

    def numbers_per_row(self, deltas: bool) -> int:
        """Return how many numbers a pass keeps for each row; see `StageArrays`."""
        return _n_rooms(deltas) * self.n_features

    def starts(self, dtype: np.dtype) -> dict[str, int]:
        """Return the start of each part, relative to the first, and "end", the padded size."""
        place, found = 0, {}
        for name, shape in self.parts.items():
            found[name] = place
            place += padded(math.prod(shape), dtype)
        return found | {"end": place}

    def views(self, parameters: StageParameters) -> dict[str, Array]:
        """Return views of the parts (…, *shape), by name."""
        vector, start = parameters
        places = self.starts(vector.dtype)
        return {
            name: vector[..., start + places[name] :][..., : math.prod(shape)].reshape(
                *vector.shape[:-1], *shape
            )
            for name, shape in self.parts.items()
        }

    def repacked(self, parts: Mapping[str, np.ndarray], dtype: np.dtype) -> np.ndarray:
        """Return a flat vector (…, size) with copies of ``parts``, which share leading axes."""
        vector = np.zeros((*parts["scale"].shape[:-1], self.starts(dtype)["end"]), dtype)
        for name, view in self.views(StageParameters(vector)).items():
            view[...] = parts[name]
        return vector

    def initial(self, rng: np.random.RandomState) -> dict[str, np.ndarray]:
        """Return initial parameters by part, float64.

        Scales are 1; w is drawn from N(0, FREQUENCY_SCALE²), b from U(-pi, pi), V and v from
        U(-MIXING_BOUND, MIXING_BOUND), and tables from N(0, 1).
        """
        made = {name: np.ones(shape) for name, shape in self.parts.items()}
        if self.periodic:
            w, b, V, v = of_columns(made["periodic"])
            w[...] = rng.normal(0, FREQUENCY_SCALE, w.shape)
            b[...] = rng.uniform(-np.pi, np.pi, b.shape)
            for part in (V, v):
                part[...] = rng.uniform(-MIXING_BOUND, MIXING_BOUND, part.shape)
        if self.tables:
            made["tables"][...] = rng.normal(size=made["tables"].shape)
        return made


def _n_rooms(deltas: bool) -> int:
    return 5 if deltas else 2  # see StageArrays.rooms


class StageArrays:
    """The arrays of an input stage in one pass over ``rows`` rows, allocated once.

    rooms : features, outputs and, with ``deltas``, g, product and delta, each (…, n, D). g is
        dC/d outputs; for product and delta, see `SCALE_DELTA`.
    """

    def __init__(
        self,
        backend: Backend,
        stage: InputStage,
        rows: int,
        dtype: np.dtype,
        lead: tuple[int, ...] = (),
        deltas: bool = True,
    ) -> None:
        def indices(values: Any) -> Array:
            return backend.asarray(np.array(values, np.int32))

        self.stage, self.n_rows, self._lead = stage, rows, lead
        shape = (*lead, rows, stage.n_features)
        self.rooms = [backend.empty(shape, dtype) for _ in range(_n_rooms(deltas))]
        levels = np.array([levels for _, levels in stage.tables], np.int64)
        ends = np.cumsum(levels)
        self._periodic, self._others = indices(stage.periodic), indices(stage.others)
        self._tables = indices([column for column, _ in stage.tables])
        self._first = backend.asarray((ends - levels).astype(dtype))
        self._last = backend.asarray((ends - 1).astype(dtype))
        # The gradient kernels compute one element each: its periodic column, or its table.
        p, of_level = len(stage.periodic), np.zeros(stage.n_levels, np.int32)
        of_level[: sum(levels)] = np.repeat(np.arange(len(levels)), levels)
        self._places = indices(np.broadcast_to(np.arange(p)[:, None], (*lead, p, FREQUENCIES)))
        self._of_level = indices(
            np.broadcast_to(of_level[:, None], (*lead, stage.n_levels, LEVEL_WIDTH))
        )

    def first(self, rows: int) -> StageArrays:
        """Return the arrays over the same memory for fewer rows."""
        view = object.__new__(StageArrays)
        vars(view).update(vars(self))
        shape = (*self._lead, rows, self.stage.n_features)
        view.n_rows = rows
        view.rooms = [room.reshape(-1)[: math.prod(shape)].reshape(shape) for room in self.rooms]
        return view

    def forward(self, backend: Backend, parameters: StageParameters, X: Array) -> Array:
        """Return the outputs for ``X`` (…, n, d), or for one X (n, d) of all networks."""
        stage, (theta, start) = self.stage, parameters
        features, outputs, *_ = self.rooms
        places = self._starts(parameters)
        columns = self._tables, self._first, self._last, self._periodic, self._others
        numbers = (
            *(theta.shape[-1], start, places.get("periodic", 0), places.get("tables", 0)),
            *(self.n_rows, stage.n_inputs, stage.n_features),
            *(len(stage.tables), len(stage.periodic), self._is_shared(X)),
        )
        backend.run(INPUT_FEATURES, X, theta, *columns, *numbers, out=(features, outputs))
        return outputs

    def backward(
        self,
        backend: Backend,
        parameters: StageParameters,
        gradients: StageParameters,
        X: Array,
        ones: Array,
        accumulate: bool,
    ) -> None:
        """Compute ``gradients`` from ``self.g``, dC/d outputs, after forward.

        ones : (…, 1, n). accumulate : add to the gradients instead of overwriting them.
        """
        stage, (theta, start), flat = self.stage, parameters, gradients.vector
        features, _, g, product, delta = self.rooms
        size, n_features = theta.shape[-1], stage.n_features
        scaled = g, features, theta, size, start, self.n_rows, n_features
        backend.run(SCALE_DELTA, *scaled, out=(product, delta))
        # All that writes to the flat gradient runs on the side stream, in order.
        with backend.side_stream():
            ds = stage.views(gradients)["scale"][..., None, :]
            backend.gemm(ones, product, out=ds, accumulate=accumulate)
            starts, shared = self._starts(gradients), self._is_shared(X)
            rows = self.n_rows, stage.n_inputs, n_features
            if stage.periodic:
                own = size, starts["periodic"]
                of = stage.from_feature, len(stage.periodic) * FREQUENCIES, shared, accumulate
                arrays = self._places, X, theta, delta, self._periodic
                backend.run(PERIODIC_GRADIENT, *arrays, *own, *rows, *of, out=flat)
            if stage.tables:
                own = size, starts["tables"]
                places = self._of_level, X, delta, self._tables, self._first, self._last
                numbers = *own, stage.n_levels * LEVEL_WIDTH, *rows, shared, accumulate
                backend.run(TABLES_GRADIENT, *places, *numbers, out=flat)

    @property
    def outputs(self) -> Array:
        """The features times their scale (…, n, D), the inputs of the first dense layer."""
        return self.rooms[1]

    @property
    def g(self) -> Array:
        """Room for dC/d outputs (…, n, D)."""
        return self.rooms[2]

    def _starts(self, parameters: StageParameters) -> dict[str, int]:
        places = self.stage.starts(parameters.vector.dtype)
        return {name: parameters.start + place for name, place in places.items()}

    def _is_shared(self, X: Array) -> bool:
        return len(X.shape) < len(self._lead) + 2
