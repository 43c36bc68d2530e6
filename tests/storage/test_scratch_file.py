"""Temporary files without a name, temporary folders, and their errors."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpubp.storage import scratch_file as module
from gpubp.storage.scratch_file import (
    append,
    mapped,
    scratch_file,
    scratch_folder,
    temporary_folder,
)

ROOT = Path(__file__).parents[2]


def test_written_rows_are_mapped(tmp_path: Path) -> None:
    with scratch_file(tmp_path, 10) as file:
        file.write(b"12345")
        rows = mapped(file)
    assert rows[:6] == b"12345\0"  # also after the file is closed


@pytest.mark.skipif(os.name == "nt", reason="an open file keeps its name on Windows")
def test_arrays_are_appended(tmp_path: Path) -> None:
    arrays = [np.arange(n, dtype=np.float32).reshape(-1, 3) for n in (0, 3 * 50_000, 6)]
    with scratch_file(tmp_path, 1) as file:
        for array in arrays:
            append(file, array.data)
        rows = np.frombuffer(mapped(file), np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(rows, np.concatenate(arrays))


def test_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    with scratch_file(tmp_path, 10):
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    wanted = "rows take 1,000 bytes on disk, but 999 are free in .*; make room, or set TMPDIR"
    with pytest.raises(OSError, match=wanted), scratch_file(tmp_path, 1000):
        pass


def test_a_disk_that_another_process_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", refuse, raising=False)
    with pytest.raises(OSError, match="set TMPDIR to another folder"), scratch_file(tmp_path, 10):
        pass


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    wanted = "cannot write a temporary file in .*: No such file.*; set TMPDIR"
    with pytest.raises(OSError, match=wanted), scratch_file(tmp_path / "no", 10):
        pass
    with pytest.raises(OSError, match=wanted), temporary_folder(tmp_path / "no"):
        pass


def test_the_folder_of_a_killed_process_is_removed_by_the_next_one(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from gpubp.storage import scratch_file\n"
        "with scratch_file.temporary_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'rows').touch(); os._exit(9)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == 9
    (left,) = tmp_path.iterdir()
    assert (left / "rows").exists()
    with temporary_folder(tmp_path) as first, temporary_folder(tmp_path) as second:
        assert not left.exists()
        assert first != second
        assert set(tmp_path.iterdir()) == {first, second}
        other = tmp_path / left.name.replace(left.name.split(".")[-2], str(os.getppid()))
        other.mkdir()
        with temporary_folder(tmp_path):
            assert other.exists()  # of a process that runs
    assert list(tmp_path.iterdir()) == [other]


def test_the_folder_is_named_or_that_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    assert scratch_folder(tmp_path / "model.st") == tmp_path
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert scratch_folder(tmp_path / "model.st") == Path("/elsewhere")
