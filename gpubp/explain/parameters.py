"""The parameters of a network by name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpubp.backprop.network import Network
from gpubp.kernels.input_stage import of_columns


class Parameter(NamedTuple):
    """One parameter: its name, its position in the network, and its index in theta."""

    name: str
    layer: int  # -1 for the input stage
    source: int | None  # None for a bias, and in the input stage
    unit: int
    place: int  # in theta


def parameters_of(network: Network) -> list[Parameter]:
    """Return every weight and bias: w1, w2, ... by layer, unit and source; then b1, b2, ..."""
    views = network.views(np.arange(network.theta_size(np.dtype(np.float64))))
    weights = [
        (layer, source, unit, int(W[source, unit]))
        for layer, W in enumerate(views.Ws)
        for unit in range(W.shape[1])
        for source in range(W.shape[0])
    ]
    biases = [
        (layer, None, unit, int(index))
        for layer, b in enumerate(views.bs)
        if b is not None
        for unit, index in enumerate(b)
    ]
    return [Parameter(f"w{k}", *place) for k, place in enumerate(weights, start=1)] + [
        Parameter(f"b{k}", *place) for k, place in enumerate(biases, start=1)
    ]


def stage_parameters(network: Network) -> list[Parameter]:
    """Return every parameter of the input stage; [] without one.

    The names are s1, s2, ... for the scale; p1.w1, p1.b1, p1.V1.1 and p1.v1 for the first periodic
    column; and t1.0.1 for the first number of level 0 of the first table.
    """
    if (stage := network.stage) is None:
        return []
    index = network.stage_parts(np.arange(network.theta_size(np.dtype(np.float64))))
    named = [(f"s{k}", place) for k, place in enumerate(index["scale"], start=1)]
    for k, column in enumerate(index.get("periodic", ()), start=1):
        w, b, V, v = of_columns(column[None])
        for name, part in (("w", w[0]), ("b", b[0]), ("v", v[0])):
            named += [(f"p{k}.{name}{j}", place) for j, place in enumerate(part, start=1)]
        named += [(f"p{k}.V{m + 1}.{j + 1}", V[0][m, j]) for m, j in np.ndindex(V[0].shape)]
    first = 0
    for k, (_, levels) in enumerate(stage.tables, start=1):
        own = index["tables"][first : first + levels]
        named += [(f"t{k}.{n}.{j + 1}", own[n, j]) for n, j in np.ndindex(own.shape)]
        first += levels
    return [Parameter(name, -1, None, k, int(place)) for k, (name, place) in enumerate(named)]
