"""How fast gpubp and its peers train the workloads, and whether they did the same work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from time import perf_counter

from gpubp.bench.peers import PEERS
from gpubp.bench.peers.protocol import Peer, Session
from gpubp.bench.results import Row, Rows, SkippedError, find
from gpubp.bench.timing import EPOCHS, SECONDS, time_calls
from gpubp.bench.workloads import LOSS_TOLERANCE, WORKLOADS, Workload, floor_us

CHECKED_EPOCHS = 2  # whose losses are kept, before timing


def rows(device: str) -> Rows:
    """Return what measures each row, by "peer/case"; gpubp's own first.

    On the CPU they are a rehearsal: a few epochs of the workloads that it can compute.
    """
    how = _rehearse if device == "cpu" else measure
    peers = [peer for peer in PEERS.values() if device == "cpu" or peer.name != "sklearn_mlp"]
    return {
        f"{peer.name}/{workload.name}": partial(how, peer, workload, device)
        for peer in peers
        for workload in WORKLOADS
    }


def _rehearse(peer: Peer, workload: Workload, device: str) -> Row:
    if workload.precision not in ("float32", "float64"):
        raise SkippedError(f"needs a CUDA device: there is no {workload.precision} on {device}")
    return measure(peer, workload, device, samples=2, seconds=0)


def measure(
    peer: Peer,
    workload: Workload,
    device: str,
    *,
    samples: int = EPOCHS,
    seconds: float = SECONDS,
) -> Row:
    """Return the row of ``workload`` trained by ``peer``: its first losses, then its speed."""
    if why := peer.available(device):
        raise SkippedError(why)
    started = perf_counter()
    with peer.session(workload, device) as session:
        prepared = perf_counter()
        losses = [_trained(session)]
        first = perf_counter()
        losses += [_trained(session) for _ in range(CHECKED_EPOCHS - 1)]
        timing, wall = time_calls(
            session.epoch, session.clock, session.synchronize, samples=samples, seconds=seconds
        )
        remark = session.remark
    return Row(
        workload.name,
        peer.name,
        reason=remark,
        device=device,
        precision=workload.precision,
        seed=workload.seed,
        timing=timing,
        losses=tuple(losses),
        figures={
            "us_per_step": 1e6 * timing.median / workload.steps,
            "wall_us_per_step": 1e6 * wall / workload.steps,
            "rows_per_second": workload.rows / timing.median,
            "prepare_seconds": prepared - started,
            "first_epoch_seconds": first - prepared,
        },
    )


def _trained(session: Session) -> float:
    session.epoch()
    return session.loss()


def with_floor(row: Row, ceilings: Iterable[Row], workloads: Iterable[Workload] = WORKLOADS) -> Row:
    """Return ``row`` with the floor by the ``ceilings`` of the same run, where these are known."""
    ceilings = list(ceilings)
    workload = next((w for w in workloads if w.name == row.case), None)
    copy, product = find(ceilings, "copy"), find(ceilings, f"product {row.precision}")
    if workload is None or copy is None or product is None or "us_per_step" not in row.figures:
        return row
    rates = product.figures["flop_per_second"], copy.figures["bytes_per_second"]
    floor = floor_us(workload, *rates)
    more = {"floor_us": floor, "of_floor": floor / row.figures["us_per_step"]}
    return replace(row, figures=row.figures | more)


def compared(row: Row, ours: Row | None) -> Row:
    """Return a peer's ``row`` with ``gpubp_speedup``, its time over that of ``ours``.

    Where the losses show that the two did not do the same work, the reason stands there instead.
    """
    if row.status != "ok" or row.peer == Row.peer or row.timing is None:
        return row
    if ours is None or ours.timing is None:
        return replace(row, reason=_joined(row.reason, "gpubp has no figure to compare with"))
    got, expected = row.losses[0], ours.losses[0]
    tolerance = LOSS_TOLERANCE[row.precision]
    if not abs(got - expected) <= tolerance * abs(expected):
        why = f"loss {got:.6g} is not gpubp's {expected:.6g} within {tolerance:g}: not compared"
        return replace(row, reason=_joined(row.reason, why))
    speedup = {"gpubp_speedup": row.timing.median / ours.timing.median}
    return replace(row, figures=row.figures | speedup)


def _joined(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)
