"""Reads by the step counter: the rows of a batch, and the planned numbers of each row."""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise


def planned(np: Any, series: Any, step: Any) -> Any:
    """Return row ``step[0]`` of ``series`` (n_steps, …)."""
    row = np.empty((1, *series.shape[1:]), series.dtype)
    np.take(series, step, axis=0, out=row, mode="clip")
    return row[0, ...]


def _gather(
    np: Any,
    source: Any,
    targets: Any,
    order: Any,
    step: Any,
    batch_size: int,
    first: int,
    width: int,
    n_targets: int,
    rows: Any,
    row_targets: Any,
) -> None:
    now = planned(np, order, step)[first : first + len(rows)]
    np.take(source, now, axis=0, out=rows, mode="clip")
    np.take(targets, now, axis=0, out=row_targets, mode="clip")


# For the CPU: a loop over rows, which needs no division per element.
_BY_ROWS = """
const ptrdiff_t from = order[step[0] * batch_size + first + i];
for (ptrdiff_t c = 0; c < width; ++c) rows[i * width + c] = source[from * width + c];
for (ptrdiff_t c = 0; c < n_targets; ++c)
    row_targets[i * n_targets + c] = targets[from * n_targets + c];
"""

# rows (b, width) = source[index] and row_targets (b, n_targets) = targets[index], with index =
# order[step, first : first + b], where order (n_steps, batch_size) is the plan of an epoch. b is
# below batch_size in the last batch of an epoch, and if a batch is computed in parts.
GATHER = Elementwise(
    name="gather",
    inputs="raw T source, raw U targets, raw int64 order, raw int64 step, int64 batch_size, "
    "int64 first, int64 width, int64 n_targets",
    outputs="T rows, raw U row_targets",
    body="""
const ptrdiff_t row = i / width, column = i - row * width;
const ptrdiff_t from = order[step[0] * batch_size + first + row];
rows = source[from * width + column];
for (ptrdiff_t c = column; c < n_targets; c += width)
    row_targets[row * n_targets + c] = targets[from * n_targets + c];
""",
    numpy=_gather,
    vectorizes=True,
).on_host(outputs="raw T rows, raw U row_targets", body=_BY_ROWS)


def _take(np: Any, series: Any, step: Any, first: int, width: int, row: Any) -> None:
    np.copyto(row, planned(np, series, step)[first : first + len(row)])


# row (b,) = series[step, first : first + b]; series (n_steps, width) is the plan of an epoch.
TAKE = Elementwise(
    name="take",
    inputs="raw T series, raw int64 step, int64 first, int64 width",
    outputs="T row",
    body="row = series[step[0] * width + first + i]",
    numpy=_take,
)
