"""Several arrays on one product: the same values, in fewer cycles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.backends.systolic.conftest import KEY, gemm
from tests.backends.systolic.designs import DATAFLOWS, Products, cycles, design, held
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.spec import SystolicSpec

INT8 = {"int8": 1}
# an example that fails is small already
QUICK = settings(max_examples=40, deadline=None, derandomize=True, phases=[Phase.generate])
sizes = st.integers(1, 60)


def chip_of(units: int, dataflow: str = "weight_stationary", size: int = 8) -> SystolicSpec:
    """As many slots and accumulators for any number of arrays; DRAM answers at once."""
    spec = design(
        size, size, accumulators=256, tiles=16, units=units, dataflow=dataflow, formats=INT8
    )
    return spec.model_copy(update={"dram": spec.dram.model_copy(update={"latency_s": 0.0})})


def spreads(module: Module, spec: SystolicSpec) -> set[int]:
    """How the arrays share the work: with columns of their own (1), or with rows (0)."""
    program = compile_graph(module.graph, spec, "m")
    return {step["spread"] for step in program.instructions if step.op == "MM"}


def layer_cycles(module: Module, spec: SystolicSpec) -> float:
    result = run(compile_graph(module.graph, spec, "m"), spec, {}, KEY)
    return sum(row.cycles for row in result.layers if row.macs)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("units", [2, 3, 4])
def test_any_number_of_arrays_computes_the_same(
    rng: np.random.Generator, dataflow: str, units: int
) -> None:
    net = Products(rng, "int8", (2, 6, 9, 7))
    y = net.conv(net.x, 20, (3, 3), "a", pads=(1, 1, 1, 1))
    y = net.conv(y, 20, (3, 3), "b", groups=20)
    y = net.builder.op("nn.reshape", [y], {"shape": (2, y.elements // 2)}, name="flat")
    module, inputs = net.finish(net.matmul(y, 33, "c")), net.inputs()
    one, _ = held(module, chip_of(1, dataflow), inputs)
    many, _ = held(module, chip_of(units, dataflow), inputs)
    assert np.array_equal(one.outputs["y0"], many.outputs["y0"])


@QUICK
@given(st.sampled_from(DATAFLOWS), st.tuples(sizes, sizes, sizes))
def test_several_arrays_are_never_slower_than_one(
    dataflow: str, shape: tuple[int, int, int]
) -> None:
    one, *several = [cycles(gemm(*shape), chip_of(units, dataflow)) for units in (1, 2, 3, 4)]
    assert max(several) <= one


def test_few_rows_are_spread_over_columns_and_many_are_shared_out() -> None:
    # 8 rows or fewer cannot be shared: a tile is in the array for 8 cycles anyhow
    assert spreads(gemm(8, 64, 64), chip_of(4)) == {1}
    # 96 rows are 24 for each array; 64 columns would be 8 tiles of 24 or 2 of 96
    assert spreads(gemm(96, 64, 8), chip_of(4)) == {0}


def test_four_arrays_take_a_quarter_of_the_cycles_of_a_product_that_feeds_them() -> None:
    fast = {"latency_s": 0.0, "bandwidth_bytes_per_s": 1e14}
    for dataflow in DATAFLOWS:
        found = []
        for units in (1, 4):
            spec = chip_of(units, dataflow)
            spec = spec.model_copy(update={"dram": spec.dram.model_copy(update=fast)})
            found.append(layer_cycles(gemm(256, 64, 256), spec))
        assert 3.4 < found[0] / found[1] <= 4.0, (dataflow, found)


def test_products_bound_by_weights_gain_nothing() -> None:
    slow = {"latency_s": 0.0, "bandwidth_bytes_per_s": 0.7e9}  # a byte each cycle
    found = []
    for units in (1, 4):
        spec = chip_of(units)
        spec = spec.model_copy(update={"dram": spec.dram.model_copy(update=slow)})
        found.append(layer_cycles(gemm(16, 128, 128), spec))
    assert found[0] >= found[1] >= 128 * 128
    assert found[0] / found[1] < 1.02
