"""The history of a training: one line of strict JSON per epoch, on disk while training runs."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from time import perf_counter

import pytest

from gpubp.reports.history_file import SCHEMA, HistoryFile, epoch_line, is_history, read_history
from gpubp.training.history import Epoch
from tests.docs.pages import DOCS

EPOCH = Epoch(3, 0.5, 0.75, True, 1e-05, 0.25, 800, validation_loss=0.4, member=1)
VALUES = {
    "event": "epoch",
    "epoch": 3,
    "member": 1,
    "loss": 0.5,
    "validation_loss": 0.4,
    "validation": 0.75,
    "learning_rate": 1e-05,
    "best": True,
    "rows": 800,
    "seconds": 0.25,
}


def numbered(number: int) -> Epoch:
    return Epoch(number, 1 / number, None, True, 0.1, 0.5, 10)


def strict(text: str) -> list[dict[str, object]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def test_a_line_has_all_values() -> None:
    assert strict(epoch_line(EPOCH)) == [VALUES]


def test_numbers_that_json_lacks_are_null() -> None:
    bad = Epoch(1, math.nan, -math.inf, False, None, 0.0, 1)
    (found,) = strict(epoch_line(bad))
    names = ("loss", "validation", "validation_loss", "learning_rate", "member")
    assert {found[name] for name in names} == {None}
    assert found["best"] is False


def test_a_line_is_in_the_file_at_once(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "h.jsonl")
    file.begin({"task": "regression", "alpha": math.nan})
    file.epoch(EPOCH)
    first, second = read_history(file.path)
    assert first == {"event": "start", "schema": SCHEMA, "task": "regression", "alpha": None}
    assert second == VALUES
    file.end({"stopped_by": "max_epochs"})
    file.close()
    assert strict(file.path.read_text())[-1] == {"event": "end", "stopped_by": "max_epochs"}
    assert not file.problem


def test_a_new_history_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text("old\n" * 9)
    file = HistoryFile(path)
    file.epoch(EPOCH)
    file.close()
    assert strict(path.read_text()) == [VALUES]


def test_a_resumed_history_goes_on_after_the_epochs_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    file = HistoryFile(path)
    file.begin({})
    for number in range(1, 6):
        file.epoch(numbered(number))
    file.end({})
    file.close()
    with path.open("a") as torn:
        torn.write('{"event": "epo')
    again = HistoryFile(path, keep=3)
    again.epoch(numbered(4))
    again.close()
    lines = strict(path.read_text())
    assert [line["event"] for line in lines] == ["start", *["epoch"] * 4]
    assert [line["epoch"] for line in lines[1:]] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines[1:]] == [1, 1 / 2, 1 / 3, 1 / 4]
    fresh = HistoryFile(tmp_path / "none.jsonl", keep=3)
    fresh.close()
    assert not fresh.path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it would never end"))
    file = HistoryFile(path, keep=3)
    file.epoch(numbered(4))
    file.close()
    assert [line["epoch"] for line in strict(os.read(reader, 9999).decode())] == [4]
    os.close(reader)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"event": "start", "schema": 1, "x": 2}\n{"event"', True),
        ('{"event": "start", "schema": ', True),
        ("", True),
        ('{"event": "start"}\n', False),
        ("event,loss\n", False),
    ],
)
def test_which_files_are_histories(tmp_path: Path, data: str, expected: bool) -> None:
    (tmp_path / "h").write_text(data)
    assert is_history(tmp_path / "h") == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_ends_the_writing_but_not_the_training() -> None:
    file = HistoryFile(Path("/dev/full"))
    file.begin({})
    file.epoch(EPOCH)
    assert file.problem.startswith("cannot write '/dev/full': ")
    file.end({})
    file.close()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write '.*none/h.jsonl': No such file"):
        HistoryFile(tmp_path / "none" / "h.jsonl")


def test_an_epoch_takes_microseconds(tmp_path: Path) -> None:
    """Some epochs take 200 microseconds; a line takes about 3, or 100 on a very slow disk."""
    file, best = HistoryFile(tmp_path / "h.jsonl"), math.inf
    for _ in range(5):
        began = perf_counter()
        for _ in range(200):
            file.epoch(EPOCH)
        best = min(best, (perf_counter() - began) / 200)
    file.close()
    assert best < 100e-6


def test_the_guide_describes_every_key() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"### History of a training\n(.*?)\n##", page, re.S)
    named = set(re.findall(r"`\"?(\w+)\"?`", section))
    assert {*VALUES, "schema", "start", "epoch", "end"} <= named
