"""The columns of a table and their encodings, as a table in the terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.cells import cell_len, set_cell_size

from gpubp.reports.labels import printable

PIPE_WIDTH = 80
MOST_LINES = 30
# The least number of equal neighbours that share a line: in a table of more than MOST_LINES lines,
# with numbered names such as x1, x2, x3, x4, and with any names.
SHORTEST_RUN, NUMBERED_RUN, ANY_RUN = 3, 4, 13
MOST_NAME = 32
MOST_LEFT_OUT = 5  # names of a kind, in a line about the columns
_HEAD = ("column", "type", "inputs", "gaps", "encoded as")

Summary = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Properties:
    """The properties of a column without its name. inputs : of the network; None if unknown."""

    kind: str
    encoding: str
    gaps: int
    remarks: tuple[str, ...]
    used: bool
    inputs: int | None


@dataclass(frozen=True)
class _Line:
    """A column, or a run of neighbours that differ only in their names."""

    names: tuple[str, ...]
    of: _Properties

    def cells(self, most: int) -> tuple[str, str, str, str, str]:
        """Return the cells of the line; its name is at most ``most`` characters wide."""
        of, count = self.of, len(self.names)
        inputs = "" if of.inputs is None or not of.used else f"{of.inputs * count:,}"
        gaps = f"{of.gaps:,}" if of.gaps else ""
        return self._name(most), of.kind, inputs, gaps, self._encoding

    def _name(self, most: int) -> str:
        if len(self.names) == 1:
            return _shortened(self.names[0], most)
        count = f" ({len(self.names):,})"
        half = (most - len(" ... ") - len(count)) // 2
        first, last = (_shortened(self.names[k], half) for k in (0, -1))
        return f"{first} ... {last}{count}"

    @property
    def _encoding(self) -> str:
        return self.of.encoding if self.of.used else next(iter(self._reasons), "left out")

    @property
    def _reasons(self) -> list[str]:
        return [remark for remark in self.of.remarks if remark.startswith("left out: ")]

    @property
    def remarks(self) -> list[str]:
        """The remarks that are not shown in a cell."""
        return [remark for remark in self.of.remarks if remark not in self._reasons[:1]]

    @property
    def is_plain(self) -> bool:
        return self.of.used and not self.of.remarks


def columns_table(summary: Summary, inputs: int, width: int = PIPE_WIDTH) -> list[str]:
    """Return the columns of ``TableEncoder.summary()`` as lines of at most ``width`` cells.

    summary : one mapping per column, which may also have "inputs". inputs : of the network.

    A table of many columns is shortened: neighbours that differ only in their names share a line,
    and if more than MOST_LINES lines remain, used columns without remarks are only counted.
    """
    lines = _merged([_Line((str(c["column"]),), _properties(c)) for c in summary])
    shown = _most_notable(lines)
    rest: Counter[str] = Counter()
    for line in lines:
        if line not in shown:
            of = line.of
            rest[of.kind if of.used else f"{of.kind} (left out)"] += len(line.names)
    most = min(MOST_NAME, width * 2 // 5 - 4)
    rows = [line.cells(most) for line in shown]
    widths = _widths([_HEAD, *rows], width)
    found = list(_rows(_HEAD, widths))
    for line, cells in zip(shown, rows, strict=True):
        found += _rows(cells, widths)
        found += _wrapped(line.remarks, width)
    if rest:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in rest.most_common())
        text = f"... and {rest.total():,} more: {kinds}"
        found += textwrap.wrap(text, width, subsequent_indent="    ")
    columns = sum(bool(c["used"]) for c in summary)
    return [*found, f"{_counted(columns, 'column')} as {_counted(inputs, 'input')} of the network"]


def columns_text(summary: Summary, inputs: int) -> str:
    """Return "7 of 9 used, as 27 inputs; left out: number, email (id), country (constant)"."""
    kinds: dict[str, list[str]] = {}
    for column in summary:
        if not column["used"]:
            kinds.setdefault(str(column["type"]), []).append(str(column["column"]))
    used = sum(bool(column["used"]) for column in summary)
    text = f"{used:,} of {len(summary):,} used, as {_counted(inputs, 'input')}"
    parts = []
    for kind, names in kinds.items():
        shown = [_shortened(name, MOST_NAME) for name in names[:MOST_LEFT_OUT]]
        more = len(names) - MOST_LEFT_OUT
        listed = ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
        parts.append(f"{listed} ({kind})")
    return f"{text}; left out: {', '.join(parts)}" if parts else text


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _properties(column: Mapping[str, Any]) -> _Properties:
    return _Properties(
        kind=str(column["type"]),
        encoding=str(column["encoding"] or ""),
        gaps=int(column["gaps"]),
        remarks=tuple(str(remark) for remark in column["remarks"]),
        used=bool(column["used"]),
        inputs=column.get("inputs"),
    )


def _merged(lines: Sequence[_Line]) -> list[_Line]:
    """Return the lines; runs of neighbours that differ only in their names become one line."""
    shortest = SHORTEST_RUN if len(lines) > MOST_LINES else ANY_RUN
    merged: list[_Line] = []
    for _, alike in groupby(lines, lambda line: line.of):
        run = list(alike)
        if len(run) >= shortest:
            merged.append(_joined(run))
            continue
        for stem, numbered in groupby(run, lambda line: _stem(line.names[0])):
            same = list(numbered)
            merged += [_joined(same)] if stem and len(same) >= NUMBERED_RUN else same
    return merged


def _joined(run: Sequence[_Line]) -> _Line:
    return _Line(tuple(line.names[0] for line in run), run[0].of)


def _stem(name: str) -> str:
    """Return a name without the number at its end; "" if it has none."""
    stem = name.rstrip("0123456789")
    return "" if stem == name else stem or "0"


def _most_notable(lines: Sequence[_Line]) -> list[_Line]:
    """Return at most MOST_LINES lines in order; columns with remarks or left out come first."""
    order = sorted(range(len(lines)), key=lambda k: (lines[k].is_plain, k))
    return [lines[k] for k in sorted(order[:MOST_LINES])]


def _widths(rows: Sequence[tuple[str, ...]], width: int) -> list[int]:
    """Return the width of each column of the table; the last one gets the remaining width."""
    widths = [max(cell_len(row[k]) for row in rows) for k in range(len(_HEAD))]
    others = sum(widths[:-1]) + 2 * (len(_HEAD) - 1)
    widths[-1] = max(len(_HEAD[-1]), min(widths[-1], width - others))
    return widths


def _rows(cells: tuple[str, ...], widths: Sequence[int]) -> Iterator[str]:
    """Yield the cells as a line; a last cell that is too long continues in lines below."""
    name, kind, inputs, gaps, encoding = cells
    first, *others = textwrap.wrap(printable(encoding), widths[-1]) or [""]
    numbers = inputs.rjust(widths[2]), gaps.rjust(widths[3])
    yield _aligned((name, kind, *numbers, first), widths)
    for text in others:
        yield _aligned(("", "", "", "", text), widths)


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    parts = [set_cell_size(text, size) for text, size in zip(texts, widths, strict=True)]
    return "  ".join(parts).rstrip()


def _wrapped(remarks: Sequence[str], width: int) -> list[str]:
    lines = []
    for remark in remarks:
        lines += textwrap.wrap(
            printable(remark),
            width,
            initial_indent="    ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    return lines


def _shortened(text: str, most: int) -> str:
    """Return text in at most ``most`` cells, with "..." for the part that is cut out."""
    text = printable(text)
    if cell_len(text) <= most:
        return text
    end = max(0, most - 3) // 2
    tail = text[-end:] if end else ""
    while cell_len(tail) > end:
        tail = tail[1:]
    return set_cell_size(text, max(0, most - 3) - cell_len(tail)).rstrip() + "..." + tail
