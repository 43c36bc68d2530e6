"""Shell completion: names of data sets, examples and suites, and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


class NameOrFile(click.ParamType):  # type: ignore[type-arg]
    """A name from a list or the path of a file; the value is not checked.

    names : function that returns the names; called only to complete, since it may import a lot.
    suffixes : suffixes of the files to complete.
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
        """Return the names and the files that begin with ``incomplete``."""
        names = [name for name in self._names() if name.startswith(incomplete)]
        if not names:
            return [CompletionItem(incomplete, type="file")]
        # Bash ignores an item of type "file" next to names, so files are given as names.
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

    return [*suite_names(), "compare", "quality"]


TABLES = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".gz", ".zst", ".npz", ".npy")
DATA = NameOrFile(_datasets, *TABLES)
EXAMPLE = NameOrFile(_examples, ".toml")
SUITE = NameOrFile(_suites, ".toml")
