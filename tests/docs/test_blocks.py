"""Every Python block of the README and the guide runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import sklearn
from sklearn.exceptions import ConvergenceWarning

from gpubp.__main__ import main
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.solvers import SOLVERS
from gpubp.bench.peers import PEERS
from gpubp.bench.quality_peers import PEERS as QUALITY_PEERS
from gpubp.cli import gpubp
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.training.schedules import SCHEDULES
from tests.docs.pages import PAGES, Block, blocks_of

# Packages that gpubp does without; a block that needs one is skipped where it is missing.
# scikit-learn has callbacks from 1.9 on.
OPTIONAL = {
    *("cupy", "distributed", "onnx", "onnxruntime", "optuna", "pandas", "polars", "skl2onnx"),
    "sklearn.callback",
}
TABLES: tuple[dict[str, Any], ...] = (
    *(ACTIVATIONS, LOSSES, PEERS, QUALITY_PEERS, SCHEDULES, SOLVERS),
)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder to run in; entries of tables and scikit-learn's settings are undone."""
    monkeypatch.chdir(tmp_path)
    before = [dict(table) for table in TABLES]
    with sklearn.config_context(), warnings.catch_warnings():
        # A page may train for few epochs on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)


@pages
@pytest.mark.usefixtures("_as_before")
def test_python_blocks_run(page: Path) -> None:
    """The blocks of a page share one namespace, as in a notebook."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    missing = []
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if block.kind != "python":
            continue
        try:
            printed = run_python(block, page, namespace)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            missing.append(f"line {block.line} needs {error.name}")
            continue
        if block.output is not None:
            assert printed == block.output, f"{page.name}, line {block.line}"
    if missing:
        pytest.skip(f"{page.name}: {'; '.join(missing)}")


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    """Run a block, at its line of the page in a traceback; return what it prints."""
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()


def commands_of(page: Path) -> Iterator[tuple[Block, str]]:
    """Yield the lines of a page's shell blocks that call gpubp."""
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if block.kind == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                if found := re.search(r"(?:^|[/| ])(gpubp (?!-).*)", line):
                    yield block, found[1].partition("  #")[0].partition(" | ")[0].strip()


@pages
@pytest.mark.usefixtures("_as_before")
def test_commands_print_what_the_page_shows(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines "..." of a page stand for what it leaves out."""
    for block, line in commands_of(page):
        if block.output is None:
            continue
        assert main(shlex.split(line)[1:]) == 0
        printed, place = capsys.readouterr().out, 0
        for part in re.split(r"(?m)^\.\.\.\n", block.output):
            found = printed.find(part, place)
            assert found >= 0, f"{page.name}, line {block.line}: {line} does not print\n{part}"
            place = found + len(part)


@pages
def test_commands_have_the_options_that_they_are_shown_with(page: Path) -> None:
    for block, line in commands_of(page):
        words = shlex.split(line)[1:]
        command: click.Command = gpubp
        context = click.Context(command)
        while words and isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            if found is None:  # `gpubp bench SUITE` is no group to a reader
                break
            command, words = found, words[1:]
        if words:  # `gpubp bench quality`
            command = getattr(command, "commands", {}).get(words[0], command)
        known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        used = {word.partition("=")[0] for word in words if re.match("--?[a-zA-Z]", word)}
        unknown = used - known - {"-h", "--help"}
        assert not unknown, f"{page.name}, line {block.line}: {line}: {sorted(unknown)}"


def test_an_output_that_differs_is_found() -> None:
    (block, output) = blocks_of("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    assert (block.line, block.output, output.kind) == (2, "2\n", "text")
    assert run_python(block, Path("page.md"), {}) == "1\n"
