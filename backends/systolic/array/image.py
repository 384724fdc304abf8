"""The DRAM image: weight tiles and tables, each where its instruction will find it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from tetrapla.backends.systolic.array.formats import Format
from tetrapla.backends.systolic.array.order import Tile, tiles
from tetrapla.backends.systolic.array.products import Epilogue, Product
from tetrapla.backends.systolic.array.sparsity import stored
from tetrapla.backends.systolic.array.tiling import Block
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.layout import Moving, Placed
from tetrapla.backends.systolic.vector.operators import Pass
from tetrapla.backends.systolic.vector.routines import GatherStage
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic.isa import most
from tetrapla.simulators.systolic.tables import Descriptor

_ALIGNMENT = 64


class Table(NamedTuple):
    """A table entry in DRAM."""

    address: int
    bytes: int


class Load(NamedTuple):
    """A tile of weights in DRAM, as LDW takes it."""

    address: int
    rows: int
    cols: int
    fmt: int
    sparse: bool


class Fill(NamedTuple):
    """A tile in the unified buffer, as LUW takes it; `product` is the stage that reads it."""

    product: int
    table: Table
    source: Placed
    row: int
    tap: int
    rows: int
    cols: int
    transpose: bool
    fmt: int


class Use(NamedTuple):
    """One MM, with where its tiles and tables lie.

    Attributes:
        product: number of its stage.
        loads: what lies in the slots that are shifted in, one for each array with columns of
            its own.
        descriptor: of what moves.
        macs: of the model that it stands for.
        tables: a requantise row per epilogue, read once the taps are complete.
    """

    product: int
    tile: Tile
    loads: tuple[Load | Fill, ...]
    descriptor: Table
    tables: tuple[Table, ...]
    macs: int


@dataclass
class Image:
    """Grows by appending; `packed` as in `Program`.

    Attributes:
        loads: by identity of the weights, column, tap, and how it is stored: strips of one
            product share them.
        rows: requantise rows, by identity of the first epilogue's table, column and count.
        zeros: by format in DRAM and whether it is compressed, a tile of one zero.
        gathered: tables of gathers, by their identity.
    """

    data: bytearray = field(default_factory=bytearray)
    packed: dict[int, int] = field(default_factory=dict)
    loads: dict[tuple[int, int, int, bool], Load] = field(default_factory=dict)
    rows: dict[tuple[int, int, int], tuple[Table, ...]] = field(default_factory=dict)
    zeros: dict[tuple[int, bool], Load] = field(default_factory=dict)
    gathered: dict[int, Table] = field(default_factory=dict[int, Table])

    def add(self, part: bytes) -> int:
        """Append at the next multiple of 64 bytes; returns the address."""
        self.data.extend(b"\0" * (-len(self.data) % _ALIGNMENT))
        address = len(self.data)
        self.data.extend(part)
        return address


def place_product(
    image: Image, number: int, product: Product, machine: Machine
) -> Iterator[Use]:
    """Put a product's tiles and tables into the image; its uses in order of execution."""
    sources = [place_descriptor(image, product.source, b.descriptor) for b in product.blocks]
    rows = [_moving_rows(image, product, n) for n in range(len(product.blocks))]
    pace = machine.formats[product.format.name]
    swapped = product.moving is not None
    for tile in tiles(product.blocks, product.rows, machine, pace, swapped):
        block, source = product.blocks[tile.block], sources[tile.block]
        own: Iterable[Load | Fill]
        if swapped:
            own = _inputs(number, product, source, tile, machine)
        elif isinstance(block.weights, Moving):
            code = product.format.slot_code
            own = _operand(number, rows[tile.block], block.weights, tile, machine, code)
        else:
            own = _weights(image, product.format, block, tile, machine)
        first, count = (tile.row, tile.rows) if swapped else (tile.column, tile.columns)
        tables = _tables(image, product, block.first + first, count)
        read = rows[tile.block] if swapped else source
        loads = (*own, *_idle(image, tile, product.format, machine))
        macs = tile.rows * tile.taps * tile.columns // block.groups
        yield Use(number, tile, loads, read, tables, macs)


def place_pass(image: Image, one: Pass) -> tuple[Table, ...]:
    """Put a vector instruction's descriptors into the image."""
    descriptors = one.descriptors
    if len(one.sources) > len(descriptors):  # weights, or a table
        at = one.sources[-1].buffer.address
        descriptors = (replace(descriptors[0], weights=at), *descriptors[1:])
    pairs = zip(one.sources, descriptors, strict=False)
    return tuple(place_descriptor(image, source, found) for source, found in pairs)


def place_row(image: Image, one: Pass) -> tuple[Table, ...]:
    """Put a vector instruction's requantise row into the image, if it has one."""
    if one.row is None:
        return ()
    key = (id(one.row), 0, len(one.row.bias))
    if key not in image.rows:
        data = one.row.pack()
        image.rows[key] = (Table(image.add(data), len(data)),)
    return image.rows[key]


def place_rows(image: Image, stage: GatherStage) -> Table:
    """Put the table of a gather into the image, its rows dense."""
    key = id(stage.table)
    if key not in image.gathered:
        data = np.ascontiguousarray(stage.table).tobytes()
        image.gathered[key] = Table(image.add(data), len(data))
    return image.gathered[key]


def place_descriptor(image: Image, source: Placed, descriptor: Descriptor) -> Table:
    """Put a descriptor into the image, its base now absolute."""
    base = source.buffer.address + descriptor.base
    data = replace(descriptor, base=base).pack()
    return Table(image.add(data), len(data))


def place_constant(image: Image, target: Placed, array: Array) -> Table:
    """Put a constant operand into the image, in the layout of its buffer."""
    held = np.zeros(int(np.prod(target.physical)), array.dtype)
    held[target.positions()] = array
    return Table(image.add(held.tobytes()), held.nbytes)


def _moving_rows(image: Image, product: Product, number: int) -> Table:
    """The descriptor of what lies in the unified buffer beside the activations, if anything."""
    weights = product.blocks[number].weights
    if isinstance(weights, Moving):
        return place_descriptor(image, weights.source, weights.descriptor)
    if product.moving is None:
        return Table(-1, 0)
    before = sum(block.shape[0] * block.shape[1] for block in product.blocks[:number])
    taps, channels = weights.shape
    size = product.moving.element_bytes
    rows = Descriptor(
        before * size, taps, width=channels, out_w=channels, pixel_stride=taps * size
    )
    return place_descriptor(image, product.moving, rows)


def _weights(
    image: Image, form: Format, block: Block, tile: Tile, machine: Machine
) -> Iterator[Load]:
    """Tiles of constants, one for each array that has columns of its own."""
    assert not isinstance(block.weights, Moving), "constants"
    for column, columns in _columns(tile, machine):
        key = (id(block.weights), column, tile.tap, tile.sparse)
        if key not in image.loads:
            part = block.weights[tile.tap : tile.tap + tile.taps, column : column + columns]
            data, rows = stored(part, form.stored, tile.sparse)
            load = Load(image.add(data), rows, columns, form.stored_code, tile.sparse)
            image.loads[key] = load
            if block.groups > 1:
                image.packed[load.address] = block.groups
        yield image.loads[key]


def _operand(
    number: int, table: Table, moving: Moving, tile: Tile, machine: Machine, code: int
) -> Iterator[Fill]:
    """Tiles of an operand that was computed."""
    turned = moving.transpose
    for column, columns in _columns(tile, machine):
        row, tap = (column, tile.tap) if turned else (tile.tap, column)
        yield Fill(number, table, moving.source, row, tap, tile.taps, columns, turned, code)


def _inputs(
    number: int, product: Product, table: Table, tile: Tile, machine: Machine
) -> Iterator[Fill]:
    """Tiles of the activations, a column for each output row."""
    source = product.source
    for column, columns in _columns(tile, machine):
        code = product.format.slot_code
        yield Fill(number, table, source, column, tile.tap, tile.taps, columns, True, code)


def _idle(image: Image, tile: Tile, form: Format, machine: Machine) -> list[Load]:
    """A zero for each array that gets no columns: what shifts must have been written."""
    if not tile.spread:
        return []
    key = (form.stored_code, tile.sparse)  # an MM takes tiles of one kind
    if key not in image.zeros:
        data, rows = stored(np.zeros((1, 1), DTYPES[form.weights]), form.stored, tile.sparse)
        image.zeros[key] = Load(image.add(data), rows, 1, *key)
        image.packed[image.zeros[key].address] = most("MM", "lanes") + 1  # no MAC is useful
    return [image.zeros[key]] * (machine.units - -(-tile.columns // machine.cols))


def _columns(tile: Tile, machine: Machine) -> Iterator[tuple[int, int]]:
    """First column and how many, of each array that has its own."""
    end = tile.column + tile.columns
    for column in range(tile.column, end, machine.cols):
        yield column, min(machine.cols, end - column)


def _tables(image: Image, product: Product, first: int, count: int) -> tuple[Table, ...]:
    key = (id(product.epilogues[0].table), first, count)
    if key not in image.rows:
        image.rows[key] = tuple(_row(image, e, first, count) for e in product.epilogues)
    return image.rows[key]


def _row(image: Image, epilogue: Epilogue, first: int, columns: int) -> Table:
    table, part = epilogue.table, slice(first, first + columns)
    data = replace(table, bias=table.bias[part], scale=table.scale[part]).pack()
    return Table(image.add(data), len(data))
