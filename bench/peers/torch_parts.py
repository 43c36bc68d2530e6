"""What the three PyTorch peers share: tensors on the device, the network, and a session.

Each peer makes the session; `torch_learner` makes a learner of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from gpubp.bench.machine import cores
from gpubp.bench.peers.learners import SessionLearner
from gpubp.bench.peers.protocol import Learner, Session, missing
from gpubp.bench.timing import Clock, EventClock, HostClock
from gpubp.bench.workloads import MOMENTUM, Workload


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

    X (rows, d_0) float32 or float64; y (rows,) int64 for classes, else of X's dtype; orders
    (ORDERS, rows) int64. total (1,) is the sum of the losses of an epoch's rows.
    """

    def __init__(self, workload: Workload, device: str) -> None:
        import torch

        torch.set_float32_matmul_precision("high" if workload.precision == "tf32" else "highest")
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or cores()))
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
        self.model = _model(workload).to(self.device)
        self._initial = {name: value.clone() for name, value in self.model.state_dict().items()}

    def loss(self, logits_of: Callable[[Any], Any], rows: Any) -> Any:
        """Return the mean loss of the rows with these indices (batch,), in the precision."""
        import torch
        from torch.nn import functional

        X, y = self.X.index_select(0, rows), self.y.index_select(0, rows)
        # Autocast is PyTorch's own way to bfloat16 products with float32 weights.
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.workload.precision == "bfloat16"
        ):
            Z = logits_of(X)
            if self.is_class:
                return functional.cross_entropy(Z, y)
            if self.workload.loss == "cross_entropy":
                return functional.binary_cross_entropy_with_logits(Z, y)
            return 0.5 * functional.mse_loss(Z, y)

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


def _model(workload: Workload) -> Any:
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


class TorchSession:
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

    @property
    def remark(self) -> str:
        """What a reader of the figures has to know."""
        return ""

    def restart(self) -> None:
        """Begin anew, with the data from the host."""
        self._work.restart()
        for tensor in self._state():
            tensor.zero_()
        self._orders = cycle(self._work.orders)

    def epoch(self) -> None:
        """Train for an epoch."""
        self._work.total.zero_()
        self._train(next(self._orders))

    def loss(self) -> float:
        """Return the mean loss of the last epoch."""
        return float(self._work.total) / self._work.workload.rows

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Return the network's outputs for X (n, d_0) as (n, d_L)."""
        import torch

        work = self._work
        with torch.inference_mode():
            Z = work.model(torch.from_numpy(X).to(work.device))
            if work.is_class:
                Z = Z.softmax(dim=1)
            elif work.workload.loss == "cross_entropy":
                Z = Z.sigmoid()
            return np.asarray(Z.cpu().numpy())

    def synchronize(self) -> None:
        """Wait for the device."""
        import torch

        if self._work.device.type == "cuda":
            torch.cuda.synchronize()


@contextmanager
def torch_learner(
    session: AbstractContextManager[Session], workload: Workload
) -> Iterator[Learner]:
    """Yield what trains ``workload`` by the TorchSession in ``session``."""
    with session as opened:
        if not isinstance(opened, TorchSession):
            raise TypeError(f"a PyTorch peer prepares a TorchSession, not {opened!r}")
        yield SessionLearner(opened, workload)


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
