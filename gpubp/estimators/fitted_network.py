"""The network of a fitted estimator: shape, loss, optimizer, and targets as it learns them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import Optimizer
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.given_weights import weights_of
from gpubp.estimators.regressor import MLPRegressor

Estimator = MLPClassifier | MLPRegressor


def network_of(estimator: Estimator) -> Network:
    """Return the shape of the fitted network."""
    sizes = weights_of(estimator.coefs_, estimator.intercepts_).sizes
    bias = bool(estimator._of_fit("fit_intercept"))
    return Network(sizes, estimator._activations(len(sizes) - 2), bias)


def loss_of(estimator: Estimator) -> Loss:
    """Return the loss that training minimised, its penalty apart."""
    return estimator._loss()


def optimizer_of(estimator: Estimator) -> Optimizer | None:
    """Return what updates the parameters; None for L-BFGS."""
    return None if estimator.solver == "lbfgs" else estimator._optimizer()


def encoded_targets(estimator: Estimator, y: Any) -> np.ndarray:
    """Return targets as the loss takes them, (n,) or (n, n_outputs), in the units of training.

    y : labels that the model knows, or numbers (n,) or (n, n_targets).
    """
    if isinstance(estimator, MLPRegressor) and (scaling := estimator._target_scaling) is not None:
        return scaling.transform(y.reshape(len(y), -1))
    return estimator._encode(y)
