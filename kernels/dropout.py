"""Dropout: set units of a layer to zero at random, and scale up the others.

A hash of the network's seed, the step, the layer, the row of the data and the unit decides which
units are dropped. Therefore the backward pass needs no stored mask, and a batch may be computed in
any number of parts.
"""

from __future__ import annotations

import math
from typing import Any

from .elementwise import Elementwise
from .gather import planned
from .hashing import MIX, mix

# The increment of splitmix64, 2^64 divided by the golden ratio.
_STRIDE = 0x9E3779B97F4A7C15


def dropout_keys(seed: int, first: int, shape: tuple[int, int, int]) -> Any:
    """Return keys (layers, steps, networks), uint64 on the host: hashes of seed and position.

    first : number of the first step.
    shape : shape of the keys.
    """
    import numpy as np

    keys = np.full(shape, _STRIDE, np.uint64)
    work = np.empty_like(keys)
    layers, steps, networks = np.ogrid[: shape[0], first : first + shape[1], : shape[2]]
    for number in (np.array(seed), networks, steps, layers):
        keys ^= number.astype(np.uint64)
        mix(np, keys, work)
        keys += np.uint64(_STRIDE)
    return keys


def last_kept(rates: Any) -> Any:
    """Return t so that a uniform 32-bit number is at most t with probability 1 - ``rates``.

    A unit is kept if its number is at most t. With a rate of 0 all are.
    rates : an array or a number. The result is uint64 of the same shape, on the host.
    """
    import numpy as np

    return (np.clip(np.round((1 - np.asarray(rates)) * 2**32), 1, 2**32) - 1).astype(np.uint64)


def _dropout(
    np: Any,
    a: Any,
    keys: Any,
    order: Any,
    step: Any,
    n_networks: int,
    batch_size: int,
    first: int,
    rows: int,
    width: int,
    last: Any,
    scale: Any,
    dropped: Any,
) -> None:
    index, key = planned(np, order, step), planned(np, keys, step)
    # One stream of random numbers per row and network; each 64-bit number serves two units.
    streams, work = (np.empty((n_networks, rows, 1), "uint64") for _ in range(2))
    now = index.reshape(n_networks, batch_size)[:, first : first + rows, None].view("uint64")
    np.bitwise_xor(key.reshape(n_networks, 1, 1), now, out=streams)
    mix(np, streams, work)
    pairs = math.ceil(width / 2)
    strides = np.empty((pairs,), "uint64")
    np.multiply(np.arange(pairs, dtype="uint64"), _STRIDE, out=strides)
    x, work = (np.empty((n_networks, rows, pairs), "uint64") for _ in range(2))
    np.add(streams, strides, out=x)
    mix(np, x, work)
    kept = np.empty((n_networks, rows, width), bool)
    # The low half of a number is for the first unit of its pair; ``last`` is below 2^32.
    draws, lasts = x.view("<u4")[..., :width], planned(np, last, step).view("<u4")[::2]
    np.less_equal(draws, lasts.reshape(n_networks, 1, 1), out=kept)
    np.multiply(a, kept.reshape(dropped.shape), out=dropped)
    scales = planned(np, scale, step)
    scales = scales.reshape(*dropped.shape[:-2], 1, 1) if n_networks > 1 else scales
    np.multiply(dropped, scales, out=dropped)


# For the CPU: each number is computed once for both of its units, in a loop that compilers
# vectorize: 33 instead of 543 us for 256 x 256 units in float32 (Sapphire Rapids, one thread).
_BY_ROW = f"""
const ptrdiff_t network = n_networks == 1 ? 0 : i / rows, row = i - network * rows;
const ptrdiff_t at = step[0] * n_networks + network;
unsigned long long x = keys[at];
x ^= (unsigned long long)order[at * batch_size + first + row];
{MIX}
const unsigned long long stream = x, most = last[at];
const T factor = scale[at];
const T* from = a + i * width;
T* to = dropped + i * width;
#pragma GCC ivdep
for (ptrdiff_t k = 0; k < width / 2; ++k) {{
    unsigned long long x = stream + (unsigned long long)k * 0x9e3779b97f4a7c15ULL;
    {MIX}
    to[2 * k] = from[2 * k] * ((x & 0xffffffffULL) <= most ? factor : T(0));
    to[2 * k + 1] = from[2 * k + 1] * ((x >> 32) <= most ? factor : T(0));
}}
if (width % 2) {{
    x = stream + (unsigned long long)(width / 2) * 0x9e3779b97f4a7c15ULL;
    {MIX}
    to[width - 1] = from[width - 1] * ((x & 0xffffffffULL) <= most ? factor : T(0));
}}
"""

# dropped (…, rows, width) = a * scale for kept units and a * 0 for others (NaN stays NaN):
# Srivastava et al., JMLR 2014, with the scaling in training instead of in prediction.
# order : (n_steps, …, batch_size), the plan of an epoch; row k of a is row
# order[step, …, first + k] of the data. keys : (n_steps, n_networks), of this layer.
# last : (n_steps, n_networks), see `last_kept`. scale : (n_steps, n_networks), 1 / (1 - rate).
DROPOUT = Elementwise(
    name="dropout",
    inputs="T a, raw uint64 keys, raw int64 order, raw int64 step, int64 n_networks, "
    "int64 batch_size, int64 first, int64 rows, int64 width, raw uint64 last, raw T scale",
    outputs="T dropped",
    body=f"""
const ptrdiff_t place = i / width, unit = i - place * width;
const ptrdiff_t network = n_networks == 1 ? 0 : place / rows, row = place - network * rows;
const ptrdiff_t at = step[0] * n_networks + network;
unsigned long long x = keys[at];
x ^= (unsigned long long)order[at * batch_size + first + row];
{MIX}
x += (unsigned long long)(unit / 2) * 0x9e3779b97f4a7c15ULL;
{MIX}
const unsigned long long draw = unit % 2 ? x >> 32 : x & 0xffffffffULL;
dropped = a * (draw <= last[at] ? scale[at] : T(0));
""",
    numpy=_dropout,
    vectorizes=True,
).on_host(
    inputs="raw T a, raw uint64 keys, raw int64 order, raw int64 step, int64 n_networks, "
    "int64 batch_size, int64 first, int64 rows, int64 width, raw uint64 last, raw T scale",
    outputs="raw T dropped",
    body=_BY_ROW,
)
