"""Table estimators made from a network that was trained on columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.estimators.standardizer import Standardizer
from gpubp.models.table_estimators import TableClassifier, TableEstimator, TableRegressor
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.table import DataError, Table, listed
from gpubp.tables.target import resolve_targets, without_targets

Network = MLPClassifier | MLPRegressor


def of_network(
    network: Network, features: Sequence[str], targets: Sequence[str], scaling: Standardizer
) -> TableEstimator:
    """Return a table estimator for a fitted network whose inputs are scaled number columns.

    features, targets : names of the columns. scaling : mean and scale of each feature.
    """
    encoder = number_encoder(features, scaling, network.coefs_[0].dtype)
    return assembled(encoder, network, targets, network.get_params(deep=False))


def assembled(
    encoder: TableEncoder, network: Network, targets: Sequence[str], parameters: dict[str, Any]
) -> TableEstimator:
    """Return a fitted table estimator made from its parts.

    parameters : parameters of the table estimator, by name.
    """
    kind = TableClassifier if isinstance(network, MLPClassifier) else TableRegressor
    model: TableEstimator = kind(**parameters)
    model._set_fitted(encoder, network, tuple(targets), 0)
    return model


def number_encoder(
    features: Sequence[str], scaling: Standardizer, dtype: np.dtype[Any]
) -> TableEncoder:
    """Return an encoder that standardises number columns; missing values become the mean.

    features : names of the columns. scaling : mean and scale of each. dtype : of the encoded rows.
    """
    columns = [
        {
            "name": name,
            "kind": "number",
            "gaps": 0,
            "distinct": 0,
            "remarks": [],
            "decimal": ".",
            "strays": [],
            "order": "",
        }
        for name in features
    ]
    header = {
        "names": list(features),
        "named": True,
        "columns": columns,
        "dtype": dtype.name,
        "sparse": False,
        "decimal": None,
    }
    mean, scale = scaling.mean, scaling.scale
    statistics = np.stack([mean, mean, mean, mean, scale], axis=1)  # low, high, median, mean, scale
    return TableEncoder.from_parts(header, {"encoder.statistics": statistics})


def with_columns_of(network: Network, table: Table) -> TableEstimator:
    """Return a table estimator that feeds the columns of ``table``, unscaled, to ``network``.

    The target of ``table`` is not fed to the network.

    Raises DataError if the number of columns differs from that of the fit.
    """
    targets = resolve_targets(table)
    features = without_targets(table, targets).names
    if len(features) != network.n_features_in_:
        raise DataError(
            f"{table.source} has {len(features)} columns without the target {listed(targets)}, but "
            f"the model was fitted with {network.n_features_in_}; give a table with these columns"
        )
    unscaled = Standardizer(np.zeros(len(features)), np.ones(len(features)))
    return of_network(network, features, targets, unscaled)
