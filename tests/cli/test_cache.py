"""`gpubp cache`: what it shows, and that it deletes only its own files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpubp.kernels.host.cache import open_cache
from tests.cli.running import Run, one_line


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("GPUBP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


def filled(folder: Path) -> Path:
    """Fill the cache with two files of 1 MB; return a file that is not gpubp's."""
    open_cache()
    for digit in "ab":
        (folder / f"{digit * 32}-{digit * 32}.so").write_bytes(bytes(1_000_000))
    (other := folder / "notes.txt").write_text("mine")
    return other


def test_an_empty_cache_is_shown_and_not_made(run: Run, folder: Path) -> None:
    for options in ([], ["--clear"]):
        assert run("cache", *options).out == f"folder   {folder}\nfiles    0\n"
    assert not folder.parent.exists()


def test_the_cache_is_shown(run: Run, folder: Path) -> None:
    filled(folder)
    assert run("cache").out == f"folder   {folder}\nfiles    2\nsize     2.0 MB\n"
    assert len(list(folder.iterdir())) == 3


def test_the_cache_is_emptied_of_its_own_files(run: Run, folder: Path) -> None:
    other = filled(folder)
    assert run("cache", "--clear").out == f"folder   {folder}\ndeleted  2 files, 2.0 MB\n"
    assert list(folder.iterdir()) == [other]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no modes")
def test_a_folder_that_is_not_used_is_said_to_be(run: Run, folder: Path) -> None:
    filled(folder)
    folder.chmod(0o777)
    assert "unused   " in run("cache").out


def test_without_a_home(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> None:
        raise RuntimeError("no home")

    for name in ("GPUBP_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert "there is no home folder" in run("cache", "--clear").out


def test_a_wrong_variable_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUBP_CACHE_DIR", "relative")
    assert "GPUBP_CACHE_DIR must be an absolute path" in one_line(run("cache", code=2))
