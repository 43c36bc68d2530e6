"""How a table is read, and which of its columns are learned from, by options of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.cli import table_input
from tests.cli.running import FAST, LABELS, Run, X, Y, features, write_csv


def _types(run: Run, *options: object, data: str = "t.csv", stdin: str = "") -> dict[str, str]:
    """The types of the columns that `gpubp train` uses."""
    trained = run("train", data, "--json", *FAST, *options, "-o", "m", stdin=stdin)
    return {column["column"]: column["type"] for column in trained.columns if column["used"]}


@pytest.fixture
def table(run: Run) -> dict[str, Any]:
    """The columns of t.csv: numbers, codes, days and a name with a comma."""
    columns = {
        "a": X[:, 0],
        "code": np.arange(40) % 3 + 7,
        "day": [f"0{k % 9 + 1}/0{k % 7 + 1}/2024" for k in range(40)],
        "b, c": X[:, 1],
        "y": LABELS,
    }
    write_csv("t.csv", **columns)
    return columns


ALL = {"a": "number", "code": "number", "day": "date", "b, c": "number"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ALL),
        (("--drop", "a,day"), {"code": "number", "b, c": "number"}),
        (("--drop", "a", "--drop", "b, c"), {"code": "number", "day": "date"}),
        (("--drop", '"b, c",a'), {"code": "number", "day": "date"}),
        (("--features", "a, code"), {"a": "number", "code": "number"}),
        (("--categorical", "code"), ALL | {"code": "category"}),
        (("--categorical", "code", "--features", "code,day"), {"code": "category", "day": "date"}),
        (("--date", "day:mdy", "--numeric", "a"), ALL),
    ],
)
def test_columns_are_chosen(
    run: Run, table: dict[str, Any], options: tuple[str, ...], expected: dict[str, str]
) -> None:
    assert _types(run, *options) == expected
    assert len(run("predict", "m", "t.csv").rows) == 40


def test_columns_are_chosen_in_a_config(run: Run, table: dict[str, Any]) -> None:
    Path("run.toml").write_text(
        'drop = ["a", "b, c"]\ncategorical = "code"\nno-header = false\nna = ["7", "x"]\n',
        encoding="utf-8",
    )
    trained = run("train", "t.csv", "--config", "run.toml", "--json", *FAST)
    used = {of["column"]: of for of in trained.columns if of["used"]}
    assert {name: of["type"] for name, of in used.items()} == {"code": "category", "day": "date"}
    assert used["code"]["gaps"] > 8  # of the 14 sevens


def _as_text(separator: str = ";", decimal: str = ",", header: bool = True) -> str:
    lines = [
        separator.join([*(f"{x:.6f}".replace(".", decimal) for x in row), str(label)])
        for row, label in zip(X, LABELS, strict=True)
    ]
    return "\n".join(["a;b;c;y".replace(";", separator)] * header + lines) + "\n"


@pytest.mark.parametrize(
    ("text", "encoding", "options"),
    [
        (_as_text(), "utf-8", ("--delimiter", ";", "--decimal", ",")),
        (_as_text("\t", "."), "utf-8", ("--delimiter", "tab")),
        (_as_text().replace("yes", "größer"), "cp1252", ("--encoding", "cp1252")),
        (_as_text(header=False), "utf-8", ("--no-header",)),
    ],
)
def test_every_command_reads_as_the_options_say(
    run: Run, text: str, encoding: str, options: tuple[str, ...]
) -> None:
    Path("t.csv").write_text(text, encoding=encoding)
    assert set(_types(run, *options).values()) == {"number"}
    predicted = run("predict", "m", "t.csv", *options)
    assert {row["prediction"] for row in predicted.rows} <= set(gpubp.load("m").classes_)
    assert run("evaluate", "m", "t.csv", "--json", *options).events[0]["rows"] == 40
    run("explain", "m", "t.csv", "--row", "3", *options)


def test_markers_of_training_hold_in_predict(run: Run) -> None:
    marked = ["-999" if k % 5 == 0 else x for k, x in enumerate(X[:, 0])]
    write_csv("t.csv", a=marked, b=X[:, 1], y=Y)
    trained = run("train", "t.csv", "--na", "-999,none at all", "--json", *FAST, "-o", "m")
    assert trained.events[-1]["layers"][0] == 3
    assert gpubp.load("m").na == ("-999", "none at all")
    predicted = run("predict", "m", "t.csv").column()
    write_csv("blank.csv", a=["" if k % 5 == 0 else x for k, x in enumerate(X[:, 0])], b=X[:, 1])
    assert np.array_equal(run("predict", "m", "blank.csv").column(), predicted)


def test_the_list_of_markers_can_be_turned_off(run: Run) -> None:
    write_csv("t.csv", a=["NA", "None", "x", "y"] * 10, y=Y)
    assert run("train", "t.csv", "--json", *FAST).events[-1]["layers"][0] == 3
    trained = run("train", "t.csv", "--na", "", "--json", *FAST, "-o", "m")
    assert trained.events[-1]["layers"][0] == 4
    assert gpubp.load("m").na == ("",)
    assert trained.columns[0]["gaps"] == 0
    assert len(set(run("predict", "m", "t.csv").column())) == 4


def test_a_query_chooses_rows(run: Run) -> None:
    write_csv("t.csv", **features(), y=LABELS)
    query = "select a, b, y from data where y <> 'no'"
    result = run("train", "t.csv", "--query", query, "--json", *FAST, "-o", "m").events[-1]
    assert (result["rows"] + result["test_rows"], result["layers"][0]) == (26, 2)
    assert len(run("predict", "m", "t.csv", "--query", query).rows) == 26


def test_standard_input_is_trained_on_and_scored(run: Run) -> None:
    text = Path(write_csv("t.csv", **features(), y=LABELS)).read_text(encoding="utf-8")
    run("train", "t.csv", *FAST, "-o", "file")
    assert set(_types(run, data="-", stdin=text)) == {"a", "b", "c"}
    assert Path("m").read_bytes() == Path("file").read_bytes()
    scored = run("evaluate", "m", "-", "--json", stdin=text).events[0]
    assert scored == run("evaluate", "m", "t.csv", "--json").events[0]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_other_files(run: Run, suffix: str) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    write_csv("t.csv", **features(), y=LABELS)
    kind = {".parquet": "parquet", ".jsonl": "json"}[suffix]
    duckdb.sql(f"copy (from 't.csv') to 't{suffix}' (format {kind})")
    assert _types(run, data=f"t{suffix}") == dict.fromkeys("abc", "number")
    assert len(run("predict", "m", f"t{suffix}").rows) == 40


def test_a_pattern_stands_for_several_files(run: Run) -> None:
    for k in range(2):
        write_csv(
            f"part{k}.csv", **features(X[20 * k : 20 * k + 20]), y=LABELS[20 * k : 20 * k + 20]
        )
    trained = run("train", "part*.csv", "--json", *FAST, "-o", "m").events[-1]
    assert trained["rows"] + trained["test_rows"] == 40
    failed = run("predict", "m", "part*.csv", "-o", "part1.csv", code=2)
    assert "is also an input file; give another path" in failed.err


def test_a_slow_query_says_that_it_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_input, "SLOW_QUERY", 0.01)
    write_csv("data.csv", a=[1, 2, 3], y=[1, 2, 4])
    slow = "SELECT a, y FROM data WHERE (SELECT sum(sqrt(i)) FROM range(20000000) t(i)) > 0"
    told = "the query is still running after 0.01 s; Ctrl-C stops it"
    assert told in run("train", "data.csv", "--query", slow, *FAST).err
    assert told not in run("train", "data.csv", *FAST).err


def test_an_option_that_is_given_twice_adds_up(run: Run) -> None:
    write_csv("data.csv", **features(), y=Y, z=-Y)
    trained = run("train", "data.csv", "--target", "y", "--target", "z", "--json", *FAST)
    assert trained.events[-1]["targets"] == ["y", "z"]
    Path("run.toml").write_text('target = ["y", "z"]\nna = "1"\n', encoding="utf-8")
    trained = run("train", "data.csv", "--config", "run.toml", "--json", *FAST)
    assert trained.events[-1]["targets"] == ["y", "z"]


@pytest.mark.parametrize("name", ["idna", "punycode", "unicode_escape", "undefined"])
def test_codecs_that_no_file_is_in(run: Run, table: dict[str, Any], name: str) -> None:
    failed = run("train", "t.csv", "--encoding", name, code=2)
    assert f"{name!r} is not an encoding; give one, such as latin-1" in failed.err


def test_numbers_are_scaled(run: Run) -> None:
    write_csv("t.csv", **features(), y=LABELS)
    for options, encoding in (
        ((), "standardised"),  # with preset plain
        (("--scaling", "standard"), "standardised"),
        (("--scaling", "robust"), "robust, clipped"),
    ):
        trained = run("train", "t.csv", "--json", *FAST, *options, "-o", "m")
        assert [column["encoding"] for column in trained.columns] == [encoding] * 3
        model = gpubp.load("m")
        assert model.scaling == (options or ("", "auto"))[1]
        assert len(run("predict", "m", "t.csv").rows) == 40
    assert "robust, clipped" in run("inspect", "m").out
    error = run("train", "t.csv", "--scaling", "robst", "-o", "m", code=2).err
    assert "did you mean 'robust'?" in error
