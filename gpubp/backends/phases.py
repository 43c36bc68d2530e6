"""Cuts a recorded step into phases of tiles, which the workers of a pool share.

A batch takes two phases. In the first, a tile is some rows of the batch: they are gathered, and
forward, loss and all deltas are computed for them, independently of other rows. In the second, a
tile is some weights: their gradient is summed over all rows, they are updated, and they are packed
for the products of the next step. The tiles depend only on the shapes of the arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gpubp.backends.compiled_calls import Call
from gpubp.backends.step_recorder import (
    MOST_SUMMED,
    Extent,
    HostCall,
    Op,
    Product,
    RowSums,
    Unplanned,
    extent,
    overlap,
)
from gpubp.backends.tiled_products import (
    WHOLE_PANELS,
    Packed,
    is_packed,
    pack_call,
    packed,
    rows_call,
    sums_call,
)
from gpubp.kernels.elementwise import RUN

TILE_ROWS = 64  # about
# Weights of a layer from which a tile has twice as many rows: they are read once for each tile.
LARGE = 1 << 19
MOST_WEIGHTS, LEAST_WEIGHTS = 131_072, 1_024  # of a tile
MOST_ROWS = 2048  # of a tile of weights: memory for them is kept by each thread
MOST_TILES = 1 << 20  # of a phase, which the pool can count
TILES = 8  # of weights, at least, where they are not too small


class Piece(NamedTuple):
    """A call over a range of its elements."""

    call: Call
    begin: int
    end: int


@dataclass
class Phase:
    """Tiles in any order, each of pieces one after the other; ``after`` them, further pieces.

    then : a function of Python, called at the end.
    """

    tiles: list[list[Piece]] = field(default_factory=list)
    after: list[Piece] = field(default_factory=list)
    then: Callable[[], object] | None = None


class Phases(NamedTuple):
    """``before`` : done once before any number of steps; ``step`` : the phases of one step."""

    before: list[Phase]
    step: list[Phase]


@dataclass
class _Batch:
    """A batch, or a part of one: ops that compute row by row, then sums over all rows."""

    rows: list[Op] = field(default_factory=list)
    sums: list[Product | RowSums] = field(default_factory=list)


def cut(ops: list[Op], networks: int = 1) -> Phases:
    """Return the phases of a step; raise `Unplanned` where it has another form.

    networks : of which the step is that of the first; there is room for the packed matrices of all.
    """
    batches, rest = _split(ops)
    if not batches:
        raise Unplanned("it has no product")
    packs: list[Packed] = []
    phases: list[Phase] = []
    _check_sums([op for batch in batches for op in batch.sums])
    for batch in batches:
        Bs = [op.B for op in batch.sums if isinstance(op, Product) and not is_packed(op.B)]
        deltas = {B.ctypes.data: packed(B, False, networks) for B in Bs}
        phases.append(Phase(_row_tiles(batch.rows, packs, list(deltas.values()), networks)))
        if batch.sums:
            phases.append(Phase(_sum_tiles(batch.sums, _tiles_of(batch.sums), deltas)))
    _add_updates(phases, batches, rest, packs)
    before = [Phase(_pack_tiles(packs))] if packs else []
    if not all(0 < len(phase.tiles) < MOST_TILES for phase in [*before, *phases]):
        raise Unplanned("a phase has too many tiles, or none")
    return Phases(before, phases)


def _split(ops: list[Op]) -> tuple[list[_Batch], list[Op]]:
    """Return the batches, whose rows are independent, and the ops after their last sum."""
    sums = [op for op in ops if _is_sum(op, ops)]
    last = ops.index(sums[-1]) + 1 if sums else len(ops)
    if any(isinstance(op, HostCall) for op in ops[:last]):
        raise Unplanned("it calls the host before its gradient is complete")
    batches = [_Batch()]
    for op in ops[:last]:
        if op in sums and isinstance(op, Product | RowSums):
            batches[-1].sums.append(op)
            continue
        if any(op.conflicts(done) and _overwrites(op, done) for done in batches[-1].sums):
            batches.append(_Batch())
        batches[-1].rows.append(op)
    return [batch for batch in batches if batch.rows], ops[last:]


def _is_sum(op: Op, ops: list[Op]) -> bool:
    """Return whether ``op`` sums over rows: the B of a product is what ops before it wrote."""
    if not isinstance(op, Product):
        return isinstance(op, RowSums)
    before = ops[: ops.index(op)]
    return any(overlap([extent(op.B)], other.writes) for other in before)


def _overwrites(op: Op, done: Op) -> bool:
    return overlap(op.writes, [*done.reads, *done.writes]) or overlap(op.reads, done.writes)


def _row_tiles(
    ops: list[Op], packs: list[Packed], deltas: list[Packed], networks: int
) -> list[list[Piece]]:
    """Return tiles of rows: each of all ``ops``, then its rows of each delta packed for the sums.

    packs : takes the weights that the products read packed. networks : see `cut`.
    """
    products = [op for op in ops if isinstance(op, Product)]
    if not products:
        raise Unplanned("it has no product of its rows")
    rows = len(products[0].out)
    most = TILE_ROWS * (1 + (max(op.B.size for op in products) >= LARGE))
    tiles: list[list[Piece]] = [[] for _ in range(-(-rows // most))]
    size = -(-rows // len(tiles))
    calls = [
        _rows_product(op, rows, packs, networks) if isinstance(op, Product) else op.call
        for op in ops
    ] + [pack_call(each) for each in deltas]
    for call in calls:
        if call is None or call.elements % rows:
            raise Unplanned("an operation does not compute row by row")
        per_row = call.elements // rows
        for k, tile in enumerate(tiles):
            begin, end = k * size, min(rows, (k + 1) * size)
            tile.append(Piece(call, begin * per_row, end * per_row))
    return tiles


def _rows_product(op: Product, rows: int, packs: list[Packed], networks: int) -> Call:
    if op.transpose_a or len(op.out) != rows:
        raise Unplanned("a product does not compute row by row")
    if op.A.shape[1] > MOST_SUMMED:
        raise Unplanned(f"a layer has more than {MOST_SUMMED:,} inputs")
    key = (op.B.ctypes.data, op.B.shape, op.transpose_b)
    found = next((p for p in packs if (p.W.ctypes.data, p.W.shape, p.transposed) == key), None)
    plain = len(op.B) == 1 if op.transpose_b else is_packed(op.B)
    if found is None and not plain:
        packs.append(found := packed(op.B, op.transpose_b, networks))
    return rows_call(op.A, op.B if found is None else found.room, op.out, op.accumulate)


def _pack_tiles(packs: list[Packed]) -> list[list[Piece]]:
    return [
        [Piece(call, begin, min(len(each.W), begin + step))]
        for each in packs
        for call in [pack_call(each)]
        for step in [_rows_per_tile(each.W.shape, MOST_WEIGHTS)]
        for begin in range(0, len(each.W), step)
    ]


class _Tile(NamedTuple):
    """Rows of one gradient: of ``op``, from ``begin`` to ``end``."""

    op: Product | RowSums
    begin: int
    end: int

    @property
    def size(self) -> int:
        return (self.end - self.begin) * int(self.op.out.shape[1])

    @property
    def address(self) -> int:
        return int(self.op.out.ctypes.data) + self.begin * int(self.op.out.strides[0])


def _tiles_of(sums: list[Product | RowSums]) -> list[list[_Tile]]:
    """Return the tiles of gradients: parts of a large one, or several small ones, largest first."""
    total = sum(op.out.size for op in sums)
    most = min(MOST_WEIGHTS, max(LEAST_WEIGHTS, total // TILES))
    tiles: list[list[_Tile]] = [[]]
    for op in sorted(sums, key=lambda op: int(op.out.ctypes.data)):
        step = _rows_per_tile(op.out.shape, most)
        for begin in range(0, len(op.out), step):
            tile = _Tile(op, begin, min(len(op.out), begin + step))
            if tiles[-1] and sum(t.size for t in tiles[-1]) + tile.size > most:
                tiles.append([])
            tiles[-1].append(tile)
    return sorted(tiles, key=lambda tile: -sum(t.size * _rows_summed(t.op) for t in tile))


def _rows_per_tile(shape: tuple[int, ...], most: int) -> int:
    rows, columns = shape
    step = min(MOST_ROWS, max(WHOLE_PANELS, most // columns // WHOLE_PANELS * WHOLE_PANELS))
    tiles = -(-rows // step)
    even = -(-rows // tiles)
    return -(-even // WHOLE_PANELS) * WHOLE_PANELS if tiles > 1 else rows


def _rows_summed(op: Product | RowSums) -> int:
    if isinstance(op, RowSums):
        return op.rows
    return int(op.A.shape[0] if op.transpose_a else op.A.shape[1])


def _check_sums(sums: list[Product | RowSums]) -> None:
    """Raise `Unplanned` if one chain would add too many rows, those of all parts of a batch."""
    summed: dict[int, int] = {}
    for op in sums:
        place, rows = int(op.out.ctypes.data), _rows_summed(op)
        if op.accumulate and place not in summed:
            raise Unplanned("a gradient is added to that of other steps")
        summed[place] = rows + (summed[place] if op.accumulate else 0)
        if summed[place] > MOST_SUMMED:
            raise Unplanned(f"a batch has more than {MOST_SUMMED:,} rows")


def _sum_tiles(
    sums: list[Product | RowSums], tiles: list[list[_Tile]], deltas: dict[int, Packed]
) -> list[list[Piece]]:
    calls: dict[int, tuple[Call, int]] = {}  # with the call's elements per row of the gradient
    for op in sums:
        if isinstance(op, RowSums):
            assert op.call is not None  # compiled before the step is cut
            calls[id(op)] = op.call, RUN
            continue
        if op.transpose_b or not (op.transpose_a or len(op.A) == 1):
            raise Unplanned("a product sums over neither rows nor inputs")
        delta = deltas.get(op.B.ctypes.data)
        calls[id(op)] = sums_call(op.A, op.B, delta and delta.room, op.out, op.accumulate), 1
    return [
        [
            Piece(call, t.begin * elements, t.end * elements)
            for t in tile
            for call, elements in [calls[id(t.op)]]
        ]
        for tile in tiles
    ]


def _add_updates(
    phases: list[Phase], batches: list[_Batch], rest: list[Op], packs: list[Packed]
) -> None:
    """Add the ops after the gradient: of its elements to its tiles, others alone after a phase."""
    sums = batches[-1].sums
    if rest and not sums:
        raise Unplanned("an operation follows the rows, but no gradient does")
    tiles, gradients = _tiles_of(sums), [extent(op.out) for op in sums]
    done = [op for batch in batches for op in [*batch.rows, *batch.sums]]
    gradient, updated = None, []
    written = [*gradients]  # in the last phase
    for op in rest:
        flat = _by_elements(op, gradients)
        if phases[-1].then or (flat is not None and phases[-1].after):  # which this op may need
            phases.append(Phase([[] for _ in tiles]))
            written = []
        if flat is None and overlap(op.writes, [extent(each.W) for each in packs]):
            raise Unplanned("the update of the weights is not elementwise")
        if isinstance(op, HostCall):
            phases[-1].then = op.function
        elif op.call is None:
            raise Unplanned("a product follows the gradient")
        elif flat is not None:
            gradient = flat
            updated += [a for a in op.aligned if overlap([extent(a)], op.writes)]
            if overlap(op.raw_reads, written):
                raise Unplanned("an update needs more than its own elements of the gradient")
            written += op.writes
            for pieces, ranges in zip(phases[-1].tiles, _ranges(tiles, flat), strict=True):
                pieces += [Piece(op.call, begin, end) for begin, end in ranges]
        elif not any(other.conflicts(op) for other in done):
            phases[0].tiles.insert(0, [Piece(op.call, 0, op.call.elements)])
        else:
            phases[-1].after.append(Piece(op.call, 0, op.call.elements))
        done.append(op)
    if gradient is not None:
        _add_packing(phases[-1], tiles, packs, gradient, updated)


def _by_elements(op: Op, gradients: list[Extent]) -> np.ndarray | None:
    """Return the gradient whose element i is that of element i of ``op``; None for other ops."""
    flat = next((a for a in op.aligned if overlap([extent(a)], gradients)), None)
    return flat if flat is not None and op.call and op.call.elements == flat.size else None


def _ranges(tiles: list[list[_Tile]], flat: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return the elements of the ``flat`` gradient that belong to each tile, padding included."""
    begins = [[(t.address - flat.ctypes.data) // flat.itemsize for t in tile] for tile in tiles]
    ordered = sorted(begin for tile in begins for begin in tile)
    if ordered[0] != 0 or any(begin % RUN for begin in ordered) or ordered[-1] >= flat.size:
        raise Unplanned("the gradient is not one flat vector")
    ends = dict(zip(ordered, [*ordered[1:], flat.size], strict=True))
    return [[(begin, ends[begin]) for begin in tile] for tile in begins]


def _add_packing(
    phase: Phase,
    tiles: list[list[_Tile]],
    packs: list[Packed],
    gradient: np.ndarray,
    updated: list[np.ndarray],
) -> None:
    """Let each tile pack the weights that it has updated."""
    for each in packs:
        for vector in updated:
            if not overlap([extent(each.W)], [extent(vector)]):
                continue
            call, place, rows = pack_call(each), each.W.ctypes.data - vector.ctypes.data, 0
            for pieces, tile in zip(phase.tiles, tiles, strict=True):
                for t in tile:
                    if t.op.out.ctypes.data - gradient.ctypes.data == place:
                        pieces.append(Piece(call, t.begin, t.end))
                        rows += t.end - t.begin
            if rows != len(each.W):
                raise Unplanned("weights and their gradient lie differently")
