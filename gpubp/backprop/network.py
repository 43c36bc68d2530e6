"""The network: layout of its parameters, initial weights, forward pass and delta recursion.

All functions accept leading axes: one network has X (n, d_0) and W (d, h); P networks have
W (P, d, h) and X (P, n, d_0), or one X (n, d_0) for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import ALIGNMENT, Array, Backend, Epilogues
from gpubp.backprop.dropout import Masks
from gpubp.backprop.hyperparameter_spec import entry_of
from gpubp.backprop.initial_weights import WEIGHTS_INITS, he_normal
from gpubp.kernels.activations import ACTIVATIONS, Activation

NO_MASKS = Masks()


class Parameters(NamedTuple):
    """Weights and biases by layer, or their gradients: views of one flat vector.

    Ws[l] : (…, d_l, d_{l+1}); bs[l] : (…, d_{l+1}), or None in a network without biases.
    finite : whether all are finite. If False, forward runs elementwise steps instead of fused
        epilogues, since cuBLASLt's ReLU turns NaN into 0 (NVIDIA's forum, 329783). Training leaves
        it True and checks the parameters after each epoch.
    """

    Ws: list[Array]
    bs: list[Array | None]
    finite: bool = True


@dataclass(frozen=True)
class Network:
    """The shape of a multilayer perceptron.

    sizes : units by layer, from the inputs d_0 to the outputs d_L.
    activations : the activation of each hidden layer; the last layer gives logits.
    bias : whether layers have biases.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    bias: bool = True

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(
                f"sizes must be two or more layers of 1 or more units, got {self.sizes!r}"
            )
        if len(self.activations) != len(self.sizes) - 2:
            raise ValueError(
                f"activation must have one name per hidden layer, {len(self.sizes) - 2} for sizes "
                f"{self.sizes!r}, got {self.activations!r}; that of the outputs follows from loss"
            )
        for name in self.activations:
            entry_of(ACTIVATIONS, name, "activation")

    @property
    def hidden(self) -> list[Activation]:
        """The activation of each hidden layer."""
        return [ACTIVATIONS[name] for name in self.activations]

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases, without padding."""
        return sum((d + self.bias) * h for d, h in pairwise(self.sizes))

    def n_weights(self, dtype: np.dtype) -> int:
        """Return the number of entries of theta that hold weights, with padding.

        Weight decay applies to this part of theta.
        """
        return sum(_padded(d * h, dtype) for d, h in pairwise(self.sizes))

    def theta_size(self, dtype: np.dtype) -> int:
        """Return the size of theta: all W, then all b, each aligned to 128 bytes."""
        biases = sum(_padded(h, dtype) for h in self.sizes[1:]) if self.bias else 0
        return self.n_weights(dtype) + biases

    def views(self, theta: Array) -> Parameters:
        """Return views of ``theta`` (…, theta_size), or of a gradient, by layer."""
        lead, start = theta.shape[:-1], 0
        Ws, bs = [], []
        for d, h in pairwise(self.sizes):
            Ws.append(theta[..., start : start + d * h].reshape(*lead, d, h))
            start += _padded(d * h, theta.dtype)
        for h in self.sizes[1:]:
            bs.append(theta[..., start : start + h] if self.bias else None)
            start += _padded(h, theta.dtype)
        return Parameters(Ws, bs)

    def pack(self, Ws: list[np.ndarray], bs: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
        """Return theta (theta_size,): a flat vector with copies of ``Ws`` and ``bs``."""
        theta = np.zeros(self.theta_size(dtype), dtype)
        views = self.views(theta)
        for view, W in zip(views.Ws, Ws, strict=True):
            view[...] = W
        for b_view, b in zip(views.bs, bs, strict=True):
            if b_view is not None:
                b_view[...] = b
        return theta

    def unpack(self, theta: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return copies of the weights and biases in ``theta``; zeros for absent biases."""
        Ws, bs = self.arrays(theta)
        return [W.copy() for W in Ws], [b.copy() for b in bs]

    def arrays(self, theta: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the weights and biases in ``theta``, as views; zeros for absent biases."""
        views, lead = self.views(theta), theta.shape[:-1]
        absent = [np.zeros((*lead, h), theta.dtype) for h in self.sizes[1:]]
        return views.Ws, [
            zeros if b is None else b for b, zeros in zip(views.bs, absent, strict=True)
        ]

    def initial_theta(
        self, rng: np.random.RandomState, dtype: np.dtype, init: str = "glorot_uniform"
    ) -> np.ndarray:
        """Return initial parameters, by default Glorot-uniform, drawn in scikit-learn's order.

        init : a name in `WEIGHTS_INITS`. "glorot_uniform" draws W, b, layer by layer.

        The bound is sqrt(f / (d_in + d_out)), f = 2 for logistic layers, else 6; biases are drawn
        from the same interval. Glorot and Bengio, AISTATS 2010.
        """
        entry_of(WEIGHTS_INITS, init, "init")
        if init == "he_normal":
            return self.pack(*he_normal(self.sizes, rng), dtype)
        Ws, bs = [], []
        # The output layer has the factor of the last hidden layer, as in scikit-learn.
        activations = [*self.activations, *self.activations[-1:]] or ["identity"]
        for (d, h), activation in zip(pairwise(self.sizes), activations, strict=True):
            bound = np.sqrt((2 if activation == "logistic" else 6) / (d + h))
            Ws.append(rng.uniform(-bound, bound, (d, h)))
            bs.append(rng.uniform(-bound, bound, h) if self.bias else np.empty(0))
        return self.pack(Ws, bs, dtype)


def _padded(size: int, dtype: np.dtype) -> int:
    unit = ALIGNMENT // np.dtype(dtype).itemsize
    return -(-size // unit) * unit


class Workspace:
    """The arrays of one pass over ``rows`` rows, allocated once.

    X : (…, n, d_0). Zs[l], As[l], deltas[l] : (…, n, d_{l+1}). Zs[l] and As[l] are the same array
    if the derivative of the activation is computed from A, and in the last layer, whose Z are the
    logits.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        rows: int,
        dtype: np.dtype,
        *,
        lead: tuple[int, ...] = (),
        deltas: bool = True,
        keep_Z: bool = False,
    ) -> None:
        def room(width: int) -> Array:
            return backend.empty((*lead, rows, width), dtype)

        self.n_rows = rows
        self.X = room(network.sizes[0])
        self.As = [room(h) for h in network.sizes[1:]]
        # The identity has A = Z and no forward step, so a separate A would never be written.
        apart = [f.forward is not None and (keep_Z or f.keeps == "z") for f in network.hidden]
        own_Z = zip(self.As, [*apart, False], strict=True)
        self.Zs = [room(A.shape[-1]) if own else A for A, own in own_Z]
        self.deltas = [room(h) for h in network.sizes[1:]] if deltas else []
        # The product of ones and delta sums up the gradients of the biases.
        self.ones = backend.asarray(np.ones((*lead, 1, rows), dtype)) if deltas else None

    def first(self, rows: int) -> Workspace:
        """Return a workspace over the same memory for fewer rows."""

        def part(array: Array) -> Array:
            *lead, _, width = array.shape
            size = int(np.prod(lead, dtype=np.int64)) * rows * width
            return array.reshape(-1)[:size].reshape(*lead, rows, width)

        view = object.__new__(Workspace)
        view.n_rows = rows
        view.X = part(self.X)
        view.As = [part(A) for A in self.As]
        view.Zs = [
            new if Z is A else part(Z) for Z, A, new in zip(self.Zs, self.As, view.As, strict=True)
        ]
        view.deltas = [part(delta) for delta in self.deltas]
        view.ones = None if self.ones is None else self.ones[..., :rows]
        return view

    @property
    def logits(self) -> Array:
        """Z of the last layer."""
        return self.Zs[-1]


def forward(
    backend: Backend,
    network: Network,
    parameters: Parameters,
    work: Workspace,
    masks: Masks = NO_MASKS,
) -> None:
    """Compute A_l = f(A_{l-1} W_l + b_l) from ``work.X`` up to the logits, into ``work``.

    masks : the dropout masks of each A_{l-1}.
    """
    A_below, epilogues = work.X, backend.epilogues if parameters.finite else Epilogues()
    hidden = [*network.hidden, ACTIVATIONS["identity"]]
    layers = zip(parameters.Ws, parameters.bs, work.Zs, work.As, hidden, strict=True)
    for layer, (W, b_l, Z, A, activation) in enumerate(layers):
        b, below = _as_row(b_l), masks.drop(layer, A_below)
        if not epilogues.forward(below, W, b, activation, Z, A, inference=not work.deltas):
            backend.gemm(below, W, out=Z, bias=b)
            if activation.forward is not None:
                backend.run(activation.forward, Z, out=A)
        A_below = A


def backward(
    backend: Backend,
    network: Network,
    parameters: Parameters,
    gradients: Parameters,
    work: Workspace,
    masks: Masks = NO_MASKS,
    *,
    accumulate: bool = False,
) -> None:
    """Compute ``gradients`` of the loss from ``work`` after forward and the loss.

    ``work.deltas[-1]`` holds delta^L = dC/dZ^L. Then, from the last layer down,
    dC/dW^l = A^{l-1}^T delta^l, dC/db^l = sum_n delta^l and
    delta^{l-1} = (delta^l W^l^T) * f'(Z^{l-1}); Rumelhart, Hinton and Williams (1986).
    masks : the masks of forward. A^{l-1} is the array after dropout, and delta^{l-1} is multiplied
    by the same mask.
    accumulate : add to ``gradients``, for a batch that is computed in parts.
    """
    epilogues = Epilogues() if accumulate else backend.epilogues
    summed = False  # whether the epilogue of this layer's delta already computed db
    for layer in reversed(range(len(parameters.Ws))):
        delta = work.deltas[layer]
        below = masks.dropped(layer, work.As[layer - 1] if layer else work.X)
        dW, db = gradients.Ws[layer], _as_row(gradients.bs[layer])
        with backend.side_stream():  # only the optimizer needs the weight gradients
            both = db is not None and not summed
            if not (both and epilogues.weight_gradient(below, delta, dW, db)):
                backend.gemm(below, delta, out=dW, transpose_a=True, accumulate=accumulate)
                if both:
                    backend.gemm(work.ones, delta, out=db, accumulate=accumulate)
        if layer:
            g, activation = work.deltas[layer - 1], network.hidden[layer - 1]
            kept = (work.Zs if activation.keeps == "z" else work.As)[layer - 1]
            W, db = parameters.Ws[layer], _as_row(gradients.bs[layer - 1])
            # The fused epilogue also sums delta into db, so it cannot be used if dropout still
            # has to mask delta.
            whole = not masks.drops(layer)
            summed = whole and epilogues.delta_below(delta, W, activation, kept, g, db)
            if not summed:
                backend.gemm(delta, W, out=g, transpose_b=True)
                if activation.delta is not None:
                    backend.run(activation.delta, g, kept, out=g)
                masks.drop_delta(layer, g)
    backend.join()


def _as_row(b: Array | None) -> Array | None:
    """Return ``b`` (…, h) as a matrix of one row."""
    return None if b is None else b[..., None, :]
