"""Notes of a training go to the logger "gpubp"; an application chooses where they appear."""

from __future__ import annotations

import logging

import pytest

import gpubp


def test_notes_go_to_the_log(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("GPUBP_DEVICE", "GPUBP_THREADS", "GPUBP_COMPILED"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.INFO, "gpubp")
    X, y = [[0.0, 1.0], [1.0, 0.0]] * 8, [0, 1] * 8
    gpubp.MLPClassifier((2,), max_iter=9, tol=9.0, n_iter_no_change=1, device="cpu").fit(X, y)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("gpubp", "INFO")
    small = "device='cpu'; not compiled, since an epoch is small"
    assert record.getMessage() == f"training on cpu in float64: {small}"
    assert capfd.readouterr() == ("", "")


def test_the_library_adds_no_output() -> None:
    handlers = logging.getLogger("gpubp").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
    assert logging.getLogger("gpubp").level == logging.NOTSET
