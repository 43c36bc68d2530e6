"""L-BFGS: the loss over all rows with its gradient, minimised on the host by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from gpubp.backend import Array, Backend, Recording
from gpubp.batches import Batches
from gpubp.kernels.optimizers import ADVANCE
from gpubp.losses import Loss
from gpubp.network import Network, Workspace, backward, forward
from gpubp.placement import DeviceMemoryError, bytes_needed, place
from gpubp.rows import Matrix
from gpubp.trainer import OptimizerState
from gpubp.training import Epoch, History, Minimum, OnEpoch, StoppedBy

STEP_BYTES = 1 << 26  # of the activations and deltas of the rows that are computed at once


class Objective:
    """The loss of one network over all of its data, and its gradient, at any parameters.

    theta : (size,) host array, the parameters to begin with. batches : its rows are taken in
    their own order, and the gradients of its steps added up. alpha : the L2 penalty, of which
    data of weight s take alpha / s.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        theta: np.ndarray,
        batches: Batches,
        *,
        alpha: float = 0.0,
    ) -> None:
        self.backend, self.network, self.loss, self.batches = backend, network, loss, batches
        ones = [np.ones(shape) for shape in pairwise(network.sizes)]
        mask = network.pack(ones, [W[0] for W in ones], theta.dtype)
        self._places = np.flatnonzero(mask)  # of the parameters, between the padding
        self._n_weights = sum(W.size for W in ones)
        self._padded, self.start = theta.copy(), theta[self._places].astype(np.float64)
        self.evaluations = 0
        self.theta, self._gradient = (backend.zeros(theta.shape, theta.dtype) for _ in range(2))
        self._losses = backend.zeros((batches.batch_size + batches.tail,), np.float64)
        self._l2 = alpha / batches.plan(np.arange(batches.rows), whole=True)[0]
        work = Workspace(backend, network, batches.batch_size, theta.dtype)
        full, tail = self._losses[: work.rows], self._losses[work.rows :]
        self._full = self._record(work, full)
        self._tail = self._record(work.first(batches.tail), tail) if batches.tail else None

    def _record(self, work: Workspace, row_losses: Array) -> Recording:
        """Return the step over the rows of ``work``, recorded; it adds to row_losses (rows,)."""
        # Bound here, as in `Trainer`: what is recorded must not know this object.
        backend, network, loss, batches = self.backend, self.network, self.loss, self.batches
        parameters, gradients = network.views(self.theta), network.views(self._gradient)
        several = batches.steps > 1

        def step() -> None:
            work.X, Y = batches.gather(work.X, batches.Y_batch[: work.rows])
            forward(backend, network, parameters, work)
            share = batches.share(work.rows, batches.rows)
            loss.evaluate(backend, work.logits, Y, share, row_losses, work.deltas[-1])
            backward(backend, network, parameters, gradients, work, accumulate=several)
            backend.run(ADVANCE, 1, out=batches.step)

        return backend.record(step)

    def set(self, x: np.ndarray) -> None:
        """Set the parameters to ``x`` (n_parameters,): all W, then all b, as scikit-learn packs."""
        self._padded[self._places] = x
        self.theta[...] = self.backend.asarray(self._padded)

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean loss at ``x`` (n_parameters,) with its penalty, and its gradient."""
        self.evaluations += 1
        with np.errstate(all="ignore"):
            self.set(x)
            for array in (self.batches.step, self._losses, self._gradient):
                array[...] = 0
            for steps in self.batches.passes():
                self._full(steps)
            if self._tail is not None:
                self._tail()
            loss = float(self.backend.to_numpy(self._losses.sum(dtype=np.float64)))
            gradient = self.backend.to_numpy(self._gradient)[self._places].astype(np.float64)
            weights = x[: self._n_weights]
            loss += 0.5 * self._l2 * float(weights.dot(weights))
            gradient[: self._n_weights] += self._l2 * weights
        return loss, gradient

    def host_state(self) -> OptimizerState:
        """Return the state that another solver starts from: L-BFGS leaves none."""
        return OptimizerState(0.0)


def place_objective(
    backend: Backend,
    network: Network,
    loss: Loss,
    theta: np.ndarray,
    X: Matrix,
    Y: np.ndarray,
    weights: np.ndarray | None,
    alpha: float,
    note: Callable[[str], None],
) -> Objective:
    """Return the objective of the data, in steps that the device has room for."""
    row_bytes = (network.sizes[0] + 3 * sum(network.sizes[1:])) * theta.itemsize
    steps = -(-len(X) // max(1, STEP_BYTES // row_bytes))
    # Even steps, of whole warps.
    rows, needed = -(-len(X) // (32 * steps)) * 32, bytes_needed(network, None, theta.dtype)

    def make(batches: Batches, parts: int) -> Objective:
        objective = Objective(backend, network, loss, theta, batches, alpha=alpha)
        if backend.name != "cpu":  # where memory is short, that is told now
            objective(objective.start)
            objective.evaluations = 0
        return objective

    while True:
        try:
            return place(backend, X, Y, rows, weights, make, needed, note, most_parts=1)
        except DeviceMemoryError:
            if rows == 1:
                raise
        rows = rows // 128 * 32 or rows // 2


class _Stopped(Exception):
    """What ends SciPy's iterations from within one."""


def minimize(
    objective: Objective,
    history: History,
    max_iter: int,
    max_fun: int,
    tol: float,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Minimise ``objective`` by L-BFGS, with scikit-learn's options; leave its theta there.

    ``history`` gets what was reached, in place of epochs; ``on_epoch`` is told each iteration, and
    returns True to stop. That, or an interrupt, leaves the last of them.
    Byrd, Lu, Nocedal and Zhu (1995); Zhu et al. (1997).
    """
    from scipy.optimize import OptimizeResult
    from scipy.optimize import minimize as scipy_minimize

    started, rows = perf_counter(), objective.batches.rows
    result = OptimizeResult(x=objective.start, fun=np.nan, nit=0, status=2, message="INTERRUPT")

    def note(intermediate_result: Any) -> None:
        result.x, result.fun = intermediate_result.x.copy(), float(intermediate_result.fun)
        result.nit += 1
        if on_epoch is None:
            return
        # Where it ended is what was evaluated last, and so in theta.
        history.epochs = result.nit
        history.minimum = Minimum(result.fun, result.nit, objective.evaluations)
        each, seconds = rows * objective.evaluations // result.nit, perf_counter() - started
        last = result.nit == max_iter
        if on_epoch(Epoch(result.nit, result.fun, None, True, None, seconds, each, last)):
            raise _Stopped

    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    reached = result
    asked: BaseException | None = None
    try:
        reached = scipy_minimize(
            objective, objective.start, method="L-BFGS-B", jac=True, callback=note, options=options
        )
    except (KeyboardInterrupt, _Stopped) as error:
        asked = error
    objective.set(reached.x)
    history.minimum = Minimum(
        float(reached.fun), int(reached.nit), objective.evaluations, reached.status, reached.message
    )
    history.epochs = min(history.minimum.nit, max_iter)
    history.seconds = perf_counter() - started
    finite = bool(np.isfinite(reached.x).all())
    history.stopped_by = _reason(history.minimum, finite, max_iter, asked)


def _reason(
    minimum: Minimum, finite: bool, max_iter: int, asked: BaseException | None
) -> StoppedBy:
    if asked is not None:
        return "callback" if isinstance(asked, _Stopped) else "interrupt"
    if not finite:
        return "non_finite"
    if minimum.status == 0:
        return "convergence"
    if minimum.status == 1:
        return "max_epochs" if minimum.nit >= max_iter else "max_fun"
    return "line_search"


def warn_unless_converged(history: History, max_iter: int) -> None:
    """Warn as scikit-learn does, or pass an interrupt on, as it does under this solver alone."""
    from sklearn.utils.optimize import _check_optimize_result

    if history.stopped_by == "interrupt":
        raise KeyboardInterrupt
    if history.stopped_by == "callback":
        return
    _check_optimize_result("lbfgs", history.minimum, max_iter)
