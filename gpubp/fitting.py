"""Fitting: what the two estimators share, from validated rows to their fitted attributes."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from gpubp.audience import Audience
from gpubp.backend import Array, Backend
from gpubp.batches import Batches
from gpubp.callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from gpubp.device_rows import validated
from gpubp.dropout import Dropout
from gpubp.inference import forget, infer_into, parameters_of
from gpubp.interchange import beside, empty_beside, is_on_device, on_host
from gpubp.lbfgs import Objective, minimize, place_objective
from gpubp.losses import Loss
from gpubp.network import Network
from gpubp.outcome import Outcome, rolled_back
from gpubp.placement import bytes_needed, place
from gpubp.rows import Rows, SparseRows, as_rows
from gpubp.schedules import Schedule
from gpubp.trainer import OptimizerState, Trainer
from gpubp.training import History, OnEpoch, rehearse, train
from gpubp.validation import Score, Scorer, Validation, check_columns, hold_out, named

# What is asked of X: a CSC or another sparse matrix becomes CSR.
X_CHECKS: dict[str, Any] = {"dtype": (np.float64, np.float32), "accept_sparse": "csr"}


def _described(dtype: np.dtype, backend: Backend) -> str:
    if dtype == np.float32 and backend.precision != "float32":
        return f"{dtype} with {backend.precision} products"
    return str(dtype)


def _checked_weights(X: Any, sample_weight: Any) -> np.ndarray | None:
    """Return the sample weights of the rows of ``X``, (n,), or None where all are alike."""
    if sample_weight is None:
        return None
    weights: np.ndarray = _check_sample_weight(on_host(sample_weight), X)
    if not weights.any():  # scikit-learn's words, which 1.7 does not have
        raise ValueError("Sample weights must contain at least one non-zero number.")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError(f"sample_weight adds up to {total}, beyond {weights.dtype}; scale it down")
    return weights


class MultilayerPerceptron(CallbackSupportMixin, ABC, Outcome):
    """What MLPClassifier and MLPRegressor share; not for use by itself."""

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train on X (n_samples, n_features), dense or sparse, and y; return self.

        sample_weight : (n_samples,) array-like or None, the weight of each row in the loss.
        X_val, y_val, sample_weight_val : rows that early_stopping scores, instead of holding out
            some of X.
        """
        own = X_val, y_val, sample_weight_val
        given = None if all(each is None for each in own) else own
        return self._judge(self._train(X, y, sample_weight, given=given))

    @rolled_back  # outside, so that callbacks are torn down before
    @with_callbacks  # type: ignore[untyped-decorator]
    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        given: tuple[Any, Any, Any] | None = None,
        incremental: bool = False,
        on_epoch: OnEpoch | None = None,
        note: Callable[[str], None] | None = None,
    ) -> History:
        """Validate, train, and keep what was learned; whoever calls judges why it stopped."""
        forget(self)  # what the device has of it will be of no use, and takes room
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        rows = self._validated(X, y, sample_weight, incremental, first)
        held = None if given is None else self._given_rows(*given, rows.y)
        epochs = 1 if incremental else int(self.max_iter)
        tasks = self._fit_tasks(X, y, sample_weight, epochs)
        audience = Audience(bool(self.verbose), on_epoch, note, tasks)
        network = self._network(rows)
        batch_rows, compiled = self._batch_rows(len(rows.X)), bool(self.compiled)
        backend = self._backend(batch_rows, network, compiled=compiled)
        dtype = self._train_dtype(rows.X, backend)
        rows, held = rows.in_dtype(dtype, backend), held and held.in_dtype(dtype, backend)
        audience.say(f"training on {backend.name} in {_described(dtype, backend)}: {backend.why}")
        rng = check_random_state(self.random_state)
        theta = self._start(network, dtype, rng, first, incremental)
        if held is None and self.early_stopping and self.solver != "lbfgs":
            rows, held = hold_out(rows, self.validation_fraction, self._strata(rows.y), rng)
        rows, held = self._in_training_units(rows, held, first)
        if self.solver == "lbfgs":
            self._minimize(backend, network, rows, theta, audience)
        else:
            self._warn_of_batch_size(len(rows.X))
            schedule = self._schedule(epochs, backend, len(rows.X))
            self._descend(backend, network, rows, held, theta, rng, schedule, audience)
        audience.end()
        return self._history

    def _fit_tasks(self, X: Any, y: Any, sample_weight: Any, epochs: int) -> FitTasks | None:
        if not hasattr(self, "_skl_callbacks"):
            return None
        name = "lbfgs-iter" if self.solver == "lbfgs" else "epoch"
        return FitTasks(self, X, y, sample_weight, epochs, name)

    def _descend(
        self,
        backend: Backend,
        network: Network,
        rows: Rows,
        held: Rows | None,
        theta: np.ndarray,
        rng: np.random.RandomState,
        schedule: Schedule,
        audience: Audience,
    ) -> None:
        """Train by stochastic gradient descent, batch by batch, and score ``held``."""
        loss, dropout, validation = self._loss(), self._drawn_dropout(rng), None
        with backend.in_use(self.threads, self._batch_rows(len(rows.X)) * network.n_parameters):
            if held is not None:
                validation = Validation(backend, network, loss, held, self._score(backend, held))
            outputs = validation and validation.outputs
            ready = partial(rehearse, schedule=schedule, validate=outputs)
            trainer = self._trainer(
                backend, network, loss, rows, theta, dropout, ready, audience.warn
            )
            del theta  # the trainer has its own
            if validation is not None:
                validation.upload(trainer, schedule)
            report = audience.begin(trainer, rows.places)
            train(trainer, schedule, rng, self._history, validate=validation, on_epoch=report)
        self._keep(trainer)

    def _minimize(
        self,
        backend: Backend,
        network: Network,
        rows: Rows,
        theta: np.ndarray,
        audience: Audience,
    ) -> None:
        """Train by L-BFGS, which takes all rows at once and has neither epochs nor validation."""
        data = rows.X, rows.targets, rows.weights
        with backend.in_use(self.threads, len(rows.X) * network.n_parameters):
            arguments = (backend, network, self._loss(), theta, *data, float(self.alpha))
            objective = place_objective(*arguments, audience.warn)
            limits = int(self.max_iter), int(self.max_fun), float(self.tol)
            report = audience.begin(objective, rows.places)
            minimize(objective, self._history, *limits, report)
            self._keep(objective)

    def _trainer(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        rows: Rows,
        theta: np.ndarray,
        dropout: Dropout | None,
        ready: Callable[[Trainer], None],
        note: Callable[[str], None],
    ) -> Trainer:
        """Return the trainer, on as much of the device as there is room for.

        ready : raises a MemoryError where a trainer leaves no room to train. note : takes a line
        for a person where the device has no room for all.
        """
        optimizer, alpha, state = self._optimizer(), float(self.alpha), self._optimizer_state
        limit = None if self.clip_norm is None else float(self.clip_norm)

        def make(batches: Batches, parts: int) -> Trainer:
            arguments = (backend, network, loss, optimizer, theta, batches)
            options: dict[str, Any] = {"alpha": alpha, "state": state, "dropout": dropout}
            trainer = Trainer(*arguments, **options, parts=parts, clip_norm=limit)
            ready(trainer)
            return trainer

        return place(
            backend,
            rows.X,
            rows.targets,
            self._batch_rows(len(rows.X)),
            rows.weights,
            make,
            bytes_needed(network, optimizer, theta.dtype),
            note,
        )

    def _validated(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, first: bool
    ) -> Rows:
        """Return the rows to train on, or raise as scikit-learn does."""
        self._dropout_rates()
        X, y = self._validate_input(X, on_host(y), incremental, first)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        return self._rows(X, y, self._weights(y, _checked_weights(y, sample_weight)))

    def _given_rows(self, X: Any, y: Any, sample_weight: Any, trained: np.ndarray) -> Rows:
        """Return the rows that were given to validate on, or raise.

        trained : the targets of the rows to train on, whose columns ``y`` must have.
        """
        if X is None or y is None:
            raise ValueError(
                "X_val and y_val go together; give both, or neither, and sample_weight_val only "
                "with them"
            )
        if not self.early_stopping or self.solver == "lbfgs":
            raise ValueError(
                f"X_val and y_val are for early_stopping=True with solver='sgd', 'adam' or "
                f"'adamw', got early_stopping={self.early_stopping!r} and solver={self.solver!r}; "
                "set these, or leave X_val and y_val out"
            )
        check_columns(y := on_host(y), trained)
        with named("X_val and y_val"):
            X, y = self._validate_held(X, y)
        with named("sample_weight_val"):
            weights = _checked_weights(y, sample_weight)
        return self._rows(X, y, weights)

    def _rows(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> Rows:
        X = SparseRows(X) if hasattr(X, "indptr") else X
        return Rows(X, y, self._encode(y), weights)

    def _weights(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """Return the weight of each row in the loss, (n,), from its sample weight."""
        return weights

    def _in_training_units(
        self, rows: Rows, held: Rows | None, first: bool
    ) -> tuple[Rows, Rows | None]:
        """Return the rows to train on and those held out, with targets as the network learns them.

        first : whether training begins here, with units of its own.
        """
        return rows, held

    def _network(self, rows: Rows) -> Network:
        hidden = self._hidden_sizes()
        self.n_outputs_ = self._n_outputs(rows.targets)
        sizes = rows.X.shape[1], *hidden, self.n_outputs_
        return Network(sizes, self._activations(len(hidden)), bool(self.fit_intercept))

    def _score(self, backend: Backend, held: Rows) -> Score:
        """Return what scores parameters on the rows ``held``, by ``scoring``."""
        if self.scoring is None:
            return lambda _, outputs, loss: self._score_outputs(outputs, held.y, held.weights)
        if self.scoring == "loss":
            return lambda _, outputs, loss: -loss
        return Scorer(self.scoring, self, backend, held)

    def _start(
        self,
        network: Network,
        dtype: np.dtype,
        rng: np.random.RandomState,
        first: bool,
        incremental: bool,
    ) -> np.ndarray:
        """Return the initial parameters; start history and optimizer anew where they should."""
        # Copies, since training changes them: if it fails, the estimator keeps its own.
        self._history = History() if first else self._history.copy()
        scored_by = getattr(self, "_scored_by", self.scoring)
        if self.early_stopping and scored_by != self.scoring:
            # Scores of another kind are no measure of those to come.
            self._history = replace(self._history, scores=[], best_score=-np.inf, stale=0)
        goes_on = incremental or (self.keep_optimizer_state and not first)
        if not goes_on or getattr(self, "_state_of", None) != self._of_state():
            self._optimizer_state = OptimizerState(float(self.learning_rate_init))
        self._optimizer_state = replace(self._optimizer_state)
        if first:
            return network.initial_theta(rng, dtype)
        got = [np.shape(W) for W in self.coefs_]
        if got != (wanted := list(pairwise(network.sizes))):
            raise ValueError(
                f"warm_start and partial_fit go on from coefs_ of shapes {got}, but the parameters "
                f"and data ask for {wanted}; use the same hidden_layer_sizes or fit anew"
            )
        if not network.bias and any(np.any(b) for b in self.intercepts_):
            raise ValueError(
                "warm_start and partial_fit with fit_intercept=False go on from intercepts_ that "
                "are 0, but some are not; set them to 0 or fit anew"
            )
        return network.pack(self.coefs_, self.intercepts_, dtype)

    def _of_state(self) -> tuple[str, bool]:
        """Return what the optimizer's state is for: with another of these it starts anew."""
        return self.solver, bool(self.fit_intercept)

    def _keep(self, trainer: Trainer | Objective) -> None:
        """Set the fitted attributes from what training left."""
        network = trainer.network
        theta = trainer.backend.to_numpy(trainer.theta)
        self.coefs_, self.intercepts_ = network.unpack(theta)
        self._optimizer_state = trainer.host_state()
        # After a divergence its vectors may be NaN: the next call starts anew.
        diverged = self._history.stopped_by == "non_finite"
        self._state_of = None if diverged else self._of_state()
        self.n_layers_, self.n_outputs_ = len(network.sizes), network.sizes[-1]
        self.out_activation_ = trainer.loss.output
        precision = trainer.backend.precision if theta.itemsize == 4 else "float64"
        where = trainer.backend.name, precision
        self._note_history(self._history, *where, bool(self.early_stopping))
        if self.early_stopping:
            self._scored_by = self.scoring

    def _drawn_dropout(self, rng: np.random.RandomState) -> Dropout | None:
        """Return what training drops, with its seed drawn from ``rng``; None for nothing."""
        rates = self._dropout_rates()
        if not any(rates):
            return None
        seed = int(rng.randint(np.iinfo(np.int64).max, dtype=np.int64))
        return Dropout(rates, seed, trained=self._history.samples)

    def _warn_of_batch_size(self, n: int) -> None:
        if self.batch_size != "auto" and int(self.batch_size) > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=5,
            )

    def _outputs(self, X: Any) -> Array:
        """Return the network's outputs for X (n_samples, n_features) as (n_samples, n_outputs).

        On the device of X, as a CuPy array, where X lies on one.
        """
        check_is_fitted(self)
        X = validated(self, X, reset=False, **X_CHECKS)
        sizes = (len(self.coefs_[0]), *(len(b) for b in self.intercepts_))
        shapes = [np.shape(W) for W in self.coefs_]
        if shapes != list(pairwise(sizes)):
            biases = [np.shape(b) for b in self.intercepts_]
            raise ValueError(
                f"coefs_ has shapes {shapes} and intercepts_ {biases}, which do not fit together; "
                "set both by layer, or fit again"
            )
        network = Network(sizes, self._activations(len(sizes) - 2))
        backend = self._backend(X.shape[0], network)
        dtype = np.asarray(self.coefs_[0]).dtype
        rows = as_rows(X, dtype, backend)
        shape, stays = (len(rows), sizes[-1]), is_on_device(rows)
        outputs = empty_beside(rows, shape, dtype) if stays else np.empty(shape, dtype)
        with backend.in_use(self.threads, min(len(rows), 1024) * network.n_parameters):
            parameters = parameters_of(self, backend, self.coefs_, self.intercepts_, dtype)
            infer_into(outputs, backend, network, self._loss(), parameters, rows)
        return beside(outputs, X) if is_on_device(X) and not stays else outputs

    def __getstate__(self) -> dict[str, Any]:
        # What a Scorer knows of the rows it scores stands in the way of `_outputs`.
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_outputs"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool
    ) -> tuple[Any, np.ndarray]:
        """Return X (n, d), an array or a CSR matrix, and y as training can take them, or raise."""

    @abstractmethod
    def _validate_held(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        """Return rows to validate on, as `_validate_input` does once the model knows its data."""

    @abstractmethod
    def _loss(self) -> Loss:
        """Return the loss that fits the targets."""

    @abstractmethod
    def _encode(self, y: np.ndarray) -> np.ndarray:
        """Return y as the loss takes it: (n,) int32 or (n, n_outputs)."""

    @abstractmethod
    def _n_outputs(self, targets: np.ndarray) -> int:
        """Return how many outputs the network needs for encoded ``targets``."""

    @abstractmethod
    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        """Return what a validation split keeps in proportion."""

    @abstractmethod
    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weights: Any) -> float:
        """Return the score of ``outputs`` (n, n_outputs) for the targets ``y``."""
