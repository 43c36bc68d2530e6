"""The labels of a column as places among the classes of a model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gpubp.tables.column import Array, NumberColumn, TextColumn
from gpubp.tables.column_types.numbers import LARGEST_INTEGER, read_numbers
from gpubp.tables.table import DataError, Table

_BOOLEANS = ("false", "true")


def class_indices(table: Table, name: str, classes: Array) -> tuple[Array, list[str]]:
    """Return the places (n,) of a column's labels in ``classes``, and the labels not in there.

    The places of these are from len(classes) on. "1" and 1 are one label, and so are 1 and 1.0
    where either is a number and no other class is equal; and so are True and "true". No cell may
    be a gap.

    Raises DataError where no label is there at all.
    """
    column, labels = table.column(name), classes.tolist()
    if isinstance(column, TextColumn):
        distinct, places = column.values, column.codes
    else:
        distinct, places = np.unique(column.values, return_inverse=True)
    texts = [_text(value) for value in distinct.tolist()]
    by_number = classes.dtype.kind not in "UO" or isinstance(column, NumberColumn)
    known = _known(texts, [_text(label) for label in labels], by_number)
    unknown = [j for j in np.unique(places).tolist() if known[j] < 0]
    if unknown and len(unknown) == len(np.unique(places)):
        raise DataError(
            f"{table.source}: column {name!r} has labels such as {column.cell(0)!r}, but the "
            f"model's are such as {labels[0]!r}; name the column with the labels of training"
        )
    for k, j in enumerate(unknown, start=len(labels)):
        known[j] = k
    return np.array(known, np.intp)[places], [texts[j] for j in unknown]


def _known(texts: Iterable[str], labels: list[str], by_number: bool) -> list[int]:
    """Return the place of each text in ``labels``; -1 for none."""
    by_text = {label: k for k, label in enumerate(labels)}
    by_value: dict[float, list[int]] = {}
    for k, label in enumerate(labels):
        if (value := _value(label, by_number)) is not None:
            by_value.setdefault(value, []).append(k)
    found = []
    for text in texts:
        value = _value(text, by_number)
        equal = [] if value is None else by_value.get(value, [])
        found.append(by_text.get(text, equal[0] if len(equal) == 1 else -1))
    return found


def _value(text: str, by_number: bool) -> float | None:
    """Return the number that a label is, if float64 holds it; 0 and 1 for "false" and "true"."""
    if text.casefold() in _BOOLEANS:
        return float(_BOOLEANS.index(text.casefold()))
    number = float(read_numbers([text], ".", strict=True)[0])
    return number if by_number and abs(number) < LARGEST_INTEGER else None


def _text(label: object) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
