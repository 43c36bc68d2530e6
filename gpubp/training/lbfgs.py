"""L-BFGS: the loss over all rows with its gradient, minimised on the host by SciPy."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from gpubp.backends.protocol import Array, Backend, Step
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network, Workspace
from gpubp.kernels.optimizers import ADVANCE
from gpubp.training.batch_gradient import BatchGradient
from gpubp.training.batches import Batches
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.history import Epoch, History, Minimum, OnEpoch, StoppedBy
from gpubp.training.recipe import Recipe


class Objective:
    """The loss of one network over all of its data, and its gradient, as a function for SciPy.

    theta : (size,) host array, the initial parameters.
    batches : the rows, in their own order; the gradients of the steps are added up.
    alpha : the L2 penalty; it is divided by the total weight of the data.
    parts : must be 1; an argument only because `Trainer` has it.
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
        parts: int = 1,
    ) -> None:
        self.backend, self.network, self.loss, self.batches = backend, network, loss, batches
        mask = np.zeros(theta.shape, theta.dtype)
        Ws, bs = network.arrays(mask)
        for array in (*Ws, *bs, *network.stage_parts(mask).values()):
            array[...] = 1
        self._places = np.flatnonzero(mask)  # indices of the parameters, without padding
        self._n_weights = sum(W.size for W in Ws)
        self._padded, self.start = theta.copy(), theta[self._places].astype(np.float64)
        self.evaluations = 0
        self.theta, self._gradient = (backend.zeros(theta.shape, theta.dtype) for _ in range(2))
        self._losses = backend.zeros((batches.batch_size + batches.tail,), np.float64)
        self._l2 = alpha / batches.plan(np.arange(batches.n_rows), whole=True)[0]
        work = Workspace(backend, network, batches.batch_size, theta.dtype)
        full, tail = self._losses[: work.n_rows], self._losses[work.n_rows :]
        self._recordings = [backend.record(self._step(work, full))]
        if batches.tail:
            self._recordings.append(backend.record(self._step(work.first(batches.tail), tail)))

    def _step(self, work: Workspace, row_losses: Array) -> Step:
        """Return the step for the rows of ``work``; it adds their losses to row_losses (rows,)."""
        # Local variables, as in `Trainer`: a step that refers to self would be a reference cycle.
        backend, network, batches = self.backend, self.network, self.batches
        gradient = BatchGradient(
            backend,
            network,
            self.loss,
            batches,
            network.views(self.theta),
            network.views(self._gradient),
        )
        several = batches.steps > 1

        def step() -> None:
            gradient(work, row_losses, batch_rows=batches.n_rows, accumulate=several)
            backend.run(ADVANCE, 1, out=batches.step)

        return step

    def set(self, x: np.ndarray) -> None:
        """Set the parameters to ``x`` (n_parameters,): all W, then all b, as in scikit-learn."""
        self._padded[self._places] = x
        self.theta[...] = self.backend.asarray(self._padded)

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean loss with the penalty at ``x`` (n_parameters,), and its gradient."""
        self.evaluations += 1
        with np.errstate(all="ignore"):
            self.set(x)
            for array in (self.batches.step, self._losses, self._gradient):
                array[...] = 0
            for kind, steps in self.batches.windows():
                self._recordings[kind](steps)
            loss = float(self.backend.to_numpy(self._losses.sum(dtype=np.float64)))
            gradient = self.backend.to_numpy(self._gradient)[self._places].astype(np.float64)
            weights = x[: self._n_weights]
            loss += 0.5 * self._l2 * float(weights.dot(weights))
            gradient[: self._n_weights] += self._l2 * weights
        return loss, gradient

    @property
    def launches(self) -> dict[str, int]:
        """Kernel launches, or library calls on the CPU, of one step, by name."""
        return dict(self._recordings[0].launches)

    def host_state(self) -> OptimizerState:
        """Return an empty optimizer state, since L-BFGS has none."""
        return OptimizerState(0.0)

    def check_memory(self) -> None:
        """Run one evaluation, which raises MemoryError now if the memory is too small."""
        if self.backend.name != "cpu":
            self(self.start)
            self.evaluations = 0


class _Stopped(Exception):
    """Raised in the callback to end SciPy's iterations."""


class _Iterations:
    """The callback of SciPy's iterations; it stores the result and raises _Stopped to stop.

    result : the result of the last iteration, in SciPy's terms.
    """

    def __init__(
        self, objective: Objective, history: History, epochs: int, on_epoch: OnEpoch | None
    ) -> None:
        from scipy.optimize import OptimizeResult

        self._objective, self._history = objective, history
        self._epochs, self._on_epoch, self._started = epochs, on_epoch, perf_counter()
        self.result = OptimizeResult(
            x=objective.start, fun=np.nan, nit=0, status=2, message="INTERRUPT"
        )

    def __call__(self, intermediate_result: Any) -> None:
        result, evaluations = self.result, self._objective.evaluations
        result.x, result.fun = intermediate_result.x.copy(), float(intermediate_result.fun)
        result.nit += 1
        if self._on_epoch is None:
            return
        # An iteration ends at the last evaluation, so theta already has its parameters.
        self._history.epochs = result.nit
        self._history.minimum = Minimum(result.fun, result.nit, evaluations)
        epoch = Epoch(
            number=result.nit,
            loss=result.fun,
            score=None,
            best=True,
            rate=None,
            seconds=perf_counter() - self._started,
            rows=self._objective.batches.n_rows * evaluations // result.nit,
            last=result.nit == self._epochs,
        )
        if self._on_epoch(epoch):
            raise _Stopped


def minimize(
    objective: Objective, recipe: Recipe, history: History, on_epoch: OnEpoch | None = None
) -> None:
    """Minimise ``objective`` by L-BFGS with scikit-learn's options; set its theta to the minimum.

    history : its ``minimum`` gets the result; no epochs are added.
    on_epoch : called after each iteration; returns True to stop. After a stop or an interrupt,
    theta is that of the last iteration.
    Byrd, Lu, Nocedal and Zhu (1995); Zhu et al. (1997).
    """
    from scipy.optimize import minimize as scipy_minimize

    epochs, max_fun = recipe.epochs, recipe.solver_options["max_fun"]
    options = {
        "maxfun": max_fun,
        "maxiter": epochs,
        "gtol": recipe.solver_numbers.get("tol", recipe.tol),
    }
    started, note = perf_counter(), _Iterations(objective, history, epochs, on_epoch)
    reached = note.result
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
    history.epochs = min(history.minimum.nit, epochs)
    history.seconds = perf_counter() - started
    finite = bool(np.isfinite(reached.x).all())
    history.stopped_by = _reason(history.minimum, finite, epochs, asked)


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
