"""The encoder as nodes: one input per used column, and the encoded rows of the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import product

import numpy as np

from gpubp.models.onnx.dates import date_nodes
from gpubp.models.onnx.graph import GraphBuilder
from gpubp.tables.column import marked_numbers
from gpubp.tables.column_types.numbers import LARGEST_INTEGER, read_numbers
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.encoding.encode_dates import DateEncoding
from gpubp.tables.encoding.encodings import (
    BooleanEncoding,
    CategoryEncoding,
    Encoding,
    NumberEncoding,
)
from gpubp.tables.encoding.robust_scale import HUGE, LIMIT, RobustScale
from gpubp.tables.frame import missing_markers

F8 = np.float64
LARGEST = np.finfo(F8).max


def encoded_columns(graph: GraphBuilder, encoder: TableEncoder) -> str:
    """Add an input for each used column; return the encoded rows, (rows, n_outputs).

    The values are computed in float64, as in `TableEncoder`, and have its dtype.
    """
    missing = missing_markers(encoder.na)
    parts = []
    for encoding in encoder.encodings_:
        with graph.scope(f"column {encoding.type.name}"):
            parts += [graph.cast(part, encoder.dtype) for part in _parts(graph, encoding, missing)]
    return graph.op("Concat", *parts, axis=1)


def _parts(graph: GraphBuilder, encoding: Encoding, missing: frozenset[str]) -> Iterable[str]:
    """Return the outputs of a column: values of any dtype, (rows, width)."""
    name = encoding.type.name
    if isinstance(encoding, NumberEncoding):
        return _number(graph, graph.input(name, F8), encoding, missing)
    if isinstance(encoding, DateEncoding):
        return date_nodes(graph, graph.input(name, np.int64), encoding)
    texts = graph.input(name, object)
    if isinstance(encoding, BooleanEncoding):
        return [_boolean(graph, texts, encoding, missing)]
    assert isinstance(encoding, CategoryEncoding)
    return [_category(graph, texts, encoding, missing)]


def _number(
    graph: GraphBuilder, x: str, encoding: NumberEncoding, missing: Collection[str]
) -> Iterator[str]:
    """Yield the outputs of a number column; NaN, infinity and markers such as -999 are gaps."""
    known = graph.op("LessOrEqual", graph.op("Abs", x), F8(LARGEST))
    for marker in marked_numbers(missing):
        differs = graph.op("Not", graph.op("Equal", x, F8(marker)))
        known = graph.op("And", known, differs)
    if encoding.robust is not None:
        numbers = graph.op("Where", known, x, F8(encoding.robust.median))
        yield graph.unsqueeze(_robust(graph, numbers, encoding.robust), 1)
        if encoding.robust.has_tail:
            yield graph.unsqueeze(_tails(graph, numbers, encoding.robust), 1)
    else:
        found = encoding.statistics
        fill = F8((found.median - found.mean) / found.scale)
        scaled = graph.op("Div", graph.op("Sub", x, F8(found.mean)), F8(found.scale))
        yield graph.unsqueeze(graph.op("Where", known, scaled, fill), 1)
    if encoding.type.gaps:
        yield graph.unsqueeze(graph.op("Not", known), 1)


def _robust(graph: GraphBuilder, x: str, of: RobustScale) -> str:
    """Return (c - mean) / spread for c = z / sqrt(1 + z² / 9); see `RobustScale.scaled`."""
    z = graph.op("Div", graph.op("Sub", x, F8(of.median)), F8(of.scale))
    z = graph.op("Clip", z, F8(-HUGE), F8(HUGE))
    part = graph.op("Div", z, F8(LIMIT))
    root = graph.op("Sqrt", graph.op("Add", F8(1), graph.op("Mul", part, part)))
    c = graph.op("Div", z, root)
    return graph.op("Div", graph.op("Sub", c, F8(of.mean)), F8(of.spread))


def _tails(graph: GraphBuilder, x: str, of: RobustScale) -> str:
    """Return the asinh of z = (x - median) / tail; see `RobustScale.tails`.

    asinh(|z|) = log(a + sqrt(a² + 1)) + log(|z| / a) with a = min(|z|, HUGE), so that a² does not
    overflow; above HUGE, asinh(|z|) and log(2 |z|) are equal in float64.
    """
    z = graph.op("Div", graph.op("Sub", x, F8(of.median)), F8(of.tail))
    z = graph.op("Clip", z, F8(-LARGEST), F8(LARGEST))
    size = graph.op("Abs", z)
    a = graph.op("Min", size, F8(HUGE))
    root = graph.op("Sqrt", graph.op("Add", graph.op("Mul", a, a), F8(1)))
    near = graph.op("Log", graph.op("Add", a, root))
    far = graph.op("Log", graph.op("Div", graph.op("Max", size, F8(HUGE)), F8(HUGE)))
    return graph.op("Mul", graph.op("Sign", z), graph.op("Add", near, far))


def _boolean(
    graph: GraphBuilder, texts: str, encoding: BooleanEncoding, missing: Collection[str]
) -> str:
    """Return the outputs of a boolean column, a lookup of the rows for false, true and gaps."""
    false, true = encoding.words
    spellings = {0: ("0", "0.0", "false", false), 1: ("1", "1.0", "true", true)}
    codes = {text: code for code, words in spellings.items() for text in _spelled(words)}
    codes |= dict.fromkeys(missing, 2)
    table = np.zeros((3, len(encoding.outputs)))
    table[:, 0] = 0, 1, encoding.common
    table[2, 1:] = 1
    return graph.op("Gather", table, graph.look_up(texts, codes, 2), axis=0)


def _spelled(words: Iterable[str]) -> Iterator[str]:
    """Yield all spellings of words in upper and lower case."""
    for word in words:
        yield from map("".join, product(*({c.lower(), c.upper()} for c in word)))


def _category(
    graph: GraphBuilder, texts: str, encoding: CategoryEncoding, missing: Collection[str]
) -> str:
    """Return the one-hot outputs of a category; the place -1 has none."""
    count = len(encoding.values)
    unseen = count if encoding.other else -1
    gap = count + encoding.other if encoding.type.gaps else unseen
    codes = {value: place for place, value in enumerate(encoding.values)}
    if encoding.from_numbers:
        codes = _with_numbers(codes)
    codes |= dict.fromkeys(missing, gap)
    places = graph.unsqueeze(graph.look_up(texts, codes, unseen), 1)
    width = len(encoding.outputs)
    return graph.op("Equal", places, np.arange(width, dtype=np.int64)[None])


def _with_numbers(codes: dict[str, int]) -> dict[str, int]:
    """Return the codes of texts with those of the other ways to write whole numbers: "1.0" and 1.

    A number that several texts stand for has no other way.
    """
    numbers = dict(zip(codes, read_numbers(list(codes), ".").tolist(), strict=True))
    rows = Counter(numbers.values())
    found = dict(codes)
    for text, number in numbers.items():
        if rows[number] == 1 and number == np.trunc(number) and abs(number) < LARGEST_INTEGER:
            for alias in (f"{number:.0f}", f"{number:.1f}"):
                found.setdefault(alias, codes[text])
    return found
