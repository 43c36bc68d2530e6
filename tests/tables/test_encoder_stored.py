"""A fitted encoder as JSON and tensors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.storage.model_file import ModelRecord, read_model, write_model
from gpubp.tables.encoder import TableEncoder

ROWS = {
    "n": [1.0, 2, np.nan, 5],
    "b": ["yes", "no", "no", None],
    "c": ["u", "v", "u", "w"],
    "d": ["1/2/2020 10:00", "13/2/2020 11:00", "14/3/2020 10:00", None],
    "t": ["1,5", "2,5", "0,5", "2"],
    "k": ["x"] * 4,
}
ENCODER = TableEncoder(categorical=["c"]).fit(ROWS)


@pytest.mark.parametrize("options", [{}, {"sparse": True, "dtype": "float64"}])
def test_an_encoder_comes_back_from_a_file(tmp_path: Any, options: dict[str, Any]) -> None:
    encoder = TableEncoder(**options).fit(ROWS)
    write_model(tmp_path / "a.model", ModelRecord(encoder.to_header(), encoder.tensors()))
    record = read_model(tmp_path / "a.model")
    again = TableEncoder.from_parts(record.header, record.tensors)
    assert again.types_ == encoder.types_
    assert again.encodings_ == encoder.encodings_
    assert again.summary() == encoder.summary()
    assert again.feature_names_in_.tolist() == list(ROWS)
    X, Z = encoder.transform(ROWS), again.transform(ROWS)
    assert type(X) is type(Z)
    if options:
        X, Z = X.toarray(), Z.toarray()
    assert_array_equal(X, Z, strict=True)
    assert again.to_header() == encoder.to_header()


def test_an_encoder_of_an_array_has_no_names() -> None:
    encoder = TableEncoder().fit([[1.0, 2], [3, 4]])
    again = TableEncoder.from_parts(encoder.to_header(), encoder.tensors())
    assert not hasattr(again, "feature_names_in_")
    assert_array_equal(again.transform([[1, 2]]), encoder.transform([[1, 2]]))


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Set header[path...] to the last item."""

    def change(header: dict[str, Any]) -> None:
        *places, key, value = path
        target: Any = header
        for place in places:
            target = target[place]
        target[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("new", 1),
        _set("names", ["n", "n", "b", "c", "d", "t", "k"]),
        _set("names", ["n", "b", "c", "d", "t"]),
        _set("names", [1]),
        _set("names", "nbcdtk"),
        _set("named", 1),
        _set("dtype", "float16"),
        _set("dtype", ["float32"]),
        _set("sparse", None),
        _set("sparse", 1),
        _set("columns", {}),
        _set("columns", []),
        _set("columns", [1]),
        _set("columns", 0, {}),
        _set("columns", 0, "name", 1),
        _set("columns", 0, "kind", "other"),
        _set("columns", 0, "kind", []),
        _set("columns", 0, "kind", "category"),
        _set("columns", 0, "kind", "text"),
        _set("columns", 0, "gaps", -1),
        _set("columns", 0, "gaps", 1.5),
        _set("columns", 0, "gaps", True),
        _set("columns", 0, "distinct", "1"),
        _set("columns", 0, "remarks", [None]),
        _set("columns", 0, "decimal", ";"),
        _set("columns", 0, "strays", "x"),
        _set("columns", 0, "order", "dmy"),
        _set("columns", 0, "values", []),
        _set("columns", 1, "words", ["no", "no"]),
        _set("columns", 1, "words", ["no"]),
        _set("columns", 1, "common", 0),
        _set("columns", 2, "values", ["v", "u"]),
        _set("columns", 2, "values", ["u", "u"]),
        _set("columns", 2, "values", [1]),
        _set("columns", 2, "other", None),
        _set("columns", 3, "order", ""),
        _set("columns", 3, "parts", []),
        _set("columns", 3, "parts", ["day", "month", "hour", "seconds"]),
        _set("columns", 3, "parts", ["month", "day", "hour"]),
        _set("columns", 3, "parts", ["century"]),
        _set("columns", 3, "parts", ["year", "month", "day", "weekday", "hour", "seconds"]),
        _set("columns", 5, "kind", "number"),
        _set("columns", 5, "name", "n"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    header = json.loads(json.dumps(ENCODER.to_header()))
    TableEncoder.from_parts(copy.deepcopy(header), ENCODER.tensors())
    change(header)
    with pytest.raises(ValueError, match=r"\w"):
        TableEncoder.from_parts(header, ENCODER.tensors())


@pytest.mark.parametrize("key", list(ENCODER.to_header()["columns"][3]))
def test_a_key_must_not_be_missing(key: str) -> None:
    header = json.loads(json.dumps(ENCODER.to_header()))
    del header["columns"][3][key]
    with pytest.raises(ValueError, match=key):
        TableEncoder.from_parts(header, ENCODER.tensors())


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((4, 5)),
        np.ones((4, 4)),
        np.ones(20),
        np.ones((3, 5)),
        np.ones((5, 5)),
        np.ones((4, 5), np.float32),
        np.full((4, 5), np.nan),
        np.ones((4, 5), bool),
        -np.ones((4, 5)),
    ],
)
def test_statistics_that_do_not_fit_are_refused(tensor: Any) -> None:
    name = "encoder.statistics"
    assert ENCODER.tensors()[name].shape == (4, 5)
    TableEncoder.from_parts(ENCODER.to_header(), {name: np.ones((4, 5)), "other": tensor})
    for tensors in ({name: tensor}, {}):
        with pytest.raises(ValueError, match=r"scale|statistics"):
            TableEncoder.from_parts(ENCODER.to_header(), tensors)


@pytest.mark.parametrize("header", [None, [], "x", 1, {}])
def test_what_is_no_header_is_refused(header: Any) -> None:
    with pytest.raises(ValueError, match=r"encoder|missing"):
        TableEncoder.from_parts(header, ENCODER.tensors())
