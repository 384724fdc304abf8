"""The DRAM image: weight tiles and tables, each where its instruction will find it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from tetrapla.backends.systolic.layout import Placed
from tetrapla.backends.systolic.products import Epilogue, Product
from tetrapla.backends.systolic.stages import Pass
from tetrapla.backends.systolic.tiling import Tile, tiles
from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.tables import Descriptor

_ALIGNMENT = 64


@dataclass
class Image:
    """Grows by appending; `packed` as in `Program`.

    Attributes:
        tiles: addresses by identity of the weights, column and tap: strips of one product
            share them.
        rows: requantise rows by identity of the first epilogue's table, column and count.
    """

    data: bytearray = field(default_factory=bytearray)
    packed: dict[int, int] = field(default_factory=dict)
    tiles: dict[tuple[int, int, int], int] = field(default_factory=dict)
    rows: dict[tuple[int, int, int], tuple[Table, ...]] = field(default_factory=dict)

    def add(self, part: bytes) -> int:
        """Append at the next multiple of 64 bytes; returns the address."""
        self.data.extend(b"\0" * (-len(self.data) % _ALIGNMENT))
        address = len(self.data)
        self.data.extend(part)
        return address


@dataclass(frozen=True)
class Table:
    """A table entry in DRAM."""

    address: int
    bytes: int


@dataclass(frozen=True)
class Use:
    """One MM, with where its weights and tables lie in DRAM.

    Attributes:
        product: number of its stage.
        weights: address of the tile.
        tables: a requantise row per epilogue, read once the taps are complete.
        last: the taps are complete.
    """

    product: int
    tile: Tile
    weights: int
    descriptor: Table
    tables: tuple[Table, ...]
    last: bool


def place_product(
    image: Image, number: int, product: Product, array: tuple[int, int], most_rows: int
) -> Iterator[Use]:
    """Put a product's tiles and tables into the image; its uses in order of execution."""
    weights, rows = image.tiles, image.rows
    descriptors = [
        place_descriptor(image, product.source, b.descriptor) for b in product.blocks
    ]
    for tile in tiles(product.blocks, product.rows, array, most_rows):
        block = product.blocks[tile.block]
        where = (id(block.weights), tile.column, tile.tap)
        if where not in weights:
            part = block.weights[tile.tap :, tile.column :][: tile.taps, : tile.columns]
            weights[where] = image.add(np.ascontiguousarray(part).tobytes())
            if block.groups > 1:
                image.packed[weights[where]] = block.groups
        first = block.first + tile.column
        columns = (id(product.epilogues[0].table), first, tile.columns)
        if columns not in rows:
            rows[columns] = tuple(
                _row(image, epilogue, first, tile.columns) for epilogue in product.epilogues
            )
        yield Use(
            number,
            tile,
            weights[where],
            descriptors[tile.block],
            rows[columns],
            tile.tap + tile.taps == len(block.weights),
        )


def place_pass(image: Image, one: Pass) -> tuple[Table, ...]:
    """Put a vector instruction's descriptors into the image."""
    pairs = zip(one.sources, one.descriptors, strict=True)
    return tuple(place_descriptor(image, source, found) for source, found in pairs)


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


def _row(image: Image, epilogue: Epilogue, first: int, columns: int) -> Table:
    table, part = epilogue.table, slice(first, first + columns)
    data = replace(table, bias=table.bias[part], scale=table.scale[part]).pack()
    return Table(image.add(data), len(data))
