"""MLPRegressor: a regressor with scikit-learn's interface, trained by gpubp."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from gpubp.backends.foreign_arrays import on_host
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Array, Backend
from gpubp.backends.select import Compiled
from gpubp.backprop.custom_losses import FunctionLoss, LossFunction, as_loss
from gpubp.backprop.hyperparameter_spec import meant
from gpubp.backprop.losses import LOSS_NUMBERS, REGRESSION_LOSSES, Loss, make_loss
from gpubp.backprop.network import Network
from gpubp.estimators.check_input import X_CHECKS, check_input
from gpubp.estimators.fitted_attributes import rollback, warn_why_stopped
from gpubp.estimators.hyperparameters import constraint, set_parameters
from gpubp.estimators.mlp import BaseMLP
from gpubp.estimators.network_outputs import mean_and_deviation
from gpubp.estimators.parameter_docs import documented
from gpubp.estimators.quantiles import (
    by_level,
    check_levels,
    check_levels_of_fit,
    nearest_to_the_median,
)
from gpubp.estimators.standardizer import Standardizer
from gpubp.estimators.target_range import clipped, next_range, range_of, set_range
from gpubp.estimators.target_scaling import check_loss_of_scaled, fitted_scaling, scaled, unscaled
from gpubp.kernels.cublas.gemm import Precision
from gpubp.kernels.elementwise import Elementwise
from gpubp.training.data import TrainingData


@documented
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron for regression with one or several outputs.

    By default, minimises half the squared error, averaged over the outputs. Parameters, defaults,
    attributes and messages are those of `sklearn.neural_network.MLPRegressor`. With one output,
    the same random_state gives the same weights. With several outputs, scikit-learn multiplies
    the gradient of its loss by n_outputs; gpubp does not. `device` and the parameters after it
    exist only in gpubp.

    Parameters
    ----------
    loss : {loss_names}, Loss, \
Elementwise or callable, default='squared_error'
        Loss to minimise, by name or user-defined:

{loss_docs}
        - A function ``loss(outputs, targets)`` of NumPy arrays (n, n_outputs) returns the loss of
          each row (n,) and its derivative by each output (n, n_outputs). It works on the CPU
          only. `check_loss` checks the derivative by central differences.
        - An `Elementwise`, like those in `gpubp.kernels.regression_losses`, works on the CPU and
          on CUDA.
        - A `Loss` can also have an output activation.
    {parameters}
    {quantile}
        With several levels, predict_quantiles returns all of them, and predict the level nearest
        to 0.5 (the lower one of two). A sequence is allowed for loss='quantile' only.
    {huber_delta}
    target_scaling : bool, default=False
        Whether to train on y shifted and scaled to mean 0 and standard deviation 1, per column and
        with the weights of the rows. Predictions and scores stay in the units of y; losses are
        those of the scaled y, and so a user-defined loss gets the scaled y. With warm_start and
        partial_fit, the first call determines the scale. Not available for loss='poisson', nor
        for loss='huber' with several columns of y.
    clip_predictions : bool, default=False
        Whether to clip predictions to the range of the training y, per column: RealMLP (Holzmüller
        et al., Better by Default, 2024) does so. Rows of weight 0 and validation rows do not count,
        except for an ensemble, which clips the mean of its members to the range of all rows of X.
        Standard deviations are not clipped. With warm_start and partial_fit, the first call decides
        whether to clip, and the others extend the range.

    Attributes
    ----------{attributes}
    target_mean_, target_scale_ : ndarray (n_targets,) or None
        Mean and standard deviation of each column of y, with target_scaling: predictions are
        `target_mean_` + `target_scale_` x the outputs of the network. None without it.
    target_low_, target_high_ : ndarray (n_targets,) or None
        The range to which predictions are clipped, with clip_predictions. None without it.
    """

    _OF_FIT = (*BaseMLP._OF_FIT, "loss", *LOSS_NUMBERS)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), Loss, Elementwise, callable],
        **{name: constraint(parameter) for name, (_, parameter) in LOSS_NUMBERS.items()},
        "target_scaling": ["boolean"],
        "clip_predictions": ["boolean"],
    }

    def __init__(
        self,
        loss: str | Loss | Elementwise | LossFunction = "squared_error",
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
        quantile: float | Sequence[float] = 0.5,
        huber_delta: float = 1.0,
        scoring: str | Callable[..., float] | None = None,
        keep_optimizer_state: bool = False,
        target_scaling: bool = False,
        n_members: int | None = None,
        member_rows: str = "all",
        input_stage: dict[str, Any] | None = None,
        dropout_schedule: str = "constant",
        weight_decay_schedule: str = "constant",
        drop_last: bool = False,
        weights_init: str = "glorot_uniform",
        clip_predictions: bool = False,
        rate_factors: Mapping[str, Any] | None = None,
        decay_factors: Mapping[str, Any] | None = None,
    ) -> None:
        set_parameters(self, locals())

    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool
    ) -> tuple[Any, np.ndarray]:
        check_levels(self)
        if issparse(y):
            raise ValueError(
                f"y is a {type(y).__name__}, but a regressor needs a dense y; pass y.toarray()"
            )
        options = {"multi_output": True, "y_numeric": True, **X_CHECKS}
        X, y = check_input(self, X, y, reset=reset, **options)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(
                f"loss='poisson' is for targets of 0 or more, but y has {y.min()}; "
                "choose another loss, or shift y"
            )
        return X, y

    def _set_levels(self) -> None:
        """Store the number of network outputs per column of y."""
        self._levels = self._loss().outputs_per_target

    def _meant_by(self, name: str) -> str:
        several = isinstance(self.loss, list | tuple | np.ndarray)
        sizes = list(self.loss) if several else [self.loss]
        if name == "loss" and sizes and all(isinstance(size, Integral) for size in sizes):
            return f"hidden_layer_sizes={self.loss!r}"
        if name == "loss" and isinstance(self.loss, str):
            found = meant(self.loss, REGRESSION_LOSSES)
            return repr(found) if found else ""
        return super()._meant_by(name)

    def _validate_held(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        return self._validate_input(X, y, incremental=True, reset=False)

    def _loss(self) -> Loss:
        name = self._of_fit("loss")
        if not isinstance(name, str):
            return as_loss(name)
        takes = {
            parameter.name: self._of_fit(number)
            for number, (loss, parameter) in LOSS_NUMBERS.items()
            if loss == name
        }
        if name == "huber" and (scaling := self._target_scaling) is not None:
            takes["delta"] = takes["delta"] / scaling.scale[0]
        return make_loss(name, **takes)

    @property
    def _target_scaling(self) -> Standardizer | None:
        """The transformation of y to the units of training; None before fit and without one."""
        mean, scale = (getattr(self, name, None) for name in ("target_mean_", "target_scale_"))
        return None if mean is None or scale is None else Standardizer(mean, scale)

    def _in_training_units(
        self, rows: TrainingData, held: TrainingData | None, from_scratch: bool
    ) -> tuple[TrainingData, TrainingData | None]:
        if from_scratch:
            self._set_target_scaling(fitted_scaling(rows) if self.target_scaling else None)
            self._set_levels()
        set_range(self, next_range(self, rows, from_scratch))
        self._check_target_scaling()
        check_levels_of_fit(self)
        if (scaling := self._target_scaling) is None:
            return rows, held
        return scaled(rows, scaling), held and scaled(held, scaling)

    def _set_target_scaling(self, scaling: Standardizer | None) -> None:
        self.target_mean_ = None if scaling is None else scaling.mean
        self.target_scale_ = None if scaling is None else scaling.scale

    def _check_target_scaling(self) -> None:
        """Raise ValueError if the loss does not work with scaled targets."""
        if (scaling := self._target_scaling) is not None:
            check_loss_of_scaled(self._loss(), len(scaling.scale))

    def _backend(
        self, rows: int, network: Network, *, compiled: Compiled = False, steps: int = 1
    ) -> Backend:
        if self.device == "auto" and isinstance(self._loss(), FunctionLoss):
            return NumpyBackend("the loss is a Python function")
        return super()._backend(rows, network, compiled=compiled, steps=steps)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return y.reshape(len(y), -1)

    def _n_outputs(self, targets: np.ndarray) -> int:
        return int(targets.shape[1]) * self._loss().outputs_per_target

    def _strata(self, y: np.ndarray) -> None:
        return None

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weights: Any) -> float:
        if not np.isfinite(outputs).all():
            return float("nan")
        with np.errstate(over="ignore"):  # -inf shortly before training diverges
            return float(r2_score(y, self._predictions(outputs), sample_weight=weights))

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Return the predictions for X: (n_samples,), or (n_samples, n_targets) for several.

        X : (n_samples, n_features) array-like or sparse matrix. If X is on a CUDA device, the
            predictions are a CuPy array.
        return_std : whether to return a tuple instead: the predictions and their standard
            deviations over the members of an ensemble, of the same shape.
        """
        if not return_std:
            return self._predictions(self._outputs(X))
        mean, deviation = mean_and_deviation(self, X)
        return self._predictions(mean), self._deviations(deviation)

    def _deviations(self, outputs: Array) -> Array:
        """Return standard deviations of network outputs as those of predictions."""
        if (scaling := self._target_scaling) is not None:
            outputs = unscaled(outputs, Standardizer(np.zeros_like(scaling.mean), scaling.scale))
        if self._of_fit("loss") == "quantile":
            levels = self._of_fit("quantile")
            by_level = outputs.reshape(len(outputs), np.size(levels), -1)
            outputs = by_level[:, nearest_to_the_median(levels)]
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _predictions(self, outputs: Array) -> Array:
        """Return the predictions, in the units of y, for network outputs (n, n_outputs)."""
        if self._of_fit("loss") == "quantile":
            level = nearest_to_the_median(self._of_fit("quantile"))
            outputs = self._quantiles(outputs)[..., level]
        else:
            outputs = self._in_units_of_y(outputs)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    @property
    def _sorted_levels(self) -> Any:
        levels = self._of_fit("quantile") if self._of_fit("loss") == "quantile" else ()
        return levels if np.size(levels) > 1 else None

    def _oob_attributes(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {"oob_prediction_": self._predictions(outputs)}

    def _in_units_of_y(self, outputs: Array) -> Array:
        scaling, limits = self._target_scaling, range_of(self)
        outputs = outputs if scaling is None else unscaled(outputs, scaling)
        return outputs if limits is None else clipped(outputs, limits)

    def _quantiles(self, outputs: Array) -> Array:
        """Return network outputs (n, n_outputs) as quantiles (n, columns of y, levels)."""
        return by_level(self._in_units_of_y(outputs), self._of_fit("quantile"))

    @property
    def predict_quantiles(self) -> Callable[[Any], Array]:
        """predict_quantiles(X) returns all levels of `quantile` for X: (n_samples, n_levels).

        For a y of several columns, the shape is (n_samples, n_targets, n_levels). The levels are
        in the order of `quantile`; the quantiles of a sample are sorted, so they do not cross. If
        X is on a CUDA device, they are a CuPy array. Raises AttributeError for another loss than
        'quantile'.
        """
        # available_if would hide the reason behind "has no attribute".
        if (loss := self._of_fit("loss")) != "quantile":
            raise AttributeError(
                f"predict_quantiles is only available for loss='quantile', got loss={loss!r}; "
                "set loss='quantile' and fit again"
            )
        return self._predict_quantiles

    def _predict_quantiles(self, X: Any) -> Array:
        quantiles = self._quantiles(self._outputs(X))
        return quantiles[:, 0] if quantiles.shape[1] == 1 else quantiles

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2, the fraction of the variance of y that is explained; 1 is perfect."""
        predictions = on_host(self.predict(X))
        return float(r2_score(on_host(y), predictions, sample_weight=on_host(sample_weight)))

    @available_if(BaseMLP._check_solver)  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one more epoch on X and y; return self.

        As in scikit-learn, `coefs_`, `intercepts_` and `loss_curve_` may change in place; copy them
        to keep their values.
        """
        with rollback(self):
            history = self._train(X, y, sample_weight, incremental=True)
        warn_why_stopped(self, history, incremental=True)
        return self
