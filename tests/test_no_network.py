"""gpubp opens no socket and looks up no host: a library put before libc refuses both.

So the test sees native code too, such as DuckDB's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda_stand_in.kernels import skip_without_compiler

ROOT = Path(__file__).parents[1]
REFUSED = "the network was asked for"
SHIM = f"""
#include <cerrno>
#include <unistd.h>
static int refuse(int code) {{
    static const char text[] = "{REFUSED}\\n";
    (void)!write(2, text, sizeof text - 1);
    errno = EACCES;
    return code;
}}
extern "C" int socket(int, int, int) {{ return refuse(-1); }}
extern "C" int getaddrinfo(const char*, const char*, const void*, void**) {{ return refuse(-4); }}
"""
WORK = """
import sys
import gpubp
from gpubp.__main__ import main
from gpubp.explain import trace_step
import gpubp.explain.examples
X, y = [[0.0, 1.0], [1.0, 0.0]] * 8, [0, 1] * 8
for kind in (gpubp.MLPClassifier, gpubp.MLPRegressor):
    model = kind(hidden_layer_sizes=(2,), max_iter=5, tol=9.0, n_iter_no_change=1).fit(X, y)
    gpubp.save(model, "model.safetensors")
    gpubp.load("model.safetensors").predict(X)
with open("table.csv", "w") as file:
    file.write("a,b,y\\n" + "1,x,0\\n2,z,1\\n" * 20)
for command in (
    "doctor",
    "train table.csv --target y --epochs 2 -o table.safetensors",
    "predict table.safetensors table.csv -o out.parquet",
    "evaluate table.safetensors table.csv",
    "inspect table.safetensors",
    "explain",
    "explain table.safetensors table.csv --html page.html",
    "train digits --epochs 1",
):
    if code := main(command.split()):
        sys.exit(f"{command}: exit code {code}")
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose socket() and getaddrinfo() say so, and fail."""
    if not sys.platform.startswith("linux"):
        pytest.skip("LD_PRELOAD is Linux's")
    skip_without_compiler()
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.cpp").write_text(SHIM)
    compiler = shutil.which("g++") or "g++"
    command = [compiler, "-shared", "-fPIC", "-o", "shim.so", "shim.cpp"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "shim.so"


def run(code: str, shim: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_socket_is_opened(shim: Path, tmp_path: Path) -> None:
    done = run(WORK, shim, tmp_path)
    assert done.returncode == 0, done.stderr
    assert REFUSED not in done.stderr
    assert (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket()",
        "import duckdb; duckdb.sql(\"SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')\")",
    ],
)
def test_a_socket_would_be_seen(shim: Path, tmp_path: Path, code: str) -> None:
    if "duckdb" in code:
        pytest.importorskip("duckdb")
    assert REFUSED in run(code, shim, tmp_path).stderr
