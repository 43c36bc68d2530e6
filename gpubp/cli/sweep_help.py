"""The help of `gpubp sweep`, and the error for options of the network, which the space has."""

from __future__ import annotations

import click

from gpubp.cli.options import OPTIONS_MEANT
from gpubp.cli.train_help import GroupedCommand
from gpubp.cli.train_parameters import PARAMETERS

GROUPS = {
    "Search": (
        *("trials", "cv", "space", "print_space", "sampler", "scoring", "time_limit", "resume"),
        *("test_size", "seed"),
    ),
    "Table": (
        *("target", "task", "delimiter", "decimal", "encoding", "no_header", "na", "query"),
        "target_file",
    ),
    "Columns": ("drop", "features", "categorical", "numeric", "date", "scaling"),
    "Output": ("out", "csv", "html", "report", "quiet", "as_json", "config", "help"),
    "Workers": ("jobs", "backend", "scheduler"),
    "Device": ("device", "threads"),
}


class SweepCommand(GroupedCommand):
    """A command with the options of `gpubp sweep`."""

    groups = GROUPS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; for a hyperparameter, the error refers to the space."""
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-")
            option = OPTIONS_MEANT.get(name.replace("_", "-"), (name,))[0].replace("-", "_")
            if option not in PARAMETERS:
                raise
            raise click.UsageError(
                f"No such option --{name}; set {PARAMETERS[option]} in the file of --space", ctx
            ) from None
        return rest
