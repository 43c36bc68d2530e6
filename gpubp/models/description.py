"""The contents of a model file as plain values: columns, network, recipe, scores, versions."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from gpubp.backprop.solvers import SOLVER_NUMBERS
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.mlp import BaseMLP
from gpubp.models.ensemble_facts import ensemble_of, layers_of, parameters_of, periodic_of
from gpubp.models.save_load import load
from gpubp.models.table_estimators import TableEstimator
from gpubp.models.table_parameters import defaults
from gpubp.models.table_presets import is_auto
from gpubp.storage.model_file import read_model
from gpubp.tables.encoder import TableEncoder
from gpubp.training.schedules import SCHEDULE_NUMBERS

# Parameters shown as "recipe", with the names shown, in this order. The hyperparameters of the
# solver and the schedule follow them.
_RECIPE = {
    "solver": "solver",
    "learning_rate_init": "rate",
    "learning_rate": "schedule",
    "batch_size": "batch",
    "max_iter": "epochs",
    "random_state": "seed",
    "alpha": "alpha",
    "dropout": "dropout",
    "loss": "loss",
    "class_weight": "class_weight",
    "early_stopping": "early_stopping",
    "validation_fraction": "validation",
    "n_iter_no_change": "patience",
    "scoring": "scoring",
}
_KEYS = {name: key for key, name in _RECIPE.items()}
_OFF = (None, 0, False, ())
# Parameters that are shown elsewhere, or that do not influence the trained weights.
_NOT_OF_TRAINING = {
    *("hidden_layer_sizes", "activation", "dtype"),
    *("compiled", "device", "keep_optimizer_state", "record", "threads", "verbose", "warm_start"),
}


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the contents of the model file at ``path``, as values for JSON.

    For an estimator of arrays, "columns" and "scores" are None, and "targets" is empty. "chosen"
    names the parameters in "recipe" that the preset chose.

    Raises ModelFileError for a file that is not a complete model file this gpubp can read.
    """
    model = load(path, device="cpu")
    file = Path(path).stat()
    about_file = {
        "file": str(path),
        "bytes": file.st_size,
        "saved": datetime.fromtimestamp(file.st_mtime).isoformat(" ", "seconds"),
    }
    return about_file | description_of(model) | {"versions": _versions(path)}


def description_of(model: Any) -> dict[str, Any]:
    """Return the description of a fitted estimator: that of `describe`, without the file."""
    is_table = isinstance(model, TableEstimator)
    network: BaseMLP = model.network_ if is_table else model
    classifies = isinstance(network, MLPClassifier)
    about = model.about_ if is_table else {}
    return {
        "class": type(model).__name__,
        "task": "classification" if classifies else "regression",
        "targets": list(model.target_names_) if is_table else [],
        "classes": model.classes_.tolist() if classifies else None,
        "columns": columns_of(model.encoder_) if is_table else None,
        "inputs": network.n_features_in_,
        "network": _network(network),
        "ensemble": ensemble_of(network),
        "preset": about.get("preset"),
        "started_from": about.get("started_from"),
        "recipe": _recipe(network),
        "training": {
            "epochs": network.n_iter_,
            "best_epoch": kept_epoch(network),
            "stopped_by": network.stopped_by_,
            "loss": kept_loss(network),
            "device": network.device_,
        },
        "chosen": _chosen(model, network),
        "time_limit": about.get("time_limit"),
        "scores": about.get("scores"),
        "baselines": about.get("baselines"),
        "class_scores": about.get("classes"),
        "class_rows": about.get("class_rows"),
        "positive_class": getattr(model, "positive_class_", None),
        "remarks": about.get("remarks"),
        "verdict": about.get("verdict"),
        "data": about.get("data"),
    }


def columns_of(encoder: TableEncoder) -> list[dict[str, Any]]:
    """Return the encoder's summary, with the number of network "inputs" of each column."""
    inputs = {encoding.type.name: len(encoding.outputs) for encoding in encoder.encodings_}
    return [row | {"inputs": inputs.get(row["column"], 0)} for row in encoder.summary()]


def kept_epoch(network: Any) -> int | None:
    """Return the epoch, from 1, whose weights early stopping kept; None for the last weights.

    Also None for an ensemble, whose members keep epochs of their own.
    """
    if hasattr(network, "members_"):
        return None
    epoch: int | None = getattr(network, "best_epoch_", None)
    return epoch if getattr(network, "validation_scores_", None) else None


def kept_loss(network: Any) -> float:
    """Return the training loss, with the penalty, of the epoch whose weights the network has.

    For an ensemble, it is the mean over the members.
    """
    if hasattr(network, "members_"):
        return float(np.mean([kept_loss(member) for member in network.members_]))
    epoch = kept_epoch(network)
    return float(network.loss_ if epoch is None else network.loss_curve_[epoch - 1])


def _chosen(model: Any, network: Any) -> list[str]:
    if not isinstance(model, TableEstimator):
        return []
    given = model.get_params(deep=False)
    return [name for name in _recipe(network) if is_auto(given.get(_KEYS.get(name, name)))]


def _versions(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the versions that trained a model; only gpubp's if its file has no others."""
    record = read_model(path)
    table = record.header.get("table") or {}
    return table.get("about", {}).get("versions") or {"gpubp": record.gpubp_version}


def _network(network: Any) -> dict[str, Any]:
    activation = network._of_fit("activation")
    return {
        "layers": layers_of(network),
        "periodic": periodic_of(network),
        "parameters": parameters_of(network),
        "activation": activation if isinstance(activation, str) else ", ".join(activation),
        "output_activation": network.out_activation_,
        "dtype": str(network.coefs_[0].dtype),
    }


def _recipe(network: Any) -> dict[str, Any]:
    """Return the parameters that influenced the training, without those that are off."""
    given = network.get_params(deep=False)
    solver, schedule = given["solver"], given["learning_rate"]
    recipe = {name: given[key] for key, name in _RECIPE.items() if key in given}
    of_entries = (SOLVER_NUMBERS, solver), (SCHEDULE_NUMBERS, schedule)
    for numbers, entry in of_entries:
        recipe |= {name: given[name] for name, of in numbers.items() if entry in of}
    known = {*_RECIPE, *recipe, *SOLVER_NUMBERS, *SCHEDULE_NUMBERS, *_NOT_OF_TRAINING} - {"tol"}
    usual = defaults(type(network))
    others = {name: value for name, value in given.items() if name not in known}
    recipe |= {name: value for name, value in others.items() if value != usual[name]}
    if not given["early_stopping"]:
        recipe.pop("validation")
        recipe.pop("scoring")
        if given["n_iter_no_change"] >= given["max_iter"]:
            recipe.pop("patience")
    return {name: value for name, value in recipe.items() if name == "seed" or value not in _OFF}
