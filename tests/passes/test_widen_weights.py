"""Narrow integer weights become int8 ones and compute the same."""

from __future__ import annotations

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.widen_weights import WidenWeights

ZERO = {"x_zero_point": 3, "w_zero_point": 0}


def model(dtype: str, *, known: bool = True) -> Module:
    build = ModuleBuilder("narrow")
    x = build.input("x", (4, 6), "i8")
    if known:
        array = np.random.default_rng(0).integers(0, 2, (6, 5)).astype(DTYPES[dtype])
        w = build.weight("w", array)
    else:
        w = build.shape_of_weight("w", (6, 5), dtype)
    build.output("y", build.op("qnn.matmul", [x, w], ZERO, "product"))
    return build.finish()


def test_the_numbers_stay_and_the_type_widens() -> None:
    for dtype, wide in (("i4", "i8"), ("ui4", "ui8"), ("i2", "i8")):
        before = model(dtype)
        after = WidenWeights()(before)
        (node,) = after.graph.nodes
        assert (node.name, node.operands[1].dtype) == ("product", wide)
        x = np.arange(-12, 12, dtype=np.int8).reshape(4, 6)
        assert np.array_equal(evaluate(before, {"x": x})["y"], evaluate(after, {"x": x})["y"])


def test_wide_weights_and_computed_ones_stay() -> None:
    before = model("i8")
    assert WidenWeights()(before) is before
    build = ModuleBuilder("computed")
    x, w = build.input("x", (4, 6), "i8"), build.input("w", (6, 5), "i4")
    build.output("y", build.op("qnn.matmul", [x, w], ZERO))
    computed = build.finish()
    assert WidenWeights()(computed) is computed


def test_a_shape_only_module_widens_too() -> None:
    after = WidenWeights()(model("i4", known=False))
    assert after.shape_only
    assert after.graph.nodes[0].operands[1].dtype == "i8"
