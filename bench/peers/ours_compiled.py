"""gpubp with its elementwise steps compiled for the processor."""

from __future__ import annotations

from functools import partial

from gpubp.backend import BackendUnavailableError, get_backend
from gpubp.bench.peers import ours

name = "gpubp_compiled"


def available(device: str) -> str | None:
    """Return why steps cannot be compiled for ``device``; None if they can."""
    if device != "cpu":
        return "steps are compiled for the CPU alone"
    try:
        get_backend("cpu", compiled=True)
    except BackendUnavailableError as error:
        return str(error)
    return None


prepare = partial(ours.prepare, compiled=True)
learner = partial(ours.learner, compiled=True)
