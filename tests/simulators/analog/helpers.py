"""Layers for the tests of the analog machine."""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.program import Product, Tile


def product(matrix: Array, tiles: tuple[Tile, ...], slices: int) -> Product:
    """A matrix product on these tiles, without a bias."""
    return Product(
        name="fc",
        op="qnn.matmul",
        number=0,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=-128,
        matrix=matrix.astype(np.int16),
        bias=np.zeros(matrix.shape[1], np.int64),
        window=None,
        slices=slices,
        tiles=tiles,
        macs=matrix.size,
    )
