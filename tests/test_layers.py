"""The order of the house: a file imports only files below it; `import gpubp` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import gpubp

ROOT = Path(__file__).parents[1]
# From the bottom up: a file imports only files of the lines above its own.
FLOORS = [
    "version",
    "kernels",
    "kernels.elementwise",
    "kernels.cublas",
    "kernels.gemm_call",
    "kernels.gemm",
    "kernels.activations",
    "kernels.epilogues",
    "kernels.hashing",
    "kernels.host_exp",
    "kernels.host_compiler",
    "kernels.gather",
    "kernels.losses",
    "kernels.*",
    "arrays",
    "tape",
    "numpy_backend",
    "host_blas",
    "compiled_backend",
    "cuda_graph",
    "cuda_products",
    "cuda_engine",
    "cupy_backend",
    "backend",
    "dropout",
    "network",
    "parameters",
    "losses",
    "own_losses",
    "optimizers",
    "plan_cache",
    "schedules",
    "recipe",
    "history",
    "stopping",
    "interchange",
    "rows",
    "batches",
    "inference",
    "clipping",
    "batch_gradient",
    "trainer",
    "streaming",
    "fit_memory",
    "loop",
    "validation",
    "lbfgs",
    "fit",
    "atomic_file",
    "model_file",
    "standardizer",
    "columns",
    "csv_file",
    "table",
    "schema",
    "class_weights",
    "device_rows",
    "fitted_attributes",
    "callbacks",
    "scoring",
    "fit_listeners",
    "held_rows",
    "target_scaling",
    "quantiles",
    "hyperparameters",
    "fitting",
    "estimator_docs",
    "classifier",
    "regressor",
    "estimator_record",
    "fitted_network",
    "models",
    "saving",
    "report",
    "page",
    "explain.example",
    "explain.loss_landscape",
    "explain.trace",
    "explain.gradient_check",
    "explain",
    "explain.examples",
    "explain.trained_model",
    "search",
    "search.methods",
    "search.backpropagation",
    "search.comparison",
    "search.text",
    "search.report",
    "search.figure",
    "search.page",
    "explain.text",
    "explain.values",
    "explain.quantities",
    "explain.markup",
    "explain.layout",
    "explain.figure",
    "explain.stage",
    "explain.script",
    "explain.curves",
    "explain.forward",
    "explain.backward",
    "explain.page",
    "gpubp",
    "bench",
    "bench.datasets",
    "bench.machine",
    "bench.usage",
    "bench.results",
    "bench.timing",
    "bench.workloads",
    "bench.isolation",
    "bench.peers.protocol",
    "bench.peers.learners",
    "bench.peers.torch_parts",
    "bench.peers.ours",
    "bench.peers.*",
    "bench.peers",
    "bench.ceilings",
    "bench.trainings",
    "bench.first_device",
    "bench.kernel_twins",
    "bench.cases",
    "bench.suite",
    "bench.floor",
    "bench.measurement",
    "bench.saved_runs",
    "bench.ratios",
    "bench.runner",
    "bench.report",
    "bench.gpu",
    "bench.comparison",
    "bench.charts",
    "bench.page",
    "bench.readme",
    "cli.options",
    "cli.signals",
    "cli.*",  # a command may import another
    "cli",
    "__main__",
]
HEAVY = {"numpy", "sklearn", "scipy", "cupy", "safetensors"}
MAY_IMPORT_CUPY = (
    *("gpubp.backend", "gpubp.cupy_backend", "gpubp.interchange", "gpubp.parallel"),
    *("gpubp.kernels.", "gpubp.bench."),
)

FILES = [(ROOT / "gpubp", path) for path in (ROOT / "gpubp").rglob("*.py")]
FILES += [(ROOT, path) for top in ("kernels", "bench") for path in (ROOT / top).rglob("*.py")]
PATHS = {
    ".".join(("gpubp", *path.relative_to(folder).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for folder, path in sorted(FILES)
}


def _floor(module: str) -> int:
    name = module.removeprefix("gpubp.")
    exact = [name] if name in FLOORS else [entry for entry in FLOORS if fnmatch(name, entry)]
    if not exact:
        pytest.fail(f"{module} has no place yet: put it into FLOORS, below all that it imports")
    return FLOORS.index(exact[0])


def _imports(module: str) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, and whether it does so inside a function."""
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


@pytest.mark.parametrize("module", PATHS)
def test_a_file_imports_only_files_below_it(module: str) -> None:
    floor = _floor(module)
    for imported, _ in _imports(module):
        top = imported.partition(".")[0]
        assert top not in ("kernels", "bench", "tests"), f"{module} imports {imported}"
        if top == "gpubp":
            below = _floor(imported)
            neighbours = FLOORS[floor] == "cli.*" and below == floor
            assert below < floor or neighbours, f"{module} imports {imported}, which is above it"


@pytest.mark.parametrize("module", PATHS)
def test_cupy_is_imported_by_the_device_side_alone_inside_functions(module: str) -> None:
    for imported, inside in _imports(module):
        if imported.partition(".")[0] == "cupy":
            assert inside, f"{module} imports cupy when it is loaded"
            assert module.startswith(MAY_IMPORT_CUPY), f"{module} imports cupy"


def test_every_floor_is_used() -> None:
    used = {_floor(module) for module in PATHS}
    assert [entry for floor, entry in enumerate(FLOORS) if floor not in used] == []


def test_the_entry_modules_load_nothing_heavy() -> None:
    entries = [name for name in PATHS if f"{name}.".startswith(("gpubp.cli.", "gpubp.__main__."))]
    assert {"gpubp.__main__", "gpubp.cli", "gpubp.cli.train"} <= set(entries)
    program = f"""
import importlib, sys
for name in {["gpubp", *entries]!r}:
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
