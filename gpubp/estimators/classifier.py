"""MLPClassifier: a classifier with scikit-learn's interface, trained by gpubp."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from gpubp.backends.foreign_arrays import device_of, is_on_device, labels_of, log, on_host
from gpubp.backends.protocol import Array
from gpubp.backends.select import Compiled
from gpubp.backprop.losses import LABEL_WEIGHTED, LOSSES, Loss, smoothed
from gpubp.estimators.check_input import X_CHECKS, check_input
from gpubp.estimators.class_weights import (
    by_row,
    check_sum,
    row_and_label_weights,
    times,
    weighed,
    weights_by_class,
    weights_by_row,
)
from gpubp.estimators.fitted_attributes import rollback, warn_why_stopped
from gpubp.estimators.given_weights import binarizer_of
from gpubp.estimators.hyperparameters import set_parameters
from gpubp.estimators.known_classes import are_known
from gpubp.estimators.mlp import BaseMLP
from gpubp.estimators.network_outputs import by_class, mean_and_deviation
from gpubp.estimators.parameter_docs import documented
from gpubp.kernels.cublas.gemm import Precision
from gpubp.training.data import TrainingData


@documented
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron for binary, multi-class and multi-label classification.

    Minimises the log loss, computed from logits. Parameters, defaults, attributes and messages
    are those of `sklearn.neural_network.MLPClassifier`; the same random_state gives the same
    weights. `device` and the parameters after it exist only in gpubp.

    Parameters
    ----------{parameters}
    class_weight : dict, list of dict, array-like (n, n_labels), 'balanced' or None, default=None
        Weight of each class in the loss, multiplied by sample_weight:

        - dict: {label: weight}; labels that are left out have weight 1.
        - list of dict, for a multi-label y: one dict per column, for the loss of that label.
        - 'balanced': all classes get the same total weight. Not for partial_fit.
        - array-like, for a multi-label y: one weight of 0 or more per row and label of the
          training y. It does not apply to X_val, and a saved model does not contain it.

        The scores and losses of validation rows are weighted too.
    label_smoothing : float in [0, 1), default=0.0
        Probability that training spreads evenly over all classes: a target y becomes
        ``(1 - s) y + s / n_classes``. For a multi-label y each label has 2 classes.

    Attributes
    ----------{attributes}
    classes_ : ndarray
        The class labels, in the order of the columns of predict_proba.
    """

    _OF_FIT = (*BaseMLP._OF_FIT, "label_smoothing")
    _LEARNED = (*BaseMLP._LEARNED, "classes_")
    # Whether a fit with warm_start takes a y that lacks classes of the last fit.
    _may_lack_classes = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), "array-like", None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        device: str = "auto",
        dtype: str = "auto",
        row_order: str = "auto",
        threads: int | None = None,
        precision: Precision = "float32",
        record: bool = True,
        compiled: Compiled = "auto",
        weight_decay: float = 0.01,
        fit_intercept: bool = True,
        dropout: Any = 0.0,
        input_dropout: float = 0.0,
        warmup_epochs: float = 0.0,
        clip_norm: float | None = None,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        scoring: str | Callable[..., float] | None = None,
        keep_optimizer_state: bool = False,
        n_members: int | None = None,
        member_rows: str = "all",
        input_stage: dict[str, Any] | None = None,
        dropout_schedule: str = "constant",
        weight_decay_schedule: str = "constant",
        drop_last: bool = False,
        weights_init: str = "glorot_uniform",
        rate_factors: Mapping[str, Any] | None = None,
        decay_factors: Mapping[str, Any] | None = None,
    ) -> None:
        set_parameters(self, locals())

    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool
    ) -> tuple[Any, np.ndarray]:
        X, y = self._as_arrays(X, y, reset)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._set_labels(y)
            return X, y
        self._label_binarizer = self._binarizer
        self.classes_ = self._label_binarizer.classes_
        if incremental and not self.warm_start and are_known(y, self.classes_):
            return X, y
        classes = unique_labels(y)
        same = self._may_lack_classes or set(classes) == set(self.classes_)
        if self.warm_start and not same:
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {classes}"
            )
        self._check_known(classes)
        return X, y

    def _as_arrays(self, X: Any, y: Any, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = check_input(self, X, y, multi_output=True, reset=reset, **X_CHECKS)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _validate_held(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        X, y = self._as_arrays(X, y, False)
        self._check_known(unique_labels(y))
        return X, y

    def _check_known(self, classes: np.ndarray) -> None:
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )

    def _set_labels(self, labels: Any) -> None:
        self._label_binarizer = LabelBinarizer().fit(labels)
        self.classes_ = self._label_binarizer.classes_

    @property
    def _binarizer(self) -> LabelBinarizer:
        """The converter from outputs to labels, and from labels to targets."""
        if (fitted := vars(self).get("_label_binarizer")) is not None:
            return fitted
        n_outputs = len(self.intercepts_[-1])
        output = getattr(self, "out_activation_", "logistic" if n_outputs == 1 else "softmax")
        return binarizer_of(self.classes_, n_outputs, output)

    def _loss(self) -> Loss:
        if self._binarizer.y_type_ != "multiclass":
            return LOSSES["sigmoid_cross_entropy"]
        return LOSSES[
            "soft_cross_entropy" if self._of_fit("label_smoothing") else "softmax_cross_entropy"
        ]

    def _encode(self, y: np.ndarray) -> np.ndarray:
        loss = self._loss()
        if loss.targets == "index":
            return np.searchsorted(self.classes_, y).astype(np.int32)
        Y: np.ndarray
        if y.ndim == 1 and len(self.classes_) == 2:  # the binarizer takes 50 times the memory of Y
            Y = np.equal(y, self.classes_[1])[:, None].astype(np.int8)
        else:
            Y = self._binarizer.transform(y)
        if not self.label_smoothing:
            return Y
        return smoothed(Y, self.label_smoothing, Y.shape[1] if loss.output == "softmax" else 2)

    def _is_multilabel(self, y: np.ndarray) -> bool:
        return bool(y.ndim == 2)

    def _weights(
        self, y: np.ndarray, weights: np.ndarray | None, incremental: bool
    ) -> np.ndarray | None:
        self._by_class = weights_by_class(self.class_weight, self.classes_, y)
        weights = weighed(self._by_class, self.classes_, y, weights)
        if by_row(self.class_weight):
            weights = times(weights_by_row(self.class_weight, y), weights)
        if weights is not None:
            check_sum(weights, "class_weight, times sample_weight,")
        # The rows of one partial_fit may all be of classes with weight 0.
        if weights is not None and not weights.any() and not incremental:
            raise ValueError(
                f"class_weight={self.class_weight!r}, times sample_weight, gives all rows the "
                "weight 0, which leaves nothing to train on; give a class of y a weight above 0"
            )
        self._by_label = weights is not None and weights.ndim == 2
        return weights

    def _held_rows(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> TrainingData:
        return self._rows(X, y, weighed(self._by_class, self.classes_, y, weights))

    def _rows(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> TrainingData:
        targets = self._encode(y)
        by_label = np.ones(targets.shape)
        if weights is not None and weights.ndim == 2:
            weights, by_label = row_and_label_weights(weights)
        if self._by_label:
            targets = np.hstack([targets, by_label])
        return TrainingData(X, y, targets, weights)

    def _training_loss(self) -> Loss:
        return LABEL_WEIGHTED if self._by_label else self._loss()

    def _n_outputs(self, targets: np.ndarray) -> int:
        if targets.ndim == 1:
            return len(self.classes_)
        return int(targets.shape[1]) // (2 if self._by_label else 1)

    def _oob_attributes(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {"oob_decision_function_": by_class(outputs)}

    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        # As in scikit-learn, only binary problems are stratified. The strata are booleans, so that
        # its error message for a stratum with too few rows is the same.
        return self._binarizer.transform(y).astype(bool) if self.n_outputs_ == 1 else None

    def _labels(self, outputs: np.ndarray) -> np.ndarray:
        if self._binarizer.y_type_ == "multiclass":  # 3 us, and 60 by the binarizer
            labels: np.ndarray = self._binarizer.classes_[outputs.argmax(axis=1)]
            return labels
        if outputs.shape[1] == 1:
            outputs = outputs.ravel()
        return self._binarizer.inverse_transform(outputs)  # type: ignore[no-any-return]

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weights: Any) -> float:
        if not np.isfinite(outputs).all():  # a label would hide NaN
            return float("nan")
        labels = self._labels(outputs)
        if y.ndim == 1:  # 10 us, and 300 by accuracy_score, which validates y again
            return float(np.average(labels == y, weights=weights))
        return float(accuracy_score(y, labels, sample_weight=weights))

    def predict(self, X: Any) -> Array:
        """Return the predicted labels: (n_samples,), or (n_samples, n_labels) for multi-label.

        X : (n_samples, n_features) array-like or sparse matrix. If X is on a CUDA device, numeric
            labels are returned as a CuPy array.
        """
        outputs = self._outputs(X)
        if not is_on_device(outputs):
            return self._labels(outputs)
        multilabel = self._binarizer.y_type_.startswith("multilabel")
        return labels_of(outputs, self.classes_, multilabel)

    def predict_proba(self, X: Any, *, return_std: bool = False) -> Any:
        """Return the probability of each class, (n_samples, n_classes), in `classes_` order.

        X : (n_samples, n_features) array-like or sparse matrix. If X is on a CUDA device, the
            probabilities are a CuPy array.
        return_std : whether to return a tuple instead: the probabilities and their standard
            deviations over the members of an ensemble, of the same shape.
        """
        if not return_std:
            return by_class(self._outputs(X))
        mean, deviation = mean_and_deviation(self, X)
        with device_of(deviation):
            both = deviation if deviation.shape[1] > 1 else deviation.repeat(2, axis=1)
        return by_class(mean), both

    def predict_log_proba(self, X: Any) -> Array:
        """Return log(predict_proba(X))."""
        return log(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: the weighted fraction of the rows that are predicted correctly."""
        labels = on_host(self.predict(X))
        return float(accuracy_score(on_host(y), labels, sample_weight=on_host(sample_weight)))

    @available_if(BaseMLP._check_solver)  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one more epoch on X and y; return self.

        As in scikit-learn, `coefs_`, `intercepts_` and `loss_curve_` may change in place; copy them
        to keep their values.

        classes : all labels that y of this or a later call may have; required in the first call.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which gets only a part "
                "of the rows; use compute_class_weight('balanced', classes=classes, y=y) on all of "
                "y, or a large enough sample, and pass the weights as a dict"
            )
        y = on_host(y)
        with rollback(self):
            if _check_partial_fit_first_call(self, on_host(classes)):
                self._label_binarizer = LabelBinarizer()
                multilabel = type_of_target(y).startswith("multilabel")
                self._set_labels(y if multilabel else on_host(classes))
            history = self._train(X, y, sample_weight, incremental=True)
        warn_why_stopped(self, history, incremental=True)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
