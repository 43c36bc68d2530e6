"""The network: layout of its parameters, initial weights, forward pass and delta recursion.

All functions accept leading axes: one network has X (n, d_0) and W (d, h); P networks have
W (P, d, h) and X (P, n, d_0), or one X (n, d_0) for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import Array, Backend, Epilogues
from gpubp.backprop.dropout import Masks
from gpubp.backprop.hyperparameter_spec import entry_of
from gpubp.backprop.initial_weights import WEIGHTS_INITS
from gpubp.backprop.input_stage import InputStage, StageArrays, StageParameters, padded
from gpubp.kernels.activations import ACTIVATIONS, Activation

NO_MASKS = Masks()


class Parameters(NamedTuple):
    """Weights and biases by layer, or their gradients: views of one flat vector.

    Ws[l] : (…, d_l, d_{l+1}); bs[l] : (…, d_{l+1}), or None in a network without biases.
    finite : whether all are finite. If False, forward runs elementwise steps instead of fused
        epilogues, since cuBLASLt's ReLU turns NaN into 0 (NVIDIA's forum, 329783). Training leaves
        it True and checks the parameters after each epoch.
    stage : the parameters of the input stage; None without one.
    """

    Ws: list[Array]
    bs: list[Array | None]
    finite: bool = True
    stage: StageParameters | None = None


@dataclass(frozen=True)
class Network:
    """The shape of a multilayer perceptron.

    sizes : units by layer, from the inputs d_0 to the outputs d_L.
    activations : the activation of each hidden layer; the last layer gives logits.
    bias : whether layers have biases.
    stage : computes the inputs d_0 of the first dense layer from the columns of X; None: they are
        the columns of X.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    bias: bool = True
    stage: InputStage | None = None

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
        if self.stage is not None and self.stage.n_features != self.sizes[0]:
            raise ValueError(
                f"the first of sizes must be the {self.stage.n_features} features of the input "
                f"stage, got {self.sizes!r}"
            )

    @property
    def n_inputs(self) -> int:
        """The number of columns of X."""
        return self.sizes[0] if self.stage is None else self.stage.n_inputs

    @property
    def hidden(self) -> list[Activation]:
        """The activation of each hidden layer."""
        return [ACTIVATIONS[name] for name in self.activations]

    @property
    def n_parameters(self) -> int:
        """The number of weights, biases and parameters of the input stage, without padding."""
        dense = sum((d + self.bias) * h for d, h in pairwise(self.sizes))
        return dense + (0 if self.stage is None else self.stage.n_parameters)

    def numbers_per_row(self, deltas: bool) -> int:
        """Return how many numbers a pass keeps for each row; see `Workspace`."""
        stage = 0 if self.stage is None else self.stage.numbers_per_row(deltas)
        return self.n_inputs + stage + (3 if deltas else 2) * sum(self.sizes[1:])

    def n_weights(self, dtype: np.dtype) -> int:
        """Return the number of entries of theta that hold weights, with padding.

        The penalty and, without factors, the weight decay apply to this part of theta only.
        """
        return sum(padded(d * h, dtype) for d, h in pairwise(self.sizes))

    def theta_size(self, dtype: np.dtype) -> int:
        """Return the size of theta: all W, all b, then the input stage, aligned to 128 bytes."""
        stage = 0 if self.stage is None else self.stage.starts(dtype)["end"]
        return self._stage_start(dtype) + stage

    def _stage_start(self, dtype: np.dtype) -> int:
        biases = sum(padded(h, dtype) for h in self.sizes[1:]) if self.bias else 0
        return self.n_weights(dtype) + biases

    def views(self, theta: Array) -> Parameters:
        """Return views of ``theta`` (…, theta_size), or of a gradient, by layer."""
        lead, start = theta.shape[:-1], 0
        Ws, bs = [], []
        for d, h in pairwise(self.sizes):
            Ws.append(theta[..., start : start + d * h].reshape(*lead, d, h))
            start += padded(d * h, theta.dtype)
        for h in self.sizes[1:]:
            bs.append(theta[..., start : start + h] if self.bias else None)
            start += padded(h, theta.dtype)
        if self.stage is None:
            return Parameters(Ws, bs)
        return Parameters(Ws, bs, stage=StageParameters(theta, self._stage_start(theta.dtype)))

    def stage_parts(self, theta: Array) -> dict[str, Array]:
        """Return views of the parts of the input stage in ``theta``, by name; {} without one."""
        parameters = self.views(theta).stage
        if self.stage is None or parameters is None:
            return {}
        return self.stage.views(parameters)

    def stage_vector(self, theta: Array) -> Array:
        """Return the parameters of the input stage in ``theta`` (…, theta_size), as a view."""
        return theta[..., self._stage_start(theta.dtype) :]

    def pack(
        self,
        Ws: list[np.ndarray],
        bs: list[np.ndarray],
        dtype: np.dtype,
        stage: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Return theta (theta_size,): a flat vector with copies of the parameters.

        stage : the parts of the input stage, by name.
        """
        theta = np.zeros(self.theta_size(dtype), dtype)
        views = self.views(theta)
        for name, part in self.stage_parts(theta).items():
            part[...] = (stage or {})[name]
        for view, W in zip(views.Ws, Ws, strict=True):
            view[...] = W
        for b_view, b in zip(views.bs, bs, strict=True):
            if b_view is not None:
                b_view[...] = b
        return theta

    def repack(self, theta: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return a copy of ``theta`` in ``dtype``, on which the padding depends."""
        return self.pack(*self.arrays(theta), dtype, self.stage_parts(theta))

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
        """Return initial parameters.

        init : a name in `WEIGHTS_INITS`, which draws the weights and biases; then those of the
        input stage are drawn.
        """
        draw = entry_of(WEIGHTS_INITS, init, "init").draw
        Ws, bs = draw(self.sizes, self.activations, self.bias, rng)
        stage = {} if self.stage is None else self.stage.initial(rng)
        return self.pack(Ws, bs, dtype, stage)


class Workspace:
    """The arrays of one pass over ``rows`` rows, allocated once.

    X : (…, n, n_inputs). stage : the arrays of the input stage, or None. Zs[l], As[l], deltas[l] :
    (…, n, d_{l+1}). Zs[l] and As[l] are the same array if the derivative of the activation is
    computed from A, and in the last layer, whose Z are the logits.
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
        self.X = room(network.n_inputs)
        self.stage: StageArrays | None = None
        if network.stage is not None:
            self.stage = StageArrays(backend, network.stage, rows, dtype, lead, deltas)
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
        view.stage = self.stage and self.stage.first(rows)
        view.As = [part(A) for A in self.As]
        view.Zs = [
            new if Z is A else part(Z) for Z, A, new in zip(self.Zs, self.As, view.As, strict=True)
        ]
        view.deltas = [part(delta) for delta in self.deltas]
        view.ones = None if self.ones is None else self.ones[..., :rows]
        return view

    @property
    def inputs(self) -> Array:
        """The inputs (…, n, d_0) of the first dense layer."""
        return self.X if self.stage is None else self.stage.outputs

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
    if work.stage is not None and parameters.stage is not None:
        A_below = work.stage.forward(backend, parameters.stage, work.X)
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
        below = masks.dropped(layer, work.As[layer - 1] if layer else work.inputs)
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
            # The fused epilogue also sums delta into db: not if dropout still has to mask delta.
            whole = not masks.drops(layer)
            summed = whole and epilogues.delta_below(delta, W, activation, kept, g, db)
            if not summed:
                backend.gemm(delta, W, out=g, transpose_b=True)
                if activation.delta is not None:
                    backend.run(activation.delta, g, kept, out=g)
                masks.drop_delta(layer, g)
    _stage_backward(backend, parameters, gradients, work, masks, accumulate)
    backend.join()


def _stage_backward(
    backend: Backend,
    parameters: Parameters,
    gradients: Parameters,
    work: Workspace,
    masks: Masks,
    accumulate: bool,
) -> None:
    """Compute the gradients of the input stage, if there is one, from the first layer's delta."""
    stage = work.stage
    if stage is not None and parameters.stage is not None and gradients.stage is not None:
        backend.gemm(work.deltas[0], parameters.Ws[0], out=stage.g, transpose_b=True)
        masks.drop_delta(0, stage.g)
        own = parameters.stage, gradients.stage
        stage.backward(backend, *own, work.X, work.ones, accumulate)


def _as_row(b: Array | None) -> Array | None:
    """Return ``b`` (…, h) as a matrix of one row."""
    return None if b is None else b[..., None, :]
