"""A search on a CUDA device, here its stand-in, over rows on the host and on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpubp import MLPSearchCV
from tests.selection.cases import classes, classifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def search(device: str, X: Any, y: Any) -> MLPSearchCV:
    space = {"alpha": [0.1, 1.0], "hidden_layer_sizes": [(3,), (4,)]}
    estimator = classifier(device=device, dtype="float64", early_stopping=True)
    options = {"sampler": "grid", "cv": 2, "scoring": None, "return_train_score": True}
    return MLPSearchCV(estimator, space, **options).fit(X, y)


@pytest.mark.usefixtures("host_cupy")
@pytest.mark.parametrize("on_device", [False, True])
def test_scores_are_those_of_the_cpu(on_device: bool) -> None:
    import cupy

    X, y = classes()
    expected = search("cpu", X, y)
    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True) as stream:
        rows = (cupy.asarray(X), cupy.asarray(y)) if on_device else (X, y)
        found = search("cuda", *rows)
        stream.synchronize()
    assert found.best_estimator_.device_.startswith("cuda")
    assert found.best_params_ == expected.best_params_
    for name in ("mean_test_score", "mean_train_score"):
        assert_allclose(found.cv_results_[name], expected.cv_results_[name])
    assert_allclose(found.best_estimator_.coefs_[0], expected.best_estimator_.coefs_[0], rtol=1e-9)
    assert np.array_equal(found.predict(X), expected.predict(X))
