"""The peers of `gpubp bench quality`: how each library learns a table, with its default settings.

To add a peer, add an entry to `PEERS`; for a preset of gpubp, ``QualityPeer(partial(train_ours,
name=value), columns)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from gpubp.bench.quality_tables import RawTable, Task
from gpubp.models.table_estimators import TableClassifier, TableRegressor

MOST_LEVELS = 255  # of a category in HistGradientBoosting; rarer levels are merged


class Job(NamedTuple):
    """A training.

    numbers : how many columns have numbers; those after them have categories.
    seed : of the model.
    """

    task: Task
    numbers: int
    threads: int
    seed: int

    @property
    def classifies(self) -> bool:
        """Whether labels are predicted; else numbers."""
        return self.task == "classification"


class QualityPeer(NamedTuple):
    """A library, or a preset of gpubp.

    train : returns the model fitted to X and y. inputs : returns a table as the X of the library.
    package : the package that has to be installed; "" for one that gpubp requires.
    """

    train: Callable[[Job, Any, np.ndarray], Any]
    inputs: Callable[[RawTable], Any]
    package: str = ""


def columns(table: RawTable) -> dict[str, np.ndarray]:
    """Return the columns by name, categories as text."""
    named = {f"number{j}": values for j, values in enumerate(table.numbers.T)}
    return named | {f"category{j}": values for j, values in enumerate(table.categories.T)}


def matrix(table: RawTable) -> np.ndarray:
    """Return numbers (n, d + c): categories as codes, NaN for a gap."""
    codes = np.full(table.categories.shape, np.nan)
    for j, names in enumerate(table.categories.T):
        _, code = np.unique(names, return_inverse=True)
        codes[:, j] = np.where(names == "", np.nan, code)
    return np.hstack([table.numbers, codes])


def train_ours(job: Job, X: dict[str, np.ndarray], y: np.ndarray, **parameters: Any) -> Any:
    """Train gpubp's estimator with ``parameters``, by default with the recipe for tables."""
    kind = TableClassifier if job.classifies else TableRegressor
    model = kind(random_state=job.seed, threads=job.threads, device="cpu", **parameters)
    return model.fit(X, y)


def _sklearn_mlp(job: Job, X: np.ndarray, y: np.ndarray) -> Any:
    """Train scikit-learn's MLP behind an ordinary pipeline, on standardised regression targets."""
    gaps = SimpleImputer(strategy="constant", fill_value=-1.0)
    # Levels of fewer than five rows get no column.
    one_hot = OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False)
    encode = _by_kind(
        *(job, X),
        make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()),
        make_pipeline(gaps, one_hot),
    )
    if job.classifies:
        return make_pipeline(encode, MLPClassifier(random_state=job.seed)).fit(X, y)
    network = make_pipeline(encode, MLPRegressor(random_state=job.seed))
    return TransformedTargetRegressor(network, transformer=StandardScaler()).fit(X, y)


def _by_kind(job: Job, X: np.ndarray, numbers: Any, categories: Any) -> ColumnTransformer:
    """Return a transformer of the columns with numbers and of those with categories."""
    return ColumnTransformer(
        [
            ("numbers", numbers, list(range(job.numbers))),
            ("categories", categories, _categories(job, X)),
        ]
    )


def _categories(job: Job, X: np.ndarray) -> list[int]:
    return list(range(job.numbers, X.shape[1]))


def _hist_gradient_boosting(job: Job, X: np.ndarray, y: np.ndarray) -> Any:
    unknown = {"unknown_value": np.nan, "encoded_missing_value": np.nan}
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", max_categories=MOST_LEVELS, **unknown
    )
    kind = HistGradientBoostingClassifier if job.classifies else HistGradientBoostingRegressor
    model = kind(categorical_features=_categories(job, X), random_state=job.seed)
    return make_pipeline(_by_kind(job, X, "passthrough", codes), model).fit(X, y)


def _xgboost(job: Job, X: np.ndarray, y: np.ndarray) -> Any:
    import xgboost

    kind = xgboost.XGBClassifier if job.classifies else xgboost.XGBRegressor
    types = ["q"] * job.numbers + ["c"] * len(_categories(job, X))
    model = kind(
        feature_types=types, enable_categorical=True, n_jobs=job.threads, random_state=job.seed
    )
    return model.fit(X, y)


def _lightgbm(job: Job, X: np.ndarray, y: np.ndarray) -> Any:
    import lightgbm

    kind = lightgbm.LGBMClassifier if job.classifies else lightgbm.LGBMRegressor
    model = kind(n_jobs=job.threads, random_state=job.seed, verbosity=-1)
    return model.fit(X, y, categorical_feature=_categories(job, X) or "auto")


def _realmlp(job: Job, X: np.ndarray, y: np.ndarray) -> Any:
    """Train RealMLP-TD, behind medians and indicators for the gaps, which it does not take."""
    import pytabkit

    kind = pytabkit.RealMLP_TD_Classifier if job.classifies else pytabkit.RealMLP_TD_Regressor
    model = kind(device="cpu", n_threads=job.threads, random_state=job.seed)
    medians = SimpleImputer(strategy="median", add_indicator=True)
    gaps = SimpleImputer(strategy="constant", fill_value=-1.0)
    indicators = int(np.isnan(X[:, : job.numbers]).any(axis=0).sum())
    is_category = [False] * (job.numbers + indicators) + [True] * len(_categories(job, X))
    steps = make_pipeline(_by_kind(job, X, medians, gaps), model)
    return steps.fit(X, y, **{f"{steps.steps[-1][0]}__cat_indicator": is_category})


PEERS: dict[str, QualityPeer] = {
    "gpubp": QualityPeer(train_ours, columns),
    "gpubp_plain": QualityPeer(partial(train_ours, preset="plain"), columns),
    "sklearn_mlp": QualityPeer(_sklearn_mlp, matrix),
    "hist_gradient_boosting": QualityPeer(_hist_gradient_boosting, matrix),
    "xgboost": QualityPeer(_xgboost, matrix, "xgboost"),
    "lightgbm": QualityPeer(_lightgbm, matrix, "lightgbm"),
    "realmlp_td": QualityPeer(_realmlp, matrix, "pytabkit"),
}
