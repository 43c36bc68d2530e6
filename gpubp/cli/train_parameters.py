"""Convert the options of `gpubp train` to parameters of the model."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gpubp.cli.options import split_names
from gpubp.cli.table_options import loss_parameters, table_parameters

if TYPE_CHECKING:
    import numpy as np

# Options that have an effect only in training by epochs, so not with L-BFGS.
EPOCH_OPTIONS = {
    *("lr", "schedule", "batch_size", "validation_size", "patience", "dropout", "scoring"),
    "checkpoint_every",
}
# Options with which preset auto is plain, besides --loss.
OF_RATES = ("lr", "schedule", "solver", "weight_decay")
# Parameters by the option that sets them. The model chooses parameters that are not given.
PARAMETERS = {
    "hidden": "hidden_layer_sizes",
    "activation": "activation",
    "alpha": "alpha",
    "batch_size": "batch_size",
    "lr": "learning_rate_init",
    "epochs": "max_iter",
    "seed": "random_state",
    "patience": "n_iter_no_change",
    "scoring": "scoring",
    "dropout": "dropout",
    "device": "device",
    "dtype": "dtype",
    "threads": "threads",
    "precision": "precision",
    "compiled": "compiled",
    "members": "n_members",
    "member_rows": "member_rows",
    "na": "na",
    "scaling": "scaling",
    "preset": "preset",
    "time_limit": "time_limit",
}


def check_parameters(options: Mapping[str, Any]) -> None:
    """Raise UsageError for options that contradict each other whatever the data are."""
    if options["solver"] == "lbfgs":
        _refuse_options_of_epochs()
    table_parameters(options)
    loss_parameters(options)
    _check_preset(options)
    _check_members(options)
    if options["scoring"] is not None:
        _check_scoring(options["scoring"])
    if (given := options["class_weight"]) not in (None, "balanced"):
        _weights(given)


def parameters(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's parameters that the options set for this task.

    task : "classification" or "regression".

    Raises UsageError for options of the other task.
    """
    found = {
        parameter: options[option]
        for option, parameter in PARAMETERS.items()
        if options[option] is not None
    }
    if options["members"] == 1 and options["member_rows"] in (None, "all"):
        found["n_members"] = None
    found |= {"record": not options["no_record"], **table_parameters(options)}
    if (size := options["validation_size"]) is not None:
        found["early_stopping"] = size > 0
        if size > 0:
            found["validation_fraction"] = size
    if task == "regression":
        _refuse_class_weight(options)
        return found | loss_parameters(options)
    _refuse_loss(options)
    return found


def class_weight(given: str | None, labels: np.ndarray) -> Any:
    """Return --class-weight in the form of the estimator: None, "balanced" or a dict by label.

    given : the text of the option; None if it was not given. labels : (n,), of the training rows.

    Raises UsageError for a label that no row has.
    """
    if given is None or given == "balanced":
        return given
    by_text = {str(label): label for label in dict.fromkeys(labels.tolist())}
    weights = _weights(given)
    for name in weights:
        if name not in by_text:
            near = difflib.get_close_matches(name, by_text, n=1) or sorted(by_text)[:10]
            raise click.UsageError(
                f"--class-weight has {name!r}, which is not a label of the target; give labels "
                f"such as {', '.join(map(repr, near))}"
            )
    return {by_text[name]: weight for name, weight in weights.items()}


def _weights(given: str) -> dict[str, float]:
    """Return text of the form label=weight,label=weight as a dict; raise UsageError otherwise."""
    weights = {}
    for part in split_names(given):
        label, sign, text = part.rpartition("=")
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not sign or not label.strip() or not 0 <= weight < math.inf:
            raise click.UsageError(
                f"--class-weight {given!r}: {part!r} is not of the form label=weight; give "
                "balanced, or labels with weights of 0 or more, such as no=1,yes=5"
            )
        weights[label.strip()] = weight
    return weights


def _may_be_tuned(options: Mapping[str, Any]) -> bool:
    """Return whether the recipe of preset tuned trains a table that is not too wide for it."""
    if options["preset"] not in (None, "auto"):
        return bool(options["preset"] == "tuned")
    return options["loss"] == "squared_error" and all(options[name] is None for name in OF_RATES)


def _check_preset(options: Mapping[str, Any]) -> None:
    """Raise UsageError for --preset tuned with a solver that its learning rates do not suit."""
    if options["preset"] == "tuned" and options["solver"] not in (None, "adamw"):
        raise click.UsageError(
            f"--preset tuned is for --solver adamw, got --solver {options['solver']}; leave one of "
            "the two out"
        )


def _check_members(options: Mapping[str, Any]) -> None:
    rows, members = options["member_rows"], options["members"]
    if rows is not None and members is None and not _may_be_tuned(options):
        raise click.UsageError(
            f"--member-rows {rows} is for an ensemble; give its number of networks, such as "
            "--members 5"
        )
    if rows == "folds" and members == 1:
        raise click.UsageError(
            f"--member-rows folds needs 2 members or more, got --members {members}; give the "
            "number of folds, or --member-rows all or bootstrap"
        )


def check_folds(n_rows: int, options: Mapping[str, Any]) -> None:
    """Raise UsageError if there are more folds than the ``n_rows`` training rows."""
    from gpubp.models.tuned_recipe import MEMBERS

    members = options["members"] or MEMBERS
    if options["member_rows"] == "folds" and members > n_rows:
        raise click.UsageError(
            f"--members {members}: there are only {n_rows:,} training rows for as many "
            "folds; give a smaller number"
        )


def _check_scoring(name: str) -> None:
    from gpubp.estimators.hyperparameters import SCORINGS

    if name not in SCORINGS.options:
        near = difflib.get_close_matches(name, SCORINGS.options, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "give one, or 'loss'"
        raise click.UsageError(f"--scoring {name!r} is not a scorer of scikit-learn; {hint}")


def _refuse_options_of_epochs() -> None:
    """Raise UsageError if an option was given that has no effect with L-BFGS."""
    from gpubp.backprop.solvers import STEPWISE

    context = click.get_current_context()
    for name in sorted(EPOCH_OPTIONS.intersection(context.params)):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is for --solver {', '.join(STEPWISE)}; lbfgs uses all "
                "rows in every step and finds the step length itself; leave the option out"
            )


def _refuse_class_weight(options: Mapping[str, Any]) -> None:
    if options["class_weight"] is not None:
        raise click.UsageError(
            "--class-weight is for classification, but this is a regression; leave it out, or use "
            "--task classification"
        )


def _refuse_loss(options: Mapping[str, Any]) -> None:
    """Raise UsageError if --loss or one of its hyperparameters was given for a classification."""
    from gpubp.backprop.losses import LOSS_NUMBERS

    context = click.get_current_context()
    for name in ("loss", *LOSS_NUMBERS):
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, None):
            raise click.UsageError(
                f"--{name.replace('_', '-')} is for regression, but this is a classification, "
                "which minimises the log loss; leave it out, or use --task regression"
            )
