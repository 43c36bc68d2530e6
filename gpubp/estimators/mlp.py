"""BaseMLP: fit and predict as shared by both estimators."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import UNUSED

from gpubp.backends.foreign_arrays import on_host
from gpubp.backends.protocol import Array
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.estimators.callbacks import (
    CallbackSupportMixin,
    listeners_of,
    with_callbacks,
)
from gpubp.estimators.checkpoint import Checkpoint, checkpoint_of
from gpubp.estimators.checkpoint_run import CheckpointRun
from gpubp.estimators.checkpointed_fit import checkpointed, run_of
from gpubp.estimators.class_weights import checked_weights
from gpubp.estimators.ensemble_fit import train_members
from gpubp.estimators.ensemble_members import forget_members
from gpubp.estimators.fitted_attributes import rollback, set_fitted, warn_why_stopped
from gpubp.estimators.fitted_parts import input_stage, members
from gpubp.estimators.fitted_stage import check_same_stage, stage_of
from gpubp.estimators.hyperparameters import Hyperparameters
from gpubp.estimators.kept_steps import forget_steps, keep, train_on
from gpubp.estimators.network_outputs import network_outputs
from gpubp.estimators.prepared_fit import PreparedFit, described
from gpubp.estimators.recorded_predictions import forget_passes, replayed
from gpubp.estimators.scoring import Scorer
from gpubp.estimators.start import start_of
from gpubp.estimators.validation_split import check_columns, check_given, hold_out, named
from gpubp.logger import LOGGER
from gpubp.training.data import TrainingData
from gpubp.training.fit import Fitted, fit
from gpubp.training.history import History, OnEpoch
from gpubp.training.inference import free_device_parameters
from gpubp.training.population import Member
from gpubp.training.ranks import current_ranks
from gpubp.training.validation import Score, ValidationSet, minus_loss


class BaseMLP(CallbackSupportMixin, Hyperparameters, ABC):
    """Base class of MLPClassifier and MLPRegressor."""

    # Attributes that a prediction needs, fitted or set by hand.
    _LEARNED: tuple[str, ...] = ("coefs_", "intercepts_")
    members_, input_stage_ = property(members), property(input_stage)
    __metadata_request__fit: ClassVar[dict[str, str]] = {"checkpoint": UNUSED}
    # X, coefs_ and their outputs, so that a scorer does not compute them again.
    _known: tuple[Any, Any, np.ndarray] | None = None

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
        checkpoint: Checkpoint | str | None = None,
    ) -> Self:
        """Train on X (n_samples, n_features), dense or sparse, and y; return self.

        sample_weight : (n_samples,) array-like or None, the weight of each row in the loss; for a
            multi-label y also (n_samples, n_labels), the weight of each label.
        X_val, y_val, sample_weight_val : validation rows for early_stopping; None holds out rows
            of X instead. In both cases, the weight of a validation row in scores and losses is
            its sample weight times its class weight.
        checkpoint : a path, or a `Checkpoint`, where the state of the training is saved, so that
            an interrupted fit can be repeated from there. It needs a number as random_state.
        """
        own = X_val, y_val, sample_weight_val
        given = None if all(each is None for each in own) else own
        with rollback(self):
            run = run_of(self, saved := checkpoint_of(checkpoint), None)
            history = self._train(X, y, sample_weight, given=given, run=run)
        if saved is not None:
            saved.raise_late_signal()
        warn_why_stopped(self, history)
        return self

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
        run: CheckpointRun | None = None,
    ) -> History:
        """Validate the input, train and set the fitted attributes; the caller raises and warns."""
        how: dict[str, Any] = {"given": given, "on_epoch": on_epoch, "note": note}
        if self.n_members is not None:
            return train_members(self, (X, y, sample_weight), **how, run=run)
        prepared = self._prepared(X, y, sample_weight, incremental=incremental, **how)
        if isinstance(prepared, History):  # of a kept step
            return prepared
        with checkpointed(self, prepared, run) as (backend, of, _, threads):
            fitted = fit(
                *(backend, of.network, of.loss, of.data, of.recipe),
                held=of.held,
                start=of.start,
                listeners=of.listeners,
                threads=threads,
                ranks=current_ranks(),
            )
        if run is not None and fitted.stopped_by != "interrupt":
            run.end()
        return self._finish(prepared, fitted)

    def _prepared(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        given: tuple[Any, Any, Any] | None = None,
        incremental: bool = False,
        on_epoch: OnEpoch | None = None,
        note: Callable[[str], None] | None = None,
        together: int = 1,
    ) -> PreparedFit | History:
        """Validate the input and return the fit to train; its history if a kept step trained it.

        together : the number of similar networks to be trained at once.
        """
        stage_before = self._of_fit("input_stage")
        self._note_parameters()
        free_device_parameters(self)  # the copies that predict keeps are out of date
        from_scratch = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        rows = self._validated(X, y, sample_weight, incremental, from_scratch)
        if not from_scratch:
            check_same_stage(self, stage_before)
        if incremental:
            self._warn_of_batch_size(rows.n_rows)
            if (history := train_on(self, rows)) is not None:
                return history
        forget_steps(self)
        forget_passes(self)
        forget_members(self)
        network = self._network(rows)
        backend = self._training_backend(rows.n_rows, network, together)
        recipe = self._recipe(rows, backend, 1 if incremental else int(self.max_iter))
        (note or LOGGER.info)(described(recipe.dtype, backend))
        rng = check_random_state(self.random_state)
        start = start_of(self, network, rows, recipe.dtype, rng, from_scratch, incremental)
        rows = rows.in_dtype(recipe.dtype, backend)
        rows, held = self._split(rows, given, rng)
        rows, held = self._in_training_units(rows, held, from_scratch)
        if incremental:
            if (history := keep(self, backend, network, rows, recipe, start)) is not None:
                return history
        else:
            self._warn_of_batch_size(rows.n_rows)
            self._warn_of_weight_decay()
        validation_set = held and ValidationSet(held, self._score(held))
        tasks, listeners = listeners_of(
            self, (X, y, sample_weight), recipe.epochs, rows.places, validation_set, on_epoch, note
        )
        loss = self._training_loss()
        member = Member(network, loss, rows, recipe, validation_set, start, listeners)
        return PreparedFit(backend, member, tasks, self.threads)

    def _finish(self, prepared: PreparedFit, fitted: Fitted) -> History:
        """Set the fitted attributes after the training of ``prepared``; return the history."""
        set_fitted(self, fitted, self._loss().output)
        if prepared.tasks is not None:
            prepared.tasks.end()
        return fitted.history

    def _validated(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, from_scratch: bool
    ) -> TrainingData:
        """Return the training rows, or raise as scikit-learn does."""
        self._dropout_rates()
        # An estimator with weights set by hand has no n_features_in_ yet.
        reset = from_scratch or not hasattr(self, "n_features_in_")
        X, y = self._validate_input(X, on_host(y), incremental, reset)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        weights = checked_weights(y, sample_weight, by_label=self._is_multilabel(y))
        return self._rows(X, y, self._weights(y, weights, incremental))

    def _given_rows(self, given: tuple[Any, Any, Any], trained: tuple[int, ...]) -> TrainingData:
        """Return the validation rows that were passed to fit, or raise ValueError.

        trained : the shape of the training y; the validation y must have as many columns.
        """
        X, y, sample_weight = given
        check_given(self, X, y)
        check_columns(y := on_host(y), trained)
        with named("X_val and y_val"):
            X, y = self._validate_held(X, y)
        with named("sample_weight_val"):
            weights = checked_weights(y, sample_weight, by_label=self._is_multilabel(y))
        return self._held_rows(X, y, weights)

    def _rows(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> TrainingData:
        return TrainingData(X, y, self._encode(y), weights)

    def _split(
        self,
        rows: TrainingData,
        given: tuple[Any, Any, Any] | None,
        rng: np.random.RandomState,
    ) -> tuple[TrainingData, TrainingData | None]:
        """Return the training and validation rows: ``given``, or held out of ``rows``, or None."""
        if given is not None:
            return rows, self._given_rows(given, rows.y.shape)
        if self.early_stopping and self.solver != "lbfgs":
            return hold_out(rows, self.validation_fraction, self._strata(rows.y), rng)
        return rows, None

    @property
    def _sorted_levels(self) -> Any:
        """The quantile levels by which the outputs of each member are sorted; None for none."""
        return None

    def _is_multilabel(self, y: np.ndarray) -> bool:
        """Return whether ``y`` is multi-label, so that weights may be given per label."""
        return False

    def _weights(
        self, y: np.ndarray, weights: np.ndarray | None, incremental: bool
    ) -> np.ndarray | None:
        """Return the weights in the loss, per row (n,) or per row and label, or None.

        weights : the sample weights. Raises ValueError if all weights are 0.
        """
        return weights

    def _held_rows(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> TrainingData:
        """Return validation rows, weighted like the training rows."""
        return self._rows(X, y, weights)

    def _training_loss(self) -> Loss:
        """Return the loss that training minimises, for the targets of `_rows`."""
        return self._loss()

    def _in_training_units(
        self, rows: TrainingData, held: TrainingData | None, from_scratch: bool
    ) -> tuple[TrainingData, TrainingData | None]:
        """Return the training and validation rows with targets in the units of training.

        from_scratch : whether to determine the units from ``rows``, as the first fit does.
        """
        return rows, held

    def _network(self, rows: TrainingData) -> Network:
        hidden = self._hidden_sizes()
        self.n_outputs_ = self._n_outputs(rows.targets)
        inputs = rows.X.shape[1]
        stage = stage_of(self.input_stage, inputs)
        sizes = inputs if stage is None else stage.n_features, *hidden, self.n_outputs_
        return Network(sizes, self._activations(len(hidden)), bool(self.fit_intercept), stage)

    def _score(self, held: TrainingData) -> Score:
        """Return the function that scores outputs for the rows ``held``, by `scoring`."""
        if self.scoring is None:
            return lambda outputs, loss: self._score_outputs(outputs, held.y, held.weights)
        if self.scoring == "loss":
            return minus_loss
        return Scorer(self.scoring, self, held)

    def _warn_of_batch_size(self, n: int) -> None:
        if self.solver != "lbfgs" and self.batch_size != "auto" and int(self.batch_size) > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=6,
            )

    def _outputs(self, X: Any) -> Array:
        """Return the network's outputs for X (n_samples, n_features) as (n_samples, n_outputs).

        If X is on a CUDA device, they are a CuPy array on the same device.
        """
        if self._known is not None and self._known[0] is X and self._known[1] is self.coefs_:
            return self._known[2].copy()
        if (outputs := replayed(self, X)) is not None:
            return outputs
        return network_outputs(self, X)

    def __getstate__(self) -> dict[str, Any]:
        forget_steps(self)  # a shallow copy may share the arrays
        return {name: value for name, value in super().__getstate__().items() if name != "_known"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool
    ) -> tuple[Any, np.ndarray]:
        """Return the validated X (n, d), an array or a CSR matrix, and y; or raise."""

    @abstractmethod
    def _validate_held(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        """Return the validated X and y of validation rows, checked against the training data."""

    @abstractmethod
    def _loss(self) -> Loss:
        """Return the loss that fits the targets."""

    @abstractmethod
    def _encode(self, y: np.ndarray) -> np.ndarray:
        """Return y as targets of the loss: (n,) int32 or (n, n_outputs)."""

    @abstractmethod
    def _n_outputs(self, targets: np.ndarray) -> int:
        """Return the number of network outputs for encoded ``targets``."""

    @abstractmethod
    def _oob_attributes(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the fitted attributes with predictions of rows that members left out, by name.

        outputs : (n, n_outputs), the mean over the members that did not train on the row.
        """

    @abstractmethod
    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        """Return the classes by which to stratify the validation split; None for none."""

    @abstractmethod
    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weights: Any) -> float:
        """Return the score of ``outputs`` (n, n_outputs) for the targets ``y``."""
