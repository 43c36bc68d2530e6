"""User-defined losses: an `Elementwise`, or a Python function on the CPU, as a `Loss`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.losses import Loss
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.regression_losses import SQUARED_ERROR

# loss(outputs (n, k), targets (n, k)) -> loss of each row (n,), derivative by each output (n, k)
LossFunction = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class FunctionLoss(Loss):
    """A loss computed by a Python function of NumPy arrays; it works on the CPU only."""

    def evaluate(
        self, backend: Backend, Z: Array, Y: Array, share: Any, row_losses: Array, delta: Array
    ) -> None:
        """Do the same as `Loss.evaluate`; raise ValueError on a CUDA device."""
        if backend.name != "cpu":
            raise ValueError(
                f"loss {self.name!r} is a Python function, which cannot run on {backend.name}; use "
                "device='cpu', or write it as a gpubp.Elementwise, which has a CUDA body"
            )
        super().evaluate(backend, Z, Y, share, row_losses, delta)


def as_loss(given: Loss | Elementwise | LossFunction) -> Loss:
    """Return ``given`` as a `Loss` whose targets are numbers (n, k), like the outputs.

    given : one of
        - a `Loss`, returned as it is;
        - an `Elementwise` with the signature of `kernels.regression_losses.SQUARED_ERROR`, for
          outputs that are the logits;
        - a function ``loss(outputs, targets)`` of NumPy arrays that returns the loss of each row
          (n,) and its derivative by each output (n, k). It must not divide by the number of rows:
          the returned loss multiplies by the share of each row.

    Raises ValueError for anything else, and for a `Loss` with other targets.
    """
    if not isinstance(given, Loss | Elementwise) and not callable(given):
        raise ValueError(
            f"loss must be a function, a gpubp.Elementwise or a gpubp.Loss, got {given!r}; "
            "gpubp.losses.LOSSES has the built-in losses by name"
        )
    if isinstance(given, Elementwise):
        _check_signature(given)
        return Loss(given.name, given, "numbers", "identity", given.name)
    if not isinstance(given, Loss):
        return _of_function(given)
    if given.targets != "numbers" or given.outputs_per_target != 1:
        raise ValueError(
            "loss must have targets 'numbers' and one output per target, got "
            f"{given.name!r} with targets {given.targets!r} and {given.outputs_per_target} "
            "outputs per target"
        )
    return given


def _check_signature(step: Elementwise) -> None:
    got, wanted = ([_types(of.inputs), _types(of.outputs)] for of in (step, SQUARED_ERROR))
    if got != wanted:
        raise ValueError(
            f"the Elementwise {step.name!r} of a loss must have inputs {SQUARED_ERROR.inputs!r} "
            f"and outputs {SQUARED_ERROR.outputs!r}, got {step.inputs!r} and {step.outputs!r}; for "
            "further arguments, use a gpubp.Loss with parameters"
        )


def _types(parameters: str) -> list[str]:
    """Return the types of ``parameters`` in CuPy's notation, without their names."""
    return [re.sub(r"\s+", " ", one.strip()).rpartition(" ")[0] for one in parameters.split(",")]


def _of_function(function: LossFunction) -> Loss:
    name = getattr(function, "__name__", type(function).__name__)
    checked = _Checked(function, name)
    step = Elementwise(name, SQUARED_ERROR.inputs, SQUARED_ERROR.outputs, "", checked)
    return FunctionLoss(name, step, "numbers", "identity", name)


class _Checked:
    """The NumPy twin of a loss step that calls ``function`` and checks its results.

    Only the results of the first call must be finite: later, training may diverge.
    """

    def __init__(self, function: LossFunction, name: str) -> None:
        self._function, self._name, self._called = function, name, False

    def __call__(
        self,
        np_: Any,
        Z: np.ndarray,
        Y: np.ndarray,
        n_outputs: int,
        share: Any,
        row_losses: np.ndarray,
        delta: np.ndarray,
    ) -> None:
        """Run the step; if ``np_`` is a tape in place of NumPy, record it instead."""
        targets = np.broadcast_to(Y, Z.shape)  # several networks may share the same rows

        def call() -> None:
            value, slope = self._results(_flat(Z), _flat(targets))
            row_losses[...] += share * value.reshape(row_losses.shape)
            part = share if np.ndim(share) == 0 else share[..., None]
            np.multiply(slope.reshape(delta.shape), part, out=delta)

        if np_ is np:
            call()
        else:
            np_.keep(call)

    def _results(self, Z: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (n,) and slope (n, k) in the dtype of Z; raise ValueError for others."""
        returned = self._returned(Z, Y)
        try:
            value, slope = (np.asarray(each, Z.dtype) for each in returned)
            shapes: Any = value.shape, slope.shape
        except (TypeError, ValueError):
            shapes = f"a {type(returned).__name__}"
        if shapes != (Z.shape[:1], Z.shape):
            raise ValueError(
                f"loss {self._name!r} must return the loss of each row, of shape {Z.shape[:1]}, "
                f"and its slope, of shape {Z.shape}: the derivative by each output; got {shapes}"
            )
        if not self._called and not (np.isfinite(value).all() and np.isfinite(slope).all()):
            raise ValueError(
                f"loss {self._name!r} must return finite numbers in its first call, got NaN or "
                "infinity; check its formula, and the targets"
            )
        self._called = True
        return value, slope

    def _returned(self, Z: np.ndarray, Y: np.ndarray) -> Any:
        try:
            return self._function(Z, Y)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise ValueError(
                f"loss {self._name!r} writes to its arguments, which are read-only; make it write "
                "to copies"
            ) from error


def _flat(array: np.ndarray) -> np.ndarray:
    """Return ``array`` (…, n, k) as a read-only view of its rows, (m, k)."""
    rows = array.reshape(-1, array.shape[-1]).view()
    rows.flags.writeable = False
    return rows


def check_loss(
    loss: Loss | Elementwise | LossFunction,
    outputs: Any,
    targets: Any,
    *,
    tolerance: float = 1e-6,
) -> float:
    """Compare the slopes of ``loss`` with central differences; return the largest error.

    loss : a function of NumPy arrays, an `Elementwise` or a `Loss`, as for MLPRegressor.
    outputs : (n, k) array-like, the points at which to compare, where ``loss`` must have a slope.
        They are logits: the outputs of the last layer before its activation.
    targets : (n, k) array-like.
    tolerance : largest allowed error of a slope: absolute for slopes up to 1, relative above.

    Raises ValueError for a slope with a larger error (the message names its row and output), for
    an argument that is not a loss, and for arrays that are not (n, k).
    """
    chosen = as_loss(loss)
    Z, Y = np.array(outputs, np.float64), np.array(targets, np.float64)
    if Z.ndim != 2 or Z.shape != Y.shape or not Z.size:
        raise ValueError(
            f"outputs and targets must both be (n, k), got shapes {Z.shape} and {Y.shape}; for one "
            "output, pass a column (n, 1)"
        )
    _, slope = _evaluated(chosen, Z, Y)
    measured = np.empty_like(slope)
    for k in range(Z.shape[1]):
        step = np.zeros(Z.shape[1])
        step[k] = 1e-5
        above, below = (_evaluated(chosen, Z + sign * step, Y)[0] for sign in (1, -1))
        measured[:, k] = (above - below) / 2e-5
    off = np.abs(slope - measured) / np.maximum(1, np.abs(measured))
    worst = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
    if not off[worst] <= tolerance:
        raise ValueError(
            f"loss {chosen.name!r} returns the slope {slope[worst]:.9g} for output {worst[1]} of "
            f"row {worst[0]}, but the central difference of its values is {measured[worst]:.9g}"
        )
    return float(off[worst])


def _evaluated(loss: Loss, Z: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of each row and its slopes, in float64."""
    row_losses, slope = np.zeros(len(Z)), np.empty_like(Z)
    loss.evaluate(NumpyBackend(), Z, Y, 1.0, row_losses, slope)
    return row_losses, slope
