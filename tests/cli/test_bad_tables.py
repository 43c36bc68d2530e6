"""Tables that cannot be used get one red line that says what is wrong, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.running import FAST, Run, one_line


def test_errors_are_red(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *args, **options: False)
    for args, code in (
        (("train", "missing.csv"), 1),
        (("train", "--lr", "x"), 2),
        (("train", "iris", "--solver", "sgd", "--lr", "1e6", "--quiet"), 1),
    ):
        error = run(*args, code=code).err
        assert error.startswith("\x1b[31mError: ")
        assert error.endswith("\x1b[0m\n")
        assert error.count("\n") == 1


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


GOOD = [f"{j},{j * j},{'pq'[j % 2]}" for j in range(30)]
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "bad.csv is empty; give a header line and rows"),
    "blank lines": (b"\n\n \n", "bad.csv is empty"),
    "header only": (b"a,b,y\n", "bad.csv has a header but no rows"),
    "one class": (
        _lines("a,y", "1,p", "2,p", "3,p"),
        "the target has one class only, 'p'; give rows of at least two classes ('y' was taken as "
        "the target, since it is the last column; --target names another)",
    ),
    "constant": (_lines("a,y", *["1,2.5"] * 30), "column 'y': the target is 2.5 in every row"),
    "no target": (_lines("a,y", *["1,"] * 30), "is missing in every row; give another column"),
    "no features": (_lines("y", *"pqpq"), "bad.csv has only the target 'y' and no other"),
    "features of no use": (_lines("a,y", *["1,p", "1,q"] * 20), "no column to learn from: 'a'"),
    "ragged": (_lines("a,b,y", *GOOD, "1,2"), "line 32: got 2 fields, but the table has 3"),
    "two rows": (_lines("1,2,3", "4,5,6"), "--test-size 0.2 leaves 1 of 2 rows to train on"),
    "open quote": (_lines("a,b,y", *GOOD, '1,"2,p'), "bad.csv, line 32: a quote is opened but"),
    "binary": (bytes(range(256)) * 8, "bad.csv, line 2: the text is not in UTF-8"),
    "zip": (b"PK\x03\x04\x14\x00\x06\x00" + bytes(500), "is a ZIP archive or an Excel workbook"),
    "Latin-1": ("größe,y\n1,p\n2,q\n".encode("latin-1"), "give its encoding with --encoding"),
}


@pytest.mark.parametrize("kind", FILES)
def test_bad_csv_files(run: Run, kind: str) -> None:
    content, message = FILES[kind]
    Path("bad.csv").write_bytes(content)
    Path("model.safetensors").write_text("old")
    assert message in one_line(run("train", "bad.csv", *FAST, code=1 + (kind == "two rows")))
    assert Path("model.safetensors").read_text() == "old"
    assert sorted(os.listdir()) == ["bad.csv", "model.safetensors"]  # noqa: PTH208


@pytest.mark.parametrize("cell", ["nan", "abc", "-inf"])
@pytest.mark.parametrize("seed", range(4))
def test_a_cell_that_is_no_number_is_a_gap_wherever_the_split_puts_it(
    run: Run, seed: int, cell: str
) -> None:
    Path("t.csv").write_bytes(_lines("a,b,y", *GOOD, f"{cell},3,p"))
    run("train", "t.csv", "--seed", seed, *FAST)
    assert len(run("predict", "model.safetensors", "t.csv").rows) == 31
    failed = run("predict", "model.safetensors", "-", stdin="a,b\n1,2\nxyz,3\n", code=1)
    assert "standard input, data row 2, column 'a': 'xyz' is not a number" in one_line(failed)


def test_columns_that_cannot_be_used_as_asked_are_told_all_at_once(run: Run) -> None:
    Path("t.csv").write_bytes(_lines("a,b,c", *(f"x{k % 3},u{k % 2},{k}" for k in range(9))))
    failed = run("train", "t.csv", "--numeric", "a,b", *FAST, code=1)
    for part in (
        "2 columns that cannot be used",
        "'x0' in data row 1",
        "'u0' in data row 1",
        "--drop 'a,b'",
    ):
        assert part in one_line(failed)
    assert "no column" in one_line(run("train", "t.csv", "--drop", "a,b", *FAST, code=1))
    assert "no column 'bb'" in one_line(run("train", "t.csv", "--drop", "bb", *FAST, code=1))
