"""The logger "gpubp", to which Python code writes notes, such as where it trains and why."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("gpubp")
# A library leaves it to the application where notes go; without a handler there is no output.
LOGGER.addHandler(logging.NullHandler())
