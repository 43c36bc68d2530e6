"""`CheckpointRun`: the checkpoints of one fit, from the file found at its start to its end."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from numbers import Integral
from time import perf_counter
from types import FrameType
from typing import Any

from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.estimators.callbacks import Note
from gpubp.estimators.checkpoint import Checkpoint, CheckpointError
from gpubp.estimators.checkpoint_file import SavedTraining, read_checkpoint, write_checkpoint
from gpubp.estimators.training_identity import differences
from gpubp.storage.atomic_file import sweep
from gpubp.storage.model_file import ModelFileError
from gpubp.training.fit import Fitted, Start
from gpubp.training.ranks import SIGNALS, current_ranks
from gpubp.training.training_state import TrainingState

COST = 0.01  # part of the time that checkpoints may take


class CheckpointRun:
    """Goes on from a checkpoint, saves others, and removes the file at the end.

    Raises CheckpointError if the caller asked for a checkpoint that is not of this training.
    """

    def __init__(self, checkpoint: Checkpoint, note: Note | None) -> None:
        self._given, self._note = checkpoint, note or partial(warnings.warn, stacklevel=2)
        self._saved = SavedTraining({}, checkpoint.settings)
        self._identity: Callable[[], dict[str, Any]] = dict
        self._last, self._taken, self._epochs, self._failed = perf_counter(), 0.0, 0, False
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}
        sweep(checkpoint.path)
        self._found = self._find()
        self.notes: dict[str, Any] = {} if self._found is None else self._found.notes

    def _find(self) -> SavedTraining | None:
        """Return the checkpoint to go on from, without its networks; None to begin anew."""
        source = self._given.source
        if source is None or not (source.exists() or self._given.must_resume):
            return None
        try:
            found = read_checkpoint(source)
        except ModelFileError as error:
            if self._given.must_resume:
                raise CheckpointError(str(error)) from error
            self._note(f"{error}; the training begins anew")
            return None
        return self._unless_different(found, found.settings, self._given.settings)

    def _unless_different(
        self, found: SavedTraining, before: dict[str, Any], now: dict[str, Any]
    ) -> SavedTraining | None:
        if different := differences(before, now):
            self._refuse(f"{self._given.source} is of another training: {different}")
            return None
        return found

    def _refuse(self, reason: str) -> None:
        """Raise CheckpointError, or note that the training begins anew."""
        if self._given.must_resume:
            raise CheckpointError(f"{reason}; give the same data and parameters, or begin anew")
        self._note(f"{reason}; the training begins anew")

    def begin(
        self,
        identity: Callable[[], dict[str, Any]],
        backend: Backend,
        network: Network,
        starts: Sequence[Start],
    ) -> list[Start]:
        """Return the starts of the networks, which go on where the checkpoint ends.

        identity : returns the identity of the training.
        """
        ranks = current_ranks()
        size = 1 if ranks is None else ranks.communicator.size
        where = {"device": backend.name, "engine": backend.engine, "processes": size}
        known: list[dict[str, Any]] = []

        def computed_once() -> dict[str, Any]:
            if not known:
                known.append(identity())
            return known[0]

        self._identity = computed_once
        found, source = self._found, self._given.source
        if found is not None:
            found = self._unless_different(found, found.identity, computed_once())
        if found is None or source is None:
            self._saved = replace(self._saved, where=where)
            return [*starts]
        self._saved = replace(read_checkpoint(source, network), where=where)
        self._tell_resumed(found.where, where)
        states = self._saved.states
        return [start.resume(states[k]) if k in states else start for k, start in enumerate(starts)]

    def _tell_resumed(self, before: dict[str, Any], where: dict[str, Any]) -> None:
        epochs = [of.history.epochs for of in self._saved.states.values()]
        at = f"epoch {min(epochs) + 1}" if epochs else "the next member"
        self._note(f"the training goes on in {at}, from the checkpoint {self._given.source}")
        if before != where:
            self._note(f"{differences(before, where)}; the result is the same up to rounding")

    @property
    def ended(self) -> dict[int, Fitted]:
        """The trained networks, by their index."""
        return self._saved.ended

    def finished(self, k: int, fitted: Fitted) -> None:
        """Keep a trained network for the next checkpoints."""
        if fitted.stopped_by != "interrupt":
            self._saved.states.pop(k, None)
            self._saved.ended[k] = fitted

    def pause(self, step: int, states: Callable[[], dict[int, TrainingState]]) -> None:
        """Save the states if a checkpoint is due or a signal came; then the signal takes effect."""
        self._epochs += step == 0
        if self._is_due():
            self._save(states())
        if (number := self._signal) is not None:
            self._signal = None
            self._deliver(number)

    def _is_due(self) -> bool:
        if self._signal is not None:
            return True
        seconds, epochs = self._given.interval
        waited = perf_counter() - self._last
        if waited * COST < self._taken:
            return False
        return waited >= seconds if seconds is not None else self._epochs >= (epochs or 1)

    def _save(self, states: dict[int, TrainingState]) -> None:
        began, path = perf_counter(), self._given.path
        # Members that wait for their turn keep their states.
        self._saved.states |= states
        self._saved.identity, self._saved.notes = self._identity(), self.notes
        try:
            write_checkpoint(path, self._saved)
        except ModelFileError as error:
            if not self._failed:
                kept = "; the last checkpoint stays" if path.exists() else ""
                self._note(f"no checkpoint was saved: {error}{kept}; the training goes on")
            self._failed = True
        else:
            self._failed = False
            if self._given.on_save is not None:
                self._given.on_save(path)
        self._last, self._epochs = perf_counter(), 0
        self._taken = self._last - began

    @contextmanager
    def signals_at_pauses(self) -> Iterator[None]:
        """Return a context in which a signal that interrupts takes effect at the next pause.

        A second one takes effect at once.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return
        # Signals that are ignored, or have a handler that Python does not know, keep it.
        self._handlers = {
            number: found
            for number in SIGNALS
            if (found := signal.getsignal(number)) not in (None, signal.SIG_IGN)
        }
        for number in self._handlers:
            signal.signal(number, self._note_signal)
        try:
            yield
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            self._deliver(number)
        self._signal = number

    def _deliver(self, number: int) -> None:
        """Let a signal take its effect."""
        signal.signal(number, self._handlers[number])
        signal.raise_signal(number)
        signal.signal(number, self._note_signal)  # it did not end the training

    def end(self) -> None:
        """Remove the file after a training that was not interrupted."""
        if not self._given.keeps_file:
            with suppress(OSError):
                self._given.path.unlink(missing_ok=True)


def check_repeatable(estimator: Any) -> None:
    """Raise ValueError if a fit of ``estimator`` cannot be repeated, or has no state to save."""
    seed = estimator.random_state
    if not isinstance(seed, Integral):
        raise ValueError(
            f"a checkpoint needs a training that can be repeated, got random_state={seed!r}; set "
            "it to a number, such as 0"
        )
    if estimator.solver == "lbfgs":
        raise ValueError(
            "a checkpoint needs a training in steps, got solver='lbfgs'; leave out checkpoint, or "
            "use another solver"
        )
