from __future__ import annotations

import json
import os
import pickle
import platform
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.storage import model_file
from gpubp.storage.atomic_file import atomic_write, check_writable
from gpubp.storage.model_file import (
    FORMAT_VERSION,
    ModelFileError,
    ModelRecord,
    choose,
    errors_of,
    only_keys,
    read_model,
    require,
    require_list,
    require_tensor,
    write_model,
)

HEADER = {"kind": "MLPClassifier", "alpha": 1e-4, "classes": ["no", "yes", "Zürich"], "seed": None}


def _record() -> ModelRecord:
    rng = np.random.default_rng(0)
    tensors = {
        "W0": rng.normal(size=(5, 4)),
        "W1": rng.normal(size=(4, 3)).astype(np.float32),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "strided": np.arange(10)[::-3],
        "broadcast": np.broadcast_to(np.float32(2.5), (2, 3)),
        "mask": np.array([True, False, True]),
        "scalar": np.array(7),
        "empty": np.zeros((0, 3)),
    }
    return ModelRecord(dict(HEADER), tensors)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_model(path, _record())
    return path


def _file(outer: Any, body: bytes = b"") -> bytes:
    """A safetensors file built by hand, lies included."""
    text = outer if isinstance(outer, bytes) else json.dumps(outer).encode()
    return struct.pack("<Q", len(text)) + text + body


def _envelope(**changes: Any) -> dict[str, Any]:
    whole = {"format": "gpubp", "format_version": 1, "gpubp_version": "0", "header": {}}
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def _model(tensors: dict[str, Any] | None = None, body: bytes = b"", **changes: Any) -> bytes:
    metadata = {"gpubp": json.dumps(_envelope(**changes))}
    return _file({"__metadata__": metadata, **(tensors or {})}, body)


def _f32(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# What is written is what is read.


def test_round_trip(saved: Path) -> None:
    got = read_model(str(saved))
    assert got.header == HEADER
    assert list(got.tensors) == sorted(_record().tensors)
    for name, array in _record().tensors.items():
        assert_array_equal(got.tensors[name], array, strict=True, err_msg=name)
        assert got.tensors[name].flags.writeable
        assert got.tensors[name].flags.c_contiguous
    assert _names(saved.parent) == ["model.safetensors"]


def test_one_record_gives_one_file_bit_for_bit(saved: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "again", _record())
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_the_header_is_one_string_of_metadata(saved: Path) -> None:
    from safetensors import safe_open

    with safe_open(saved, framework="numpy") as file:
        metadata = file.metadata()
    assert list(metadata) == ["gpubp"]
    envelope = json.loads(metadata["gpubp"])
    assert envelope["format"] == "gpubp"
    assert envelope["format_version"] == FORMAT_VERSION
    assert envelope["header"] == HEADER


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        ({"tol": float("inf")}, {}, "finite numbers"),
        ({"seed": np.int64(3)}, {}, "not plain JSON"),
        ({"name": "\ud800"}, {}, "not plain JSON"),
        ({}, {"W": np.zeros(2, np.float16)}, "'W' has dtype '<f2'"),
        ({}, {"W": np.zeros(2, ">f8")}, "'W' has dtype '>f8'"),
        ({}, {"W": np.array([None])}, r"'W' has dtype '\|O'"),
        ({}, {"W": np.array([0.0, np.nan])}, "'W' has NaN"),
        ({}, {"__metadata__": np.zeros(2)}, "reserves"),
    ],
)
def test_a_record_that_could_not_be_read_again_is_refused_and_replaces_nothing(
    saved: Path, header: dict[str, Any], tensors: dict[str, Any], message: str
) -> None:
    before = saved.read_bytes()
    with pytest.raises(ModelFileError, match=message):
        write_model(saved, ModelRecord(header, tensors))
    assert saved.read_bytes() == before
    assert _names(saved.parent) == [saved.name]


# Whatever is not a whole model file of a known version is refused.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"12345", "not a safetensors file"),
        (b"sepal,petal\n5.1,1.4\n4.9,1.3\n", "not a safetensors file"),
        (pickle.dumps({"W": [1.0, 2.0], "b": [0.0]}), "not a safetensors file"),
        (np.random.default_rng(1).bytes(4000), "not a safetensors file"),
        (b'{"kind": "MLPClassifier", "alpha": 1}', "not a safetensors file"),
        (struct.pack("<Q", 2**63) + b"{}", "not a safetensors file"),
        (struct.pack("<Q", 90_000_000) + b"{}", "should have 90000000 bytes"),
        (_file(b'{"a":'), "safetensors header is not valid JSON"),
        (_file(b'{"\xff": 1}'), "safetensors header is not valid JSON"),
        (_file(b'{"a":' * 9000), "safetensors header is not valid JSON"),
        (_file({}), "not a model of gpubp"),
        (_file({"W": _f32([1], 0, 4)}, b"1234"), "not a model of gpubp"),
        (_file({"__metadata__": {"format": "pt"}}), "not a model of gpubp"),
        (_file({"__metadata__": {"gpubp": 1}}), "not a model of gpubp"),
        (_file({"__metadata__": ["gpubp"]}), "not a model of gpubp"),
        (_file({"__metadata__": {"gpubp": "{"}}), "model header is not valid JSON"),
        (_file({"__metadata__": {"gpubp": "[" * 99999}}), "model header is not valid JSON"),
        (_file({"__metadata__": {"gpubp": "[]"}}), "not a JSON object"),
        (_file({"__metadata__": {"gpubp": '{"alpha": 1e999}'}}), "model header is not valid JSON"),
        (_file({"__metadata__": {"gpubp": '{"alpha": NaN}'}}), "model header is not valid JSON"),
        (_file({"__metadata__": {"gpubp": r'{"a": "\ud800"}'}}), "model header is not valid JSON"),
        (_model(format="onnx"), "'format' is 'onnx'"),
        (_model(format=...), "'format' is missing"),
        (_model(format_version=...), "'format_version' is missing"),
        (_model(format_version="1"), "'format_version' is '1', but must be of type int"),
        (_model(format_version=True), "'format_version' is True, but must be of type int"),
        (_model(format_version=0), "below 1"),
        (_model(gpubp_version=3), "'gpubp_version' is 3"),
        (_model(header=[]), r"'header' is \[\]"),
        (_model(surprise=1), "unknown key 'surprise'"),
        (_model({"W": _f32([2], 0, 4, "BF16")}, b"1234"), "'W' has dtype 'BF16'"),
        (_model({"W": _f32([4], 0, 4, "U8")}, b"1234"), "'W' has dtype 'U8'"),
        (_model({"W": _f32([1], 0, 4, "os.system")}, b"1234"), "truncated or damaged"),
        (_model({"W": _f32([2], 0, 4)}, b"1234"), "truncated or damaged"),
        (_model({"W": _f32([1], 4, 8)}, b"12345678"), "truncated or damaged"),
        (_model({"W": _f32([1], 0, 4)}, b"12345678"), "truncated or damaged"),
        (_model({"W": _f32([-1], 0, 4)}, b"1234"), "truncated or damaged"),
        (_model({"W": _f32([2**40], 0, 2**42)}, b"1234"), "truncated or damaged"),
        (_model({"W": _f32([2**62], 0, 2**64 - 1)}, b"1234"), "truncated or damaged"),
        (_model({"W": _f32([0, 2**63], 0, 0)}), "'W' has an impossible shape"),
        (_model({"W": _f32([1] * 99, 0, 4)}, b"1234"), "'W' has an impossible shape"),
        (_model({"W": _f32([1], 0, 4)}, struct.pack("<f", float("nan"))), "'W' has NaN"),
        (_model({"W": _f32([1], 0, 8, "F64")}, struct.pack("<d", float("-inf"))), "'W' has NaN"),
        (_model({"m": _f32([2], 0, 2, "BOOL")}, b"\x01\x02"), "'m' has bool values"),
    ],
)
def test_bad_content_is_one_clear_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_model(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 320


def test_the_hand_built_files_are_good_but_for_their_lies(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(_model({"W": _f32([1], 0, 4)}, struct.pack("<f", 1.5), header={"a": 1}))
    got = read_model(path)
    assert got.header == {"a": 1}
    assert_array_equal(got.tensors["W"], np.array([1.5], np.float32), strict=True)


def test_a_newer_file_is_refused_by_name_whatever_else_is_new_in_it(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(
        _model({"W": _f32([2], 0, 4, "BF16")}, b"1234", format_version=2, more=1, header=0)
    )
    with pytest.raises(ModelFileError) as caught:
        read_model(path)
    assert str(caught.value) == (
        f"{path}: was written by a newer gpubp (format 2; this gpubp reads up to 1); upgrade gpubp"
    )


def test_an_older_file_loads(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "FORMAT_VERSION", FORMAT_VERSION + 1)
    assert read_model(saved).header == HEADER


def test_the_checksum_stays_that_of_files_written_before(tmp_path: Path) -> None:
    W = np.arange(6.0).reshape(2, 3)
    tensors = {
        "W": W,
        "T": W.T,
        "b": np.float32([1, 2]),
        "classes": np.arange(3),
        "mask": np.array([True, False]),
        "scalar": np.array(7),
        "empty": np.zeros((0, 3)),
    }
    write_model(tmp_path / "m", ModelRecord({"kind": "MLPClassifier", "alpha": 1e-4}, tensors))
    expected = "6a671b0b23fae4e2092de8d46b3f6407cee51206f660824a3311896c0d8a1456"
    assert expected.encode() in (tmp_path / "m").read_bytes()
    assert read_model(tmp_path / "m").header["kind"] == "MLPClassifier"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no such file"),
        (".", "a directory"),
        ("model.safetensors/x", "cannot be read"),
        ("nul\0byte", "cannot be read"),
        ("x" * 300, "cannot be read"),
    ],
)
def test_paths_that_cannot_be_read(saved: Path, name: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_model(saved.parent / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_model(tmp_path / "pipe")


def test_a_file_without_permission(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read whatever its mode is
    with pytest.raises(ModelFileError, match=r"cannot be read \(Permission denied\)"):
        read_model(saved)


def test_a_cut_file_is_refused_wherever_it_is_cut(saved: Path) -> None:
    whole = saved.read_bytes()
    cuts = {*range(20), *range(0, len(whole), 97), *range(len(whole) - 20, len(whole))}
    for length in cuts:
        saved.write_bytes(whole[:length])
        with pytest.raises(ModelFileError):
            read_model(saved)


def test_a_flipped_bit_of_the_header_loads_or_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    refused, flips = 0, range(0, header_end * 8, 7)
    for bit in flips:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(damaged)
        try:
            read_model(saved)
        except ModelFileError:
            refused += 1
    assert refused > len(flips) / 2


def test_random_damage_never_gives_another_exception(saved: Path) -> None:
    whole, rng = saved.read_bytes(), np.random.default_rng(2)
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(8, len(whole), size=3)] = rng.integers(0, 256, size=3)
        saved.write_bytes(damaged.tobytes())
        try:
            read_model(saved)
        except ModelFileError as error:
            assert str(error).startswith(f"{saved}: ")  # noqa: PT017 (many may load)


# An existing file is replaced only by a finished one.


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(ModelFileError, match="No space left on device; check"):
                write_model(saved, ModelRecord({}, {}))
        assert saved.read_bytes() == before
        assert _names(saved.parent) == [saved.name]


def test_any_exception_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def write_half(kind: type[BaseException]) -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise kind("mine")

    for kind in (RuntimeError, KeyboardInterrupt, OSError):
        with pytest.raises(kind, match="mine"):
            write_half(kind)
        assert path.read_text() == "old"
        assert _names(tmp_path) == ["out.csv"]


def test_a_text_file_is_written_beside_and_renamed(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with atomic_write(path) as temporary, temporary.open("w") as file:
        file.write("prediction\n1\n")
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".out.csv.")
        assert temporary.name.endswith(f".{os.getpid()}.tmp")
        assert not path.exists()
    assert path.read_text() == "prediction\n1\n"
    assert _names(tmp_path) == ["out.csv"]


def test_the_file_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_model(tmp_path / "m", ModelRecord({}, {}))
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes and links")
def test_mode_and_links_of_the_replaced_file_are_kept(saved: Path, tmp_path: Path) -> None:
    saved.chmod(0o640)
    link = tmp_path / "latest"
    link.symlink_to(saved)
    write_model(link, ModelRecord({"new": True}, {}))
    assert link.is_symlink()
    assert read_model(saved).header == {"new": True}
    assert saved.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be asked for without a signal")
def test_what_killed_processes_left_is_swept_and_nothing_else(saved: Path) -> None:
    folder, name, host = saved.parent, saved.name, platform.node()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        dead = process.pid
    stale = [f".{name}.{host}.{pid}.tmp" for pid in (dead, os.getpid())]
    kept = [
        f".{name}.{host}.{os.getppid()}.tmp",  # alive
        f".{name}.elsewhere-{host}.{dead}.tmp",  # of another machine
        f".other.{host}.{dead}.tmp",  # of another target
        f".{name}.{host}.{dead}x.tmp",
        f".{name}.{host}.{10**30}.tmp",
        f"{name}.{dead}.tmp",
    ]
    for file in stale + kept:
        (folder / file).write_text("half")
    check_writable(saved)
    assert _names(folder) == sorted([name, *kept])


def test_a_write_within_a_write_of_the_same_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with atomic_write(path) as temporary:
        temporary.write_text("outer")
        with pytest.raises(ModelFileError, match="File exists"):
            write_model(path, ModelRecord({}, {}))
    assert path.read_text() == "outer"


@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_a_killed_writer_loses_nothing_and_the_next_one_sweeps(saved: Path) -> None:
    script = (
        "import os, sys; from gpubp.storage.atomic_file import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write_bytes(b'half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(saved)], check=False)
    assert len(_names(saved.parent)) == 2
    assert read_model(saved).header == HEADER
    write_model(saved, ModelRecord({"next": 1}, {}))
    assert _names(saved.parent) == [saved.name]


# Whether a path can be written is known before the training.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/m.safetensors", "does not exist; create it or choose"),
        ("model.safetensors/m", "is not a folder; choose"),
        (".", "it is a directory; add a file name"),
        ("nul\0byte", "null byte"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_path_that_cannot_be_written(saved: Path, name: str, message: str) -> None:
    path = saved.parent / name
    for attempt in (check_writable, lambda p: write_model(p, ModelRecord({}, {}))):
        with pytest.raises((OSError, ModelFileError), match=message) as caught:
            attempt(path)
        assert str(caught.value).startswith(f"cannot write {str(path)!r}: ")
    with pytest.raises(OSError, match=message), atomic_write(path):
        pass
    assert _names(saved.parent) == [saved.name]


def test_a_folder_or_file_that_is_write_protected(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # root may write whatever the mode is
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(OSError, match="write-protected; unprotect"):
            check_writable(saved)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(OSError, match="Permission denied; check the folder"):
        check_writable(saved.parent / "new")


def test_a_writable_path_is_left_as_it_was(saved: Path) -> None:
    before = saved.stat()
    check_writable(saved)
    check_writable(saved.parent / "new.safetensors")
    assert _names(saved.parent) == [saved.name]
    after = saved.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


# Taking a header apart without trusting it.


@pytest.mark.parametrize(
    ("value", "kind"), [("x", str), (3, int), (0.5, float), (False, bool), ([], list), ({}, dict)]
)
def test_require_returns_a_value_of_the_kind(value: Any, kind: type[Any]) -> None:
    assert require({"key": value}, "key", kind) is value


def test_require_takes_an_int_for_a_float() -> None:
    got = require({"alpha": 1}, "alpha", float)
    assert type(got) is float
    assert got == 1.0


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, int), (True, float), (1.0, int), ("1", int), (None, str), (10**400, float), ([], dict)],
)
def test_require_refuses_another_kind(value: Any, kind: type[Any]) -> None:
    with pytest.raises(ModelFileError, match=f"'key' is .*must be of type {kind.__name__}"):
        require({"key": value}, "key", kind)


def test_a_missing_key() -> None:
    with pytest.raises(ModelFileError, match="'alpha' is missing from the header"):
        require({"alhpa": 1}, "alpha", float)


def test_long_values_are_shortened() -> None:
    with pytest.raises(ModelFileError) as caught:
        require({"key": "x" * 10**6}, "key", int)
    assert len(str(caught.value)) < 300


def test_require_list() -> None:
    assert require_list({"units": [3, 4]}, "units", int) == [3, 4]
    assert require_list({"units": []}, "units", int) == []
    with pytest.raises(ModelFileError, match="item 1 of 'units' is '4', but must be of type int"):
        require_list({"units": [3, "4"]}, "units", int)
    with pytest.raises(ModelFileError, match="'units' is 'ab', but must be of type list"):
        require_list({"units": "ab"}, "units", str)


def test_choose_knows_closed_tables_only() -> None:
    allowed = {"relu": 1, "tanh": 2}
    assert choose({"activation": "tanh"}, "activation", allowed) == "tanh"
    with pytest.raises(
        ModelFileError, match=r"'activation' is 'os\.system', but this gpubp knows 'relu', 'tanh';"
    ):
        choose({"activation": "os.system"}, "activation", allowed)
    with pytest.raises(ModelFileError, match="must be of type str"):
        choose({"activation": ["relu"]}, "activation", allowed)


def test_only_keys() -> None:
    only_keys({"a": 1}, ["a", "b"])
    with pytest.raises(ModelFileError, match="unknown key 'c', but this gpubp knows 'a', 'b'"):
        only_keys({"a": 1, "c": 2}, ["b", "a"])


def test_require_tensor() -> None:
    W = np.zeros((4, 3))
    assert require_tensor({"W0": W}, "W0", (4, 3)) is W
    assert require_tensor({"W0": W}, "W0", (None, 3)) is W
    with pytest.raises(ModelFileError, match=r"'W0' has shape \(4, 3\), but needs \(any, 4\)"):
        require_tensor({"W0": W}, "W0", (None, 4))
    with pytest.raises(ModelFileError, match=r"'W0' has shape \(4, 3\), but needs \(4\)"):
        require_tensor({"W0": W}, "W0", (4,))
    with pytest.raises(ModelFileError, match="tensor 'W1' is missing"):
        require_tensor({"W0": W}, "W1", (4, 3))


def test_errors_name_the_file_once() -> None:
    with pytest.raises(ModelFileError) as caught, errors_of("m.st"), errors_of(Path("m.st")):
        require({}, "alpha", float)
    assert str(caught.value).startswith("m.st: 'alpha' is missing")


def test_import_is_cheap() -> None:
    script = (
        "import sys, gpubp.storage.model_file\n"
        "print(sorted({'safetensors', 'sklearn', 'scipy', 'cupy', 'click'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_a_changed_byte_of_a_weight_is_found(saved: Path, place: float) -> None:
    content = bytearray(saved.read_bytes())
    body = 8 + int.from_bytes(content[:8], "little")
    content[body + int(place * (len(content) - body))] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ModelFileError, match="checksum"):
        read_model(saved)


def test_a_header_that_lost_a_key_is_found(saved: Path) -> None:
    record = read_model(saved)
    key = next(iter(record.header))
    text = f'"{key}"'.encode().replace(b'"', b'\\"')
    content = saved.read_bytes()
    assert text in content
    saved.write_bytes(content.replace(text, b'\\"' + b"q" * len(key) + b'\\"', 1))
    with pytest.raises(ModelFileError, match="checksum"):
        read_model(saved)
