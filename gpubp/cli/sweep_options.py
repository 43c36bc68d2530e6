"""Checks and conversions of the options of `gpubp sweep`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from gpubp.cli.train_model import Problem
    from gpubp.models.table_estimators import TableClassifier, TableRegressor

SAMPLERS = ("random", "grid", "halving", "tpe")


def check_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError for options that contradict each other whatever the data are."""
    from importlib.util import find_spec

    sampler, scoring = options["sampler"], options["scoring"]
    if sampler == "tpe" and find_spec("optuna") is None:
        raise click.UsageError(
            "--sampler tpe needs optuna, which is not installed; run pip install 'gpubp[sweep]', "
            "or choose another sampler"
        )
    if sampler == "grid":
        context = click.get_current_context()
        if context.get_parameter_source("trials") is not ParameterSource.DEFAULT:
            raise click.UsageError(
                "--sampler grid tries all combinations, so --trials has no effect; leave it out, "
                "or use --sampler random"
            )
        if options["space"] is None:
            raise click.UsageError(
                "--sampler grid needs lists of values, but the built-in space has ranges; give "
                "lists with --space, or use another sampler"
            )
    if scoring is not None:
        _check_scoring(scoring)


def _check_scoring(name: str) -> None:
    from sklearn.metrics import get_scorer_names

    names = get_scorer_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "such as accuracy or r2"
        raise click.UsageError(f"--scoring {name!r} is not a scorer of scikit-learn; {hint}")


def read_space(path: Path | None) -> dict[str, Any]:
    """Return the values of a space in a TOML file, or of the built-in one; names are checked.

    Raises UsageError if the file cannot be read or used.
    """
    from gpubp.models.table_estimators import TableClassifier, TableRegressor
    from gpubp.selection.default_space import DEFAULT_SPACE
    from gpubp.selection.space import check_names, parsed

    if path is None:
        return parsed(DEFAULT_SPACE)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"--space {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"--space {path} is not text in UTF-8") from None
    with space_errors(path):
        values = parsed(text)
        check_names(values, [TableClassifier(), TableRegressor()])
    return values


@contextmanager
def space_errors(path: Path | None) -> Iterator[None]:
    """Turn a SpaceError into a UsageError that names the file."""
    from gpubp.selection.space import SpaceError

    try:
        yield
    except SpaceError as error:
        raise click.UsageError(f"{path or 'the built-in space'}: {error}") from None


def estimator_of(
    options: Mapping[str, Any], task: str, columns: Mapping[str, Sequence[str]]
) -> TableClassifier | TableRegressor:
    """Return the estimator of which each trial is a copy with other parameters."""
    from gpubp.models.table_estimators import TableClassifier, TableRegressor

    given = {"random_state": options["seed"], "device": options["device"], **columns}
    given["preset"] = "plain"  # the built-in space is made for it; a space may have another
    given |= {
        name: options[name] for name in ("threads", "na", "scaling") if options[name] is not None
    }
    model: TableClassifier | TableRegressor
    model = TableClassifier(**given) if task == "classification" else TableRegressor(**given)
    return model


def splitter_of(rows: Problem, options: Mapping[str, Any]) -> Any:
    """Return the splitter of the cross-validation: shuffled, and stratified by class.

    Raises UsageError if there are too few rows for the folds.
    """
    import numpy as np
    from sklearn.model_selection import KFold, StratifiedKFold

    folds, n = options["cv"], len(rows)
    if folds > n:
        raise click.UsageError(f"--cv {folds} needs {folds} rows, but there are {n} to train on")
    if rows.labels is None:
        return KFold(folds, shuffle=True, random_state=options["seed"])
    counts = np.unique(rows.labels, return_counts=True)[1]
    if len(counts) == 1:
        raise click.UsageError(
            "the rows to train on have only one class; add rows of other classes"
        )
    if folds > counts.max():
        raise click.UsageError(
            f"--cv {folds} needs a class with {folds} rows, but the largest has {counts.max()}; "
            "give a smaller --cv"
        )
    return StratifiedKFold(folds, shuffle=True, random_state=options["seed"])
