"""An example to explain: a network, its training rows, and its optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpubp.backprop.losses import LOSSES, Loss
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import SGD, Optimizer
from gpubp.explain.origin import Origin

PLAIN_SGD = SGD(momentum=0.0, nesterov=False)


@dataclass(frozen=True, eq=False)
class Example:
    """A network with the rows that it is trained on, and the settings of the training.

    theta : (size,) float64, all parameters; see `Network.pack`.
    X : (n, d_0) inputs. Y : (n,) int32 classes for the softmax loss, else (n, d_L).
    names : a name for each unit of each layer, the inputs first.
    rate : learning rate. alpha : factor of the L2 penalty, ``alpha / 2 * sum(W**2)``.
    loss_parameters : parameters of the loss; None for its defaults.
    origin : the table of the rows, and their values before standardisation.
    """

    name: str
    network: Network
    theta: np.ndarray
    X: np.ndarray
    Y: np.ndarray
    loss: str
    names: tuple[tuple[str, ...], ...]
    rate: float
    optimizer: Optimizer = PLAIN_SGD
    alpha: float = 0.0
    loss_parameters: tuple[float, ...] | None = None
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {self.loss!r}")

    @property
    def cost(self) -> Loss:
        """The loss with its parameters."""
        known = LOSSES[self.loss]
        if self.loss_parameters is None:
            return known
        return replace(known, parameters=self.loss_parameters)


def build(
    name: str,
    layers: Iterable[int],
    activation: str | Iterable[str],
    loss: str,
    inputs: Any,
    targets: Any,
    *,
    weights: Any = None,
    biases: Any = None,
    rate: float = 0.05,
    optimizer: Optimizer = PLAIN_SGD,
    alpha: float = 0.0,
    names: Iterable[Iterable[str]] | None = None,
    seed: int = 0,
) -> Example:
    """Return an Example from plain lists.

    layers : sizes, the inputs first. activation : one name, or one per hidden layer.
    weights : [layer][source][unit]; None draws them from ``seed``.
    biases : [layer][unit]; None for a network without biases; "random" draws them from ``seed``.
    inputs : one row, or a list of rows. targets : likewise; class numbers for the softmax loss.
    names : a name for each unit of each layer; None for x1, ..., h1, ..., y1, ...

    Raises ValueError, which names the argument that does not fit.
    """
    sizes = tuple(layers)
    activations = (activation,) * (len(sizes) - 2) if isinstance(activation, str) else activation
    network = Network(sizes, tuple(activations), bias=biases is not None)
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {loss!r}")
    theta = _theta(network, weights, biases, seed)
    X, Y = _rows(inputs, targets, network, loss)
    return Example(
        name=name,
        network=network,
        theta=theta,
        X=X,
        Y=Y,
        loss=loss,
        names=_names(names, sizes),
        rate=rate,
        optimizer=optimizer,
        alpha=alpha,
    )


def _theta(network: Network, weights: Any, biases: Any, seed: int) -> np.ndarray:
    """Return theta from the given parameters; the others are drawn from ``seed``."""
    dtype = np.dtype(np.float64)
    Ws, bs = network.unpack(network.initial_theta(np.random.RandomState(seed), dtype))
    if weights is not None:
        Ws = _shaped("weights", weights, [W.shape for W in Ws])
    if biases is not None and not isinstance(biases, str):
        bs = _shaped("biases", biases, [b.shape for b in bs])
    return network.pack(Ws, bs, dtype)


def _shaped(what: str, given: Any, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    if len(given) != len(shapes):
        raise ValueError(f"{what} has {len(given)} layers, but the network has {len(shapes)}")
    arrays = []
    for k, (values, shape) in enumerate(zip(given, shapes, strict=True), start=1):
        try:
            array = np.array(values, np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != shape:
            raise ValueError(
                f"{what} of layer {k} must be numbers of shape {shape} (sources x units), "
                f"got {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{what} of layer {k} must be finite")
        arrays.append(array)
    return arrays


def _rows(inputs: Any, targets: Any, network: Network, loss: str) -> tuple[np.ndarray, np.ndarray]:
    d, outputs = network.sizes[0], network.sizes[-1]
    try:
        X, Y = np.atleast_2d(np.array(inputs, np.float64)), np.array(targets)
    except (TypeError, ValueError):
        raise ValueError("inputs and targets must be numbers, one list per row") from None
    if X.shape[1:] != (d,):
        raise ValueError(f"a row of inputs must have {d} numbers, got {X.shape[-1]}")
    if LOSSES[loss].targets == "index":
        Y = np.atleast_1d(Y)
        if Y.shape != (len(X),) or Y.dtype.kind != "i" or Y.min() < 0 or Y.max() >= outputs:
            raise ValueError(
                f"targets must be a class from 0 to {outputs - 1} for each row of inputs, "
                f"got {targets!r}"
            )
        return X, Y.astype(np.int32)
    Y = Y.reshape(len(X), -1) if Y.dtype.kind in "if" and Y.size else Y
    if Y.shape != (len(X), outputs):
        raise ValueError(
            f"targets must be {outputs} numbers for each row of inputs, got {targets!r}"
        )
    return X, Y.astype(np.float64)


def _names(
    names: Iterable[Iterable[str]] | None, sizes: tuple[int, ...]
) -> tuple[tuple[str, ...], ...]:
    """The names of the units: those given, or x1, ..., h1, ..., y1, ..."""
    if names is not None:
        given = tuple(tuple(str(n) for n in layer) for layer in names)
        if tuple(len(layer) for layer in given) != sizes:
            raise ValueError(f"names must be lists of {list(sizes)} names")
        return given
    last = len(sizes) - 1
    hidden = ["h" if len(sizes) == 3 else f"h{k}." for k in range(last)]
    letters = ["x", *hidden[1:], "y"]
    return tuple(
        tuple(f"{letter}{j}" for j in range(1, size + 1))
        for letter, size in zip(letters, sizes, strict=True)
    )
