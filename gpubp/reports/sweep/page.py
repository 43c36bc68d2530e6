"""The page of a sweep."""

from gpubp.selection.trials import Sweep


def sweep_page(sweep: Sweep) -> str:
    """Return the whole page."""
    return ""
