"""The fit of a table estimator to a table larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpubp.estimators.callbacks import Note
from gpubp.estimators.checkpoint import Checkpoint
from gpubp.estimators.checkpointed_fit import run_of
from gpubp.estimators.fit_estimators import Fit, fit_estimator
from gpubp.models.encoded_rows import PreparedTableFit
from gpubp.models.large_table_rows import (
    EncodedTable,
    LargeTable,
    Roles,
    bytes_in_file,
    encode_rows,
)
from gpubp.models.scores import positive_class
from gpubp.models.table_presets import is_auto, number_columns
from gpubp.models.table_rows import Rows
from gpubp.models.table_training import OnStart, TableEstimator
from gpubp.models.time_limit import Limited
from gpubp.storage.scratch_file import scratch_file
from gpubp.tables.table import DataError, Table
from gpubp.tables.target import without_targets
from gpubp.training.history import History, OnEpoch

COUNTED = 1 << 20  # class indices that are counted at once, since counting converts them to int64


@dataclass(frozen=True, eq=False)
class LargeFit:
    """A finished fit.

    sample : rows of the sample that were trained on. test : the test rows, not encoded.
    n_rows : rows that were trained on or held out. left_out : rows without a target.
    """

    history: History
    sample: Table
    test: Table
    n_rows: int
    left_out: int


class LargeTableTraining:
    """Fits ``model`` to a table in three steps: plan, encode and train.

    test_size : the part of the rows kept for a test; at most what its share of memory allows.
    folder : for the temporary file with the encoded rows.
    """

    def __init__(
        self, model: TableEstimator, large: LargeTable, test_size: float, folder: Path, seed: int
    ) -> None:
        self.model, self.large, self.folder = model, large, folder
        n, shares, width = large.parquet.n_rows, large.shares, len(large.parquet.names)
        self._test = min(test_size, shares.test / (large.parquet.row_bytes * n))
        planned = self._network(width)
        held = self._held(planned, width)
        self.large, self.sample = _split_sample(large, Roles.drawn(n, self._test, held, seed))
        self.encoder = model._encoder()
        self.encoder.fit(without_targets(self.sample, large.targets), whole=self.large.sample)
        self.network = self._network(self.encoder.n_features_out_)
        # At most the rows planned before, since the encoder has learned from all others.
        found = self._held(self.network, self.encoder.n_features_out_)
        self.roles = Roles.drawn(n, self._test, min(held, found) or found, seed)

    def _network(self, n_columns: int) -> Any:
        """Return an unfitted network; the preset sets what is "auto".

        n_columns : of the encoded rows.
        """
        large = self.large
        n_rows = round((1 - self._test) * large.parquet.n_rows)
        periodic = number_columns(self.encoder) if hasattr(self, "encoder") else []
        network = self.model._network(large.targets_like, (n_rows, n_columns), False, periodic)
        # Soft targets of more than two classes would take a number per row and class.
        if large.n_outputs > 2 and is_auto(getattr(self.model, "label_smoothing", 0)):
            network.set_params(label_smoothing=0.0)
        members = {"n_members": None} if is_auto(self.model.n_members) else {}
        return network.set_params(row_order="hash", **members)

    def _held(self, network: Any, n_columns: int) -> float:
        """Return the part of the rows to hold out: at most what its share of memory allows."""
        if not network.early_stopping:
            return 0.0
        row_bytes = n_columns * np.dtype(self.model.dtype).itemsize
        most = self.large.shares.validation / (row_bytes * self.large.parquet.n_rows)
        return min((1 - self._test) * float(network.validation_fraction), most)

    def encoded(self, file: Any) -> EncodedTable:
        """Encode all rows to ``file``, a scratch file of `n_bytes`."""
        return encode_rows(self.large, self.encoder, self.roles, file)

    @property
    def n_bytes(self) -> int:
        """The size of the temporary file."""
        return max(1, bytes_in_file(self.encoder, self.roles))


def fit_large_table(
    training: LargeTableTraining,
    close: Callable[[], None],
    *,
    on_start: OnStart | None = None,
    on_epoch: OnEpoch | None = None,
    note: Note | None = None,
    checkpoint: Checkpoint | None = None,
) -> LargeFit:
    """Encode the rows and train; the other arguments are those of `TableEstimator.fit_table`.

    close : called when the table is not read any more, to free the memory of its reader.
    """
    model, network = training.model, training.network
    if on_start is not None:
        on_start(training.encoder, network)
    with scratch_file(training.folder, training.n_bytes) as file:
        rows = training.encoded(file)
        close()
        if not len(rows.X):
            raise DataError(f"{training.large.parquet.source}: no row is left to train on")
        held = None if rows.held is None else (*rows.held, None)
        network.set_params(early_stopping=held is not None)
        run, limited = run_of(network, checkpoint, note), None
        if (seconds := model.time_limit) is not None:
            on_epoch = limited = Limited(seconds, on_epoch, {} if run is None else run.notes)
            limited.reduce(network, rows.X, rows.y, note)
            if run is not None:
                run.on_other_rows = limited.begin_anew
        with _labels_as_indices(network, training.large.classes):
            how: dict[str, Any] = {"on_epoch": on_epoch, "note": note, "run": run}
            history = fit_estimator(network, rows.X, rows.y, None, given=held, **how)
            like = training.large.targets_like
            of = Rows(rows.X, like, training.large.targets, None, rows.left_out)
            fit = Fit(network, rows.X, rows.y, None, held)
            model._finish(PreparedTableFit(training.encoder, fit, of))
        _set_classes(model, training.large, [rows.y] if held is None else [rows.y, held[1]])
        if limited is not None:
            model.about_["time_limit"] = limited.record(history)
        n_rows = len(rows.X) + (0 if held is None else len(held[0]))
    return LargeFit(history, training.sample, rows.test, n_rows, rows.left_out)


def _split_sample(large: LargeTable, roles: Roles) -> tuple[LargeTable, Table]:
    """Return the table, with the rows of its sample that are trained on first, and these rows.

    The rows are reordered in place, so ``large`` must not be used afterwards.

    Raises DataError if there are none.
    """
    numbers = large.sample.row_numbers
    assert numbers is not None  # of concatenated tables
    others = (roles.test | roles.held)[numbers - 1]
    learned = np.count_nonzero(~others)
    if not learned:
        raise DataError(f"{large.parquet.source}: no row of the sample is left to train on")
    sample = large.sample.reorder(np.argsort(others, kind="stable"))
    return replace(large, sample=sample), sample.rows(0, int(learned))


@contextmanager
def _labels_as_indices(network: Any, classes: np.ndarray | None) -> Iterator[None]:
    """Let ``network`` be fitted to class indices, and have the labels ``classes`` afterwards.

    The labels of all rows would take far more memory than the indices.
    """
    if classes is None:
        yield
        return
    given = network.class_weight
    if isinstance(given, dict):
        places = {label: k for k, label in enumerate(classes.tolist())}
        network.class_weight = {places[label]: weight for label, weight in given.items()}
    try:
        yield
    finally:
        network.class_weight = given
    network._set_labels(classes)


def _set_classes(model: TableEstimator, large: LargeTable, parts: Sequence[np.ndarray]) -> None:
    """Set the rows of each class, and the positive class of two, found for one row of each.

    parts : the class indices of the rows that were trained on and held out.
    """
    if large.classes is None or large.class_rows is None:
        return
    counts = np.zeros(len(large.classes), np.int64)
    for part in parts:
        for start in range(0, len(part), COUNTED):
            counts += np.bincount(part[start : start + COUNTED], minlength=len(counts))
    model.about_["class_rows"] = counts.tolist()
    if "positive_class" in model.about_:
        # The class with fewer rows has one of these, and the other one two.
        few = np.repeat(large.classes, 1 + (large.class_rows > large.class_rows.min()))
        model.about_["positive_class"] = positive_class(large.classes, few)
