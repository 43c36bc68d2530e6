"""The base class of TableClassifier and TableRegressor, with their training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from gpubp.estimators.callbacks import Note
from gpubp.estimators.checkpoint import Checkpoint, checkpoint_of
from gpubp.estimators.checkpointed_fit import run_of
from gpubp.estimators.class_weights import checked_weights
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.fit_estimators import Fit, fit_estimator
from gpubp.estimators.fitted_attributes import rollback, warn_why_stopped
from gpubp.estimators.regressor import MLPRegressor
from gpubp.estimators.training_identity import ROWS, parameters_of
from gpubp.models.encoded_rows import (
    Encode,
    PreparedTableFit,
    columns_of,
    encode_parts,
    encoded,
    fit_and_encode,
    weights_at,
)
from gpubp.models.fine_tuning import facts_kept, given_to_recipe, goes_on, shape_kept, to_go_on
from gpubp.models.fine_tuning import with_known_labels as known
from gpubp.models.library_versions import versions
from gpubp.models.table_input import TableInput
from gpubp.models.table_parameters import AUTO, defaults, encoder_parameters, with_suggestion
from gpubp.models.table_presets import is_auto, is_tuned, number_columns, preset_values, scaling_of
from gpubp.models.table_rows import (
    Rows,
    count_outputs,
    hold_out,
    left_out_text,
    rows_given,
    rows_of_table,
    warn_of_many_classes,
)
from gpubp.models.time_limit import Limited
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.table import Table
from gpubp.tables.target import Task, check_targets, resolve_targets, rows_with_target
from gpubp.training.history import History, OnEpoch

OnStart = Callable[[TableEncoder, Any], None]


class TableEstimator(TableInput, BaseEstimator):
    """Base class of TableClassifier and TableRegressor; not to be used by itself.

    `encoder_` converts the columns of a table to numbers; `network_` is trained on them.
    """

    task: ClassVar[Task]
    _NETWORK: ClassVar[type[MLPClassifier] | type[MLPRegressor]]
    _parameter_constraints: ClassVar[dict[str, list[Any]]]

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        target: str | Sequence[str] | None = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        checkpoint: Checkpoint | str | None = None,
    ) -> Self:
        """Train on X and y, or on X with the target in one of its columns; return self.

        X : a Table, a frame of pandas, polars or pyarrow, a dict of columns, or an array
            (n, n_features), with numbers, text, dates and missing values.
        y : labels or numbers, (n,) or (n, n_targets); None if ``target`` is given.
        target : name of the target column of X, or a list of names for a regression. Rows whose
            target is missing are left out; see `n_rows_without_target_`.
        sample_weight : (n,) or None, the weight of each row in the loss.
        X_val, y_val, sample_weight_val : validation rows for early stopping; without them,
            early_stopping holds out rows of X. y_val is not needed if ``target`` is given.
        checkpoint : a path, or a `Checkpoint`, where the state of the training is saved, so that
            an interrupted fit can be repeated from there. It needs a number as random_state.
        """
        self._validate_params()
        caller = type(self).__name__
        with rollback(self):
            rows = rows_given(X, y, target, sample_weight, self.task, caller, self.na)
            held = None
            if any(each is not None for each in (X_val, y_val, sample_weight_val)):
                held = rows_given(
                    X_val, y_val, target, sample_weight_val, self.task, caller, self.na
                )
            if self.task == "classification":
                warn_of_many_classes(rows.y)
            history = self._train(rows, held, checkpoint=(given := checkpoint_of(checkpoint)))
        if given is not None:
            given.raise_late_signal()
        if self._may_warn(history):
            warn_why_stopped(self.network_, history)
        return self

    def fit_table(
        self,
        table: Table,
        targets: Sequence[str],
        *,
        whole: Table | None = None,
        on_start: OnStart | None = None,
        on_epoch: OnEpoch | None = None,
        note: Note | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """Train on the columns of ``table`` other than ``targets``; return the history.

        whole : these rows and others, such as test rows, which `TableEncoder.fit` uses to find
            the kinds of the columns; None for ``table``.
        on_start : called before the training, with the fitted encoder and the network.
        on_epoch : called after each epoch; training stops if it returns True.
        note : called with lines for the user: rows without a target, the device of the training.
        checkpoint : where the state of the training is saved; None for nowhere.

        Raises DataError for a table that cannot be learned from.
        """
        self._validate_params()
        names = resolve_targets(table, targets)
        table, left_out = rows_with_target(table, names)
        check_targets(table, names, self.task, whole)
        if left_out and note:
            note(left_out_text(left_out, names))
        with rollback(self):
            rows = known(self, rows_of_table(table, names, self.task), table)
            history = self._train(rows, None, on_epoch, note, on_start, whole, checkpoint)
            self.n_rows_without_target_ = left_out
        return history

    def _train(
        self,
        rows: Rows,
        given: Rows | None,
        on_epoch: OnEpoch | None = None,
        note: Note | None = None,
        on_start: OnStart | None = None,
        whole: Table | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """Fit the encoder and the network; set the fitted attributes; return the history.

        rows : all training rows. given : the validation rows of the user, if any.
        The others are those of fit_table.
        """
        prepared = self._prepared(rows, given, partial(fit_and_encode, whole=whole))
        network, Z, y, weights, held, _ = prepared.fit
        run = run_of(network, checkpoint, note, parameters_of(self) | {ROWS: len(rows.y)})
        limited = None
        if (seconds := self.time_limit) is not None:
            on_epoch = limited = Limited(seconds, on_epoch, {} if run is None else run.notes)
            limited.reduce(network, Z, y, note)
            if run is not None:
                run.on_other_rows = limited.begin_anew
        if on_start is not None:
            on_start(prepared.encoder, network)
        how: dict[str, Any] = {"on_epoch": on_epoch, "note": note, "run": run}
        history = fit_estimator(network, Z, y, weights, given=held, **how)
        self._finish(prepared)
        if limited is not None:
            self.about_["time_limit"] = limited.record(history)
        return history

    def _prepared(
        self, rows: Rows, given: Rows | None = None, encode: Encode = fit_and_encode
    ) -> PreparedTableFit:
        """Encode the rows and return the fit of the network.

        rows, given : see _train. encode : fits the encoder and encodes; not called if training
        goes on with the encoder of the last fit.
        """
        y, weights = rows.y, rows.weights
        # The encoded columns are not known yet; X has about as many, unless most are categories.
        network = self._network(y, (len(y), columns_of(rows.X)), given is not None)
        parts = self._parts(y, network, given is not None)
        if goes_on(self):
            encoder, Zs = encode_parts(self.encoder_, rows.X, parts)
        else:
            encoder, Zs = encode(self._encoder(), rows.X, parts)
        shape = len(y), Zs[0].shape[1]
        network = self._network(y, shape, given is not None, number_columns(encoder))
        if parts is None and (parts := self._parts(y, network, given is not None)) is not None:
            Zs = [Zs[0][part] for part in parts]
        network = to_go_on(self, network)
        held = None
        if given is not None:
            held = encoded(encoder.transform, given.X), given.y, given.weights
        elif parts is not None:
            weights = checked_weights(y, weights, by_label=network._is_multilabel(y))
            kept, out = parts
            held = Zs[1], y[out], weights_at(weights, out)
            y, weights = y[kept], weights_at(weights, kept)
        return PreparedTableFit(encoder, Fit(network, Zs[0], y, weights, held), rows)

    def _finish(self, prepared: PreparedTableFit) -> None:
        """Set the fitted attributes after the training of the network of ``prepared``."""
        encoder, fit, rows = prepared
        kept = facts_kept(self)
        self._set_fitted(encoder, fit.estimator, rows.names, rows.left_out)
        held_rows = 0 if fit.given is None else len(fit.given[1])
        preset = "tuned" if is_tuned(vars(self), encoder.n_features_out_) else "plain"
        about = {"validation_rows": held_rows, "preset": preset}
        self.about_ |= about | self._about_targets(rows.y) | kept

    def _may_warn(self, history: History) -> bool:
        """Return False if the recipe chose the epochs and training ended with the last of them."""
        by_recipe = is_auto(self.max_iter) or is_auto(self.n_iter_no_change)
        return not by_recipe or history.stopped_by != "max_epochs"

    def _parts(
        self, y: np.ndarray, network: Any, given: bool
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the indices of training and validation rows; None if no rows are held out here.

        The members of an ensemble hold out their own. given : whether the user gave such rows.
        """
        by_members = network.n_members is not None
        if given or by_members or not network.early_stopping or network.solver == "lbfgs":
            return None
        rng = check_random_state(self.random_state)
        return hold_out(y, network.validation_fraction, self.task, rng)

    def _encoder(self) -> TableEncoder:
        """Return an encoder with this estimator's parameters."""
        dtype = "float64" if self.dtype == "float64" else "float32"
        parameters = {name: getattr(self, name) for name in encoder_parameters()}
        return TableEncoder(**parameters | {"scaling": scaling_of(vars(self))}, dtype=dtype)

    def _network(
        self, y: np.ndarray, shape: tuple[int, int], given: bool, periodic: Sequence[int] = ()
    ) -> Any:
        """Return an unfitted network with this estimator's parameters; the preset sets "auto".

        shape : of the encoded rows. given : whether the user gave validation rows.
        periodic : the encoded columns with numbers.
        """
        own = defaults(self._NETWORK)
        parameters = {name: getattr(self, name) for name in own}
        of_table = self.task, shape, count_outputs(y, self.task), list(periodic)
        chosen = own | preset_values(given_to_recipe(self), *of_table) | self._chosen(y)
        chosen |= shape_kept(self)
        if given:
            chosen["early_stopping"] = True
        for name in AUTO:
            if name in own and is_auto(parameters[name]):
                parameters[name] = chosen[name]
        return self._NETWORK(**parameters)

    def _chosen(self, y: np.ndarray) -> dict[str, Any]:
        """Return values for "auto" parameters that depend on other parameters."""
        return {}

    def _about_targets(self, y: np.ndarray) -> dict[str, Any]:
        """Return information on the training targets for `about_`."""
        return {}

    def _set_fitted(
        self, encoder: TableEncoder, network: Any, targets: tuple[str, ...], left_out: int
    ) -> None:
        self.encoder_, self.network_ = encoder, network
        self.target_names_, self.n_rows_without_target_ = targets, left_out
        self.n_iter_ = network.n_iter_
        self.about_: dict[str, Any] = {"versions": versions()}
        self._set_columns()

    def _set_columns(self) -> None:
        """Set `n_features_in_`, and `feature_names_in_` if X has names."""
        self.n_features_in_ = self.encoder_.n_features_in_
        if hasattr(self.encoder_, "feature_names_in_"):
            self.feature_names_in_ = self.encoder_.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inputs = tags.input_tags
        inputs.string = inputs.categorical = inputs.allow_nan = True
        return tags

    def _validate_params(self) -> None:
        """Raise scikit-learn's InvalidParameterError, with a suggestion for a misspelt value."""
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            raise with_suggestion(error, self, self._NETWORK) from None
