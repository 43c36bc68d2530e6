"""Names of classes and columns, short enough for tables and drawings."""

from __future__ import annotations

from typing import Any

from gpubp.reports.html import number

MOST_LABEL = 28


def printable(text: Any) -> str:
    """Return text with control characters and line breaks shown as in Python."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def amount(value: float) -> str:
    """Return a number to three digits, and at least to whole numbers: 0.123, 12.3, 1,234."""
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}".replace("-", "−")
    return number(value, 3)


def label_text(label: Any, most: int = MOST_LABEL) -> str:
    """Return a label or name in at most ``most`` characters, "..." in the middle of a long one.

    It is `printable`.
    """
    text = printable(label)
    if len(text) <= most:
        return text or "(empty)"
    end = (most - 3) // 2
    return f"{text[: most - 3 - end].rstrip()}...{text[-end:].lstrip()}"
