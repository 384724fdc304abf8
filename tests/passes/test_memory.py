"""Passes hold what they make of weights, and share the rest."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.passes import scales_
from tetrapla.passes.calibrate_ import Ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run
from tetrapla.passes.pdl_ import filled
from tetrapla.passes.pipeline_ import CLEANING, PIPELINES
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.scales_ import PART_ELEMENTS, integer_weights, weight_scales

ROWS, COLUMNS = 2**12, 2**13  # 128 MiB of float32


@pytest.fixture
def mapped(tmp_path: Path) -> Array:
    """A large weight in a file; its pages are zeros that take no room on the disk."""
    found: Array = np.memmap(tmp_path / "w.bin", np.float32, "w+", shape=(ROWS, COLUMNS))
    found[0, 0] = 1
    return found


def network(weight: Array) -> Module:
    """One product that no pass but the quantisation changes."""
    build = ModuleBuilder("large")
    operands = [build.input("x", (1, ROWS)), build.weight("w", weight)]
    build.output("y", build.op("nn.matmul", operands, {"activation": "none"}, name="product"))
    return build.finish()


def traced_bytes(call: object) -> int:
    """The most memory that NumPy and Python held at once during a call."""
    assert callable(call)
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["canonical", "fused"])
def test_a_pass_shares_the_weights_that_it_does_not_change(name: str, mapped: Array) -> None:
    module = network(mapped)
    held = traced_bytes(lambda: run(module, PIPELINES[name]))
    assert run(module, PIPELINES[name]).weights["w"] is module.weights["w"]
    # far less than the weight, and than any part of it that a pass could work on
    assert held < PART_ELEMENTS * 4


def test_quantisation_holds_its_result_and_little_more(mapped: Array) -> None:
    module = network(mapped)
    found = Context(ranges=Ranges({"x": (-1.0, 1.0)}, {"product": (-1.0, 1.0)}))
    held = traced_bytes(lambda: run(module, (Quantize(), *CLEANING), found))
    # int8 of every weight; of a part the weights, the scales beside them, the quotient, its
    # rounding and its clipping, each float32: five at most, and the rest of everything
    assert held < ROWS * COLUMNS + 6 * PART_ELEMENTS * 4
    assert held < mapped.nbytes / 2


def test_comparing_a_weight_with_a_number_holds_a_part(mapped: Array) -> None:
    mapped[:] = 1
    assert filled(mapped, 1.0)
    # a byte for each element of a part, and one part still held while the next one is compared
    assert traced_bytes(lambda: filled(mapped, 1.0)) < 3 * PART_ELEMENTS


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("shape", [(7, 5), (1, 64), (64, 1), (3, 4, 2, 2), (0, 4)])
def test_parts_make_the_same_integers(
    shape: tuple[int, ...], axis: int | None, rng: np.random.Generator
) -> None:
    weights = rng.standard_normal(shape).astype(np.float32)
    scales = weight_scales(weights, axis)
    others = tuple(i for i in range(len(shape)) if i != axis)
    largest = np.abs(weights).max(axis=others, initial=0).reshape(-1)
    wanted = np.where(largest == 0, np.float32(1), largest / np.float32(127))
    assert np.array_equal(scales, wanted.astype(np.float32))
    wide = scales.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    whole = np.clip(np.rint(weights / wide), -127, 127).astype(np.int8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scales_, "PART_ELEMENTS", 6)
        assert np.array_equal(integer_weights(weights, scales, axis), whole)


def test_a_folded_transpose_of_a_large_weight_is_a_view(mapped: Array) -> None:
    build = ModuleBuilder("turned")
    turned = build.op("nn.transpose", [build.weight("w", mapped)], {"perm": (1, 0)})
    operands = [build.input("x", (1, COLUMNS)), turned]
    build.output("y", build.op("nn.matmul", operands, {"activation": "none"}, name="product"))
    module = build.finish()
    assert traced_bytes(lambda: run(module, PIPELINES["fused"])) < PART_ELEMENTS * 4
    (weight,) = run(module, PIPELINES["canonical"]).weights.values()
    assert weight.base is not None
    assert np.array_equal(weight, mapped.T)
