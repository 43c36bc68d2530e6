"""Losses of one's own: a step of kernels, or a Python function on the CPU, as a `Loss`."""

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

# loss(outputs (n, k), targets (n, k)) -> the loss of each row (n,), and its slope by output (n, k)
LossFunction = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class FunctionLoss(Loss):
    """A loss by a function on NumPy arrays, which the CPU alone can call."""

    def evaluate(
        self, backend: Backend, Z: Array, Y: Array, share: Any, row_losses: Array, delta: Array
    ) -> None:
        """Do what `Loss.evaluate` does, or raise a ValueError on a device."""
        if backend.name != "cpu":
            raise ValueError(
                f"loss {self.name!r} is a Python function, which cannot run on {backend.name}; use "
                "device='cpu', or write it as a gpubp.Elementwise, which has a CUDA body"
            )
        super().evaluate(backend, Z, Y, share, row_losses, delta)


def as_loss(given: Loss | Elementwise | LossFunction) -> Loss:
    """Return ``given`` as a loss of numbers (n, k) that outputs (n, k) are to meet.

    given : a `Loss`; or the step of one whose outputs are the logits; or a function
        ``loss(outputs, targets)`` on NumPy arrays that returns the loss of each row (n,) and its
        slope by output (n, k). A row's part of the batch is seen to here, not there.

    Raises ValueError for a loss of another kind, and for what is none.
    """
    if not isinstance(given, Loss | Elementwise) and not callable(given):
        raise ValueError(
            f"loss must be a function, a gpubp.Elementwise or a gpubp.Loss, got {given!r}; those "
            "that have a name are in gpubp.losses.LOSSES"
        )
    if isinstance(given, Elementwise):
        _check_signature(given)
        return Loss(given.name, given, "numbers", "identity", given.name)
    if not isinstance(given, Loss):
        return _of_function(given)
    if given.targets != "numbers" or given.outputs_per_target != 1:
        raise ValueError(
            f"loss must be one whose targets are 'numbers', one number for each output, got "
            f"{given.name!r} with targets {given.targets!r} and {given.outputs_per_target} "
            "outputs for each"
        )
    return given


def _check_signature(step: Elementwise) -> None:
    got, wanted = ([_types(of.inputs), _types(of.outputs)] for of in (step, SQUARED_ERROR))
    if got != wanted:
        raise ValueError(
            f"the step {step.name!r} of a loss must take {SQUARED_ERROR.inputs!r} and write "
            f"{SQUARED_ERROR.outputs!r}, got {step.inputs!r} and {step.outputs!r}; a step with "
            "further numbers goes into a gpubp.Loss, as its parameters"
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
    """The NumPy twin of a step by a function, whose results are checked.

    Those of the first call must be finite: later, training may diverge.
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
        """Do the step, or have the tape that stands in for NumPy keep it."""
        targets = np.broadcast_to(Y, Z.shape)  # of several networks on the same rows

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
        """Return value (n,) and slope (n, k) in the dtype of Z, or raise a ValueError."""
        returned = self._returned(Z, Y)
        try:
            value, slope = (np.asarray(each, Z.dtype) for each in returned)
            shapes: Any = value.shape, slope.shape
        except (TypeError, ValueError):
            shapes = f"a {type(returned).__name__}"
        if shapes != (Z.shape[:1], Z.shape):
            raise ValueError(
                f"loss {self._name!r} must return the loss of each row, of shape {Z.shape[:1]}, "
                f"and its slope by output, {Z.shape}, for outputs of shape {Z.shape}, got {shapes}"
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
                f"loss {self._name!r} writes into its arguments, which are read-only; have it "
                "write into arrays of its own, such as copies"
            ) from error


def _flat(array: np.ndarray) -> np.ndarray:
    """Return ``array`` (…, n, k) as rows that can be read alone."""
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
    """Return how far the slopes of ``loss`` are from central differences of its values, at most.

    outputs : (n, k), where the loss has a slope: the logits of the network's last layer.
    targets : (n, k). tolerance : of a slope, and of its part if it is above 1.

    Raises ValueError where a slope is further off, with the row and the output; and for what is
    no loss, or not (n, k).
    """
    chosen = as_loss(loss)
    Z, Y = np.array(outputs, np.float64), np.array(targets, np.float64)
    if Z.ndim != 2 or Z.shape != Y.shape or not Z.size:
        raise ValueError(
            f"outputs and targets must both be (n, k), got shapes {Z.shape} and {Y.shape}; of one "
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
            f"loss {chosen.name!r} gives the slope {slope[worst]:.9g} for output {worst[1]} of row "
            f"{worst[0]}, where a central difference of its values is {measured[worst]:.9g}"
        )
    return float(off[worst])


def _evaluated(loss: Loss, Z: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of each row and its slopes, in float64."""
    row_losses, slope = np.zeros(len(Z)), np.empty_like(Z)
    loss.evaluate(NumpyBackend(), Z, Y, 1.0, row_losses, slope)
    return row_losses, slope
