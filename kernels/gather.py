"""Reading by the step counter: the rows of a batch, and what is planned for each of them."""

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


# For a host: without a division for each element.
_BY_ROWS = """
const ptrdiff_t from = order[step[0] * batch_size + first + i];
for (ptrdiff_t c = 0; c < width; ++c) rows[i * width + c] = source[from * width + c];
for (ptrdiff_t c = 0; c < n_targets; ++c)
    row_targets[i * n_targets + c] = targets[from * n_targets + c];
"""

# rows (b, width) = source[order[step, first : first + b]] and row_targets (b, n_targets) =
# targets[the same], where order (n_steps, batch_size) is an epoch's plan. b < batch_size in the
# last batch of an epoch, and where a batch is taken in parts.
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


# row (b,) = series[step, first : first + b], where series (n_steps, width) is planned.
TAKE = Elementwise(
    name="take",
    inputs="raw T series, raw int64 step, int64 first, int64 width",
    outputs="T row",
    body="row = series[step[0] * width + first + i]",
    numpy=_take,
)
