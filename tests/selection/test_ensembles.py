"""A search over ensembles trains the members of all candidates and folds together."""

from __future__ import annotations

import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from gpubp import MLPSearchCV
from gpubp.estimators import fit_estimators
from tests.selection.cases import assert_same_results, classes, classifier


@pytest.mark.parametrize("rows", ["all", "folds"])
def test_ensembles_have_the_results_of_a_grid_search(
    rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = classes()
    space = {"n_members": [None, 2, 3], "alpha": [1e-4, 1.0]}
    counts: list[int] = []
    train = fit_estimators.train_population

    def counted(backend, members, finish, **options):  # type: ignore[no-untyped-def]
        counts.append(len(members))
        return train(backend, members, finish, **options)

    monkeypatch.setattr(fit_estimators, "train_population", counted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network = classifier(member_rows=rows, device="cpu")
        ours = MLPSearchCV(network, space, n_iter=None, sampler="grid", cv=3).fit(X, y)
        theirs = GridSearchCV(network, space, cv=3).fit(X, y)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_
    assert sum(counts) == 2 * 3 * (1 + 2 + 3)
