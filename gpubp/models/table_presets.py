"""Presets: how a table estimator chooses the hyperparameters that the user leaves to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpubp.models.table_recipe import Task, recipe
from gpubp.models.tuned_recipe import SCALING, tuned_recipe
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.encoding.encodings import NumberEncoding

PRESETS = ("auto", "tuned", "plain")
# The tuned recipe's values of these belong together: if the user gives one, "auto" is "plain".
_OF_RATES = ("solver", "learning_rate", "learning_rate_init", "rate_factors", "weight_decay")
MOST_COLUMNS = 1000  # of encoded rows; with more, preset "auto" is "plain"


def is_auto(value: object) -> bool:
    """Return whether a parameter is left to the recipe."""
    return isinstance(value, str) and value == "auto"


def is_tuned(given: Mapping[str, Any], n_columns: int = 0) -> bool:
    """Return whether the tuned recipe chooses the parameters.

    given : the parameters of the estimator. n_columns : of the encoded rows.
    """
    preset = given["preset"]
    if preset != "auto":
        return bool(preset == "tuned")
    ordinary = given.get("loss", "squared_error") != "squared_error"
    chosen = any(not is_auto(given[name]) for name in _OF_RATES)
    return not (ordinary or chosen or n_columns > MOST_COLUMNS)


def scaling_of(given: Mapping[str, Any]) -> str:
    """Return the scaling of number columns, which the preset chooses if it is "auto"."""
    scaling: str = given["scaling"]
    if not is_auto(scaling):
        return scaling
    return SCALING if is_tuned(given) else "standard"


def preset_values(
    given: Mapping[str, Any],
    task: Task,
    shape: tuple[int, int],
    n_outputs: int,
    periodic: list[int],
) -> dict[str, Any]:
    """Return the parameters of the network that the preset of ``given`` chooses, by name.

    shape : of the encoded rows. n_outputs : number of classes, or of targets.
    periodic : the encoded columns with numbers; see `number_columns`.
    """
    names = ("solver", "hidden_layer_sizes")
    asked = {name: value for name in names if not is_auto(value := given[name])}
    if not is_tuned(given, shape[1]):
        return recipe(task, *shape, n_outputs, **asked)
    solver = asked.get("solver", "adamw")
    if solver == "lbfgs":
        raise ValueError(
            "preset='tuned' trains in steps, which solver='lbfgs' does not have; set "
            "preset='plain', or another solver"
        )
    chosen = tuned_recipe(task, *shape, n_outputs, periodic)
    if solver in ("adam", "sgd"):  # they have no weight decay
        del chosen["weight_decay"]
    return chosen


def number_columns(encoder: TableEncoder) -> list[int]:
    """Return the encoded columns with numbers of more than two values, without their tails."""
    place, found = 0, []
    for encoding in encoder.encodings_:
        if isinstance(encoding, NumberEncoding) and not encoding.is_binary:
            found.append(place)
        place += len(encoding.outputs)
    return found
