"""A run that is killed and started again ends with the bits of an undisturbed one."""

from __future__ import annotations

import sys

import pytest

from tests.cli.killed_runs import ENSEMBLE, NETWORK, killed


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")
@pytest.mark.parametrize(("what", "kills"), [(NETWORK, 3), (ENSEMBLE, 2)])
def test_killed_runs_end_with_the_same_bits(what: tuple[str, ...], kills: int) -> None:
    assert sum(killed(what, kills)) == kills
