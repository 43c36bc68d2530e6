"""The pool of workers: the same bits for any number, forks, several fits at a time, interrupts.

Each test starts a process of its own: this one may run with one BLAS thread.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cuda_stand_in.kernels import skip_without_compiler

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
]

COMMON = """
import hashlib, os, sys, threading, time, warnings
import numpy as np
from gpubp import MLPClassifier, MLPRegressor
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X, y = rng.normal(size=(700, 40)), rng.integers(0, 5, 700)

def trained(threads=2, dtype="float32", epochs=3, hidden=(90, 50), cls=MLPClassifier, **options):
    model = cls(hidden_layer_sizes=hidden, max_iter=epochs, dtype=dtype, threads=threads,
                random_state=0, compiled=True, device="cpu", **options)
    return model.fit(X.astype(dtype), y)

def digest(model):
    arrays = [*model.coefs_, *model.intercepts_, np.array(model.loss_curve_)]
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]
"""


@pytest.fixture(autouse=True)
def _compiler() -> None:
    skip_without_compiler()


def started(script: str, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    environment.pop("GPUBP_THREADS", None)
    command = [sys.executable, "-c", COMMON + script]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes, **options)


def printed(script: str) -> list[str]:
    process = started(script)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.split()


def test_the_bits_do_not_depend_on_threads_or_load() -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        digests = printed(
            """
for dtype in ("float32", "float64"):
    for options in ({}, {"clip_norm": 0.1, "dropout": 0.2}, {"cls": MLPRegressor, "hidden": (64,)}):
        print(len({digest(trained(threads, dtype, **options)) for threads in (1, 2, 3)}))
print(digest(trained()))
"""
        )
    finally:
        for each in busy:
            each.kill()
            each.wait()
    *different, beside = digests
    assert different == ["1"] * 6
    assert printed("print(digest(trained()))") == [beside]


def test_a_child_that_is_forked_during_a_fit_trains() -> None:
    assert printed(
        """
expected = digest(trained())
def fits():
    while not done:
        trained()
done, thread = [], threading.Thread(target=fits)
thread.start()
codes = []
for _ in range(8):
    time.sleep(0.01)
    if (child := os.fork()) == 0:
        os._exit(digest(trained()) != expected)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.append(1)
thread.join()
print(codes == [0] * 8, digest(trained()) == expected)
"""
    ) == ["True", "True"]


def test_fits_in_several_threads_give_the_same_bits() -> None:
    assert printed(
        """
expected, found = digest(trained()), []
threads = [threading.Thread(target=lambda: found.append(digest(trained()))) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(found == [expected] * 4)
"""
    ) == ["True"]


def test_fits_in_processes_of_joblib_give_the_same_bits() -> None:
    assert printed(
        """
from joblib import Parallel, delayed
print(set(Parallel(n_jobs=2)(delayed(lambda: digest(trained()))() for _ in range(2)))
      == {digest(trained())})
"""
    ) == ["True"]


def test_threads_of_blas_are_left_as_they_were() -> None:
    assert printed(
        """
from threadpoolctl import threadpool_info
def now(): return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
before = now()
trained()
print(before == now())
"""
    ) == ["True"]


def test_an_interrupt_ends_a_fit() -> None:
    process = started(
        """
def fit():
    trained(epochs=3)  # compiles
    print("go", flush=True)
    model = trained(epochs=10**6, n_iter_no_change=10**7, hidden=(256, 256))
    print(model.stopped_by_, flush=True)
fit()
"""
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupt\n"
    seconds = time.monotonic() - began
    process.communicate(timeout=60)
    assert seconds < 5  # 0.1 on a quiet machine; a busy one may take longer
