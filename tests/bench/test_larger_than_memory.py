"""The table of `bench/larger_than_memory.py`: a problem whose least loss is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpubp.bench import larger_than_memory
from gpubp.bench.larger_than_memory import CATEGORIES, NUMBERS, written
from gpubp.tables.read import read_table

pytest.importorskip("duckdb")


def test_the_table_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(larger_than_memory, "BLOCK", 1000)
    path = tmp_path / "larger.parquet"
    least = written(path, 3500)
    table = read_table(path)
    assert (len(table), len(table.names)) == (3500, NUMBERS + CATEGORIES + 1)
    y = table.column("y").values  # type: ignore[union-attr]
    rate = np.mean(y)
    assert 0.2 < rate < 0.8
    assert 0.3 < least < -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    before = path.stat().st_mtime_ns
    assert written(path, 3500) == least
    assert path.stat().st_mtime_ns == before
