"""The input stage in a step of backpropagation: its values, and the names of its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from gpubp.backprop.input_stage import InputStage
from gpubp.backprop.network import Network, Workspace
from gpubp.kernels.input_stage import FEATURES, LEVEL_WIDTH, TWO_PI, of_columns


class Sizes(NamedTuple):
    """For each parameter of a periodic column, the norms of its gradient and of its step."""

    w: tuple[float, float]
    b: tuple[float, float]
    V: tuple[float, float]
    v: tuple[float, float]


@dataclass(frozen=True, eq=False)
class PeriodicTrace:
    """The periodic features e = V cos(u) + v of one column in one step, with u = 2 pi w x + b.

    column : its place in X. x : its number. u, w, b : (16,). V : (3, 16). v, e : (3,). dw, db, dV,
    dv : gradients. new_w, new_b, new_V, new_v, new_e : the same after the step.
    """

    column: int
    x: float
    u: np.ndarray
    e: np.ndarray
    w: np.ndarray
    b: np.ndarray
    V: np.ndarray
    v: np.ndarray
    dw: np.ndarray
    db: np.ndarray
    dV: np.ndarray
    dv: np.ndarray
    new_w: np.ndarray
    new_b: np.ndarray
    new_V: np.ndarray
    new_v: np.ndarray
    new_e: np.ndarray

    @property
    def sizes(self) -> Sizes:
        """The norms of the gradients and of the steps of the parameters."""
        return Sizes(
            *(
                (
                    float(np.linalg.norm(getattr(self, f"d{name}"))),
                    float(np.linalg.norm(getattr(self, f"new_{name}") - getattr(self, name))),
                )
                for name in Sizes._fields
            )
        )


@dataclass(frozen=True, eq=False)
class TableTrace:
    """The table of one column in one step.

    column : its place in X. levels : the number of its levels. level : of the row. vectors,
    gradients, new : (levels, 8), the vectors before the step, their gradients, those after it.
    changed : the levels whose vectors the step changes.
    """

    column: int
    levels: int
    level: int
    vectors: np.ndarray
    gradients: np.ndarray
    new: np.ndarray

    @property
    def changed(self) -> list[int]:
        """The levels whose vectors the step changes, in ascending order."""
        return [int(k) for k in np.flatnonzero((self.new != self.vectors).any(axis=1))]

    @property
    def row(self) -> np.ndarray:
        """The vector of the row's level, its gradient, and the vector after the step, (3, 8)."""
        return np.stack([part[self.level] for part in (self.vectors, self.gradients, self.new)])


@dataclass(frozen=True, eq=False)
class StageTrace:
    """The input stage in one step of training on one row; every array is float64.

    X : (d,), the row. features : (D,), before the scale. outputs : (D,), the inputs of the first
    layer. scale, dscale, new_scale : (D,). g : dC/d outputs (D,). delta : dC/d features (D,).
    new_outputs : (D,), after the step. periodic, tables : the columns that have them.
    """

    X: np.ndarray
    features: np.ndarray
    outputs: np.ndarray
    scale: np.ndarray
    g: np.ndarray
    delta: np.ndarray
    dscale: np.ndarray
    new_scale: np.ndarray
    new_outputs: np.ndarray
    periodic: tuple[PeriodicTrace, ...]
    tables: tuple[TableTrace, ...]


def trace_stage(
    network: Network, flats: tuple[np.ndarray, np.ndarray, np.ndarray], passes: Sequence[Workspace]
) -> StageTrace | None:
    """Return the record of the stage; None for a network without one.

    flats : theta, its gradient, and theta after the step. passes : the workspaces of one row
    before and after the step.
    """
    before, after = passes
    if network.stage is None or before.stage is None or after.stage is None:
        return None
    old, grad, new = (network.stage_parts(flat) for flat in flats)
    features, outputs, g, _, delta = (room[0] for room in before.stage.rooms)
    X, new_features = before.X[0], after.stage.rooms[0][0]
    empty = np.empty((0, 0))
    parts = [
        (of.get("periodic", empty), of.get("tables", empty).reshape(-1, LEVEL_WIDTH))
        for of in (old, grad, new)
    ]
    periodic, tables = ([of[k] for of in parts] for k in (0, 1))
    return StageTrace(
        X=X,
        features=features,
        outputs=outputs,
        scale=old["scale"],
        g=g,
        delta=delta,
        dscale=grad["scale"],
        new_scale=new["scale"],
        new_outputs=after.stage.outputs[0],
        periodic=_periodic(network.stage, X, periodic, (features, new_features)),
        tables=_tables(network.stage, X, tables),
    )


def _periodic(
    stage: InputStage,
    X: np.ndarray,
    parts: Sequence[np.ndarray],
    features: tuple[np.ndarray, np.ndarray],
) -> tuple[PeriodicTrace, ...]:
    """Return the periodic columns; parts : before the step, gradients, and after it."""
    found = []
    for k, column in enumerate(stage.periodic):
        (w, b, V, v), grads, news = (of_columns(part[k : k + 1]) for part in parts)
        start = stage.from_feature + k * FEATURES
        e, new_e = (of[start : start + FEATURES] for of in features)
        named = {f"d{name}": array[0] for name, array in zip("wbVv", grads, strict=True)}
        named |= {f"new_{name}": array[0] for name, array in zip("wbVv", news, strict=True)}
        named |= dict(zip("wbVv", (w[0], b[0], V[0], v[0]), strict=True))
        x = float(X[column])
        u = TWO_PI * w[0] * x + b[0]
        found.append(PeriodicTrace(column=column, x=x, u=u, e=e, new_e=new_e, **named))
    return tuple(found)


def _tables(
    stage: InputStage, X: np.ndarray, parts: Sequence[np.ndarray]
) -> tuple[TableTrace, ...]:
    """Return the tables; parts : the vectors of all tables before the step, and so on."""
    found, first = [], 0
    for column, levels in stage.tables:
        own = (part[first : first + levels] for part in parts)
        level = int(np.clip(X[column], 0, levels - 1))
        found.append(TableTrace(column, levels, level, *own))
        first += levels
    return tuple(found)


def feature_names(stage: InputStage, columns: Sequence[str]) -> tuple[str, ...]:
    """Return a name for each output of the stage; columns : the names of the columns of X."""
    names = [f"{columns[c]}.{n}" for c, _ in stage.tables for n in range(1, LEVEL_WIDTH + 1)]
    names += [f"{columns[c]}~{n}" for c in stage.periodic for n in range(1, FEATURES + 1)]
    return (*names, *(columns[c] for c in stage.others))


def differences_of(network: Network, x: np.ndarray, h: float) -> np.ndarray:
    """Return the distance of a central difference for each entry of theta, (size,).

    It is ``h``, but ``h`` / |2 pi x| for the frequencies w of a column with |2 pi x| > 1, since
    du/dw = 2 pi x. x : (d,), the row.
    """
    distances = np.full(network.theta_size(np.dtype(np.float64)), h)
    if network.stage is not None and network.stage.periodic:
        w = of_columns(network.stage_parts(distances)["periodic"])[0]
        w /= np.maximum(1, TWO_PI * np.abs(x[[*network.stage.periodic], None]))
    return distances


def stage_values(trace: StageTrace, columns: Sequence[str]) -> dict[str, Any]:
    """Return the record of the stage as plain values, for JSON."""
    own = {f.name: getattr(trace, f.name) for f in fields(trace)}
    del own["periodic"], own["tables"]
    values = {name: array.tolist() for name, array in own.items()}
    values["periodic"] = [{"name": columns[of.column]} | _plain(of) for of in trace.periodic]
    values["tables"] = [
        {"name": columns[of.column]} | _plain(of) | {"changed": of.changed} for of in trace.tables
    ]
    return values


def _plain(trace: PeriodicTrace | TableTrace) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(trace).items()}
