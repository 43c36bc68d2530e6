"""Bytes of any kind: a table or DataError, nothing else."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gpubp.tables.read import DataError, ReadOptions, read_chunks, read_table

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

_PIECES = [
    *(
        '"',
        "'",
        ",",
        ";",
        "\t",
        "|",
        "\n",
        "\r",
        "\r\n",
        " ",
        "\\",
        "\0",
        "\ufeff",
        "#",
        "=",
        "sep=;",
    ),
    *(
        "a",
        "y",
        "1",
        "01",
        "1.5",
        "1,5",
        "NA",
        "inf",
        "1e999",
        "_",
        "-",
        "é",
        "\u2028",
        "{",
        "[",
        ":",
    ),
    *('""', '"a', 'b"', "\n\n", "a,b,y\n", "1,2,3\n", '{"a": 1}\n', "\x1f", "\x85", "x" * 300),
]
_TEXT = st.lists(st.sampled_from(_PIECES), max_size=40).map("".join)
_BYTES = st.one_of(
    st.binary(max_size=200),
    _TEXT.map(str.encode),
    _TEXT.map(lambda text: text.encode("utf-16")),
    st.tuples(_TEXT.map(str.encode), st.binary(max_size=5), _TEXT.map(str.encode)).map(b"".join),
    _TEXT.map(lambda text: gzip.compress(text.encode())),
)
_SUFFIXES = st.sampled_from(
    [".csv"] * 8 + [".tsv", ".txt", ".csv.gz", ".csv.zst", ".parquet", ".jsonl", ".json", ".db"]
)


@hypothesis.settings(
    max_examples=200, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(
    content=_BYTES, suffix=_SUFFIXES, header=st.sampled_from([None, None, True, False])
)
def test_hostile_bytes(tmp_path_factory, content, suffix, header):
    path = Path(tmp_path_factory.getbasetemp()) / f"hostile{suffix}"
    path.write_bytes(content)
    options = ReadOptions(header=header)
    try:
        table = read_table(path, options)
    except DataError as error:
        assert str(error)  # noqa: PT017
        assert "\n" not in str(error).replace(str(path), "")  # noqa: PT017
        return
    assert all(len(column) == len(table) for column in table.columns.values())
    assert len(set(table.names)) == len(table.names)
    parts = list(read_chunks(path, 3, options))
    assert sum(map(len, parts)) == len(table)
    assert {part.names for part in parts} == {table.names}
