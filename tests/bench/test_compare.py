"""Two runs of a suite: results that know the noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gpubp.bench.cases import Case
from gpubp.bench.comparison import Change, compared, comparison_table, has_become_worse
from gpubp.bench.results import Part, Row

CASE = Case("a", (6, 8, 3), 16, 40, "gpubp")
PEER = replace(CASE, peer="sklearn_mlp")
QUIET = (1.00, 1.01, 0.99, 1.00, 1.01)
NOISY = (1.0, 1.6, 0.7, 1.3, 0.8)


def a_part(ours: Any = QUIET, theirs: Any = None, **settings: Any) -> Part:
    rows = [Row(CASE.name, "gpubp", rounds=tuple(ours))] if ours else []
    rows += [Row(PEER.name, PEER.peer, rounds=tuple(theirs))] if theirs else []
    suite = {"baseline": "sklearn_mlp", "cases": [CASE.values(), PEER.values()]}
    machine = {"cpu": "some", "cores": 2}
    return Part(machine, "", 1.0, tuple(rows), {"suite": suite, "threads": 2} | settings)


def scaled(rounds: Any, by: float) -> list[float]:
    return [by * seconds for seconds in rounds]


def change_of(old: Part, new: Part, threshold: float = math.log(1.05)) -> Change:
    return compared(old, new, threshold=threshold)[0]


@pytest.mark.parametrize(
    ("rounds", "by", "result"),
    [
        (QUIET, 1.0, "same"),
        (QUIET, 1.03, "same"),  # larger than the noise, but below the threshold
        (QUIET, 1.2, "slower"),
        (QUIET, 0.8, "faster"),
        (NOISY, 1.2, "unclear"),
        (NOISY, 0.8, "unclear"),
        (NOISY, 5.0, "slower"),
        (QUIET[:2], 1.5, "unclear"),
    ],
)
def test_a_change_counts_if_it_is_larger_than_the_noise(
    rounds: Any, by: float, result: str
) -> None:
    change = change_of(a_part(rounds), a_part(scaled(rounds, by)))
    assert change.result == result
    assert change.speed == pytest.approx(1 / by)
    assert change.by == ""


def test_the_noise_is_that_of_the_medians() -> None:
    change = change_of(a_part(QUIET), a_part(QUIET))
    # Quartiles 1.00 and 1.01 by hand; the notch is 1.57 log(1.01) / sqrt(5), of each.
    expected = math.sqrt(2) * 1.57 * math.log(1.01) / math.sqrt(5)
    assert math.log1p(change.noise) == pytest.approx(expected)


def test_a_machine_that_drifts_changes_nothing_against_a_peer() -> None:
    drift = (1.0, 1.3, 0.8, 1.1, 1.5)
    old = a_part(QUIET, scaled(QUIET, 2))
    slow = [o * d for o, d in zip(QUIET, drift, strict=True)]
    new = a_part(slow, scaled(slow, 2))
    change = change_of(old, new)
    assert (change.result, change.by) == ("same", "sklearn_mlp")
    assert change.speed == pytest.approx(1)
    slower = a_part(scaled(slow, 1.3), scaled(slow, 2))
    assert change_of(old, slower).result == "slower"


def test_other_work_is_not_compared() -> None:
    assert change_of(a_part(), a_part(threads=1)).result == "differs"
    other = a_part()
    other.settings["suite"]["cases"][0] |= {"epochs": 11}
    assert change_of(a_part(), other).result == "differs"
    longer = a_part()
    longer.settings["suite"]["cases"][0] |= {"seconds": 3.0}
    assert change_of(a_part(), longer).result == "same"


def test_rows_that_came_or_went_are_named() -> None:
    old, new = a_part(theirs=QUIET), a_part(ours=None, theirs=QUIET)
    assert [c.result for c in compared(old, new, threshold=0.05)] == ["lost", "same"]
    assert has_become_worse(compared(old, new, threshold=0.05))
    assert change_of(new, old).result == "same"
    assert [c.result for c in compared(new, old, threshold=0.05)] == ["same", "new"]


def test_gpubp_alone_can_become_worse() -> None:
    old = a_part(QUIET, scaled(QUIET, 2))
    assert has_become_worse([change_of(old, a_part(scaled(QUIET, 1.5), scaled(QUIET, 2)))])
    faster_peer = compared(old, a_part(QUIET, scaled(QUIET, 9)), threshold=0.05)
    assert [c.result for c in faster_peer] == ["faster", "slower"]
    assert not has_become_worse(faster_peer)


def test_the_table_names_every_change_and_other_machines() -> None:
    old, new = a_part(), a_part(scaled(QUIET, 2))
    text = comparison_table(old, new, compared(old, new, threshold=0.05))
    assert text.splitlines()[-1].split()[-4:] == ["gpubp", "0.500", "1.0%", "slower"]
    assert "another" not in text
    elsewhere = replace(new, machine={"cpu": "other", "cores": 2})
    assert "another cpu: some and other" in comparison_table(old, elsewhere, [])
