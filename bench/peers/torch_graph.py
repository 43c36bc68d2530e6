"""PyTorch with the whole step captured as a CUDA graph, rows gathered by a counter within it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gpubp.bench.peers.protocol import Session
from gpubp.bench.peers.torch_parts import TorchSession, TorchWorkload, unavailable
from gpubp.bench.workloads import Workload

name = "torch_graph"


def available(device: str) -> str | None:
    """Return why this peer cannot run on ``device``; None if it can."""
    return "CUDA graphs need a CUDA device" if device == "cpu" else unavailable(device)


@contextmanager
def prepare(workload: Workload, device: str) -> Iterator[Session]:
    """Yield ``workload`` on ``device``."""
    import torch

    work = TorchWorkload(workload, device)
    options = {"lr": workload.rate, "eps": workload.epsilon, "fused": True, "capturable": True}
    optimizer = torch.optim.Adam(work.model.parameters(), **options)
    order = work.orders[0].clone()
    counter = torch.zeros(1, dtype=torch.int64, device=work.device)

    def step() -> None:
        loss = work.loss(work.model, order.index_select(0, counter)[0])
        loss.backward()
        optimizer.step()
        work.total.add_(loss.detach())
        counter.add_(1)

    graph = _captured(step, work.model, optimizer, counter)

    def train(planned: Any) -> None:
        order.copy_(planned)
        counter.zero_()
        for _ in range(workload.steps):
            graph.replay()

    yield TorchSession(work, train)


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
    for state in optimizer.state.values():
        for value in state.values():
            value.zero_()
    return graph
