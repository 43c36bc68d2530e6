"""PyTorch with the whole step captured as a CUDA graph, rows gathered by a counter within it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpubp.bench.peers.torch_parts import TorchPeer, TorchSession, TorchWorkload, optimizer_state


class TorchGraph(TorchPeer):
    """PyTorch, replaying a graph for each step."""

    name = "torch_graph"

    def available(self, device: str) -> str | None:
        return "CUDA graphs need a CUDA device" if device == "cpu" else super().available(device)

    def training(self, work: TorchWorkload) -> TorchSession:
        import torch

        workload = work.workload
        optimizer = work.optimizer(**({"capturable": True} if workload.solver == "adam" else {}))
        order = work.orders[0].clone()
        counter = torch.zeros(1, dtype=torch.int64, device=work.device)
        full = workload.full_steps * workload.batch

        def train_on(rows: Any) -> None:
            loss = work.loss(work.model, rows)
            loss.backward()
            optimizer.step()
            work.total.add_(loss.detach(), alpha=len(rows))

        def step() -> None:
            planned = order[:full].view(workload.full_steps, workload.batch)
            train_on(planned.index_select(0, counter)[0])
            counter.add_(1)

        graph = _captured(step, work.model, optimizer, counter)
        # A last batch that is not full is a graph of its own.
        last = workload.rest and _captured(
            lambda: train_on(order[full:]), work.model, optimizer, counter
        )

        def train(planned: Any) -> None:
            order.copy_(planned)
            counter.zero_()
            for _ in range(workload.full_steps):
                graph.replay()
            if last:
                last.replay()

        return TorchSession(work, train, lambda: optimizer_state(optimizer))


def _captured(step: Callable[[], None], model: Any, optimizer: Any, counter: Any) -> Any:
    """Return ``step`` as a CUDA graph, with parameters and Adam's state as they were before."""
    import torch

    initial = {name: value.clone() for name, value in model.state_dict().items()}
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            counter.zero_()
            step()
    torch.cuda.current_stream().wait_stream(stream)
    # Gradients that are None at the capture are written, not added to, by each replay.
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    model.load_state_dict(initial)
    for value in optimizer_state(optimizer):
        value.zero_()
    return graph
