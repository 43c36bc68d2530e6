"""Parse numbers written as text: decimal commas, thousands separators, currencies, percent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Decimal = Literal[".", ","]

# Above this, float64 does not hold every integer; such numbers are ids, not quantities.
LARGEST_INTEGER = 2**53

# Thin, no-break and plain spaces, and the apostrophe of Swiss numbers.
_SPACES = " \u00a0\u2009\u202f'\u2019"
_UNITS = "$\u20ac\u00a3\u00a5%"  # allowed before or after a number, and ignored


def _pattern(decimal: str, separator: str) -> re.Pattern[str]:
    # A separated number starts with 1 to 9, so "0,288" can only be a decimal comma.
    whole = rf"(?:[1-9][0-9]{{0,2}}(?:([{separator}{_SPACES}])[0-9]{{3}})(?:\1[0-9]{{3}})*|[0-9]*)"
    start = rf"(?:[+\u2212-]?[{_UNITS}]?|[{_UNITS}][+\u2212-])[{_SPACES}]?(?=\{decimal}?[0-9])"
    end = rf"(?:\{decimal}[0-9]*)?(?:[eE][+-]?[0-9]+)?(?:[{_SPACES}]?[{_UNITS}])?"
    return re.compile(start + whole + end)


_PATTERNS: dict[str, re.Pattern[str]] = {".": _pattern(".", ","), ",": _pattern(",", ".")}
_TO_FLOAT = {
    ".": str.maketrans({"\u2212": "-"} | dict.fromkeys("," + _SPACES + _UNITS)),
    ",": str.maketrans({"\u2212": "-", ",": "."} | dict.fromkeys("." + _SPACES + _UNITS)),
}
_LEADING_ZERO = re.compile(r"[+\u2212-]?0[0-9]")


def parse_numbers(
    values: Sequence[str] | Array, decimal: str | None = None, *, codes: bool = False
) -> Array | None:
    """Return distinct texts as numbers, (k,) float64; None if one of them is not a number.

    Texts with a leading zero ("01"), integers beyond 2**53 and numbers beyond float64 do not count
    as numbers.

    decimal: "." or ","; None: detected from all values by `find_decimal`. codes: whether the first
    two kinds count nevertheless, rounded to float64.
    """
    found = find_decimal(values) if decimal is None else decimal
    if found is None:
        return None
    numbers = read_numbers(values, found, strict=not codes)
    return None if np.isnan(numbers).any() else numbers


def find_decimal(values: Sequence[str] | Array, preferred: str | None = None) -> Decimal | None:
    """Return the decimal sign with which all values are numbers; None if there is none.

    preferred : the sign to return if both fit, as for "2,288"; None: ".".
    """
    order: tuple[Decimal, ...] = (",", ".") if preferred == "," else (".", ",")
    for decimal in order:
        if all(map(_PATTERNS[decimal].fullmatch, values)):
            return decimal
    return None


def decimals_of(value: str) -> str:
    """Return the decimal signs with which a text is a number: "", ".", "," or both, ".,"."""
    return "".join(decimal for decimal, pattern in _PATTERNS.items() if pattern.fullmatch(value))


def doubt(value: str, decimal: str) -> str:
    """Return a remark on a number with an ambiguous comma: both readings, and the one used."""
    other = "," if decimal == "." else "."
    as_read, instead = (written(read_numbers([value], mark))[0] for mark in (decimal, other))
    return (
        f"{value!r} could be {as_read} or {instead}: read as {as_read}; "
        f"--decimal {other} reads {instead}"
    )


def is_ambiguous(values: Iterable[str]) -> str | None:
    """Return a value whose comma may be a decimal sign or a thousands separator.

    None if no value has a comma, or if some value shows the decimal sign.
    """
    example = None
    for value in values:
        if example is None and "," in value:
            example = value
        if not (_PATTERNS["."].fullmatch(value) and _PATTERNS[","].fullmatch(value)):
            return None
    return example


def read_numbers(values: Sequence[str] | Array, decimal: str, *, strict: bool = False) -> Array:
    """Return texts as numbers, (k,) float64; NaN for a text that is not a number.

    strict: whether texts with leading zeros, and integers beyond 2**53, become NaN too.
    """
    match, table = _PATTERNS[decimal].fullmatch, _TO_FLOAT[decimal]
    numbers = np.full(len(values), np.nan)
    for place, value in enumerate(values):
        if match(value):
            number = float(value.translate(table))
            if not (strict and _is_code(value, number)):
                numbers[place] = number
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def written(values: Array) -> list[str]:
    """Return numbers as text; whole ones without a decimal point."""
    if values.dtype.kind == "b":
        return [str(bool(value)) for value in values]
    if values.dtype.kind in "iu":
        return [str(value) for value in values.tolist()]
    # 2**53 is beyond float16.
    wide = values.astype(np.float64)
    whole = np.equal(np.trunc(wide), wide) & (np.abs(wide) < LARGEST_INTEGER)
    return [
        str(int(value)) if is_whole else str(value)
        for value, is_whole in zip(values, whole, strict=True)
    ]


def _is_code(value: str, number: float) -> bool:
    """Return whether a text is a code, not a quantity: "01", or an integer beyond 2**53."""
    if _LEADING_ZERO.match(value):
        return True
    digits = value.lstrip("+-\u2212")
    # 2**53 + 1 rounds to 2**53, so the text has to be compared, not the number.
    large = abs(number) >= LARGEST_INTEGER and digits.isdecimal()
    return large and (len(digits) > 16 or int(digits) > LARGEST_INTEGER)
