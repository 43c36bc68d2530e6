"""One step of backpropagation, number by number, by the functions that train.

`trace_step` runs forward, loss, backward and update on one row in float64 and keeps every
quantity; the terminal, the page and the JSON of `gpubp explain` are drawn from its record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gpubp.backend import Backend, get_backend
from gpubp.kernels.activations import Activation
from gpubp.losses import LOSSES, Loss
from gpubp.network import Network, Workspace, backward, forward
from gpubp.optimizers import SGD, Optimizer, update

_FLOAT64 = np.dtype(np.float64)
PLAIN_SGD = SGD(momentum=0.0, nesterov=False)
_POPULATION = 256  # shifted networks that are evaluated at once


@dataclass(frozen=True, eq=False)
class Example:
    """A network, what it learns from, and how.

    theta : (size,) float64, see `Network.pack`. X : (n, d_0). Y : (n,) int32 classes for the
    softmax loss, else (n, d_L). names : a name for each unit of each layer.
    alpha : L2 penalty of a step, alpha / 2 |W|^2. loss_parameters : those of the loss, where they
    are not its defaults.
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


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """One layer in one step of training on one row; every array is float64.

    W, dW, new_W : (d_in, d_out), the weights before, their gradient, the weights after.
    b, db, new_b : (d_out,), or None in a network without biases.
    inputs : (d_in,). Z, A : (d_out,), A the layer's output: for the last one the prediction.
    error : dC/dA (d_out,), what flowed back into this layer, None for the last one.
    slope : f'(Z) (d_out,), None for the last one. delta : dC/dZ (d_out,).
    """

    activation: str
    inputs: np.ndarray
    W: np.ndarray
    b: np.ndarray | None
    Z: np.ndarray
    A: np.ndarray
    error: np.ndarray | None
    slope: np.ndarray | None
    delta: np.ndarray
    dW: np.ndarray
    db: np.ndarray | None
    new_W: np.ndarray
    new_b: np.ndarray | None

    @property
    def blame(self) -> np.ndarray:
        """w_jk delta_k (d_in, d_out): the share of the blame that flows back along each weight."""
        shares: np.ndarray = self.W * self.delta
        return shares


@dataclass(frozen=True, eq=False)
class StepTrace:
    """Every number of one step: forward, loss, backward, update, and forward again.

    row : the row of the example that was learned from. target : (d_L,), classes as 0 and 1.
    loss, new_loss : the loss of this row before and after, without the penalty.
    theta, gradient, new_theta : flat, as training has them, the gradient without the penalty.
    state : what the optimizer keeps, after the step.
    """

    number: int
    row: int
    target: np.ndarray
    layers: tuple[LayerTrace, ...]
    loss: float
    new_prediction: np.ndarray
    new_hidden: tuple[np.ndarray, ...]
    new_loss: float
    theta: np.ndarray
    gradient: np.ndarray
    new_theta: np.ndarray
    state: tuple[np.ndarray, ...]

    @property
    def prediction(self) -> np.ndarray:
        """The network's outputs (d_L,) before the step."""
        return self.layers[-1].A


class _Pass(NamedTuple):
    """A forward pass over one row."""

    work: Workspace
    loss: float


@np.errstate(all="ignore")  # a step that diverges is shown as it is
def trace_step(
    example: Example,
    row: int = 0,
    *,
    number: int = 1,
    state: tuple[np.ndarray, ...] | None = None,
) -> StepTrace:
    """Return the record of one step of training ``example.network`` on one row.

    number : counts the steps from 1, as the optimizer does. state : what the optimizer kept
    from the step before, None at the first.

    Raises IndexError if the example has no such row.
    """
    if not 0 <= row < len(example.X):
        raise IndexError(f"row {row} was asked for, but the rows are 0 to {len(example.X) - 1}")
    backend, network = get_backend("cpu"), example.network
    theta = example.theta.copy()
    before = _forward(backend, example, theta, row)
    gradient = np.zeros_like(theta)
    parameters = network.views(example.theta)
    backward(backend, network, parameters, network.views(gradient), before.work)
    kept = gradient.copy()  # the update uses the gradient up
    names = example.optimizer.state_names
    vectors = tuple(v.copy() for v in state or [np.zeros_like(theta) for _ in names])
    plan = example.optimizer.plan(example.rate, number - 1, np.full(1, example.alpha))
    planned = (plan, np.zeros(1, np.int64), network.n_weights(_FLOAT64), example.alpha > 0)
    update(backend, example.optimizer, *planned, theta, gradient, vectors)
    after = _forward(backend, example, theta, row)
    return StepTrace(
        number=number,
        row=row,
        target=_target(example, row),
        layers=tuple(_layers(backend, example, before.work, kept, theta)),
        loss=before.loss,
        new_prediction=_prediction(backend, example, after.work),
        new_hidden=tuple(A[0].copy() for A in after.work.As[:-1]),
        new_loss=after.loss,
        theta=example.theta,
        gradient=kept,
        new_theta=theta,
        state=vectors,
    )


def trace_steps(example: Example, steps: int, row: int = 0) -> Iterator[StepTrace]:
    """Yield the records of ``steps`` steps on the example's rows in turn, from ``row`` on."""
    state = None
    for number in range(1, steps + 1):
        trace = trace_step(example, row, number=number, state=state)
        yield trace
        example, state = replace(example, theta=trace.new_theta), trace.state
        row = (row + 1) % len(example.X)


def losses_of(example: Example, thetas: np.ndarray) -> np.ndarray:
    """Return the mean loss over the example's rows for each of P networks, as one population.

    thetas : (P, size). Returns (P,) float64.
    """
    backend = get_backend("cpu")
    rows, lead, dtype = len(example.X), thetas.shape[:-1], np.dtype(thetas.dtype)
    work = _population(example, thetas, backend)
    Y = backend.asarray(example.Y if example.Y.ndim == 1 else example.Y.astype(dtype))
    row_losses = backend.zeros((*lead, rows), np.float64)
    with np.errstate(all="ignore"):
        forward(backend, example.network, example.network.views(thetas), work)
        loss, delta = example.cost, work.deltas[-1]
        loss.evaluate(backend, work.logits, Y, 1 / rows, row_losses, delta)
    losses: np.ndarray = backend.to_numpy(row_losses).sum(axis=-1)
    return losses


def _population(example: Example, thetas: np.ndarray, backend: Backend) -> Workspace:
    """Return room for all networks of ``thetas`` (P, size), with the example's rows in it."""
    rows, dtype = len(example.X), np.dtype(thetas.dtype)
    work = Workspace(backend, example.network, rows, dtype, lead=thetas.shape[:-1])
    work.X = backend.asarray(example.X, dtype)  # one X for all
    return work


class Parameter(NamedTuple):
    """One weight or bias: its name, its place in the network, and its place in theta."""

    name: str
    layer: int
    source: int | None  # None for a bias
    unit: int
    place: int  # in theta


def parameters_of(network: Network) -> list[Parameter]:
    """Return every parameter: w1, w2, ... by layer, unit and source; then b1, b2, ..."""
    views = network.views(np.arange(network.theta_size(_FLOAT64)))
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


class Variation(NamedTuple):
    """What one weight alone does: its values (n,), the prediction (n, d_L) and the loss (n,)."""

    parameter: Parameter
    values: np.ndarray
    predictions: np.ndarray
    losses: np.ndarray


def vary(example: Example, name: str, row: int = 0, *, span: float = 5.0, n: int = 41) -> Variation:
    """Return what the parameter called ``name`` does to one row, from its value - span to + span.

    All n networks are one population. Raises ValueError for an unknown name.
    """
    parameters = {p.name: p for p in parameters_of(example.network)}
    if name not in parameters:
        raise ValueError(
            f"parameter {name!r} is unknown; the network has {', '.join([*parameters][:40])}"
        )
    parameter = parameters[name]
    values = example.theta[parameter.place] + np.linspace(-span, span, n)
    thetas = np.repeat(example.theta[None], n, axis=0)
    thetas[:, parameter.place] = values
    one = replace(example, X=example.X[row : row + 1], Y=example.Y[row : row + 1])
    backend, work = get_backend("cpu"), _population(one, thetas, get_backend("cpu"))
    with np.errstate(all="ignore"):
        forward(backend, one.network, one.network.views(thetas), work)
        outputs = np.empty_like(work.logits)
        one.cost.predict(backend, work.logits, outputs)
    return Variation(parameter, values, outputs[:, 0], losses_of(one, thetas))


class GradientCheck(NamedTuple):
    """The gradient of one parameter by backpropagation and by a central difference."""

    parameter: Parameter
    backprop: float
    difference: float
    kink: bool  # the slope jumps within the difference, so that the two may part

    @property
    def agrees(self) -> bool:
        """Whether the two are within 1e-7, relative from 1 on."""
        return abs(self.backprop - self.difference) <= 1e-7 * max(1.0, abs(self.backprop))


def check_gradients(example: Example, row: int = 0, h: float = 1e-5) -> list[GradientCheck]:
    """Return, for every parameter, backpropagation beside (C(w + h) - C(w - h)) / 2h.

    C is the loss of one row, without the penalty. All shifted networks are one population.
    """
    gradient = trace_step(example, row).gradient
    one = replace(example, X=example.X[row : row + 1], Y=example.Y[row : row + 1])
    parameters = parameters_of(example.network)
    checks = []
    for start in range(0, len(parameters), _POPULATION):
        part = parameters[start : start + _POPULATION]
        index = [parameter.place for parameter in part]
        shifted = np.repeat(example.theta[None], 2 * len(part) + 1, axis=0)
        shifted[np.arange(len(part)), index] += h
        shifted[np.arange(len(part), 2 * len(part)), index] -= h
        losses = losses_of(one, shifted)
        up, down, here = losses[: len(part)], losses[len(part) : -1], losses[-1]
        # Where the slope is smooth, its two sides differ by h times the curvature only.
        jump = np.abs(up - 2 * here + down) / h
        kinks = jump > 1e-3 * np.maximum(np.abs(up - down) / h, 1e-3)
        rows = zip(part, gradient[index], (up - down) / (2 * h), kinks, strict=True)
        checks += [GradientCheck(p, float(g), float(d), bool(k)) for p, g, d, k in rows]
    return checks


def _forward(backend: Backend, example: Example, theta: np.ndarray, row: int) -> _Pass:
    network, loss = example.network, example.cost
    work = Workspace(backend, network, 1, _FLOAT64, keep_Z=True)
    work.X[...] = example.X[row]
    row_losses = np.zeros(1)
    with np.errstate(all="ignore"):
        forward(backend, network, network.views(theta), work)
        Y = example.Y[row : row + 1]
        loss.evaluate(backend, work.logits, Y, 1.0, row_losses, work.deltas[-1])
    return _Pass(work, float(row_losses[0]))


def _prediction(backend: Backend, example: Example, work: Workspace) -> np.ndarray:
    outputs: np.ndarray = np.empty_like(work.logits)
    with np.errstate(all="ignore"):
        example.cost.predict(backend, work.logits, outputs)
    row: np.ndarray = outputs[0]
    return row


def _target(example: Example, row: int) -> np.ndarray:
    if example.Y.ndim == 2:
        return np.array(example.Y[row], np.float64)
    target = np.zeros(example.network.sizes[-1])
    target[example.Y[row]] = 1
    return target


def _slope(backend: Backend, activation: Activation, Z: np.ndarray, A: np.ndarray) -> np.ndarray:
    """f'(Z), as what the delta step makes of g = 1."""
    slope = np.ones_like(Z)
    if activation.delta is not None:
        kept = Z if activation.keeps == "z" else A
        backend.run(activation.delta, np.ones_like(Z), kept, out=slope)
    return slope


def _layers(
    backend: Backend, example: Example, work: Workspace, gradient: np.ndarray, theta: np.ndarray
) -> Iterator[LayerTrace]:
    network = example.network
    old, grad, new = (network.views(flat) for flat in (example.theta, gradient, theta))
    last = len(old.Ws) - 1
    for k, (W, b) in enumerate(zip(old.Ws, old.bs, strict=True)):
        hidden = k < last
        Z, A = work.Zs[k][0], work.As[k][0] if hidden else _prediction(backend, example, work)
        yield LayerTrace(
            activation=network.activations[k] if hidden else example.cost.output,
            inputs=(work.As[k - 1] if k else work.X)[0],
            W=W,
            b=b,
            Z=Z,
            A=A,
            error=old.Ws[k + 1] @ work.deltas[k + 1][0] if hidden else None,
            slope=_slope(backend, network.hidden[k], Z, A) if hidden else None,
            delta=work.deltas[k][0],
            dW=grad.Ws[k],
            db=grad.bs[k],
            new_W=new.Ws[k],
            new_b=new.bs[k],
        )
