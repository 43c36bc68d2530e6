"""Tables read from CSV, NPZ or NPY files or taken from scikit-learn's small data sets."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gpubp.tables.csv_file import csv_tables, read_csv
from gpubp.tables.table import Array, DataError, Table, check_names, listed

__all__ = ["DATASETS", "DataError", "Table", "load_dataset", "read_chunks", "read_table"]

DATASETS = ("digits", "breast_cancer", "wine", "iris", "diabetes")
SUFFIXES = (".csv", ".npz", ".npy")


def _from_arrays(
    source: str,
    X: Array,
    y: Array | None,
    x_names: Array | None = None,
    y_names: Array | None = None,
) -> Table:
    """The table of features X (n, d) and targets y (n,) or (n, k), with or without names."""
    _check_array(source, "X", X, "fiub", (2,))
    features = _array_names(source, "feature_names", x_names, X.shape[1], "x")
    others: dict[str, Array] = {}
    if y is not None:
        _check_array(source, "y", y, "fiubUS", (1, 2))
        if len(y) != len(X):
            raise DataError(f"{source}: X has {len(X)} rows and y {len(y)}; give equal numbers")
        Y = y[:, None] if y.ndim == 1 else y
        if Y.dtype.kind == "S":
            Y = np.char.decode(Y, "utf-8", "replace")
        targets = _array_names(source, "target_names", y_names, Y.shape[1], "y")
        others = {name: Y[:, j] for j, name in enumerate(targets)}
    names = (*features, *others)
    check_names(names, source)
    return Table(names, X, others, source, features, tuple(others))


def _check_array(source: str, name: str, array: Array, kinds: str, ndims: tuple[int, ...]) -> None:
    """Raise DataError unless the array has rows and columns, and a dtype of one of the kinds."""
    if array.dtype.kind not in kinds:
        allowed = "numbers or text" if "U" in kinds else "real numbers"
        raise DataError(f"{source}: {name} has dtype {array.dtype}; give {allowed}")
    if array.ndim not in ndims or 0 in array.shape:
        allowed = " or ".join(("(n,)", "(n, d)")[ndim - 1] for ndim in ndims)
        raise DataError(f"{source}: {name} has shape {array.shape}; give {allowed}, none of them 0")


def _array_names(
    source: str, key: str, given: Array | None, count: int, letter: str
) -> tuple[str, ...]:
    """The names of the columns as given, or x0, x1, ...; a single y is y."""
    if given is None:
        if letter == "y" and count == 1:
            return ("y",)
        return tuple(f"{letter}{j}" for j in range(count))
    if given.dtype.kind not in "US" or given.size != count:
        raise DataError(
            f"{source}: {key} has dtype {given.dtype} and {given.size} entries; give "
            f"{count} names as an array of str"
        )
    text = np.char.decode(given, "utf-8", "replace") if given.dtype.kind == "S" else given
    return tuple(str(name) for name in text.ravel())


def _load(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file by name, or the one of an .npy file, mapped, as "X"."""
    try:
        if path.suffix.lower() == ".npy":
            return {"X": np.lib.format.open_memmap(path, mode="r")}
        # np.load leaves the file open when it holds garbage.
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            wanted = {"X", "y", "feature_names", "target_names"}.intersection(archive.files)
            if "X" not in wanted:
                raise DataError(f"{path} has arrays {listed(archive.files)} but no 'X'; add it")
            # A member that is no array comes as bytes; asarray makes that an array of text.
            return {name: np.asarray(archive[name]) for name in wanted}
    except DataError:
        raise
    # On garbage NumPy raises exceptions of at least eleven types.
    except Exception as error:
        kind = path.suffix.lower()
        reason = str(error).split("\n")[0] or type(error).__name__
        if "Object arrays" in reason:
            raise DataError(
                f"{path} holds an array of Python objects, which is not loaded; save text as "
                "y.astype(str), numbers as float or int"
            ) from None
        raise DataError(f"{path} is not a readable {kind} file: {reason}") from None


def _read_npz(path: Path) -> Table:
    arrays = _load(path)
    names = arrays.get("feature_names"), arrays.get("target_names")
    return _from_arrays(str(path), arrays["X"], arrays.get("y"), *names)


def _read_npy(path: Path, target_file: str | Path | None) -> Table:
    y = None
    if target_file is not None:
        y = _load(_existing(target_file, (".npy",)))["X"]
    return _from_arrays(str(path), _load(path)["X"], y)


def _existing(path: str | Path, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """The path, after DataError for one that is missing, a directory, or of another suffix."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        near = difflib.get_close_matches(str(path), DATASETS, n=1)
        hint = f"did you mean the data set {near[0]!r}?" if near else "check the path"
        raise DataError(f"{path}: no such file; {hint}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a directory; give a file: {', '.join(suffixes)}")
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path} has suffix {path.suffix!r}; give one of {', '.join(suffixes)}")
    return path


def read_table(
    path: str | Path,
    *,
    target_file: str | Path | None = None,
    target: Sequence[str] | None = None,
) -> Table:
    """The table of a .csv, .npz or .npy file.

    target_file: .npy file with y (n,) or (n, k) that goes with an .npy path.
    target: columns to take as the target; by default the last one of CSV, y of arrays.
    Raises DataError for a file that cannot be used and an unknown target.
    """
    path = _existing(path)
    suffix = path.suffix.lower()
    if target_file is not None and suffix != ".npy":
        raise DataError(f"{path}: a target file goes with an .npy file, and {suffix} holds its own")
    if suffix == ".npy":
        table = _read_npy(path, target_file)
    else:
        table = read_csv(path) if suffix == ".csv" else _read_npz(path)
    if target is None:
        return table
    table.require(target)
    return replace(table, targets=tuple(target))


def read_chunks(path: str | Path, rows: int) -> Iterator[Table]:
    """Tables of at most rows rows; CSV in bounded memory; "-" is standard input (CSV).

    Raises DataError as read_table does, also from the iterator.
    """
    if rows < 1:
        raise ValueError(f"rows is {rows!r}; give at least 1")
    if str(path) == "-" or _existing(path).suffix.lower() == ".csv":
        return csv_tables(path, rows)
    table = read_table(path)
    return (table.rows(start, start + rows) for start in range(0, len(table), rows))


def load_dataset(name: str) -> Table:
    """One of the data sets of DATASETS, which come with scikit-learn; its target is "target"."""
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}; give one of {', '.join(DATASETS)}")
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    y = data.target
    if name in ("breast_cancer", "wine", "iris"):
        y = np.asarray(data.target_names, dtype=np.str_)[y]
    feature_names = np.asarray(data.feature_names, dtype=np.str_)
    return _from_arrays(name, data.data, y, feature_names, np.array(["target"]))
