"""Array files and built-in data sets."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.read import DATASETS, DataError, load_dataset, read_chunks, read_table
from tests.tables.conftest import cells

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def _npz(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


def _npy(tmp_path, array, name="X.npy"):
    path = tmp_path / name
    np.save(path, array)
    return path


def _matrix(table, names):
    return np.stack([table.column(name).values for name in names], axis=1)


def test_npz_with_default_names(tmp_path):
    table = read_table(_npz(tmp_path, X=X, y=np.array([0, 1, 1, 0])))
    assert table.names == ("x0", "x1", "x2", "y")
    assert table.targets == ("y",)
    assert table.only_targets
    assert _matrix(table, table.names[:3]).dtype == np.float32
    np.testing.assert_array_equal(_matrix(table, table.names[:3]), X)
    assert cells(table, "y") == [0, 1, 1, 0]


@pytest.mark.parametrize("kind", ["U", "S"])
def test_npz_with_names_and_text(tmp_path, kind):
    path = _npz(
        tmp_path,
        X=X,
        y=np.array(["a", "b", "c", "a"]).astype(kind),
        feature_names=np.array(["p", "q", "r"]).astype(kind),
        target_names=np.array(["letter"]).astype(kind),
    )
    table = read_table(path)
    assert table.names == ("p", "q", "r", "letter")
    assert cells(table, "letter") == ["a", "b", "c", "a"]
    assert type(table.column("letter")) is TextColumn


def test_npz_with_several_targets_and_with_none(tmp_path):
    table = read_table(_npz(tmp_path, X=X, y=X[:, :2] + 10))
    assert table.targets == ("y0", "y1")
    np.testing.assert_array_equal(table.column("y1").values, X[:, 1] + 10)
    table = read_table(_npz(tmp_path, X=X, y=X[:, 0] > 2))
    assert cells(table, "y") == ["False", "True", "True", "True"]
    table = read_table(_npz(tmp_path, X=X))
    assert (table.targets, table.only_targets) == ((), False)


def test_npy_with_and_without_targets(tmp_path):
    path = _npy(tmp_path, X)
    table = read_table(path)
    assert (table.names, table.targets) == (("x0", "x1", "x2"), ())
    assert isinstance(table.column("x1").values, np.memmap)
    target = _npy(tmp_path, np.array([[1.5], [2], [3], [4]]), "y.npy")
    table = read_table(path, target_file=target)
    assert table.targets == ("y",)
    assert type(table.column("y")) is NumberColumn
    assert cells(table, "y") == [1.5, 2, 3, 4]


def test_array_chunks_equal_the_whole_and_know_their_rows(tmp_path):
    Y = X.copy()
    Y[3, 1] = np.nan
    for path in (_npy(tmp_path, Y), _npz(tmp_path, X=Y)):
        chunks = list(read_chunks(path, 3))
        assert [len(chunk) for chunk in chunks] == [3, 1]
        np.testing.assert_array_equal(_matrix(chunks[0], ("x0", "x1", "x2")), X[:3])
        assert cells(chunks[1], "x1") == [None]
        assert chunks[1].where(0, "x1") == f"{path}, data row 4, column 'x1'"
    with pytest.raises(ValueError, match="rows is 0; give at least 1"):
        read_chunks(path, 0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": X}, "data.npz has arrays 'a', 'b' but no 'X'"),
        ({"X": X[0]}, r"data.npz: X has shape \(3,\); give \(n, d\)"),
        ({"X": X[:0]}, r"data.npz: X has shape \(0, 3\)"),
        ({"X": X[:, :0]}, r"data.npz: X has shape \(4, 0\)"),
        ({"X": X.astype(str)}, "data.npz: X has dtype <U.*; give real numbers"),
        ({"X": X + 1j}, "data.npz: X has dtype complex64; give real numbers"),
        ({"X": X.astype(object)}, "data.npz has an array of Python objects.*y.astype.str"),
        ({"X": X, "y": X[:3, 0]}, "data.npz: X has 4 rows and y 3"),
        ({"X": X, "y": X[:, :, None]}, r"data.npz: y has shape \(4, 3, 1\); give \(n,\) or"),
        ({"X": X, "y": X[:, 0] + 1j}, "data.npz: y has dtype complex64; give numbers or text"),
        ({"X": X, "feature_names": np.array(["a"])}, "feature_names has dtype <U1 and 1 entries"),
        ({"X": X, "feature_names": np.arange(3)}, "give 3 names as an array of str"),
        ({"X": X, "feature_names": np.array(["a", "b", "a"])}, "two columns named 'a'"),
        ({"X": X, "y": X[:, 0], "target_names": np.array(["x1"])}, "two columns named 'x1'"),
    ],
)
def test_bad_npz_arrays(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        read_table(_npz(tmp_path, **arrays))


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_garbage_is_one_clean_error(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    np.savez(tmp_path / "ok.npz", X=X)
    np.save(tmp_path / "ok.npy", X)
    whole = (tmp_path / f"ok{suffix}").read_bytes()
    other = (tmp_path / ("ok.npy" if suffix == ".npz" else "ok.npz")).read_bytes()
    rng = np.random.default_rng(0)
    for content in (
        b"",
        b"age,y\n1,2\n",
        b"\x80\x04]q\x00.",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'shape': (999999999999999, 9)}",
        b"PK\x03\x04" + rng.bytes(200),
        whole[:40],
        whole[:-30],
        whole[:8] + rng.bytes(60) + whole[68:],
        other,
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"data\{suffix} is not a readable \{suffix} file: ."):
            read_table(path)


def test_an_archive_member_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("X", b"text")
    with pytest.raises(DataError, match=r"data.npz: X has dtype .S4; give real numbers"):
        read_table(tmp_path / "data.npz")


def test_an_error_without_a_message_gives_its_type(tmp_path, monkeypatch):
    def exhaust(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "open_memmap", exhaust)
    with pytest.raises(DataError, match=r"X.npy is not a readable .npy file: MemoryError"):
        read_table(_npy(tmp_path, X))


def test_a_target_file_goes_with_npy_only(tmp_path):
    npz, npy = _npz(tmp_path, X=X), _npy(tmp_path, X)
    with pytest.raises(DataError, match=r"data.npz: a target file is only for an .npy file"):
        read_table(npz, target_file=npy)
    with pytest.raises(DataError, match=r"data.npz has suffix '.npz'; give an .npy file"):
        read_table(npy, target_file=npz)
    with pytest.raises(DataError, match=r"y.npy: no such file"):
        read_table(npy, target_file=tmp_path / "y.npy")
    with pytest.raises(DataError, match=r"X.npy: X has 4 rows and y 2"):
        read_table(npy, target_file=_npy(tmp_path, X[:2, 0], "y.npy"))


@pytest.mark.parametrize(
    ("name", "shape", "label"),
    [
        ("digits", (1797, 64), 0),
        ("breast_cancer", (569, 30), "malignant"),
        ("wine", (178, 13), "class_0"),
        ("iris", (150, 4), "setosa"),
        ("diabetes", (442, 10), 151),
    ],
)
def test_built_in_data_sets(name, shape, label):
    table = load_dataset(name)
    assert table.source == name
    assert table.targets == ("target",)
    assert _matrix(table, table.names[:-1]).shape == shape
    assert cells(table, "target")[0] == label


def test_data_set_columns_are_named_as_in_scikit_learn():
    assert load_dataset("iris").names[0] == "sepal length (cm)"
    assert load_dataset("digits").column("target").values.dtype.kind == "i"
    assert len(DATASETS) == 5
    with pytest.raises(DataError, match="unknown data set 'mnist'; give one of digits, breast_"):
        load_dataset("mnist")
