"""PyTorch as it is usually written, without its usual mistakes."""

from __future__ import annotations

from typing import Any

from gpubp.bench.peers.torch_parts import TorchPeer, TorchSession, TorchWorkload, optimizer_state


class TorchEager(TorchPeer):
    """PyTorch, operation by operation."""

    name = "torch_eager"

    def training(self, work: TorchWorkload) -> TorchSession:
        optimizer = work.optimizer()

        def train(order: Any) -> None:
            for rows in work.batches(order):
                loss = work.loss(work.model, rows)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                work.total.add_(loss.detach(), alpha=len(rows))

        return TorchSession(work, train, lambda: optimizer_state(optimizer))
