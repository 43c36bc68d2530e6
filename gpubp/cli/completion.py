"""What a shell completes: data sets, examples and suites by name, and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


class NameOrFile(click.ParamType):  # type: ignore[type-arg]
    """Text that is one of some names or the path of a file, unchecked.

    names : returns the names; called for a completion only, as it may load much.
    suffixes : of the files.
    """

    name = "text"

    def __init__(self, names: Callable[[], Sequence[str]], *suffixes: str) -> None:
        self._names, self._suffixes = names, suffixes

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return ``value`` as text."""
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names, and with them the files, that begin so."""
        names = [name for name in self._names() if name.startswith(incomplete)]
        if not names:
            return [CompletionItem(incomplete, type="file")]
        # Of names and files in one answer, bash completes the names alone; so files go by name.
        files = sorted(
            path.name + "/" * path.is_dir()
            for path in Path().iterdir()
            if path.name.startswith(incomplete or path.name.lstrip("."))
            and (path.is_dir() or path.suffix.lower() in self._suffixes)
        )
        return [CompletionItem(name) for name in [*names, *files]]


def _datasets() -> Sequence[str]:
    from gpubp.tables.read import DATASETS

    return DATASETS


def _examples() -> Sequence[str]:
    from gpubp.explain.examples import EXAMPLES

    return list(EXAMPLES)


def _suites() -> Sequence[str]:
    from gpubp.bench.suite import suite_names

    return [*suite_names(), "compare"]


TABLES = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".gz", ".zst", ".npz", ".npy")
DATA = NameOrFile(_datasets, *TABLES)
EXAMPLE = NameOrFile(_examples, ".toml")
SUITE = NameOrFile(_suites, ".toml")
