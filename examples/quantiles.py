"""
Intervals by quantile regression
================================

With ``loss="quantile"`` and several levels, one network predicts several quantiles at once. The
quantiles for 5 % and 95 % are the ends of an interval that should contain nine of ten new values.
"""

# %%
# The noise grows with x, so an interval of constant width would be wrong.
import numpy as np

from gpubp import MLPRegressor

rng = np.random.default_rng(0)


def draw(n):
    """Return n rows of x and y."""
    x = rng.uniform(0, 4, (n, 1))
    return x, x[:, 0] ** 2 + rng.normal(size=n) * (0.5 + x[:, 0])


X, y = draw(2000)
model = MLPRegressor(
    "quantile",
    (64, 64),
    quantile=[0.05, 0.5, 0.95],
    target_scaling=True,
    early_stopping=True,
    scoring="loss",
    max_iter=300,
    random_state=0,
)
model.fit(X, y)
print(f"{model.n_iter_} epochs, the best was epoch {model.best_epoch_}")

# %%
# ``predict_quantiles`` returns one column per level; ``predict``, the level nearest to the median.
at = np.array([[0.5], [2.0], [3.5]])
for (x,), (low, median, high) in zip(at, model.predict_quantiles(at), strict=True):
    print(f"x = {x}: median {median:6.2f}, nine of ten between {low:6.2f} and {high:6.2f}")

# %%
# Count how many new values lie inside the interval.
X_new, y_new = draw(5000)
low, _, high = model.predict_quantiles(X_new).T
print(f"inside: {np.mean((low <= y_new) & (y_new <= high)):.1%}")
