"""Cases of the kernels of the input stage: the arguments with which `StageArrays` calls them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backprop.input_stage import InputStage, StageArrays, StageParameters
from gpubp.kernels.elementwise import Elementwise
from tests.cuda_stand_in.kernels import parameters
from tests.kernels.checks import FLOATS, Case, Values

ROWS = 37
STAGES = {
    "both": InputStage(6, (0, 2, 3), ((1, 5), (4, 3))),
    "periodic": InputStage(3, (2, 0)),
    "tables": InputStage(3, (), ((2, 4),)),
}
NEEDS = {"periodic_gradient": ("both", "periodic"), "tables_gradient": ("both", "tables")}


class _Calls(NumpyBackend):
    """Keeps the arguments of each step instead of computing it."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, Values] = {}

    def run(self, step: Elementwise, *inputs: Any, out: Any) -> None:
        arguments = [*inputs, *(out if isinstance(out, tuple) else (out,))]
        names = (p.name for p in parameters(step))
        self.arguments[step.name] = dict(zip(names, arguments, strict=True))


def input_stage_cases(step: Elementwise) -> Iterator[Case]:
    """Yield the cases of a kernel of the input stage."""
    kinds = NEEDS.get(step.name, tuple(STAGES))
    for dtype, kind, lead, shared in itertools.product(FLOATS, kinds, ((), (3,)), (False, True)):
        build = partial(_values, step, dtype, STAGES[kind], lead, shared)
        label = f"{kind}-{dtype}-of-{lead}{'-shared' * shared}"
        yield Case(label, dtype, build, _scale)


def _values(
    step: Elementwise,
    dtype: str,
    stage: InputStage,
    lead: tuple[int, ...],
    shared: bool,
    seed: int,
) -> Values:
    rng, calls = np.random.RandomState(seed), _Calls()
    arrays = StageArrays(calls, stage, ROWS, np.dtype(dtype), lead)
    X = rng.normal(0, 2, (*(() if shared else lead), ROWS, stage.n_inputs)).astype(dtype)
    for column, levels in stage.tables:  # with codes below and above the levels
        X[..., column] = rng.randint(-1, levels + 2, X.shape[:-1])
    size, start = stage.starts(np.dtype(dtype))["end"] + 64, 32
    theta, gradient = (rng.normal(0, 1, (*lead, size)).astype(dtype) for _ in range(2))
    for room in arrays.rooms:
        room[...] = rng.normal(0, 1, room.shape)
    ones = np.ones((*lead, 1, ROWS), dtype)
    of = StageParameters(theta, start), StageParameters(gradient, start)
    arrays.forward(calls, of[0], X)
    arrays.backward(calls, *of, X, ones, accumulate=shared)
    return calls.arguments[step.name]


def _scale(values: Values, name: str, expected: np.ndarray) -> float:
    """Return the size of the terms of a sum: of 16 frequencies, or of all rows."""
    return 16.0 if name in ("features", "outputs") else 8.0 * ROWS
