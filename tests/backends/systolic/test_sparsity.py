"""Zeros among the actual weights: what is skipped, what is compressed, and what it saves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.backends.systolic.conftest import KEY, gemm
from tests.backends.systolic.designs import Products, design, held
from tetrapla.backends.systolic.array.sparsity import compress, spans, stored, two_of_four
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.formats import STORED
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.sparse import tile_of
from tetrapla.simulators.systolic.spec import SystolicSpec

QUICK = settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.generate])
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def chip_of(sparsity: str, **own: Any) -> SystolicSpec:
    return design(8, 8, accumulators=512, sparsity=sparsity, **own)


def multiplication(
    rng: np.random.Generator, form: str, weights: Array, rows: int = 6
) -> tuple[Module, dict[str, Array]]:
    """A matrix product by given weights, with inputs."""
    net = Products(rng, form, (rows, weights.shape[0]))
    return net.finish(net.matmul(net.x, weights.shape[1], "a", weights)), net.inputs()


def filled(rng: np.random.Generator, net: Products, shape: tuple[int, int]) -> Array:
    """Weights of a net's type, none of them zero."""
    array = net.numbers(shape, net.weight_dtype)
    return np.where(array == 0, np.ones((), array.dtype), array)


def pruned(rng: np.random.Generator, weights: Array) -> Array:
    """Two of each four taps, at random."""
    quads = rng.random((-(-len(weights) // 4), 4, weights.shape[1])).argsort(axis=1) < 2
    return np.where(quads.reshape(-1, weights.shape[1])[: len(weights)], weights, 0).astype(
        weights.dtype
    )


def multiplied(program: Program) -> int:
    """How many MMs a program has."""
    return sum(step.op == "MM" for step in program.instructions)


def array_cycles(program: Program) -> int:
    return sum(step["len"] for step in program.instructions if step.op == "MM")


@QUICK
@given(seeds, st.sampled_from(STORED), st.integers(1, 30), st.integers(1, 12))
def test_a_compressed_tile_holds_the_same_weights(
    rng: np.random.Generator, name: str, taps: int, columns: int
) -> None:
    net = Products(rng, name, (1, 1))
    weights = pruned(rng, net.numbers((taps, columns), net.weight_dtype))
    weights = weights.astype(np.int8) if name == "int4" else weights
    assert two_of_four(weights)
    data, rows = stored(weights, name, sparse=True)
    tile = tile_of(np.frombuffer(data, np.int8), rows, columns, STORED.index(name), True)
    assert rows == 2 * -(-taps // 4)
    assert np.array_equal(tile.dense[:taps], weights.astype(tile.dense.dtype))
    assert not tile.dense[taps:].any()


def test_two_of_four_is_kept_in_the_order_of_the_taps() -> None:
    weights = np.array([[0, 5], [3, 0], [0, 0], [4, 0], [7, 0]], np.int8)
    values, positions = compress(weights)
    # column 0: taps 1 and 3, then tap 4; column 1: tap 0 alone, with a zero beside it
    assert values.tolist() == [[3, 5], [4, 0], [7, 0], [0, 0]]
    assert positions.tolist() == [[1, 0], [3, 1], [0, 0], [1, 1]]


def test_a_tile_is_dense_where_one_column_has_three_of_four() -> None:
    weights = np.zeros((16, 3), np.int8)
    weights[:3, 1] = 1
    weights[8:, 0] = [1, 0, 0, 1, 1, 0, 1, 0]
    # 4 rows: 4 dense taps, then 8 compressed ones begin at tap 4, and 4 are left
    found = spans(weights, 4, compressed=True)
    assert [(s.tap, s.taps, s.sparse) for s in found] == [
        (0, 4, False),
        (4, 8, True),
        (12, 4, True),
    ]


def test_tiles_of_zeros_are_not_multiplied(rng: np.random.Generator) -> None:
    net = Products(rng, "int8", (6, 40))
    weights = filled(rng, net, (40, 20))
    weights[8:24, :8] = 0  # two of five tiles of taps of the first columns
    weights[:, 8:16] = 0  # all five of the second: one is left, to write the result
    module, inputs = multiplication(rng, "int8", weights)
    result, program = held(module, chip_of("none"), inputs)
    assert multiplied(program) == 3 + 1 + 5
    (layer,) = (row for row in result.layers if row.name == "a")
    assert layer.macs == 6 * 40 * 20
    assert layer.actions["mac.int8"] == 6 * 8 * (3 * 8 + 1 * 8 + 5 * 4)


@pytest.mark.parametrize("form", ["int8", "int4", "int16x8", "int16", "bf16", "fp16"])
def test_a_pruned_network_takes_half_the_passes(rng: np.random.Generator, form: str) -> None:
    net = Products(rng, form, (6, 64))
    weights = pruned(rng, filled(rng, net, (64, 16)))
    found = {}
    for sparsity in ("none", "2:4"):
        module, inputs = multiplication(np.random.default_rng(1), form, weights)
        result, program = held(module, chip_of(sparsity), inputs)
        found[sparsity] = (multiplied(program), array_cycles(program), result.outputs["y0"])
    assert found["none"][:2] == (16, 16 * 6)
    assert found["2:4"][:2] == (8, 8 * 6)
    if form not in ("bf16", "fp16"):
        assert np.array_equal(found["none"][2], found["2:4"][2])


@pytest.mark.parametrize("form", ["int8", "bf16"])
def test_a_network_that_is_not_pruned_is_left_alone(
    rng: np.random.Generator, form: str
) -> None:
    net = Products(rng, form, (6, 40))
    module, _ = multiplication(rng, form, filled(rng, net, (40, 20)))
    programs = [compile_graph(module.graph, chip_of(s), "m") for s in ("none", "2:4")]
    assert programs[0] == programs[1]


def test_packed_groups_are_not_compressed(rng: np.random.Generator) -> None:
    # 4 groups of one channel: of each four taps of a column at most one is not zero
    net = Products(rng, "int8", (1, 8, 5, 5))
    module = net.finish(net.conv(net.x, 8, (1, 2), "a", groups=8))
    programs = [compile_graph(module.graph, chip_of(s), "m") for s in ("none", "2:4")]
    assert programs[0] == programs[1]
    held(module, chip_of("2:4"), net.inputs())


def test_weights_that_are_not_known_count_as_dense() -> None:
    module: Module = gemm(6, 64, 16)
    program = compile_graph(module.graph, chip_of("2:4"), "m")
    assert multiplied(program) == 8 * 2
    assert not any(step["sparse"] for step in program.instructions)
    assert run(program, chip_of("2:4"), {}, KEY).cycles > 0


@QUICK
@given(seeds, st.floats(0, 1), st.tuples(*[st.integers(1, 40)] * 2), st.integers(1, 3))
def test_any_share_of_zeros_computes_the_same(
    rng: np.random.Generator, share: float, shape: tuple[int, int], units: int
) -> None:
    net = Products(rng, "int8", (3, shape[0]))
    weights = filled(rng, net, shape) * (rng.random(shape) > share).astype(np.int8)
    weights[:, rng.random(shape[1]) > 0.7] = 0
    module, inputs = multiplication(rng, "int8", weights, rows=3)
    dense, _ = held(module, chip_of("none", units=units), inputs)
    sparse, _ = held(module, chip_of("2:4", units=units), inputs)
    assert np.array_equal(dense.outputs["y0"], sparse.outputs["y0"])


@pytest.mark.parametrize("form", ["int8", "int4", "int16", "bf16"])
def test_an_array_without_columns_gets_a_tile_of_the_others_kind(
    rng: np.random.Generator, form: str
) -> None:
    # 20 columns are 3 tiles of 8 for 4 arrays, with 16 taps in each pass of 8 rows
    weights = pruned(rng, filled(rng, Products(rng, form, (1, 1)), (32, 20)))
    module, inputs = multiplication(rng, form, weights, rows=2)
    spec = chip_of("2:4", units=4, tiles=16)
    dram = spec.dram.model_copy(update={"latency_s": 0.0})
    _, program = held(module, spec.model_copy(update={"dram": dram}), inputs)
    products = [step for step in program.instructions if step.op == "MM"]
    assert [(step["lanes"], step["spread"]) for step in products] == [(16, 1), (16, 1)]
