"""The loss as a function of the parameters: many networks evaluated as one population."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backends.select import get_backend
from gpubp.backprop.network import Workspace, forward
from gpubp.explain.example import Example, require_example
from gpubp.explain.parameters import Parameter, parameters_of, stage_parameters


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
    """Return a workspace for the P networks of ``thetas`` (P, size) on the example's rows."""
    rows, dtype = len(example.X), np.dtype(thetas.dtype)
    work = Workspace(backend, example.network, rows, dtype, lead=thetas.shape[:-1])
    work.X = backend.asarray(example.X, dtype)  # one X for all
    return work


class Variation(NamedTuple):
    """Predictions (n, d_L) and losses (n,) over n values of one parameter, all others fixed."""

    parameter: Parameter
    values: np.ndarray
    predictions: np.ndarray
    losses: np.ndarray


def vary(example: Example, name: str, row: int = 0, *, span: float = 5.0, n: int = 41) -> Variation:
    """Return the prediction and the loss of one row over values of the parameter ``name``.

    span : the n values go from the parameter's own value minus ``span`` to plus ``span``. All n
    networks are evaluated as one population.

    Raises ValueError for an unknown name, TypeError if ``example`` is not an Example.
    """
    require_example(example)
    everything = [*parameters_of(example.network), *stage_parameters(example.network)]
    parameters = {p.name: p for p in everything}
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
