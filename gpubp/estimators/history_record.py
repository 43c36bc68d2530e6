"""Conversion of the histories of an estimator and its members to a JSON header, and back."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from gpubp.estimators.ensemble_members import set_member_histories
from gpubp.estimators.fitted_attributes import history_of, set_history
from gpubp.storage.model_file import ModelFileError, choose, only_keys, require, require_list
from gpubp.training.history import History, Minimum, StoppedBy

_OF_HISTORY = (
    *("losses", "scores", "validation_losses", "stale", "samples", "epochs", "stopped_by"),
    "minimum",
)


def history_header(estimator: Any) -> dict[str, Any]:
    """Return the history of an estimator and the device of its training."""
    return _to_header(history_of(estimator)) | {
        "early_stopping": getattr(estimator, "validation_scores_", None) is not None,
        "device": getattr(estimator, "device_", "cpu"),
        "engine": getattr(estimator, "engine_", "numpy"),
        "precision": getattr(estimator, "precision_", "float64"),
    }


def members_header(estimator: Any) -> dict[str, Any]:
    """Return the histories of the members of an ensemble, and its score of left-out rows."""
    has = vars(estimator)
    header: dict[str, Any] = {}
    if "_member_histories" in has:
        pairs = zip(has["_member_seeds"], has["_member_histories"], strict=True)
        header["members"] = [{"seed": seed} | _to_header(history) for seed, history in pairs]
    if "oob_score_" in has:
        header["oob_score"] = _finite([has["oob_score_"]])
    return header


def _to_header(history: History) -> dict[str, Any]:
    minimum = history.minimum
    return {
        "losses": history.losses,
        "scores": _finite(history.scores),
        "validation_losses": _finite(history.validation_losses),
        "stale": history.stale,
        "samples": history.samples,
        "epochs": history.epochs,
        "stopped_by": history.stopped_by,
        "minimum": _finite([minimum.fun]) if minimum else [],
    }


def _finite(numbers: list[float]) -> list[float | None]:
    """Return ``numbers`` with None for NaN and infinity, which JSON does not have."""
    return [number if np.isfinite(number) else None for number in numbers]


def _numbers(header: dict[str, Any], key: str) -> list[float]:
    """Return the list ``key`` of ``header`` that `_finite` wrote, with NaN for None."""
    numbers = [np.nan if n is None else n for n in require(header, key, list)]
    return require_list({key: numbers}, key, float)


def set_history_of(estimator: Any, header: dict[str, Any]) -> None:
    """Set the attributes that describe the training from a header of `history_header`."""
    history = _from_header(header)
    early_stopping = require(header, "early_stopping", bool)
    device, precision = require(header, "device", str), require(header, "precision", str)
    # Files of earlier versions do not have it.
    engine = require({"engine": "numpy"} | header, "engine", str)
    set_history(estimator, history, early_stopping)
    estimator.device_, estimator.engine_, estimator.precision_ = device, engine, precision


def set_members_of(estimator: Any, header: dict[str, Any]) -> None:
    """Set what `members_header` wrote, if anything, on an estimator with weights and history."""
    if "members" in header:
        members = require_list(header, "members", dict)
        for member in members:
            only_keys(member, ["seed", *_OF_HISTORY])
        if np.shape(estimator.coefs_[0])[:-2] != (len(members),):
            raise ModelFileError(
                f"there are {len(members)} members, but weights of shape "
                f"{np.shape(estimator.coefs_[0])}; restore the file or save the model again"
            )
        histories = [_from_header(member) for member in members]
        seeds = [require(member, "seed", int) for member in members]
        early_stopping = getattr(estimator, "validation_scores_", None) is not None
        set_member_histories(estimator, histories, seeds, early_stopping)
    if "oob_score" in header:
        estimator.oob_score_ = (_numbers(header, "oob_score") or [np.nan])[0]


def _from_header(header: dict[str, Any]) -> History:
    minimum = _numbers(header, "minimum")
    history = History(
        losses=require_list(header, "losses", float),
        scores=_numbers(header, "scores"),
        # Files of earlier versions do not have it.
        validation_losses=_numbers({"validation_losses": []} | header, "validation_losses"),
        stale=require(header, "stale", int),
        samples=require(header, "samples", int),
        epochs=require(header, "epochs", int),
        stopped_by=choose(header, "stopped_by", get_args(StoppedBy)),  # type: ignore[arg-type]
        minimum=Minimum(minimum[0]) if minimum else None,
    )
    history.best_loss = min(history.losses, default=np.inf)
    history.best_score = max(filter(np.isfinite, history.scores), default=-np.inf)
    return history
