"""Files written for one test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpubp.tables.column import NumberColumn
from gpubp.tables.table import Table


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes text (in UTF-8, without translation of line ends) or bytes, and gives the path."""

    def write(content: str | bytes, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def cells(table: Table, name: str) -> list[object]:
    """The cells of a column: floats or texts, None for a gap."""
    column = table.column(name)
    gaps = column.is_gap()
    if isinstance(column, NumberColumn):
        values = column.values.tolist()
        return [None if gap else value for value, gap in zip(values, gaps, strict=True)]
    return [None if gap else text for text, gap in zip(column.texts(), gaps, strict=True)]


def assert_equal(a: Table, b: Table) -> None:
    """Equal names, kinds and cells, bit for bit."""
    assert a.names == b.names
    assert len(a) == len(b)
    for name in a.names:
        one, two = a.column(name), b.column(name)
        assert type(one) is type(two)
        if isinstance(one, NumberColumn):
            assert one.values.dtype == two.values.dtype
            assert one.values.tobytes() == two.values.tobytes()
        else:
            assert one.values.tolist() == two.values.tolist()
            np.testing.assert_array_equal(one.codes, two.codes)
