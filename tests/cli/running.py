"""Running the command line in a test, and the tables that its tests take."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PLAIN = ("--preset", "plain")
FAST = ("--hidden", "6", "--epochs", "3", *PLAIN)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)) * [1.0, 50.0, 1e-3] + [0.0, 1e3, 2.0]
Z = (X - X.mean(axis=0)) / X.std(axis=0)
Y = 500 + Z @ [100.0, -50.0, 30.0]
LABELS = np.array(["no", "yes", "may, be"])[np.arange(40) % 3]


@dataclass
class Result:
    """What one call of the command line did."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of stdout, every one of which must be a JSON object."""
        return [json.loads(line, parse_constant=pytest.fail) for line in self.out.splitlines()]

    @property
    def columns(self) -> list[dict[str, Any]]:
        """How the columns were taken, by the first event."""
        first = self.events[0]
        assert first["event"] == "columns"
        return list(first["columns"])

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The events of epochs."""
        return [event for event in self.events if event["event"] == "epoch"]

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out)))

    def column(self, name: str = "prediction") -> np.ndarray:
        return np.array([float(row[name]) for row in self.rows])


Run = Callable[..., Result]


def plain(args: Sequence[object]) -> list[str]:
    """Return the arguments as text, with --preset plain for `train` unless they have a preset."""
    found = [str(arg) for arg in args]
    if found[:1] == ["train"] and "--preset" not in found:
        found[1:1] = PLAIN
    return found


def write_csv(path: str, **columns: Any) -> str:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def features(X: np.ndarray = X) -> dict[str, Any]:
    return {name: X[:, j] for j, name in enumerate("abc")}


def one_line(result: Result) -> str:
    """The one line of an error."""
    assert "Traceback" not in result.err
    lines = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.err
    assert result.err.endswith(f"{lines[0]}\n")
    return lines[0]
