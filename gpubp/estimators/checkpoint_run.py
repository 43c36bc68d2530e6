"""`CheckpointRun`: the checkpoints of one fit, from the file found at its start to its end."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Any

from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.estimators.callbacks import Note
from gpubp.estimators.checkpoint import Checkpoint, CheckpointError
from gpubp.estimators.checkpoint_file import (
    SavedTraining,
    is_checkpoint,
    is_damaged,
    read_checkpoint,
    write_checkpoint,
)
from gpubp.estimators.held_signals import HeldSignals
from gpubp.estimators.training_identity import differences
from gpubp.storage.atomic_file import check_writable, is_stream
from gpubp.storage.model_file import ModelFileError, read_model
from gpubp.training.fit import Fitted, Start
from gpubp.training.ranks import current_ranks
from gpubp.training.training_state import TrainingState

COST = 0.01  # part of the time that checkpoints may take
_DAMAGED = "is damaged, or of a newer gpubp"


class CheckpointRun:
    """Goes on from a checkpoint, saves others, and removes the file at the end.

    A checkpoint that is found is compared twice: by the settings of the caller at once, and by the
    identity of the training when `begin` gets it. `begin` then returns its networks. During the
    training, `pause` saves, and `finished` keeps trained networks. At the end, `end` removes the
    file.

    settings : what is compared first, if ``checkpoint`` has no settings of its own.

    Raises CheckpointError if the caller asked for a checkpoint that is not of this training, or if
    checkpoints cannot be saved at the path, or would replace another file.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        note: Note | None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._given, self._note = checkpoint, note or partial(warnings.warn, stacklevel=2)
        self._warn = checkpoint.warn or self._note
        self._settings = checkpoint.settings or dict(settings or {})
        self._saved = SavedTraining({}, self._settings)
        self._identity: Callable[[], dict[str, Any]] = dict
        self._last, self._taken, self._epochs, self._failed = perf_counter(), 0.0, 0, False
        self._signals = HeldSignals()
        is_whole = check_path(checkpoint)
        if not is_whole and not (checkpoint.must_resume and _same(checkpoint)):
            self._begin_anew(f"the checkpoint {checkpoint.path} {_DAMAGED}")
        self._found = self._find()
        self.notes: dict[str, Any] = {} if self._found is None else self._found.notes
        # Called if the checkpoint that `notes` are of turns out to be of other rows.
        self.on_other_rows: Callable[[], None] | None = None

    def _find(self) -> SavedTraining | None:
        """Return the checkpoint to go on from, without its networks; None to begin anew."""
        source = self._given.source
        if source is None or not (source.exists() or self._given.must_resume):
            return None
        found = self._read()
        return found and self._unless_different(found, found.settings, self._settings)

    def _read(self, network: Network | None = None) -> SavedTraining | None:
        """Return the checkpoint to go on from, with its networks if their shape is given.

        Return None to begin anew if there is none, or no longer, since another fit has its path.
        """
        source = self._given.source
        assert source is not None
        try:
            return read_checkpoint(source, network)
        except ModelFileError as error:
            if not self._given.must_resume:
                self._begin_anew(str(error))
                return None
            reason = str(error)
            if source.is_file() and _kind(source) == "damaged":
                reason = f"the checkpoint {source} {_DAMAGED}; give another one, or begin anew"
            raise CheckpointError(reason) from error

    def _unless_different(
        self, found: SavedTraining, before: dict[str, Any], now: dict[str, Any]
    ) -> SavedTraining | None:
        """Return ``found`` if ``before`` equals ``now``; else raise, or note it and return None."""
        if different := differences(before, now):
            reason = f"{self._given.source} is of another training: {different}"
            if self._given.must_resume:
                raise CheckpointError(f"{reason}; give the same data and parameters, or begin anew")
            self._begin_anew(reason)
            return None
        return found

    def _begin_anew(self, reason: str) -> None:
        """Keep the file at the path under another name, and say why the training begins anew."""
        path = self._given.path
        aside = _free_name(path)
        try:
            path.replace(aside)
        except OSError:  # it is gone, or is replaced by the first checkpoint
            kept = ""
        else:
            kept = f", and that checkpoint is kept as {aside}"
        self._warn(f"{reason}; the training begins anew{kept}")

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
        found = self._found
        if found is not None:
            found = self._read(network)
            if found is not None:
                found = self._unless_different(found, found.identity, computed_once())
            if found is None and self.on_other_rows is not None:
                self.on_other_rows()
        if found is None:
            self._saved = replace(self._saved, where=where)
            return [*starts]
        self._saved = replace(found, where=where)
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
        self._signals.deliver()

    def _is_due(self) -> bool:
        if self._signals.waiting is not None:
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
                self._warn(f"no checkpoint was saved: {error}{kept}; the training goes on")
            self._failed = True
        else:
            self._failed = False
            if self._given.on_save is not None:
                self._given.on_save(path)
        self._last, self._epochs = perf_counter(), 0
        self._taken = self._last - began

    @contextmanager
    def signals_at_pauses(self) -> Iterator[None]:
        """Return a context in which a signal that interrupts takes effect at the next pause."""
        try:
            with self._signals.held():
                yield
        finally:
            self._given.late_signal, self._signals.waiting = self._signals.waiting, None

    def end(self) -> None:
        """Remove the file after a training that was not interrupted."""
        if not self._given.by_command:
            self._given.remove()


def check_path(checkpoint: Checkpoint) -> bool:
    """Return whether the path is free or has a checkpoint; False for one that is damaged.

    Raises CheckpointError if no checkpoint can be saved there, or if it would replace another file.
    """
    path = checkpoint.path
    try:
        check_writable(path)
        if is_stream(path):
            raise OSError(f"{str(path)!r} is not a file, so it can hold no checkpoint")
        if not path.exists():
            return True
        kind = _kind(path)
    except OSError as error:
        raise CheckpointError(str(error)) from None
    if kind in ("checkpoint", "damaged"):
        return kind == "checkpoint"
    advice = "move it or choose another --out" if checkpoint.by_command else "give another path"
    what = "a model" if kind == "model" else "not a checkpoint of gpubp"
    raise CheckpointError(f"{path} is {what}; a checkpoint would replace it, so {advice}")


def _kind(path: Path) -> str:
    """Return whether a file is a "checkpoint", a "model", one of both "damaged", or "other"."""
    try:
        return "checkpoint" if is_checkpoint(read_model(path).header) else "model"
    except ModelFileError as error:
        try:
            return "damaged" if is_damaged(path) else "other"
        except OSError:
            raise OSError(str(error)) from None


def _same(checkpoint: Checkpoint) -> bool:
    """Return whether the file to go on from is that at the path."""
    source = checkpoint.source
    return source is not None and source.exists() and source.samefile(checkpoint.path)


def _free_name(path: Path) -> Path:
    """Return a name next to ``path`` that no file has: it with ".old", ".old2" and so on."""
    for number in count(1):
        free = path.with_name(f"{path.name}.old{number if number > 1 else ''}")
        if not os.path.lexists(free):
            break
    return free


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
