"""`gpubp doctor`: the devices and libraries found on this machine, and what is missing."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

import click

from gpubp.backends.blas_threads import usable_cores
from gpubp.bench.machine import VARIABLES, card, installed
from gpubp.cli.scaling_options import refuse_without_scaling, scaling_options
from gpubp.settings import VARIABLES as SETTINGS
from gpubp.settings import SettingError, default_device

if TYPE_CHECKING:
    from gpubp.backends.protocol import Backend
    from gpubp.backends.select import BackendUnavailableError

PACKAGES = ("numpy", "scikit-learn", "safetensors", "click", "rich")
CUPY_PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "cupy")


@click.command()
@click.option("--verbose", is_flag=True, help="Also count the calls of one training step.")
@scaling_options
@click.pass_context
def doctor(ctx: click.Context, /, verbose: bool, scaling: bool, **options: Any) -> None:
    """Show the devices and libraries found on this machine, and what is missing."""
    if scaling:
        from gpubp.cli.scaling_run import report_scaling

        report_scaling(**options)
        return
    refuse_without_scaling(ctx)
    lines = [*_machine(), *_blas(), *_settings(), *_compiled(), *_cuda(), _onnx()]
    for name, text in [*lines, *(_steps() if verbose else [])]:
        click.echo(f"{name:<15} {text}")


def _settings() -> list[tuple[str, str]]:
    """Return the environment variables of gpubp, each with its value, default or error."""
    lines = []
    for name, (read, without) in SETTINGS.items():
        try:
            read()
            text = os.environ.get(name) or f"(unset: {without})"
        except SettingError as error:
            text = f"wrong: {error}"
        lines.append((name, text))
    return lines


def _machine() -> list[tuple[str, str]]:
    from gpubp import __version__

    packages = ", ".join(f"{name} {installed(name) or '(missing)'}" for name in PACKAGES)
    return [
        ("gpubp", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("packages", packages),
        ("cpu", _counted(usable_cores(), "cores")),
    ]


def _blas() -> list[tuple[str, str]]:
    import numpy  # noqa: F401 (loads the BLAS library that is shown)
    from threadpoolctl import threadpool_info

    lines = [
        ("blas", f"{p['internal_api']} {p['version']}, {threads}, {kernels}")
        for p in threadpool_info()
        if p["user_api"] == "blas"
        for threads in [_counted(p["num_threads"], "threads")]
        for kernels in [p.get("architecture", "kernels unknown")]
    ]
    variables = [name for name in VARIABLES if name in os.environ and name not in SETTINGS]
    return lines + [(name, os.environ[name]) for name in variables]


def _compiled() -> list[tuple[str, str]]:
    from gpubp.backends.select import COMPILED_CROSSOVER, BackendUnavailableError, get_backend
    from gpubp.kernels.host.cache import open_cache
    from gpubp.kernels.host.compiler import CompilerError, compiler_version
    from gpubp.settings import SettingError, default_compiled

    try:
        version, default = compiler_version(), default_compiled()
        get_backend("cpu", compiled=True)
        cache = open_cache()
    except (BackendUnavailableError, CompilerError, SettingError) as error:
        return [("compiled", str(error))]
    kept = f"kept in {cache.folder}" if cache.is_writable else f"not kept ({cache.reason})"
    large = f"trainings of {COMPILED_CROSSOVER:,} multiply-adds per epoch or more"
    return [("compiled", f"{'all trainings' if default else large}, by {version}; {kept}")]


def _onnx() -> tuple[str, str]:
    """Return the packages of `gpubp export`, and how to install a missing one."""
    found = {name: installed(name) for name in ("onnx", "onnxruntime")}
    text = ", ".join(f"{name} {version or '(missing)'}" for name, version in found.items())
    lacks = "" if all(found.values()) else " (for gpubp export: pip install 'gpubp[onnx]')"
    return "onnx", text + lacks


def _cuda() -> list[tuple[str, str]]:
    from gpubp.backends.select import CUDA_CROSSOVER, BackendUnavailableError, get_backend

    lines = [("cupy", _cupy(_cupy_packages()))]
    try:
        backend = get_backend("cuda")
    except BackendUnavailableError as error:
        clone = "(in a clone: pip install '.[cuda12]' or '.[cuda13]')"
        lines += [("cuda", _problem(error)), ("", clone)]
        return [*lines, ("auto", _auto("everything runs on the CPU"))]
    by_size = f"CUDA from batch rows x parameters = {CUDA_CROSSOVER:,}, else the CPU"
    return [*lines, (backend.name, _card(backend)), ("auto", _auto(by_size))]


def _card(backend: Backend) -> str:
    """Return the name, compute capability and memory of a CUDA device, and its restrictions."""
    found = card(backend.name)
    free, total = backend.memory().free or 0, backend.memory().total or 0
    _, _, restriction = backend.reason.partition("; ")
    return (
        f"{found['name']}, compute capability {found['compute_capability']}, "
        f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        + (f"; {restriction}" if restriction else "")
    )


def _cupy_packages() -> dict[str, str]:
    """Return the version of each CuPy package that is installed."""
    return {name: version for name in CUPY_PACKAGES if (version := installed(name))}


def _cupy(found: dict[str, str]) -> str:
    """Return the CuPy packages with their versions, and what to do if there are several."""
    text = ", ".join(f"{name} {version}" for name, version in found.items()) or "(missing)"
    if len(found) < 2:
        return text
    # They write to one folder, so that uninstalling one also breaks the other.
    number = {2: "two", 3: "three"}[len(found)]
    return (
        f"{text}: {number} CuPy packages; uninstall them all "
        f"(pip uninstall {' '.join(found)}), then install one"
    )


def _problem(error: BackendUnavailableError) -> str:
    """Return why CUDA cannot be used; a CuPy that is there but fails to import is named."""
    cause, found = error.__cause__, list(_cupy_packages())
    if not isinstance(cause, ImportError) or len(found) != 1:
        return str(error)
    (name,) = found
    # CuPy wraps the error of its parts in a page of advice.
    first = cause.__cause__ or cause
    reason = " ".join(str(first).split()) or type(first).__name__
    return (
        f"{name} is installed but cannot be imported: {reason}; "
        f"pip install --force-reinstall {name}"
    )


def _auto(by_size: str) -> str:
    """Return the device of device="auto": that of GPUBP_DEVICE if set, else ``by_size``."""
    from gpubp.backends.select import BackendUnavailableError, get_backend

    try:
        device = default_device()
        if device not in ("auto", "cpu"):
            get_backend(device)
    except SettingError as error:
        return str(error)
    except BackendUnavailableError as error:
        reason, _, _ = _problem(error).partition(";")  # the line "cuda" has the remedy
        return f"{device}, by GPUBP_DEVICE, but it cannot be used: {reason}"
    if device == "auto":
        return by_size
    return f"{device}, by GPUBP_DEVICE"


def _steps() -> list[tuple[str, str]]:
    """Return the calls of one training step on each device."""
    from gpubp.backends.compiled_backend import CompiledBackend
    from gpubp.backends.select import BackendUnavailableError, get_backend

    lines = []
    for device, compiled in (("cpu", False), ("cpu", True), ("cuda", False)):
        try:
            backend = get_backend(device, compiled=compiled)
        except (BackendUnavailableError, SettingError):
            continue
        if compiled and not isinstance(backend, CompiledBackend):  # GPUBP_COMPILED=0
            continue
        lines.append(("compiled" if compiled else f"step {backend.name}", _calls(backend)))
        if isinstance(backend, CompiledBackend):
            lines.append(("", _tiles(backend.tiles, backend.not_cut)))
    return lines


def _calls(backend: Backend) -> str:
    """Return the calls of one step of a small network: CUDA kernels, or NumPy functions."""
    import numpy as np

    from gpubp.backprop.losses import LOSSES
    from gpubp.backprop.network import Network
    from gpubp.training.data import TrainingData
    from gpubp.training.fit import fit
    from gpubp.training.recipe import Recipe

    X, y = np.zeros((256, 64), np.float32), np.zeros(256, np.int32)
    network, recipe = Network((64, 128, 128, 10), ("relu", "relu")), Recipe(1, 256, alpha=1e-4)
    loss = LOSSES["softmax_cross_entropy"]
    launches = fit(backend, network, loss, TrainingData(X, y, y, None), recipe).launches
    each = ", ".join(_counted(count, name) for name, count in launches.items() if count)
    return f"64-128-128-10, batch 256: {_counted(sum(launches.values()), 'calls')} ({each})"


def _tiles(tiles: list[int], not_cut: str) -> str:
    """Return how many tiles each phase of a compiled step has, and which steps have none."""
    from gpubp.backends.step_recorder import MOST_SUMMED

    if not tiles:
        return f"call by call, since {not_cut}"
    phases = ", then ".join(str(count) for count in tiles)
    return (
        f"in tiles: {phases}; call by call for sparse X, batches of more than {MOST_SUMMED:,} rows "
        "and losses that are Python functions"
    )


def _counted(count: int, names: str) -> str:
    return f"{count} {names.removesuffix('s') if count == 1 else names}"
