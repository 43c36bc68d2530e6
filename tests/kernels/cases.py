"""What each kernel is tried on: edge values in all pairs, random draws, and its own sizes.

A step whose parameters are all arrays of ``T`` gets its cases by itself. Any other step has a
builder in ``BUILDERS``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from gpubp.backprop.losses import reported_range
from gpubp.kernels.dropout import dropout_keys, last_kept
from gpubp.kernels.elementwise import RUN, Elementwise
from gpubp.kernels.hashing import ROUNDS, permutation_keys
from tests.backprop.solver_cases import PLAN_COLUMNS, STEPS
from tests.cuda_stand_in.kernels import outputs_of, parameters
from tests.kernels.checks import FLOATS, Case, Values
from tests.kernels.input_stage_cases import input_stage_cases

EDGES = (0.0, -0.0, 1e-30, 0.3, 1.0, -2.0, 90.0, -90.0, np.inf, -np.inf, np.nan)
DRAWS = 1000


def cases_of(step: Elementwise) -> list[Case]:
    """Return the cases of ``step``.

    Raises
    ------
    LookupError
        If the step needs a builder and has none.
    """
    if _is_plain(step):
        return [case for dtype in FLOATS for case in _plain(step, dtype)]
    if step.name not in BUILDERS:
        raise LookupError(f"{step.name} has no test case; write a builder in cases.py")
    return list(BUILDERS[step.name](step))


# ---- steps over arrays of T ------------------------------------------------------------------


def _is_plain(step: Elementwise) -> bool:
    return all(p.type == "T" and not p.raw for p in parameters(step))


def _plain(step: Elementwise, dtype: str) -> Iterator[Case]:
    names = [p.name for p in parameters(step) if not p.written]
    outputs = outputs_of(step)
    for in_place in [None, *(names if len(outputs) == 1 else [])]:
        for kind, draw in (("edges", _edge_tuples), ("draws", _normal_draws)):
            label = f"{kind}{f'-over-{in_place}' if in_place else ''}-{dtype}"
            build = partial(_plain_values, names, outputs, dtype, draw, in_place)
            yield Case(label, dtype, build, partial(_plain_scale, names))


def _plain_values(
    names: list[str],
    outputs: list[str],
    dtype: str,
    draw: Callable[[int, int], np.ndarray],
    in_place: str | None,
    seed: int,
) -> Values:
    arrays = dict(zip(names, draw(len(names), seed).astype(dtype), strict=True))
    if in_place:
        return arrays | {outputs[0]: arrays[in_place]}
    return arrays | {name: np.full_like(arrays[names[0]], -7) for name in outputs}


def _edge_tuples(count: int, seed: int) -> np.ndarray:
    """Return all tuples of edge values, (count, n); in reverse order for an odd seed."""
    tuples = np.array(list(itertools.product(EDGES, repeat=count))).T
    return tuples[:, ::-1] if seed % 2 else tuples


def _normal_draws(count: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).normal(0, 3, (count, DRAWS))


def _plain_scale(names: list[str], values: Values, name: str, expected: np.ndarray) -> Any:
    """Return |first input| times max(1, |other inputs|): a delta is g times a slope.

    The slope may be a difference of terms of order 1 or z.
    """
    first, *others = (np.nan_to_num(np.abs(values[name]), nan=0, posinf=0) for name in names)
    return first * np.prod([np.maximum(1, other) for other in others], axis=0)


# ---- losses ----------------------------------------------------------------------------------


def _loss_cases(step: Elementwise) -> Iterator[Case]:
    for dtype, (kind, options) in itertools.product(FLOATS, LOSS_KINDS.items()):
        build = partial(_loss_values, step, dtype, **options)
        yield Case(f"{kind}-{dtype}", dtype, build, partial(_loss_scale, step.name))


def _pinball_cases(step: Elementwise) -> Iterator[Case]:
    yield from _loss_cases(step)
    for dtype, rows in itertools.product(FLOATS, ((200,), (2, 50))):
        build = partial(_loss_values, step, dtype, shape=(*rows, 6), shares=True)
        yield Case(f"last-of-three-levels-{rows}-{dtype}", dtype, build)


LOSS_KINDS: dict[str, dict[str, Any]] = {
    "draws": {"shape": (333, 3)},
    "one-output": {"shape": (200, 1)},
    "many-outputs": {"shape": (40, 25)},
    "shares": {"shape": (333, 3), "shares": True},
    "population": {"shape": (2, 50, 3), "shares": True},
    "extreme": {"shape": (300, 3), "spread": 60},
    "clipped": {"shape": (300, 3), "bounds": (0.25, 2.0)},
    "edges": {"shape": (2 * len(EDGES) ** 2, 2), "edges": True},
}


def _loss_values(
    step: Elementwise,
    dtype: str,
    seed: int,
    *,
    shape: tuple[int, ...],
    shares: bool = False,
    spread: float = 3,
    bounds: tuple[float, float] | None = None,
    edges: bool = False,
) -> Values:
    rng = np.random.RandomState(seed)
    rows, n_outputs = shape[:-1], shape[-1]
    Z = rng.normal(0, spread, shape)
    y = rng.randint(n_outputs, size=rows)
    if edges:  # every pair of logits with either class; or with every target
        Z = np.tile(_edge_tuples(2, seed).T, (2, 1))
        y = np.repeat([0, 1], len(Z) // 2)
    Y = LOSS_TARGETS[step.name](rng, Z, y)
    n = int(np.prod(rows))
    share = rng.uniform(0.5, 1.5, rows).astype(dtype) / np.dtype(dtype).type(n) if shares else 1 / n
    low, high = bounds or reported_range(np.dtype(dtype))
    return {
        "Z": Z.astype(dtype),
        "y": y.astype(np.int32),
        "Y": Y.astype(dtype),
        "n_outputs": n_outputs,
        "share": share,
        "low": low,
        "high": high,
        **LOSS_NUMBERS,
        "n_targets": Y.shape[-1],
        "first": n_outputs - Y.shape[-1],
        "row_losses": rng.uniform(1, 2, rows) / n,
        "delta": np.full(shape, -7, dtype),
    }


def _class_targets(rng: np.random.RandomState, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return 0, 1/2 or 1 for each logit; for the edges, which have infinities, either class."""
    if not np.isfinite(Z).all():
        return np.stack([y, 1 - y], axis=1)
    return rng.randint(3, size=Z.shape) / 2


def _weighted_targets(rng: np.random.RandomState, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return targets of classes, and then a weight for each."""
    return np.concatenate([_class_targets(rng, Z, y), rng.uniform(size=Z.shape)], axis=-1)


def _number_targets(rng: np.random.RandomState, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return numbers of the size of the logits; every edge value beside every other."""
    return Z[::-1] / 2 if np.isfinite(Z).all() else Z[:, ::-1]


def _fewer_targets(rng: np.random.RandomState, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return targets for all outputs, or for the last two of six."""
    return _number_targets(rng, Z, y)[..., -2 if Z.shape[-1] == 6 else 0 :]


def _count_targets(rng: np.random.RandomState, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return numbers from 0 on, a third of them 0; the edges have negative ones, which are NaN."""
    if not np.isfinite(Z).all():
        return Z[:, ::-1]
    return rng.gamma(2, 2, Z.shape) * (rng.randint(3, size=Z.shape) > 0)


LOSS_TARGETS: dict[str, Callable[..., np.ndarray]] = {
    "softmax_cross_entropy": _number_targets,  # it takes y
    "softmax_cross_entropy_rows": _class_targets,
    "sigmoid_cross_entropy": _class_targets,
    "softmax": _number_targets,  # it takes none
    "label_weighted_cross_entropy": _weighted_targets,
    "squared_error": _number_targets,
    "pinball": _fewer_targets,
    "huber": _number_targets,
    "poisson": _count_targets,
}
LOSS_NUMBERS = {"under": 0.3, "over": 0.8, "bend": 1.5}


def _loss_scale(kernel: str, values: Values, name: str, expected: np.ndarray) -> Any:
    """Return the scale of a row's terms, which cancel: its largest logit; of p - y: 1."""
    if kernel in ("squared_error", "pinball", "huber"):
        return 0.0
    share = np.asarray(values["share"])
    if kernel == "poisson":
        return _poisson_scale(values, name)
    # Rows of targets need not add up to 1.
    mass = np.maximum(1, values["Y"].sum(axis=-1)) if kernel.endswith("_rows") else 1.0
    if name == "delta":
        return (share * mass)[..., None]
    return share * mass * _largest_logits(values)


def _poisson_scale(values: Values, name: str) -> Any:
    """Return the terms of mean - y, or of its integral: their exponents are off by their eps."""
    share, (Z, Y) = np.asarray(values["share"]), (values[k].astype(float) for k in "ZY")
    with np.errstate(all="ignore"):
        terms = np.nan_to_num(np.exp(Z) + np.abs(Y), posinf=0)
        if name == "delta":
            return share[..., None] * terms
        exponents = np.nan_to_num(np.abs(Z) + np.abs(np.log(Y)), posinf=0, neginf=0)
    return share * (terms * (1 + exponents)).sum(axis=-1)


def _largest_logits(values: Values) -> Any:
    return 1 + np.max(np.nan_to_num(np.abs(values["Z"]), nan=0, posinf=0), axis=-1)


def _softmax_cases(step: Elementwise) -> Iterator[Case]:
    kinds = ("draws", "one-output", "many-outputs", "population", "edges")
    for dtype, in_place, kind in itertools.product(FLOATS, (False, True), kinds):
        label = f"{kind}{'-over-Z' if in_place else ''}-{dtype}"
        build = partial(_softmax_values, step, dtype, kind, in_place)
        yield Case(label, dtype, build, _softmax_scale)


def _softmax_values(step: Elementwise, dtype: str, kind: str, in_place: bool, seed: int) -> Values:
    values = _loss_values(step, dtype, seed, **LOSS_KINDS[kind])
    Z = values["Z"]
    values["log_total"] = np.full(Z.shape[:-1], -7, dtype)
    return values | {"P": Z if in_place else np.full_like(Z, -7)}


def _softmax_scale(values: Values, name: str, expected: np.ndarray) -> Any:
    return _largest_logits(values) if name == "log_total" else 0.0


# ---- optimizers ------------------------------------------------------------------------------

PADDING = 4  # entries at the end of theta that stay 0
FACTORS = np.array([0.25, 0.6, 2.0, 0.0, 1.0])


def _optimizer_cases(step: Elementwise) -> Iterator[Case]:
    leads, yes_no = ((), (1,), (3,)), (True, False)
    for dtype, lead, decays, edges in itertools.product(FLOATS, leads, yes_no, yes_no):
        kind = f"{'edges' if edges else 'draws'}-{lead}-{'decay' if decays else 'no-decay'}"
        build = partial(_optimizer_values, step, dtype, lead, decays, edges)
        yield Case(f"{kind}-{dtype}", dtype, build, _largest, updates=4)


def _optimizer_values(
    step: Elementwise, dtype: str, lead: tuple[int, ...], decays: bool, edges: bool, seed: int
) -> Values:
    rng = np.random.RandomState(seed)
    triples, state = len(EDGES) ** 3, outputs_of(step)[1]
    size = -(-triples // RUN) * RUN if edges else 16 * RUN
    theta, *gradients = rng.normal(0, 3, (5, *lead, size))
    vectors = {name: np.abs(rng.normal(0, 3, theta.shape)) for name in outputs_of(step)}
    if edges:  # all triples of theta, its gradient and the first vector of the state
        at = np.s_[..., -triples:]
        theta[at], gradients[0][at], vectors[state][at] = _edge_tuples(3, seed)
    vectors |= {
        "theta": theta,
        "grad": np.stack(gradients),
    }
    if not edges:
        for vector in vectors.values():
            vector[..., -PADDING:] = 0
    plan = rng.uniform(0.1, 0.9, (6, *lead, PLAN_COLUMNS[step.name]))
    return {name: vector.astype(dtype) for name, vector in vectors.items()} | {
        "plan": plan.astype(dtype),
        # Equal for all seeds, since a recording does not see later changes of them.
        "factors": FACTORS[np.arange(2 * int(np.prod(lead)) * (size // RUN)) // 3 % 5]
        .reshape(*lead, size // RUN, 2)
        .astype(dtype),
        "step": np.arange(1, 5)[:, None] + seed % 2,
        "n_networks": int(np.prod(lead)),
        "size": size,
        "n_weights": size // (2 * RUN) * RUN,
        "decays": decays,
    }


def _largest(values: Values, name: str, expected: np.ndarray) -> Any:
    finite = np.abs(expected[np.isfinite(expected)])
    return finite.max() if finite.size else 0.0


# ---- reading and writing by the step counter -------------------------------------------------


def _gather_cases(step: Elementwise) -> Iterator[Case]:
    # 5 of 16 rows is the last batch of an epoch; from 11 on, what is left of a batch in parts.
    parts, shapes = ((16, 0, 16), (16, 0, 5), (16, 11, 5)), ((50, 4), (50, 1))
    for dtype, shape, part, targets, lead in itertools.product(
        FLOATS, shapes, parts, ((50,), (50, 3), (50, 6)), ((), (3,))
    ):
        kind = "int32" if targets == (50,) else dtype
        label = f"{part}-from-{shape}-{dtype}-with-{targets}-{kind}-of-{lead}"
        yield Case(label, dtype, partial(_gather_values, dtype, shape, kind, targets, *part, lead))


def _gather_values(
    dtype: str,
    shape: tuple[int, int],
    kind: str,
    targets: tuple[int, ...],
    batch_size: int,
    first: int,
    n: int,
    lead: tuple[int, ...],
    seed: int,
) -> Values:
    rng = np.random.RandomState(seed)
    order = rng.randint(50, size=(6, *lead, batch_size))
    return {
        "source": rng.permutation(int(np.prod(shape))).reshape(shape).astype(dtype),
        "targets": rng.permutation(int(np.prod(targets))).reshape(targets).astype(kind),
        "order": order,
        "target_order": rng.randint(50, size=order.shape) if lead else order,
        "step": np.array([2 + seed]),
        "n_networks": int(np.prod(lead)),
        "batch_size": batch_size,
        "first": first,
        "n_rows": n,
        "width": shape[1],
        "n_targets": targets[1] if len(targets) == 2 else 1,
        "rows": np.full((*lead, n, shape[1]), -7, dtype),
        "row_targets": np.full((*lead, n, *targets[1:]), -7, kind),
    }


def _take_cases(step: Elementwise) -> Iterator[Case]:
    parts, leads = ((0, 16), (0, 5), (11, 5)), ((), (3,))
    for dtype, (first, n), lead in itertools.product(FLOATS, parts, leads):
        label = f"{n}-from-{first}-{dtype}-of-{lead}"
        yield Case(label, dtype, partial(_take_values, dtype, first, n, lead))


def _take_values(dtype: str, first: int, n: int, lead: tuple[int, ...], seed: int) -> Values:
    return {
        "series": np.random.RandomState(seed).normal(size=(6, *lead, 16)).astype(dtype),
        "step": np.array([2 + seed]),
        "n_networks": int(np.prod(lead)),
        "first": first,
        "n_rows": n,
        "width": 16,
        "row": np.full((*lead, n), -7, dtype),
    }


def _penalty_cases(step: Elementwise) -> Iterator[Case]:
    sizes = ((96, 96, 1), (96, 64, 1), (96, 64, 5), (32, 32, 40))
    for dtype, (size, n_weights, n_sums), lead in itertools.product(FLOATS, sizes, ((), (3,))):
        build = partial(_penalty_values, dtype, size, n_weights, n_sums, lead)
        # A sum of up to 96 squares, in another order.
        label = f"{n_weights}-of-{size}-in-{n_sums}-{dtype}-of-{lead}"
        yield Case(label, dtype, build, _largest)


def _penalty_values(
    dtype: str, size: int, n_weights: int, n_sums: int, lead: tuple[int, ...], seed: int
) -> Values:
    rng = np.random.RandomState(seed)
    return {
        "theta": rng.normal(0, 3, (*lead, size)).astype(dtype),
        "scale": rng.uniform(0.1, 0.9, (6, *lead)),
        "step": np.array([2 + seed]),
        "n_networks": int(np.prod(lead)),
        "size": size,
        "n_weights": n_weights,
        "n_sums": n_sums,
        "sums": rng.uniform(1, 2, (*lead, n_sums)),
    }


def _sum_cases(step: Elementwise) -> Iterator[Case]:
    sizes = ((96, 1), (96, 5), (7, 40), (1, 1))
    for dtype, (size, n_sums), lead in itertools.product(FLOATS, sizes, ((), (3,))):
        label = f"{size}-in-{n_sums}-{dtype}-of-{lead}"
        yield Case(label, dtype, partial(_sum_values, dtype, size, n_sums, lead))


def _sum_values(dtype: str, size: int, n_sums: int, lead: tuple[int, ...], seed: int) -> Values:
    values = np.random.RandomState(seed).uniform(0.5, 3, (*lead, size)).astype(dtype)
    sums = np.full((*lead, n_sums), -7, dtype)
    return {"grad": values, "parts": values, "size": size, "n_sums": n_sums, "sums": sums}


def _clip_cases(step: Elementwise) -> Iterator[Case]:
    norms = {"below": 1.5, "at": 2.0, "above": 5.0, "inf": np.inf, "nan": np.nan}
    for dtype, (name, norm), lead in itertools.product(FLOATS, norms.items(), ((), (3,))):
        yield Case(f"{name}-{dtype}-of-{lead}", dtype, partial(_clip_values, dtype, norm, lead))


def _clip_values(dtype: str, norm: float, lead: tuple[int, ...], seed: int) -> Values:
    grad = np.random.RandomState(seed).normal(size=(*lead, 48)).astype(dtype)
    networks = np.arange(float(np.prod(lead))).reshape(*lead, 1)
    clips = (networks < 2).astype(dtype)
    return {
        "squared": np.asarray(norm**2 + networks, dtype),
        "limits": np.full((*lead, 1), 2.0, dtype),
        "clips": clips,
        "size": 48,
        "grad": grad,
    }


def _advance_cases(step: Elementwise) -> Iterator[Case]:
    return (Case(f"by-{by}", "int64", partial(_advance_values, by)) for by in (1, 3))


def _advance_values(by: int, seed: int) -> Values:
    return {"by": by, "step": np.array([5 + seed])}


# ---- hashes ----------------------------------------------------------------------------------


def _permute_cases(step: Elementwise) -> Iterator[Case]:
    return (Case(f"{n}-rows", "int64", partial(_permute_values, n)) for n in (1, 2, 7, 1000))


def _permute_values(n: int, seed: int) -> Values:
    keys = permutation_keys(seed, 3, n)
    return {"keys": keys, "rounds": ROUNDS, "n": n, "order": np.full(n, -7, np.int64)}


def _dropout_cases(step: Elementwise) -> Iterator[Case]:
    shapes = (((), 16, 0, 16, 4), ((3,), 16, 0, 16, 5), ((3,), 16, 11, 5, 1), ((2,), 7, 3, 2, 6))
    for dtype, shape, in_place in itertools.product(FLOATS, shapes, (False, True)):
        label = f"{shape}{'-over-a' if in_place else ''}-{dtype}"
        yield Case(label, dtype, partial(_dropout_values, dtype, *shape, in_place))


def _dropout_values(
    dtype: str,
    lead: tuple[int, ...],
    batch_size: int,
    first: int,
    rows: int,
    width: int,
    in_place: bool,
    seed: int,
) -> Values:
    rng, n_networks = np.random.RandomState(seed), int(np.prod(lead))
    rates = 0.6 - np.arange(6 * n_networks).reshape(6, n_networks) / (10 * n_networks)
    a = rng.normal(size=(*lead, rows, width)).astype(dtype)
    a.flat[: len(EDGES)] = EDGES[: a.size]
    return {
        "a": a,
        "keys": dropout_keys(seed, 9, (1, 6, n_networks))[0],
        "order": rng.randint(50, size=(6, *lead, batch_size)),
        "step": np.array([2 + seed]),
        "n_networks": n_networks,
        "batch_size": batch_size,
        "first": first,
        "rows": rows,
        "width": width,
        "last": last_kept(rates),
        "scale": (1 / (1 - rates)).astype(dtype),
        "dropped": a if in_place else np.full_like(a, -7),
    }


BUILDERS: dict[str, Callable[[Elementwise], Iterator[Case]]] = {
    "softmax_cross_entropy": _loss_cases,
    "softmax_cross_entropy_rows": _loss_cases,
    "sigmoid_cross_entropy": _loss_cases,
    "label_weighted_cross_entropy": _loss_cases,
    "squared_error": _loss_cases,
    "pinball": _pinball_cases,
    "huber": _loss_cases,
    "poisson": _loss_cases,
    "softmax": _softmax_cases,
    **dict.fromkeys(STEPS, _optimizer_cases),
    "gather": _gather_cases,
    "take": _take_cases,
    "penalty": _penalty_cases,
    "squares": _sum_cases,
    "fold": _sum_cases,
    "clip": _clip_cases,
    "advance": _advance_cases,
    "permute": _permute_cases,
    "dropout": _dropout_cases,
    "input_features": input_stage_cases,
    "scale_delta": input_stage_cases,
    "periodic_gradient": input_stage_cases,
    "tables_gradient": input_stage_cases,
}
