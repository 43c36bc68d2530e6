"""Searches over TableClassifier and TableRegressor: encoded once per fold, trained together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from gpubp import DataError, MLPSearchCV, TableClassifier, TableEncoder, TableRegressor
from tests.models.table_cases import COLUMNS, LABELS, SMALL, A, Y, table
from tests.selection.cases import assert_same_results, classes, classifier, warnings_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SPACE = {"alpha": [1e-3, 1.0], "learning_rate_init": [0.01, 0.1]}
CELLS = np.column_stack([each.astype(object) for each in COLUMNS.values()])


def classes_of_table(**parameters: Any) -> TableClassifier:
    return TableClassifier(**SMALL | {"dtype": "float64"} | parameters)


def numbers_of_table(**parameters: Any) -> TableRegressor:
    return TableRegressor(**SMALL | {"dtype": "float64"} | parameters)


def compare(estimator: Any, X: Any, y: Any, space: Any, **options: Any) -> MLPSearchCV:
    fit = options.pop("fit", {})
    theirs = GridSearchCV(estimator, space, **options).fit(X, y, **fit)
    ours = MLPSearchCV(estimator, space, sampler="grid", **options).fit(X, y, **fit)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-12)
    return ours


@contextmanager
def counted_fits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Yield a list with the number of rows of each fit of an encoder."""
    rows: list[int] = []
    fit_table = TableEncoder._fit_table

    def counting(self: Any, table: Any, *args: Any) -> None:
        rows.append(len(table))
        fit_table(self, table, *args)

    with monkeypatch.context() as patch:
        patch.setattr(TableEncoder, "_fit_table", counting)
        yield rows


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_grid_over_cells_of_mixed_types(early_stopping: bool) -> None:
    estimator = classes_of_table(early_stopping=early_stopping)
    search = compare(estimator, CELLS, LABELS, SPACE, cv=3, return_train_score=True)
    assert search.classes_.tolist() == ["high", "low", "mid"]
    assert search.n_features_in_ == 3
    assert search.predict_proba(CELLS).shape == (len(A), 3)


@pytest.mark.parametrize("given", [False, True])
def test_the_tuned_default(given: bool) -> None:
    estimator = TableClassifier(hidden_layer_sizes=(5,), max_iter=3, random_state=0)
    space: dict[str, Any] = {"preset": ["tuned", "plain"], "alpha": [0.0, 1.0]}
    fit = {"X_val": CELLS[:40], "y_val": LABELS[:40]} if given else {}
    ours = compare(estimator, CELLS[40:], LABELS[40:], space, cv=2, fit=fit)
    with_members = ours.best_estimator_.network_.n_members == 4
    assert with_members == (ours.best_params_["preset"] == "tuned")


def test_a_grid_of_regressors_with_several_targets() -> None:
    compare(numbers_of_table(), CELLS, Y, SPACE, cv=2, scoring="neg_mean_absolute_error")


def test_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(COLUMNS)
    weights = np.linspace(0.1, 2, len(A))
    fit = {"sample_weight": weights}
    ours = compare(classes_of_table(), frame, pandas.Series(LABELS), SPACE, cv=2, fit=fit)
    assert ours.feature_names_in_.tolist() == list(COLUMNS)


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_other_frames(kind: str) -> None:
    module = pytest.importorskip(kind)
    frame = (module.DataFrame if kind == "polars" else module.table)(COLUMNS)
    compare(classes_of_table(), frame, LABELS, SPACE, cv=2)


def test_the_recipe_is_that_of_the_rows_of_a_fold() -> None:
    estimator = TableClassifier(max_iter=3, random_state=0, dtype="float64")
    compare(estimator, CELLS, LABELS, {"hidden_layer_sizes": ["auto", (3,)]}, cv=2)


def test_given_validation_rows() -> None:
    fit = {"X_val": CELLS[:40], "y_val": LABELS[:40]}
    estimator = classes_of_table(early_stopping=True)
    compare(estimator, CELLS[40:], LABELS[40:], SPACE, cv=2, fit=fit)


def test_a_pipeline_that_ends_with_a_table_estimator() -> None:
    drop = FunctionTransformer(lambda X: X[:, [0, 2]])
    space = {f"tableclassifier__{name}": values for name, values in SPACE.items()}
    compare(make_pipeline(drop, classes_of_table()), CELLS, LABELS, space, cv=2)


@pytest.mark.parametrize("way", ["columns", "table", "own targets", "dict and target"])
def test_tables_and_dicts_equal_arrays(way: str) -> None:
    cv = KFold(3, shuffle=True, random_state=0)
    frame = table(kind_=LABELS)
    cases: dict[str, Any] = {
        "columns": ((COLUMNS, LABELS), {}),
        "table": ((table(), LABELS), {}),
        "own targets": ((frame,), {}),
        "dict and target": ((COLUMNS | {"kind_": LABELS},), {"target": "kind_"}),
    }
    expected = MLPSearchCV(classes_of_table(), SPACE, sampler="grid", cv=cv).fit(CELLS, LABELS)
    args, fit = cases[way]
    search = MLPSearchCV(classes_of_table(), SPACE, sampler="grid", cv=cv).fit(*args, **fit)
    assert_same_results(search.cv_results_, expected.cv_results_)
    assert search.best_estimator_.target_names_ == (("y",) if len(args) == 2 else ("kind_",))
    assert search.predict(args[0]).tolist() == expected.predict(CELLS).tolist()
    if way in ("own targets", "dict and target"):
        assert search.score(args[0]) == expected.score(CELLS, LABELS)


def test_rows_without_a_target_are_left_out() -> None:
    labels = LABELS.astype(object)
    labels[3] = ""
    columns = COLUMNS | {"label": labels}
    search = MLPSearchCV(classes_of_table(), SPACE, n_iter=2, cv=2, random_state=0)
    search.fit(columns, target="label")
    assert search.best_estimator_.n_rows_without_target_ == 1
    with pytest.raises(ValueError, match="1 rows of X have no target, so groups"):
        search.fit(columns, target="label", groups=np.arange(len(A)) % 2)


def test_groups_of_a_table() -> None:
    search = MLPSearchCV(classes_of_table(), SPACE, n_iter=2, cv=GroupKFold(3), random_state=0)
    search.fit(table(), LABELS, groups=np.arange(len(A)) % 3)
    assert search.n_splits_ == 3


@pytest.mark.parametrize(
    ("space", "fits"),
    [
        (SPACE, 3),
        (SPACE | {"min_frequency": [1, 5]}, 6),
        ({"early_stopping": [False, True], "alpha": [0.1, 1.0]}, 6),
        ({"early_stopping": [True], "validation_fraction": [0.1, 0.3], "alpha": [0.1, 1.0]}, 6),
    ],
)
def test_equal_encoders_are_fitted_once_per_fold(
    monkeypatch: pytest.MonkeyPatch, space: Any, fits: int
) -> None:
    estimator = classes_of_table(preset="plain")
    search = MLPSearchCV(estimator, space, sampler="grid", cv=3, refit=False)
    with counted_fits(monkeypatch) as rows:
        search.fit(CELLS, LABELS)
    assert len(rows) == fits
    assert max(rows) <= len(A) * 2 // 3


def test_fits_that_fail_leave_the_others() -> None:
    space = {"drop": [(), ("x0",), ("nothing",)], "alpha": [0.1]}
    search = MLPSearchCV(classes_of_table(), space, sampler="grid", cv=2)
    told = warnings_of(lambda: search.fit(CELLS, LABELS))
    assert "2 fits failed out of a total of 6" in told
    assert "nothing" in told
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, False, True]
    search.set_params(error_score="raise")
    with pytest.raises(DataError, match="nothing"):
        search.fit(CELLS, LABELS)


def test_only_the_recipe_ends_without_a_warning() -> None:
    estimator = TableClassifier(hidden_layer_sizes=(3,), random_state=0, early_stopping=False)
    search = MLPSearchCV(estimator, {"alpha": [0.1]}, n_iter=1, cv=2)
    assert warnings_of(lambda: search.fit(CELLS, LABELS)) == ""


def test_target_is_for_tables() -> None:
    with pytest.raises(TypeError, match="target='y' needs TableClassifier"):
        MLPSearchCV(classifier(), SPACE).fit(classes()[0], target="y")


def test_halving_of_a_table() -> None:
    search = MLPSearchCV(
        *(classes_of_table(), SPACE),
        sampler="halving",
        n_iter=4,
        factor=2,
        min_resources=40,
        cv=2,
        random_state=0,
    ).fit(table(), LABELS)
    assert search.n_resources_ == [40, 80]
    assert_allclose(search.cv_results_["iter"], [0, 0, 0, 0, 1, 1])


def test_epochs_chosen_by_the_recipe_need_max_resources() -> None:
    search = MLPSearchCV(TableClassifier(), SPACE, sampler="halving", n_iter=4, resource="epochs")
    with pytest.raises(ValueError, match="max_iter of the estimator is 'auto'; give it as max_res"):
        search.fit(CELLS, LABELS)
