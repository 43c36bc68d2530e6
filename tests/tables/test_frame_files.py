"""A frame, and a file that it is written to, are the same table."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.column_types.dates import parse_dates
from gpubp.tables.frame import as_table
from gpubp.tables.read import DataError, read_table
from tests.tables.conftest import cells

pd = pytest.importorskip("pandas", reason="needs pandas")
pl = pytest.importorskip("polars", reason="needs polars")
pa = pytest.importorskip("pyarrow", reason="needs pyarrow")

LARGE = 2**53


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"id": pd.array([LARGE, LARGE + 1, None], dtype="Int64"), "y": 1}),
        pd.DataFrame({"id": pd.array([LARGE, LARGE + 1, None], dtype="int64[pyarrow]"), "y": 1}),
        pl.DataFrame({"id": [LARGE, LARGE + 1, None], "y": 1}),
        pa.table({"id": [LARGE, LARGE + 1, None], "y": [1, 1, 1]}),
        pl.DataFrame({"id": [Decimal(LARGE), Decimal(LARGE + 1), None], "y": 1}),
    ],
)
def test_integers_beyond_float64_are_text(frame: Any, tmp_path: Path) -> None:
    expected = [str(LARGE), str(LARGE + 1), None]
    assert cells(as_table(frame), "id") == expected
    path = tmp_path / "d.parquet"
    if isinstance(frame, pa.Table):
        frame = pl.from_arrow(frame)
    frame.to_parquet(path) if hasattr(frame, "to_parquet") else frame.write_parquet(path)
    assert cells(read_table(path), "id") == expected


def test_integers_beyond_float64_in_array_files(tmp_path: Path) -> None:
    X = np.array([[LARGE, 1], [LARGE + 1, 2]])
    np.savez(tmp_path / "d.npz", X=X, y=X[:, 0])
    table = read_table(tmp_path / "d.npz")
    assert cells(table, "x0") == [str(LARGE), str(LARGE + 1)]
    assert cells(table, "x1") == [1, 2]


def test_integers_with_gaps_and_decimals_are_numbers() -> None:
    table = as_table(
        pl.DataFrame(
            {
                "i": [1, None, -LARGE],
                "d": [Decimal("1.5"), None, Decimal(2)],
                "f": [Decimal("1.5"), Decimal(LARGE + 1), None],
            }
        )
    )
    assert all(type(column) is NumberColumn for column in table.columns.values())
    assert cells(table, "i") == [1, None, -LARGE]
    assert cells(table, "d") == [1.5, None, 2]


def test_times_with_a_zone_are_in_utc(tmp_path: Path) -> None:
    times = pd.date_range("2020-03-28", periods=9, freq="7h", tz="Europe/Berlin")
    frame = pd.DataFrame({"t": times, "o": times.astype(object), "y": 1})
    frame[["t", "y"]].to_parquet(tmp_path / "t.parquet")
    utc = times.tz_convert(None).to_numpy().astype("datetime64[us]").tolist()
    tables = as_table(frame), as_table(pl.from_pandas(frame[["t", "y"]]))
    found = [*(table.column("t") for table in tables), tables[0].column("o")]
    for column in (*found, read_table(tmp_path / "t.parquet").column("t")):
        assert isinstance(column, TextColumn)
        assert parse_dates(column.texts(), "ymd").tolist() == utc


def test_durations_are_in_microseconds(tmp_path: Path) -> None:
    spans = pd.to_timedelta([1.5, None, 86_400], unit="s")
    for frame in (
        pd.DataFrame({"d": spans.as_unit("us"), "y": 1}),
        pd.DataFrame({"d": spans.as_unit("ns"), "y": 1}),
        pl.from_pandas(pd.DataFrame({"d": spans.as_unit("ms"), "y": 1})),
    ):
        column = as_table(frame).column("d")
        assert_allclose(column.values, [1.5e6, np.nan, 86_400e6])  # type: ignore[arg-type]
    pd.DataFrame({"d": spans.as_unit("us"), "y": 1}).to_parquet(tmp_path / "d.parquet")
    assert cells(read_table(tmp_path / "d.parquet"), "d") == [1.5e6, None, 86_400e6]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({1: [1, 2], "1": [3, 4]}, "X has several columns '1'; rename them"),
        ({"a": np.ones((3, 2))}, r"column 'a' has shape \(3, 2\); give one cell per row"),
        ({"a": 5}, r"column 'a' has shape \(\); give one cell per row"),
    ],
)
def test_dicts_of_no_columns_are_refused(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_table(columns)


def test_masked_cells_of_a_dict_are_gaps() -> None:
    masked = np.ma.array([1.0, 2, 3], mask=[0, 1, 0])
    table = as_table({"a": masked, "b": np.ma.array(["u", "v", "w"], mask=[1, 0, 0])})
    assert cells(table, "a") == [1, None, 3]
    assert cells(table, "b") == [None, "v", "w"]
