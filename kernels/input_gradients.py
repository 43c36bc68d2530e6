"""The gradients of the input stage's parameters: sums over the rows of a batch.

See `input_stage` for the parameters. ``delta`` (…, rows, D) is dC/d features.
"""

from __future__ import annotations

from typing import Any

from .elementwise import RUN, Elementwise
from .input_stage import (
    ENTRIES,
    FEATURES,
    FIND_LEVEL,
    FREQUENCIES,
    HALF_TURNS,
    LEVEL_WIDTH,
    LEVELS_PER_RUN,
    MIXING,
    OFFSETS,
    PHASES,
    TWO_PI,
    angles,
    levels_of,
    of_columns,
    parts,
)


def _write(np: Any, gradient: Any, values: Any, accumulate: bool) -> None:
    if accumulate:
        np.add(gradient, values, out=gradient)
    else:
        np.copyto(gradient, values)


def _periodic_gradient(
    np: Any,
    place: Any,
    X: Any,
    theta: Any,
    delta: Any,
    periodic_columns: Any,
    size: int,
    from_entry: int,
    rows: int,
    width: int,
    n_features: int,
    from_feature: int,
    elements: int,
    shared: bool,
    accumulate: bool,
    gradient: Any,
) -> None:
    p = elements // FREQUENCIES
    w, b, V, _ = of_columns(parts(theta, from_entry, p, ENTRIES))
    dw, db, dV, dv = of_columns(parts(gradient, from_entry, p, ENTRIES))
    g = parts(delta, from_feature, p, FEATURES)
    x, u = angles(np, X, periodic_columns, w, b)
    c, gu = np.empty_like(u), np.empty_like(u)
    np.cos(u, out=c)
    by_column = g.swapaxes(-2, -3)
    sums = np.empty(V.shape, V.dtype)
    np.matmul(by_column.swapaxes(-1, -2), c.swapaxes(-2, -3), out=sums)
    _write(np, dV, sums, accumulate)
    np.matmul(by_column, V, out=gu.swapaxes(-2, -3))
    np.sin(u, out=u)
    np.multiply(gu, u, out=gu)
    np.negative(gu, out=gu)
    for values, part in ((g, dv), (gu, db)):
        sums = np.empty(part.shape, part.dtype)
        np.sum(values, axis=-3, out=sums)
        _write(np, part, sums, accumulate)
    np.multiply(gu, x, out=gu)
    sums = np.empty(dw.shape, dw.dtype)
    np.sum(gu, axis=-3, out=sums)
    np.multiply(sums, TWO_PI, out=sums)
    _write(np, dw, sums, accumulate)


def _tables_gradient(
    np: Any,
    table: Any,
    X: Any,
    delta: Any,
    table_columns: Any,
    first_levels: Any,
    last_levels: Any,
    size: int,
    from_entry: int,
    elements: int,
    rows: int,
    width: int,
    n_features: int,
    shared: bool,
    accumulate: bool,
    gradient: Any,
) -> None:
    levels = elements // LEVEL_WIDTH
    now = levels_of(np, X, table_columns, first_levels, last_levels)
    dE = parts(gradient, from_entry, levels, LEVEL_WIDTH)
    g, numbers = parts(delta, 0, len(table_columns), LEVEL_WIDTH), np.arange(levels, dtype=X.dtype)
    one_hot, sums = np.empty((*now.shape[:-1], levels), X.dtype), np.empty(dE.shape, X.dtype)
    for k in range(len(table_columns)):
        np.equal(now[..., k : k + 1], numbers, out=one_hot)
        np.matmul(one_hot.swapaxes(-1, -2), g[..., k, :], out=sums)
        _write(np, dE, sums, accumulate or k > 0)


# ---- steps -----------------------------------------------------------------------------------

# With c = cos(u) and g = dC/de of a row: gu = -(g V) sin(u), dV = sum g^T c, dv = sum g,
# db = sum gu and dw = 2 pi sum x gu.
_ROW = f"""
const ptrdiff_t at = network * rows + row;
const T x = X[(shared ? row : at) * width + periodic_columns[k]];
T g[{FEATURES + 1}];
for (int m = 0; m < {FEATURES}; ++m)
    g[m] = delta[at * n_features + from_feature + k * {FEATURES} + m];
"""
_BY_COLUMN = f"""
const ptrdiff_t network = first / elements, k = place_[first];
const ptrdiff_t own = network * size + from_entry + k * {ENTRIES};
T dw[{FREQUENCIES}] = {{}}, db[{FREQUENCIES}] = {{}}, dV[{FEATURES}][{FREQUENCIES}] = {{}};
T dv[{FEATURES}] = {{}};
for (ptrdiff_t row = 0; row < rows; ++row) {{
    {_ROW}
    for (int j = 0; j < {FREQUENCIES}; ++j) {{
        const T w = theta[own + j], b = theta[own + {PHASES} + j];
        {HALF_TURNS}
        const T c = cospi(half_turns);
        T gu = T(0);
        for (int m = 0; m < {FEATURES}; ++m) {{
            gu -= g[m] * theta[own + {MIXING} + m * {FREQUENCIES} + j];
            dV[m][j] += g[m] * c;
        }}
        gu *= sinpi(half_turns);
        db[j] += gu;
        dw[j] += x * gu;
    }}
    for (int m = 0; m < {FEATURES}; ++m) dv[m] += g[m];
}}
T* to = gradient + own;
for (int j = 0; j < {ENTRIES}; ++j) to[j] = accumulate ? to[j] : T(0);
for (int j = 0; j < {FREQUENCIES}; ++j) {{
    to[j] += T({TWO_PI!r}) * dw[j];
    to[{PHASES} + j] += db[j];
    for (int m = 0; m < {FEATURES}; ++m) to[{MIXING} + m * {FREQUENCIES} + j] += dV[m][j];
}}
for (int m = 0; m < {FEATURES}; ++m) to[{OFFSETS} + m] += dv[m];
"""

# Adds the gradient of the p periodic columns to gradient, or overwrites it. place (…, p,
# FREQUENCIES) is the number of each column, ``elements`` of each network. The features begin at
# from_feature.
PERIODIC_GRADIENT = Elementwise(
    name="periodic_gradient",
    inputs="int32 place, raw T X, raw T theta, raw T delta, raw int32 periodic_columns, "
    "int64 size, int64 from_entry, int64 rows, int64 width, int64 n_features, "
    "int64 from_feature, int64 elements, bool shared, bool accumulate",
    outputs="raw T gradient",
    body=f"""
const ptrdiff_t network = i / elements, k = place, j = i % {FREQUENCIES};
const ptrdiff_t own = network * size + from_entry + k * {ENTRIES};
const T w = theta[own + j], b = theta[own + {PHASES} + j];
T dw = T(0), db = T(0), dv = T(0);
T V[{FEATURES + 1}], dV[{FEATURES + 1}] = {{}};
for (int m = 0; m < {FEATURES}; ++m) V[m] = theta[own + {MIXING} + m * {FREQUENCIES} + j];
for (ptrdiff_t row = 0; row < rows; ++row) {{
    {_ROW}
    {HALF_TURNS}
    const T c = cospi(half_turns);
    T gu = T(0);
    for (int m = 0; m < {FEATURES}; ++m) {{
        gu -= g[m] * V[m];
        dV[m] += g[m] * c;
        if (j == m) dv += g[m];
    }}
    gu *= sinpi(half_turns);
    db += gu;
    dw += x * gu;
}}
dw *= T({TWO_PI!r});
gradient[own + j] = accumulate ? gradient[own + j] + dw : dw;
gradient[own + {PHASES} + j] = accumulate ? gradient[own + {PHASES} + j] + db : db;
for (int m = 0; m < {FEATURES}; ++m) {{
    const ptrdiff_t mixed = own + {MIXING} + m * {FREQUENCIES} + j;
    gradient[mixed] = accumulate ? gradient[mixed] + dV[m] : dV[m];
}}
const ptrdiff_t offset = own + {OFFSETS} + j;
if (j < {FEATURES}) gradient[offset] = accumulate ? gradient[offset] + dv : dv;
""",
    numpy=_periodic_gradient,
    vectorizes=True,
    sums_rows=("from_entry", ENTRIES),
).on_host(body="(void)i", prologue=_BY_COLUMN)

_LEVEL_OF_ROW = f"""
const ptrdiff_t at = network * rows + row, from = (shared ? row : at) * width;
{FIND_LEVEL}
"""
_BY_LEVEL = f"""
const ptrdiff_t network = first / elements;
const ptrdiff_t from_level = (first - network * elements) / {LEVEL_WIDTH};
T dE[{RUN}] = {{}};
for (int half = 0; half < {LEVELS_PER_RUN}; ++half) {{
    const ptrdiff_t k = table_[first + half * {LEVEL_WIDTH}];
    for (ptrdiff_t row = 0; row < rows; ++row) {{
        {_LEVEL_OF_ROW}
        if (level != from_level + half) continue;
        const T* g = delta + at * n_features + k * {LEVEL_WIDTH};
        for (int n = 0; n < {LEVEL_WIDTH}; ++n) dE[half * {LEVEL_WIDTH} + n] += g[n];
    }}
}}
T* to = gradient + network * size + from_entry + from_level * {LEVEL_WIDTH};
for (int n = 0; n < {RUN}; ++n) to[n] = accumulate ? to[n] + dE[n] : dE[n];
"""

# Adds the gradient of the tables to gradient, or overwrites it: each level sums over its rows in
# their order, so that the result is the same in every run. table (…, levels, LEVEL_WIDTH) is the
# number of the level's table, ``elements`` of each network.
TABLES_GRADIENT = Elementwise(
    name="tables_gradient",
    inputs="int32 table, raw T X, raw T delta, raw int32 table_columns, raw T first_levels, "
    "raw T last_levels, int64 size, int64 from_entry, int64 elements, int64 rows, "
    "int64 width, int64 n_features, bool shared, bool accumulate",
    outputs="raw T gradient",
    body=f"""
const ptrdiff_t network = i / elements, k = table;
const ptrdiff_t entry = i - network * elements, own = entry / {LEVEL_WIDTH};
T sum = T(0);
for (ptrdiff_t row = 0; row < rows; ++row) {{
    {_LEVEL_OF_ROW}
    const ptrdiff_t unit = entry + (k - own) * {LEVEL_WIDTH};
    if (level == own) sum += delta[at * n_features + unit];
}}
const ptrdiff_t to = network * size + from_entry + entry;
gradient[to] = accumulate ? gradient[to] + sum : sum;
""",
    numpy=_tables_gradient,
    vectorizes=True,
    sums_rows=("from_entry", RUN),
).on_host(body="(void)i", prologue=_BY_LEVEL)
