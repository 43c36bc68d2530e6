"""One step of backpropagation, number by number, by the functions that train.

`trace_step` runs forward, loss, backward and update on one row in float64 and keeps every
quantity. The text, the page and the JSON of `gpubp explain` are made from its record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backends.select import get_backend
from gpubp.backprop.network import Workspace, backward, forward
from gpubp.backprop.optimizers import update
from gpubp.explain.example import Example, require_example
from gpubp.explain.input_stage import StageTrace, trace_stage
from gpubp.kernels.activations import Activation

_FLOAT64 = np.dtype(np.float64)


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """One layer in one step of training on one row; every array is float64.

    W, dW, new_W : (d_in, d_out), weights before the step, their gradient, weights after it.
    b, db, new_b : (d_out,), the same of the biases; None in a network without biases.
    inputs : (d_in,). Z : (d_out,) before the activation. A : (d_out,) after it; in the last layer
    the prediction. error : dC/dA (d_out,), propagated back to this layer; None in the last layer.
    slope : f'(Z) (d_out,), None in the last layer. delta : dC/dZ (d_out,).
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
        """w_jk delta_k (d_in, d_out), the term of each weight in the error of the layer below."""
        shares: np.ndarray = self.W * self.delta
        return shares


@dataclass(frozen=True, eq=False)
class StepTrace:
    """Every number of one step: forward, loss, backward, update, and forward again.

    number : of the step, from 1. row : index of the example's row in this step.
    target : (d_L,), a class as one-hot. loss, new_loss : loss of the row before and after the
    step, without the penalty. theta, gradient, new_theta : flat, in the layout of training; the
    gradient is that of the loss without the penalty. state : the optimizer's state after the step.
    stage : the input stage; None without one.
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
    stage: StageTrace | None = None

    @property
    def inputs(self) -> np.ndarray:
        """The row of X (d,)."""
        return self.layers[0].inputs if self.stage is None else self.stage.X

    @property
    def prediction(self) -> np.ndarray:
        """The network's outputs (d_L,) before the step."""
        return self.layers[-1].A


def output_divisor(traces: Sequence[StepTrace]) -> int:
    """Return the m of the outputs' delta = (prediction - target) / m; 0 if it has another form.

    m is 1, or the number of outputs, over which the cost is a mean.
    """
    gaps = np.array([trace.prediction - trace.target for trace in traces])
    deltas = np.array([trace.layers[-1].delta for trace in traces])
    for m in (1, gaps.shape[1]):
        if np.allclose(deltas * m, gaps, rtol=1e-9, atol=1e-12, equal_nan=True):
            return m
    return 0


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

    number : of the step, from 1. state : the optimizer's state after the previous step; None at
    the first step.

    Raises IndexError if the example has no such row, TypeError if it is not an Example.
    """
    require_example(example)
    if not 0 <= row < len(example.X):
        raise IndexError(f"row {row} was asked for, but the rows are 0 to {len(example.X) - 1}")
    backend, network = get_backend("cpu"), example.network
    theta = example.theta.copy()
    before = _forward(backend, example, theta, row)
    gradient = np.zeros_like(theta)
    parameters = network.views(example.theta)
    backward(backend, network, parameters, network.views(gradient), before.work)
    kept = gradient.copy()  # the update overwrites the gradient
    names = example.optimizer.state_names
    vectors = tuple(v.copy() for v in state or [np.zeros_like(theta) for _ in names])
    plan = example.optimizer.plan(example.rate, number - 1, np.full(1, example.alpha))
    step, n_weights, decays = np.zeros(1, np.int64), network.n_weights(_FLOAT64), example.alpha > 0
    numbers = plan, step, n_weights, decays, theta, gradient, vectors
    factors = example.factors and example.factors.by_run(network, _FLOAT64)
    update(backend, example.optimizer, *numbers, factors)
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
        stage=trace_stage(network, (example.theta, kept, theta), (before.work, after.work)),
    )


def trace_steps(example: Example, steps: int, row: int = 0) -> Iterator[StepTrace]:
    """Yield the records of ``steps`` steps, one row per step, in order from ``row`` on."""
    state = None
    for number in range(1, steps + 1):
        trace = trace_step(example, row, number=number, state=state)
        yield trace
        example, state = replace(example, theta=trace.new_theta), trace.state
        row = (row + 1) % len(example.X)


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
    """Return f'(Z): the result of the delta step for g = 1."""
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
            inputs=(work.As[k - 1] if k else work.inputs)[0],
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
