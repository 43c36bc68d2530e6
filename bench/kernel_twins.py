"""Compares every elementwise kernel with its NumPy twin, on the cases of the checkout's tests.

The kernels run through a backend, as in training. The comparison is that of the tests: the error is
at most 8 eps of each output's scale, and outputs are filled with wrong values before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import gpubp
from gpubp.backends.select import get_backend
from gpubp.bench.results import Row, Rows, SkippedError

TEST_MODULES = ("tests.cuda_stand_in.kernels", "tests.kernels.cases", "tests.kernels.checks")
SANITIZER = "compute-sanitizer"
# Set for the sanitizer, which cannot see a write past an array inside CuPy's memory pool.
NO_POOL = "GPUBP_BENCH_NO_MEMORY_POOL"


def rows(device: str) -> Rows:
    """Return the function that checks each kernel, by name."""
    try:
        host_kernels, cases, checks = map(_of_tests, TEST_MODULES)
    except ImportError as error:
        return {"all kernels": partial(_unavailable, device, str(error))}
    steps = host_kernels.all_steps()
    each = {
        name: partial(_check, device, step, cases, checks, host_kernels.outputs_of)
        for name, step in steps.items()
    }
    return {**each, SANITIZER: partial(_sanitize, device, list(steps))}


def _of_tests(name: str) -> ModuleType:
    """Return the module ``name`` of the checkout's tests."""
    folder = str(Path(gpubp.__file__).parents[1])
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module(name)


def _unavailable(device: str, why: str) -> Row:
    """Skip the kernels on the CPU; fail on a GPU, where they would remain unchecked."""
    message = f"the cases of tests/ do not load: {why}; run from the root of a checkout"
    raise SkippedError(message) if device == "cpu" else RuntimeError(message)


def _check(device: str, step: Any, cases: Any, checks: Any, outputs_of: Any) -> Row:
    """Compare one kernel with its twin on all its cases."""
    backend = get_backend(device)
    if os.environ.get(NO_POOL):
        import cupy

        cupy.cuda.set_allocator(None)
    found = cases.cases_of(step)

    def check(case: Any) -> None:
        values = checks.on_device(backend, case.values())
        with np.errstate(all="ignore"):
            case.call(backend.run, step, values)
        got = {name: backend.to_numpy(values[name]) for name in outputs_of(step)}
        case.check(step, got, case.expected(step))

    with backend.in_use(None, 0):
        checks.check_each(found, check)
    return Row(step.name, device=device, figures={"cases": len(found)})


def _sanitize(device: str, names: list[str]) -> Row:
    """Run all kernels under compute-sanitizer, which finds accesses outside of arrays."""
    sanitizer = shutil.which(SANITIZER)
    if device == "cpu" or sanitizer is None:
        raise SkippedError(f"needs a CUDA device and {SANITIZER}")
    options = ["--tool", "memcheck", "--error-exitcode", "9"]
    child = [sys.executable, "-m", "gpubp.bench.isolation", __name__, device, *names]
    environment = os.environ | {NO_POOL: "1"}
    done = subprocess.run(
        [sanitizer, *options, *child], env=environment, capture_output=True, text=True, check=False
    )
    errors = [line for line in (done.stdout + done.stderr).splitlines() if "=========" in line]
    if done.returncode or '"failed"' in done.stdout:
        raise RuntimeError(f"code {done.returncode}: {' '.join(errors[:4])}")
    return Row(SANITIZER, device=device, figures={"kernels": len(names)})
