"""The logger "gpubp", for messages such as the device of training and the reason for it."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("gpubp")
# The application decides where messages go; without a handler of its own there is no output.
LOGGER.addHandler(logging.NullHandler())
