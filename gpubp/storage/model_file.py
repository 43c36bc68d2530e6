"""The file format of saved models: tensors and one JSON header in a safetensors file.

Nothing in a file is executable, and no name in it is ever imported. The modules that save and load
models define the contents of the header, and check them with `require`, `choose` and `only_keys`.
"""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpubp.storage.atomic_file import atomic_write, clear_errors
from gpubp.version import __version__

FORMAT = "gpubp"
FORMAT_VERSION = 1

_DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "BOOL": np.bool_}
_DIGEST = "sha256"  # of the header and the tensors; files of early versions have none
_MAX_HEADER_BYTES = 100_000_000  # the limit of safetensors itself
_DAMAGED = "the file is damaged, so restore it or save the model again"

T = TypeVar("T")

_short = reprlib.Repr()  # names in a damaged file can have any length
_short.maxstring = _short.maxother = _short.maxlong = 120


class ModelFileError(ValueError):
    """A model file that cannot be read or written."""


@dataclass(frozen=True, eq=False)
class ModelRecord:
    """The contents of a model file.

    header: JSON values only; tuples are read back as lists; NaN and infinity are refused.
    tensors: float32, float64, int64 or bool arrays of any shape, with finite values only.
    gpubp_version: version of gpubp that wrote the file.
    """

    header: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    gpubp_version: str = __version__


def write_model(path: str | os.PathLike[str], record: ModelRecord) -> None:
    """Write the record to path; an existing file is replaced only when the new one is complete.

    Raises ModelFileError for a record that `read_model` would refuse, and if path cannot be
    written.
    """
    from safetensors.numpy import save

    with errors_of(path):
        tensors = {name: _checked(name, array) for name, array in record.tensors.items()}
        data = save(tensors, {FORMAT: _envelope_to_json(record.header, tensors)})
    try:
        with atomic_write(path) as temporary, clear_errors(path):
            temporary.write_bytes(data)
    except OSError as error:
        raise ModelFileError(str(error)) from None


def read_model(path: str | os.PathLike[str]) -> ModelRecord:
    """Return the record in the file at path; its arrays are writable and C-contiguous.

    Raises ModelFileError for a file that is not a complete model file this gpubp can read.
    """
    with errors_of(path):
        envelope, data = _read_checked(Path(path))
        header, tensors = envelope["header"], _tensors(data)
        if _DIGEST in envelope and envelope[_DIGEST] != _digest(header, tensors):
            raise ModelFileError(f"its contents do not match its checksum; {_DAMAGED}")
        return ModelRecord(header, tensors, envelope["gpubp_version"])


@contextmanager
def errors_of(path: str | os.PathLike[str]) -> Iterator[None]:
    """Prefix a ModelFileError raised in the block with the file's name, once."""
    prefix = f"{Path(path)}: "
    try:
        yield
    except ModelFileError as error:
        if str(error).startswith(prefix):
            raise
        raise ModelFileError(prefix + str(error)) from None


def require(header: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """Return header[key]; raise ModelFileError unless it is of type ``kind``.

    An int counts as a float, but a bool does not count as an int.
    """
    if key not in header:
        raise ModelFileError(f"{key!r} is missing from the header; {_DAMAGED}")
    return _as_kind(repr(key), header[key], kind)


def require_list(header: Mapping[str, Any], key: str, kind: type[T]) -> list[T]:
    """Return header[key]; raise ModelFileError unless it is a list of items of type ``kind``."""
    items: list[Any] = require(header, key, list)
    return [_as_kind(f"item {i} of {key!r}", item, kind) for i, item in enumerate(items)]


def choose(header: Mapping[str, Any], key: str, allowed: Collection[str]) -> str:
    """Return header[key]; raise ModelFileError unless it is one of the names in ``allowed``."""
    name = require(header, key, str)
    if name not in allowed:
        raise ModelFileError(
            f"{key!r} is {_short.repr(name)}, but this gpubp knows {_listed(allowed)}; "
            "upgrade gpubp, or restore the file if it is damaged"
        )
    return name


def only_keys(header: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Raise ModelFileError if header (or a dict of tensors) has a key that is not in allowed."""
    unknown = sorted(set(header) - set(allowed))
    if unknown:
        raise ModelFileError(
            f"unknown key {_short.repr(unknown[0])}, but this gpubp knows {_listed(allowed)}; "
            "upgrade gpubp, or restore the file if it is damaged"
        )


def require_tensor(
    tensors: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Return tensors[name]; raise ModelFileError unless it has the given shape.

    None in ``shape`` stands for any length.
    """
    if name not in tensors:
        raise ModelFileError(f"tensor {name!r} is missing; {_DAMAGED}")
    got = tensors[name].shape
    if len(got) != len(shape) or any(b not in (None, a) for a, b in zip(got, shape, strict=True)):
        wanted = "(" + ", ".join("any" if b is None else str(b) for b in shape) + ")"
        raise ModelFileError(f"tensor {name!r} has shape {got}, but needs {wanted}; {_DAMAGED}")
    return tensors[name]


def _as_kind(what: str, value: Any, kind: type[T]) -> T:
    if kind is float and type(value) is int:
        with suppress(OverflowError):
            value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ModelFileError(
            f"{what} is {_short.repr(value)}, but must be of type {kind.__name__}; {_DAMAGED}"
        )
    return value


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def _envelope_to_json(header: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    try:
        # A single key of metadata, because safetensors writes several keys in random order.
        return _strict_json(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "gpubp_version": __version__,
                _DIGEST: _digest(header, tensors),
                "header": header,
            }
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"the model cannot be saved, as its header is not plain JSON ({error}); "
            "use finite numbers, strings, lists and dicts"
        ) from None


def _strict_json(value: Any) -> str:
    """Return value as JSON; raise ValueError for NaN, infinity and invalid Unicode."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    text.encode()
    return text


def _checked(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array C-contiguous; raise ModelFileError if it could not be read back."""
    if name == "__metadata__":
        raise ModelFileError("a tensor cannot be called '__metadata__'; safetensors reserves it")
    if array.dtype not in _DTYPES.values():
        raise ModelFileError(
            f"tensor {name!r} has dtype {array.dtype.str!r}, but a model file holds float32, "
            "float64, int64 and bool; convert it first"
        )
    if not np.isfinite(array).all():
        raise ModelFileError(
            f"tensor {name!r} has NaN or infinite values; a model that diverged is not saved, "
            "so train it again with a smaller learning rate"
        )
    # safetensors 0.8.0 silently writes wrong values for other layouts (safetensors#825).
    # np.ascontiguousarray would turn a scalar into a vector.
    return np.asarray(array, order="C")


def _digest(header: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the checksum of a model's header and of its tensors with names and shapes."""
    found = hashlib.sha256(_strict_json(header).encode())
    for name, array in sorted(tensors.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ravel(array).data)  # the memory itself: models can be large
    return found.hexdigest()


def _read_checked(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the envelope of the model's header, and the bytes of the whole file.

    The whole file is read only after the envelope is known to be that of a model.
    """
    size = _regular_size(path)
    try:
        with path.open("rb") as file:
            envelope = _envelope_of(_read_outer_header(file, size))
            file.seek(0)
            return envelope, file.read()
    except OSError as error:
        raise ModelFileError(
            f"cannot be read ({error.strerror or error}); check the permissions and the disk"
        ) from None


def _regular_size(path: Path) -> int:
    """Return the length in bytes of the file at path, which must be a regular one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise ModelFileError("no such file; check the path or train a model first") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"cannot be read ({reason}); check the path") from None
    if stat.S_ISDIR(found.st_mode):
        raise ModelFileError("a directory; give the path of the model file in it")
    if not stat.S_ISREG(found.st_mode):
        raise ModelFileError("not a regular file; give the path of a model file")
    if found.st_size == 0:
        raise ModelFileError("empty; restore the file or save the model again")
    return found.st_size


def _read_outer_header(file: BinaryIO, size: int) -> Any:
    """Return the JSON header of a safetensors file: 8 bytes of length, then an object."""
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if start[8:] != b"{" or length > _MAX_HEADER_BYTES:
        raise ModelFileError(
            "not a safetensors file, or cut off within its first bytes; "
            "give a file that gpubp saved"
        )
    if length > size - 8:
        raise ModelFileError(
            f"truncated: the header should have {length} bytes, but only {size - 8} follow; "
            "restore the file or save the model again"
        )
    file.seek(8)
    return _parse(file.read(length), "safetensors header")


def _parse(text: str | bytes, what: str) -> Any:
    try:
        value = json.loads(text.decode() if isinstance(text, bytes) else text)
        _strict_json(value)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"the {what} is not valid JSON ({error}); {_DAMAGED}") from None
    return value


def _envelope_of(outer: Any) -> dict[str, Any]:
    """Return the envelope of the model's header, from ``outer``, the safetensors header."""
    metadata = outer.get("__metadata__") if isinstance(outer, dict) else None
    text = metadata.get(FORMAT) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ModelFileError(
            f"a safetensors file, but not a model of gpubp: its metadata has no {FORMAT!r}; "
            "give a file that gpubp saved"
        )
    envelope = _parse(text, "model header")
    if not isinstance(envelope, dict):
        raise ModelFileError(f"the model header is not a JSON object; {_DAMAGED}")
    choose(envelope, "format", [FORMAT])
    _check_version(require(envelope, "format_version", int))
    only_keys(envelope, ["format", "format_version", "gpubp_version", _DIGEST, "header"])
    for key, kind in (("gpubp_version", str), ("header", dict), (_DIGEST, str)):
        if key in envelope or key != _DIGEST:
            require(envelope, key, kind)
    return envelope


def _check_version(version: int) -> None:
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"was written by a newer gpubp (format {_short.repr(version)}; "
            f"this gpubp reads up to {FORMAT_VERSION}); upgrade gpubp"
        )
    if version < 1:
        raise ModelFileError(f"'format_version' is {_short.repr(version)}, below 1; {_DAMAGED}")


def _tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays in the bytes of a safetensors file, sorted by name."""
    import safetensors

    deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize
    try:
        found = sorted(deserialize(data), key=itemgetter(0))
    except Exception as error:  # the bytes are untrusted: any failure means a damaged file
        reason = _short.repr(str(error))
        raise ModelFileError(
            f"truncated or damaged ({reason}); restore the file or save the model again"
        ) from None
    return {name: _tensor(name, spec) for name, spec in found}


def _tensor(name: str, spec: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array that one entry of `safetensors.deserialize` describes."""
    shown = f"tensor {_short.repr(name)}"
    dtype = _DTYPES.get(spec["dtype"])
    if dtype is None:
        raise ModelFileError(
            f"{shown} has dtype {spec['dtype']!r}, but a model file holds {_listed(_DTYPES)}; "
            "save the model again with gpubp"
        )
    try:
        array: NDArray[Any] = np.frombuffer(spec["data"], dtype=dtype).reshape(spec["shape"])
    except (ValueError, OverflowError) as error:
        raise ModelFileError(f"{shown} has an impossible shape ({error}); {_DAMAGED}") from None
    if not np.isfinite(array).all():
        raise ModelFileError(f"{shown} has NaN or infinite values; {_DAMAGED}")
    if dtype is np.bool_ and (array.view(np.uint8) > 1).any():
        raise ModelFileError(f"{shown} has bool values other than 0 and 1; {_DAMAGED}")
    return array
