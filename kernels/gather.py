"""Reading and writing by the step counter: rows of the data, and what a step leaves behind."""

from __future__ import annotations

from typing import Any

from .elementwise import Elementwise


def _gather(
    np: Any, source: Any, order: Any, step: Any, batch_size: int, width: int, rows: Any
) -> None:
    index = np.empty((1, batch_size), order.dtype)
    np.take(order, step, axis=0, out=index, mode="clip")
    np.take(source, index[0, : len(rows)], axis=0, out=rows, mode="clip")


# rows (b, width) = source[order[step, :b]], where order (n_steps, batch_size) is an epoch's plan.
# b < batch_size takes the first b of the step's rows: the last batch of an epoch.
GATHER = Elementwise(
    name="gather",
    inputs="raw U source, raw int64 order, raw int64 step, int64 batch_size, int64 width",
    outputs="U rows",
    body="rows = source[order[step[0] * batch_size + i / width] * width + i % width]",
    numpy=_gather,
)


def _store(np: Any, value: Any, step: Any, series: Any) -> None:
    np.put(series, step, value)


# series[step] = value: one number a step, read by the host once an epoch.
STORE = Elementwise(
    name="store",
    inputs="T value, raw int64 step",
    outputs="raw T series",
    body="series[step[0]] = value",
    numpy=_store,
)
