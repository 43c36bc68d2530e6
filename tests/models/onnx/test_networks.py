"""The nodes of networks: activations, outputs, input stages, ensembles, labels and units of y."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp import ExportError, Loss, MLPClassifier, MLPRegressor
from gpubp.backprop.losses import LOSSES
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.models.onnx.activations import ACTIVATION_NODES, OUTPUT_NODES
from gpubp.models.onnx.model_graph import to_onnx
from tests.estimators.cases import CLASSES, PROBLEMS, X, fit
from tests.models.onnx.agreement import assert_agree, runtime

pytest.importorskip("onnx", reason="needs onnx")

QUICK: dict[str, Any] = {
    "hidden_layer_sizes": (7, 5),
    "batch_size": 32,
    "learning_rate_init": 0.05,
    "max_iter": 3,
    "random_state": 3,
    "device": "cpu",
}
Y = PROBLEMS["regression"][1]
TWO = np.stack([1e6 + 1e3 * Y, -Y], axis=1)
EXTREMES = np.concatenate([X, 20 * X[:9], [[0.0] * 4, [-0.0] * 4]])


def _fitted(kind: Any, y: Any, rows: np.ndarray = X, dtype: Any = np.float32, **given: Any) -> Any:
    return fit(kind(**QUICK | given), rows.astype(dtype), y)


def _check(model: Any, rows: np.ndarray = EXTREMES, scale: Any = 1.0) -> None:
    rows = rows.astype(model.coefs_[0].dtype)
    assert_agree(model, rows, {"X": rows}, scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str, dtype: Any) -> None:
    _check(_fitted(MLPRegressor, Y, activation=activation, dtype=dtype), scale=10)


def test_each_activation_and_output_has_nodes() -> None:
    assert set(ACTIVATION_NODES) == set(ACTIVATIONS)
    assert set(OUTPUT_NODES) == {loss.output for loss in LOSSES.values()}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("problem", [name for name in PROBLEMS if "regression" not in name])
def test_classifiers(problem: str, members: int | None) -> None:
    model = _fitted(MLPClassifier, PROBLEMS[problem][1], n_members=members)
    _check(model)


@pytest.mark.parametrize("classes", [[1.0, 2.0, 4.0], [-5, 2**40, 7], ["a", "", "ß"]])
def test_labels_keep_their_type(classes: Any) -> None:
    model = _fitted(MLPClassifier, np.array(classes)[CLASSES])
    _check(model)
    rows = X.astype(np.float32)
    label, _ = runtime(to_onnx(model), "onnx.reference")({"X": rows})
    wanted = model.predict(rows)
    assert label.dtype == (object if wanted.dtype.kind == "U" else wanted.dtype)
    assert label.tolist() == wanted.tolist()


@pytest.mark.parametrize("layers", [(), (3,), (4, 3, 2)])
def test_depths_and_networks_without_biases(layers: Any) -> None:
    activation = ["tanh", "relu", "gelu"][: len(layers)]
    given: dict[str, Any] = {"hidden_layer_sizes": layers, "activation": activation}
    _check(_fitted(MLPRegressor, Y, fit_intercept=False, **given))


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize(
    "given",
    [
        {"loss": "poisson"},
        {"loss": "huber"},
        {"loss": "absolute_error", "target_scaling": True},
        {"loss": "quantile", "quantile": 0.9},
        {"loss": "quantile", "quantile": [0.9, 0.1, 0.5], "target_scaling": True},
        {"clip_predictions": True},
        {"clip_predictions": True, "target_scaling": True},
    ],
    ids=lambda given: ",".join(f"{key}={value}" for key, value in given.items()),
)
def test_regressors(given: dict[str, Any], members: int | None) -> None:
    y = np.exp(Y / 4) if given.get("loss") == "poisson" else Y
    _check(_fitted(MLPRegressor, y, n_members=members, **given), X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize(
    "given",
    [
        {"target_scaling": True},
        {"target_scaling": True, "clip_predictions": True},
        {"target_scaling": True, "loss": "quantile", "quantile": [0.8, 0.2]},
    ],
    ids=["scaled", "clipped", "quantiles"],
)
def test_several_targets(given: dict[str, Any], members: int | None, dtype: Any) -> None:
    model = _fitted(MLPRegressor, TWO, n_members=members, dtype=dtype, **given)
    _check(model, scale=1.0)


def test_quantiles_that_cross_are_sorted() -> None:
    levels = [0.9, 0.1, 0.5]
    given: dict[str, Any] = {"loss": "quantile", "quantile": levels, "max_iter": 1}
    model = _fitted(MLPRegressor, Y, **given)
    raw = model._outputs(X.astype(np.float32))
    assert (np.diff(raw[:, [1, 2, 0]], axis=1) < 0).any()
    _check(model, X)


STAGES: dict[str, dict[str, Any]] = {
    "periodic": {"periodic": "all"},
    "some periodic": {"periodic": (2, 0)},
    "tables": {"tables": {1: 4, 3: 2}},
    "both": {"periodic": (0,), "tables": {3: 5, 1: 3}},
    "only tables": {"tables": {0: 3, 1: 3, 2: 3, 3: 3}},
    "scale": {"periodic": ()},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_input_stages(stage: str, members: int | None, dtype: Any) -> None:
    rows = X.copy()
    for column, levels in STAGES[stage].get("tables", {}).items():
        # Some levels are out of range, and some between two.
        rows[:, column] = np.random.default_rng(column).integers(-1, levels + 1, len(X))
        rows[::7, column] += 0.5
    given: dict[str, Any] = {"input_stage": STAGES[stage], "n_members": members}
    _check(_fitted(MLPClassifier, CLASSES, rows, dtype, **given), rows)


def test_label_smoothing_of_the_users_stays() -> None:
    _check(_fitted(MLPClassifier, CLASSES, label_smoothing=0.2))


def test_weights_that_were_set_by_hand() -> None:
    model = MLPRegressor(hidden_layer_sizes=(2,), activation="tanh", device="cpu")
    model.coefs_, model.intercepts_ = [np.ones((4, 2)), np.ones((2, 1))], [np.ones(2), np.ones(1)]
    model.n_outputs_, model.n_features_in_ = 1, 4
    _check(model)


def test_outputs_that_overflow_are_not_a_difference() -> None:
    model = _fitted(MLPRegressor, np.exp(Y / 4), loss="poisson")
    rows = np.full((2, 4), 3e38, np.float32)
    ours = model.predict(rows)
    (theirs,) = runtime(to_onnx(model), "onnx.reference")({"X": rows})
    assert_array_equal(np.isfinite(ours), np.isfinite(theirs))


class _Halved(Loss):
    """A loss whose outputs are the half of its logits."""

    def predict(self, backend: Any, Z: Any, out: Any) -> None:
        out[...] = Z / 2


def test_outputs_of_ones_own_are_refused() -> None:
    of = LOSSES["squared_error"]
    loss = _Halved("halved", of.step, "numbers", "identity", of.formula)
    model = _fitted(MLPRegressor, Y, loss=loss)
    with pytest.raises(ExportError, match="'halved' computes its outputs by a function of its own"):
        to_onnx(model)


def test_an_activation_of_ones_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "mine", ACTIVATIONS["tanh"])
    model = _fitted(MLPRegressor, Y, activation=["mine", "tanh"])
    with pytest.raises(ExportError, match=r"activation 'mine' has no ONNX nodes; .*, tanh, or add"):
        to_onnx(model)
