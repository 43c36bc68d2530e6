"""The file of a checkpoint: the states of the networks of a training, and what it trains."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backprop.network import Network
from gpubp.storage.model_file import (
    ModelFileError,
    ModelRecord,
    errors_of,
    read_model,
    require,
    require_list,
    write_model,
)
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit import Fitted
from gpubp.training.history import History, Minimum
from gpubp.training.training_state import TrainingState

KIND = "checkpoint"  # the key of its header that no model has
VERSION = 1
# How a file of gpubp begins after the 8 bytes of the length of its header, which has fewer than
# 2**32 bytes: safetensors writes the metadata first.
_BEGIN = b'{"__metadata__":{"gpubp":'

Tensors = dict[str, NDArray[Any]]


@dataclass
class SavedTraining:
    """The contents of a checkpoint.

    identity : what is trained, and how; see `training_identity`. settings : the same in terms of
    the caller, such as options of the command line. Both have to be equal in a training that goes
    on. notes : what it takes over instead, such as the epochs that fit a time limit.
    states : of the networks that are being trained, by their index among the members.
    ended : the trained networks, by their index; without their shape.
    where : device and engine of the training, and the number of processes; others give the same
    result up to rounding.
    """

    identity: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    states: dict[int, TrainingState] = field(default_factory=dict)
    ended: dict[int, Fitted] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)


def is_checkpoint(header: Mapping[str, Any]) -> bool:
    """Return whether the header of a file is that of a checkpoint."""
    return KIND in header


def is_damaged(path: str | os.PathLike[str]) -> bool:
    """Return whether a file that `read_model` refuses begins as one of gpubp, or has no contents.

    No contents: it is empty, or begins with zeros only, as after a power failure.

    Raises OSError if it cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(8 + len(_BEGIN))
    if not any(head):
        return True
    return len(head) > 4 and not any(head[4:8]) and _BEGIN.startswith(head[8:])


def write_checkpoint(path: str | os.PathLike[str], saved: SavedTraining) -> None:
    """Write ``saved`` to ``path``; an existing file is replaced only when the new one is complete.

    Raises ModelFileError if it cannot be written, or if a parameter is not finite.
    """
    tensors: Tensors = {}
    networks = [_state_to_json(k, of, tensors) for k, of in saved.states.items()]
    networks += [_fitted_to_json(k, of, tensors) for k, of in saved.ended.items()]
    header = {
        KIND: VERSION,
        "identity": saved.identity,
        "settings": saved.settings,
        "notes": saved.notes,
        "where": saved.where,
        "networks": networks,
    }
    write_model(path, ModelRecord(header, tensors))


def read_checkpoint(path: str | os.PathLike[str], network: Network | None = None) -> SavedTraining:
    """Return the checkpoint in the file at ``path``.

    network : the shape of the trained networks; None leaves out the networks.

    Raises ModelFileError for a file that is not a complete checkpoint.
    """
    record = read_model(path)
    header, tensors = record.header, record.tensors
    with errors_of(path):
        if not is_checkpoint(header):
            raise ModelFileError("a model, not a checkpoint; give the path of a checkpoint")
        if require(header, KIND, int) != VERSION:
            raise ModelFileError("a checkpoint of another version of gpubp; begin anew")
        names = ("identity", "settings", "notes", "where")
        saved = SavedTraining(**{name: require(header, name, dict) for name in names})
        if network is None:
            return saved
        for of in require_list(header, "networks", dict):
            k = require(of, "member", int)
            if "step" in of:
                saved.states[k] = _state(k, of, tensors)
            else:
                saved.ended[k] = _fitted(k, of, tensors, network)
    return saved


def _state_to_json(k: int, of: TrainingState, tensors: Tensors) -> dict[str, Any]:
    """Return the entry of a network in training, and add its arrays to ``tensors``."""
    tensors[f"{k}.theta"] = of.theta
    # Often they are the current parameters, which are then saved once.
    same = [name for name in ("kept", "best") if _is_same(getattr(of, name), of.theta)]
    for name in ("kept", "best"):
        if name not in same and (array := getattr(of, name)) is not None:
            tensors[f"{k}.{name}"] = array
    for j, part in enumerate(of.sums):
        tensors[f"{k}.sums.{j}"] = part
    return _common_to_json(k, of.optimizer, of.history, tensors) | {
        "step": of.step,
        "sums": len(of.sums),
        "lowest": _number(of.lowest),
        "same_as_theta": same,
        "together": of.together,
    }


def _is_same(array: NDArray[Any] | None, theta: NDArray[Any]) -> bool:
    return array is not None and np.array_equal(array, theta)


def _common_to_json(
    k: int, optimizer: OptimizerState, history: History, tensors: Tensors
) -> dict[str, Any]:
    for j, vector in enumerate(optimizer.vectors):
        tensors[f"{k}.vector.{j}"] = vector
    return {
        "member": k,
        "rate": optimizer.rate,
        "updates": optimizer.updates,
        "vectors": len(optimizer.vectors),
        "history": {name: _numbers(value) for name, value in asdict(history).items()},
    }


def _fitted_to_json(k: int, of: Fitted, tensors: Tensors) -> dict[str, Any]:
    tensors[f"{k}.theta"] = of.theta
    names = ("device", "engine", "precision", "launches")
    common = _common_to_json(k, of.state, of.history, tensors)
    return common | {name: getattr(of, name) for name in names}


def _state(k: int, of: dict[str, Any], tensors: Tensors) -> TrainingState:
    theta, same = tensors[f"{k}.theta"], of["same_as_theta"]
    kept, best = (
        theta if name in same else tensors.get(f"{k}.{name}") for name in ("kept", "best")
    )
    assert kept is not None
    return TrainingState(
        *(theta, kept, best),
        optimizer=_optimizer(k, of, tensors),
        history=_history(of["history"]),
        lowest=float(of["lowest"]),
        step=of["step"],
        sums=tuple(tensors[f"{k}.sums.{j}"] for j in range(of["sums"])),
        together=of["together"],
    )


def _fitted(k: int, of: dict[str, Any], tensors: Tensors, network: Network) -> Fitted:
    state, history = _optimizer(k, of, tensors), _history(of["history"])
    where = of["device"], of["engine"], of["precision"], of["launches"]
    return Fitted(network, tensors[f"{k}.theta"], state, history, *where)


def _optimizer(k: int, of: dict[str, Any], tensors: Tensors) -> OptimizerState:
    vectors = tuple(tensors[f"{k}.vector.{j}"] for j in range(of["vectors"]))
    return OptimizerState(of["rate"], of["updates"], vectors)


def _history(of: dict[str, Any]) -> History:
    values = {each.name: of[each.name] for each in fields(History)}
    for name in ("losses", "scores", "validation_losses"):
        values[name] = [float(value) for value in values[name]]
    for name in ("best_loss", "best_score", "seconds"):
        values[name] = float(values[name])
    if values["minimum"] is not None:
        values["minimum"] = Minimum(*values["minimum"])
    return History(**values)


def _numbers(value: Any) -> Any:
    """Return a value of a history as JSON; NaN and infinities as text, which float() reads."""
    if isinstance(value, list | tuple):
        return [_numbers(each) for each in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else repr(float(value))
