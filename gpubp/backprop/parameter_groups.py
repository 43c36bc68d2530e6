"""Groups of parameters: slices of theta with their own learning rate and weight decay.

A group is the weights of one layer, its biases, or a part of the input stage. To add a kind of
parameter, add its name and the default of its decay factor to ``KINDS``, and its groups to
`groups_of`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, meant
from gpubp.backprop.network import Network
from gpubp.kernels.elementwise import RUN

# The kinds of parameters, with the default factor of the decoupled weight decay.
STAGE_KINDS = {"scale": 0.0, "periodic": 0.0, "tables": 0.0}  # the parts of an input stage
KINDS = {"weights": 1.0, "biases": 0.0} | STAGE_KINDS
# The factor 1 / sqrt(fan in) of each layer; for weights only.
FAN_IN = "fan_in"
# A number for all layers, one per layer, or FAN_IN; by kind.
Factors = Mapping[str, float | tuple[float, ...] | str]


class Group(NamedTuple):
    """The entries ``start`` to ``stop`` of theta, with padding.

    kind : a name in KINDS. layer : from 0; 0 for the input stage. fan_in : the number of inputs of
        a unit of the layer.
    """

    kind: str
    layer: int
    start: int
    stop: int
    fan_in: int


def groups_of(network: Network, dtype: np.dtype) -> list[Group]:
    """Return the groups of theta, in their order."""
    theta = np.empty(network.theta_size(dtype), dtype)  # never written, so it takes no memory
    views = network.views(theta)
    named = [("weights", k, W) for k, W in enumerate(views.Ws)]
    named += [("biases", k, b) for k, b in enumerate(views.bs) if b is not None]
    named += [(name, 0, part) for name, part in network.stage_parts(theta).items()]
    starts = [(v.ctypes.data - theta.ctypes.data) // theta.itemsize for _, _, v in named]
    return [
        Group(kind, layer, start, stop, network.sizes[layer])
        for (kind, layer, _), (start, stop) in zip(
            named, pairwise([*starts, len(theta)]), strict=True
        )
    ]


@dataclass(frozen=True)
class GroupFactors:
    """Factors of the learning rate and of the decoupled weight decay by group.

    In step t a group changes by ``-(rate_factor rate(t) u + decay_factor rate(t) weight_decay
    theta)``, where u is the direction of the optimizer. So the decay does not depend on
    ``rate_factor``, as in RealMLP (Holzmüller et al., NeurIPS 2024). The penalty alpha does, as a
    part of the gradient. For optimizers whose u does not depend on the scale of the gradient,
    1 / sqrt(fan in) gives the updates of the NTK parametrisation; Yang and Hu, Feature Learning in
    Infinite-Width Neural Networks (ICML 2021).

    rate, decay : by kind of parameter, see `checked_factors`; a kind that is left out has the rate
        factor 1 and the decay factor of KINDS.
    """

    rate: Factors = field(default_factory=dict)
    decay: Factors = field(default_factory=dict)

    def check(self, network: Network) -> None:
        """Raise ValueError for a tuple whose length is not the number of layers."""
        layers = len(network.sizes) - 1
        for name, factors in (("rate_factors", self.rate), ("decay_factors", self.decay)):
            for kind, given in factors.items():
                if isinstance(given, tuple) and len(given) != layers:
                    raise ValueError(
                        f"{name}[{kind!r}] must have one number per layer, {layers} in this "
                        f"network with the output layer, got {len(given)}; or give one for all"
                    )

    def of(self, group: Group) -> tuple[float, float]:
        """Return the rate factor and the decay factor of a group."""
        rate = _factor(self.rate.get(group.kind, 1.0), group)
        return rate, _factor(self.decay.get(group.kind, KINDS[group.kind]), group)

    def by_run(self, network: Network, dtype: np.dtype) -> np.ndarray:
        """Return both factors of each run of RUN entries of theta, (theta_size / RUN, 2)."""
        factors = np.empty((network.theta_size(dtype) // RUN, 2), dtype)
        for group in groups_of(network, dtype):
            factors[group.start // RUN : group.stop // RUN] = self.of(group)
        return factors


def _factor(given: float | tuple[float, ...] | str, group: Group) -> float:
    if isinstance(given, str):
        return 1 / math.sqrt(group.fan_in)
    return given[group.layer] if isinstance(given, tuple) else given


def checked_factors(name: str, given: Any) -> dict[str, float | tuple[float, ...] | str]:
    """Return ``given`` with Python numbers, and a tuple where it has one number per layer.

    given : a mapping from kinds of parameters to a number for all layers, a sequence with one per
        layer, or, for weights, "fan_in"; None for no factors. name : of the argument, for messages.

    Raises ValueError for another type, an unknown kind, and a number that is negative or not
    finite.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{name} must be a dict from kinds of parameters to factors, such as "
            f"{{'biases': 0.1}}, got {given!r}"
        )
    for kind in given:
        if kind not in KINDS:
            near = meant(kind, KINDS)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"{name} is for the kinds {sorted(KINDS)}, got {kind!r}{hint}")
    return {kind: _checked(f"{name}[{kind!r}]", kind, value) for kind, value in given.items()}


def _checked(name: str, kind: str, value: Any) -> float | tuple[float, ...] | str:
    if kind == "weights" and isinstance(value, str) and value == FAN_IN:
        return FAN_IN
    spec = HyperparameterSpec(name, 1.0, "", several=kind not in STAGE_KINDS)
    try:
        number: float | tuple[float, ...] = spec.checked(value)
    except ValueError as error:
        also = f"; or {FAN_IN!r} for 1 / sqrt(fan in)" if kind == "weights" else ""
        raise ValueError(f"{error}{also}") from None
    return number
