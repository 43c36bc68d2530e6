"""Ratios of speed between the rows of a run: to one peer if the work agrees, and to the floor."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.results import Row, find
from gpubp.bench.timing import summary
from gpubp.bench.workloads import LOSS_TOLERANCE, floor_us

# Final losses may differ by this factor, because row orders and rounding differ.
SAME_MAGNITUDE = 3.0
SAME_MEAN = 1.1  # the same for means over several networks
RowsByKey = Mapping[tuple[str, str], Row]


def with_figures(
    cases: Iterable[Case], rows: RowsByKey, baseline: str, ceilings: Sequence[Row] = ()
) -> list[Row]:
    """Return the measured rows of ``cases``, with the figures that follow from their seconds.

    A ratio is the other row's seconds divided by the row's own, as a median over the rounds that
    both have. It is computed within a round, because machines drift from round to round.
    rows : by `Case.key`. baseline : the peer of the ratios.
    ceilings : rows of the device's ceilings (`gpubp.bench.ceilings`); () if unknown.
    """
    found = []
    for case in cases:
        if (row := rows.get(case.key)) is None:
            continue
        row = _with_speed(case, row)
        if row.status == "ok" and case.peer != FLOOR:
            row = _with_floor(row, rows.get((case.name, FLOOR)))
            row = _with_ceilings(case, row, ceilings)
            if case.peer != baseline:
                row = _with_ratio(case, row, rows, baseline)
        found.append(row)
    return found


def _with_speed(case: Case, row: Row) -> Row:
    row = replace(row, device=case.device, precision=case.precision, seed=case.seed)
    if row.status != "ok" or not row.rounds:
        return row
    timing = row.timing  # of one round, from its process
    if timing is None or len(row.rounds) > 1:
        timing = summary(list(row.rounds), timing.clock if timing else "host clock")
    figures = {
        "us_per_step": 1e6 * timing.median / case.steps,
        "rows_per_second": case.rows_in_all / timing.median,
    }
    if case.population > 1:
        figures["network_steps_per_second"] = case.steps / timing.median
    return replace(row, timing=timing, figures=row.figures | figures)


def _with_floor(row: Row, floor: Row | None) -> Row:
    if floor is None or floor.status != "ok":
        return row
    figures = {
        "of_products": ratio_of(floor, row),
        "of_bytes": floor.figures["bytes_us"] / row.figures["us_per_step"],
    }
    return replace(row, figures=row.figures | figures)


def _with_ceilings(case: Case, row: Row, ceilings: Sequence[Row]) -> Row:
    """Return ``row`` with the floor from the rates of a large product and a large copy."""
    copy, product = find(ceilings, "copy"), find(ceilings, f"product {case.precision}")
    if copy is None or product is None:
        return row
    rates = product.figures["flop_per_second"], copy.figures["bytes_per_second"]
    floor = floor_us(case.phases, *rates)
    more = {"floor_us": floor, "of_floor": floor / row.figures["us_per_step"]}
    return replace(row, figures=row.figures | more)


def ratio_of(other: Row, row: Row) -> float:
    """Return the speed of ``row`` divided by that of ``other``: the median over the rounds."""
    pairs = zip(other.rounds, row.rounds, strict=False)
    return statistics.median(theirs / own for theirs, own in pairs)


def _with_ratio(case: Case, row: Row, rows: RowsByKey, baseline: str) -> Row:
    """Return ``row`` with its ratio to the baseline's row, or with the reason for no ratio.

    If the baseline has a case on the CPU only, a case on a GPU is compared with that.
    """
    other = rows.get((case.name, baseline)) or rows.get((case.on("cpu").name, baseline))
    if other is None:
        return row
    if other.status != "ok":
        return replace(row, not_compared=f"{baseline} has no figure")
    if why := different_work(case, row, other):
        return replace(row, not_compared=why)
    return replace(row, figures=row.figures | {"ratio": ratio_of(other, row)})


def different_work(case: Case, row: Row, other: Row) -> str:
    """Return why the losses show that two rows did different work; "" if they agree."""
    if not (row.losses and other.losses):
        return "a loss is missing"
    tolerance = LOSS_TOLERANCE[case.precision]
    got, expected = row.losses[0], other.losses[0]
    if not abs(got - expected) <= tolerance * abs(expected):
        where = f"first loss {got:.6g} is not {other.peer}'s {expected:.6g}"
        return f"different work: {where} within {tolerance:g}"
    got, expected = row.losses[-1], other.losses[-1]
    most = SAME_MEAN if case.population > 1 else SAME_MAGNITUDE
    if not (math.isfinite(got) and _factor(got, expected) <= most):
        return f"different work: last loss {got:.4g}, but {other.peer}'s is {expected:.4g}"
    return ""


def _factor(a: float, b: float) -> float:
    low, high = sorted((abs(a), abs(b)))
    return high / low if low else (1.0 if high == low else math.inf)
