"""The cache of compiled steps: whose folder is used, and what happens where none can be."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpubp.kernels.host import compiler
from gpubp.kernels.host.cache import compiled_folder, files, open_cache, store
from tests.cuda_stand_in.kernels import skip_without_compiler

ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no modes and owners")
UNKNOWN = ("0" * 32 + "-" + "1" * 32 + ".so", "unfinished-abc")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder of compiled steps, which does not exist yet."""
    monkeypatch.setenv("GPUBP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GPUBP_COMPILED", raising=False)
    for each in (compiler.replay_library, compiler._note_not_kept):
        each.cache_clear()
    yield tmp_path / "cache" / "compiled"
    for each in (compiler.replay_library, compiler._note_not_kept):
        each.cache_clear()


def test_the_folder_is_made_for_the_user_alone(folder: Path) -> None:
    assert not open_cache(create=False).folder
    assert not folder.exists()
    cache = open_cache()
    assert (cache.folder, cache.reason, cache.is_writable) == (folder, "", True)
    if hasattr(os, "getuid"):
        assert folder.stat().st_mode & 0o777 == 0o700


@POSIX
def test_a_folder_that_others_read_is_closed(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    assert open_cache().folder == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@POSIX
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_write_to_is_not_used(folder: Path, mode: int) -> None:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    cache = open_cache()
    assert cache.folder is None
    assert cache.reason.startswith(f"{folder} can be written to by other users")
    assert folder.stat().st_mode & 0o777 == mode


@POSIX
def test_a_folder_of_another_user_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert open_cache() == (None, f"{folder} belongs to another user")


def test_a_file_in_the_way(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("in the way")
    assert open_cache().folder is None
    assert open_cache(create=False).reason == f"{folder} is not a folder"


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> None:
        raise RuntimeError("no home")

    monkeypatch.delenv("GPUBP_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert compiled_folder() is None
    assert open_cache() == (None, "there is no home folder; set GPUBP_CACHE_DIR")


def test_a_full_disk_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (made := tmp_path / "step.so").write_text("a library")
    open_cache()
    monkeypatch.setattr(Path, "replace", full)
    assert store(made, folder, "0" * 32) is None
    assert list(folder.iterdir()) == []


def test_only_files_of_gpubp_are_listed(folder: Path, tmp_path: Path) -> None:
    open_cache()
    for name in (*UNKNOWN, "notes.txt", "other.so", UNKNOWN[0] + ".bak"):
        (folder / name).touch()
    (folder / ("2" * 32 + "-" + "3" * 32 + ".so")).mkdir()
    assert [path.name for path in files(folder)] == list(UNKNOWN)
    assert list(files(tmp_path / "missing")) == []


def test_what_is_not_kept_is_noted_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    skip_without_compiler()
    caplog.set_level(logging.INFO, "gpubp")
    folder.parent.write_text("in the way")
    for _ in range(2):
        assert compiler.replay_library().replay
        compiler.replay_library.cache_clear()
    (line,) = caplog.messages
    assert line.startswith(f"compiled steps are not kept: {folder}: ")


def test_without_a_temporary_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    skip_without_compiler()
    monkeypatch.setattr("tempfile.gettempdir", none)
    with pytest.raises(compiler.CompilerError, match=r"there is no folder to compile in .*usable"):
        compiler.replay_library()


FIT = """
import gpubp
from gpubp.backends.select import get_backend
X, y = [[0.0, 1.0], [1.0, 0.0]] * 4, [0, 1] * 4
model = gpubp.MLPClassifier((2,), max_iter=5, tol=9.0, n_iter_no_change=1, compiled=True)
print(model.fit(X, y).device_, type(get_backend("cpu", compiled=True)).__name__)
"""


@POSIX
@pytest.mark.parametrize("home", ["read-only", "missing", "unset"])
def test_a_process_that_cannot_write_home_trains(tmp_path: Path, home: str) -> None:
    skip_without_compiler()
    variables = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    place = tmp_path / "home"
    if home == "read-only":
        place.mkdir()
        place.chmod(0o500)
    if home != "unset":
        variables["HOME"] = str(place if home == "read-only" else place / "none")
    if home == "missing":
        (tmp_path / "home").write_text("in the way")
    variables |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    # Root may write to a read-only folder.
    user = {"preexec_fn": _without_privileges} if os.getuid() == 0 else {}
    for command in (["-c", FIT], ["-m", "gpubp", "doctor"]):
        done = subprocess.run(
            [sys.executable, "-W", "error", *command],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **user,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "cpu CompiledBackend" in done.stdout or "gpubp " in done.stdout
    if home == "read-only":
        assert f"not kept ({place}/.cache/gpubp/compiled: Permission denied)" in done.stdout
        assert list(place.iterdir()) == []


def _without_privileges() -> None:
    """Give up what lets root write to a read-only folder, but stay root."""
    import ctypes

    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP, before exec


@POSIX
def test_processes_that_start_together_compile_once(folder: Path, tmp_path: Path) -> None:
    skip_without_compiler()
    log, compiler_script = tmp_path / "log", tmp_path / "slow-g++"
    compiler_script.write_text(f'#!/bin/sh\necho "$@" >> {log}\nsleep 0.5\nexec g++ "$@"\n')
    compiler_script.chmod(0o755)
    code = "from gpubp.kernels.host.compiler import replay_library; replay_library()"
    environment = os.environ | {"CXX": str(compiler_script)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment) for _ in range(3)
    ]
    assert [each.wait(60) for each in started] == [0, 0, 0]
    assert sum(" -o " in line for line in log.read_text().splitlines()) == 1
    assert [path.suffix for path in folder.iterdir()] == [".so"]


FORK_WHILE_COMPILING = """
import os, sys, threading, time
from pathlib import Path
from gpubp.kernels.host.compiler import replay_library
folder = Path(os.environ["GPUBP_CACHE_DIR"], "compiled")
thread = threading.Thread(target=replay_library)
thread.start()
while not (folder.is_dir() and any(folder.glob("unfinished-*"))): time.sleep(0.01)
if (child := os.fork()) == 0:
    replay_library.cache_clear()
    os._exit(not replay_library().replay)
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def slow_compiler(folder: Path) -> dict[str, str]:
    """Return an environment whose C++ compiler takes half a second longer."""
    script = folder / "slow-g++"
    script.write_text('#!/bin/sh\nsleep 0.5\nexec g++ "$@"\n')
    script.chmod(0o755)
    return os.environ | {"CXX": str(script)}


@POSIX
def test_a_child_that_is_forked_while_a_thread_compiles_compiles_too(
    folder: Path, tmp_path: Path
) -> None:
    skip_without_compiler()
    command = [sys.executable, "-W", "ignore", "-c", FORK_WHILE_COMPILING]
    environment = slow_compiler(tmp_path)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "0\n"


def test_jobs_for_which_no_thread_starts_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    called: list[int] = []
    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
    compiler.compile_at_once([lambda k=k: called.append(k) for k in range(3)])
    assert called == [0, 1, 2]


@POSIX
def test_a_compiler_that_was_killed_is_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_compiler()
    script = tmp_path / "killed"
    script.write_text('#!/bin/sh\ncase "$*" in *--version*) ;; *) kill -9 $$ ;; esac\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    compiler._compiler.cache_clear()
    with pytest.raises(compiler.CompilerKilledError, match="was killed"):
        compiler.replay_library()
    monkeypatch.delenv("CXX")
    compiler._compiler.cache_clear()
    assert compiler.replay_library().replay


def test_a_command_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", 'g++ "x')
    compiler._compiler.cache_clear()
    with pytest.raises(compiler.CompilerError, match="is not a command"):
        compiler._compiler()
    monkeypatch.delenv("CXX")
    compiler._compiler.cache_clear()
