"""Convert the labels of a column to indices into the classes of a model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gpubp.tables.column import Array, NumberColumn, TextColumn
from gpubp.tables.column_types.numbers import LARGEST_INTEGER, read_numbers
from gpubp.tables.table import DataError, Table

_BOOLEANS = ("false", "true")


def class_indices(table: Table, name: str, classes: Array) -> tuple[Array, list[str]]:
    """Return the class indices (n,) of a column's labels, and the labels that are not classes.

    Labels that are not classes have indices from len(classes). The text "1" and the number 1 are
    the same label, and so are True and "true". If the column or the classes are numbers, labels of
    equal value, such as "1.0" and 1, are the same, unless several classes have that value. The
    column must not have missing values.

    Raises DataError if none of the labels is a class.
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
            f"{table.source}: column {name!r} has labels such as {column.cell(0)!r}, but the model "
            f"was trained on labels such as {labels[0]!r}; give the column with these labels"
        )
    for k, j in enumerate(unknown, start=len(labels)):
        known[j] = k
    return np.array(known, np.intp)[places], [texts[j] for j in unknown]


def _known(texts: Iterable[str], labels: list[str], by_number: bool) -> list[int]:
    """Return the index in ``labels`` of each text; -1 for an unknown text.

    by_number : whether labels that are equal as numbers, such as "1" and "1.0", are the same.
    """
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
    """Return a label as a number; 0 and 1 for "false" and "true"; None for other text.

    Numbers too large to be exact in float64 count as text.
    """
    if text.casefold() in _BOOLEANS:
        return float(_BOOLEANS.index(text.casefold()))
    number = float(read_numbers([text], ".", strict=True)[0])
    return number if by_number and abs(number) < LARGEST_INTEGER else None


def _text(label: object) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
