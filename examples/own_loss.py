"""
A loss of your own
==================

A loss is a function of the outputs and the targets. It returns the loss of each row and its
derivative by each output, the slope. ``check_loss`` compares the slope with central differences.
"""

# %%
# The log-cosh loss is quadratic for small errors and linear for large ones, so outliers have less
# influence.
import numpy as np

from gpubp import MLPRegressor, check_loss


def log_cosh(outputs, targets):
    """Return the row sums of log(cosh(error)), and the slope tanh(error)."""
    error = outputs - targets
    return (np.logaddexp(error, -error) - np.log(2)).sum(axis=1), np.tanh(error)


rng = np.random.default_rng(0)
off = check_loss(log_cosh, rng.normal(size=(20, 1)), rng.normal(size=(20, 1)))
print(f"largest error of a slope: {off:.1e}")

# %%
# ``check_loss`` finds a wrong slope, and names the row and the output.


def wrong(outputs, targets):
    """Return the loss of log_cosh with the slope of the squared error."""
    return log_cosh(outputs, targets)[0], outputs - targets


try:
    check_loss(wrong, rng.normal(size=(20, 1)), rng.normal(size=(20, 1)))
except ValueError as error:
    print(error)

# %%
# A sine with 5 % outliers. The squared error follows the outliers more than log-cosh does.
X = np.linspace(-3, 3, 400)[:, None]
truth = np.sin(X[:, 0])
y = truth + 0.1 * rng.normal(size=400)
y[rng.choice(400, 20, replace=False)] += 8

for loss in ("squared_error", log_cosh):
    model = MLPRegressor(loss, (64,), max_iter=1000, learning_rate_init=0.005, random_state=0)
    error = np.abs(model.fit(X, y).predict(X) - truth).mean()
    print(f"{getattr(loss, '__name__', loss):<13} mean distance from the sine: {error:.3f}")
