"""The commands of gpubp: one file per command, imported only when the command runs."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

import click

from gpubp.version import __version__

# Kept here, so that `gpubp --help` loads no command.
COMMANDS = {
    "train": "Train a network on a table.",
    "sweep": "Search the hyperparameters of a model for a table.",
    "predict": "Predict the rows of a table with a trained model.",
    "evaluate": "Score a trained model on a table with known targets.",
    "inspect": "Show the contents of a model file.",
    "convert": "Write a table to a Parquet file, in bounded memory.",
    "export": "Write a model as an ONNX file, which runs without gpubp.",
    "explain": "Show every number of one step of backpropagation.",
    "search": "Compare simple weight searches with backpropagation.",
    "bench": "Compare the speed and the scores of gpubp and other libraries.",
    "doctor": "Show the devices and libraries found, and what is missing.",
    "cache": "Show or empty the cache of compiled steps.",
}


class LazyGroup(click.Group):
    """A group that imports the file of a command only to run it or to show its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments as they were given, for reports, and parse them."""
        ctx.meta["arguments"] = tuple(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order in which they are usually needed."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"gpubp.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command named by the first argument.

        Raises UsageError, with the most similar name, for an unknown command.
        """
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name.lower(), COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"give one of {', '.join(COMMANDS)}"
            ctx.fail(f"No such command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing their files."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="gpubp %(version)s")
def gpubp() -> None:
    """Train multilayer perceptrons by explicit backpropagation, on the CPU or an NVIDIA GPU."""
