"""Programs that use the ranks in odd ways do not hang."""

from __future__ import annotations

import sys

import pytest

from tests.distributed.launching import on_ranks

PROGRAM = ("-m", "tests.distributed.odd_programs")


@pytest.mark.parametrize(
    "name",
    [
        "runs within a run",
        "a scorer that fits",
        "a scorer with threads that fit",
        "a spawned process that runs",
        "a command",
    ],
)
def test_what_a_run_starts_trains_in_one_process(name: str) -> None:
    run = on_ranks(2, *PROGRAM, name)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("ends") == 2  # perhaps in one line


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork safely")
@pytest.mark.parametrize("name", ["a forked process", "a forked process that runs"])
def test_forks_train_in_one_process(name: str) -> None:
    run = on_ranks(2, *PROGRAM, name)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("ends") == 2  # perhaps in one line


def test_an_error_of_a_step_ends_all_even_if_it_is_caught() -> None:
    run = on_ranks(2, *PROGRAM, "an error that is caught")
    assert run.returncode != 0
    assert run.stdout == ""
    assert "ValueError: rank 0 alone fails" in run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_an_error_on_a_full_disk_ends_all() -> None:
    run = on_ranks(2, *PROGRAM, "an error on a full disk")
    assert run.returncode != 0
