"""The model of steps on several devices, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gpubp.backprop.network import Network
from gpubp.training.scaling import PAYS, ScaledStep, Scaling
from gpubp.training.step_timing import Measured

COLUMNS = ("devices", "rows each", "step ms", "allreduce ms", "rows/s", "speedup", "efficiency")


def scaling_lines(
    network: Network, scaling: Scaling, measured: Measured, steps: Sequence[ScaledStep]
) -> list[str]:
    """Return the measurements, a table with a row per number of devices, and a sentence."""
    compute, link = scaling.compute, scaling.link
    sizes = "-".join(map(str, network.sizes))
    on = (
        measured.device
        if measured.device != "cpu"
        else f"cpu, {_counted(measured.threads, 'thread')}"
    )
    samples = ", ".join(f"{_counted(rows, 'row')} {_time(s)}" for rows, s in measured.steps)
    cells = [COLUMNS, *(_cells(step) for step in steps)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in cells]
    copies = f"; copies to the host and back {_time(compute.copies)}, measured"
    return [
        f"network    {sizes}, {network.n_parameters:,} parameters, batch {scaling.batch:,}",
        f"compute    measured on {on} ({measured.engine}): {samples}",
        f"           fitted: {_time(compute.fixed)} + {_time(compute.per_row)} per row"
        + (copies if compute.copies else ""),
        f"allreduce  {scaling.n_bytes / 1e6:.3g} MB per step; {link.text}",
        f"           latency {_time(link.latency)}, {link.bandwidth / 1e9:.3g} GB/s",
        *_samples_of_allreduce(measured),
        "",
        *lines,
        "",
        "All figures of the table are computed by the model, not measured.",
        sentence(scaling, [step.devices for step in steps]),
    ]


def _time(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{1e6 * seconds:.3g} us"


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def _samples_of_allreduce(measured: Measured) -> list[str]:
    each = ", ".join(f"{size:,} B {_time(s)}" for size, s in measured.allreduces)
    return [f"           measured over {measured.ranks} ranks: {each}"] if each else []


def _cells(step: ScaledStep) -> tuple[str, ...]:
    return (
        f"{step.devices:,}",
        f"{step.rows:,.0f}",
        f"{1e3 * step.seconds:.3f}",
        f"{1e3 * step.allreduce_seconds:.3f}",
        f"{step.rows_per_second:,.0f}",
        f"{step.speedup:.2f}",
        f"{100 * step.efficiency:.0f} %",
    )


def sentence(scaling: Scaling, counts: Sequence[int]) -> str:
    """Return from which number of devices on more do not pay, and the batch that they need."""
    first = scaling.first_that_does_not_pay(counts)
    if first is None:
        return f"All of these numbers of devices pay: the efficiency is {PAYS:.0%} or more."
    batch, found = scaling.batch_for(first), scaling.step(first).efficiency
    need = (
        f"they need a batch of about {_rounded(batch):,} rows to pay"
        if batch
        else "no batch makes them pay, since a step takes as long with fewer rows"
    )
    return (
        f"{first:,} or more devices do not pay: the efficiency of {first:,} is {found:.0%}, below "
        f"{PAYS:.0%}; {need}."
    )


def _rounded(number: int) -> int:
    """Return ``number`` rounded up to two digits."""
    unit: int = 10 ** max(0, len(str(number)) - 2)
    return -(-number // unit) * unit


def scaling_facts(
    network: Network, scaling: Scaling, measured: Measured, steps: Sequence[ScaledStep]
) -> dict[str, Any]:
    """Return the object of --json."""
    compute, link, counts = scaling.compute, scaling.link, [step.devices for step in steps]
    first = scaling.first_that_does_not_pay(counts)
    return {
        "event": "scaling",
        "network": network.sizes,
        "parameters": network.n_parameters,
        "batch": scaling.batch,
        "device": measured.device,
        "engine": measured.engine,
        "threads": measured.threads,
        "compute": {
            "fixed_seconds": compute.fixed,
            "row_seconds": compute.per_row,
            "copy_seconds": compute.copies,
            "samples": [{"rows": rows, "seconds": s} for rows, s in measured.steps],
        },
        "link": {
            "latency_seconds": link.latency,
            "bytes_per_second": link.bandwidth,
            "source": link.text,
            "measured": link.measured,
            "ranks": measured.ranks,
            "samples": [{"bytes": size, "seconds": s} for size, s in measured.allreduces],
        },
        "steps": [asdict(step) for step in steps],
        "first_that_does_not_pay": first,
        "batch_for_it": None if first is None else scaling.batch_for(first),
        "sentence": sentence(scaling, counts),
    }
