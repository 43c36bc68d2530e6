"""What a training is: parameters and rows, which are equal for trainings with equal results."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpubp.backends.foreign_arrays import on_host
from gpubp.training.data import CsrData, TakenRows, TrainingData
from gpubp.version import __version__

# Parameters that change neither the numbers of a training nor, beyond rounding, its results.
FREE = frozenset({"verbose", "threads", "device", "compiled", "record"})
MOST = 4  # differences that are told
ROWS = "the number of rows"
VALUES, VALIDATION, WEIGHTS = _DIGESTS = (
    "the values of the rows",
    "the validation rows",
    "the initial weights",
)


def identity_of(
    estimator: Any, data: TrainingData, held: TrainingData | None, thetas: list[np.ndarray]
) -> dict[str, Any]:
    """Return what the training of ``estimator`` is, as JSON values by name.

    data, held : the rows for training and validation. thetas : the initial parameters of each
    network.
    """
    rows = {
        ROWS: data.n_rows,
        "the number of columns": int(data.X.shape[1]),
        VALUES: digest_of_rows(data),
        VALIDATION: held and digest_of_rows(held),
        WEIGHTS: digest(*thetas),
        "the version of gpubp": __version__,
    }
    return parameters_of(estimator) | rows


def parameters_of(estimator: Any) -> dict[str, Any]:
    """Return the parameters of ``estimator`` as JSON values, without those in `FREE`."""
    return {
        name: jsonable(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in FREE
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs between two identities, in words: "alpha was 0.1, now 0.2"; or ""."""
    found = list(_differences(before, now))
    more = [f"and {len(found) - MOST} others"] if len(found) > MOST else []
    return "; ".join(found[:MOST] + more)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in [*now, *(name for name in before if name not in now)]:
        old, new = (json.dumps(of.get(name), sort_keys=True) for of in (before, now))
        if old == new:
            continue
        if name in _DIGESTS:
            yield f"{name} differ"
        else:
            yield f"{name} was {_short(old)}, now {_short(new)}"


def _short(text: str) -> str:
    text = text.strip('"') if text != "null" else "not given"
    return text if len(text) <= 60 else f"{text[:57]}..."


def jsonable(value: Any) -> Any:
    """Return a parameter as JSON has it; another object as its name, or as repr shows it."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    if isinstance(value, np.ndarray):
        return digest(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))  # which has another address each time


def digest_of_rows(data: TrainingData) -> str:
    """Return a checksum of the inputs, the targets and the weights of rows."""
    taken = data.X if isinstance(data.X, TakenRows) else None
    X: Any = data.X if taken is None else taken.whole
    index = None if taken is None else taken.index
    own = getattr(X, "digest", None)  # of rows that are not in memory
    if own is not None:
        inputs = [np.frombuffer(own().encode(), np.uint8)]
    elif isinstance(X, CsrData):
        inputs = [X.matrix.data, X.matrix.indices, X.matrix.indptr]
    else:
        inputs = [on_host(X)]
    rest = (each for each in (index, data.targets, data.weights) if each is not None)
    return digest(*inputs, *rest)


def digest(*arrays: np.ndarray) -> str:
    """Return a checksum of arrays with their shapes and dtypes, 64 hexadecimal digits."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()
