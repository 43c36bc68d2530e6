"""MLPRegressor: scikit-learn's contract for numbers, over gpubp's training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from gpubp.backprop.custom_losses import FunctionLoss, LossFunction, as_loss
from gpubp.backprop.losses import LOSS_NUMBERS, LOSSES, REGRESSION_LOSSES, Loss, make_loss
from gpubp.backprop.network import Network
from gpubp.estimators.check_input import check_input
from gpubp.estimators.fitted_attributes import rollback, warn_why_stopped
from gpubp.estimators.hyperparameters import constraint, set_parameters
from gpubp.estimators.mlp import X_CHECKS, BaseMLP
from gpubp.estimators.parameter_docs import documented
from gpubp.estimators.quantiles import by_level, nearest_to_the_median
from gpubp.estimators.standardizer import Standardizer
from gpubp.estimators.target_scaling import fitted_scaling, scaled, unscaled
from gpubp.kernels.cublas.gemm import Precision
from gpubp.kernels.elementwise import Elementwise
from gpubp.training.data import TrainingData


@documented
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron for regression with one or several outputs.

    Minimises half the mean over the outputs of the squared error. Parameters, defaults,
    attributes and messages are those of scikit-learn's class of the same name; with one output,
    so are the numbers. With several, scikit-learn's gradient is n_outputs times that of its own
    loss; here the gradient is the loss's. The parameters from `device` on are gpubp's own.

    Parameters
    ----------
    loss : {loss_names}, Loss, \
Elementwise or callable, default='squared_error'
        The loss:

{loss_docs}

        One's own is a function of NumPy arrays, on the CPU alone: loss(outputs, targets), both
        (n, n_outputs), returns the loss of each row (n,) and its slope by output; `check_loss`
        compares the two. Or an `Elementwise` for both devices, as those in
        `gpubp.kernels.regression_losses`; or a `Loss`, whose outputs need not be the logits.
    {parameters}
    {quantile}
        Of several, predict returns the one nearest 0.5, the lower one of two, and
        predict_quantiles all. A sequence is for that loss alone.
    {huber_delta}
    target_scaling : bool, default=False
        Whether training sees each column of y shifted to mean 0 and scaled to standard deviation
        1, by weight; predictions and scores stay in the units of y, losses are those of scaled y.
        The scale is that of the first call of a warm_start or of partial_fit. Not for 'poisson',
        nor, with several columns, for 'huber'; a loss of one's own sees scaled y.

    Attributes
    ----------{attributes}
    target_mean_, target_scale_ : ndarray, one number a column of y, or None
        With target_scaling, y is `target_mean_` plus `target_scale_` times what the network gives.
    """

    _OF_FIT = (*BaseMLP._OF_FIT, "loss", *LOSS_NUMBERS)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), Loss, Elementwise, callable],
        **{name: constraint(parameter) for name, (_, parameter) in LOSS_NUMBERS.items()},
        "target_scaling": ["boolean"],
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
        compiled: bool | None = None,
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
    ) -> None:
        set_parameters(self, locals())

    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool
    ) -> tuple[Any, np.ndarray]:
        self._check_levels()
        if issparse(y):
            raise ValueError(
                f"y is a {type(y).__name__}, which regression does not take; pass y.toarray()"
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

    def _check_levels(self) -> None:
        """Raise for several quantiles with a loss that has no use for them."""
        if self.loss != "quantile" and np.ndim(self.quantile):
            raise ValueError(
                f"quantile={self.quantile!r} is for loss='quantile', got loss={self.loss!r}; set "
                "loss='quantile', or leave quantile out"
            )

    def _set_levels(self) -> None:
        """Note how many outputs the network has for each column of y."""
        self._levels = self._loss().outputs_per_target

    def _check_levels_of_fit(self) -> None:
        """Raise where training that goes on would make other use of the network's outputs."""
        now = self._loss().outputs_per_target
        fitted = getattr(self, "_levels", now)
        if now != fitted:
            raise ValueError(
                f"loss={self.loss!r} and quantile={self.quantile!r} are of {now} "
                f"level{'s' * (now != 1)}, but the model was fitted with {fitted}; set them back, "
                "or fit again"
            )

    def _meant_by(self, name: str) -> str:
        several = isinstance(self.loss, list | tuple | np.ndarray)
        sizes = list(self.loss) if several else [self.loss]
        if name == "loss" and sizes and all(isinstance(size, Integral) for size in sizes):
            return f"hidden_layer_sizes={self.loss!r}"
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
        """What brings y to the units of training, once fitted; None where it stays."""
        mean, scale = (getattr(self, name, None) for name in ("target_mean_", "target_scale_"))
        return None if mean is None or scale is None else Standardizer(mean, scale)

    def _in_training_units(
        self, rows: TrainingData, held: TrainingData | None, from_scratch: bool
    ) -> tuple[TrainingData, TrainingData | None]:
        if from_scratch:
            self._set_target_scaling(fitted_scaling(rows) if self.target_scaling else None)
            self._set_levels()
        self._check_target_scaling()
        self._check_scaled_huber()
        self._check_levels_of_fit()
        if (scaling := self._target_scaling) is None:
            return rows, held
        return scaled(rows, scaling), held and scaled(held, scaling)

    def _set_target_scaling(self, scaling: Standardizer | None) -> None:
        self.target_mean_ = None if scaling is None else scaling.mean
        self.target_scale_ = None if scaling is None else scaling.scale

    def _check_target_scaling(self) -> None:
        """Raise where the loss has no use for scaled targets."""
        scaling = self._target_scaling
        if scaling is None:
            return
        loss = self._loss()
        if loss.output != "identity":
            raise ValueError(
                f"target_scaling=True makes targets of both signs, which loss {loss.name!r} does "
                "not take; set target_scaling=False, or choose another loss"
            )

    def _check_scaled_huber(self) -> None:
        """Raise where training has no one number for huber_delta in the units of scaled targets."""
        scaling = self._target_scaling
        if self.loss == "huber" and scaling is not None and len(scaling.scale) > 1:
            raise ValueError(
                f"target_scaling=True with loss='huber' is for one output, since huber_delta would "
                f"be another number in the units of each, got {len(scaling.scale)}; scale y by "
                "hand, or choose another loss"
            )

    def _backend(self, rows: int, network: Network, *, compiled: bool | None = False) -> Backend:
        if self.device == "auto" and isinstance(self._loss(), FunctionLoss):
            return NumpyBackend("the loss is a Python function")
        return super()._backend(rows, network, compiled=compiled)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return y.reshape(len(y), -1)

    def _n_outputs(self, targets: np.ndarray) -> int:
        return int(targets.shape[1]) * self._loss().outputs_per_target

    def _strata(self, y: np.ndarray) -> None:
        return None

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weights: Any) -> float:
        if not np.isfinite(outputs).all():
            return float("nan")
        with np.errstate(over="ignore"):  # -inf, where training is about to diverge
            return float(r2_score(y, self._predictions(outputs), sample_weight=weights))

    def predict(self, X: Any) -> Array:
        """Return the predictions for X: (n_samples,), or (n_samples, n_outputs) for several.

        For X on a CUDA device, a CuPy array.
        """
        return self._predictions(self._outputs(X))

    def _predictions(self, outputs: Array) -> Array:
        """Return what outputs (n, n_outputs) of the network predict, in the units of y."""
        if self._of_fit("loss") == "quantile":
            level = nearest_to_the_median(self._of_fit("quantile"))
            outputs = self._quantiles(outputs)[..., level]
        else:
            outputs = self._in_units_of_y(outputs)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _in_units_of_y(self, outputs: Array) -> Array:
        scaling = self._target_scaling
        return outputs if scaling is None else unscaled(outputs, scaling)

    def _quantiles(self, outputs: Array) -> Array:
        """Return outputs (n, n_outputs) of the network as (n, columns of y, levels)."""
        return by_level(self._in_units_of_y(outputs), self._of_fit("quantile"))

    @property
    def predict_quantiles(self) -> Callable[[Any], Array]:
        """predict_quantiles(X) returns all levels of `quantile` for X: (n_samples, n_levels).

        They come in the order of `quantile`, as (n_samples, n_targets, n_levels) for a y of
        several columns. Those of a sample are sorted: quantiles do not cross. For X on a CUDA
        device, a CuPy array. Raises AttributeError for another loss than 'quantile'.
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
        """Return R^2, the part of the variance of y that is predicted; 1 is perfect."""
        predictions = on_host(self.predict(X))
        return float(r2_score(on_host(y), predictions, sample_weight=on_host(sample_weight)))

    @available_if(BaseMLP._check_solver)  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one more epoch; return self.

        As in scikit-learn, `coefs_`, `intercepts_` and `loss_curve_` may change in place; copy them
        to keep their values.
        """
        with rollback(self):
            history = self._train(X, y, sample_weight, incremental=True)
        warn_why_stopped(self, history, incremental=True)
        return self


def can_scale_targets(estimator: MLPRegressor, n_targets: int) -> bool:
    """Return whether the loss of ``estimator`` takes scaled targets; see `target_scaling`."""
    if not isinstance(estimator.loss, str):
        return as_loss(estimator.loss).output == "identity"
    if estimator.loss not in REGRESSION_LOSSES:
        return True  # which fit refuses
    several_deltas = estimator.loss == "huber" and n_targets > 1
    return LOSSES[estimator.loss].output == "identity" and not several_deltas
