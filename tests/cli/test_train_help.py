"""The help of `gpubp train`, and what it says to a second table."""

from __future__ import annotations

import re

from gpubp.cli.train import train
from gpubp.cli.train_help import GROUPS, LAST
from tests.cli.running import Run, features, one_line, write_csv


def test_each_option_is_under_a_heading(run: Run) -> None:
    told = run("train", "--help").out
    assert re.findall(r"^(\w[^:\n]*):$", told, re.M) == [*GROUPS, LAST]
    names = {param.name for param in train.params} - {"data"}
    grouped = [name for group in GROUPS.values() for name in group]
    assert len(set(grouped)) == len(grouped)
    assert names <= set(grouped)
    shown = re.findall(r"^  (?:-\w, )?--([\w-]+)", told, re.M)
    assert len(set(shown)) == len(shown)
    flags = re.findall(r"^  (?! )(.*)", told.partition("\nTable:\n")[2], re.M)
    assert all(flag.startswith("-") for flag in flags)  # so not the argument DATA
    assert {"target", "solver", "beta-1", "config", "help"} <= set(shown)
    assert told.split("\n\n")[2].strip() == (
        "gpubp train churn.csv --target churn -o churn.safetensors"
    )
    assert " ".join(told.split()).count("by the preset and the size of the table") == 1


def test_a_second_table_is_for_another_command(run: Run) -> None:
    for name in ("a.csv", "b.csv"):
        write_csv(name, **features())
    error = one_line(run("train", "a.csv", "b.csv", "-o", "m", code=2))
    assert "gpubp evaluate m b.csv" in error
    assert "'data/*.csv'" in error
