"""The network of a fitted estimator: its shape, loss, optimizer and encoded targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import Optimizer
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.fitted_stage import fitted_stage
from gpubp.estimators.given_weights import weights_of
from gpubp.estimators.regressor import MLPRegressor

Estimator = MLPClassifier | MLPRegressor


def network_of(estimator: Estimator) -> Network:
    """Return the shape of the fitted network."""
    sizes = weights_of(estimator.coefs_, estimator.intercepts_).sizes
    bias = bool(estimator._of_fit("fit_intercept"))
    return Network(sizes, estimator._activations(len(sizes) - 2), bias, fitted_stage(estimator))


def loss_of(estimator: Estimator) -> Loss:
    """Return the loss that training minimised, without the penalty."""
    return estimator._loss()


def optimizer_of(estimator: Estimator) -> Optimizer | None:
    """Return the optimizer of the solver; None for L-BFGS."""
    return None if estimator.solver == "lbfgs" else estimator._optimizer()


def encoded_targets(estimator: Estimator, y: Any) -> np.ndarray:
    """Return the targets of the loss, (n,) or (n, n_outputs), in the units of training.

    y : labels in `classes_`, or numbers (n,) or (n, n_targets).
    """
    if isinstance(estimator, MLPRegressor) and (scaling := estimator._target_scaling) is not None:
        return scaling.transform(y.reshape(len(y), -1))
    return estimator._encode(y)
