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
    "text": (
        _lines("a,b,y", *GOOD[:9], "7,abc,p", *GOOD),
        "bad.csv, line 11, column 'b': 'abc' is not a number; fill in or remove the row",
    ),
    "blank": (
        _lines("a,b,y", *GOOD, "7,,p", *GOOD),
        "bad.csv, line 32, column 'b': '' is not a number",
    ),
    "blank after a quoted line break": (
        _lines('a,b,"y\nz"', *GOOD, "7,,p"),
        "bad.csv, line 33, column 'b': '' is not a number",
    ),
    "column of text": (
        _lines("a,b,y", *(f"x{j},{row[2:]}" for j, row in enumerate(GOOD[:9]))),
        "bad.csv, line 2, column 'a': 'x0' is not a number; encode the column as numbers or",
    ),
    "nan": (
        _lines("a,b,y", *GOOD, "nan,3,p"),
        "bad.csv, line 32, column 'a': nan is not a finite number; fill in or remove the row",
    ),
    "infinity": (_lines("a,b,y", "-inf,3,p", *GOOD), "line 2, column 'a': -inf is not a finite"),
    "blank label": (_lines("a,b,y", *GOOD, "1,2, "), "bad.csv, line 32, column 'y' is blank"),
    "nan in the target": (
        _lines("a,b,y", *(f"1,{j},{j}.5" for j in range(30)), "1,2,nan"),
        "bad.csv, line 32, column 'y': nan is not a finite number",
    ),
    "text in the target": (
        _lines("a,b,y", *(f"1,{j},{j}.5" for j in range(60)), "1,2,n/a"),
        "bad.csv, line 62, column 'y': 'n/a' is not a number",
    ),
    "one class": (_lines("a,y", "1,p", "2,p", "3,p"), "the target has one class only, 'p'"),
    "constant": (_lines("a,y", *["1,2.5"] * 30), "column 'y'"),
    "no features": (_lines("y", *"pqpq"), "bad.csv has no column besides the target 'y'"),
    "ragged": (_lines("a,b,y", *GOOD, "1,2"), "line 32: got 2 fields, but the header has 3"),
    "two of one name": (_lines("a,a,y", *GOOD), "bad.csv, line 1 has two columns named 'a'"),
    "no name": (_lines("a,,y", *GOOD), "bad.csv, line 1: column 2 has no name"),
    "no header": (_lines("1,2,3", "4,5,6"), "bad.csv, line 1 holds only numbers; put a header"),
    "open quote": (_lines("a,b,y", *GOOD, '1,"2,p'), "bad.csv, line 32: unexpected end of data"),
    "binary": (bytes(range(256)) * 8, "bad.csv is not a UTF-8 text file"),
    "zip": (b"PK\x03\x04\x14\x00\x06\x00" + bytes(500), "bad.csv is not a UTF-8 text file"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "bad.csv is not a UTF-8 text file"),
    "Latin-1": ("größe,y\n1,p\n2,q\n".encode("latin-1"), "bad.csv is not a UTF-8 text file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_bad_csv_files(run: Run, kind: str) -> None:
    content, message = FILES[kind]
    Path("bad.csv").write_bytes(content)
    Path("model.safetensors").write_text("old")
    assert message in one_line(run("train", "bad.csv", *FAST, code=1))
    assert Path("model.safetensors").read_text() == "old"
    assert sorted(os.listdir()) == ["bad.csv", "model.safetensors"]  # noqa: PTH208


@pytest.mark.parametrize("seed", range(6))
def test_a_bad_cell_is_found_before_training_wherever_the_split_puts_it(
    run: Run, seed: int
) -> None:
    Path("bad.csv").write_bytes(_lines("a,b,y", *GOOD, "nan,3,p"))
    failed = run("train", "bad.csv", "--seed", seed, *FAST, code=1)
    assert "line 32, column 'a'" in one_line(failed)
    assert failed.out == ""
