"""The columns of a table as lines: aligned, at most so wide, shortened where there are many."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from gpubp.reports.columns import columns_table, columns_text


def _column(name: str, kind: str = "number", **more: Any) -> dict[str, Any]:
    known = {"encoding": "standardised", "gaps": 0, "remarks": [], "used": True}
    return {"column": name, "type": kind} | known | more


def test_columns_with_gaps_and_remarks() -> None:
    lines = columns_table(
        [
            _column("age", gaps=1200, inputs=1, remarks=["-999 in 3 rows is an outlier"]),
            _column("color", "category", encoding="one-hot, 3 values", inputs=3),
            _column("id", "id", used=False, remarks=["left out: all 9 values differ"]),
        ],
        inputs=4,
    )
    assert lines == [
        "column  type      inputs   gaps  encoded as",
        "age     number         1  1,200  standardised",
        "    -999 in 3 rows is an outlier",
        "color   category       3         one-hot, 3 values",
        "id      id                       left out: all 9 values differ",
        "2 columns as 4 inputs of the network",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider(width: int) -> None:
    summary = [
        _column("a name that is much longer than others", gaps=123_456),
        _column("高さ" * 20, remarks=["many words " * 30]),
        _column("day", "date", encoding="month (sine, cosine), day, weekday, hour, " * 3),
        _column("a\nb\tc\x1b[31m"),
    ]
    lines = columns_table(summary, 9, width)
    assert max(map(cell_len, lines)) <= width
    assert r"a\nb\tc\x1b[31m" in "\n".join(lines)
    words = " ".join(" ".join(lines).split())
    assert words.count("weekday") == 3  # nothing of an encoding is cut


def test_neighbours_that_are_alike_share_a_line_where_there_are_many() -> None:
    summary = [_column(f"pixel{k}", used=k > 1) for k in range(784)]
    for column in summary:
        column["inputs"] = 1
    assert columns_table(summary, 782)[1:] == [
        "pixel0                     number                left out",
        "pixel1                     number                left out",
        "pixel2 ... pixel783 (782)  number     782        standardised",
        "782 columns as 782 inputs of the network",
    ]


def test_few_neighbours_share_a_line_if_their_names_are_numbered() -> None:
    named = [_column(name) for name in ("age", "height", "weight", "income")]
    numbered = [_column(f"x{k}") for k in range(4)]
    assert [line.split("  ")[0] for line in columns_table([*named, *numbered], 8)[1:-1]] == [
        *("age", "height", "weight", "income", "x0 ... x3 (4)"),
    ]
    assert len(columns_table(numbered[:3], 3)) == 5
    names = [_column(name) for name in "abcdefghijklm"]
    assert columns_table(names, 13)[1].startswith("a ... m (13) ")
    assert len(columns_table(names[:12], 12)) == 14


def test_a_long_name_keeps_its_end() -> None:
    names = ["mean of the measured temperature, sensor 1", "高さ" * 20]
    line, wide = columns_table([_column(name) for name in names], 2)[1:3]
    assert line.startswith("mean of the m...re, sensor 1  ")
    assert "..." in wide


def test_columns_in_a_line() -> None:
    summary = [
        _column("age"),
        _column("number", "id", used=False),
        _column("mail", "id", used=False),
        _column("country", "constant", used=False),
        *(_column(f"note{k}", "text", used=False) for k in range(7)),
    ]
    assert columns_text(summary, 3) == (
        "1 of 11 used, as 3 inputs; left out: number, mail (id), country (constant), "
        "note0, note1, note2, note3, note4 and 2 more (text)"
    )
    assert columns_text(summary[:1], 1) == "1 of 1 used, as 1 input"


def test_of_many_lines_those_with_remarks_are_shown_and_the_rest_counted() -> None:
    kinds = ("number", "category")
    summary = [_column(f"x{k}", kinds[k % 2]) for k in range(100)]
    summary[70]["remarks"] = ["odd"]
    summary[90]["used"] = False
    lines = columns_table(summary, 99)
    names = [line.split()[0] for line in lines[1:] if line.startswith("x")]
    assert names == [*(f"x{k}" for k in range(28)), "x70", "x90"]
    assert "    odd" in lines
    assert lines[-2:] == [
        "... and 70 more: 36 category, 34 number",
        "99 columns as 99 inputs of the network",
    ]
