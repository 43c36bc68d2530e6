"""`fit`: training a network on arrays by a recipe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.dropout import Dropout
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network, Parameters
from gpubp.training.batches import Batches
from gpubp.training.check_fit import check_fit
from gpubp.training.data import TrainingData
from gpubp.training.epoch_plan import OptimizerState, StepSettings
from gpubp.training.fit_memory import Way, bytes_needed, place, ways, ways_over_all
from gpubp.training.history import History, OnEpoch
from gpubp.training.lbfgs import Objective, minimize
from gpubp.training.loop import check_memory, train
from gpubp.training.rank_trainer import trainer_on_ranks
from gpubp.training.ranks import Ranks
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import Trainer
from gpubp.training.training_state import OnPause, TrainingState
from gpubp.training.validation import Validation, ValidationSet


@dataclass
class Start:
    """The initial state of a training.

    theta : (size,) on the host, the initial parameters.
    rng : draws the seed of dropout and the row orders.
    history, state : history and optimizer state of the training to continue; None for a new one.
    resumed : the state from which an interrupted training goes on; see `resume`.
    """

    theta: np.ndarray
    rng: np.random.RandomState
    history: History | None = None
    state: OptimizerState | None = None
    resumed: TrainingState | None = None

    @classmethod
    def new(cls, network: Network, recipe: Recipe) -> Start:
        """Return a start with initial parameters drawn from ``recipe.seed``."""
        rng = np.random.RandomState(recipe.seed)
        return cls(network.initial_theta(rng, recipe.dtype, recipe.weights_init), rng)

    def resume(self, state: TrainingState) -> Start:
        """Return the start of the interrupted training with this start that goes on from ``state``.

        Parameters, history and optimizer state are those of ``state``; the generator stays, and the
        training draws the seed of dropout and the orders of the finished epochs again. It ends with
        the bits of a training that was not interrupted.
        """
        return Start(state.theta, self.rng, state.history, state.optimizer, state)

    @property
    def kept(self) -> np.ndarray:
        """The parameters of the epoch with the lowest loss so far."""
        return self.theta if self.resumed is None else self.resumed.kept

    @property
    def best(self) -> np.ndarray:
        """The parameters of the epoch with the best validation score so far."""
        best = None if self.resumed is None else self.resumed.best
        return self.theta if best is None else best


@dataclass(frozen=True)
class Fitted:
    """A trained network, on the host.

    network : its shape. theta : (size,), its parameters.
    state : the optimizer state, with which a training can continue.
    history : losses and scores by epoch, and why training stopped.
    device, engine, precision : the device of training, the kind of code that computed its steps,
        "numpy", "compiled" or "cuda", and the precision of its matrix products.
    launches : kernel launches, or library calls on the CPU, of one step, by name.
    """

    network: Network
    theta: np.ndarray
    state: OptimizerState
    history: History
    device: str
    engine: str
    precision: str
    launches: dict[str, int]

    def copy(self) -> Fitted:
        """Return a copy with its own arrays and history."""
        vectors = tuple(vector.copy() for vector in self.state.vectors)
        state, history = replace(self.state, vectors=vectors), self.history.copy()
        return replace(self, theta=self.theta.copy(), state=state, history=history)

    @property
    def stopped_by(self) -> str:
        """Why training stopped; see `history.StoppedBy`."""
        return self.history.stopped_by


Snapshot = Callable[[], Fitted]


def _ignore(line: str) -> None:
    pass


@dataclass(frozen=True)
class Listeners:
    """Functions that a training calls.

    on_start : called before the first epoch with a function that returns the current `Fitted`
        until the training ends.
    on_epoch : called after each epoch; returns True to stop.
    note : called with a message for the user if training falls back to a slower way.
    inform : called with a message that describes the training.
    on_pause : called when the state of the training can be saved; not by L-BFGS, which has none.
    """

    on_start: Callable[[Snapshot], None] | None = None
    on_epoch: OnEpoch | None = None
    note: Callable[[str], None] = _ignore
    inform: Callable[[str], None] = _ignore
    on_pause: OnPause | None = None


def fit(
    backend: Backend,
    network: Network,
    loss: Loss,
    data: TrainingData,
    recipe: Recipe,
    *,
    held: ValidationSet | None = None,
    start: Start | None = None,
    listeners: Listeners = Listeners(),
    threads: int | None = None,
    ranks: Ranks | None = None,
) -> Fitted:
    """Train ``network`` on ``data`` by ``recipe``; return the trained network.

    held : validation rows, scored after each epoch. Their score decides when to stop, and the
        parameters of the best epoch are restored. L-BFGS ignores them.
    start : initial parameters and generator; None draws them from ``recipe.seed``.
    listeners : functions to call during training.
    threads : number of BLAS threads on the CPU; None is 1 if batch rows x parameters is small,
        otherwise all.
    ranks : other processes that train on their part of the rows; None for this process alone.
        L-BFGS does not use them.

    Raises DeviceMemoryError if the training does not fit on the CUDA device (on the CPU a
    MemoryError), and ValueError if ``recipe.precision`` is neither "float64" nor that of
    ``backend``, or if the arguments do not fit together.
    """
    check_precision(backend, recipe)
    start = start or Start.new(network, recipe)
    check_fit(network, loss, data, held and held.rows, recipe, start.theta, start.state)
    data = data.in_dtype(recipe.dtype, backend)
    if ranks is not None:
        threads = ranks.threads(backend, threads)
    by_lbfgs = recipe.solver == "lbfgs"
    rows = data.n_rows if by_lbfgs else min(recipe.batch_size, data.n_rows)
    with backend.in_use(threads, rows * network.n_parameters):
        if by_lbfgs:
            if ranks is not None:
                listeners.note("L-BFGS trains in the process of rank 0 alone")
            return _minimize(backend, network, loss, data, recipe, start, listeners)
        history = (start.history or History()).copy()
        validation = held and Validation(backend, network, loss, held.in_dtype(recipe, backend))
        allocate = validation and validation.outputs
        with ExitStack() as shared:
            trainer: Trainer
            if ranks is not None and ranks.can_share(data.n_rows):
                listeners.inform(ranks.description(backend))
                how = step_settings(recipe, start), recipe.batch_size, recipe.drop_last, threads
                of = backend, network, loss, data, start.theta
                trainer = shared.enter_context(trainer_on_ranks(ranks, *of, *how))
            else:
                of_one = backend, network, loss, data, recipe, start
                trainer = make_trainer(*of_one, allocate, listeners.note)
            if validation is not None:
                validation.upload(trainer, recipe)
            _call_on_start(trainer, recipe, history, listeners)
            train(
                *(trainer, recipe, start.rng, history),
                validate=validation,
                on_epoch=listeners.on_epoch,
                on_pause=listeners.on_pause,
                resumed=start.resumed,
            )
            return fitted_of(trainer, recipe, history)


def check_precision(backend: Backend, recipe: Recipe) -> None:
    """Raise ValueError if ``backend`` has products of another precision than ``recipe``."""
    if recipe.precision not in ("float64", backend.precision):
        raise ValueError(
            f"recipe.precision is {recipe.precision!r}, but products on {backend.name} are in "
            f"{backend.precision!r}; make the backend with get_backend(..., precision=...), or "
            "change the recipe"
        )


def make_trainer(
    backend: Backend,
    network: Network,
    loss: Loss,
    data: TrainingData,
    recipe: Recipe,
    start: Start,
    allocate: Callable[[Parameters], object] | None = None,
    note: Callable[[str], None] = _ignore,
    *,
    kind: type[Batches] | None = None,
    beside: Trainer | None = None,
) -> Trainer:
    """Return the trainer of a stochastic solver.

    Data that do not fit in device memory are streamed, and batches are split if necessary. Call it
    within ``backend.in_use``.
    data : in the dtype of ``recipe``.
    allocate : called once to check that the memory for validation is available.
    kind : the class of the batches; None streams if necessary.
    beside : see `Trainer`.
    """
    settings = step_settings(recipe, start)
    make = partial(Trainer, backend, network, loss, start.theta, each=[settings], beside=beside)
    return place(
        backend,
        data,
        [Way(kind, recipe.batch_size)] if kind else ways(backend, data.X, recipe.batch_size),
        make,
        partial(check_memory, recipe=recipe, allocate=allocate),
        bytes_needed(network, settings.optimizer, recipe.dtype),
        note,
        drop_last=recipe.drop_last,
    )


def step_settings(recipe: Recipe, start: Start) -> StepSettings:
    """Return the settings of a network's steps; draws the seed of dropout from ``start.rng``."""
    trained = start.history.samples if start.history else 0
    return StepSettings(
        recipe.optimizer,
        replace(start.state) if start.state else OptimizerState(recipe.learning_rate),
        recipe.alpha,
        _drawn_dropout(recipe, start.rng, trained),
        recipe.clip_norm,
        recipe.factors,
    )


def _drawn_dropout(recipe: Recipe, rng: np.random.RandomState, trained: int) -> Dropout | None:
    """Return the dropout of this training, with a seed from ``rng``; None if all rates are 0."""
    if not any(recipe.dropout):
        return None
    seed = int(rng.randint(np.iinfo(np.int64).max, dtype=np.int64))
    return Dropout(recipe.dropout, seed, trained=trained)


def _minimize(
    backend: Backend,
    network: Network,
    loss: Loss,
    data: TrainingData,
    recipe: Recipe,
    start: Start,
    listeners: Listeners,
) -> Fitted:
    """Train by L-BFGS, which uses all rows in each step and has no epochs or validation."""
    history = (start.history or History()).copy()
    objective = place(
        backend,
        data,
        ways_over_all(backend, network, data.X, recipe.dtype),
        partial(Objective, backend, network, loss, start.theta, alpha=recipe.alpha),
        Objective.check_memory,
        bytes_needed(network, None, recipe.dtype),
        listeners.note,
    )
    _call_on_start(objective, recipe, history, listeners)
    minimize(objective, recipe, history, listeners.on_epoch)
    return fitted_of(objective, recipe, history)


def _call_on_start(
    trainer: Trainer | Objective, recipe: Recipe, history: History, listeners: Listeners
) -> None:
    if listeners.on_start is not None:
        # On the CPU to_numpy returns the live arrays, which later steps overwrite.
        listeners.on_start(lambda: fitted_of(trainer, recipe, history).copy())


def fitted_of(trainer: Trainer | Objective, recipe: Recipe, history: History) -> Fitted:
    """Return the network of ``trainer``; on the CPU it shares the arrays of ``trainer``."""
    backend, theta = trainer.backend, trainer.backend.to_numpy(trainer.theta)
    of = theta, trainer.host_state(), history, trainer.launches
    return fitted(backend, trainer.network, recipe, *of)


def fitted(
    backend: Backend,
    network: Network,
    recipe: Recipe,
    theta: np.ndarray,
    state: OptimizerState,
    history: History,
    launches: dict[str, int],
) -> Fitted:
    """Return a network that ``backend`` has trained by ``recipe``."""
    precision = "float64" if recipe.precision == "float64" else backend.precision
    of = backend.name, backend.engine, precision, launches
    return Fitted(network, theta, state, history, *of)
