"""Sparse rows train and predict as the same rows do densely, bit for bit, and stay sparse."""

from __future__ import annotations

import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import Adam
from gpubp.training.batches import Batches
from gpubp.training.data import CsrData, TrainingData, as_matrix
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit_memory import OneStepWindows, place, ways
from gpubp.training.streamed_batches import StreamedBatches
from gpubp.training.trainer import Trainer
from tests.backends.small_training import trainer_of
from tests.estimators.cases import BASE, OURS, PROBLEMS, TARGETS, WEIGHTS, fit

RNG = np.random.RandomState(0)
DENSE = np.where(RNG.uniform(size=(90, 12)) < 0.3, RNG.normal(size=(90, 12)), 0.0)
KINDS = [
    getattr(scipy.sparse, f"{form}_{kind}")
    for form in ("csr", "csc")
    for kind in ("matrix", "array")
]
OTHERS = [scipy.sparse.coo_array, scipy.sparse.lil_matrix]


def parameters(model: Any) -> np.ndarray:
    return np.concatenate([p.ravel() for p in (*model.coefs_, *model.intercepts_)])


@pytest.mark.parametrize("make", KINDS + OTHERS)
@pytest.mark.parametrize("problem", TARGETS)
def test_sparse_input_gives_the_bits_of_dense(problem: str, make: Any) -> None:
    kind, y = PROBLEMS[problem]
    wanted, got = (OURS[kind](**BASE) for _ in range(2))
    fit(wanted, DENSE, y, sample_weight=WEIGHTS)
    X = make(DENSE)
    fit(got, X, y, sample_weight=WEIGHTS)
    assert_array_equal(parameters(got), parameters(wanted))
    assert got.loss_curve_ == wanted.loss_curve_
    for name in ("predict",) if kind == "regressor" else ("predict_proba", "predict"):
        assert_array_equal(getattr(got, name)(X), getattr(wanted, name)(DENSE), strict=True)
    assert got.score(X, y) == wanted.score(DENSE, y)
    assert_array_equal(X.toarray(), DENSE)  # left alone


@pytest.mark.parametrize("options", [
    {"early_stopping": True}, {"dtype": "float32"}, {"batch_size": 1000}, {"shuffle": False},
    {"row_order": "hash"}, {"solver": "lbfgs"}, {"input_dropout": 0.5},
], ids=str)  # fmt: skip
def test_every_way_of_training_takes_it(options: dict[str, Any]) -> None:
    kind, y = PROBLEMS["multi-class"]
    models = [OURS[kind](**{**BASE, **options}) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for model, X in zip(models, (DENSE, scipy.sparse.csc_array(DENSE)), strict=True):
            model.fit(X, y)
    assert_array_equal(parameters(models[1]), parameters(models[0]))
    assert models[1].coefs_[0].dtype == options.get("dtype", "float64")


@pytest.mark.parametrize("given", [np.float32, np.float64, np.int32])
def test_its_dtype_counts_as_that_of_dense_input(given: Any) -> None:
    kind, y = PROBLEMS["regression"]
    X = np.round(DENSE * 4).astype(given)
    wanted, got = fit(OURS[kind](**BASE), X, y), fit(OURS[kind](**BASE), KINDS[0](X), y)
    assert_array_equal(parameters(got), parameters(wanted), strict=True)


def test_partial_fit_mixes_with_dense_input() -> None:
    model, dense = (MLPClassifier(**BASE) for _ in range(2))
    y = PROBLEMS["multi-class"][1]
    for each, X in ((model, KINDS[1](DENSE)), (dense, DENSE)):
        each.partial_fit(X, y, classes=[0, 1, 2])
        each.partial_fit(DENSE, y).partial_fit(X, y)
    assert_array_equal(parameters(model), parameters(dense))


def test_duplicate_entries_add_up_before_they_are_rounded() -> None:
    values, places = (
        np.array([1.0, 2**-24, 2**-24, 3.0]),
        (np.array([0, 0, 0, 1]), np.zeros(4, int)),
    )
    X = scipy.sparse.csr_matrix((values, places[1], [0, 3, 4]), shape=(2, 2))
    assert not X.has_canonical_format
    rows = as_matrix(X, np.dtype(np.float32), NumpyBackend())
    assert_array_equal(rows.dense(0, 2), X.toarray().astype(np.float32))
    assert X.nnz == 4


def test_rows_are_taken_sliced_and_cast() -> None:
    rows, index = CsrData(scipy.sparse.csr_array(DENSE)), np.array([5, 3, 5, 89])
    out = np.full((4, 12), np.nan)
    np.take(rows, index, axis=0, out=out, mode="clip")
    assert_array_equal(out, DENSE[index])
    assert_array_equal(rows[index].dense(1, 3), DENSE[index][1:3])
    assert (len(rows), rows.shape, rows.row_bytes) == (90, (90, 12), 96)
    assert rows.astype(np.dtype(np.float32)).dense(0, 1).dtype == np.float32


@pytest.mark.parametrize("problem", ["multi-class", "regression"])
def test_every_device_takes_it(backend: Backend, problem: str) -> None:
    kind, y = PROBLEMS[problem]
    options = {**BASE, "dtype": "float64", "device": backend.name, "early_stopping": True}
    wanted = fit(OURS[kind](**options), DENSE, y, sample_weight=WEIGHTS)
    X = scipy.sparse.csc_array(DENSE)
    got = fit(OURS[kind](**options), X, y, sample_weight=WEIGHTS)
    assert_array_equal(parameters(got), parameters(wanted))
    assert_array_equal(got.predict(X), wanted.predict(DENSE))


def test_they_are_streamed_where_rows_lie_on_a_device(backend: Backend) -> None:
    network, lines = Network((12, 5, 3), ("relu",)), list[str]()
    theta, y = network.initial_theta(RNG, np.dtype(float)), PROBLEMS["multi-class"][1]
    made: list[type] = []

    def make(batches: Batches, parts: int) -> Trainer:
        made.append(type(batches))
        if len(made) == 1 and backend.name != "cpu":
            raise MemoryError
        loss, state = LOSSES["softmax_cross_entropy"], OptimizerState(0.1)
        return trainer_of(backend, network, loss, Adam(), theta, batches, state=state, parts=parts)

    rows = CsrData(scipy.sparse.csr_array(DENSE))
    trainer = place(
        backend,
        TrainingData(rows, y, y.astype(np.int32), None),
        ways(backend, rows, 32),
        make,
        lambda trainer: None,
        0,
        lines.append,
    )
    assert np.isfinite(trainer.epoch(np.arange(90)))
    on_cpu = backend.name == "cpu"
    assert made == ([Batches] if on_cpu else [StreamedBatches, OneStepWindows])
    assert len(lines) == (0 if on_cpu else 1)


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_a_matrix_that_could_never_be_dense(estimator: Any) -> None:
    n, d = 2000, 50_000  # 400 MB in float32
    indices, values = RNG.randint(d, size=10 * n), RNG.normal(size=10 * n).astype(np.float32)
    X = scipy.sparse.csr_matrix((values, indices, np.arange(0, 10 * n + 1, 10)), shape=(n, d))
    y = (X[:, : d // 2].sum(axis=1).A1 > 0).astype(int)
    options = {"batch_size": 20, "random_state": 0, "early_stopping": True}
    model = estimator(hidden_layer_sizes=(2,), max_iter=1, **options)
    tracemalloc.start()
    try:
        fit(model, X, y).predict(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 25e6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    X = scipy.sparse.csr_array(DENSE)
    X.data[3] = bad
    with pytest.raises(ValueError, match="contains"):
        MLPClassifier().fit(X, PROBLEMS["binary"][1])


def test_its_columns_are_counted() -> None:
    model = fit(MLPClassifier(**BASE), KINDS[0](DENSE), PROBLEMS["binary"][1])
    with pytest.raises(ValueError, match=r"X has 3 features, but .* 12"):
        model.predict(KINDS[0](DENSE[:, :3]))
