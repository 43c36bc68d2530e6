"""The tables of `gpubp.bench.quality`: data sets in scikit-learn's package, and random ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from sklearn import datasets

GAPS = 0.05  # part of the cells of a mixed table that is empty


class RawTable(NamedTuple):
    """A table before it is encoded.

    metric : name of the main score. numbers : (n, d), NaN for a gap. categories : (n, c) of str, or
    None.
    """

    task: Literal["classification", "regression"]
    metric: str
    numbers: np.ndarray
    categories: np.ndarray | None
    y: np.ndarray


def bundled(name: str) -> RawTable:
    """Return a data set of scikit-learn's package."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "diabetes":
        return RawTable("regression", "r2", X, None, y)
    return RawTable("classification", "accuracy", X, None, y)


def many_classes(rows: int, columns: int, classes: int, informative: int) -> RawTable:
    """Return a table with many classes, each of which is one cluster."""
    X, y = datasets.make_classification(
        *(rows, columns),
        n_informative=informative,
        n_redundant=columns // 8,
        n_classes=classes,
        n_clusters_per_class=1,
        random_state=1,
    )
    return RawTable("classification", "accuracy", X, None, y)


def mixed(
    rows: int,
    target: Literal["number", "skewed", "several", "class"],
    seed: int,
    positives: float = 0.4,
) -> RawTable:
    """Return a table with gaps whose target depends on both numbers and categories.

    target : "number", a number with noise; "skewed", its exponential; "several", three numbers;
    "class", whether the number is in the largest part ``positives`` of all rows.
    """
    rng = np.random.default_rng(seed)
    numbers, noise = rng.normal(size=(rows, 8)), rng.normal(size=rows)
    region, kind = rng.integers(12, size=rows), rng.integers(4, size=rows)
    of_region, of_kind = rng.normal(size=12)[region], rng.normal(size=(4, 8))[kind]
    value = np.sin(2 * numbers[:, 0]) + numbers[:, 1] * numbers[:, 2] + of_region
    value += 0.5 * (of_kind * numbers).sum(axis=1) + 0.5 * noise
    y = {
        "number": value,
        "skewed": np.exp(value / 2),
        "several": np.stack(
            [value, 100 + 50 * np.tanh(numbers[:, 3]), of_region * numbers[:, 5]], axis=1
        ),
        "class": (value > np.quantile(value, 1 - positives)).astype(np.int64),
    }[target]
    categories = np.stack([np.char.add("r", region.astype(str)), kind.astype(str)], axis=1)
    numbers[rng.random(numbers.shape) < GAPS] = np.nan
    categories[rng.random(categories.shape) < GAPS] = "?"
    if target != "class":
        return RawTable("regression", "r2", numbers, categories, y)
    metric = "accuracy" if positives > 0.1 else "average_precision"
    return RawTable("classification", metric, numbers, categories, y)


TABLES: dict[str, Callable[[], RawTable]] = {
    **{name: partial(bundled, name) for name in ("iris", "wine", "breast_cancer", "diabetes")},
    "digits": partial(bundled, "digits"),
    "mixed, 2 classes": partial(mixed, 400, "class", 6),
    "mixed, small": partial(mixed, 400, "number", 17),
    "mixed": partial(mixed, 3000, "number", 7),
    "several targets": partial(mixed, 5000, "several", 8),
    "skewed": partial(mixed, 10_000, "skewed", 9),
    "1 % positives": partial(mixed, 20_000, "class", 3, positives=0.01),
    "26 classes": partial(many_classes, 16_000, 16, 26, 12),
    "800 columns": partial(many_classes, 1500, 800, 3, 30),
    "mixed, 100,000": partial(mixed, 100_000, "class", 10),
}
