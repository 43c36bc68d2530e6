"""PyTorch with the parameters of all networks stacked, and a step that is vmapped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import numpy as np

from gpubp.bench.peers.protocol import PopulationLearner, PopulationPeer
from gpubp.bench.peers.torch_eager import TorchEager
from gpubp.bench.peers.torch_parts import TorchWorkload, new_model
from gpubp.bench.results import SkippedError
from gpubp.bench.workloads import Workload

BETA_1, BETA_2 = 0.9, 0.999


class TorchFunc(PopulationPeer):
    """PyTorch, `torch.func`, operation by operation."""

    name = "torch_func"

    def available(self, device: str) -> str | None:
        return TorchEager().available(device)

    @contextmanager
    def population(self, workload: Workload, device: str) -> Iterator[PopulationLearner]:
        if workload.solver != "adam":
            raise SkippedError("torch_func has Adam only")
        yield _Learner(TorchWorkload(workload, device))


class _Learner:
    remark = ""

    def __init__(self, work: TorchWorkload) -> None:
        import torch

        self._work, members = work, work.workload.members()
        self.networks = len(members)
        models = [new_model(one).to(work.device) for one in members]
        self._initial, _ = torch.func.stack_module_state(models)
        orders = np.stack([one.orders() for one in members], axis=1)  # (ORDERS, P, rows)
        self._orders = torch.from_numpy(orders).to(work.device)

        def loss(theta: dict[str, Any], rows: Any) -> Any:
            return work.loss(lambda X: torch.func.functional_call(work.model, theta, (X,)), rows)

        self._slopes = torch.func.vmap(torch.func.grad_and_value(loss))

    def fit(self, epochs: int) -> np.ndarray:
        import torch

        work = self._work
        work.restart()
        theta = {name: value.detach().clone() for name, value in self._initial.items()}
        adam, losses = _Adam(theta, work.workload), []
        for _, order in zip(range(epochs), cycle(self._orders), strict=False):
            total = torch.zeros(self.networks, device=work.device, dtype=work.X.dtype)
            for rows in order.split(work.workload.batch, dim=1):
                gradient, loss = self._slopes(theta, rows)
                adam.step(gradient)
                total.add_(loss, alpha=rows.shape[1])
            losses.append((total / work.workload.rows).cpu().numpy())
        return np.array(losses)


class _Adam:
    """Adam for the stacked parameters ``theta``, in place."""

    def __init__(self, theta: dict[str, Any], workload: Workload) -> None:
        import torch

        self._theta, self._workload, self._steps = theta, workload, 0
        self._m, self._v = (
            {name: torch.zeros_like(value) for name, value in theta.items()} for _ in range(2)
        )

    def step(self, gradient: dict[str, Any]) -> None:
        work, self._steps = self._workload, self._steps + 1
        rate = work.rate / (1 - BETA_1**self._steps)
        scale = 1 / math.sqrt(1 - BETA_2**self._steps)
        for name, g in gradient.items():
            m, v = self._m[name], self._v[name]
            m.lerp_(g, 1 - BETA_1)
            v.mul_(BETA_2).addcmul_(g, g, value=1 - BETA_2)
            self._theta[name].addcdiv_(m, (v.sqrt() * scale).add_(work.epsilon), value=-rate)
