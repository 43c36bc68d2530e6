"""A validation set of one's own, instead of rows held out of the training data."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.estimators.fitted_attributes import EPOCH_ATTRIBUTES
from gpubp.training import inference, validation
from gpubp.training.data import TrainingData
from gpubp.training.inference import infer
from gpubp.training.validation import Validation, ValidationSet

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
RNG = np.random.RandomState(0)
X = RNG.normal(size=(120, 4))
LABELS = np.array(["a", "b", "c"])[(X[:, :3]).argmax(axis=1)]
Y = X @ [1.0, -2.0, 0.5, 0.0]
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "early_stopping": True,
    "max_iter": 40,
    "n_iter_no_change": 3,
    "learning_rate_init": 0.02,
}


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        request.getfixturevalue("host_cupy")
    return str(request.param)


@pytest.mark.parametrize(("kind", "y"), [(MLPClassifier, LABELS), (MLPRegressor, Y)])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_rows_given_train_as_the_same_rows_held_out(
    device: str, kind: type, y: np.ndarray, form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held out without a draw from the generator, the same rows give the same bits."""
    kept, own = np.split(np.random.RandomState(1).permutation(len(X)), [108])
    options = OPTIONS | {"device": device, "dtype": "float64", "batch_size": 16, "random_state": 3}
    with monkeypatch.context() as patch:
        patch.setattr(
            "gpubp.estimators.validation_split.train_test_split",
            lambda *args, **options: (kept, own),
        )
        held = kind(**options).fit(X, y)
    given = kind(**options).fit(X[kept], y[kept], X_val=form(X[own]), y_val=y[own])
    for got, expected in zip(
        [*given.coefs_, *given.intercepts_], [*held.coefs_, *held.intercepts_], strict=True
    ):
        assert_array_equal(got, expected, strict=True)
    assert given.validation_scores_ == held.validation_scores_
    assert len(given.validation_scores_) == given.n_iter_
    assert given.best_epoch_ == np.argmax(given.validation_scores_) + 1
    assert given.best_validation_score_ == max(given.validation_scores_)
    assert_array_equal(given.score(X[own], y[own]), given.best_validation_score_)


def test_weights_of_the_validation_rows_count() -> None:
    weights = np.where(np.arange(30) < 15, 0.0, 1.0)
    model = MLPClassifier(**OPTIONS, random_state=0, device="cpu")
    model.fit(X[30:], LABELS[30:], X_val=X[:30], y_val=LABELS[:30], sample_weight_val=weights)
    assert model.best_validation_score_ == model.score(X[15:30], LABELS[15:30])


def test_lbfgs_has_no_epochs_to_tell_of() -> None:
    options: dict[str, Any] = {"hidden_layer_sizes": (4,), "max_iter": 5, "device": "cpu"}
    model = MLPRegressor(**options).fit(X, Y)
    assert set(EPOCH_ATTRIBUTES) <= set(vars(model))
    model.set_params(solver="lbfgs").fit(X, Y)
    assert "best_epoch_" in EPOCH_ATTRIBUTES
    assert not set(EPOCH_ATTRIBUTES) & set(vars(model))


def test_best_epoch_without_a_validation_set_is_that_of_the_loss() -> None:
    model = MLPRegressor(hidden_layer_sizes=(8,), max_iter=7, random_state=0, device="cpu").fit(
        X, Y
    )
    assert model.best_epoch_ == np.argmin(model.loss_curve_) + 1


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({"X_val": X[:9]}, {}, "go together; give both"),
        ({"y_val": LABELS[:9]}, {}, "go together; give both"),
        ({"sample_weight_val": np.ones(9)}, {}, "go together; give both, .* only with them"),
        ({"X_val": X[:9], "y_val": LABELS[:9], "sample_weight_val": np.full(9, 1e308)}, {},
         "^sample_weight_val: sample_weight adds up to inf"),
        ({"X_val": X[:9], "y_val": LABELS[:9]}, {"early_stopping": False}, "early_stopping=True"),
        ({"X_val": X[:9], "y_val": LABELS[:9]}, {"solver": "lbfgs"}, "solver='lbfgs'"),
        ({"X_val": X[:9], "y_val": LABELS[:9], "sample_weight_val": np.ones(8)}, {},
         "^sample_weight_val: sample_weight.shape == "),
        ({"X_val": X[:9, :2], "y_val": LABELS[:9]}, {}, "^X_val and y_val: X has 2 features"),
        ({"X_val": X[:9] * np.nan, "y_val": LABELS[:9]}, {}, "^X_val and y_val: Input X contains"),
        ({"X_val": X[:2], "y_val": [[1, 0], [1]]}, {}, "^y_val: .* inhomogeneous"),
        ({"X_val": X[:9], "y_val": LABELS[:8]}, {}, "^X_val and y_val: .* inconsistent numbers"),
        ({"X_val": X[:9], "y_val": np.full(9, "z")}, {}, "^X_val and y_val: .* classes not in"),
    ],
)  # fmt: skip
def test_bad_validation_sets_are_refused(
    given: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**OPTIONS | options, device="cpu").fit(X, LABELS, **given)


def test_other_validation_errors_keep_their_type() -> None:
    with pytest.raises(TypeError, match=r"^X_val and y_val: Input should have at least 1 dim"):
        MLPClassifier(**OPTIONS, device="cpu").fit(X, LABELS, X_val=X[:9], y_val="a")


TWO, THREE = np.stack([Y, -Y], axis=1), np.stack([Y, -Y, Y**2], axis=1)
LABELS_OF = {1: Y > 0, 2: TWO > 0, 3: THREE > 0}


@pytest.mark.parametrize(
    ("kind", "y", "y_val", "options"),
    [
        (MLPRegressor, Y, TWO, {}),
        (MLPRegressor, TWO, Y, {}),
        (MLPRegressor, TWO, Y[:, None], {}),
        (MLPRegressor, TWO, THREE, {}),
        (MLPRegressor, THREE, TWO, {"target_scaling": True}),
        (MLPRegressor, Y, TWO, {"loss": "quantile", "quantile": [0.1, 0.9]}),
        (MLPRegressor, TWO, Y, {"loss": "quantile", "quantile": [0.1, 0.9]}),
        (MLPRegressor, Y, TWO.tolist(), {}),
        (MLPClassifier, LABELS, LABELS_OF[2], {}),
        (MLPClassifier, LABELS_OF[1], LABELS_OF[2], {}),
        (MLPClassifier, LABELS_OF[2], LABELS_OF[1], {}),
        (MLPClassifier, LABELS_OF[2], LABELS_OF[3].astype(int), {}),
        (MLPClassifier, LABELS_OF[3], scipy.sparse.csr_matrix(LABELS_OF[2].astype(int)), {}),
    ],
)
@pytest.mark.parametrize("scoring", [None, "loss"])
def test_targets_of_another_width_are_refused(
    kind: type, y: Any, y_val: Any, options: dict[str, Any], scoring: Any
) -> None:
    model = kind(**OPTIONS, **options, scoring=scoring, device="cpu")
    shapes = (np.shape(y_val), np.shape(y))
    message = r"^y_val of shape {} has \d columns?, but y of shape {} has \d; pass the same columns"
    with pytest.raises(ValueError, match=message.format(*map(re.escape, map(str, shapes)))):
        model.fit(X, y, X_val=X, y_val=y_val)
    assert not hasattr(model, "coefs_")


def test_a_column_is_as_wide_as_a_vector() -> None:
    models = [
        MLPRegressor(**OPTIONS, random_state=0, device="cpu").fit(X, Y, X_val=X, y_val=y_val)
        for y_val in (Y, Y.tolist())
    ]
    models.append(MLPRegressor(**OPTIONS, random_state=0, device="cpu"))
    with pytest.warns(DataConversionWarning):
        models[-1].fit(X, Y, X_val=X, y_val=Y[:, None])
    assert len({tuple(model.validation_scores_) for model in models}) == 1


def test_coefs_that_do_not_fit_together_are_refused() -> None:
    model = MLPRegressor(hidden_layer_sizes=(8,), max_iter=1, random_state=0, device="cpu").fit(
        X, Y
    )
    model.coefs_ = model.coefs_[:1]
    with pytest.raises(ValueError, match="do not fit together; set one array per layer"):
        model.predict(X)


# ---- the loss of the validation rows ---------------------------------------------------------

WEIGHTS = RNG.uniform(0, 2, 30)
MULTI_LABEL = (X[:, :2] > 0).astype(int)


def loss_by_hand(model: Any, rows: np.ndarray, y: np.ndarray, weights: Any) -> float:
    """The weighted mean of the loss of each row, from the outputs."""
    if isinstance(model, MLPRegressor):
        return float(np.average((model.predict(rows) - y) ** 2 / 2, weights=weights))
    P = model.predict_proba(rows)
    if y.ndim == 2:
        losses = -np.log(np.where(y, P, 1 - P)).sum(axis=1)
    else:
        losses = -np.log(P[np.arange(len(y)), np.searchsorted(model.classes_, y)])
    return float(np.average(losses, weights=weights))


@pytest.mark.parametrize(
    ("form", "weights"), [(np.asarray, WEIGHTS), (scipy.sparse.csr_matrix, None)]
)
@pytest.mark.parametrize(
    ("kind", "y"), [(MLPClassifier, LABELS), (MLPClassifier, MULTI_LABEL), (MLPRegressor, Y)]
)
def test_the_curve_is_the_mean_loss_without_the_penalty(
    device: str, kind: type, y: np.ndarray, form: Any, weights: Any
) -> None:
    options = OPTIONS | {"max_iter": 4, "alpha": 10.0, "device": device, "dtype": "float64"}
    model = kind(**options, random_state=0)
    model.fit(X[30:], y[30:], X_val=form(X[:30]), y_val=y[:30], sample_weight_val=weights)
    best = model.validation_loss_curve_[model.best_epoch_ - 1]
    assert_allclose(best, loss_by_hand(model, X[:30], y[:30], weights), rtol=1e-12)
    assert len(model.validation_loss_curve_) == len(model.loss_curve_)


def test_rows_held_out_have_a_curve_too_and_no_rows_have_none() -> None:
    model = MLPRegressor(**OPTIONS, random_state=0, device="cpu").fit(X, Y)
    assert len(model.validation_loss_curve_) == model.n_iter_
    assert model.validation_loss_curve_[-1] < model.validation_loss_curve_[0]
    model.set_params(early_stopping=False).fit(X, Y)
    assert model.validation_loss_curve_ is None


def test_the_curve_grows_as_the_loss_curve_does() -> None:
    options = OPTIONS | {"max_iter": 3, "warm_start": True, "device": "cpu"}
    model = MLPRegressor(**options, random_state=0).fit(X, Y)
    first = list(model.validation_loss_curve_)
    model.fit(X, Y)
    assert model.validation_loss_curve_[:3] == first
    assert len(model.validation_loss_curve_) == len(model.loss_curve_) == 6
    model.set_params(early_stopping=False).partial_fit(X, Y)
    assert model.validation_loss_curve_ is None


def test_one_forward_pass_gives_score_and_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def counted(*arguments: Any) -> Any:
        passes.append(arguments)
        return infer(*arguments)

    monkeypatch.setattr(validation, "infer", counted)
    model = MLPClassifier(**OPTIONS, random_state=0, device="cpu").fit(X, LABELS)
    assert len(passes) == model.n_iter_


def test_chunks_of_any_size_give_the_same_loss(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = OPTIONS | {"max_iter": 3, "device": device, "dtype": "float64"}
    curves = []
    for size in (inference.CHUNK_BYTES, 7 * 8 * 8):
        monkeypatch.setattr(inference, "CHUNK_BYTES", size)
        monkeypatch.setattr(inference, "DEVICE_CHUNK_BYTES", size)
        model = MLPClassifier(**options, random_state=0).fit(X, LABELS, sample_weight=X[:, 0] ** 2)
        curves.append(model.validation_loss_curve_)
    assert_allclose(curves[1], curves[0], rtol=1e-13)


def test_rows_without_weight_have_no_loss() -> None:
    ones = np.ones((3, 1))
    rows, network = TrainingData(ones, ones, ones, np.zeros(3)), Network((1, 1), ())
    parameters = network.views(network.pack([ones[:1]], [ones[0]], ones.dtype))
    held = ValidationSet(rows, lambda outputs, loss: outputs.sum() - loss)
    result = Validation(NumpyBackend(), network, LOSSES["squared_error"], held)(parameters)
    assert result == (6, 0)
