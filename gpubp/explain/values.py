"""A step of backpropagation as plain values: every quantity by name and layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from gpubp.explain.example import Example
from gpubp.explain.gradient_check import GradientCheck
from gpubp.explain.input_stage import stage_values
from gpubp.explain.loss_landscape import Variation
from gpubp.explain.origin import Origin
from gpubp.explain.parameters import parameters_of
from gpubp.explain.trace import LayerTrace, StepTrace


def example_values(example: Example) -> dict[str, Any]:
    """Return the network and the settings of its training."""
    optimizer = {"name": type(example.optimizer).__name__} | asdict(example.optimizer)  # type: ignore[call-overload]
    return {
        "name": example.name,
        "layers": list(example.network.sizes),
        "activations": list(example.network.activations),
        "biases": example.network.bias,
        "loss": example.loss,
        "learning_rate": example.rate,
        **({} if example.factors is None else {"factors": asdict(example.factors)}),
        "alpha": example.alpha,
        "optimizer": optimizer,
        "names": [list(layer) for layer in example.names],
        **({} if example.network.stage is None else {"columns": list(example.columns)}),
        "origin": _origin_values(example.origin),
    }


def _origin_values(origin: Origin) -> dict[str, Any]:
    """Return the table, the row, the model and the scales; None where there are none."""
    values = asdict(origin)
    return {key: v.tolist() if isinstance(v, np.ndarray) else v for key, v in values.items()}


def step_values(example: Example, trace: StepTrace) -> dict[str, Any]:
    """Return every quantity of one step, in full float64."""
    parameters = {
        p.name: {
            "layer": p.layer + 1,
            "value": float(trace.theta[p.place]),
            "gradient": float(trace.gradient[p.place]),
            "new": float(trace.new_theta[p.place]),
        }
        for p in parameters_of(example.network)
    }
    stage = {} if trace.stage is None else stage_values(trace.stage, example.columns)
    return {
        "step": trace.number,
        "row": trace.row,
        "inputs": trace.inputs.tolist(),
        "target": trace.target.tolist(),
        "prediction": trace.prediction.tolist(),
        "loss": trace.loss,
        "layers": [_layer_values(layer) for layer in trace.layers],
        "parameters": parameters,
        "new_hidden": [A.tolist() for A in trace.new_hidden],
        "new_prediction": trace.new_prediction.tolist(),
        "new_loss": trace.new_loss,
        **({"input_stage": stage} if stage else {}),
    }


def check_values(checks: Sequence[GradientCheck]) -> list[dict[str, Any]]:
    """Return each parameter's two gradients and whether they agree."""
    return [
        {
            "parameter": check.parameter.name,
            "backpropagation": check.backprop,
            "central_difference": check.difference,
            "agrees": check.agrees,
            "kink": check.kink,
        }
        for check in checks
    ]


def variation_values(variation: Variation) -> dict[str, Any]:
    """Return the predictions and losses at each value of one weight."""
    return {
        "parameter": variation.parameter.name,
        "values": variation.values.tolist(),
        "predictions": variation.predictions.tolist(),
        "losses": variation.losses.tolist(),
    }


def _layer_values(layer: LayerTrace) -> dict[str, Any]:
    names = [field.name for field in fields(layer)] + ["blame"]
    arrays = {name: getattr(layer, name) for name in names if name != "activation"}
    values = {name: None if a is None else np.asarray(a).tolist() for name, a in arrays.items()}
    return {"activation": layer.activation} | values
