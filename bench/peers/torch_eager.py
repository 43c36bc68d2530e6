"""PyTorch as it is usually written, without its usual mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from gpubp.bench.peers.protocol import Learner, Session
from gpubp.bench.peers.torch_parts import (
    TorchSession,
    TorchWorkload,
    optimizer_state,
    torch_learner,
    unavailable,
)
from gpubp.bench.workloads import Workload

name = "torch_eager"


def available(device: str) -> str | None:
    """Return why this peer cannot run on ``device``; None if it can."""
    return unavailable(device)


@contextmanager
def prepare(workload: Workload, device: str) -> Iterator[Session]:
    """Yield ``workload`` on ``device``."""
    work = TorchWorkload(workload, device)
    optimizer = work.optimizer()

    def train(order: Any) -> None:
        for rows in work.batches(order):
            loss = work.loss(work.model, rows)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            work.total.add_(loss.detach(), alpha=len(rows))

    yield TorchSession(work, train, lambda: optimizer_state(optimizer))


def learner(workload: Workload, device: str) -> AbstractContextManager[Learner]:
    """Return a context with what trains ``workload`` on ``device``."""
    return torch_learner(prepare(workload, device), workload)
