"""Networks become ONNX models by skl2onnx's own converters, registered as in the README."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier, MLPRegressor
from tests.estimators.cases import BASE, PROBLEMS, X, fit

pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SMALL = X.astype(np.float32)


@pytest.fixture(autouse=True)
def _registered() -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes
    from skl2onnx.operator_converters import multilayer_perceptron as converters

    update_registered_converter(
        MLPClassifier,
        "GpubpMLPClassifier",
        shapes.calculate_linear_classifier_output_shapes,
        converters.convert_sklearn_mlp_classifier,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
    )
    update_registered_converter(
        MLPRegressor,
        "GpubpMLPRegressor",
        shapes.calculate_linear_regressor_output_shapes,
        converters.convert_sklearn_mlp_regressor,
    )


def run(model: Any, **options: Any) -> list[Any]:
    """Return the outputs of ``model`` by ONNX Runtime."""
    from skl2onnx import to_onnx

    last = model[-1] if hasattr(model, "steps") else model
    onnx = to_onnx(model, SMALL[:1], options={id(last): options} if options else None)
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(onnx.SerializeToString(), providers=providers)
    return list(session.run(None, {"X": SMALL}))


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("problem", ["binary", "multi-class", "multi-label", "text labels"])
def test_a_classifier(activation: str, problem: str) -> None:
    y = PROBLEMS[problem][1]
    model = fit(MLPClassifier(**BASE, activation=activation), SMALL, y)
    labels, probabilities = run(model, zipmap=False)
    assert_array_equal(labels, model.predict(SMALL))
    assert_allclose(probabilities, model.predict_proba(SMALL), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
def test_a_regressor_at_the_end_of_a_pipeline(loss: str) -> None:
    network = MLPRegressor(**BASE, loss=loss)
    model = fit(make_pipeline(StandardScaler(), network), SMALL, PROBLEMS["regression"][1])
    (predictions,) = run(model)
    assert_allclose(predictions.ravel(), model.predict(SMALL), rtol=1e-4, atol=1e-5)
