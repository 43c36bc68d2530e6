"""Activations: f(z), and the delta step g * f'(z), with g the gradient from the layer above.

To add an activation, add its entry to ``ACTIVATIONS``, its ONNX nodes to
gpubp/models/onnx/activations.py and deliberate bugs to tests/kernels/test_mutants.py, and run
``python -m tests.kernels.nvrtc``. A NumPy twin may only call ufuncs with ``out=``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from .elementwise import Elementwise


@dataclass(frozen=True)
class Activation:
    """The two steps of one activation; None for a step that leaves the array unchanged.

    forward : z -> a.
    delta : (g, kept) -> g * f'(z), where ``kept`` is the array a or z, as ``keeps`` says.
    keeps : "a" if f' can be computed from a = f(z), so that a may overwrite z; else "z".
    doc : the formula of f(z), for documentation.
    """

    forward: Elementwise | None
    delta: Elementwise | None
    keeps: Literal["a", "z"] = "a"
    doc: str = ""


def _forward(name: str, body: str, numpy: Any) -> Elementwise:
    return Elementwise(name, "T z", "T a", body, numpy, vectorizes=True)


def _delta(name: str, kept: str, body: str, numpy: Any) -> Elementwise:
    inputs = f"T g, T {kept}"
    return Elementwise(f"{name}_delta", inputs, "T delta", body, numpy, vectorizes=True)


def logistic(np: Any, z: Any, a: Any) -> None:
    """Write 1 / (1 + exp(-z)) into ``a``, with functions of ``np`` only, as in a NumPy twin."""
    # exp overflows to inf for z << 0, and 1 / inf = 0 is the correct value there.
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


_WIDE = 8192  # elements of a row that fit into a CPU cache together with the other operands


def _in_wide_rows(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return a 2-d shape of equal size, in which each row joins several rows of ``shape``."""
    rows, width = math.prod(shape[:-1]), shape[-1] if shape else 1
    several = next(k for k in range(max(1, min(rows, _WIDE // width)), 0, -1) if rows % k == 0)
    return rows // several, several * width


def _relu(np: Any, z: Any, a: Any) -> None:
    # The second operand is an array of zeros, because NumPy does not vectorize maximum with a
    # scalar: 2.6 against 11.4 us at 128 x 256 (Zen 5, NumPy 2.4). For contiguous arrays, several
    # rows are joined to one: 5 against 13 us at 200 x 100 (Cascade Lake).
    wide = _in_wide_rows(z.shape)
    zeros = np.zeros(wide[-1:], z.dtype)
    if z.flags.c_contiguous and a.flags.c_contiguous:
        z, a = z.reshape(wide), a.reshape(wide)
    else:
        zeros = np.zeros(z.shape[-1:], z.dtype)
    np.maximum(z, zeros, out=a)


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


GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)
GELU_CUBIC = 0.044715


def _gelu_tanh(np: Any, z: Any, square: Any, t: Any) -> None:
    """Write z^2 into ``square`` and tanh(sqrt(2/pi) (z + 0.044715 z^3)) into ``t``."""
    np.multiply(z, z, out=square)
    np.multiply(square, GELU_CUBIC, out=t)
    np.add(t, 1, out=t)
    np.multiply(t, z, out=t)
    np.multiply(t, GELU_SCALE, out=t)
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
    np.multiply(square, 3 * GELU_CUBIC, out=square)
    np.add(square, 1, out=square)
    np.multiply(square, z, out=square)
    np.multiply(square, GELU_SCALE, out=square)
    np.multiply(t, t, out=slope)
    np.subtract(1, slope, out=slope)
    np.multiply(slope, square, out=slope)
    np.add(slope, t, out=slope)
    np.add(slope, 1, out=slope)
    np.multiply(slope, 0.5, out=slope)
    np.multiply(g, slope, out=delta)


def _zeros(np: Any, z: Any) -> Any:
    """Return zeros that broadcast to the rows of ``z``; `_relu` explains why not a scalar."""
    return np.zeros(z.shape[-1:], z.dtype)


def _elu(np: Any, z: Any, a: Any) -> None:
    # max(z, 0) + (exp(min(z, 0)) - 1) does not overflow for large z.
    below, zeros = np.empty_like(z), _zeros(np, z)
    np.minimum(z, zeros, out=below)
    np.expm1(below, out=below)
    np.maximum(z, zeros, out=a)
    np.add(a, below, out=a)


def _elu_delta(np: Any, g: Any, a: Any, delta: Any) -> None:
    slope = np.empty_like(a)
    np.minimum(a, _zeros(np, a), out=slope)
    np.add(slope, 1, out=slope)
    np.multiply(g, slope, out=delta)


# lambda and alpha of Klambauer et al., Self-Normalizing Neural Networks (2017).
SELU_SCALE = 1.0507009873554805
SELU_DEPTH = 1.7580993408473769  # lambda alpha


def _selu(np: Any, z: Any, a: Any) -> None:
    below, zeros = np.empty_like(z), _zeros(np, z)
    np.minimum(z, zeros, out=below)
    np.expm1(below, out=below)
    np.multiply(below, SELU_DEPTH, out=below)
    np.maximum(z, zeros, out=a)
    np.multiply(a, SELU_SCALE, out=a)
    np.add(a, below, out=a)


def _selu_delta(np: Any, g: Any, a: Any, delta: Any) -> None:
    # min(a, 0) + lambda alpha, minus the jump at 0: a ninth of the time of a masked assignment.
    active, jump, slope = np.empty(a.shape, bool), np.empty_like(a), np.empty_like(a)
    np.greater(a, 0, out=active)
    np.multiply(active, SELU_DEPTH - SELU_SCALE, out=jump)
    np.minimum(a, _zeros(np, a), out=slope)
    np.add(slope, SELU_DEPTH, out=slope)
    np.subtract(slope, jump, out=slope)
    np.multiply(g, slope, out=delta)


def _silu(np: Any, z: Any, a: Any) -> None:
    # As in `logistic`, exp may overflow to inf.
    total = np.empty_like(z)
    np.negative(z, out=total)
    np.exp(total, out=total)
    np.add(total, 1, out=total)
    np.divide(z, total, out=a)


def _silu_delta(np: Any, g: Any, z: Any, delta: Any) -> None:
    s, slope = np.empty_like(z), np.empty_like(z)
    logistic(np, z, s)
    # slope = s (1 + z (1 - s))
    np.subtract(1, s, out=slope)
    np.multiply(slope, z, out=slope)
    np.add(slope, 1, out=slope)
    np.multiply(slope, s, out=slope)
    np.multiply(g, slope, out=delta)


def _softplus(np: Any, z: Any, a: Any) -> None:
    # max(z, 0) + log(1 + exp(-|z|))
    rest = np.empty_like(z)
    np.abs(z, out=rest)
    np.negative(rest, out=rest)
    np.exp(rest, out=rest)
    np.log1p(rest, out=rest)
    np.maximum(z, _zeros(np, z), out=a)
    np.add(a, rest, out=a)


def _softplus_delta(np: Any, g: Any, a: Any, delta: Any) -> None:
    # The slope is 1 - exp(-a); expm1 computes it to full precision also for small a.
    slope = np.empty_like(a)
    np.negative(a, out=slope)
    np.expm1(slope, out=slope)
    np.negative(slope, out=slope)
    np.multiply(g, slope, out=delta)


def _exp(np: Any, z: Any, a: Any) -> None:
    np.exp(z, out=a)


# Converts logits to positive means (Poisson loss). It is not an activation of hidden layers.
EXP = _forward("exp", "a = exp(z)", _exp)

# The tanh form of Hendrycks and Gimpel, Gaussian Error Linear Units (2016).
_GELU_T = "const T x = z, t = tanh(T(0.7978845608028654) * (x * (T(1) + T(0.044715) * x * x)));"

ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(forward=None, delta=None, doc="z"),
    "logistic": Activation(
        forward=_forward("logistic", "a = T(1) / (T(1) + exp(-z))", logistic),
        delta=_delta(
            "logistic", "a", "const T y = a; delta = g * (y * (T(1) - y))", _logistic_delta
        ),
        doc="1 / (1 + exp(-z))",
    ),
    "tanh": Activation(
        forward=_forward("tanh", "a = tanh(z)", _tanh),
        delta=_delta("tanh", "a", "const T y = a; delta = g * (T(1) - y * y)", _tanh_delta),
        doc="tanh(z)",
    ),
    "relu": Activation(
        # z > 0 ? z : 0 would turn NaN into 0.
        forward=_forward("relu", "const T x = z; a = x < T(0) ? T(0) : x", _relu),
        delta=_delta("relu", "a", "delta = g * T(a > T(0))", _relu_delta),
        doc="max(z, 0)",
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
        doc="max(z, 0.01 z)",
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
        doc="z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2",
    ),
    # Clevert, Unterthiner and Hochreiter (2016), with alpha 1.
    "elu": Activation(
        forward=_forward("elu", "const T x = z; a = x > T(0) ? x : expm1(x)", _elu),
        delta=_delta(
            "elu", "a", "const T y = a; delta = g * (y > T(0) ? T(1) : y + T(1))", _elu_delta
        ),
        doc="z above 0, exp(z) - 1 below",
    ),
    "selu": Activation(
        forward=_forward(
            "selu",
            "const T x = z; "
            "a = x > T(0) ? T(1.0507009873554805) * x : T(1.7580993408473769) * expm1(x)",
            _selu,
        ),
        delta=_delta(
            "selu",
            "a",
            "const T y = a; "
            "delta = g * (y > T(0) ? T(1.0507009873554805) : y + T(1.7580993408473769))",
            _selu_delta,
        ),
        doc="1.0507 z above 0, 1.7581 (exp(z) - 1) below",
    ),
    "silu": Activation(
        forward=_forward("silu", "const T x = z; a = x / (T(1) + exp(-x))", _silu),
        delta=_delta(
            "silu",
            "z",
            "const T x = z, s = T(1) / (T(1) + exp(-x)); delta = g * (s * (T(1) + x * (T(1) - s)))",
            _silu_delta,
        ),
        keeps="z",
        doc="z / (1 + exp(-z))",
    ),
    "softplus": Activation(
        forward=_forward(
            "softplus",
            "const T x = z; a = (x < T(0) ? T(0) : x) + log1p(exp(-fabs(x)))",
            _softplus,
        ),
        delta=_delta("softplus", "a", "delta = g * -expm1(-a)", _softplus_delta),
        doc="log(1 + exp(z))",
    ),
}
