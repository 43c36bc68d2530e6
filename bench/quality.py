"""`python -m gpubp.bench.quality`: compares the recipe for tables with scikit-learn's MLP.

Prints scores on test rows and the processor time of training, for tables that need no download.
Both get the same rows, encoded by an ordinary pipeline: gaps as median and indicator, standardised
numbers and one-hot categories. scikit-learn's MLP has its defaults, with and without early
stopping. For a regression, it is trained on standardised targets.
"""

from __future__ import annotations

import json
import statistics
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import click
import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

import gpubp
from gpubp.bench.machine import machine
from gpubp.bench.quality_tables import TABLES, RawTable
from gpubp.models.scores import class_scores, number_scores
from gpubp.models.table_recipe import Task, recipe

TEST_SIZE = 0.25
Scores = dict[str, Any]


class Rows(NamedTuple):
    """Encoded rows for training and for the test."""

    task: Task
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


class Result(NamedTuple):
    """The results of a learner on a table: one dict of scores and one time per seed."""

    table: str
    learner: str
    shape: tuple[int, int]
    metric: str
    scores: list[Scores]
    seconds: list[float]

    def mean(self) -> float:
        """Return the mean of the table's main metric."""
        return statistics.fmean(scores[self.metric] for scores in self.scores)

    def spread(self) -> float:
        """Return the standard deviation of the table's main metric over the seeds."""
        spread: float = statistics.pstdev(scores[self.metric] for scores in self.scores)
        return spread


def encoded(table: RawTable, seed: int) -> Rows:
    """Return the rows, split by ``seed`` and encoded by a pipeline fitted to the training rows."""
    strata = table.y if table.task == "classification" else None
    train, test = train_test_split(
        np.arange(len(table.y)), test_size=TEST_SIZE, random_state=seed, stratify=strata
    )
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    X, X_test = (
        numbers.fit_transform(table.numbers[train]),
        numbers.transform(table.numbers[test]),
    )
    if table.categories is not None:
        one_hot = OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False)
        one_hot.fit(table.categories[train])
        X = np.hstack([X, one_hot.transform(table.categories[train])])
        X_test = np.hstack([X_test, one_hot.transform(table.categories[test])])
    return Rows(table.task, X, table.y[train], X_test, table.y[test])


def _peer(rows: Rows, seed: int, **parameters: Any) -> tuple[Scores, float]:
    """Train scikit-learn's MLP; return its scores and seconds."""
    kind = MLPClassifier if rows.task == "classification" else MLPRegressor
    model, y = kind(random_state=seed, **parameters), rows.y
    mean, scale = (0.0, 1.0) if rows.task == "classification" else (y.mean(axis=0), y.std(axis=0))
    if rows.task == "regression":
        y = (y - mean) / scale
    started = process_time()
    model.fit(rows.X, y)
    seconds = process_time() - started
    return _scores(rows, model, lambda X: model.predict(X) * scale + mean), seconds


def _recipe(rows: Rows, seed: int) -> tuple[Scores, float]:
    """Train gpubp's MLP by the recipe; return its scores and seconds."""
    X, X_test = rows.X.astype(np.float32), rows.X_test.astype(np.float32)
    rows = rows._replace(X=X, X_test=X_test)
    classifies = rows.task == "classification"
    outputs = len(np.unique(rows.y)) if classifies else rows.y[0].size
    n_rows, n_columns = X.shape
    parameters = recipe(rows.task, n_rows, n_columns, outputs)
    model: Any
    if classifies:
        model = gpubp.MLPClassifier(random_state=seed, device="cpu", **parameters)
    else:
        parameters["target_scaling"] = True
        model = gpubp.MLPRegressor(random_state=seed, device="cpu", **parameters)
    started = process_time()
    model.fit(X, rows.y)
    seconds = process_time() - started
    return _scores(rows, model, model.predict), seconds


def _scores(rows: Rows, model: Any, predict: Callable[[np.ndarray], np.ndarray]) -> Scores:
    if rows.task == "classification":
        return class_scores(model.classes_, rows.y_test, model.predict_proba(rows.X_test))
    return number_scores(rows.y_test, predict(rows.X_test))


LEARNERS: dict[str, Callable[[Rows, int], tuple[Scores, float]]] = {
    "scikit-learn": _peer,
    "early stopping": lambda rows, seed: _peer(rows, seed, early_stopping=True),
    "recipe": _recipe,
}


def measure(name: str, learners: Iterable[str], seeds: int) -> list[Result]:
    """Return the results of each learner on a table, split and trained once per seed."""
    table = TABLES[name]()
    found = [Result(name, learner, (0, 0), table.metric, [], []) for learner in learners]
    for seed in range(seeds):
        rows = encoded(table, seed)
        found = [result._replace(shape=rows.X.shape) for result in found]
        for result in found:
            scores, seconds = LEARNERS[result.learner](rows, seed)
            result.scores.append(scores)
            result.seconds.append(seconds)
    return found


HEAD = ["table", "score", *LEARNERS, "time"]


def line(results: list[Result]) -> str:
    """Return a row of Markdown: mean ± standard deviation of scores, and relative time.

    The last cell is the time of the recipe divided by that of scikit-learn's defaults.
    """
    rows, columns = results[0].shape
    cells = [f"{results[0].table}, {rows:,} x {columns:,}", results[0].metric]
    seconds = {result.learner: statistics.fmean(result.seconds) for result in results}
    for learner in LEARNERS:
        cell = [
            f"{result.mean():.3f} ± {result.spread():.3f}, {seconds[learner]:.2f} s"
            for result in results
            if result.learner == learner
        ]
        cells += cell or ["-"]
    compared = {"scikit-learn", "recipe"} <= set(seconds)
    cells.append(f"{seconds['recipe'] / seconds['scikit-learn']:.2f}" if compared else "-")
    return f"| {' | '.join(cells)} |"


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--learner",
    "learners",
    type=click.Choice(list(LEARNERS)),
    multiple=True,
    help="Can be given several times.  [default: all]",
)
@click.option("--json", "path", type=click.Path(path_type=Path), help="File for all scores.")
def quality(
    tables: tuple[str, ...], seeds: int, learners: tuple[str, ...], path: Path | None
) -> None:
    """Compare the recipe with scikit-learn's MLP on TABLES, by default on all tables."""
    if unknown := [name for name in tables if name not in TABLES]:
        raise click.UsageError(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    click.echo(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    found: list[Result] = []
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning of scikit-learn
        for name in tables or TABLES:
            results = measure(name, learners or tuple(LEARNERS), seeds)
            click.echo(line(results))
            found += results
    if path is not None:
        content = {"machine": machine("cpu"), "results": [result._asdict() for result in found]}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    quality()
