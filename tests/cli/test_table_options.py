"""Options of `gpubp train` that are derived from the tables of solvers and schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gpubp
from gpubp.__main__ import main
from gpubp.backprop.hyperparameter_spec import HyperparameterSpec
from gpubp.backprop.solvers import SOLVER_NUMBERS, SOLVERS
from gpubp.training.schedules import SCHEDULE_NUMBERS, SCHEDULES

FAST = ("--hidden", "4", "--epochs", "2", "--preset", "plain")
NUMBERS = [
    *(("solver", entry, name) for name, of in SOLVER_NUMBERS.items() for entry in of),
    *(("schedule", entry, name) for name, of in SCHEDULE_NUMBERS.items() for entry in of),
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(*options: str) -> dict[str, Any]:
    """Return the parameters of the model that `gpubp train iris` saves."""
    assert main(["train", "iris", *FAST, *options]) == 0
    return gpubp.load("model.safetensors").network_.get_params()  # type: ignore[no-any-return]


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["train", "iris", *FAST, *options]) == 2
    assert not Path("model.safetensors").exists()
    return capsys.readouterr().err


def parameter_of(table: str, entry: str, name: str) -> HyperparameterSpec:
    return (SOLVER_NUMBERS if table == "solver" else SCHEDULE_NUMBERS)[name][entry]


def chosen(table: str, entry: str) -> tuple[str, ...]:
    """Return the flags that choose an entry, and a solver that trains by it."""
    solvers = SCHEDULES[entry].solvers if table == "schedule" else None
    return (f"--{table}", entry, *(("--solver", solvers[0]) if solvers else ()))


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@pytest.mark.parametrize("solver", SOLVERS)
def test_train_takes_every_solver(solver: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained("--solver", solver)["solver"] == solver
    assert main(["train", "--help"]) == 0
    assert f"{solver}: {SOLVERS[solver].doc}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_train_takes_every_schedule(schedule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained(*chosen("schedule", schedule))["learning_rate"] == schedule
    assert main(["train", "--help"]) == 0
    assert f"{schedule}: {SCHEDULES[schedule].doc}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("table", "entry", "name"), NUMBERS)
def test_train_takes_every_number_of_an_entry(table: str, entry: str, name: str) -> None:
    parameter, flags = parameter_of(table, entry, name), chosen(table, entry)
    if parameter.kind is bool:
        for value in (True, False):
            assert trained(*flags, f"--{'' if value else 'no-'}{flag_of(name)[2:]}")[name] == value
        return
    value = parameter.kind(0.25 if parameter.high == 1 else 7)
    assert trained(*flags, flag_of(name), str(value))[name] == value
    Path("run.toml").write_text(f"{flag_of(name)[2:]} = {value}\n", encoding="utf-8")
    assert trained(*flags, "--config", "run.toml")[name] == value


@pytest.mark.parametrize(("table", "entry", "name"), NUMBERS)
def test_a_number_out_of_range_or_of_another_entry_is_refused(
    table: str, entry: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parameter = parameter_of(table, entry, name)
    others = SOLVERS if table == "solver" else SCHEDULES
    other = next(key for key, each in others.items() if parameter not in each.parameters)
    bad = () if parameter.kind is bool else ("-1",)
    if bad:
        assert f"'{flag_of(name)}': -1" in refused(
            capsys, *chosen(table, entry), flag_of(name), "-1"
        )
    if other not in (SOLVER_NUMBERS | SCHEDULE_NUMBERS)[name]:
        value = () if parameter.kind is bool else ("0.5" if parameter.kind is float else "5",)
        message = refused(capsys, f"--{table}", other, flag_of(name), *value)
        assert f"{flag_of(name)} is for --{table} " in message
        assert f"got --{table} {other}; leave it out" in message


def test_a_default_of_the_estimators_that_is_not_the_solver_s_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The estimator could not tell it from a number that was left out."""
    differ = [
        (name, entry, next(iter(of.values())).default, own.default)
        for name, of in SOLVER_NUMBERS.items()
        for entry, own in of.items()
        if own.default != next(iter(of.values())).default
    ]
    assert differ
    for name, solver, default, _ in differ:
        message = refused(capsys, "--solver", solver, flag_of(name), str(default))
        assert f"{flag_of(name)} {default} would be replaced by" in message
        assert main(["train", "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        others = [f"{entry}: {value}" for of, entry, _, value in differ if of == name]
        assert f"[default: {'; '.join([str(default), *others])}]" in text


@pytest.mark.parametrize("schedule", [k for k, entry in SCHEDULES.items() if entry.solvers])
def test_a_schedule_for_another_solver_is_refused(
    schedule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "--schedule", schedule, "--solver", "adam")
    assert f"--schedule {schedule} is for --solver sgd, got --solver adam" in message
    message = refused(capsys, "--schedule", "cosine", "--solver", "lbfgs")
    assert "--schedule is for --solver adam" in message


def test_numbers_of_the_solver_that_the_recipe_chooses_need_no_solver() -> None:
    found = trained("--weight-decay", "0", "--beta-1", "0.8")
    assert (found["solver"], found["weight_decay"], found["beta_1"]) == ("adamw", 0.0, 0.8)
