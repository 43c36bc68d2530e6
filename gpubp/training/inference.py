"""Inference: the outputs of a trained network, computed in chunks of bounded memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.input_stage import StageParameters
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network, Parameters, Workspace, forward
from gpubp.training.data import CsrData
from gpubp.training.tiled_inference import RECORDED_CROSSOVER, TiledInference, Watch

# Bytes of the widest layer of a chunk, so that it fits in the CPU's cache or the device's L2 cache.
CHUNK_BYTES, DEVICE_CHUNK_BYTES = 1 << 22, 1 << 24


class _Uploaded(NamedTuple):
    """Parameters on a device, and host copies of the arrays that they were uploaded from."""

    device: str
    parameters: Parameters
    sources: list[np.ndarray]


# By model. Stored outside the model, so that they are never copied, pickled or saved with it; the
# weak key frees them with the model.
_UPLOADED: WeakKeyDictionary[Any, _Uploaded] = WeakKeyDictionary()
_OF_THE_PARENT: list[Any] = []  # a forked child cannot use CUDA, so it must not free these


def _forget_uploads() -> None:
    _OF_THE_PARENT.extend(_UPLOADED.values())
    _UPLOADED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_uploads)


def parameters_of(
    owner: Any,
    backend: Backend,
    Ws: Sequence[np.ndarray],
    bs: Sequence[np.ndarray],
    dtype: np.dtype,
    stage: np.ndarray | None = None,
) -> Parameters:
    """Return ``Ws``, ``bs`` and the vector of the input stage in ``dtype``, for ``backend``.

    On a CUDA device they are kept as long as ``owner`` lives, and uploaded again only if they have
    changed. To find a change, they are compared with a copy: 2 ms for 10 MB on one core at 2.5 GHz,
    where crc32 takes 15 ms and SHA-1 31 ms.
    """
    own = [] if stage is None else [stage]
    given = [np.ascontiguousarray(array, dtype) for array in (*Ws, *bs, *own)]
    if backend.name == "cpu":
        return _parameters(given, len(Ws))
    kept = _UPLOADED.get(owner)
    if kept is None or kept.device != backend.name or not _equal(kept, given):
        free_device_parameters(owner)
        arrays = [backend.asarray(array) for array in given]
        backend.synchronize()  # another thread may use them from now on
        finite = all(np.isfinite(array).all() for array in given)
        parameters = _parameters(arrays, len(Ws), finite)
        kept = _Uploaded(backend.name, parameters, [array.copy() for array in given])
        _UPLOADED[owner] = kept
    return kept.parameters


def _parameters(arrays: list[Array], layers: int, finite: bool = True) -> Parameters:
    """Return ``arrays``, all W, all b and perhaps those of an input stage, as `Parameters`."""
    Ws, bs, stage = arrays[:layers], list(arrays[layers : 2 * layers]), arrays[2 * layers :]
    return Parameters(Ws, bs, finite, StageParameters(stage[0]) if stage else None)


def free_device_parameters(owner: Any) -> None:
    """Free the device parameters of ``owner``, if there are any."""
    _UPLOADED.pop(owner, None)


def free_all_device_parameters() -> bool:
    """Free the device parameters of all models; return whether there were any."""
    found = bool(_UPLOADED)
    _UPLOADED.clear()
    return found


def _equal(kept: _Uploaded, given: list[np.ndarray]) -> bool:
    """Return whether ``kept`` was uploaded from arrays equal to ``given``; NaN equals NaN."""
    sources = kept.sources
    if [(a.dtype, a.shape) for a in sources] != [(a.dtype, a.shape) for a in given]:
        return False
    equal = partial(np.array_equal, equal_nan=not kept.parameters.finite)
    return all(map(equal, sources, given))


def infer(
    backend: Backend,
    network: Network,
    loss: Loss,
    parameters: Parameters,
    X: Array | CsrData,
    watch: Watch | None = None,
) -> np.ndarray:
    """Return the outputs for ``X`` (n, d_0) as (n, d_L) on the host, in the dtype of ``X``.

    The outputs are probabilities for classification losses, predictions for the others.
    X : on the host, sparse or dense, or on the device.
    watch : called for each chunk with the index of its first row and its logits (rows, d_L), an
        array of ``backend``. If memory runs out, it is called again for all rows in smaller chunks.
    """
    outputs = np.empty((len(X), network.sizes[-1]), X.dtype)
    infer_into(outputs, backend, network, loss, parameters, X, watch)
    return outputs


def infer_into(
    outputs: Array,
    backend: Backend,
    network: Network,
    loss: Loss,
    parameters: Parameters,
    X: Array | CsrData,
    watch: Watch | None = None,
) -> None:
    """Write the outputs to ``outputs`` (n, d_L), on the host or the device; see `infer`."""
    n, on_host = len(X), backend.name == "cpu"
    room = CHUNK_BYTES if on_host else DEVICE_CHUNK_BYTES
    # On the CPU, dense rows are used in place; other rows need memory for each chunk.
    stays = on_host and isinstance(X, np.ndarray)
    width = max(network.sizes[1:] if stays else network.sizes)
    chunk = max(1, min(n, room // (width * X.dtype.itemsize)))
    while True:
        try:
            _in_chunks(outputs, backend, network, loss, parameters, X, watch, chunk)
            return
        except MemoryError:
            if on_host or chunk == 1:
                raise
        chunk = max(1, chunk // 8)
        backend.free_unused()


class RecordedInference:
    """The forward pass for a fixed number of rows on the CPU, recorded once and replayed.

    Each call reads the current values of ``parameters``.
    loss : a loss whose `predict` is that of `Loss`.
    members : the first axis of the parameters of an ensemble, whose mean outputs are returned; None
        for one network.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        parameters: Parameters,
        rows: int,
        dtype: np.dtype,
        members: int | None = None,
    ) -> None:
        lead = () if members is None else (members,)
        work = Workspace(backend, network, rows, dtype, lead=lead, deltas=False)
        if lead:
            work.X = backend.empty((rows, network.n_inputs), dtype)  # one X for all members
        self._X, self._outputs, self._members = work.X, work.logits, members

        def step() -> None:
            forward(backend, network, parameters, work)
            loss.predict(backend, work.logits, out=work.logits)

        self._replay = backend.record(step)

    def __call__(self, X: Array) -> np.ndarray:
        """Return the outputs (rows, d_L) for ``X`` (rows, d_0), as `infer` does."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            self._X[...] = X
            self._replay()
            if self._members is not None:
                mean: np.ndarray = self._outputs.sum(axis=0)
                mean /= self._members
                return mean
        return self._outputs.copy()  # type: ignore[no-any-return]


def _in_chunks(
    outputs: Array,
    backend: Backend,
    network: Network,
    loss: Loss,
    parameters: Parameters,
    X: Array,
    watch: Watch | None,
    chunk: int,
) -> None:
    large = len(X) * network.n_parameters >= RECORDED_CROSSOVER
    if large and backend.engine == "compiled" and isinstance(X, np.ndarray):
        tiled = TiledInference(
            backend, network, loss, parameters, len(X), X.dtype, predicts=watch is None
        )
        tiled.into(outputs, X, watch)
        return
    to_host = isinstance(outputs, np.ndarray)
    work = Workspace(backend, network, chunk, X.dtype, deltas=False)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start in range(0, len(X), chunk):
            rows = min(chunk, len(X) - start)
            part = work if rows == chunk else work.first(rows)
            part.X = backend.asarray(_rows(X, start, start + rows))
            forward(backend, network, parameters, part)
            if watch is not None:
                watch(start, part.logits)
            loss.predict(backend, part.logits, out=part.logits)
            some = backend.to_numpy(part.logits) if to_host else part.logits
            outputs[start : start + rows] = some


def _rows(X: Array | CsrData, start: int, stop: int) -> Array:
    return X.dense(start, stop) if isinstance(X, CsrData) else X[start:stop]
