"""An example made of a trained model's network and one row of a table."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import issparse

from gpubp.backprop.losses import LOSSES, Loss
from gpubp.backprop.parameter_groups import GroupFactors, checked_factors
from gpubp.explain.example import PLAIN_SGD, Example, build
from gpubp.explain.input_stage import feature_names
from gpubp.explain.origin import ROBUST, STANDARDISED, Origin
from gpubp.tables.column import Column, TextColumn
from gpubp.tables.table import DataError, Table

if TYPE_CHECKING:
    from gpubp.estimators.serialization import Estimator
    from gpubp.models.table_estimators import TableEstimator
    from gpubp.tables.encoding.encodings import NumberEncoding


def _check_explainable(loss: Loss) -> None:
    """Raise DataError for a model that cannot be explained.

    That is one with a custom loss, or with several quantiles.
    """
    if loss.name not in LOSSES or LOSSES[loss.name].step is not loss.step:
        raise DataError(
            f"a model with a loss of its own, {loss.name!r}, cannot be explained; fit it with one "
            f"of {sorted(LOSSES)}"
        )
    if loss.outputs_per_target > 1:
        raise DataError(
            f"a model of {loss.outputs_per_target} quantiles cannot be explained; fit it with one "
            "level of quantile"
        )


def of_model(
    model: Estimator | TableEstimator,
    table: Table,
    row: int,
    *,
    member: int | None = None,
    model_name: str = "",
) -> Example:
    """Return an example with the network of a trained ``model`` and one row of ``table``.

    The step is the first one of the model's own optimizer. L-BFGS has no step over one row, so
    such a model gets plain gradient descent at learning_rate_init. An estimator that was saved
    without its columns takes all columns but the target, unchanged.

    row : its number in the table, from 0. model_name : the name of the model's file, to be shown.
    member : the member of an ensemble, from 0; None for member 0, or for a single network.

    Raises DataError for a row or member that does not exist, for columns or labels that do not
    fit, and for a row with an output that is not finite.
    """
    # Imported here: importing scikit-learn takes a second, and built-in examples do not need it.
    from gpubp.estimators.fitted_network import loss_of, network_of, optimizer_of
    from gpubp.estimators.fitted_stage import stage_parts
    from gpubp.models.number_columns import with_columns_of
    from gpubp.models.table_estimators import TableEstimator

    if not 0 <= row < len(table):
        last = len(table) - 1
        raise DataError(f"row {row} was asked for, but {table.source} has rows 0 to {last}")
    table = table.take(np.array([row]))
    model, part = _one_network(model, member)
    known = model if isinstance(model, TableEstimator) else with_columns_of(model, table)
    estimator = known.network_
    loss, network = loss_of(estimator), network_of(estimator)
    _check_explainable(loss)
    known.predict(table)  # raises if the output is not finite
    X = _inputs(known, table)
    targets, outputs = _targets(known, table)
    example = build(
        Path(table.source).name,
        network.sizes,
        network.activations,
        loss.name,
        X,
        targets.reshape(1, -1) if targets.dtype.kind == "f" else targets,
        weights=estimator.coefs_,
        biases=estimator.intercepts_ if network.bias else None,
        rate=float(estimator.learning_rate_init),
        optimizer=optimizer_of(estimator) or PLAIN_SGD,
        alpha=float(estimator.alpha),
        stage=None if network.stage is None else (network.stage, stage_parts(estimator)),
    )
    columns = tuple(str(name) for name in known.encoder_.get_feature_names_out())
    inputs = columns if network.stage is None else feature_names(network.stage, columns)
    names = (inputs, *example.names[1:-1], tuple(outputs))
    called = _called(model, part, model_name)
    origin = Origin(example.name, row, called, *_scales(known, table, X), _scaling(known))
    named = replace(example, names=names, stage_columns=columns)
    given = estimator.rate_factors, estimator.decay_factors
    rates, decays = map(checked_factors, ("rate_factors", "decay_factors"), given)
    factors = GroupFactors(rates, decays) if rates or decays else None
    return replace(named, loss_parameters=loss.parameters, origin=origin, factors=factors)


def members_of(model: Estimator | TableEstimator) -> int | None:
    """Return the number of members of an ensemble; None for a single network."""
    members = getattr(getattr(model, "network_", model), "members_", None)
    return None if members is None else len(members)


def _one_network(
    model: Estimator | TableEstimator, member: int | None
) -> tuple[Estimator | TableEstimator, str]:
    """Return a model with one member of an ensemble, and "member 0 of 5"; "" for one network."""
    from gpubp.models.table_estimators import TableEstimator

    count = members_of(model)
    if count is None:
        if member is not None:
            raise DataError(
                f"member {member} was asked for, but the model is one network; leave it out"
            )
        return model, ""
    k = member or 0
    if not 0 <= k < count:
        raise DataError(f"member {k} was asked for, but the model has members 0 to {count - 1}")
    part = f"member {k} of {count}"
    if not isinstance(model, TableEstimator):
        return model.members_[k], part
    of_table = copy(model)
    of_table.network_ = model.network_.members_[k]
    return of_table, part


def _called(model: object, part: str, name: str) -> str:
    kind = ", ".join(filter(None, (type(model).__name__, part)))
    return f"{name} ({kind})" if name else kind


def _inputs(model: TableEstimator, table: Table) -> np.ndarray:
    """Return the inputs of the network, (n, d_0) in float64."""
    X = model.encode(table, np.float64)
    dense: np.ndarray = X.toarray() if issparse(X) else X
    return dense


def _scales(
    model: TableEstimator, table: Table, X: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return the inputs in the units of the table, and the mean and the scale of the targets.

    X : the inputs of the network. A part is None if the network takes the table's own numbers.
    """
    raw = _in_units(model, table, X)
    same = np.array_equal(raw, X)
    scaling = getattr(model.network_, "_target_scaling", None)
    if scaling is None:
        return None if same else raw, None, None
    return None if same else raw, scaling.mean, scaling.scale


def _scaling(model: TableEstimator) -> str:
    """Return how the numbers of the table are scaled, in words."""
    robust = any(getattr(encoding, "robust", None) for encoding in model.encoder_.encodings_)
    return ROBUST if robust else STANDARDISED


def _in_units(model: TableEstimator, table: Table, X: np.ndarray) -> np.ndarray:
    """Return the inputs with numbers and parts of dates in the units of the table.

    All other inputs are 0 and 1, or points on a circle, and stay unchanged.
    """
    from gpubp.tables.encoding.encode_dates import DateEncoding
    from gpubp.tables.encoding.encodings import NumberEncoding

    raw, at = X.copy(), 0
    for encoding in model.encoder_.encodings_:
        if isinstance(encoding, NumberEncoding):
            inputs = 1 if encoding.robust is None else 1 + encoding.robust.has_tail
            numbers = _numbers(encoding, table.columns[encoding.type.name])
            raw[:, at : at + inputs] = numbers[:, None]
        elif isinstance(encoding, DateEncoding):
            place = at
            for _, found in encoding.parts:
                if found is not None:  # microseconds are the smallest parts
                    raw[:, place] = np.round(found.mean + found.scale * X[:, place], 6)
                place += 1 if found is not None else 2
        at += len(encoding.outputs)
    return raw


def _numbers(encoding: NumberEncoding, column: Column) -> np.ndarray:
    """Return the numbers of a column; gaps become the median of the training data."""
    from gpubp.tables.column_types.numbers import read_numbers

    if isinstance(column, TextColumn):
        numbers = read_numbers(column.texts(), encoding.type.decimal)
    else:
        numbers = column.values
    return np.where(np.isnan(numbers), encoding.statistics.median, numbers)


def _targets(model: TableEstimator, table: Table) -> tuple[np.ndarray, Sequence[str]]:
    """Return the targets of ``table`` as training encodes them, and a name for each output."""
    from gpubp.estimators.fitted_network import encoded_targets
    from gpubp.models.table_estimators import TableClassifier
    from gpubp.tables.target import numbers_of

    network = model.network_
    if not isinstance(model, TableClassifier):
        return encoded_targets(network, numbers_of(table, model.target_names_)), model.target_names_
    labels = [str(label) for label in model.classes_]
    outputs = labels if network.n_outputs_ > 1 else labels[-1:]
    return encoded_targets(network, model.known_labels(table)), outputs
