"""Options for the target of a training and for its test rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gpubp.cli.options import FiniteRange, Names, Repeatable

F = TypeVar("F", bound=Callable[..., Any])


def choosing_target(command: F) -> F:
    """Add the options --target, --target-file and --task."""
    for option in reversed(
        (
            click.option(
                "--target",
                cls=Repeatable,
                type=Names(),
                help="Columns to predict.  [default: the last column; y of an .npz]",
            ),
            click.option(
                "--target-file",
                type=click.Path(path_type=Path),
                help=".npy file with the targets, if DATA is an .npy.",
            ),
            click.option(
                "--task",
                type=click.Choice(["auto", "classification", "regression"]),
                default="auto",
                show_default=True,
                help="Predict classes or numbers; auto decides by the values of the target.",
            ),
        )
    ):
        command = option(command)
    return command


def test_size_option(command: F) -> F:
    """Add the option --test-size."""
    return click.option(
        "--test-size",
        type=FiniteRange(0, 1, max_open=True),
        default=0.2,
        show_default=True,
        help="Fraction of the rows kept for the test, stratified by class if possible; 0 for no "
        "test.",
    )(command)
