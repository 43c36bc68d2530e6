"""Signals while the ranks wait for each other."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from gpubp.training.ranks import signals_later


def test_signals_take_effect_at_the_end() -> None:
    steps = []

    def interrupted() -> None:
        with signals_later():
            signal.raise_signal(signal.SIGINT)
            steps.append("goes on")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert steps == ["goes on"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows cannot hold signals back")
def test_a_signal_at_the_very_end_leaves_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGHUP)
    give = signal.signal

    def interrupted(number: Any, handler: Any) -> Any:
        replaced = give(number, handler)
        if handler is signal.default_int_handler:  # the own handler of Ctrl-C is back
            signal.raise_signal(number)
        return replaced

    monkeypatch.setattr(signal, "signal", interrupted)
    with pytest.raises(KeyboardInterrupt), signals_later():
        pass
    assert signal.getsignal(signal.SIGHUP) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_handler_that_python_does_not_know_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    known = signal.getsignal

    def found(number: Any) -> Any:
        return None if number == signal.SIGHUP else known(number)

    monkeypatch.setattr(signal, "getsignal", found)
    with signals_later():
        pass
