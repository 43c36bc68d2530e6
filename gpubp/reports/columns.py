"""The columns of a table, as a model takes them: one table for a person."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.cells import cell_len, set_cell_size

PIPE_WIDTH = 80
MOST_LINES = 30
SHORTEST_RUN = 3  # of equal neighbours that become one line
MOST_NAME = 30
_HEAD = ("column", "type", "encoded as", "gaps")

Summary = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Line:
    """A column, or a run of neighbours that differ in their names alone."""

    names: tuple[str, ...]
    kind: str
    encoding: str
    gaps: int
    remarks: tuple[str, ...]
    used: bool

    @property
    def name(self) -> str:
        if len(self.names) == 1:
            return _shortened(self.names[0], MOST_NAME)
        first, last = (_shortened(self.names[k], MOST_NAME // 2) for k in (0, -1))
        return f"{first} ... {last} ({len(self.names):,})"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        encoding = self.encoding if self.used else "left out"
        return self.name, self.kind, encoding, f"{self.gaps:,}" if self.gaps else ""

    @property
    def is_plain(self) -> bool:
        return self.used and not self.remarks


def columns_table(summary: Summary, inputs: int, width: int = PIPE_WIDTH) -> list[str]:
    """Return the columns of ``TableEncoder.summary()`` as lines of at most ``width`` cells.

    inputs : how many inputs of the network they become.
    A table of many columns is shortened: neighbours that differ in their names alone share a line,
    and of more than MOST_LINES lines those that are used and have no remarks are counted.
    """
    lines = [_Line((str(c["column"]),), *_properties(c)) for c in summary]
    if len(lines) > MOST_LINES:
        lines = _merged(lines)
    shown = _most_notable(lines)
    rest: Counter[str] = Counter()
    for line in lines:
        if line not in shown:
            rest[line.kind if line.used else f"{line.kind} (left out)"] += len(line.names)
    widths = _widths([_HEAD, *(line.cells for line in shown)], width)
    found = list(_rows(_HEAD, widths))
    for line in shown:
        found += _rows(line.cells, widths)
        found += _wrapped(line.remarks, width)
    if rest:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in rest.most_common())
        text = f"... and {rest.total():,} more: {kinds}"
        found += textwrap.wrap(text, width, subsequent_indent="    ")
    columns = sum(bool(c["used"]) for c in summary)
    return [*found, f"{_counted(columns, 'column')} as {_counted(inputs, 'input')} of the network"]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _properties(column: Mapping[str, Any]) -> tuple[str, str, int, tuple[str, ...], bool]:
    remarks = tuple(str(remark) for remark in column["remarks"])
    kind, encoding = str(column["type"]), str(column["encoding"] or "")
    return kind, encoding, int(column["gaps"]), remarks, bool(column["used"])


def _merged(lines: Sequence[_Line]) -> list[_Line]:
    """Return the lines, with runs of neighbours that differ in their names alone as one."""
    merged = []
    for properties, run in groupby(lines, _properties_of):
        same = list(run)
        if len(same) < SHORTEST_RUN:
            merged += same
        else:
            merged.append(_Line(tuple(line.names[0] for line in same), *properties))
    return merged


def _properties_of(line: _Line) -> tuple[str, str, int, tuple[str, ...], bool]:
    return line.kind, line.encoding, line.gaps, line.remarks, line.used


def _most_notable(lines: Sequence[_Line]) -> list[_Line]:
    """Return at most MOST_LINES lines in order, first those with remarks or left out."""
    order = sorted(range(len(lines)), key=lambda k: (lines[k].is_plain, k))
    return [lines[k] for k in sorted(order[:MOST_LINES])]


def _widths(rows: Sequence[tuple[str, ...]], width: int) -> list[int]:
    """Return the cells that each column of the table has; the third takes what is left."""
    widths = [max(cell_len(row[k]) for row in rows) for k in range(len(_HEAD))]
    others = widths[0] + widths[1] + widths[3] + 2 * (len(_HEAD) - 1)
    widths[2] = max(len(_HEAD[2]), min(widths[2], width - others))
    return widths


def _rows(cells: tuple[str, ...], widths: Sequence[int]) -> Iterator[str]:
    """Yield the cells as a line, and what does not fit of the third in lines below."""
    name, kind, encoding, gaps = cells
    first, *others = textwrap.wrap(_printable(encoding), widths[2]) or [""]
    yield _aligned((name, kind, first, gaps.rjust(widths[-1])), widths)
    for text in others:
        yield _aligned(("", "", text, ""), widths)


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    parts = [set_cell_size(text, size) for text, size in zip(texts, widths, strict=True)]
    return "  ".join(parts).rstrip()


def _wrapped(remarks: Sequence[str], width: int) -> list[str]:
    lines = []
    for remark in remarks:
        lines += textwrap.wrap(
            _printable(remark),
            width,
            initial_indent="    ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    return lines


def _shortened(text: str, most: int) -> str:
    """Return text on one line of at most ``most`` cells, with "..." for what is cut."""
    text = _printable(text)
    return text if cell_len(text) <= most else set_cell_size(text, most - 3).rstrip() + "..."


def _printable(text: str) -> str:
    """Return text without line breaks and other characters that a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
