"""The gradient of a batch: gather its rows, then forward, loss and backward."""

from __future__ import annotations

from dataclasses import dataclass

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.dropout import Masks
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import NO_MASKS, Network, Parameters, Workspace, backward, forward
from gpubp.training.batches import Batches


@dataclass(frozen=True)
class BatchGradient:
    """The part of a step that every solver has, over ``parameters`` and ``gradients``."""

    backend: Backend
    network: Network
    loss: Loss
    batches: Batches
    parameters: Parameters
    gradients: Parameters

    def __call__(
        self,
        work: Workspace,
        row_losses: Array,
        *,
        of: int,
        first: int = 0,
        masks: Masks = NO_MASKS,
        accumulate: bool = False,
    ) -> None:
        """Compute the gradient of the rows of this step from its ``first`` on, in ``work``.

        row_losses : (work.n_rows,), to which the loss of each row is added, 1 / ``of`` of it or its
        share by weight. accumulate : add to the gradients instead of setting them.
        """
        backend, network, batches = self.backend, self.network, self.batches
        work.X, Y = batches.gather(work.X, batches.Y_batch[: work.n_rows], first)
        forward(backend, network, self.parameters, work, masks)
        share = batches.share(work.n_rows, of, first)
        self.loss.evaluate(backend, work.logits, Y, share, row_losses, work.deltas[-1])
        backward(
            backend, network, self.parameters, self.gradients, work, masks, accumulate=accumulate
        )
