"""A model whose outputs are not finite is refused by every command, in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import gpubp
from gpubp.__main__ import main
from gpubp.explain.trained_model import of_model
from gpubp.models.table_estimators import NonFiniteOutputError
from gpubp.storage.model_file import ModelRecord, read_model, write_model
from gpubp.tables.read import read_table

FAST = ("--hidden", "6", "--epochs", "3", "--quiet", "--preset", "plain")


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file m, a model that was trained before; data.csv is its table."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    lines = [f"{a:.3f},{b:.3f},{'no' if a < b else 'yes'}" for a, b in X]
    Path("data.csv").write_text("\n".join(["a,b,y", *lines, ""]), encoding="utf-8")
    assert main(["train", "data.csv", *FAST, "-o", "m"]) == 0


def _error(capsys: pytest.CaptureFixture[str], *args: object, code: int = 1) -> str:
    """The one line that a failing command prints on stderr."""
    capsys.readouterr()
    assert main([str(arg) for arg in args]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error.strip()


def _with_weights(first: float, bias: float, second: float) -> ModelRecord:
    """The model in the file m with weights of these sizes, whose sign alternates in the output."""
    record, signs = read_model("m"), np.resize([[1], [-1]], (6, 1))
    made = {"coefs.0": np.full((2, 6), first), "intercepts.0": np.full(6, bias)}
    made["coefs.1"] = second * signs
    record.tensors.update({name: np.float32(array) for name, array in made.items()})
    return record


@pytest.fixture
def useless(good: None) -> str:
    """A file made by hand: a model of data.csv with finite weights whose outputs are not."""
    record = _with_weights(first=3e38, bias=3e38, second=0.5)
    write_model("useless", record)
    return "useless"


@pytest.mark.parametrize(
    "command", ["predict", "predict --proba", "evaluate", "evaluate --json", "explain --row 1"]
)
def test_a_model_whose_outputs_are_not_finite_is_refused(
    useless: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *flags = command.split()
    error = _error(capsys, name, useless, "data.csv", *flags)
    assert re.fullmatch(
        r"Error: data.csv, data row \d+: the network's output is not finite, as its weights reach "
        r"3e\+38; train the model again with a smaller learning rate",
        error,
    )


def test_a_model_whose_outputs_are_not_finite_is_refused_in_python(useless: str) -> None:
    model, table = gpubp.load(useless), read_table("data.csv")
    X = np.array([table.columns[name].values for name in "ab"]).T
    for attempt in (
        lambda: model.predict(X),
        lambda: model.predict_proba(table),
        lambda: model.evaluate(table),
        lambda: of_model(model, table, 1),
    ):
        with pytest.raises(NonFiniteOutputError, match="smaller learning rate"):
            attempt()


@pytest.mark.parametrize("command", ["predict", "evaluate", "explain --row 2"])
def test_a_cell_that_overflows_the_network_is_named(
    good: None, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *flags = command.split()
    Path("far.csv").write_text("a,b,y\n0,1,no\n1,0,yes\n1,-3e38,no\n", encoding="utf-8")
    Path("out.csv").write_text("old", encoding="utf-8")
    flags += ["-o", "out.csv"] if name == "predict" else []
    write_model("m", _with_weights(first=-20, bias=0, second=0.5))
    error = _error(capsys, name, "m", "far.csv", *flags)
    assert error.startswith(
        "Error: far.csv, data row 3, column 'b': the network's output is not finite"
    )
    assert error.endswith("mean of training; correct the cell or remove the row")
    assert Path("out.csv").read_text(encoding="utf-8") == "old"
