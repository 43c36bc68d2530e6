"""Searches whose networks are trained by real processes: of joblib's loky, and of Dask."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from gpubp import MLPClassifier, MLPSearchCV
from gpubp.estimators import fit_estimators, population_workers
from tests.selection.cases import assert_same_results, classes, warnings_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NETWORK = MLPClassifier((16,), max_iter=20, random_state=0, early_stopping=True)
SPACE = {"learning_rate_init": np.geomspace(1e-3, 0.1, 8).tolist()}
X, Y = classes(600)


def search(**options: Any) -> MLPSearchCV:
    return MLPSearchCV(clone(NETWORK), SPACE, sampler="grid", cv=3, **options)


@pytest.fixture(scope="module")
def alone() -> MLPSearchCV:
    """The search in one process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return search().fit(X, Y)


def assert_same(found: MLPSearchCV, expected: MLPSearchCV) -> None:
    assert_same_results(found.cv_results_, expected.cv_results_)
    for name in ("mean_test_score", "std_test_score"):
        assert_array_equal(found.cv_results_[name], expected.cv_results_[name])
    for a, b in zip(found.best_estimator_.coefs_, expected.best_estimator_.coefs_, strict=True):
        assert_array_equal(a, b, strict=True)


@contextmanager
def workers(backend: str, **options: Any) -> Iterator[None]:
    """Train with these workers; fail if a network is trained in this process after all."""
    with joblib.parallel_config(backend, **options), pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (fit_estimators, "train_population"),
            (fit_estimators, "_train_one_by_one"),
            (population_workers, "train_population"),
        ):
            patch.setattr(module, name, lambda *_, **__: pytest.fail("trained in this process"))
        yield


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a cluster of two processes on this machine."""
    monkeypatch.setenv("GPUBP_TEST_FOLDER", str(tmp_path))
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


# Loky's thread may fail on a task that is sent while its workers are killed; nothing is lost by it.
@pytest.mark.filterwarnings(
    "ignore:Exception in thread ExecutorManagerThread:pytest.PytestUnhandledThreadExceptionWarning"
)
def test_processes_of_loky(alone: MLPSearchCV) -> None:
    """The whole search, one that is interrupted, and one whose time is up."""
    with workers("loky", n_jobs=2):
        assert_same(search().fit(X, Y), alone)
        scores: list[float] = []

        def scoring(model: Any, X: Any, y: Any) -> float:
            if len(scores) == 8:
                raise KeyboardInterrupt
            scores.append(model.score(X, y))
            return scores[-1]

        stopped = search(scoring=scoring, refit=False)
        assert "The search was interrupted" in warnings_of(lambda: stopped.fit(X, Y))
        assert 0 < len(stopped.cv_results_["params"]) <= 2
        endless = search(time_limit=2, round_size=8).set_params(
            estimator__max_iter=10**7, estimator__n_iter_no_change=10**7
        )
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="no candidate finished"):
            endless.fit(X, Y)
        assert time.monotonic() - began < 30


def slow(model: Any, X: Any, y: Any) -> float:
    """Score the validation rows of an epoch, and leave the file of this process in its folder."""
    Path(os.environ["GPUBP_TEST_FOLDER"], str(os.getpid())).touch()
    time.sleep(0.02)
    return float(model.score(X, y))


def test_a_killed_worker_of_dask_loses_nothing(client: Any, tmp_path: Path) -> None:
    slowed = search().set_params(estimator__scoring=slow, estimator__max_iter=4)
    expected = search().set_params(**slowed.get_params(deep=False)).fit(X, Y)
    (own,) = tmp_path.iterdir()
    own.unlink()
    killed: list[int] = []

    def kill() -> None:
        for _ in range(3000):
            time.sleep(0.01)
            if found := {int(of.name) for of in tmp_path.iterdir()} - {os.getpid()}:
                time.sleep(0.1)  # in the middle of its first task
                killed.append(found.pop())
                os.kill(killed[0], signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    with workers("dask", client=client):
        killer.start()
        slowed.fit(X, Y)
    killer.join()
    assert len(killed) == 1
    trained = {int(of.name) for of in tmp_path.iterdir()} - {os.getpid()}
    assert len(trained) >= 2
    assert_same(slowed, expected)


def test_workers_of_dask(client: Any, alone: MLPSearchCV, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also inside a task of Dask, which must not wait for workers that wait for it."""
    with workers("dask", client=client):
        assert_same(search().fit(X, Y), alone)
    inside = client.submit(fit_inside, X, Y).result(timeout=60)
    assert_array_equal(inside, alone.cv_results_["mean_test_score"])


def fit_inside(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with joblib.parallel_config("dask"):
            return np.asarray(search(refit=False).fit(X, Y).cv_results_["mean_test_score"])
