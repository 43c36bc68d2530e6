"""Fixtures that all tests share."""

from __future__ import annotations

import os

import pytest

from gpubp.backend import Backend, BackendUnavailableError, get_backend


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; one that this machine lacks skips, unless GPUBP_REQUIRE_GPU=1."""
    try:
        return get_backend(request.param)
    except BackendUnavailableError as error:
        if os.environ.get("GPUBP_REQUIRE_GPU") == "1":
            raise
        pytest.skip(str(error))
