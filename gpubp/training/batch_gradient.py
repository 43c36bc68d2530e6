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
    """Computes the gradient of one batch, or of a part of it, for all solvers.

    parameters, gradients : views of two flat vectors; see `Network.views`.
    """

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
        masks: Masks = NO_MASKS,
        *,
        batch_rows: int,
        first_row: int = 0,
        accumulate: bool = False,
    ) -> None:
        """Compute the gradient of ``work.n_rows`` rows of this step, from ``first_row`` on.

        work : takes the activations and deltas. masks : of dropout.
        row_losses : (…, work.n_rows); the loss of each row is added to it, multiplied by
            1 / ``batch_rows`` or by the row's share of the weights.
        batch_rows : the rows of the whole batch.
        accumulate : add to the gradients instead of overwriting them.
        """
        backend, network, batches = self.backend, self.network, self.batches
        work.X, Y = batches.gather(work.X, batches.targets(work.n_rows), first_row)
        forward(backend, network, self.parameters, work, masks)
        share = batches.share(work.n_rows, batch_rows, first_row)
        self.loss.evaluate(backend, work.logits, Y, share, row_losses, work.deltas[-1])
        backward(
            backend, network, self.parameters, self.gradients, work, masks, accumulate=accumulate
        )
