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
    target_order: Any,
    step: Any,
    n_networks: int,
    batch_size: int,
    first: int,
    n_rows: int,
    width: int,
    n_targets: int,
    rows: Any,
    row_targets: Any,
) -> None:
    now = planned(np, order, step)[..., first : first + n_rows]
    np.take(source, now, axis=0, out=rows, mode="clip")
    if target_order is not order:
        now = planned(np, target_order, step)[..., first : first + n_rows]
    np.take(targets, now, axis=0, out=row_targets, mode="clip")


_PLACE = """
const ptrdiff_t network = n_networks == 1 ? 0 : row / n_rows;
const ptrdiff_t base = (step[0] * n_networks + network) * batch_size + first;
const ptrdiff_t place = base + row - network * n_rows;
const ptrdiff_t from = order[place], target = target_order[place];
"""
# For the CPU: a loop over rows, which needs no division per element.
_BY_ROWS = f"""
const ptrdiff_t row = i;
{_PLACE}
for (ptrdiff_t c = 0; c < width; ++c) rows[row * width + c] = source[from * width + c];
for (ptrdiff_t c = 0; c < n_targets; ++c)
    row_targets[row * n_targets + c] = targets[target * n_targets + c];
"""

# rows (…, b, width) = source[index] and row_targets (…, b, n_targets) = targets[index], with index
# = order[step, …, first : first + b], where order (n_steps, …, batch_size) is the plan of an epoch.
# b = n_rows is below batch_size in the last batch of an epoch, and if a batch is computed in parts.
# target_order : the same for the targets; it is ``order`` itself unless networks with the same
# source have targets of their own.
GATHER = Elementwise(
    name="gather",
    inputs="raw T source, raw U targets, raw int64 order, raw int64 target_order, raw int64 step, "
    "int64 n_networks, int64 batch_size, int64 first, int64 n_rows, int64 width, int64 n_targets",
    outputs="T rows, raw U row_targets",
    body=f"""
const ptrdiff_t row = i / width, column = i - row * width;
{_PLACE}
rows = source[from * width + column];
for (ptrdiff_t c = column; c < n_targets; c += width)
    row_targets[row * n_targets + c] = targets[target * n_targets + c];
""",
    numpy=_gather,
    vectorizes=True,
).on_host(outputs="raw T rows, raw U row_targets", body=_BY_ROWS)


def _take(
    np: Any,
    series: Any,
    step: Any,
    n_networks: int,
    first: int,
    n_rows: int,
    width: int,
    row: Any,
) -> None:
    np.copyto(row, planned(np, series, step)[..., first : first + n_rows])


# row (…, b) = series[step, …, first : first + b]; series (n_steps, …, width) is the plan of an
# epoch, and b = n_rows.
TAKE = Elementwise(
    name="take",
    inputs="raw T series, raw int64 step, int64 n_networks, int64 first, int64 n_rows, int64 width",
    outputs="T row",
    body="""
const ptrdiff_t network = n_networks == 1 ? 0 : i / n_rows;
row = series[(step[0] * n_networks + network) * width + first + i - network * n_rows];
""",
    numpy=_take,
)
