"""An example to explain: a network, its training rows, and its optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpubp.backprop.hyperparameter_spec import entry_of
from gpubp.backprop.input_stage import InputStage
from gpubp.backprop.losses import LOSSES, Loss
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import SGD, Optimizer
from gpubp.backprop.parameter_groups import GroupFactors
from gpubp.explain.origin import Origin
from gpubp.kernels.activations import ACTIVATIONS

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
    stage_columns : with an input stage, a name for each column of X; () for x1, x2, ...
    factors : of the learning rate and the weight decay, by kind of parameter; None for none.
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
    stage_columns: tuple[str, ...] = ()
    factors: GroupFactors | None = None

    def __post_init__(self) -> None:
        entry_of(LOSSES, self.loss, "loss")

    @property
    def columns(self) -> tuple[str, ...]:
        """A name for each column of X: the inputs, unless the network has an input stage."""
        if self.network.stage is None:
            return self.names[0]
        return self.stage_columns or tuple(f"x{i + 1}" for i in range(self.network.n_inputs))

    @property
    def is_plain(self) -> bool:
        """Whether the step is the learning rate times the gradient, for all parameters."""
        return self.optimizer == PLAIN_SGD and not self.alpha and self.factors is None

    @property
    def cost(self) -> Loss:
        """The loss with its parameters."""
        known = LOSSES[self.loss]
        if self.loss_parameters is None:
            return known
        return replace(known, parameters=self.loss_parameters)


def require_example(given: object) -> None:
    """Raise TypeError if an argument is not an Example, such as the path of a TOML file."""
    if not isinstance(given, Example):
        raise TypeError(
            f"example must be an Example, got {given!r}; gpubp.explain.example_by_name returns "
            "the one in a .toml file, or a built-in one"
        )


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
    stage: tuple[InputStage, Mapping[str, np.ndarray]] | None = None,
) -> Example:
    """Return an Example from plain lists.

    layers : sizes, the inputs first. activation : one name, or one per hidden layer.
    weights : [layer][source][unit]; None draws them from ``seed``.
    biases : [layer][unit]; None for a network without biases; "random" draws them from ``seed``.
    inputs : one row, or a list of rows. targets : likewise; class numbers for the softmax loss.
    names : a name for each unit of each layer; None for x1, ..., h1, ..., y1, ...
    stage : an input stage and its parameters by name, in front of ``layers``.

    Raises ValueError, which names the argument that does not fit.
    """
    sizes = tuple(layers)
    if not isinstance(activation, list | tuple):
        entry_of(ACTIVATIONS, activation, "activation")
        activation = [str(activation)] * (len(sizes) - 2)
    shape, parts = (None, None) if stage is None else stage
    network = Network(sizes, tuple(activation), biases is not None, shape)
    entry_of(LOSSES, loss, "loss")
    theta = _theta(network, weights, biases, seed, parts)
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


def _theta(
    network: Network,
    weights: Any,
    biases: Any,
    seed: int,
    parts: Mapping[str, np.ndarray] | None,
) -> np.ndarray:
    """Return theta from the given parameters; the others are drawn from ``seed``."""
    dtype = np.dtype(np.float64)
    Ws, bs = network.unpack(network.initial_theta(np.random.RandomState(seed), dtype))
    if weights is not None:
        Ws = _shaped("weights", weights, [W.shape for W in Ws])
    if not (biases is None or biases == "random" or isinstance(biases, list | tuple)):
        raise ValueError(
            f'biases must be "random" or lists [layer][unit] of numbers, got {biases!r}; leave '
            "the key out for a network without biases"
        )
    if biases is not None and biases != "random":
        bs = _shaped("biases", biases, [b.shape for b in bs])
    return network.pack(Ws, bs, dtype, parts)


def _shaped(what: str, given: Any, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Return one array per layer; ``what`` is "weights" or "biases"."""
    units = "[unit]" if what == "biases" else "[source][unit]"
    if not isinstance(given, list | tuple):
        raise ValueError(f"{what} must be lists [layer]{units} of numbers, got {given!r}")
    if len(given) != len(shapes):
        raise ValueError(
            f"{what} must have one list per layer, {len(shapes)} for this network, got {len(given)}"
        )
    arrays = []
    for k, (values, shape) in enumerate(zip(given, shapes, strict=True), start=1):
        array = _numbers(values)
        if array is None or array.shape != shape:
            got = repr(values) if array is None else f"shape {array.shape}"
            raise ValueError(
                f"{what} of layer {k} must be numbers of shape {shape}, {units}, got {got}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{what} of layer {k} must be finite, got {values!r}")
        arrays.append(array)
    return arrays


def _numbers(given: Any) -> np.ndarray | None:
    """Return ``given`` as float64; None for text, booleans and lists of unequal lengths."""
    try:
        array = np.array(given)
    except (TypeError, ValueError):
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" or not array.size else None


def _rows(inputs: Any, targets: Any, network: Network, loss: str) -> tuple[np.ndarray, np.ndarray]:
    d, outputs = network.n_inputs, network.sizes[-1]
    X, Y = _numbers(inputs), _numbers(targets)
    for what, given, array in (("inputs", inputs, X), ("targets", targets, Y)):
        if array is None or array.ndim > 2 or not np.isfinite(array).all():
            raise ValueError(f"{what} must be finite numbers, one list per row, got {given!r}")
    assert X is not None
    assert Y is not None
    X = np.atleast_2d(X)
    if X.shape[1] != d:
        raise ValueError(f"a row of inputs must have {_counted(d, 'number')}, got {X.shape[1]}")
    is_class = LOSSES[loss].targets == "index"
    if is_class:
        _check_classes(Y, targets, outputs, loss)
    Y = Y.reshape(-1, 1) if is_class or (Y.ndim < 2 and outputs == 1) else np.atleast_2d(Y)
    if len(Y) != len(X):
        what = "target" if Y.shape[1] == 1 else "row of targets"
        raise ValueError(
            f"{_counted(len(X), 'row')} of inputs, but {_counted(len(Y), what)}; give one per row"
        )
    if is_class:
        return X, Y[:, 0].astype(np.int32)
    if Y.shape[1] != outputs:
        raise ValueError(
            f"a row of targets must have {_counted(outputs, 'number')}, got {Y.shape[1]}"
        )
    return X, Y


def _check_classes(Y: np.ndarray, given: Any, outputs: int, loss: str) -> None:
    """Raise ValueError if ``Y`` are not the numbers of classes."""
    if Y.ndim > 1 or not np.isin(Y, np.arange(outputs)).all():
        raise ValueError(
            f"targets of {loss} must be one class per row, a whole number from 0 to "
            f"{outputs - 1}, got {given!r}"
        )


def _counted(count: int, what: str) -> str:
    """Return a count with its noun: "1 row", "2 rows of targets"."""
    first, _, rest = what.partition(" ")
    return f"{count} {first}{'s' * (count != 1)} {rest}".rstrip()


def _names(
    names: Iterable[Iterable[str]] | None, sizes: tuple[int, ...]
) -> tuple[tuple[str, ...], ...]:
    """The names of the units: those given, or x1, ..., h1, ..., y1, ..."""
    if names is not None:
        layers = list(names) if isinstance(names, list | tuple) else []
        given = tuple(tuple(n) if isinstance(n, list | tuple) else () for n in layers)
        texts = all(isinstance(name, str) for layer in given for name in layer)
        if tuple(len(layer) for layer in given) != sizes or not texts:
            raise ValueError(
                f"names must have one list per layer, of {list(sizes)} texts, got {names!r}"
            )
        return given
    last = len(sizes) - 1
    hidden = ["h" if len(sizes) == 3 else f"h{k}." for k in range(last)]
    letters = ["x", *hidden[1:], "y"]
    return tuple(
        tuple(f"{letter}{j}" for j in range(1, size + 1))
        for letter, size in zip(letters, sizes, strict=True)
    )
