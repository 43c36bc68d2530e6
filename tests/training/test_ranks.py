"""Rank 0 and its service, with other ranks that are simulated."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from gpubp import run_on_ranks
from gpubp.backends import blas_threads
from gpubp.backends.blas_threads import share_cores
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.distributed.communicator import SINGLE, Single
from gpubp.training.ranks import (
    Ranks,
    current_ranks,
    measured_by_all,
    ranks_in_use,
    signals_later,
)


class Recorded(Single):
    """Three processes, of which the others only record what they receive."""

    size = local_size = 3

    def __init__(self) -> None:
        self.sent: list[tuple[int, Any]] = []

    def send(self, value: Any, rank: int) -> None:
        self.sent.append((rank, value))


def test_without_a_launcher_main_runs_alone() -> None:
    assert run_on_ranks(current_ranks) is None
    ranks = run_on_ranks(current_ranks, reproducible=True)
    assert ranks is not None
    assert ranks.communicator is SINGLE
    assert ranks.reproducible
    assert not ranks.others
    assert current_ranks() is None


def test_a_job_is_sent_to_all_other_ranks() -> None:
    ranks = Ranks(Recorded())
    with ranks.job(print):
        assert ranks.communicator.sent == [(1, print), (2, print)]  # type: ignore[attr-defined]


def test_jobs_of_threads_take_turns() -> None:
    ranks, began = Ranks(Recorded()), threading.Event()

    def second() -> None:
        with ranks.job(print):
            began.set()

    with ranks.job(print):
        thread = threading.Thread(target=second)
        thread.start()
        assert not began.wait(0.1)
    thread.join(10)
    assert began.is_set()


def test_an_error_within_a_step_ends_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), Ranks(Recorded()).in_step():
        raise ZeroDivisionError
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_ranks_that_train_are_not_for_another_training() -> None:
    ranks = Ranks(Recorded())
    with ranks_in_use(ranks):
        assert current_ranks() is ranks
        with ranks.job(print):
            assert current_ranks() is None
            ranks.reproducible = True
            alone = current_ranks()
    assert alone is not None
    assert alone.reproducible
    assert not alone.others


def test_ctrl_c_takes_effect_after_the_step() -> None:
    ranks, done = Ranks(Recorded()), []

    def step() -> None:
        with ranks.in_step():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("the rest of the step")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals_later():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_measurement_without_ranks_is_of_one_process() -> None:
    assert measured_by_all(lambda communicator: communicator.size) == 1
    ranks = Ranks(Recorded())
    with ranks_in_use(ranks):
        assert measured_by_all(lambda communicator: communicator.size) == 3
    assert [rank for rank, job in ranks.communicator.sent if job] == [1, 2]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("usable", "before", "expected"), [(8, 8, 2), (4, 4, 4), (8, 1, 1), (2, 2, 2)]
)
def test_a_rank_takes_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, usable: int, before: int, expected: int
) -> None:
    """Of 8 cores for 4 ranks; a launcher or OPENBLAS_NUM_THREADS may give a rank fewer."""

    class Library:
        threads = before

        def get_num_threads(self) -> int:
            return self.threads

        def set_num_threads(self, threads: int) -> None:
            self.threads = threads

    library = Library()
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(blas_threads, "usable_cores", lambda: usable)
    monkeypatch.setattr(blas_threads, "_libraries", lambda: [library])
    share_cores(4)
    assert library.threads == expected


def test_rows_are_shared_if_there_are_enough() -> None:
    ranks = Ranks(Recorded())
    assert ranks.can_share(3)
    assert not ranks.can_share(2)
    alone = Ranks(SINGLE)
    alone.reproducible = True
    assert alone.can_share(4)
    assert not alone.can_share(3)


def test_reproducible_sums_need_a_number_of_processes() -> None:
    ranks = Ranks(Recorded())
    assert ranks.gradients_on(get_backend("cpu")) == "mpi"
    assert ranks.description(get_backend("cpu")).endswith(
        "3 processes; MPI adds up their gradients"
    )
    ranks.reproducible = True
    with pytest.raises(BackendUnavailableError, match="1, 2 or 4 processes, got 3"):
        ranks.gradients_on(get_backend("cpu"))


@pytest.mark.parametrize(("threads", "expected"), [(None, 1), (2, 2)])
def test_reproducible_products_of_blas_take_one_thread(threads: int | None, expected: int) -> None:
    ranks = Ranks(SINGLE)
    assert ranks.threads(get_backend("cpu"), threads) == threads
    ranks.reproducible = True
    assert ranks.threads(get_backend("cpu"), threads) == expected
