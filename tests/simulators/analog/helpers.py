"""Layers for the tests of the analog machine."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tetrapla.backends.analog import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.spec_ import load_spec


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


@cache
def compiled(*overrides: str) -> tuple[Any, AnalogSpec, dict[str, Array], dict[str, Array]]:
    """A layer on isaac with arrays of 32 rows: lowered, its spec, inputs, reference."""
    rng = np.random.default_rng(5)
    b = ModuleBuilder("net")
    x = b.input("x", (3, 40), "i8")
    v = b.weight("v", rng.integers(-127, 128, (40, 8)).astype(np.int8))
    points: dict[str, Attribute] = {"x_zero_point": -3, "w_zero_point": 0}
    b.output("y", b.op("qnn.matmul", [x, v], points, "fc"))
    spec = load_spec("isaac", AnalogSpec, ("array.rows=32", *overrides)).spec
    data = rng.integers(-128, 128, (2, 80, 3, 40)).astype(np.int8)
    lowered = TARGET.lower(b.finish(), spec, {"x": data[0]}, Options())
    inputs = {"x": data[1]}
    return lowered, spec, inputs, evaluate_many(lowered.module, inputs)
