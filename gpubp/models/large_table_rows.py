"""The rows of a table larger than memory: a sample, the test rows, and encoded rows in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, NamedTuple

import numpy as np

from gpubp.models.encoded_rows import encoded
from gpubp.models.memory_shares import MemoryShares
from gpubp.storage.scratch_file import append, mapped
from gpubp.tables.concatenated import concatenated
from gpubp.tables.decimal_sign import settled
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.files.parquet_blocks import ParquetTable
from gpubp.tables.known_labels import class_indices
from gpubp.tables.table import DataError, Table
from gpubp.tables.target import Task, labels_of, numbers_of, without_targets
from gpubp.training.block_rows import BlockRows

RUNS = 64  # of consecutive rows, spread over the table, that a sample consists of


@dataclass(frozen=True, eq=False)
class LargeTable:
    """A table larger than memory, with what is known of its rows before they are encoded.

    parquet: its rows. targets, task: what to learn. sample: some rows with a target, with the
    decimal sign of the table. classes: the sorted labels, (k,); None for a regression.
    class_rows: (k,), the rows of each class. shares: the memory to use.
    """

    parquet: ParquetTable
    targets: tuple[str, ...]
    task: Task
    sample: Table
    classes: np.ndarray | None
    class_rows: np.ndarray | None
    shares: MemoryShares

    @property
    def n_outputs(self) -> int:
        """The number of classes, or of targets."""
        return len(self.targets if self.classes is None else self.classes)

    @property
    def targets_like(self) -> np.ndarray:
        """A few targets of training, of the dtype and the shape of a row of all of them."""
        if self.classes is not None:
            return np.arange(len(self.classes)).astype(np.min_scalar_type(len(self.classes)))
        return np.zeros((1, len(self.targets))[: 1 + (len(self.targets) > 1)])

    def targets_of(self, table: Table) -> np.ndarray:
        """Return the class indices (n,) of the rows of ``table``, or their numbers (n,) or (n, k).

        Raises DataError for a label that is not in ``classes``, and for text that is not a number.
        """
        if self.classes is None:
            numbers = numbers_of(table, self.targets)
            return numbers if len(self.targets) > 1 else numbers.ravel()
        if not len(table):
            return self.targets_like[:0]
        return class_indices(table, self.targets[0], self.classes)[0]

    def labels_of(self, table: Table) -> np.ndarray | None:
        """Return the labels (n,) of the rows of ``table``; None for a regression."""
        return None if self.classes is None else self.classes[self.targets_of(table)]


class Roles(NamedTuple):
    """The purpose of each row: for the test, for validation, or else for training; (n,) bool."""

    test: np.ndarray
    held: np.ndarray

    @classmethod
    def drawn(cls, n: int, test: float, held: float, seed: int) -> Roles:
        """Return random roles. test, held : the part of the rows with each role."""
        rng = np.random.default_rng(seed)
        draws = rng.random(n, np.float32)
        tested = draws < test
        return cls(tested, (draws < test + held) & ~tested)


@dataclass(eq=False)
class EncodedTable:
    """Encoded rows: those to train on in a file, those for validation in memory.

    X, y : (n, d) and (n,) or (n, k). held : X and y of the validation rows; None without any.
    test : the rows of the test, not encoded. left_out : number of rows without a target.
    """

    X: BlockRows
    y: np.ndarray
    held: tuple[np.ndarray, np.ndarray] | None
    test: Table
    left_out: int


def drawn_sample(parquet: ParquetTable, room: int, seed: int, as_text: Sequence[str] = ()) -> Table:
    """Return rows of a table that take about ``room`` bytes, with its decimal sign.

    They are runs of consecutive rows, at random places all over the table; all rows if they fit.
    as_text: columns whose cells are kept as written.
    """
    n, rows = parquet.n_rows, max(RUNS, room // parquet.row_bytes)
    rng = np.random.default_rng(seed)
    tables = []
    for run in range(RUNS if rows < n else 1):
        first, stop = 0, n
        if rows < n:
            low, high = n * run // RUNS, n * (run + 1) // RUNS
            length = max(1, rows // RUNS)
            first = int(rng.integers(low, max(low, high - length), endpoint=True))
            stop = min(n, first + length)
        for block in parquet.blocks(rows, first, stop):
            table = parquet.read(block, as_text=as_text)
            # DuckDB's arrays have room for the whole row group, so their rows are copied.
            tables.append(table.take(np.arange(len(table))))
    return settled(concatenated(tables))


def classes_of(parquet: ParquetTable, target: str) -> tuple[np.ndarray, np.ndarray, Table]:
    """Return the sorted labels of all rows, the rows of each, and a table of the distinct cells."""
    distinct, counts = parquet.distinct(target)
    known = np.flatnonzero(~distinct.column(target).is_gap())
    distinct, counts = distinct.take(known), counts[known]
    if not len(known):
        raise DataError(f"{parquet.source}: the target {target!r} is missing in every row")
    classes, places = np.unique(labels_of(distinct.column(target)), return_inverse=True)
    return classes, np.bincount(places, weights=counts).astype(np.int64), distinct


def bytes_in_file(encoder: TableEncoder, roles: Roles) -> int:
    """Return the size of the file that `encode_rows` writes, at most."""
    rows = np.count_nonzero(~(roles.test | roles.held))
    return int(rows) * encoder.n_features_out_ * np.dtype(encoder.dtype).itemsize


def encode_rows(
    large: LargeTable, encoder: TableEncoder, roles: Roles, file: IO[bytes]
) -> EncodedTable:
    """Encode all rows, those to train on to ``file``.

    The result needs the file, but no longer the table.

    Raises DataError for a cell that cannot be encoded.
    """
    like, n_train = large.targets_like, np.count_nonzero(~(roles.test | roles.held))
    y = np.empty((n_train, *like.shape[1:]), like.dtype)
    held: list[tuple[np.ndarray, np.ndarray]] = []
    tests, done, left_out = [], 0, 0
    for start, table in _blocks(large, encoder):
        known = _with_targets(large, table)
        left_out += len(table) - len(known)
        test, is_held = (role[start + known] for role in roles)
        tests.append(table.take(known[test]))
        if (is_held & ~test).any():
            held.append(_encoded(large, encoder, table.take(known[is_held])))
        Z, targets = _encoded(large, encoder, table.take(known[~(test | is_held)]))
        append(file, np.ascontiguousarray(Z).data)
        y[done : done + len(Z)] = targets
        done += len(Z)
    parts = tuple(map(np.concatenate, zip(*held, strict=True))) if held else None
    shape = done, encoder.n_features_out_
    X = BlockRows(mapped(file), shape, np.dtype(encoder.dtype), large.shares.training)
    return EncodedTable(X, y[:done], parts, concatenated(tests), left_out)  # type: ignore[arg-type]


def _blocks(large: LargeTable, encoder: TableEncoder) -> Iterator[tuple[int, Table]]:
    """Yield all rows, with the columns that the encoder and the targets need; and their start."""
    used = [encoding.type.name for encoding in encoder.encodings_]
    names = [*used, *(name for name in large.targets if name not in used)]
    as_text = large.targets if large.classes is not None else ()
    parquet = large.parquet
    width = parquet.row_bytes + encoder.n_features_out_ * np.dtype(encoder.dtype).itemsize
    for block in parquet.blocks(max(1, large.shares.block // width)):
        table = parquet.read(block, names, as_text)
        yield block.start, replace(table, decimal=large.sample.decimal, sign=large.sample.sign)


def _with_targets(large: LargeTable, table: Table) -> np.ndarray:
    """Return the indices of the rows in which no target is missing."""
    gaps = np.any([table.column(name).is_gap() for name in large.targets], axis=0)
    known: np.ndarray = np.flatnonzero(~gaps)
    return known


def _encoded(
    large: LargeTable, encoder: TableEncoder, table: Table
) -> tuple[np.ndarray, np.ndarray]:
    """Return the encoded rows of ``table``, (n, d), and their targets.

    Raises DataError, with advice, for a cell that does not fit the kind of its column.
    """
    y = large.targets_of(table)
    try:
        Z: Any = encoded(encoder.transform, without_targets(table, large.targets))
    except DataError as error:
        raise DataError(
            f"{error}; the kinds of the columns were found in a sample of "
            f"{len(large.sample):,} rows: set them with --categorical, --numeric or --date, or "
            "leave columns out with --drop"
        ) from None
    return Z.toarray() if hasattr(Z, "toarray") else Z, y
