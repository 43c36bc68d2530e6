"""Options made from the tables of solvers, schedules and losses.

Each table gives one option for the name of an entry, and one per hyperparameter of its entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.options import FiniteRange, NearChoice, WholeRange

if TYPE_CHECKING:
    from gpubp.backprop.hyperparameter_spec import HyperparameterSpec


class TableCommand(click.Command):
    """A command that also has the options made from the tables, after --activation.

    These options are made when the command line is parsed, because the tables import NumPy.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return all options and arguments."""
        own = super().get_params(ctx)
        after = 1 + [param.name for param in own].index("activation")
        return [*own[:after], *_options(), *own[after:]]


@cache
def _options() -> tuple[click.Option, ...]:
    return tuple(_made())


def _made() -> Iterator[click.Option]:
    from gpubp.backprop.losses import LOSSES, REGRESSION_LOSSES
    from gpubp.backprop.solvers import SOLVER_NUMBERS, SOLVERS
    from gpubp.training.schedules import SCHEDULE_NUMBERS, SCHEDULES

    yield _choice("solver", SOLVERS, text="Optimizer; adamw if not given.")
    yield from (_number(name, "--solver ", of) for name, of in SOLVER_NUMBERS.items())
    text = "Schedule of the learning rate. If not given: warm_cosine with preset tuned, else "
    text += "cosine for adamw and constant for others."
    yield _choice("schedule", SCHEDULES, text=text)
    yield from (_number(name, "--schedule ", of) for name, of in SCHEDULE_NUMBERS.items())
    losses = {name: LOSSES[name] for name in REGRESSION_LOSSES}
    yield _choice("loss", losses, "squared_error", "Loss that a regression minimises.")
    yield from (_number(name, "--loss ", of) for name, of in _loss_numbers().items())


def _loss_numbers() -> dict[str, dict[str, HyperparameterSpec]]:
    """Return the losses that take each hyperparameter: by its name, then by loss."""
    from gpubp.backprop.losses import LOSS_NUMBERS

    return {name: {loss: number} for name, (loss, number) in LOSS_NUMBERS.items()}


def _choice(
    name: str, table: Mapping[str, Any], default: str | None = None, text: str = ""
) -> click.Option:
    docs = (f"{entry}: {table[entry].doc}" for entry in sorted(table))
    text = " ".join([text, *docs] if text else docs)
    names = NearChoice(sorted(table))
    return click.Option([f"--{name}"], type=names, default=default, show_default=True, help=text)


def _number(name: str, prefix: str, of: Mapping[str, HyperparameterSpec]) -> click.Option:
    from gpubp.estimators.parameter_docs import meaning

    first, flag = next(iter(of.values())), f"--{name.replace('_', '-')}"
    own = {entry: p.default for entry, p in of.items() if p.default != first.default}
    default = "; ".join([str(first.default), *(f"{entry}: {x}" for entry, x in own.items())])
    text = f"{' '.join(meaning(prefix, of))}  [default: {default}]"
    if first.kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    return click.Option([flag], type=_range(first), help=text)


def _range(parameter: HyperparameterSpec) -> click.ParamType[Any]:
    if parameter.kind is int:
        return WholeRange(min=int(parameter.low))
    low_open, high_open = parameter.closed == "neither", parameter.closed != "both"
    high_open = high_open and parameter.high is not None
    return FiniteRange(parameter.low, parameter.high, min_open=low_open, max_open=high_open)


def table_parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the estimator's parameters set by --solver, --schedule and their hyperparameters.

    Raises UsageError for a hyperparameter or a schedule that the chosen solver does not use.
    """
    from gpubp.backprop.solvers import SOLVER_NUMBERS
    from gpubp.training.schedules import SCHEDULE_NUMBERS, SCHEDULES

    solver, schedule = options["solver"], options["schedule"]
    if schedule is not None and not SCHEDULES[schedule].is_for(solver or ""):
        only = " and ".join(SCHEDULES[schedule].solvers or ())
        got = "but no --solver was given" if solver is None else f"got --solver {solver}"
        raise click.UsageError(
            f"--schedule {schedule} is for --solver {only}, {got}; give that solver, or another "
            "schedule"
        )
    numbers = _given(options, "solver", SOLVER_NUMBERS)
    numbers |= _given(options, "schedule", SCHEDULE_NUMBERS)
    names = {"solver": solver, "learning_rate": schedule}
    return {name: entry for name, entry in names.items() if entry is not None} | numbers


def loss_parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the estimator's parameters set by --loss and its hyperparameters.

    Raises UsageError for a hyperparameter that the chosen loss does not take.
    """
    return {"loss": options["loss"], **_given(options, "loss", _loss_numbers())}


def _given(
    options: Mapping[str, Any], table: str, numbers: Mapping[str, Mapping[str, HyperparameterSpec]]
) -> dict[str, Any]:
    """Return the given hyperparameters of the chosen entry.

    options : of the command line; without --solver, the recipe's solver is meant.
    table : "solver", "schedule" or "loss".
    numbers : the entries that take each hyperparameter, by its name.

    Raises UsageError for a hyperparameter that the chosen entry does not take.
    """
    from gpubp.models.table_recipe import RATES

    given = {name: options[name] for name in numbers if options[name] is not None}
    entry = options[table]
    chosen = str(RATES["solver"]) if table == "solver" and entry is None else entry
    for name, value in given.items():
        of, flag = numbers[name], f"--{name.replace('_', '-')}"
        if chosen not in of and entry is None:
            raise click.UsageError(
                f"{flag} is for --{table} {' and '.join(of)}, which was not given; give it too"
            )
        if chosen not in of:
            raise click.UsageError(
                f"{flag} is for --{table} {' and '.join(of)}, got --{table} {entry}; leave it out"
            )
        first, own = next(iter(of.values())).default, of[chosen].default
        if value == first != own:
            raise click.UsageError(
                f"{flag} {value} would be replaced by {own}, the default of --{table} {chosen}; "
                "give another number, or leave it out"
            )
    return given
