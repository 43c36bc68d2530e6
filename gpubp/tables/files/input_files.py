"""Find the files of a table and make them readable for DuckDB.

Pipes are copied, compressed files decompressed, and other encodings converted to UTF-8.
"""

from __future__ import annotations

import codecs
import difflib
import errno
import glob
import gzip
import io
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from gpubp.tables.datasets import DATASETS
from gpubp.tables.files.session import Session, literal
from gpubp.tables.table import DataError, listed

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".data")
PARQUET_SUFFIXES = (".parquet", ".pq")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
DATABASE_SUFFIXES = (".duckdb", ".ddb", ".db")
ARRAY_SUFFIXES = (".npz", ".npy")
PACKED_SUFFIXES = (".gz", ".zst")
ALLOWED = (
    ".csv, .tsv, .txt (also compressed, as .gz or .zst), .parquet, .jsonl, .duckdb (with a "
    "query), .npz or .npy"
)

# The first bytes of files that are not text, whatever their suffix is.
_MAGIC = {
    b"PAR1": "a Parquet file; name it .parquet",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"\x1f\x8b": "compressed by gzip; name it .csv.gz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; name it .csv.zst",
    b"\x93NUMPY": "a NumPy array; name it .npy",
    b"SQLite format 3": "an SQLite database; save the table as CSV",
    b"%PDF": "a PDF document; save the table as CSV",
}
# UTF-32 comes first, because its mark begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class InputFile:
    """A file for DuckDB: ``path`` is the user's file or a copy, ``source`` its name in messages."""

    path: Path
    source: str
    kind: str  # "text", "parquet", "json" or "database"


def shown(path: str | Path) -> str:
    """Return the name of a path in messages."""
    return "standard input" if str(path) == "-" else str(path)


def suffix_of(path: str | Path) -> str:
    """Return the suffix in lower case; for .gz and .zst, that of the file inside."""
    name = Path(path)
    suffix = name.suffix.lower()
    return Path(name.stem).suffix.lower() if suffix in PACKED_SUFFIXES else suffix


def find_paths(path: str | Path) -> list[Path]:
    """Return the files of a path or pattern, sorted; raise DataError if there are none."""
    text = str(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise DataError(f"{text} is an address; download the file and give its path")
    try:
        if any(mark in text for mark in "*?[") and not Path(text).exists():
            found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207
            paths = [Path(name) for name in found if not Path(name).is_dir()]
            if not paths:
                raise DataError(f"no file matches {text!r}; check the pattern")
            return paths
        _check_file(Path(text))
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{text} cannot be read: {_reason(error)}") from None
    return [Path(text)]


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        near = difflib.get_close_matches(str(path), DATASETS, n=1)
        hint = f"did you mean the data set {near[0]!r}?" if near else "check the path"
        raise DataError(f"{path}: no such file; {hint}") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a directory; give a file or a pattern such as '{path}/*.csv'")
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise DataError(f"{path} is a device; give a file, or '-' for standard input")


def open_files(path: str | Path, session: Session, encoding: str | None) -> list[InputFile]:
    """Return the files of a path, pattern or "-", ready for DuckDB.

    Copies are written to the session's folder.
    """
    if str(path) == "-":
        return [_ready(session, sys.stdin.buffer, Path("-"), 0, encoding)]
    files = []
    for index, each in enumerate(find_paths(path)):
        with _errors_as_data_errors(each):
            if stat.S_ISREG(each.stat().st_mode):
                _check_suffix(each)
            with each.open("rb") as file:
                files.append(_ready(session, file, each, index, encoding))
    kinds = sorted({file.kind for file in files})
    if len(kinds) > 1 or (len(files) > 1 and kinds == ["database"]):
        raise DataError(f"{path} matches files of kinds {listed(kinds)}; give files of one kind")
    return files


def _check_suffix(path: Path) -> None:
    suffix = suffix_of(path)
    if suffix in (".xlsx", ".xls", ".ods", ".xlsm"):
        raise DataError(f"{path} is a workbook of a spreadsheet program; save the sheet as CSV")
    packable = TEXT_SUFFIXES + JSON_SUFFIXES
    known = packable + PARQUET_SUFFIXES + DATABASE_SUFFIXES + ARRAY_SUFFIXES
    if suffix not in (packable if path.suffix.lower() in PACKED_SUFFIXES else known):
        raise DataError(f"{path} has suffix {path.suffix!r}; give {ALLOWED}")


def _ready(
    session: Session, file: BinaryIO, path: Path, index: int, encoding: str | None
) -> InputFile:
    """Return one file, copied if it is a pipe, compressed, or not in UTF-8."""
    source = shown(path)
    copy = session.folder / f"input{index}"
    with _errors_as_data_errors(source):
        regular = str(path) != "-" and stat.S_ISREG(path.stat().st_mode)
        place = path.absolute() if regular else _copied(file, copy.with_suffix(".spooled"))
        head = _head(place)
        suffix = path.suffix.lower()
        if suffix == ".gz" or (not regular and head.startswith(b"\x1f\x8b")):
            with gzip.open(place) as unpacked:
                if encoding is None:  # checked first, since the file may have gigabytes
                    _check_text_of(unpacked, source, suffix_of(path) if regular else "")
                place = _copied(unpacked, copy.with_suffix(".unpacked"))
        elif suffix == ".zst" or (not regular and head.startswith(b"\x28\xb5\x2f\xfd")):
            place = _unpacked_zst(session, _plain_name(place, copy), copy, source)
        kind = _kind(_head(place), suffix_of(path) if regular else "")
        if kind == "text":
            place = _in_utf8(place, copy.with_suffix(".utf8"), encoding, source)
            _check_text(_head(place), source)
        return InputFile(_plain_name(place, copy), source, kind)


def _kind(head: bytes, suffix: str) -> str:
    """Return the kind of a file, by its suffix or, for a pipe, by its first bytes."""
    if suffix in PARQUET_SUFFIXES or (not suffix and head.startswith(b"PAR1")):
        return "parquet"
    if suffix in JSON_SUFFIXES or (not suffix and head.lstrip().startswith((b'{"', b'[{"'))):
        return "json"
    return "database" if suffix in DATABASE_SUFFIXES else "text"


def _copied(file: IO[bytes] | gzip.GzipFile, copy: Path) -> Path:
    with copy.open("wb") as target:
        shutil.copyfileobj(file, target, 1 << 20)
    return copy


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _plain_name(path: Path, copy: Path) -> Path:
    """Return the path, or a link to it if DuckDB would read the name as a pattern or not at all."""
    if re.fullmatch(r"[^*?\[{\ud800-\udfff]*", str(path)):
        return path
    link = copy.with_suffix(".link")
    try:
        link.symlink_to(path)
    except OSError:  # on Windows, links need a privilege
        shutil.copyfile(path, link)
    return link


def _unpacked_zst(session: Session, path: Path, copy: Path, source: str) -> Path:
    """Return a decompressed copy of a .zst file, made by DuckDB, since Python < 3.14 cannot."""
    read = (
        f"read_csv({literal(str(path))}, auto_detect=false, header=false, delim='\x1f', quote='', "
        "escape='', comment='', compression='zstd', max_line_size=67108864, strict_mode=false, "
        "hive_partitioning=false, columns={'line': 'VARCHAR'})"
    )
    unpacked = copy.with_suffix(".unpacked")
    result = session.run(f"SELECT line FROM {read}")
    with unpacked.open("w", encoding="utf-8", newline="") as target:
        while lines := result.fetchmany(10_000):
            target.writelines(f"{line or ''}\n" for (line,) in lines)
    return unpacked


def _in_utf8(path: Path, copy: Path, encoding: str | None, source: str) -> Path:
    """Return the path, or a copy in UTF-8 if the file is in another encoding."""
    head = _head(path)
    mark = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    codec = _codec(encoding) if encoding is not None else mark
    if codec in (None, "utf-8", "utf-8-sig", "ascii"):
        return path
    try:
        with path.open("rb") as raw, copy.open("w", encoding="utf-8", newline="") as target:
            text = io.TextIOWrapper(raw, codec, newline="")
            while part := text.read(1 << 20):
                target.write(part)
    except UnicodeError:
        raise DataError(
            f"{source} is not in the encoding {encoding or codec}; give another with --encoding"
        ) from None
    return copy


def _codec(encoding: str) -> str:
    """Return the name of a codec for text; raise DataError for an unknown one."""
    try:
        b"a,b".decode(encoding)
        return codecs.lookup(encoding).name
    except UnicodeError:
        return codecs.lookup(encoding).name
    except (LookupError, ValueError, TypeError):
        raise DataError(
            f"encoding is {encoding!r}; give a codec that Python knows, such as utf-8, utf-16, "
            "cp1252 or latin-1"
        ) from None


def _check_text_of(unpacked: gzip.GzipFile, source: str, suffix: str) -> None:
    """Raise DataError if the first bytes of a compressed text file are not text."""
    head = unpacked.read(4096)
    unpacked.seek(0)
    if _kind(head, suffix) == "text" and not head.startswith(tuple(_MARKS)):
        _check_text(head, source)


def _check_text(head: bytes, source: str) -> None:
    """Raise DataError, with advice, if the first bytes of a file are not text."""
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{source} is {what}")
    if head[8:12] == b"DUCK":
        raise DataError(f"{source} is a DuckDB database; name it .duckdb and give a query")
    zeros = [head[start::2].count(b"\0") for start in (0, 1)]
    if max(zeros) > len(head) // 4:
        guess = "utf-16-le" if zeros[1] >= zeros[0] else "utf-16-be"
        raise DataError(f"{source} is not in UTF-8; try --encoding {guess}")


def not_utf8(source: str, line: int | None = None) -> DataError:
    """Return the error for bytes that are not UTF-8."""
    place = source if line is None else f"{source}, line {line}"
    return DataError(
        f"{place}: the text is not in UTF-8; give its encoding with --encoding, often cp1252 or "
        "latin-1"
    )


def _reason(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


@contextmanager
def _errors_as_data_errors(source: str | Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise DataError(f"{source} is not a complete .gz file; compress it again") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise DataError(
                f"{source} has to be copied to {tempfile.gettempdir()}: {_reason(error)}; make "
                "room, or set TMPDIR to another folder"
            ) from None
        raise DataError(f"{source} cannot be read: {_reason(error)}") from None
