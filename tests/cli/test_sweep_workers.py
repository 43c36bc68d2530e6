"""Sweeps whose trials are trained by other processes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import click
import pytest

from gpubp.cli import sweep_workers
from gpubp.estimators import fit_estimators
from tests.cli.running import LABELS, Run, features, one_line, write_csv
from tests.cli.test_sweep_resume import ARGS, SPACE, assert_same_sweep, interrupt_at


@pytest.fixture
def folder(run: Run) -> None:
    write_csv("table.csv", **features(), y=LABELS)
    Path("space.toml").write_text(SPACE)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of workers of each training; an error of the workers fails the test."""
    found: list[int] = []
    train = fit_estimators.train_on_workers

    def counting(workers: Any, *others: Any, **options: Any) -> bool:
        found.append(workers.count)
        return train(workers, *others, **options | {"note": pytest.fail})

    monkeypatch.setattr(fit_estimators, "train_on_workers", counting)
    return found


def test_an_interrupted_sweep_resumes_with_other_workers(
    run: Run, folder: None, monkeypatch: pytest.MonkeyPatch, counts: list[int]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        stopped = run(*ARGS, "--jobs", "2", code=130)
    assert "5 of 12 trials" in stopped.out
    assert set(counts) == {2}
    resumed = run(*ARGS, "--resume", "--csv", "t.csv")
    assert "5 from the journal" in resumed.out
    counts.clear()
    assert_same_sweep(run, "t.csv")
    assert counts == []


def test_workers_of_dask(run: Run, folder: None, counts: list[int]) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    result = run(*ARGS, "--backend", "dask", "--jobs", "2", "--csv", "t.csv")
    assert all("12 trials" in line for line in result.err.splitlines())  # no logs of Dask
    assert set(counts) == {2}
    assert_same_sweep(run, "t.csv")


def test_a_scheduler_that_runs(run: Run, folder: None, counts: list[int]) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        run(*ARGS, "--scheduler", cluster.scheduler_address, "--csv", "t.csv")
    assert set(counts) == {1}
    assert_same_sweep(run, "t.csv")


def test_a_scheduler_that_does_not_answer(
    run: Run, folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    monkeypatch.setattr(sweep_workers, "CONNECT_SECONDS", 0.5)
    message = one_line(run(*ARGS, "--scheduler", "tcp://127.0.0.1:9", code=1))
    assert "--scheduler tcp://127.0.0.1:9 does not answer" in message
    assert "such as tcp://host:8786" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scheduler", "a:1", "--backend", "loky"), "--backend is loky; leave one out"),
        (("--scheduler", "a:1", "--jobs", "2"), "--scheduler has workers of its own"),
        (("--jobs", "0"), "'--jobs': 0 is not in the range"),
        (("--backend", "dusk"), "did you mean 'dask'?"),
    ],
)
def test_options_that_contradict_each_other(
    run: Run, folder: None, options: tuple[str, ...], message: str
) -> None:
    assert message in one_line(run(*ARGS, *options, code=2))


@pytest.mark.parametrize(
    "address", ["localhost", "http://host:8786", "tcp://host", "tcp://host:port"]
)
def test_an_address_of_no_scheduler(run: Run, folder: None, address: str) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    message = one_line(run(*ARGS, "--scheduler", address, code=2))
    assert f"--scheduler {address} is not an address" in message
    assert "such as tcp://host:8786" in message


@pytest.mark.parametrize("options", [{"jobs": 2}, {"backend": "dask"}])
def test_ranks_of_mpi_are_the_workers(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(sweep_workers, "launched", lambda: ("srun", 4, 0))
    given: dict[str, Any] = {"jobs": None, "backend": None, "scheduler": None}
    sweep_workers.check_workers(given)
    with pytest.raises(click.UsageError, match="srun started 4 processes, which train the trials"):
        sweep_workers.check_workers(given | options)


@pytest.mark.parametrize("options", [("--backend", "dask"), ("--scheduler", "a:1")])
def test_dask_is_missing(
    run: Run, folder: None, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = one_line(run(*ARGS, *options, code=2))
    assert "run pip install 'gpubp[dask]'" in message
