"""Compare an ONNX graph with the model it was made of, on rows made for the purpose."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gpubp.estimators.classifier import MLPClassifier
from gpubp.models.onnx.graph import ExportError
from gpubp.models.onnx.network import dtype_of
from gpubp.models.onnx.packages import has_runtime
from gpubp.models.onnx.sample_rows import array_rows, table_rows
from gpubp.models.table_estimators import TableEstimator
from gpubp.tables.encoding.strays import StrayCellWarning

# Largest allowed difference: of probabilities; of numbers in units of the standard deviation of the
# training targets if the model scales its targets, else relative to the larger of 1 and the number.
TOLERANCE = 1e-5

Outputs = dict[str, np.ndarray]


def checked(model: Any, made: Any, content: bytes) -> tuple[int, dict[str, float]]:
    """Return the number of rows compared, and the largest difference by the name of the runtime.

    made : the ModelProto. content : its bytes.

    Raises ExportError for a difference above TOLERANCE, and for other labels.
    """
    if isinstance(model, TableEstimator):
        rows, feed = table_rows(model.encoder_)
        network = model.network_
    else:
        rows = array_rows(model, dtype_of(model))
        feed, network = {"X": rows}, model
    ours = _predictions(model, network, rows)
    found = {"onnx.reference": _by_reference(made, feed)}
    if has_runtime():
        found["onnxruntime"] = _by_runtime(content, feed)
    scale = _scale(network)
    return len(rows), {name: _difference(name, ours, of, scale) for name, of in found.items()}


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


def _scale(network: Any) -> np.ndarray | None:
    """Return the unit of each column of predictions; None if it goes by the numbers."""
    scaling = getattr(network, "_target_scaling", None)
    return None if scaling is None else scaling.scale


def _difference(
    runtime: str, ours: Outputs, theirs: list[np.ndarray], scale: np.ndarray | None
) -> float:
    """Return the largest difference; raise ExportError if it is above TOLERANCE."""
    worst = 0.0
    for (name, mine), other in zip(ours.items(), theirs, strict=True):
        if mine.shape != other.shape:
            raise ExportError(
                f"{runtime} returns {name!r} of shape {other.shape}, but the model returns "
                f"{mine.shape}; please report this"
            )
        if name == "label":
            continue
        unit: Any = 1.0 if name == "probabilities" else _unit(mine, name, scale)
        off = np.abs(mine.astype(np.float64) - other) / unit
        # NaN is NaN in both: a network that overflows.
        off = np.where(np.isnan(mine) & np.isnan(other), 0, off)
        worst = max(worst, float(np.max(off, initial=0)) if np.isfinite(off).all() else np.inf)
    if worst > TOLERANCE:
        raise ExportError(
            f"{runtime} differs from the model by {worst:.3g}, but at most {TOLERANCE:g} is "
            "allowed; no file was written"
        )
    if "label" in ours and not _same_labels(ours, theirs[0]):
        raise ExportError(f"{runtime} returns other labels than the model; no file was written")
    return worst


def _unit(mine: np.ndarray, name: str, scale: np.ndarray | None) -> np.ndarray:
    if scale is None:
        return np.maximum(1, np.abs(mine, dtype=np.float64))
    if mine.ndim == 1 or (name == "quantiles" and mine.ndim == 2):
        return scale[0]
    return scale[:, None] if name == "quantiles" else scale


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
