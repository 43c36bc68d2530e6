"""PyTorch as it is usually written, without its usual mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpubp.bench.peers.protocol import Session
from gpubp.bench.peers.torch_parts import TorchSession, TorchWorkload, unavailable
from gpubp.bench.workloads import Workload

name = "torch_eager"


def available(device: str) -> str | None:
    """Return why this peer cannot run on ``device``; None if it can."""
    return unavailable(device)


@contextmanager
def prepare(workload: Workload, device: str) -> Iterator[Session]:
    """Yield ``workload`` on ``device``."""
    import torch

    work = TorchWorkload(workload, device)
    options = {"lr": workload.rate, "eps": workload.epsilon, "fused": True}
    optimizer = torch.optim.Adam(work.model.parameters(), **options)

    def train(order: Any) -> None:
        for rows in order:
            loss = work.loss(work.model, rows)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            work.total.add_(loss.detach())

    yield TorchSession(work, train)
