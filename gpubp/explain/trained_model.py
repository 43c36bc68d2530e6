"""A row of a table as an example, with the network of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gpubp.backprop.losses import LOSSES, Loss
from gpubp.explain.example import PLAIN_SGD, Example, build
from gpubp.explain.origin import Origin
from gpubp.tables.table import DataError, Table

if TYPE_CHECKING:
    from gpubp.models.table_model import Estimator, TableModel


def _check_explainable(loss: Loss) -> None:
    """Raise DataError for a loss whose steps are not told of."""
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
    model: Estimator | TableModel, table: Table, row: int, *, model_name: str = ""
) -> Example:
    """Return the network of a trained ``model`` with one row of ``table`` to learn from.

    The step is the one that the model's own optimizer would begin with; for a model of L-BFGS,
    which has no step over one row, gradient descent's at learning_rate_init. An estimator that was
    saved without its columns takes all columns but the target, as they are. model_name : of its
    file, for the reader.

    Raises DataError for a row that is not there, for columns or labels that do not fit, and for a
    row with an output that is not finite.
    """
    # Imported here: scikit-learn takes a second that the built-in examples need not wait for.
    from gpubp.estimators.fitted_network import loss_of, network_of, optimizer_of
    from gpubp.models.table_model import TableModel, with_columns_of

    if not 0 <= row < len(table):
        last = len(table) - 1
        raise DataError(f"row {row} was asked for, but {table.source} has rows 0 to {last}")
    line = None if table.lines is None else int(table.lines[row])
    table = table.take(np.array([row]))
    known = model if isinstance(model, TableModel) else with_columns_of(model, table)
    schema, estimator = known.schema, known.estimator
    loss, network = loss_of(estimator), network_of(estimator)
    _check_explainable(loss)
    known.predict(table)  # raises where the output is not finite
    X = schema.transform(table, np.float64)
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
    )
    names = (schema.features, *example.names[1:-1], tuple(outputs))
    origin = Origin(example.name, row, line, _called(estimator, model_name), *_scales(known, table))
    return replace(example, names=names, loss_parameters=loss.parameters, origin=origin)


def _called(estimator: Estimator, name: str) -> str:
    kind = type(estimator).__name__
    return f"{name} ({kind})" if name else kind


def _scales(
    model: TableModel, table: Table
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return the inputs in the units of the table, and the mean and the scale of the targets.

    None where the network has the numbers of the table.
    """
    raw = table.matrix(model.schema.features)
    same = np.array_equal(raw, model.schema.transform(table, np.float64))
    scaling = getattr(model.estimator, "_target_scaling", None)
    if scaling is None:
        return None if same else raw, None, None
    return None if same else raw, scaling.mean, scaling.scale


def _targets(model: TableModel, table: Table) -> tuple[np.ndarray, Sequence[str]]:
    """Return the targets of ``table`` as training has them, and a name for each output."""
    from gpubp.estimators.classifier import MLPClassifier
    from gpubp.estimators.fitted_network import encoded_targets

    schema, estimator = model.schema, model.estimator
    if not isinstance(estimator, MLPClassifier):
        return encoded_targets(estimator, table.matrix(schema.targets)), schema.targets
    labels = [str(label) for label in estimator.classes_]
    outputs = labels if estimator.n_outputs_ > 1 else labels[-1:]
    return encoded_targets(estimator, model.known_labels(table, schema.targets[0])), outputs
