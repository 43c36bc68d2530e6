"""Conversion of a fitted estimator to a JSON header and tensors, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from gpubp.backprop.losses import LOSSES
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.given_weights import weights_of
from gpubp.estimators.history_record import (
    history_header,
    members_header,
    set_history_of,
    set_members_of,
)
from gpubp.estimators.regressor import MLPRegressor
from gpubp.estimators.stage_record import HEADER as STAGE
from gpubp.estimators.stage_record import read_stage, stage_record
from gpubp.estimators.standardizer import Standardizer
from gpubp.estimators.target_range import TargetRange, range_of, set_range
from gpubp.storage.model_file import (
    ModelFileError,
    choose,
    only_keys,
    require,
    require_list,
    require_tensor,
)

Estimator = MLPClassifier | MLPRegressor
ESTIMATORS: dict[str, type[Estimator]] = {
    "MLPClassifier": MLPClassifier,
    "MLPRegressor": MLPRegressor,
}
# Parameters of earlier versions that do not affect predictions; ignored in a file.
RETIRED = {"tune"}
_LABEL_TYPES = {"text": np.str_, "integer": np.int64, "number": np.float64, "truth": np.bool_}
_LABEL_KINDS = {
    "U": "text",
    "O": "text",
    "i": "integer",
    "u": "integer",
    "f": "number",
    "b": "truth",
}


def to_record(estimator: Estimator) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a fitted estimator as a JSON header and tensors.

    Raises NotFittedError before fit, and ModelFileError for an estimator that cannot be saved.
    """
    check_is_fitted(estimator, estimator._LEARNED)
    fitted = {name: estimator._of_fit(name) for name in estimator._OF_FIT} | _named_loss(estimator)
    header: dict[str, Any] = {
        "class": type(estimator).__name__,
        "parameters": {k: plain(v) for k, v in estimator.get_params(deep=False).items()},
        "history": history_header(estimator),
    }
    fitted = {k: kept for k, v in fitted.items() if (kept := plain(v)) != header["parameters"][k]}
    if fitted:  # parameters that were changed after fit
        header["fitted"] = fitted
    if isinstance(estimator, MLPClassifier):
        header["labels"] = _labels_header(estimator)
    if hasattr(estimator, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in estimator.feature_names_in_]
    try:
        Ws, bs, _, dtype, members = weights_of(estimator.coefs_, estimator.intercepts_)
    except ValueError as error:
        raise ModelFileError(f"the model cannot be saved: {error}") from None
    tensors = {f"coefs.{k}": W.astype(dtype, copy=False) for k, W in enumerate(Ws)}
    tensors |= {f"intercepts.{k}": b.astype(dtype, copy=False) for k, b in enumerate(bs)}
    if members is not None:
        header |= members_header(estimator)
    own_header, own_tensors = stage_record(estimator)
    header, tensors = header | own_header, tensors | own_tensors
    if isinstance(estimator, MLPRegressor):
        for name, numbers in _of_targets(estimator).items():
            header[name] = True
            tensors |= {f"{name}.{key}": array for key, array in numbers.items()}
    return header, tensors


def _of_targets(estimator: MLPRegressor) -> dict[str, dict[str, np.ndarray]]:
    """Return what the predictions of a regressor take from its targets, by name."""
    found = {"target_scaling": estimator._target_scaling, "target_range": range_of(estimator)}
    return {name: vars(of) for name, of in found.items() if of is not None}


def _named_loss(estimator: Estimator) -> dict[str, str]:
    """Return {"loss": name} for a user-defined loss replaced by a named one after fit, else {}.

    Raises ModelFileError for a user-defined loss without a named loss that predicts the same.
    """
    if isinstance(estimator, MLPClassifier):
        return {}
    now, own = estimator.loss, not isinstance(estimator._of_fit("loss"), str)
    if isinstance(now, str) and not (own and LOSSES[now].output != estimator.out_activation_):
        return {"loss": now} if own else {}
    named = {"identity": "squared_error", "exp": "poisson"}.get(estimator.out_activation_)
    way = f"use set_params(loss={named!r}), which predicts the same, or " if named else ""
    raise ModelFileError(
        f"a model with the user-defined loss {estimator._loss().name!r} cannot be saved, since a "
        f"model file contains no code; {way}pickle it"
    )


def plain(value: Any) -> Any:
    """Return a parameter as a JSON value; None for one that is not saved.

    That is a random generator, a function, or an array of weights per row and label.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.random.RandomState | np.random.Generator) or callable(value):
        return None
    if len(getattr(value, "shape", ())) > 1:
        return None
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, dict):  # JSON allows only text as keys
        return {"pairs": [[plain(k), plain(v)] for k, v in value.items()]}
    if not isinstance(value, str) and isinstance(value, Iterable):
        return [plain(item) for item in value]
    return value


def _labels_header(estimator: MLPClassifier) -> dict[str, Any]:
    classes = np.asarray(estimator.classes_)
    kind = _LABEL_KINDS.get(classes.dtype.kind)
    if kind is None or _label_array(kind, classes.tolist()) is None:
        raise ModelFileError(
            f"labels of dtype {classes.dtype} such as {classes[-1]!r} cannot be saved; use text, "
            "int64 or float64 numbers, or booleans"
        )
    multilabel = estimator._binarizer.y_type_.startswith("multilabel")
    return {"kind": kind, "values": classes.tolist(), "multilabel": multilabel}


def _label_array(kind: str, values: list[Any]) -> np.ndarray | None:
    """Return labels as an array of ``kind``; None if the conversion would change a label."""
    try:
        labels: np.ndarray = np.array(values, dtype=_LABEL_TYPES[kind])
    except (TypeError, ValueError, OverflowError):
        return None
    if labels.ndim != 1 or labels.tolist() != values:
        return None
    # scikit-learn treats labels with fractions as regression targets.
    whole = kind != "number" or ((labels % 1 == 0) & (np.abs(labels) <= 2**53)).all()
    return labels if whole else None


def from_record(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Estimator:
    """Return the estimator described by ``header``; remove its tensors from ``tensors``.

    Raises ModelFileError for anything missing, unknown or inconsistent.
    """
    kind = ESTIMATORS[choose(header, "class", ESTIMATORS)]
    own = ["labels"] if kind is MLPClassifier else ["target_scaling", "target_range"]
    known = ["class", "parameters", "fitted", "history", "feature_names", "members", "oob_score"]
    only_keys(header, [*known, *own, STAGE])
    estimator = kind(**parameters_from(kind, require(header, "parameters", dict)))
    try:
        estimator._validate_params()
        hidden = estimator._hidden_sizes()
        estimator._dropout_rates()
        _set_fitted_with(estimator, header)
        estimator._activations(len(hidden))
        if isinstance(estimator, MLPRegressor):
            estimator._loss()
    except ValueError as error:
        raise ModelFileError(f"{error}; restore the file or save the model again") from None
    estimator.coefs_, estimator.intercepts_ = _layers(len(hidden) + 1, hidden, tensors)
    read_stage(estimator, header, tensors)
    estimator.n_layers_ = len(hidden) + 2
    estimator.n_outputs_ = estimator.intercepts_[-1].shape[-1]
    if isinstance(estimator, MLPClassifier):
        _set_labels(estimator, require(header, "labels", dict))
    else:
        _set_targets(estimator, header, tensors)
        estimator._set_levels()
    estimator.out_activation_ = estimator._loss().output
    set_history_of(estimator, require(header, "history", dict))
    set_members_of(estimator, header)
    if "feature_names" in header:
        names = require_list(header, "feature_names", str)
        if len(names) != estimator.n_features_in_:
            raise ModelFileError(
                f"{len(names)} feature names for {estimator.n_features_in_} features; restore the "
                "file or save the model again"
            )
        estimator.feature_names_in_ = np.array(names, dtype=object)
    return estimator


def _set_fitted_with(estimator: Estimator, header: dict[str, Any]) -> None:
    """Set the parameters for predictions: those of fit, which ``header`` has if they changed."""
    fitted = require(header, "fitted", dict) if "fitted" in header else {}
    only_keys(fitted, estimator._OF_FIT)
    fitted = {name: _parameter(value) for name, value in fitted.items()}
    as_fitted = type(estimator)(**estimator.get_params(deep=False) | fitted)
    as_fitted._validate_params()
    as_fitted._note_parameters()
    estimator._fitted_with = as_fitted._fitted_with


def parameters_from(kind: type[Any], header: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters for ``kind`` from a header that was written with `plain`."""
    header = {k: v for k, v in header.items() if k not in RETIRED}
    if header.get("compiled", "auto") is None:  # in files of earlier versions, for "auto"
        header["compiled"] = "auto"
    only_keys(header, kind().get_params(deep=False))
    return {k: _parameter(v) for k, v in header.items()}


def _parameter(value: Any) -> Any:
    """Return the parameter that `plain` converted; lists of numbers or names become tuples."""
    if isinstance(value, list):
        items = [_parameter(item) for item in value]
        return items if any(isinstance(item, dict) for item in items) else tuple(items)
    if isinstance(value, dict):
        pairs = require_list(value, "pairs", list)
        if any(len(pair) != 2 or isinstance(pair[0], list | dict) for pair in pairs):
            raise ModelFileError(
                f"a dict must be stored as pairs of key and value, got {pairs[:5]!r}; restore the "
                "file or save the model again"
            )
        return {key: _parameter(item) for key, item in pairs}
    return np.inf if value == "inf" else value


def _layers(
    n_layers: int, hidden: tuple[int, ...], tensors: dict[str, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return weights and biases with matching shapes, all of one float dtype."""
    Ws, bs, below = [], [], None
    first = tensors.get("coefs.0")
    lead = first.shape[:1] if first is not None and first.ndim == 3 else ()  # the members
    for k in range(n_layers):
        width = hidden[k] if k < len(hidden) else None
        W = require_tensor(tensors, f"coefs.{k}", (*lead, below, width))
        b = require_tensor(tensors, f"intercepts.{k}", (*lead, W.shape[-1]))
        Ws.append(tensors.pop(f"coefs.{k}"))
        bs.append(tensors.pop(f"intercepts.{k}"))
        below = W.shape[-1]
        if W.size == 0 or {W.dtype, b.dtype} != {Ws[0].dtype} or W.dtype.kind != "f":
            raise ModelFileError(
                f"layer {k} has weights {W.shape} of {W.dtype} and biases of {b.dtype}; all must "
                "have one float dtype and none may be empty: restore the file or save again"
            )
    return Ws, bs


def _set_labels(estimator: MLPClassifier, header: dict[str, Any]) -> None:
    only_keys(header, ["kind", "values", "multilabel"])
    kind = choose(header, "kind", _LABEL_TYPES)
    values, multilabel = require(header, "values", list), require(header, "multilabel", bool)
    labels = _label_array(kind, values)
    outputs = len(values) if multilabel or len(values) > 2 else 1
    if (
        labels is None
        or len(labels) < 1 + multilabel
        or not np.array_equal(np.unique(labels), labels)
        or outputs != estimator.n_outputs_
        or (multilabel and values != list(range(outputs)))
    ):
        raise ModelFileError(
            f"the labels {values[:5]!r} do not fit {estimator.n_outputs_} outputs; restore the "
            "file or save the model again"
        )
    estimator._label_binarizer = LabelBinarizer()
    estimator._set_labels(np.eye(outputs, dtype=int) if multilabel else labels)


def columns_of_y(estimator: MLPRegressor) -> int:
    """Return the number of columns of y that the network predicts."""
    columns, rest = divmod(estimator.n_outputs_, levels := estimator._loss().outputs_per_target)
    if rest:
        raise ModelFileError(
            f"{estimator.n_outputs_} outputs are not a multiple of the {levels} quantile levels; "
            "restore the file or save the model again"
        )
    return columns


def _set_targets(
    estimator: MLPRegressor, header: dict[str, Any], tensors: dict[str, np.ndarray]
) -> None:
    """Set scaling and range of the targets, if the file has them, and remove their tensors."""
    columns = columns_of_y(estimator)

    def taken(part: str, *keys: str) -> list[np.ndarray]:
        if part not in header or not require(header, part, bool):
            return []
        names = [f"{part}.{key}" for key in keys]
        found = [require_tensor(tensors, name, (columns,)) for name in names]
        for name in names:
            del tensors[name]
        return found

    scales, limits = taken("target_scaling", "mean", "scale"), taken("target_range", "low", "high")
    try:
        estimator._set_target_scaling(Standardizer(*scales) if scales else None)
        set_range(estimator, TargetRange(*limits) if limits else None)
        estimator._check_target_scaling()
    except ValueError as error:
        raise ModelFileError(f"{error}; restore the file or save the model again") from None


def add_target_scaling(estimator: MLPRegressor, scaling: Standardizer) -> None:
    """Make an estimator fitted on targets scaled by ``scaling`` predict in the original units."""
    if estimator.loss == "huber" and scaling.scale.size == 1:
        estimator.set_params(huber_delta=float(estimator.huber_delta * scaling.scale[0]))
    own = estimator._target_scaling
    if own is not None:
        scaling = Standardizer(scaling.mean + scaling.scale * own.mean, scaling.scale * own.scale)
    estimator.set_params(target_scaling=True)
    estimator._set_target_scaling(scaling)
