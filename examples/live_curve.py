"""
Callbacks: a live curve, and an end of training
===============================================

Callbacks came with scikit-learn 1.9. This one draws the loss in the terminal while the network
trains, and ends training when the loss is low enough.
"""

# %%
# Older versions of scikit-learn have no callbacks; then this script prints so and ends.
from importlib.util import find_spec

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text
from sklearn.datasets import load_digits

from gpubp import MLPClassifier

CALLBACKS = find_spec("sklearn.callback") is not None
if not CALLBACKS:
    print("skipped: callbacks need scikit-learn 1.9 or newer")

# %%
# A callback has these four methods. ``on_fit_task_end`` is called after each epoch, and at the end
# of fit; its ``fitted_estimator`` has the weights and the curve of that moment.
BARS = "▁▂▃▄▅▆▇█"


class LiveCurve:
    """Draw the logarithm of the loss by epoch, and stop once the loss is below ``enough``."""

    def __init__(self, enough):
        self.enough = enough

    def setup(self, estimator, context):
        """Begin to draw."""
        self.live = Live(console=Console(), auto_refresh=False)
        self.live.start()

    def on_fit_task_begin(self, estimator, context):
        """Do nothing: a curve needs the end of an epoch."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Draw the curve again; return whether to stop."""
        if context.task_name != "epoch":
            return False
        losses = fitted_estimator.loss_curve_
        part = np.log(np.array(losses) / self.enough) / np.log(losses[0] / self.enough)
        heights = np.clip(part * (len(BARS) - 1), 0, len(BARS) - 1).round().astype(int)
        curve = "".join(BARS[height] for height in heights[-50:])
        self.live.update(Text(f"{curve} epoch {len(losses)}, loss {losses[-1]:.3f}"), refresh=True)
        return losses[-1] < self.enough

    def teardown(self, estimator, context):
        """Leave the last curve on the screen."""
        self.live.stop()
        if not self.live.console.is_terminal:
            print()  # a file gets the last curve alone, without an end of the line


# %%
# A callback that returns True ends training, and ``stopped_by_`` says so.
if CALLBACKS:
    X, y = load_digits(return_X_y=True)
    model = MLPClassifier((64,), max_iter=100, random_state=0)
    model.set_callbacks(LiveCurve(enough=0.1)).fit(X / 16, y)
    print(f"stopped by {model.stopped_by_} after {model.n_iter_} epochs")
