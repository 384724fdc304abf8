"""Tiles of weights: from the bytes in DRAM to the values that the array multiplies with.

2:4 sparsity keeps two of each four taps: stored rows 2 j and 2 j + 1 of a column hold the
weights of two of the taps 4 j .. 4 j + 3, and a position of two bits for each says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.formats import DTYPE, STORED, stored_format, tile_bytes


@dataclass(frozen=True)
class Tile:
    """What a slot holds, without the zeros around it.

    Attributes:
        values: (rows, cols), int8, int16, bfloat16 or float16; (invocations, rows, cols)
            where they come from the unified buffer.
        positions: (rows, cols), 0..3, of a 2:4 sparse tile.
    """

    values: Array
    positions: Array | None = None

    @cached_property
    def dense(self) -> Array:
        """The weights by tap, (taps, cols); the integers as int32, the floats as float32.

        Two values at one position are added, which is what two PEs do with them.
        """
        whole = self.values.dtype.kind == "i"
        held = self.values.astype(np.int32 if whole else np.float32)
        if self.positions is None:
            return held
        rows, cols = held.shape
        taps = np.arange(rows)[:, None] // 2 * 4 + self.positions
        found = np.zeros((-(-rows // 2) * 4, cols), held.dtype)
        np.add.at(found, (taps, np.arange(cols)), held)
        return found

    def real(self, dtype: type[np.floating[Any]]) -> Array:
        """`dense` in a type that BLAS multiplies; each is made once."""
        made: dict[Any, Array] = self.__dict__.setdefault("made", {})
        if dtype not in made:
            made[dtype] = self.dense.astype(dtype)
        return made[dtype]


def tile_of(data: Array, rows: int, cols: int, fmt: int, sparse: bool) -> Tile:
    """The tile of `tile_bytes` bytes, int8, as LDW finds them."""
    size = tile_bytes(rows, cols, fmt)
    stored = data[:size]
    if STORED[fmt] == "int4":
        pairs = stored.reshape(rows, -1)
        # the low nibble first; a shift left and back extends its sign
        both = np.stack([(pairs << 4) >> 4, pairs >> 4], axis=2)
        values = both.reshape(rows, -1)[:, :cols]
    else:
        values = stored.view(DTYPE[stored_format(fmt)]).reshape(rows, cols)
    if not sparse:
        return Tile(values)
    fields = data[size:].view(np.uint8)[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    return Tile(values, fields.reshape(-1)[: rows * cols].reshape(rows, cols))
