"""Compares two runs: the rows that became faster or slower by more than the noise of both."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpubp.bench.cases import FLOOR
from gpubp.bench.results import OURS, Part, Row, find

Outcome = Literal["faster", "slower", "same", "unclear", "lost", "new", "differs"]


@dataclass(frozen=True)
class Change:
    """The change of a row from one run to another.

    speed : speed of the new run divided by that of the old. noise : relative uncertainty of speed.
    by : the peer by whose speed in the same round both speeds are divided, so that a drift of the
    machine cancels; "" for none.
    """

    case: str
    peer: str
    result: Outcome
    speed: float = math.nan
    noise: float = math.nan
    by: str = ""


def compared(old: Part, new: Part, *, threshold: float) -> list[Change]:
    """Return the change of every row that is in one of the parts or in both.

    threshold : the smallest absolute value of log(speed) that counts as a change.
    """
    keys = dict.fromkeys(
        (row.case, row.peer) for part in (old, new) for row in part.rows if row.peer != FLOOR
    )
    return [_change(old, new, *key, threshold) for key in keys]


def _change(old: Part, new: Part, case: str, peer: str, threshold: float) -> Change:
    before, after = find(old.rows, case, peer), find(new.rows, case, peer)
    if before is None or after is None:
        result: Outcome = "new" if after else "lost" if before else "same"
        return Change(case, peer, result)
    if not _same_work(old, new, case, peer):
        return Change(case, peer, "differs")
    baseline = _shared_baseline(old, new, case, peer)
    logs = [_logs(part, row, baseline) for part, row in ((old, before), (new, after))]
    change = statistics.median(logs[1]) - statistics.median(logs[0])
    noise = math.hypot(*map(_uncertainty, logs))
    if min(map(len, logs)) < 3:
        result = "unclear"  # the noise of two numbers cannot be estimated
    elif abs(change) <= max(noise, threshold):
        result = "same" if noise <= max(threshold, 0.1) else "unclear"
    else:
        result = "faster" if change > 0 else "slower"
    return Change(case, peer, result, math.exp(change), math.expm1(noise), baseline)


def _same_work(old: Part, new: Part, case: str, peer: str) -> bool:
    """Return whether both runs measured the same work with the same number of threads."""
    if old.settings["threads"] != new.settings["threads"]:
        return False
    found = [_case_values(part, case, peer) for part in (old, new)]
    return found[0] == found[1]


def _case_values(part: Part, case: str, peer: str) -> dict[str, object]:
    from gpubp.bench.report import cases_of

    values = next(c.values() for c in cases_of(part) if c.key == (case, peer))
    del values["seconds"]  # the length of a timing does not change the work
    return values


def _shared_baseline(old: Part, new: Part, case: str, peer: str) -> str:
    """Return the baseline if both runs have it in this case and it is not ``peer``; else ""."""
    baseline: str = new.settings["suite"]["baseline"]
    there = all(find(part.rows, case, baseline) for part in (old, new))
    return baseline if there and peer != baseline else ""


def _logs(part: Part, row: Row, baseline: str) -> list[float]:
    """Return the log of the speed in each round, divided by the baseline's if there is one."""
    speeds = [-math.log(seconds) for seconds in row.rounds]
    other = find(part.rows, row.case, baseline) if baseline else None
    if other is None:
        return speeds
    return [s + math.log(t) for s, t in zip(speeds, other.rounds, strict=False)]


def _uncertainty(values: Sequence[float]) -> float:
    """Return half the notch of a median in a box plot: 1.57 IQR / sqrt(n).

    Medians whose notches do not overlap differ at about 95 %. McGill, Tukey and Larsen, The
    American Statistician 32 (1978).
    """
    if len(values) < 2:
        return math.inf
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return 1.57 * (high - low) / math.sqrt(len(values))


def comparison_table(old: Part, new: Part, changes: Sequence[Change]) -> str:
    """Return the changes as text."""
    lines = []
    for name, ours, theirs in (
        ("cpu", old.machine["cpu"], new.machine["cpu"]),
        ("cores", old.machine["cores"], new.machine["cores"]),
        ("threads", old.settings["threads"], new.settings["threads"]),
    ):
        if ours != theirs:
            lines.append(f"another {name}: {ours} and {theirs}; trust only ratios to a peer")
    width = max([20, *(len(change.case) + 2 for change in changes)])
    lines.append(f"{'':<{width}}{'peer':<16}{'new/old':>8}{'noise':>9}  result")
    for change in changes:
        known = not math.isnan(change.speed)
        speed = f"{change.speed:.3f}" if known else "-"
        noise = f"{change.noise:.1%}" if math.isfinite(change.noise) else "-"
        by = f", against {change.by} in the same rounds" if change.by else ""
        lines.append(
            f"{change.case:<{width}}{change.peer:<16}{speed:>8}{noise:>9}  {change.result}{by}"
        )
    return "\n".join(lines)


def has_become_worse(changes: Sequence[Change]) -> bool:
    """Return whether gpubp is slower in a case, or a case of gpubp is missing."""
    return any(c.result in ("slower", "lost") and c.peer in OURS for c in changes)
