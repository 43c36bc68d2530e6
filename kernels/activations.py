"""Activations: f(z), and the delta step f'(z) * g.

To add one, add its entry to ``ACTIVATIONS``; nothing else has to change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .elementwise import Elementwise


@dataclass(frozen=True)
class Activation:
    """The two steps of one activation; None stands for "leave the array as it is".

    forward : z -> a.
    delta : (g, kept) -> g * f'(z), where ``kept`` is what ``keeps`` names.
    keeps : "a" where f' follows from a = f(z), so that a may overwrite z; else "z".
    """

    forward: Elementwise | None
    delta: Elementwise | None
    keeps: Literal["a", "z"] = "a"


def _forward(name: str, body: str, numpy: Any) -> Elementwise:
    return Elementwise(name, "T z", "T a", body, numpy)


def _delta(name: str, kept: str, body: str, numpy: Any) -> Elementwise:
    return Elementwise(f"{name}_delta", f"T g, T {kept}", "T delta", body, numpy)


def _logistic(np: Any, z: Any, a: Any) -> None:
    # exp overflows to inf at z << 0, where 1 / inf = 0 is the value wanted.
    np.negative(z, out=a)
    np.exp(a, out=a)
    np.add(a, 1, out=a)
    np.reciprocal(a, out=a)


def _logistic_delta(np: Any, g: Any, a: Any, delta: Any) -> None:
    slope = np.empty_like(a)
    np.subtract(1, a, out=slope)
    np.multiply(a, slope, out=slope)
    np.multiply(g, slope, out=delta)


def _tanh(np: Any, z: Any, a: Any) -> None:
    np.tanh(z, out=a)


def _tanh_delta(np: Any, g: Any, a: Any, delta: Any) -> None:
    slope = np.empty_like(a)
    np.multiply(a, a, out=slope)
    np.subtract(1, slope, out=slope)
    np.multiply(g, slope, out=delta)


def _relu(np: Any, z: Any, a: Any) -> None:
    # An array of zeros, since maximum with a scalar operand is not vectorised:
    # 2.6 against 11.4 us at 128 x 256 (Zen 5, NumPy 2.4).
    np.maximum(z, np.zeros(z.shape[-1:], z.dtype), out=a)


def _relu_delta(np: Any, g: Any, a: Any, delta: Any) -> None:
    active = np.empty(a.shape, bool)
    np.greater(a, 0, out=active)
    np.multiply(g, active, out=delta)


def _leaky_relu(np: Any, z: Any, a: Any) -> None:
    small = np.empty_like(z)
    np.multiply(z, 0.01, out=small)
    np.maximum(z, small, out=a)


def _leaky_relu_delta(np: Any, g: Any, a: Any, delta: Any) -> None:
    active, slope = np.empty(a.shape, bool), np.empty_like(a)
    np.greater(a, 0, out=active)
    np.maximum(active, 0.01, out=slope)
    np.multiply(g, slope, out=delta)


_GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)
_GELU_CUBIC = 0.044715


def _gelu_tanh(np: Any, z: Any, square: Any, t: Any) -> None:
    """Write z^2 into ``square`` and tanh(sqrt(2/pi) (z + 0.044715 z^3)) into ``t``."""
    np.multiply(z, z, out=square)
    np.multiply(square, _GELU_CUBIC, out=t)
    np.add(t, 1, out=t)
    np.multiply(t, z, out=t)
    np.multiply(t, _GELU_SCALE, out=t)
    np.tanh(t, out=t)


def _gelu(np: Any, z: Any, a: Any) -> None:
    square, t = np.empty_like(z), np.empty_like(z)
    _gelu_tanh(np, z, square, t)
    np.add(t, 1, out=t)
    np.multiply(t, 0.5, out=t)
    np.multiply(z, t, out=a)


def _gelu_delta(np: Any, g: Any, z: Any, delta: Any) -> None:
    square, t, slope = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    _gelu_tanh(np, z, square, t)
    # slope = (1 + t) / 2 + z / 2 (1 - t^2) sqrt(2/pi) (1 + 3 * 0.044715 z^2)
    np.multiply(square, 3 * _GELU_CUBIC, out=square)
    np.add(square, 1, out=square)
    np.multiply(square, z, out=square)
    np.multiply(square, _GELU_SCALE, out=square)
    np.multiply(t, t, out=slope)
    np.subtract(1, slope, out=slope)
    np.multiply(slope, square, out=slope)
    np.add(slope, t, out=slope)
    np.add(slope, 1, out=slope)
    np.multiply(slope, 0.5, out=slope)
    np.multiply(g, slope, out=delta)


# The tanh form of Hendrycks and Gimpel, Gaussian Error Linear Units (2016).
_GELU_T = "const T x = z, t = tanh(T(0.7978845608028654) * (x * (T(1) + T(0.044715) * x * x)));"

ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(forward=None, delta=None),
    "logistic": Activation(
        forward=_forward("logistic", "a = T(1) / (T(1) + exp(-z))", _logistic),
        delta=_delta(
            "logistic", "a", "const T y = a; delta = g * (y * (T(1) - y))", _logistic_delta
        ),
    ),
    "tanh": Activation(
        forward=_forward("tanh", "a = tanh(z)", _tanh),
        delta=_delta("tanh", "a", "const T y = a; delta = g * (T(1) - y * y)", _tanh_delta),
    ),
    "relu": Activation(
        # Not z > 0 ? z : 0, which would turn NaN into 0.
        forward=_forward("relu", "const T x = z; a = x < T(0) ? T(0) : x", _relu),
        delta=_delta("relu", "a", "delta = g * T(a > T(0))", _relu_delta),
    ),
    "leaky_relu": Activation(
        forward=_forward(
            "leaky_relu",
            "const T x = z, small = T(0.01) * x; a = x < small ? small : x",
            _leaky_relu,
        ),
        delta=_delta(
            "leaky_relu", "a", "delta = g * (a > T(0) ? T(1) : T(0.01))", _leaky_relu_delta
        ),
    ),
    "gelu": Activation(
        forward=_forward("gelu", f"{_GELU_T} a = x * (T(0.5) * (t + T(1)))", _gelu),
        delta=_delta(
            "gelu",
            "z",
            f"{_GELU_T} delta = g * (T(0.5) * (T(1) + t + (T(1) - t * t) * "
            "(T(0.7978845608028654) * (x * (T(1) + T(0.134145) * x * x)))))",
            _gelu_delta,
        ),
        keeps="z",
    ),
}
