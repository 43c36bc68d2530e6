"""docs/operations.md names every key that `--json` prints."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gpubp.__main__ import main
from tests.docs.pages import DOCS

# Objects whose keys are names of the data, of the machine or of a choice, not of the format.
FREE = {"per_target", "optimizer", "recipe", "costs", "steps_to_cost_of", "versions"}
FREE |= {"notes", "parameters", "inputs", "outputs", "differences"}
RANGE = "alpha = { low = 0.1, high = 1.0 }"
SUITE = """
rounds = 1
peers = ["gpubp"]
baseline = "gpubp"
[[networks]]
name = "small"
sizes = [64, 4, 10]
batches = [600]
data = "digits"
epochs = 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables of one and of two targets, and a suite of the benchmark."""
    folder = tmp_path_factory.mktemp("json")
    with (folder / "churn.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "age", "plan", "since", "left", "u", "v"])
        for k in range(120):
            plan, age = ("free", "pro", "team")[k % 3], "" if k % 9 == 0 else 20 + k % 50
            left = "" if k == 5 else ("yes", "no")[k % 2]
            table.writerow([f"C{k:04}", age, plan, f"2024-03-{k % 28 + 1:02}", left, k / 7, -k])
    (folder / "suite.toml").write_text(SUITE)
    (folder / "space.toml").write_text("hidden_layer_sizes = [[2], [3]]\nmax_iter = 1\n" + RANGE)
    return folder


# In this order: the later ones read the models of the earlier ones.
COMMANDS = [
    "train churn.csv --target left --epochs 2 --validation-size 0.2 --preset plain --json -o 1.st",
    "train churn.csv --target u,v --epochs 2 --json -o two.safetensors",
    "train diabetes --solver lbfgs --epochs 2 --json -o lbfgs.safetensors",
    "train churn.csv --target left --member-rows folds --time-limit 1h --epochs 2 --json -o m.st",
    "inspect m.st --json",
    "convert churn.csv churn.parquet --json",
    "sweep churn.csv --target left --trials 22 --cv 2 --space space.toml --json -o s.safetensors",
    "sweep diabetes --trials 6 --cv 2 --space space.toml --sampler halving --json -o h.safetensors",
    "inspect 1.st --json",
    "inspect two.safetensors --json",
    "export 1.st 1.onnx --json",
    "evaluate 1.st churn.csv --json",
    "evaluate two.safetensors churn.csv --json",
    "explain --check --vary w1 --json",
    "explain 1.st churn.csv --row 3 --json",
    "search --budget 2000 --json",
    "bench suite.toml --json",
    "doctor --scaling --network 8-4-2 --batch 64 --json",
]


def keys_of(value: Any) -> Iterator[str]:
    """Yield the keys of a JSON value and of all objects in it."""
    if isinstance(value, list):
        for entry in value:
            yield from keys_of(entry)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in FREE or isinstance(inner, list):
                yield from keys_of(inner)
            elif key == "parameters" and isinstance(inner, dict):
                yield from keys_of(list(inner.values()))


def test_every_key_is_described(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    missing, seen = {}, set[str]()
    for command in COMMANDS:
        if command.startswith("export") and find_spec("onnx") is None:
            continue
        assert main(command.split()) == 0
        lines = capsys.readouterr().out.splitlines()
        keys = {key for line in lines for key in keys_of(json.loads(line))}
        seen |= keys
        if keys - named:
            missing[command] = sorted(keys - named)
    assert not missing
    assert {"per_target", "validation", "iteration", "blame", "stall", "rounds"} <= seen
    assert {"importances", "share", "rank"} <= seen
