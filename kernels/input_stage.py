"""The input stage: learned tables for categories, periodic features of numbers, a front scale.

Network k of several has the parameters of the stage in theta, from ``k * size + scale_start`` on,
in three parts, each at a multiple of 128 bytes:

- scale (D,): a factor for each of the D features.
- periodic (p, ENTRIES): for each periodic column w and b (FREQUENCIES,), V (FEATURES, FREQUENCIES)
  and v (FEATURES,). With u = 2 pi w x + b, its features are e = V cos(u) + v. Gorishniy, Rubachev
  and Babenko (2022); in this form Holzmueller, Grinsztajn and Steinwart (2024).
- tables (levels, LEVEL_WIDTH): a vector for each level of each category.

The features of a row are those of its t category columns, LEVEL_WIDTH each, then those of its p
periodic columns, FEATURES each, then its q columns of numbers as they are. The first dense layer
gets features * scale. A category column contains the number of its level, from 0 on.
"""

from __future__ import annotations

from typing import Any

from .elementwise import RUN, Elementwise

FREQUENCIES = RUN  # so a run of elements on the CPU is one column
FEATURES = 3
LEVEL_WIDTH = 8
LEVELS_PER_RUN = RUN // LEVEL_WIDTH
ENTRIES = (2 + FEATURES) * FREQUENCIES + FEATURES
PHASES, MIXING, OFFSETS = FREQUENCIES, 2 * FREQUENCIES, (2 + FEATURES) * FREQUENCIES
TWO_PI = 6.283185307179586


# ---- twins -----------------------------------------------------------------------------------


def parts(array: Any, start: int, count: int, width: int) -> Any:
    """Return ``count`` parts of ``width`` columns of ``array`` from ``start`` on, as a view."""
    part = array[..., start : start + count * width]
    return part.reshape(*array.shape[:-1], count, width)


def of_columns(periodic: Any) -> tuple[Any, Any, Any, Any]:
    """Return views of w, b (…, p, FREQUENCIES), V (…, p, FEATURES, FREQUENCIES) and v.

    periodic : (…, p, ENTRIES), parameters or their gradient.
    """
    V = parts(periodic, MIXING, FEATURES, FREQUENCIES)
    return periodic[..., :PHASES], periodic[..., PHASES:MIXING], V, periodic[..., OFFSETS:]


def _taken(np: Any, X: Any, columns: Any) -> Any:
    taken = np.empty((*X.shape[:-1], len(columns)), X.dtype)
    np.take(X, columns, axis=-1, out=taken, mode="clip")
    return taken


def angles(np: Any, X: Any, columns: Any, w: Any, b: Any) -> tuple[Any, Any]:
    """Return x (…, n, p, 1), and u (…, n, p, FREQUENCIES) less a multiple of 2 pi."""
    x = _taken(np, X, columns)[..., None]
    u = np.empty((*w.shape[:-2], X.shape[-2], *w.shape[-2:]), X.dtype)
    turns, whole = np.empty(b.shape, X.dtype), np.empty_like(u)
    np.multiply(b, 1 / TWO_PI, out=turns)
    np.multiply(x, w[..., None, :, :], out=u)
    np.add(u, turns[..., None, :, :], out=u)
    np.rint(u, out=whole)
    np.subtract(u, whole, out=u)
    np.multiply(u, TWO_PI, out=u)
    return x, u


def _periodic(np: Any, X: Any, columns: Any, periodic: Any, e: Any) -> None:
    """Write V cos(u) + v into ``e`` (…, n, p, FEATURES)."""
    w, b, V, v = of_columns(periodic)
    _, u = angles(np, X, columns, w, b)
    np.cos(u, out=u)
    mixed = np.empty((*w.shape[:-1], X.shape[-2], FEATURES), X.dtype)
    np.matmul(u.swapaxes(-2, -3), V.swapaxes(-1, -2), out=mixed)
    np.add(mixed.swapaxes(-2, -3), v[..., None, :, :], out=e)


def levels_of(np: Any, X: Any, columns: Any, first: Any, last: Any) -> Any:
    """Return the number of each row's level among those of all tables, (…, n, t)."""
    levels = _taken(np, X, columns)
    np.add(levels, first, out=levels)
    np.maximum(levels, first, out=levels)
    np.minimum(levels, last, out=levels)
    return levels


def _look_up(np: Any, levels: Any, tables: Any, vectors: Any) -> None:
    """Write the vectors (…, n, t, LEVEL_WIDTH) of ``levels``, network by network."""
    whole = np.empty(levels.shape, "int64")
    np.add(levels, 0, out=whole, casting="unsafe")
    for k in range(len(tables) if tables.ndim == 3 else 1):
        of = (k,) if tables.ndim == 3 else ()
        found = np.empty(vectors[of].shape, vectors.dtype)
        places = whole[of] if whole.ndim == vectors.ndim - 1 else whole
        np.take(tables[of], places, axis=0, out=found, mode="clip")
        np.copyto(vectors[of], found)


def _input_features(
    np: Any,
    X: Any,
    theta: Any,
    table_columns: Any,
    first_levels: Any,
    last_levels: Any,
    periodic_columns: Any,
    other_columns: Any,
    size: int,
    scale_start: int,
    periodic_start: int,
    tables_start: int,
    rows: int,
    width: int,
    n_features: int,
    t: int,
    p: int,
    shared: bool,
    features: Any,
    outputs: Any,
) -> None:
    end = t * LEVEL_WIDTH
    if t:
        now = levels_of(np, X, table_columns, first_levels, last_levels)
        n_levels = (theta.shape[-1] - tables_start) // LEVEL_WIDTH  # or more
        tables = parts(theta, tables_start, n_levels, LEVEL_WIDTH)
        _look_up(np, now, tables, parts(features, 0, t, LEVEL_WIDTH))
    if p:
        periodic = parts(theta, periodic_start, p, ENTRIES)
        _periodic(np, X, periodic_columns, periodic, parts(features, end, p, FEATURES))
        end += p * FEATURES
    if end < n_features:
        np.copyto(features[..., end:], _taken(np, X, other_columns))
    np.multiply(features, theta[..., None, scale_start : scale_start + n_features], out=outputs)


def _scale_delta(
    np: Any,
    g: Any,
    features: Any,
    theta: Any,
    size: int,
    scale_start: int,
    rows: int,
    n_features: int,
    product: Any,
    delta: Any,
) -> None:
    np.multiply(g, features, out=product)
    np.multiply(g, theta[..., None, scale_start : scale_start + n_features], out=delta)


# ---- steps -----------------------------------------------------------------------------------

HALF_TURNS = f"""
const T half_turns = T(2) * (x * w + b * T({1 / TWO_PI!r}));
"""
_OF_ROW = """
const ptrdiff_t network = row / rows, base = network * size;
const ptrdiff_t from = (shared ? row - network * rows : row) * width;
"""
FIND_LEVEL = """
const T number = first_levels[k] + X[from + table_columns[k]];
const T in_range = number > last_levels[k] ? last_levels[k] : number;
const ptrdiff_t level = (ptrdiff_t)(in_range > first_levels[k] ? in_range : first_levels[k]);
"""
_FEATURES_BY_ROW = f"""
const ptrdiff_t row = i;
{_OF_ROW}
T* f = features + row * n_features;
T* out = outputs + row * n_features;
const T* scale = theta + base + scale_start;
const T* of = theta + base + periodic_start;
ptrdiff_t c = 0;
for (ptrdiff_t k = 0; k < t; ++k) {{
    {FIND_LEVEL}
    const T* vector = theta + base + tables_start + level * {LEVEL_WIDTH};
    for (int n = 0; n < {LEVEL_WIDTH}; ++n, ++c) f[c] = vector[n];
}}
for (ptrdiff_t k = 0; k < p; ++k, of += {ENTRIES}) {{
    const T x = X[from + periodic_columns[k]];
    T cosines[{FREQUENCIES}];
    for (int j = 0; j < {FREQUENCIES}; ++j) {{
        const T w = of[j], b = of[{PHASES} + j];
        {HALF_TURNS}
        cosines[j] = cospi(half_turns);
    }}
    for (int m = 0; m < {FEATURES}; ++m, ++c) {{
        T terms[{FREQUENCIES}];
        for (int j = 0; j < {FREQUENCIES}; ++j)
            terms[j] = of[{MIXING} + m * {FREQUENCIES} + j] * cosines[j];
        for (int half = {FREQUENCIES // 2}; half > 0; half /= 2)
            for (int j = 0; j < half; ++j) terms[j] += terms[j + half];
        f[c] = terms[0] + of[{OFFSETS} + m];
    }}
}}
for (ptrdiff_t k = 0; c < n_features; ++k, ++c) f[c] = X[from + other_columns[k]];
for (c = 0; c < n_features; ++c) out[c] = f[c] * scale[c];
"""

# features (…, rows, D), and outputs = features * scale. X (…, rows, width); shared : whether all
# networks have the same X (rows, width).
INPUT_FEATURES = Elementwise(
    name="input_features",
    inputs="raw T X, raw T theta, raw int32 table_columns, raw T first_levels, raw T last_levels, "
    "raw int32 periodic_columns, raw int32 other_columns, int64 size, int64 scale_start, "
    "int64 periodic_start, int64 tables_start, int64 rows, int64 width, "
    "int64 n_features, int64 t, int64 p, bool shared",
    outputs="T features, T outputs",
    body=f"""
const ptrdiff_t row = i / n_features, c = i - row * n_features;
{_OF_ROW}
const ptrdiff_t after = c - t * {LEVEL_WIDTH}, other = after - p * {FEATURES};
T f = T(0);
if (after < 0) {{
    const ptrdiff_t k = c / {LEVEL_WIDTH};
    {FIND_LEVEL}
    f = theta[base + tables_start + (level - k) * {LEVEL_WIDTH} + c];
}} else if (other < 0) {{
    const ptrdiff_t k = after / {FEATURES}, of = base + periodic_start + k * {ENTRIES};
    const ptrdiff_t m = after - k * {FEATURES};
    const T x = X[from + periodic_columns[k]];
    for (int j = 0; j < {FREQUENCIES}; ++j) {{
        const T w = theta[of + j], b = theta[of + {PHASES} + j];
        {HALF_TURNS}
        f += theta[of + {MIXING} + m * {FREQUENCIES} + j] * cospi(half_turns);
    }}
    f += theta[of + {OFFSETS} + m];
}} else f = X[from + other_columns[other]];
features = f;
outputs = f * theta[base + scale_start + c];
""",
    numpy=_input_features,
    vectorizes=True,
).on_host(outputs="raw T features, raw T outputs", body=_FEATURES_BY_ROW)

_DELTA_BY_ROW = """
const T* scale = theta + i / rows * size + scale_start;
for (ptrdiff_t c = i * n_features, k = 0; k < n_features; ++c, ++k) {
    product[c] = g[c] * features[c];
    delta[c] = g[c] * scale[k];
}
"""

# The gradient of the features, delta = g * scale, from that of the outputs; and the terms of the
# gradient of scale, which is the sum of product over the rows.
SCALE_DELTA = Elementwise(
    name="scale_delta",
    inputs="T g, T features, raw T theta, int64 size, int64 scale_start, int64 rows, "
    "int64 n_features",
    outputs="T product, T delta",
    body="""
const ptrdiff_t row = i / n_features, network = row / rows;
const T from_above = g;
product = from_above * features;
delta = from_above * theta[network * size + scale_start + i - row * n_features];
""",
    numpy=_scale_delta,
    vectorizes=True,
).on_host(
    inputs="raw T g, raw T features, raw T theta, int64 size, int64 scale_start, int64 rows, "
    "int64 n_features",
    outputs="raw T product, raw T delta",
    body=_DELTA_BY_ROW,
)
