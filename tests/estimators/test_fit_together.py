"""`fit_together`: each fit ends as it would alone, even if others of its population fail."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from gpubp import MLPClassifier
from gpubp.estimators import fit_estimators
from gpubp.estimators.fit_estimators import Fit, fit_estimator, fit_together
from gpubp.training.history import Epoch, History
from tests.estimators.cases import BASE, CLASSES, X


def fail(epoch: Epoch) -> bool:
    raise RuntimeError("a listener")


def fitted_next_to_a_failure(model: MLPClassifier, y: np.ndarray = CLASSES) -> dict[int, Any]:
    """Fit ``model`` together with one whose listener fails; return the outcomes."""
    outcomes: dict[int, Any] = {}
    failing = MLPClassifier(**{**BASE, "max_iter": 30})
    fit_together([Fit(model, X, y), Fit(failing, X, y, on_epoch=fail)], outcomes.__setitem__)
    assert isinstance(outcomes[0], History)
    assert isinstance(outcomes[1], RuntimeError)
    return outcomes


@pytest.mark.parametrize("state", [3, np.random.RandomState(3)])
@pytest.mark.parametrize("n_members", [None, 2])
def test_a_failure_changes_no_other_fit(state: Any, n_members: int | None) -> None:
    model = MLPClassifier(**{**BASE, "random_state": state}, n_members=n_members)
    alone = clone(model)
    fit_estimator(alone, X, CLASSES)
    fitted_next_to_a_failure(again := clone(model))
    assert_array_equal(again.coefs_[0], alone.coefs_[0])


def test_a_failure_changes_no_warm_start() -> None:
    """The best loss of other rows is not compared with that of these."""
    models = [MLPClassifier(**{**BASE, "max_iter": 30}, warm_start=True) for _ in range(2)]
    for model in models:
        fit_estimator(model, X, CLASSES)
        model.max_iter = 3
    other = 2 - CLASSES
    fit_estimator(models[0], X, other)
    fitted_next_to_a_failure(models[1], other)
    assert models[0].best_loss_ == models[1].best_loss_ > models[0].loss_curve_[29]


@pytest.mark.parametrize("scoring", [None, "accuracy"])
def test_the_start_of_a_fit_is_freed_when_its_group_has_ended(
    scoring: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []
    train = fit_estimators.train_population

    def watched(backend: Any, members: Any, *others: Any, **options: Any) -> bool:
        starts.extend(weakref.ref(each.start.theta) for each in members)
        return train(backend, members, *others, **options)

    def count(k: int, outcome: Any) -> None:
        gc.collect()  # a scorer and the training that it scores refer to each other
        alive.append(sum(each() is not None for each in starts))

    monkeypatch.setattr(fit_estimators, "train_population", watched)
    options = {**BASE, "early_stopping": True, "scoring": scoring}
    sizes = [(9,), (9,), (8,), (8,), (7,)]
    models = [MLPClassifier(**{**options, "hidden_layer_sizes": of}) for of in sizes]
    fit_together([Fit(model, X, CLASSES) for model in models], count)
    assert alive == [5, 5, 3, 3, 1]
