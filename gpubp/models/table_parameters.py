"""The parameters of the table estimators: those of the network and those of the encoder."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from numbers import Real
from typing import Any, TypeVar

from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.models.table_presets import PRESETS
from gpubp.tables.encoder import TableEncoder

Estimator = TypeVar("Estimator", bound=type)
Network = type[MLPClassifier] | type[MLPRegressor]

# Network parameters with the default "auto" in table estimators: the preset chooses them, by the
# size of the table; target_scaling is chosen by the loss.
AUTO = (
    *("hidden_layer_sizes", "solver", "alpha", "batch_size", "learning_rate"),
    *("learning_rate_init", "max_iter", "early_stopping", "validation_fraction"),
    *("n_iter_no_change", "weight_decay", "dropout", "scoring", "clip_norm"),
    "target_scaling",
    *("input_stage", "rate_factors", "decay_factors", "dropout_schedule", "beta_2"),
    *("weight_decay_schedule", "drop_last", "weights_init", "label_smoothing"),
    *("clip_predictions", "n_members", "member_rows"),
)
# Parameters of the encoder that the preset chooses.
AUTO_OF_ENCODER = ("scaling",)
# Other parameters with a different default in table estimators: encoded rows are float32.
_OTHERS = {"dtype": "float32"}
# Documentation of the parameters that only table estimators have.
_OWN: dict[tuple[str, ...], str] = {
    ("preset",): """    preset : {'auto', 'tuned', 'plain'}, default='auto'
        Which recipe chooses the parameters that are 'auto':

        - 'tuned': four networks with an input stage, learning rates by layer and schedules of
          dropout and weight decay, whose predictions are averaged; see docs/tables.md.
        - 'plain': one hidden layer, AdamW and a cosine schedule.
        - 'auto': 'tuned', but 'plain' if you choose the solver, the learning rate, its schedule or
          its factors, the weight decay or a loss other than squared_error, and for more than 1,000
          encoded columns.

        A fit with warm_start continues with the preset and the shape of the last fit.""",
    ("time_limit",): """    time_limit : float or None, default=None
        Seconds that the training may take; None for no limit. A few steps are timed, and if all
        would take longer, fewer networks or fewer epochs are trained. The model then depends on the
        speed of the machine. MLPSearchCV ignores it.""",
}
# Names of parameters in other libraries and on the command line, with the names here.
_MEANT = {
    **dict.fromkeys(("hidden", "hidden_sizes", "layers", "units"), "hidden_layer_sizes"),
    **dict.fromkeys(("lr", "rate", "eta"), "learning_rate_init"),
    **dict.fromkeys(("epochs", "n_epochs", "num_epochs", "max_epochs"), "max_iter"),
    "batch": "batch_size",
    "optimizer": "solver",
    "patience": "n_iter_no_change",
    "schedule": "learning_rate",
    "seed": "random_state",
    "validation_size": "validation_fraction",
}


def defaults(of: type) -> dict[str, Any]:
    """Return the parameters of a class with their defaults."""
    return {name: p.default for name, p in inspect.signature(of).parameters.items()}


def encoder_parameters() -> dict[str, Any]:
    """Return the encoder's parameters with their defaults, without dtype.

    The encoder takes its dtype from the network.
    """
    return {name: value for name, value in defaults(TableEncoder).items() if name != "dtype"}


def _table_defaults(network: Network) -> dict[str, Any]:
    own = defaults(network)
    chosen = {name: "auto" for name in AUTO if name in own}
    encoder = encoder_parameters() | dict.fromkeys(AUTO_OF_ENCODER, "auto")
    return own | chosen | _OTHERS | encoder | {"preset": "auto", "time_limit": None}


def constraints(network: Network) -> dict[str, list[Any]]:
    """Return the constraints of all parameters, for scikit-learn's validation."""
    own = dict(network._parameter_constraints)
    for name in AUTO:
        if name in own and name != "batch_size":  # the network allows "auto" for batch_size itself
            own[name] = [*own[name], StrOptions({"auto"})]
    return own | {
        "preset": [StrOptions(set(PRESETS))],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    }


def meant_parameter(name: str, known: Iterable[str]) -> str:
    """Return the parameter that an unknown ``name`` stands for; "" if none is near."""
    return _MEANT.get(name) or next(iter(get_close_matches(name, list(known), n=1)), "")


def with_suggestion(
    error: InvalidParameterError, given: Any, network: Network
) -> InvalidParameterError:
    """Return the error of a parameter of ``given`` with a suggestion for a misspelt value."""
    name = str(error).split("'")[1]  # The 'name' parameter of ...
    meant = network(**{each: getattr(given, each) for each in defaults(network)})._meant_by(name)
    return InvalidParameterError(f"{error}{f' Did you mean {meant}?' if meant else ''}")


def initializer(network: Network) -> Callable[..., None]:
    """Return an __init__ with the parameters of ``network`` and of the encoder, by keyword only."""
    parameters = _table_defaults(network)

    def __init__(self: Any, **given: Any) -> None:
        for name in given:
            if name not in parameters:
                near = meant_parameter(name, parameters)
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument {name!r}"
                    f"{f'. Did you mean {near!r}?' if near else ''}"
                )
        vars(self).update(parameters | given)

    kinds = inspect.Parameter
    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            kinds("self", kinds.POSITIONAL_OR_KEYWORD),
            *(kinds(name, kinds.KEYWORD_ONLY, default=value) for name, value in parameters.items()),
        ]
    )
    return __init__


def parameter_docs(of: type) -> dict[tuple[str, ...], str]:
    """Return the entries under "Parameters" in a numpydoc docstring, by the names they document."""
    text = (of.__doc__ or "").partition("Parameters\n    ----------\n")[2]
    text = re.split(r"\n\n    \w+\n    -+\n", text)[0]
    entries = re.split(r"\n(?=    \w)", text.rstrip())
    return {tuple(entry.partition(" : ")[0].strip().split(", ")): entry for entry in entries}


def documented(network: Network) -> Callable[[Estimator], Estimator]:
    """Return a decorator that fills ``{parameters}`` in the docstring of a table estimator.

    The entries are those of ``network`` and of the encoder, with the defaults of the estimator.
    """

    def fill(estimator: Estimator) -> Estimator:
        ours = _table_defaults(network)
        docs = parameter_docs(network) | parameter_docs(TableEncoder)
        docs |= _OWN
        del docs[("dtype",)]  # the encoder's; the network's is added back
        docs |= parameter_docs(network)
        entries = [_with_default(entry, names[0], ours[names[0]]) for names, entry in docs.items()]
        text = "\n".join(entries).strip()
        estimator.__doc__ = (estimator.__doc__ or "").replace("{parameters}", text)
        return estimator

    return fill


def _with_default(entry: str, name: str, default: Any) -> str:
    """Return the documentation of a parameter with its default in a table estimator."""
    if name in AUTO:
        entry = re.sub(r" 'auto' is [^;.]*\.", "", entry).rstrip()
        entry = re.sub(r"( or 'auto')?,\s*default=.*", " or 'auto', default='auto'", entry, count=1)
        by = "the loss" if name == "target_scaling" else "the preset and the size of the table"
        # A list ends with a blank line.
        gap = "\n\n" if entry.rpartition("\n\n")[2].lstrip().startswith("- ") else "\n"
        return f"{entry}{gap}        'auto': chosen by {by}."
    if name in AUTO_OF_ENCODER:
        entry = re.sub(r"(\{.*)\}, default=.*", r"\1, 'auto'}, default='auto'", entry, count=1)
        return f"{entry}\n        'auto': chosen by the preset; 'robust' for 'tuned'."
    return (
        re.sub(r"default=.*", f"default={default!r}", entry, count=1) if name in _OTHERS else entry
    )
