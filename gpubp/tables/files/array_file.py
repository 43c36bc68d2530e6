"""Read tables from NumPy's array files and from scikit-learn's small data sets."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from gpubp.tables.column import MISSING, Column, NumberColumn, TextColumn, without_markers
from gpubp.tables.column_types.numbers import LARGEST_INTEGER
from gpubp.tables.datasets import DATASETS
from gpubp.tables.table import Array, DataError, Table, listed


def read_array_file(
    path: Path, target_file: str | Path | None = None, missing: Collection[str] = MISSING
) -> Table:
    """Return the table in an array file.

    path: an .npz file with arrays X and y, or an .npy file with X.
    target_file: an .npy file with y, for an .npy path. missing: texts that mean "no value".
    """
    if path.suffix.lower() == ".npz":
        arrays = _load(path)
        names = arrays.get("feature_names"), arrays.get("target_names")
        return _from_arrays(str(path), arrays["X"], arrays.get("y"), *names, missing)
    y = None if target_file is None else _load(Path(target_file))["X"]
    return _from_arrays(str(path), _load(path)["X"], y, missing=missing)


def load_dataset(name: str, missing: Collection[str] = MISSING) -> Table:
    """Return a data set of scikit-learn as a table; its target is "target".

    name: one of DATASETS. missing: texts that mean "no value".
    """
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}; give one of {', '.join(DATASETS)}")
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    y = data.target
    if name in ("breast_cancer", "wine", "iris"):
        y = np.asarray(data.target_names, dtype=np.str_)[y]
    feature_names = np.asarray(data.feature_names, dtype=np.str_)
    return _from_arrays(name, data.data, y, feature_names, np.array(["target"]), missing)


def _from_arrays(
    source: str,
    X: Array,
    y: Array | None,
    x_names: Array | None = None,
    y_names: Array | None = None,
    missing: Collection[str] = MISSING,
) -> Table:
    """Return the table of features X (n, d) and targets y, (n,) or (n, k).

    x_names, y_names: names of the columns; None: x0, x1, ... and y or y0, y1, ...
    """
    _check_array(source, "X", X, "fiub", (2,))
    features = _array_names(source, "feature_names", x_names, X.shape[1], "x")
    columns: list[Column] = [_feature(X[:, j]) for j in range(X.shape[1])]
    targets: tuple[str, ...] = ()
    if y is not None:
        _check_array(source, "y", y, "fiubUS", (1, 2))
        if len(y) != len(X):
            raise DataError(f"{source}: X has {len(X)} rows and y {len(y)}; give equal numbers")
        Y = y[:, None] if y.ndim == 1 else y
        targets = _array_names(source, "target_names", y_names, Y.shape[1], "y")
        columns += [_target(Y[:, j], missing) for j in range(Y.shape[1])]
    names = (*features, *targets)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{source} has two columns named {doubled[0]!r}; give each its own name")
    if not all(name.strip() for name in names):
        raise DataError(f"{source} has a column without a name; give each a name")
    pairs = {
        name: without_markers(column, missing) for name, column in zip(names, columns, strict=True)
    }
    return Table(pairs, len(X), source, targets, only_targets=bool(targets))


def _feature(x: Array) -> Column:
    """Return a feature as numbers, or as text if integers are too large for float64."""
    if x.dtype.kind in "iu" and x.itemsize == 8:
        largest = max(int(x.max()), -int(x.min()))
        if largest > LARGEST_INTEGER:
            return TextColumn.of(map(str, x.tolist()))
    return NumberColumn(x)


def _target(y: Array, missing: Collection[str]) -> Column:
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    if y.dtype.kind == "b":
        return TextColumn.of(y.astype(object))
    return NumberColumn(y) if y.dtype.kind != "U" else TextColumn.of(y.tolist(), missing)


def _check_array(source: str, name: str, array: Array, kinds: str, ndims: tuple[int, ...]) -> None:
    """Raise DataError for an array of another dtype or shape, or an empty one.

    name: of the array, for messages. kinds: allowed dtype kinds. ndims: allowed dimensions.
    """
    if array.dtype.kind not in kinds:
        allowed = "numbers or text" if "U" in kinds else "real numbers"
        raise DataError(f"{source}: {name} has dtype {array.dtype}; give {allowed}")
    if array.ndim not in ndims or 0 in array.shape:
        allowed = " or ".join(("(n,)", "(n, d)")[ndim - 1] for ndim in ndims)
        raise DataError(f"{source}: {name} has shape {array.shape}; give {allowed}, not empty")


def _array_names(
    source: str, key: str, given: Array | None, count: int, letter: str
) -> tuple[str, ...]:
    """Return the given names of the columns, or x0, x1, ...; "y" for a single target.

    key: name of the array of names, for messages. letter: "x" or "y".
    """
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
    """Return the arrays of an .npz file by name, or the memory-mapped array of an .npy as "X"."""
    try:
        if path.suffix.lower() == ".npy":
            return {"X": np.lib.format.open_memmap(path, mode="r")}
        # np.load does not close a damaged file.
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            wanted = {"X", "y", "feature_names", "target_names"}.intersection(archive.files)
            if "X" not in wanted:
                raise DataError(f"{path} has arrays {listed(archive.files)} but no 'X'; add it")
            # A member that is not an array is read as bytes; asarray converts it to an array.
            return {name: np.asarray(archive[name]) for name in wanted}
    except DataError:
        raise
    # For damaged files NumPy raises exceptions of at least eleven types.
    except Exception as error:
        kind = path.suffix.lower()
        reason = str(error).split("\n")[0] or type(error).__name__
        if "Object arrays" in reason:
            raise DataError(
                f"{path} has an array of Python objects, which is unsafe to load; save text as "
                "y.astype(str), numbers as float or int"
            ) from None
        raise DataError(f"{path} is not a readable {kind} file: {reason}") from None
