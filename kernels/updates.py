"""Kernels and NumPy twins of optimizer updates, made from one line of CUDA and one function.

theta (…, size) contains all weights, then all biases, then the parameters of an input stage. grad
and the optimizer's state have the same layout. The numbers that change from step to step are
computed on the host for a whole epoch: row ``step[0]`` of ``plan`` (n_steps, n_networks, columns)
has the numbers of this update. The first ``n_weights`` entries of theta decay: their gradient is
grad + l2 * theta.

With ``factors`` (…, size / RUN, 2), the columns rate and decay_rate of each run of RUN entries are
multiplied by its two factors. Then decay_rate applies to all of theta, not only to the weights.

The NumPy twins use ``grad`` as scratch, so its values are lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from .elementwise import RUN, Elementwise
from .gather import planned

_PLANNED = "raw T plan, raw int64 step, int64 n_networks, int64 size, int64 n_weights, bool decays"
# Elements that one CUDA thread updates: one 16-byte load and store of float32, two of float64.
FOUR = 4
# In the body of an update: the decoupled decay, which applies to the weights only.
DECAY = "(decay ? decay_rate * theta : T(0))"
FACTORS = ("rate", "decay_rate")  # the columns of the plan that ``factors`` multiplies


@dataclass(frozen=True)
class Update(Elementwise):
    """A step that updates theta.

    with_factors : the same step with one more input, ``factors``, before ``plan``; its name ends in
        "_with_factors".
    """

    with_factors: Elementwise | None = None


def update_step(
    name: str, columns: str, state: str, body: str, rule: Callable[..., None]
) -> Update:
    """Return the step that applies ``body`` to each element of theta and of the vectors ``state``.

    columns : names of the columns of the plan, separated by spaces: rate, l2 and others.
    state : names of the optimizer's vectors, separated by spaces.
    body : CUDA that updates theta and the state. It may read g (the gradient with decay), the bool
        ``decay`` (whether this element decays) and the names in ``columns``; the decoupled decay is
        written as in DECAY.
    rule : the same in NumPy; see `blockwise`.

    All sizes are multiples of RUN, as `Network.theta_size` and `Network.n_weights` are.
    """
    plain = _step(name, columns, state, body, blockwise(rule), False)
    factored = body.replace(DECAY, "decay_rate * theta")
    twin = _with_factors(rule, columns.split())
    other = _step(f"{name}_with_factors", columns, state, factored, twin, True)
    return Update(**vars(plain), with_factors=other)


def _step(
    name: str, columns: str, state: str, body: str, numpy: Any, has_factors: bool
) -> Elementwise:
    vectors = ["theta", *state.split()]
    inputs = f"raw T factors, {_PLANNED}" if has_factors else _PLANNED
    numbers = _numbers(columns.split(), has_factors)
    element = Elementwise(
        name,
        f"T grad, {inputs}",
        ", ".join(f"T {v}" for v in vectors),
        f"const T g = decay ? grad + l2 * theta : grad; {body}",
        numpy,
        prologue=numbers,
        vectorizes=True,
    )
    return replace(
        element,
        inputs=f"raw T grad, {inputs}",
        outputs=", ".join(f"raw T {v}" for v in vectors),
        body=_by_four(numbers, vectors, body),
        per_thread=FOUR,
        host=element,
    )


def _numbers(names: list[str], has_factors: bool) -> str:
    """Return the code that reads the plan for the element ``first`` and those after it."""
    reads = [f"{name} = plan[at + {k}]" for k, name in enumerate(names)]
    if has_factors:
        for k, name in enumerate(FACTORS):
            if name in names:
                reads[names.index(name)] += f" * factors[first / {RUN} * {len(FACTORS)} + {k}]"
    return f"""
const ptrdiff_t network = n_networks == 1 ? 0 : first / size;
const bool decay = decays && first - network * size < n_weights;
const ptrdiff_t at = (step[0] * n_networks + network) * {len(names)};
const T {", ".join(reads)};
"""


def _by_four(numbers: str, vectors: list[str], body: str) -> str:
    """Return a body that applies ``body`` to FOUR elements, loaded and stored together."""
    loads = ", ".join(f"{v}_4 = (const Four&){v}[first]" for v in vectors)
    locals_ = ", ".join(f"&{v}_k = {v}_4.x[k]" for v in vectors)
    stores = " ".join(f"(Four&){v}[first] = {v}_4;" for v in vectors)
    each = re.sub(rf"\b({'|'.join(vectors)})\b", r"\1_k", body)
    return f"""
const int n = {FOUR};
struct alignas(16) Four {{ T x[n]; }};
const ptrdiff_t first = (ptrdiff_t)i * n;{numbers}const Four grad_4 = (const Four&)grad[first];
Four {loads};
for (int k = 0; k<n; ++k) {{
    T {locals_};
    const T g = decay ? grad_4.x[k] + l2 * theta_k : grad_4.x[k];
    {each}
}}
{stores}
"""


def _columns(row: Any) -> list[Any]:
    """Return the columns of a row of the plan, each 0-d or (…, 1), so that they scale theta."""
    if row.ndim == 1:  # ufuncs handle 0-d arrays in half the time of arrays of one number
        return [row[k, ...] for k in range(len(row))]
    return [row[..., k : k + 1] for k in range(row.shape[-1])]


# Entries that the twins update at a time. A block and its state stay in the CPU's cache during all
# passes over it: Adam of 235,000 parameters takes 0.54 ms by blocks, and 0.75 ms in passes over the
# whole vector (Cascade Lake, NumPy 2.4).
BLOCK = 1 << 15


def blockwise(rule: Callable[..., None]) -> Callable[..., None]:
    """Return the twin that applies ``rule`` block by block.

    rule : called with np, numbers, grad, work, decaying, theta and the state's vectors. numbers are
        the columns of the plan without l2, each 0-d or of a shape that scales the entries to which
        it applies; work is scratch; decaying is the slice of the block's entries that decay.
    """

    def twin(np: Any, grad: Any, plan: Any, step: Any, *rest: Any) -> None:
        _, size, n_weights, decays, *vectors = rest
        rate, l2, *numbers = _columns(planned(np, plan, step))
        penalised = n_weights if decays else 0
        for g, work, decaying, theta, *state in _blocks(np, size, penalised, l2, grad, *vectors):
            rule(np, (rate, *numbers), g, work, decaying, theta, *state)

    return twin


def _with_factors(rule: Callable[..., None], columns: list[str]) -> Callable[..., None]:
    """Return the twin of ``rule`` with factors; columns : the names of those of the plan."""
    names = [name for name in columns if name != "l2"]
    multiplied = [(names.index(name), k) for k, name in enumerate(FACTORS) if name in names]

    def twin(np: Any, grad: Any, factors: Any, plan: Any, step: Any, *rest: Any) -> None:
        _, size, n_weights, decays, *vectors = rest
        rate, l2, *others = _columns(planned(np, plan, step))
        numbers = [rate, *others]
        scaled = [
            (place, _Scaled(np, numbers[place], factors[..., k], min(size, BLOCK)))
            for place, k in multiplied
        ]
        penalised, start = n_weights if decays else 0, 0
        for g, work, _, theta, *state in _blocks(np, size, penalised, l2, grad, *vectors):
            stop = start + work.shape[-1]
            for place, number in scaled:
                numbers[place] = number.of(np, start, stop)
            rule(np, tuple(numbers), g, work, slice(0, stop - start), theta, *state)
            start = stop

    return twin


def _blocks(
    np: Any, size: int, penalised: int, l2: Any, grad: Any, *vectors: Any
) -> Iterator[tuple[Any, ...]]:
    """Yield g, scratch, the slice of the penalised entries and ``vectors``, block by block.

    g is the gradient with the penalty on the first ``penalised`` entries of theta, vectors[0].
    """
    length = min(size, BLOCK)
    whole = np.empty((*grad.shape[:-1], length), grad.dtype)
    for start in range(0, size, length):
        block = slice(start, min(start + length, size))
        g, theta, *state = (vector[..., block] for vector in (grad, *vectors))
        work = whole[..., : block.stop - start]
        decaying = slice(0, max(0, min(penalised, block.stop) - start))
        if decaying.stop:
            np.multiply(theta[..., decaying], l2, out=work[..., decaying])
            np.add(g[..., decaying], work[..., decaying], out=g[..., decaying])
        yield g, work, decaying, theta, *state


class _Scaled:
    """A number of the plan times the factors of the runs of theta, for the entries of a block.

    The factors do not change after a recording, so the parts of theta with equal factors are found
    in it once.
    """

    def __init__(self, np: Any, number: Any, factors: Any, length: int) -> None:
        changes = factors[..., 1:] != factors[..., :-1]
        of_any = changes.any(axis=tuple(range(changes.ndim - 1)))
        firsts = [0, *(of_any.nonzero()[0] + 1).tolist()]
        ends = [RUN * run for run in (*firsts, factors.shape[-1])]
        self.parts = list(pairwise(ends))
        self.products = np.empty((*factors.shape[:-1], len(firsts)), factors.dtype)
        np.multiply(factors[..., firsts], number, out=self.products)
        self.room = np.empty((*factors.shape[:-1], length), factors.dtype)

    def of(self, np: Any, start: int, stop: int) -> Any:
        """Return the products for the entries from ``start`` to ``stop``; one, if they are equal.

        They are overwritten by the next call.
        """
        columns = _columns(self.products)
        spans = [(max(start, a), min(stop, b)) for a, b in self.parts]
        if (start, stop) in spans:
            return columns[spans.index((start, stop))]
        room = self.room[..., : stop - start]
        for (first, end), column in zip(spans, columns, strict=True):
            if first < end:
                np.copyto(room[..., first - start : end - start], column)
        return room
