"""
Callbacks: a live curve, and an end of training
===============================================

scikit-learn 1.9 introduced callbacks. This one draws the loss in the terminal while the network
trains, and stops training when the loss is low enough.
"""

# %%
# Older versions of scikit-learn have no callbacks. With these, the script prints a line and ends.
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
# A callback has these four methods. ``on_fit_task_end`` is called after each epoch and at the end
# of fit; its argument ``fitted_estimator`` has the current weights and loss curve.
BARS = "▁▂▃▄▅▆▇█"


class LiveCurve:
    """Draw the logarithm of the loss per epoch; stop training when it is below ``enough``."""

    def __init__(self, enough):
        self.enough = enough

    def setup(self, estimator, context):
        """Start the live display."""
        self.live = Live(console=Console(), auto_refresh=False)
        self.live.start()

    def on_fit_task_begin(self, estimator, context):
        """Do nothing: the loss is known at the end of an epoch only."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Redraw the curve; return True to stop training."""
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
            print()  # in a file, Live writes the last curve without a newline


# %%
# A callback that returns True stops training; ``stopped_by_`` is then ``"callback"``.
if CALLBACKS:
    X, y = load_digits(return_X_y=True)
    model = MLPClassifier((64,), max_iter=100, random_state=0)
    model.set_callbacks(LiveCurve(enough=0.1)).fit(X / 16, y)
    print(f"stopped by {model.stopped_by_} after {model.n_iter_} epochs")
