"""`gpubp train --from MODEL`: train on from the weights of a trained model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from gpubp.cli.output_files import free_name, is_same
from gpubp.cli.predict import load_table_model
from gpubp.cli.table_input import COLUMNS, column_choices
from gpubp.cli.train_parameters import class_weight, parameters

if TYPE_CHECKING:
    from gpubp.cli.train_model import Problem
    from gpubp.models.table_estimators import TableClassifier, TableRegressor
    from gpubp.tables.table import Table

F = TypeVar("F", bound=Callable[..., Any])
Note = Callable[[str], None]
# Options of this run, which do not take the values of the first training.
_OF_RUN = {"seed", "device", "no_record", "precision", "compiled", "threads", "time_limit"}
# Options whose values in ``options`` are those of the model, unless it has none.
_FILLED = {"solver", "loss"}
_OF_LOSS = ("quantile", "huber_delta")


def start_option(command: F) -> F:
    """Add the option --from."""
    return click.option(
        "--from",
        "start_from",
        metavar="MODEL",
        type=click.Path(path_type=Path),
        help="Model file from whose weights the training starts, on the rows of DATA. Columns, "
        "labels, preset and network stay those of MODEL, and so do its options of training that "
        "are not given here.",
    )(command)


@dataclass(frozen=True, eq=False)
class Start:
    """The trained model of --from.

    path : its file. warm_start : its parameter, which the training changes.
    epochs : of its training, with those of the model that it started from.
    """

    model: TableClassifier | TableRegressor
    path: Path
    warm_start: bool
    epochs: int

    def reading(self) -> dict[str, Any]:
        """Return the arguments of `read_data` by which new rows are read like the first ones."""
        encoder = self.model.encoder_
        known = (*encoder.column_names_, *self.model.target_names_)
        return {"known": known, "as_text": encoder.text_columns_}

    def labels(self, table: Table) -> Any:
        """Return the labels (n,) of the target; raise DataError for one the model does not know."""
        from gpubp.models.table_estimators import TableClassifier

        assert isinstance(self.model, TableClassifier)
        return self.model.known_labels(table)

    def model_for(
        self, rows: Problem, table: Table, options: Mapping[str, Any], note: Note
    ) -> TableClassifier | TableRegressor:
        """Return the model, ready to be trained on ``rows`` by the options.

        table : all rows, whose columns are compared with those of the model.

        Raises DataError for a column that ``table`` lacks, UsageError for options that contradict
        the model.
        """
        from gpubp.models.fine_tuning import start_anew

        self._compare_columns(table, note)
        self._check_columns(column_choices(options, table, rows.targets))
        model, given = self.model, _given(options)
        asked = {name: options[name] if name in given | _OF_RUN else None for name in options}
        asked |= {name: options[name] for name in _FILLED} | dict.fromkeys(_FIXED)
        asked |= {"members": None, "na": options["na"]}
        run = {"threads": None, "compiled": "auto", "time_limit": None}
        found = run | self._of_other_solver(asked["solver"]) | parameters(rows.task, asked)
        if asked["class_weight"] is not None:
            found["class_weight"] = class_weight(asked["class_weight"], model.classes_)
        self._note_missing_classes(rows, note)
        start_anew(model, **found)
        note(f"starting from the weights of {self.path}, trained for {_epochs(self.epochs)}")
        return model

    def end(self) -> None:
        """Note the start in the trained model."""
        self.model.set_params(warm_start=self.warm_start)
        self.model.network_.set_params(warm_start=self.warm_start)
        self.model.about_["started_from"] = {"model": self.path.name, "epochs": self.epochs}

    def _compare_columns(self, table: Table, note: Note) -> None:
        from gpubp.tables.table import DataError, listed

        encoder = self.model.encoder_
        needed = [encoding.type.name for encoding in encoder.encodings_]
        try:
            table.require(needed)
        except DataError as error:
            one = len([name for name in needed if name not in table.columns]) == 1
            these = "this column, so add it" if one else "these columns, so add them"
            raise DataError(
                f"{error}; {self.path} was trained with {these}, or train without --from"
            ) from None
        known = {*encoder.column_names_, *self.model.target_names_}
        if further := [name for name in table.names if name not in known]:
            what = "a column" if len(further) == 1 else f"{len(further)} columns"
            note(
                f"{table.source} has {what} that {self.path} does not know, {listed(further)}; "
                f"{'it is' if len(further) == 1 else 'they are'} ignored"
            )

    def _check_columns(self, chosen: Mapping[str, tuple[str, ...]]) -> None:
        """Raise UsageError for options that choose other columns than in the first training."""
        from gpubp.tables.table import listed

        for name in COLUMNS:
            before = tuple(getattr(self.model, name) or ())
            if name in chosen and set(chosen[name]) != set(before):
                had = f"with --{name} {listed(before)}" if before else f"without --{name}"
                raise click.UsageError(
                    f"--{name} names {listed(chosen[name])}, but {self.path} was trained {had}, "
                    "and its columns stay; leave the option out, or train without --from"
                )

    def _of_other_solver(self, solver: str | None) -> dict[str, Any]:
        """Return the defaults of the numbers of a solver, if another one was given."""
        from gpubp.backprop.solvers import SOLVER_NUMBERS
        from gpubp.models.table_parameters import defaults
        from gpubp.models.table_recipe import RATES

        before = self.model.network_.solver
        if solver in (None, before):
            return {}
        usual = defaults(type(self.model))
        return {name: usual[name] for name in (*RATES, *SOLVER_NUMBERS) if name in usual}

    def _note_missing_classes(self, rows: Problem, note: Note) -> None:
        import numpy as np

        from gpubp.tables.table import listed

        if rows.labels is None:
            return
        missing = np.setdiff1d(self.model.classes_, rows.labels).tolist()
        if missing:
            note(
                f"no training row is of {listed([str(label) for label in missing])}, which "
                f"{self.path} knows, so the network may forget "
                f"{'this class' if len(missing) == 1 else 'these classes'}"
            )


def started(options: dict[str, Any]) -> Start | None:
    """Return the model of --from, and set the options that it decides; None without --from.

    Raises UsageError for options that contradict the model, ModelFileError for a file that has no
    model of a table.
    """
    if (path := options["start_from"]) is None:
        return None
    model = load_table_model(path, options["device"])
    if getattr(model, "is_multilabel_", False):
        raise click.UsageError(
            f"--from {path} is a multi-label model, which gpubp train cannot continue; load it in "
            "Python, set warm_start=True and call fit"
        )
    _check_same(options, model, path)
    _check_recipe(options, model, path)
    _fill(options, model)
    before = (model.about_.get("started_from") or {}).get("epochs", 0)
    return Start(model, path, bool(model.warm_start), model.n_iter_ + before)


def keep_start(options: dict[str, Any]) -> None:
    """Let the model of an interrupted run be saved next to -o, if that is the model of --from.

    The same command can then go on, since it starts from the same weights.
    """
    path, out = options["start_from"], options["out"]
    if path is not None and is_same(path, out):
        options["out"] = free_name(out, "part")


def _given(options: Mapping[str, Any]) -> set[str]:
    """Return the names of the options that are on the command line or in the file of --config."""
    source = click.get_current_context().get_parameter_source
    return {name for name in options if source(name) not in (ParameterSource.DEFAULT, None)}


def _epochs(count: int) -> str:
    return f"{count:,} epoch{'s' * (count != 1)}"


def _listing(values: Any) -> str:
    return ",".join(map(str, values)) or "none"


def _activation(model: Any) -> Any:
    found = model.network_._of_fit("activation")
    return found if isinstance(found, str) else _listing(found)


def _members(model: Any) -> int:
    from gpubp.models.fine_tuning import count_members

    return count_members(model.network_) or 1


# Options that a model decides, and their values in a model as texts of the command line.
_FIXED: dict[str, Callable[[Any], Any]] = {
    "target": lambda model: _listing(model.target_names_),
    "task": lambda model: model.task,
    "hidden": lambda model: _listing(model.network_._hidden_sizes()),
    "activation": _activation,
    "dtype": lambda model: str(model.network_.coefs_[0].dtype),
    "scaling": lambda model: model.encoder_.scaling,
    "preset": lambda model: model.about_.get("preset") or "plain",
    "members": _members,
}


def _check_same(options: Mapping[str, Any], model: Any, path: Path) -> None:
    """Raise UsageError for a given option that contradicts the model."""
    of_regression = model.task == "regression"
    loss = {"loss": lambda model: model.loss} if of_regression else {}
    numbers = [name for name in _OF_LOSS if of_regression]
    fixed = _FIXED | loss | {name: lambda model, n=name: getattr(model, n) for name in numbers}
    for name in fixed.keys() & _given(options):
        value, theirs = options[name], fixed[name](model)
        asked = _listing(value) if isinstance(value, tuple) else value
        if asked in (theirs, "auto"):
            continue
        raise click.UsageError(
            f"--{name.replace('_', '-')} {asked} contradicts {path}, which has {theirs}; leave the "
            "option out, or train without --from"
        )


def _check_recipe(options: Mapping[str, Any], model: Any, path: Path) -> None:
    """Raise UsageError for options that do not suit the ensemble or the preset of the model."""
    from gpubp.models.fine_tuning import count_members

    rows, solver = options["member_rows"], options["solver"]
    if rows is not None and count_members(model.network_) is None:
        raise click.UsageError(
            f"--member-rows {rows} is for an ensemble, but {path} is one network; leave the option "
            "out, or train without --from"
        )
    if model.about_.get("preset") == "tuned" and solver not in (None, "adamw"):
        raise click.UsageError(
            f"--solver {solver} contradicts {path}, which has preset tuned and so solver adamw; "
            "leave the option out, or train without --from"
        )


def _fill(options: dict[str, Any], model: Any) -> None:
    """Set the options that the model decides, and its solver if none was given."""
    options["target"], options["task"] = model.target_names_, model.task
    options["members"] = _members(model)
    if model.task == "regression":
        options["loss"] = model.loss
    if options["solver"] is None and model.solver != "auto":
        options["solver"] = model.solver
