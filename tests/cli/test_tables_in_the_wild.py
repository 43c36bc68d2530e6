"""Tables as people met them, from `gpubp train` to `gpubp predict` on the same file.

Each is rebuilt after a public report with 40 rows or so; see the issue "tables as they are".
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.cli.running import Run, one_line

FAST = ("--hidden", "4", "--epochs", "2", "--preset", "plain")
AB = np.random.default_rng(1).normal(size=(40, 2)).round(3)
YES = np.where(AB.sum(axis=1) > 0, "yes", "no").tolist()
YESNO = {"no", "yes"}


def _table(
    header: Sequence[str] = ("a", "b", "y"),
    separator: str = ",",
    end: str = "",
    **columns: Sequence[object],
) -> bytes:
    """CSV of the columns a, b and y, with others in their place."""
    known = {"a": AB[:, 0], "b": AB[:, 1], "y": YES} | columns
    rows = zip(*(known[name] for name in header), strict=True)
    lines = [separator.join(map(str, row)) for row in [header, *rows]]
    return "".join(f"{line}{end}\n" for line in lines).encode()


def _with(values: Sequence[object], **cells: object) -> list[object]:
    """The values with others at some rows, such as r7."""
    found = list(values)
    for row, cell in cells.items():
        found[int(row[1:])] = cell
    return found


def _gaps(marker: str, values: Sequence[object] = AB[:, 0]) -> list[object]:  # type: ignore[assignment]
    return _with(values, r2=marker, r11=marker, r20=marker, r33=marker)


@dataclass(frozen=True)
class Case:
    """A file, and what is right.

    inputs : of the network. labels : that may be predicted; None for a regression. notes : parts
    of what is printed. rows : trained on and tested.
    """

    content: bytes
    inputs: int = 2
    labels: frozenset[str] | set[str] | None = frozenset(YESNO)
    notes: tuple[str, ...] = ()
    rows: int = 40
    name: str = "t.csv"


COLORS = ["red", "green", "blue", "red"] * 10
DAYS = [f"2024-01-{k % 12 + 1:02}" for k in range(40)]
IDS = [f"C{k:04}" for k in range(40)]
LEFT_OUT = "4 of 40 rows are left out, as they have no target"
TARGET = "target 'y' (the last column; --target names another)"
COMMAS = [str(x).replace(".", ",") for x in AB[:, 0]]
HUGE = [f"118985087625060832{87 + k % 2}" for k in range(40)]
LATE = np.tile(AB[:, 0], 150)
CASES = {
    "commas": Case(_table(), notes=(TARGET,)),
    "semicolons": Case(_table(separator=";")),
    "tabs": Case(_table(separator="\t"), name="t.tsv"),
    "pipes": Case(_table(separator="|")),
    "gzip": Case(gzip.compress(_table(), mtime=0), name="t.csv.gz"),
    "text": Case(_table(("color", "b", "y"), color=COLORS), inputs=4, notes=("one-hot, 3 values",)),
    "booleans": Case(_table(a=[str(k % 3 == 0) for k in range(40)]), notes=("boolean",)),
    "gaps NA": Case(_table(a=_gaps("NA")), inputs=3),
    "gaps ?": Case(_table(a=_gaps("?")), inputs=3),
    "gaps empty": Case(_table(a=_gaps("")), inputs=3),
    "gaps #N/A": Case(_table(a=_gaps("#N/A")), inputs=3),
    "text target with NA": Case(_table(y=_gaps("NA", YES)), notes=(LEFT_OUT,), rows=36),
    "text target with blanks": Case(_table(y=_gaps("", YES)), notes=(LEFT_OUT,), rows=36),
    "number target with null": Case(
        _table(y=_gaps("null", AB.sum(axis=1).round(3))), labels=None, notes=(LEFT_OUT,), rows=36
    ),
    "labels 01 and 02": Case(_table(y=[f"0{k % 2 + 1}" for k in range(40)]), labels={"01", "02"}),
    "dates": Case(
        _table(("day", "a", "y"), day=DAYS), inputs=5, notes=("day, weekday, seconds since",)
    ),
    "ids": Case(_table(("id", "a", "b", "y"), id=IDS), notes=("all 40 values differ, as ids do",)),
    "comments on top": Case(b"# exported by tool\n# v1\n" + _table()),
    "a title on top": Case(b"Monthly report\n\n" + _table()),
    "thousands": Case(
        _table(a=[f'"{abs(x) + 1:.3f}"'.replace(".", ",") for x in AB[:, 0]]),
        notes=("number", "is read as"),  # other cells have a decimal point
    ),
    "decimal commas": Case(_table(separator=";", a=COMMAS, b=COMMAS[::-1]), notes=("is read as",)),
    "no header": Case(
        _table().partition(b"\n")[2], notes=("no header was found: the columns are called x0, x1",)
    ),
    "two of a name": Case(b"a,a,y" + _table()[5:], notes=("more than one column 'a'",)),
    "trailing commas": Case(_table(end=",")),
    "target in front": Case(
        _table(("y", "a", "b")),
        labels=None,
        notes=("target 'b' (the last column; --target names another)",),
    ),
    "UTF-16": Case(_table().decode().encode("utf-16")),
    "a gap far down": Case(
        _table(a=_with(LATE, r5999="n/a"), b=np.tile(AB[:, 1], 150), y=YES * 150),
        inputs=3,
        rows=6000,
    ),
    "a stray far down": Case(
        _table(a=_with(LATE, r5999="unclear"), b=np.tile(AB[:, 1], 150), y=YES * 150),
        inputs=3,
        rows=6000,
        notes=("'unclear' in 1 row is not a number and counts as a gap",),
    ),
    "a class of one row": Case(
        _table(y=["ok"] * 39 + ["rare"]), labels={"ok", "rare"}, notes=("'ok'",)
    ),
    "a total": Case(
        _table() + b"Total,,\n", notes=("1 of 41 rows is left out, as it has no target",), inputs=2
    ),
    "25 codes": Case(
        _table(a=np.tile(AB[:, 0], 5), b=np.tile(AB[:, 1], 5), y=[k % 25 + 1 for k in range(200)]),
        labels=None,
        notes=("--task classification",),
        rows=200,
    ),
    "labels of 20 digits": Case(_table(y=HUGE), labels=set(HUGE)),
    "one percent": Case(
        _table(a=np.tile(AB[:, 0], 25), b=np.tile(AB[:, 1], 25), y=["bad"] * 10 + ["ok"] * 990),
        labels={"bad", "ok"},
        notes=("balanced accuracy",),
        rows=1000,
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_table_trains_and_predicts(run: Run, kind: str) -> None:
    case = CASES[kind]
    Path(case.name).write_bytes(case.content)
    trained = run("train", case.name, *FAST, "-o", "m")
    told = " ".join((trained.out + trained.err).split())
    for note in case.notes:
        assert note in told
    result = run("train", case.name, "--json", *FAST, "-o", "again").events[-1]
    assert result["task"] == ("regression" if case.labels is None else "classification")
    assert result["rows"] + result["test_rows"] == case.rows
    assert result["layers"][0] == case.inputs
    predicted = run("predict", "m", case.name)
    assert len(predicted.rows) >= case.rows
    if case.labels is None:
        assert np.isfinite(predicted.column()).all()
        return
    assert {row["prediction"] for row in predicted.rows} <= case.labels
    header = run("predict", "m", case.name, "--proba").out.partition("\n")[0].split(",")
    assert header == ["prediction", *(f"proba_{label}" for label in sorted(case.labels))]


def test_dialects_give_the_same_model(run: Run) -> None:
    models = []
    for kind in ("commas", "semicolons", "tabs", "pipes", "gzip"):
        Path(CASES[kind].name).write_bytes(CASES[kind].content)
        run("train", CASES[kind].name, *FAST, "--quiet", "-o", "m")
        models.append(Path("m").read_bytes())
    assert all(model == models[0] for model in models)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_table().replace(b"\n", b"\n1,2\n", 5).replace(b"\n1,2\n", b"\n", 4), "line 6"),
        (b"a,b,y\n", "has a header but no rows"),
        (b"", "is empty"),
    ],
)
def test_a_table_of_no_use_gives_one_error(run: Run, content: bytes, message: str) -> None:
    Path("t.csv").write_bytes(content)
    assert message in one_line(run("train", "t.csv", *FAST, code=1))


@pytest.fixture
def base(run: Run) -> Callable[[bytes], list[str]]:
    """What predicts a file by a model of the table with commas."""
    Path("base.csv").write_bytes(_table())
    run("train", "base.csv", *FAST, "-o", "m")

    def predict(content: bytes) -> list[str]:
        Path("new.csv").write_bytes(content)
        return run("predict", "m", "new.csv").out.splitlines()

    return predict


def test_doubled_columns_that_are_not_needed(base: Callable[[bytes], list[str]]) -> None:
    assert len(base(_table(("a", "b", "n", "n"), n=IDS))) == 41


def test_a_blank_line(base: Callable[[bytes], list[str]]) -> None:
    assert len(base(b"a,b\n1,2\n\n3,4\n")) == 3


def test_a_header_alone(base: Callable[[bytes], list[str]]) -> None:
    assert base(b"a,b\n") == ["prediction"]


def test_another_order_with_other_columns_unseen_texts_and_gaps(run: Run) -> None:
    content = _table(("color", "b", "y"), color=COLORS)
    Path("t.csv").write_bytes(content)
    run("train", "t.csv", *FAST, "-o", "m")
    Path("new.csv").write_text("more,b,color\n1,0.5,red\n2,NA,mauve\n3,1,\n", encoding="utf-8")
    assert len(run("predict", "m", "new.csv", "--proba").rows) == 3


def test_a_rare_class_is_tested_and_missed_aloud(run: Run) -> None:
    noise = np.random.default_rng(2).normal(size=(2, 1000)).round(3)
    Path("t.csv").write_bytes(_table(a=noise[0], b=noise[1], y=["bad"] * 10 + ["ok"] * 990))
    result = run("train", "t.csv", "--json").events[-1]
    assert {of["label"]: of["rows"] for of in result["classes"]} == {"bad": 2, "ok": 198}
    assert result["test"]["balanced_accuracy"] == 0.5
    assert "class 'bad' is never predicted, but has 2 of 200 test rows" in result["remarks"][-1]
