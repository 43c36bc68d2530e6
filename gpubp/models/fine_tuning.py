"""The training of a table estimator that goes on: from the columns, weights and recipe it has."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

from gpubp.models.table_presets import is_auto
from gpubp.models.table_rows import Rows
from gpubp.tables.table import Table

# Of the last fit, in `about_`. F1 of two classes stays that of the same class.
_KEPT_FACTS = ("preset", "positive_class")
_OF_HISTORY = ("_history", "_member_histories", "_member_seeds")


def goes_on(model: Any) -> bool:
    """Return whether fit of a table estimator continues the training of the last fit."""
    return bool(model.warm_start) and hasattr(model, "network_")


def given_to_recipe(model: Any) -> dict[str, Any]:
    """Return the parameters by which the preset chooses the others.

    A training that goes on has the preset of the last fit, even if "auto" would now be another.
    """
    return {**vars(model), **facts_kept(model)}


def facts_kept(model: Any) -> dict[str, Any]:
    """Return the facts in `about_` that a training that goes on does not change; else {}."""
    if not goes_on(model):
        return {}
    # Files of earlier versions have no preset: their recipe was that of "plain".
    about = {"preset": "plain"} | model.about_
    return {name: about[name] for name in _KEPT_FACTS if name in about}


def shape_kept(model: Any) -> dict[str, Any]:
    """Return the parameters that set the shape of the network, if its training goes on; else {}.

    The recipe for another number of rows may have another shape.
    """
    if not goes_on(model):
        return {}
    network = model.network_
    return {
        "hidden_layer_sizes": network._hidden_sizes(),
        "input_stage": network._of_fit("input_stage"),
        "n_members": count_members(network),
    }


def count_members(network: Any) -> int | None:
    """Return the number of members of a fitted ensemble; None for one network."""
    W = network.coefs_[0]
    return len(W) if W.ndim == 3 else None


def to_go_on(model: Any, network: Any) -> Any:
    """Return the network to train: if the training goes on, that of the last fit.

    It gets the parameters of ``network``, and keeps classes that the rows lack.
    """
    if not goes_on(model):
        return network
    last = copy(model.network_).set_params(**network.get_params(deep=False))
    if model.task == "classification":
        last._may_lack_classes = True
    return last


def with_known_labels(model: Any, rows: Rows, table: Table) -> Rows:
    """Return the rows of ``table`` with labels of the model, if its training goes on.

    Raises DataError for a label that the model does not know.
    """
    if model.task != "classification" or not goes_on(model):
        return rows
    return replace(rows, y=model.known_labels(table, rows.names[0]))


def start_anew(model: Any, **parameters: Any) -> None:
    """Prepare a model for a training from its weights on other rows, with a new history.

    The next fit continues with the weights, the columns and the preset of the model; parameters
    that are "auto" and do not change the shape of the network are chosen for the new rows.

    parameters : to set, for example ``max_iter=10``.
    """
    members = count_members(model.network_)
    model.network_ = copy(model.network_)
    for name in _OF_HISTORY:
        vars(model.network_).pop(name, None)
    if is_auto(model.preset):
        model.set_params(preset=model.about_.get("preset", "plain"))
    if not is_auto(model.n_members):  # an interrupt may have left fewer
        model.set_params(n_members=members)
    model.set_params(**parameters, warm_start=True)
