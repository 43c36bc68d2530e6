"""What the three PyTorch peers share: tensors on the device, the network, and a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

from gpubp.bench.peers.protocol import missing
from gpubp.bench.timing import Clock, EventClock, HostClock
from gpubp.bench.workloads import Workload


def unavailable(device: str) -> str | None:
    """Return why PyTorch cannot run on ``device``; None if it can."""
    if why := missing("torch"):
        return why
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        return "torch finds no CUDA device"
    return None


class TorchWorkload:
    """A workload's data, row orders and network on a PyTorch device.

    X (rows, d_0) float32; y (rows,) int64; orders (ORDERS, steps, batch) int64. total () float32
    is the sum of the losses of an epoch's steps.
    """

    def __init__(self, workload: Workload, device: str) -> None:
        import torch

        torch.set_float32_matmul_precision("high" if workload.precision == "tf32" else "highest")
        self.workload, self.device = workload, torch.device(device)
        X, y = workload.data()
        self.X = torch.from_numpy(X).to(self.device)
        self.y = torch.from_numpy(y).to(self.device, torch.int64)
        orders = torch.from_numpy(workload.orders()).to(self.device)
        self.orders = orders.view(len(orders), workload.steps, workload.batch)
        self.total = torch.zeros((), device=self.device)
        self.model = _model(workload).to(self.device)

    def loss(self, logits_of: Callable[[Any], Any], rows: Any) -> Any:
        """Return the mean loss of the rows with these indices (batch,), in the precision."""
        import torch

        X, y = self.X.index_select(0, rows), self.y.index_select(0, rows)
        # Autocast is PyTorch's own way to bfloat16 products with float32 weights.
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.workload.precision == "bfloat16"
        ):
            return torch.nn.functional.cross_entropy(logits_of(X), y)


def _model(workload: Workload) -> Any:
    """Return the network as a module with the workload's initial parameters."""
    import torch

    layers: list[Any] = []
    for W, b in zip(*workload.initial_parameters(), strict=True):
        layer = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(W.T))
            layer.bias.copy_(torch.from_numpy(b))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


class TorchSession:
    """Epochs by ``train``, which takes a row order (steps, batch) and adds to ``total``."""

    def __init__(self, work: TorchWorkload, train: Callable[[Any], None]) -> None:
        self._work, self._train, self._orders = work, train, cycle(work.orders)
        self.clock: Clock = torch_clock(work.device)

    @property
    def remark(self) -> str:
        """What a reader of the figures has to know."""
        return ""

    def epoch(self) -> None:
        """Train for an epoch."""
        self._work.total.zero_()
        self._train(next(self._orders))

    def loss(self) -> float:
        """Return the mean loss of the last epoch."""
        return float(self._work.total) / self._work.workload.steps

    def synchronize(self) -> None:
        """Wait for the device."""
        import torch

        if self._work.device.type == "cuda":
            torch.cuda.synchronize()


def torch_clock(device: Any) -> Clock:
    """Return the clock of PyTorch's current stream on ``device``."""
    import torch

    if device.type == "cpu":
        return HostClock()
    new_event = partial(torch.cuda.Event, enable_timing=True)
    return EventClock(new_event, lambda start, end: float(start.elapsed_time(end)))
