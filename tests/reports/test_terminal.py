"""The line of an epoch in the terminal."""

from __future__ import annotations

from gpubp.reports.terminal import epoch_line
from gpubp.training.history import Epoch


def test_a_negative_loss_is_shown_as_a_loss() -> None:
    epoch = Epoch(3, 0.5, -0.4146, True, 0.001, 0.1, 800, validation_loss=0.4146)
    assert "  validation loss 0.4146  " in epoch_line(epoch, 10)
    other = Epoch(3, 0.5, -0.4146, True, 0.001, 0.1, 800, validation_loss=0.3)
    assert "  validation -0.4146  " in epoch_line(other, 10)
