"""PyTorch with the whole step, optimizer and all, compiled by torch.compile."""

from __future__ import annotations

from typing import Any

from gpubp.bench.peers.torch_parts import TorchPeer, TorchSession, TorchWorkload
from gpubp.bench.workloads import MOMENTUM

BETA_1, BETA_2 = 0.9, 0.999


class TorchCompile(TorchPeer):
    """PyTorch, compiled."""

    name = "torch_compile"

    def training(self, work: TorchWorkload) -> TorchSession:
        import torch

        torch.compiler.reset()
        workload = work.workload
        parameters = dict(work.model.named_parameters())
        state = [
            (p.detach(), torch.zeros_like(p).detach(), torch.zeros_like(p).detach())
            for p in parameters.values()
        ]
        # Not of shape (): what is written into a float64 scalar on the CPU would be lost.
        done = torch.zeros(1, device=work.device, dtype=work.X.dtype)  # updates made
        for tensor in (done, work.total, *(tensor for tensors in state for tensor in tensors)):
            # Tensors that stay where they are may be written to by the CUDA graphs of max-autotune.
            torch._dynamo.mark_static_address(tensor)

        def step(rows: Any) -> None:
            def loss_of(values: dict[str, Any]) -> Any:
                return work.loss(
                    lambda X: torch.func.functional_call(work.model, values, (X,)), rows
                )

            values = dict(zip(parameters, (theta for theta, _, _ in state), strict=True))
            gradients, loss = torch.func.grad_and_value(loss_of)(values)
            done.add_(1)
            for g, (theta, m, v) in zip(gradients.values(), state, strict=True):
                if workload.solver == "sgd":
                    m.mul_(MOMENTUM).add_(g)
                    theta.sub_(workload.rate * (g + MOMENTUM * m))
                    continue
                m.mul_(BETA_1).add_(g, alpha=1 - BETA_1)
                v.mul_(BETA_2).addcmul_(g, g, value=1 - BETA_2)
                spread = (v / (1 - BETA_2**done)).sqrt() + workload.epsilon
                theta.sub_(workload.rate * (m / (1 - BETA_1**done)) / spread)
            work.total.add_(loss, alpha=rows.shape[0])

        # A last batch that is not full is compiled for itself.
        compiled = torch.compile(step, mode="max-autotune", fullgraph=True, dynamic=False)

        def train(order: Any) -> None:
            for rows in work.batches(order):
                compiled(rows)

        moments = [tensor for _, *tensors in state for tensor in tensors]
        return _Session(work, train, lambda: [done, *moments])


class _Session(TorchSession):
    @property
    def remark(self) -> str:
        from torch._dynamo.utils import counters

        skips = counters["inductor"]["cudagraph_skips"] if self.clock.name != "host clock" else 0
        return f"ran without a CUDA graph ({skips} skipped)" if skips else ""
