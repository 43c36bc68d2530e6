"""What the three PyTorch peers share: tensors on the device, the network, and a session."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from gpubp.backends.blas_threads import usable_cores
from gpubp.bench.peers.protocol import Peer, Session, missing
from gpubp.bench.timing import Clock, EventClock, HostClock
from gpubp.bench.workloads import MOMENTUM, Workload


class TorchPeer(Peer):
    """PyTorch in one way of training."""

    def available(self, device: str) -> str | None:
        if why := missing("torch"):
            return why
        import torch

        if device != "cpu" and not torch.cuda.is_available():
            return "torch finds no CUDA device"
        return None

    @contextmanager
    def session(self, workload: Workload, device: str) -> Iterator[Session]:
        yield self.training(TorchWorkload(workload, device))

    @abstractmethod
    def training(self, work: TorchWorkload) -> TorchSession:
        """Return the session of ``work``."""


class TorchWorkload:
    """A workload's data, row orders and network on a PyTorch device.

    X (rows, d_0) float32 or float64; y (rows,) int64 for classes, else of X's dtype; orders
    (ORDERS, rows) int64. total (1,) is the sum of the losses of an epoch's rows.
    """

    def __init__(self, workload: Workload, device: str) -> None:
        import torch

        torch.set_float32_matmul_precision("high" if workload.precision == "tf32" else "highest")
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or usable_cores()))
        self.workload, self.device = workload, torch.device(device)
        self._data = [torch.from_numpy(values) for values in workload.data()]
        self.is_class = workload.loss == "cross_entropy" and workload.sizes[-1] > 1
        if self.is_class:
            self._data[1] = self._data[1].to(torch.int64)
        else:
            y = self._data[1].to(self._data[0].dtype)
            self._data[1] = y.reshape(len(y), workload.sizes[-1])
        self.X, self.y = (values.to(self.device) for values in self._data)
        self.orders = torch.from_numpy(workload.orders()).to(self.device)
        self.total = torch.zeros(1, device=self.device, dtype=self.X.dtype)
        self.model = new_model(workload).to(self.device)
        self._initial = {name: value.clone() for name, value in self.model.state_dict().items()}

    def loss(self, logits_of: Callable[[Any], Any], rows: Any) -> Any:
        """Return the mean loss of the rows with these indices (batch,), in the precision."""
        from torch.nn import functional

        X, y = self.X.index_select(0, rows), self.y.index_select(0, rows)
        with self.autocast():
            Z = logits_of(X)
            if self.is_class:
                return functional.cross_entropy(Z, y)
            if self.workload.loss == "cross_entropy":
                return functional.binary_cross_entropy_with_logits(Z, y)
            return 0.5 * functional.mse_loss(Z, y)

    def autocast(self) -> Any:
        """Return a context of products in the precision; PyTorch's own way to bfloat16 ones."""
        import torch

        enabled = self.workload.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def batches(self, order: Any) -> Any:
        """Return the rows of each batch of ``order`` (rows,)."""
        return order.split(self.workload.batch)

    def optimizer(self, **adam: Any) -> Any:
        """Return the workload's solver for the model's parameters."""
        import torch

        work, parameters = self.workload, self.model.parameters()
        if work.solver == "adam":
            return torch.optim.Adam(parameters, lr=work.rate, eps=work.epsilon, fused=True, **adam)
        return torch.optim.SGD(
            parameters, lr=work.rate, momentum=MOMENTUM, nesterov=True, fused=True
        )

    def restart(self) -> None:
        """Take the data from the host again, and set the network to its initial parameters."""
        if self.device.type != "cpu":  # where it is the host's own memory
            self.X.copy_(self._data[0])
            self.y.copy_(self._data[1])
        self.model.load_state_dict(self._initial)


def new_model(workload: Workload) -> Any:
    """Return the network as a module with the workload's initial parameters."""
    import torch

    layers: list[Any] = []
    for W, b in zip(*workload.initial_parameters(), strict=True):
        weight = torch.from_numpy(np.ascontiguousarray(W.T))
        layer = torch.nn.Linear(*W.shape, dtype=weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(torch.from_numpy(b))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


class TorchSession(Session):
    """Epochs by ``train``, which takes a row order (rows,) and adds to ``total``.

    state : returns the tensors of the optimizer, which begin as zeros.
    """

    def __init__(
        self,
        work: TorchWorkload,
        train: Callable[[Any], None],
        state: Callable[[], Iterable[Any]],
    ) -> None:
        self._work, self._train, self._state = work, train, state
        self._orders = cycle(work.orders)
        self.clock: Clock = torch_clock(work.device)

    def restart(self) -> None:
        self._work.restart()
        for tensor in self._state():
            tensor.zero_()
        self._orders = cycle(self._work.orders)

    def epoch(self) -> None:
        self._work.total.zero_()
        self._train(next(self._orders))

    def loss(self) -> float:
        return float(self._work.total) / self._work.workload.rows

    def place(self, X: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(X).to(self._work.device)

    def forward(self, X: Any) -> Any:
        import torch

        work = self._work
        with torch.inference_mode(), work.autocast():
            Z = work.model(X)
            if work.is_class:
                Z = Z.softmax(dim=1)
            elif work.workload.loss == "cross_entropy":
                Z = Z.sigmoid()
            return Z.to(work.X.dtype)

    def to_host(self, outputs: Any) -> np.ndarray:
        return np.asarray(outputs.cpu().numpy())

    def synchronize(self) -> None:
        import torch

        if self._work.device.type == "cuda":
            torch.cuda.synchronize()


def optimizer_state(optimizer: Any) -> list[Any]:
    """Return the tensors of the state of one of PyTorch's optimizers."""
    values = (value for state in optimizer.state.values() for value in state.values())
    return [value for value in values if value is not None]


def torch_clock(device: Any) -> Clock:
    """Return the clock of PyTorch's current stream on ``device``."""
    import torch

    if device.type == "cpu":
        return HostClock()
    new_event = partial(torch.cuda.Event, enable_timing=True)
    return EventClock(new_event, lambda start, end: float(start.elapsed_time(end)))
