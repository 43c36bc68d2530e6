"""Codes such as 007 mean the same wherever they stand in a column of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpubp.tables.column import TextColumn
from gpubp.tables.column_types.column_type import ColumnType
from gpubp.tables.column_types.find_type import find_type
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.read import read_chunks, read_table

DECIMALS = [f"{x:.2f}" for x in 500 + 100 * np.random.default_rng(1).normal(size=3000)]


def _found(path: Path, cells: list[str]) -> ColumnType:
    path.write_text("a,y\n" + "".join(f"{cell},{k % 2}\n" for k, cell in enumerate(cells)))
    table = read_table(path)
    (chunk,) = read_chunks(path, 10_000)
    encoder = TableEncoder(features=["a"]).fit(table)
    np.testing.assert_array_equal(encoder.transform(chunk), encoder.transform(table))
    return encoder.types_[0]


@pytest.mark.parametrize("row", [5, 2900])
def test_a_code_among_decimals_is_a_gap(tmp_path: Path, row: int) -> None:
    found = _found(tmp_path / "d.csv", [*DECIMALS[:row], "007", *DECIMALS[row + 1 :]])
    assert (found.kind, found.gaps, found.strays) == ("number", 1, ("007",))
    assert "'007' in 1 row is not a number and counts as a gap" in found.remarks
    others = np.array([*DECIMALS[:row], *DECIMALS[row + 1 :]], float)
    assert found.statistics is not None
    assert found.statistics.low == others.min()


@pytest.mark.parametrize("first", ["codes", "decimals"])
def test_many_codes_are_no_numbers(tmp_path: Path, first: str) -> None:
    codes = [f"{k:04}" for k in range(3000)]
    parts = [codes, DECIMALS] if first == "codes" else [DECIMALS, codes]
    assert _kind(tmp_path / "d.csv", parts[0] + parts[1]) != "number"


def _kind(path: Path, cells: list[str]) -> str:
    path.write_text("a,y\n" + "".join(f"{cell},{k % 2}\n" for k, cell in enumerate(cells)))
    return find_type("a", read_table(path).column("a")).kind


@pytest.mark.parametrize(
    "cells",
    [
        [f"{k % 12 + 1:02}" for k in range(120)],
        [*[f"{k}" for k in range(10000, 10040)] * 3, "01234"],  # zip codes, one with a 0
        [*[f"{k}" for k in range(100, 900)] * 2, "007"],
    ],
)
def test_columns_of_codes_stay_text(cells: list[str]) -> None:
    assert find_type("a", TextColumn.of(cells)).kind == "category"
