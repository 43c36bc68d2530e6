"""The order of the folders: one imports only folders below it; `import gpubp` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gpubp

ROOT = Path(__file__).parents[1]
# From the bottom up: a folder imports only itself and the folders before it in this list.
FOLDERS = [
    *(
        "version",
        "settings",
        "logger",
        "kernels",
        "backends",
        "distributed",
        "backprop",
        "training",
        "storage",
    ),
    *("estimators", "tables", "models", "selection", "reports", "explain", "bench", "cli"),
    *("losses", "__main__"),  # an alias of backprop.losses, and the command
]
HEAVY = {"numpy", "sklearn", "scipy", "cupy", "safetensors"}
MAY_IMPORT_CUPY = ("gpubp.backends.", "gpubp.distributed.", "gpubp.kernels.", "gpubp.bench.")

FILES = [(ROOT / "gpubp", path) for path in (ROOT / "gpubp").rglob("*.py")]
FILES += [(ROOT, path) for top in ("kernels", "bench") for path in (ROOT / top).rglob("*.py")]
PATHS = {
    ".".join(("gpubp", *path.relative_to(folder).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for folder, path in sorted(FILES)
}


def _folder(module: str) -> str:
    return module.split(".")[1]


def _imports(module: str) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, for its annotations too, and whether inside a function."""
    path = PATHS[module]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            source = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                yield _source_of(source, alias.name), id(node) in inside


def _source_of(module: str, name: str) -> str:
    """The module that `from module import name` takes the name from."""
    if f"{module}.{name}" in PATHS:
        return f"{module}.{name}"
    return gpubp._PUBLIC.get(name, module) if module == "gpubp" else module


def _imports_of_ours(module: str) -> set[str]:
    """The modules of gpubp that a file imports; not gpubp itself, whose names are lazy."""
    imported = {name for name, _ in _imports(module)} - {"gpubp"}
    for name in imported:
        assert name.partition(".")[0] not in ("kernels", "bench", "tests"), f"imports {name}"
    return {name for name in imported if name.startswith("gpubp.")}


@pytest.mark.parametrize("module", [module for module in PATHS if module != "gpubp"])
def test_a_folder_imports_only_folders_below_it(module: str) -> None:
    folder = _folder(module)
    if folder not in FOLDERS:
        pytest.fail(f"{module} is in no folder of FOLDERS: move it, or add its folder to FOLDERS")
    for imported in _imports_of_ours(module):
        below = FOLDERS.index(_folder(imported)) <= FOLDERS.index(folder)
        assert below, f"{module} imports {imported}, which is above it"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_files_of_a_folder_import_each_other_in_a_circle(folder: str) -> None:
    files = [module for module in PATHS if module != "gpubp" and _folder(module) == folder]
    assert files, f"{folder} has no files: take it out of FOLDERS"
    try:
        TopologicalSorter({module: _imports_of_ours(module) for module in files}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", PATHS)
def test_cupy_is_imported_by_the_device_side_alone_inside_functions(module: str) -> None:
    for imported, inside in _imports(module):
        if imported.partition(".")[0] == "cupy":
            assert inside, f"{module} imports cupy when it is loaded"
            assert module.startswith(MAY_IMPORT_CUPY), f"{module} imports cupy"


def test_the_entry_modules_load_nothing_heavy() -> None:
    entries = [name for name in PATHS if f"{name}.".startswith(("gpubp.cli.", "gpubp.__main__."))]
    assert {"gpubp.__main__", "gpubp.cli", "gpubp.cli.train"} <= set(entries)
    program = f"""
import importlib, sys
for name in {["gpubp", "gpubp.losses", *entries]!r}:
    importlib.import_module(name)
    loaded = {HEAVY!r} & set(sys.modules)
    if loaded:
        sys.exit(f"importing {{name}} loads {{sorted(loaded)}}")
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_public_modules_have_their_names() -> None:
    from gpubp import explain, losses
    from gpubp.backprop.losses import LOSSES
    from gpubp.kernels.regression_losses import SQUARED_ERROR

    assert losses.LOSSES is LOSSES
    assert "LOSSES" in dir(losses)
    assert SQUARED_ERROR.name
    assert explain.trace_step
