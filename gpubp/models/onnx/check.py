"""Compare an ONNX graph with the model it was made of, on rows made for the purpose."""

from __future__ import annotations

import warnings
from copy import copy
from typing import Any

import numpy as np

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.standardizer import Standardizer
from gpubp.models.onnx.graph import ExportError
from gpubp.models.onnx.network import dtype_of
from gpubp.models.onnx.packages import has_runtime
from gpubp.models.onnx.sample_rows import array_rows, table_rows
from gpubp.models.table_estimators import TableEstimator
from gpubp.tables.encoding.strays import StrayCellWarning

# Largest allowed difference: of probabilities; of numbers relative to the larger of 1 and the
# number, in the units of the network. If the model scales its targets, these are standard
# deviations from the mean of the training targets.
TOLERANCE = 1e-5
# In a row of extreme numbers, large terms may cancel, so that float32 rounds by more. Two orders of
# summation differ by up to twice that on average; single rows may differ by more.
ROUNDINGS = 8

Outputs = dict[str, np.ndarray]


def checked(model: Any, made: Any, content: bytes) -> tuple[int, dict[str, float]]:
    """Return the number of rows compared, and the largest difference by the name of the runtime.

    made : the ModelProto. content : its bytes.

    Raises ExportError for a difference above TOLERANCE, and for other labels.
    """
    network, rows = model, None  # type: Any, Any
    if isinstance(model, TableEstimator):
        network = model.network_
        rows, feed = table_rows(model.encoder_)
    else:
        rows = array_rows(model, dtype_of(model))
        feed = {"X": rows}
    ours = _predictions(model, network, rows)
    found = {"onnx.reference": _by_reference(made, feed)}
    if has_runtime():
        found["onnxruntime"] = _by_runtime(content, feed)
    units = getattr(network, "_target_scaling", None)
    off = {name: difference(name, ours, of, units) for name, of in found.items()}
    if max(off.values()) > TOLERANCE:
        rounding = difference("float64", ours, [*_in_float64(model, rows).values()], units)
        _refuse(off, max(TOLERANCE, ROUNDINGS * rounding))
    for name, of in found.items():
        if "label" in ours and not _same_labels(ours, of[0]):
            raise ExportError(f"{name} returns other labels than the model; no file was written")
    return len(rows), off


def _refuse(off: dict[str, float], allowed: float) -> None:
    """Raise ExportError for a difference above ``allowed``."""
    for name, worst in off.items():
        if not worst <= allowed:
            raise ExportError(
                f"{name} differs from the model by {worst:.3g}, but at most {allowed:.3g} is "
                "allowed; no file was written"
            )


def _in_float64(model: Any, rows: Any) -> Outputs:
    """Return our outputs for the rows, of a network that computes in float64."""
    is_table = isinstance(model, TableEstimator)
    network = copy(model.network_ if is_table else model)
    network.coefs_ = [W.astype(np.float64) for W in network.coefs_]
    if not is_table:
        return _predictions(network, network, rows)
    model = copy(model)
    model.network_ = network
    return _predictions(model, network, rows)


def _predictions(model: Any, network: Any, rows: Any) -> Outputs:
    """Return our outputs for the rows, by the names of the graph's outputs."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", StrayCellWarning)
        if isinstance(network, MLPClassifier):
            P = model.predict_proba(rows)
            return {"label": model.predict(rows), "probabilities": P}
        ours = {"prediction": model.predict(rows)}
        levels = network._of_fit("quantile") if network._of_fit("loss") == "quantile" else ()
        return ours | ({"quantiles": model.predict_quantiles(rows)} if np.size(levels) > 1 else {})


def _by_reference(made: Any, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    with np.errstate(all="ignore"):  # overflow to infinity is as intended
        return list(ReferenceEvaluator(made).run(None, feed))


def _by_runtime(content: bytes, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(content, options, providers=providers)
    return list(session.run(None, feed))


def difference(
    runtime: str, ours: Outputs, theirs: list[np.ndarray], units: Standardizer | None
) -> float:
    """Return the largest difference of all outputs but the labels.

    units : the target scaling of the model, if any.

    Raises ExportError for outputs of other shapes.
    """
    worst = 0.0
    for (name, mine), other in zip(ours.items(), theirs, strict=True):
        if mine.shape != other.shape:
            raise ExportError(
                f"{runtime} returns {name!r} of shape {other.shape}, but the model returns "
                f"{mine.shape}; no file was written"
            )
        if name != "label":
            worst = max(worst, _largest(name, mine, other, units))
    return worst


def _largest(name: str, mine: np.ndarray, other: np.ndarray, units: Standardizer | None) -> float:
    """Return the largest difference of an output; infinity if only one of both is finite."""
    mean, scale = (0.0, 1.0) if units is None else _by_target(units, name, mine.ndim)
    mine = (mine.astype(np.float64) - mean) / scale
    other = (other.astype(np.float64) - mean) / scale
    relative = np.abs(mine - other) / np.maximum(1, np.abs(mine))
    # A network that overflows returns NaN in both.
    off = np.where(np.isnan(mine) & np.isnan(other), 0, relative)
    return float(np.max(off, initial=0)) if np.isfinite(off).all() else np.inf


def _by_target(units: Standardizer, name: str, ndim: int) -> tuple[Any, Any]:
    """Return mean and scale in a shape that fits an output of ``ndim`` axes."""
    if ndim == 1 or (name == "quantiles" and ndim == 2):  # one target
        return units.mean[0], units.scale[0]
    if name == "quantiles":
        return units.mean[:, None], units.scale[:, None]
    return units.mean, units.scale


def _same_labels(ours: Outputs, labels: np.ndarray) -> bool:
    """Return whether the labels are equal, where the probabilities leave no doubt."""
    mine, P = ours["label"], ours["probabilities"]
    if mine.ndim == 2:
        sure = np.abs(P - 0.5) > TOLERANCE
    else:
        best = np.sort(P, axis=1)[:, -2:]
        sure = best[:, 1] - best[:, 0] > 2 * TOLERANCE
    same = mine.astype(str) == np.asarray(labels).astype(str)
    return bool(same[sure].all())
