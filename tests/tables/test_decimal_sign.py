"""One decimal sign per table: what decides it, and what is said where nothing does."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.tables.encoder import TableEncoder
from gpubp.tables.frame import as_table
from gpubp.tables.read import ReadOptions, read_chunks, read_table
from gpubp.tables.table import Table
from gpubp.tables.target import infer_task, numbers_of

GERMAN = "a;b;y\n" + "".join(f"{k + 20},0{k};1,00{k};50,91{k}\n" for k in range(5))


def _numbers(table: Table, name: str) -> list[float]:
    return numbers_of(table, (name,)).ravel().tolist()


def test_one_cell_decides_for_all_columns_and_the_target(write):
    table = read_table(write(GERMAN))
    assert table.decimal == ","
    assert _numbers(table, "a")[:2] == [20.00, 21.01]
    assert _numbers(table, "b")[:2] == [1.000, 1.001]
    assert _numbers(table, "y")[:2] == [50.910, 50.911]
    assert "read as 50.91" in infer_task(table, ("y",))[1]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x;y\n1.234;20,02\n1.500;0,35\n", [1234, 1500]),  # a point is a thousands separator
        ("x;y\n1.234;50,916\n1.500;60,916\n", [1234, 1500]),  # ";" decides
        ("x\ty\n1,234\t50,916\n1,500\t1\n", [1.234, 1.5]),  # and so does a tab
        ('x,y\n"1,234",0.35\n"1,500",1.5\n', [1234, 1500]),  # the target shows a point
        ('x,z,y\n"1,234",0.35,a\n"1,500",1.5,b\n', [1234, 1500]),  # a column of numbers does
        ("x;z;y\n1,234;0.35;a\n1,500;2.5;b\n", [1234, 1500]),  # against ";"
        ('x;y\n1,234;"1.234,50"\n1,500;7\n', [1.234, 1.5]),
        ('x;y\n1,234;"1,234.50"\n1,500;7\n', [1234, 1500]),
        ("x;y\n1.234;7\n1.500;8\n", [1.234, 1.5]),  # plain numbers without any comma
    ],
)
def test_what_decides(write, text, values):
    table = read_table(write(text))
    assert _numbers(table, "x") == values
    found = TableEncoder(numeric=["x"], min_frequency=1).fit(table)
    assert found.types_[0].statistics.low == values[0]
    assert not any("--decimal" in remark for remark in found.types_[0].remarks)


def test_an_undecided_table_names_the_option(write):
    path = write('x,y\n"1,234","50,916"\n"1,500","60,916"\n')
    table = read_table(path)
    assert table.decimal is None
    assert _numbers(table, "y") == [50916, 60916]
    doubt = "'{}' could be {} or {}: read as {}; --decimal , reads {}"
    assert doubt.format("50,916", 50916, 50.916, 50916, 50.916) in infer_task(table, ("y",))[1]
    x = TableEncoder(min_frequency=1).fit(table).types_[0]
    assert x.remarks == (doubt.format("1,234", 1234, 1.234, 1234, 1.234),)
    assert _numbers(read_table(path, ReadOptions(decimal=",")), "y") == [50.916, 60.916]


def test_cells_that_contradict_are_read_by_column_with_a_remark(write):
    table = read_table(write('x,z,y\n"20,02",1.5,a\n"21,50",2.25,b\n'))
    assert _numbers(table, "x") == [20.02, 21.5]
    assert _numbers(table, "z") == [1.5, 2.25]
    (note,) = table.notes  # read again with commas, where 1.5 is text
    assert note.startswith("'20,02' in column 'x' has a decimal comma, '1.5' in column 'z' a")
    table = read_table(write('x,z,y\n"20,02","1,234.5",a\n"21,50","2,345.5",b\n'))
    assert _numbers(table, "x") == [20.02, 21.5]
    assert _numbers(table, "z") == [1234.5, 2345.5]
    assert table.notes == (
        "'20,02' in column 'x' has a decimal comma, '1,234.5' in column 'z' a decimal point; each "
        "column is read by its own cells, and --decimal sets the sign of ambiguous columns",
    )


def test_text_that_is_no_number_decides_nothing(write):
    text = "note;x\n" + "".join(f"about {k},02;1.{k}23\n" for k in range(9))
    table = read_table(write(text + "20,02;1.923\n"))
    assert table.decimal is None
    assert _numbers(table, "x")[1] == 1.123


def test_frames_and_arrays():
    table = {"a": ["20,02", "1,007"], "y": ["50,916", "7"]}
    encoder = TableEncoder().fit(table)
    assert encoder.decimal_ == ","
    assert [found.statistics.high for found in encoder.types_] == [20.02, 50.916]
    assert as_table(table).decimal is None  # who predicts goes by the model


def test_the_model_keeps_the_sign_for_its_reader(write):
    encoder = TableEncoder().fit(read_table(write(GERMAN)))
    assert encoder.decimal_ == ","
    again = TableEncoder.from_parts(encoder.to_header(), encoder.tensors())
    assert again.decimal_ == ","
    assert again.text_columns_ == ()
    options = ReadOptions(decimal=again.decimal_)
    path = write("b;a;y\n1.234;22,02;1,5\nx;22,02;1,5\n", "new.csv")
    (chunk,) = read_chunks(path, 9, options, as_text=again.text_columns_)
    b = encoder.types_[1].statistics
    bound = encoder.encodings_[1].bind(chunk.rows(0, 1).column("b"), str, "float64")
    out = np.zeros((1, 1))
    bound.dense(slice(None), out)
    assert out[0, 0] == pytest.approx((1234 - b.mean) / b.scale)


def test_a_column_of_its_own_sign_is_kept_as_text(write):
    text = 'x,z,y\n"20,02","1,234.5",a\n"21,50","2,345.5",b\n'
    encoder = TableEncoder(min_frequency=1).fit(read_table(write(text)))
    assert encoder.text_columns_ == ("x", "y")
    (chunk,) = read_chunks(write("x,z,y\n1.234,5,a\n", "n.csv"), 9, as_text=encoder.text_columns_)
    assert chunk.column("x").cell(0) == "1.234"  # that is 1234 there
