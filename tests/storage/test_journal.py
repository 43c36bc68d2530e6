"""Journals: objects one per line, of which a torn last one is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpubp.storage.journal import Journal, JournalError, read_journal

VALUES = [{"a": 1.5, "b": [None, "ä\n"]}, {}, {"c": {"d": 0.1}}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for value in VALUES:
            journal.append(value)
    return path


def test_what_is_appended_is_read(path: Path) -> None:
    assert read_journal(path) == (VALUES, path.stat().st_size)
    assert len(path.read_bytes().splitlines()) == 3


def test_a_torn_last_line_is_ignored_and_then_removed(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        found, size = read_journal(path)
        assert found == VALUES[: len(found)]
        assert size <= length
        with Journal(path, size) as journal:
            journal.append({"next": length})
        assert read_journal(path)[0] == [*found, {"next": length}]


def test_a_new_journal_replaces_the_old_one(path: Path) -> None:
    with Journal(path):
        pass
    assert read_journal(path) == ([], 0)


@pytest.mark.parametrize("line", ["nonsense", "[1]", "{", "\xff"])
def test_a_damaged_line(path: Path, line: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + line.encode("latin-1") + b"\n" + lines[1])
    with pytest.raises(JournalError, match=r"journal.jsonl, line 2, is damaged"):
        read_journal(path)


def test_a_journal_has_one_writer(path: Path) -> None:
    pytest.importorskip("fcntl")
    with Journal(path, path.stat().st_size) as journal:
        with pytest.raises(OSError, match="another process is writing to it; give another path"):
            Journal(path)
        journal.append({"still": "there"})
    assert read_journal(path)[0] == [*VALUES, {"still": "there"}]


def test_infinity_is_not_written(path: Path) -> None:
    with Journal(path) as journal, pytest.raises(ValueError, match="JSON compliant"):
        journal.append({"score": float("inf")})
