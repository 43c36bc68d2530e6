"""The columns of a table as lines: aligned, at most so wide, shortened where there are many."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from gpubp.reports.columns import MOST_LINES, columns_table


def _column(name: str, kind: str = "number", **more: Any) -> dict[str, Any]:
    known = {"encoding": "standardised", "gaps": 0, "remarks": [], "used": True}
    return {"column": name, "type": kind} | known | more


def test_columns_with_gaps_and_remarks() -> None:
    lines = columns_table(
        [
            _column("age", gaps=1200, remarks=["-999 in 3 rows lies far outside"]),
            _column("color", "category", encoding="one-hot, 3 values"),
            _column("id", "id", used=False, encoding=""),
        ],
        inputs=4,
    )
    assert lines == [
        "column  type      encoded as          gaps",
        "age     number    standardised       1,200",
        "    -999 in 3 rows lies far outside",
        "color   category  one-hot, 3 values",
        "id      id        left out",
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
    assert columns_table(summary, 782)[1:] == [
        "pixel0                     number  left out",
        "pixel1                     number  left out",
        "pixel2 ... pixel783 (782)  number  standardised",
        "782 columns as 782 inputs of the network",
    ]
    few = [_column(f"x{k}") for k in range(MOST_LINES)]
    assert len(columns_table(few, MOST_LINES)) == MOST_LINES + 2


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
