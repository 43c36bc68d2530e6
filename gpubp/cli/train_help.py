"""The help of `gpubp train`, with options grouped by heading; the error for a second table."""

from __future__ import annotations

from typing import Any, ClassVar

import click

from gpubp.cli.options import OPTIONS_MEANT
from gpubp.cli.table_options import TableCommand

# The options under each heading, the most often needed first. All other options are
# hyperparameters of a solver, schedule or loss; they come last, under LAST.
GROUPS = {
    "Table": (
        *("target", "task", "delimiter", "decimal", "encoding", "no_header", "na", "query"),
        *("target_file", "memory"),
    ),
    "Columns": ("drop", "features", "categorical", "numeric", "date", "scaling"),
    "Network": ("hidden", "activation", "dropout", "alpha"),
    "Training": (
        *("preset", "time_limit", "test_size", "validation_size", "class_weight", "epochs"),
        *("lr", "batch_size", "patience", "scoring", "loss", "solver", "schedule", "members"),
        *("member_rows", "start_from", "seed"),
    ),
    "Output": (
        *("out", "report", "history", "checkpoint_every", "resume", "quiet", "as_json", "config"),
        "help",
    ),
    "Device": (
        "device",
        "threads",
        "dtype",
        "precision",
        "compiled",
        "no_record",
        "comm",
        "reproducible",
    ),
}
LAST = "Hyperparameters of a solver, schedule or loss"


class GroupedCommand(click.Command):
    """A command whose help has its options under headings.

    groups : names of options by heading. last : the heading of all others; "" if there are none.
    """

    groups: ClassVar[dict[str, tuple[str, ...]]] = {}
    last: ClassVar[str] = ""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        records = {
            # click's own name of --help depends on its version.
            "help" if "--help" in param.opts else str(param.name): record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)  # an argument is described in the text above
            and (record := param.get_help_record(ctx)) is not None
        }
        for heading, names in self.groups.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names if name in records])
        if records:
            with formatter.section(self.last):
                formatter.write_dl(list(records.values()))


class TrainCommand(GroupedCommand, TableCommand):
    """A command with the options of `gpubp train`."""

    groups = GROUPS
    last = LAST

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; raise UsageError, with advice, for a second table."""
        ctx.allow_extra_args = True  # click's own error has no advice
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            meant = OPTIONS_MEANT.get(error.option_name.lstrip("-").replace("_", "-"), ())
            if not meant:
                raise
            hint = f"did you mean {' or '.join(f'--{name}' for name in meant)}?"
            raise click.UsageError(f"No such option {error.option_name}; {hint}", ctx) from None
        if ctx.args and not ctx.resilient_parsing:
            raise click.UsageError(_of_more_tables(ctx.args[0], ctx.params), ctx)
        return rest


def _of_more_tables(other: str, params: dict[str, Any]) -> str:
    return (
        f"train takes one table, got {str(params.get('data'))!r} and {other!r}; to score the "
        f"trained model on {other!r}, run gpubp evaluate {params.get('out')} {other}; to train on "
        "several files, give a pattern such as 'data/*.csv'"
    )
