"""The commands of gpubp, one thin file each, loaded when they are called."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

import click

from gpubp.version import __version__

# Kept here, so that `gpubp --help` loads no command.
COMMANDS = {
    "train": "Train a network on a table.",
    "predict": "Predict the rows of a table with a trained model.",
    "evaluate": "Score a trained model on a table with known targets.",
    "inspect": "Show what a model file holds.",
    "explain": "Show every number of a step of backpropagation.",
    "search": "Compare searches for the weights with backpropagation.",
    "bench": "Measure how fast gpubp and its peers are on this machine.",
    "doctor": "Tell what would run where, and what is missing.",
    "cache": "Show or empty the cache of compiled steps.",
}


class LazyGroup(click.Group):
    """A group that imports a command's file only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of use."""
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
        """Return the command that the arguments begin with; UsageError gives the nearest name."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name.lower(), COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"give one of {', '.join(COMMANDS)}"
            ctx.fail(f"No such command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="gpubp %(version)s")
def gpubp() -> None:
    """Train multilayer perceptrons by explicit backpropagation, on the CPU or an NVIDIA GPU."""
