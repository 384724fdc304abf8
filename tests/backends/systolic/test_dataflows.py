"""What stays in the array changes how long a product takes, never what it computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY, Net, digits, gemm
from tests.backends.systolic.designs import DATAFLOWS, cycles, design, held
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Options
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule


def quick(dataflow: str, rows: int = 4, cols: int = 4, **own: Any) -> SystolicSpec:
    """A chip whose DRAM and host are as good as there."""
    spec = design(rows, cols, dataflow=dataflow, formats={"int8": 1}, **own)
    there = {"latency_s": 0.0, "bandwidth_bytes_per_s": 1e14}
    dram, host = spec.dram.model_copy(update=there), spec.host.model_copy(update=there)
    return spec.model_copy(update={"dram": dram, "host": host})


def layer_cycles(module: Module, spec: SystolicSpec) -> float:
    result = run(compile_graph(module.graph, spec, "m"), spec, {}, KEY)
    (found,) = (row.cycles for row in result.layers if row.name == "gemm")
    return found


def products(module: Module, spec: SystolicSpec) -> list[int]:
    """Dispatch cycles of MM."""
    program = compile_graph(module.graph, spec, "m")
    events = schedule(program, spec).events
    pairs = zip(events, program.instructions, strict=True)
    return [event.dispatch for event, step in pairs if step.op == "MM"]


# M = 6, K = 8, N = 4 on 4 x 4: 2 tiles of weights; 2 passes of 3 rows; 2 x 2 tiles of inputs
BY_HAND = {
    # LW is sent 1 after MARK and takes 4, MM follows 1 later: 6 rows, 6 rows, 4 + 4 to cross;
    # RQ 1 later, 6 rows + 2, and MARK sees it 1 later
    "weight_stationary": 1 + 4 + 1 + 6 + 6 + 8 + 1 + 8 + 1,
    # LW points at the slot; two tables come before MM, sent 1 + 2 + 2 after MARK; 2 passes of
    # 8 taps without a gap; 2 x 4 + 4 - 1 to drain; RQ 1 later, 3 rows + 2, MARK 1 later
    "output_stationary": 5 + 2 * 8 + 11 + 1 + 5 + 1,
    # a table (1 + 1 + 1), LUW 4, LW 4, MM 1 later; the second LUW is sent after it (1), then
    # LUW 4 + LW 4 and 1 to see it; 8 for each of the other tiles; 4 rows of weights and 8 to
    # cross; RQ 1 later, 4 rows + 2, MARK 1 later
    "input_stationary": 3 + 8 + 1 + (1 + 8 + 1) + 8 + 8 + (4 + 8) + 1 + 6 + 1,
}


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_small_product_takes_what_paper_says(dataflow: str) -> None:
    assert layer_cycles(gemm(6, 8, 4), quick(dataflow)) == BY_HAND[dataflow]


@pytest.mark.parametrize(("m", "k"), [(8, 64), (24, 64), (5, 16)])
def test_outputs_that_stay_take_a_cycle_for_each_tap(m: int, k: int) -> None:
    # passes of 8 rows follow each other after K taps, 8 of them from each slot
    found = products(gemm(m, k, 8), quick("output_stationary", 8, 8))
    assert len(found) == -(-m // 8) * (k // 8)
    assert np.diff(found).tolist() == [8] * (len(found) - 1)


@pytest.mark.parametrize(("n", "passes", "period"), [(6, 1, 8), (20, 2, 10)])
def test_inputs_that_stay_are_filled_and_shifted_in_behind_the_weights(
    n: int, passes: int, period: int
) -> None:
    # max(N, C + R): LUW and LW of the next tile on one engine beside N rows of weights; the
    # last results of 2 x 10 rows are out sooner than those of 20
    found = products(gemm(4, 4 * 9, n), quick("input_stationary"))
    assert np.diff(found)[1:].tolist() == [period] * (9 * passes - 2)


@pytest.mark.parametrize("dtype", ["i8", "ui8"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("units", [1, 2])
def test_a_network_has_the_same_values_on_every_dataflow(
    rng: np.random.Generator, dtype: str, dataflow: str, units: int
) -> None:
    net = Net(rng, (2, 6, 7, 5), dtype)
    y = net.conv(net.x, 12, (3, 2), "a", pads=(1, 0, 2, 1), groups=2)
    y = net.conv(y, 12, (3, 3), "b", pads=(1, 1, 1, 1), groups=12)
    pool = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    y = net.builder.op("nn.max_pool2d", [y], pool, name="pool")
    y = net.builder.op("nn.reshape", [y], {"shape": (2, y.elements // 2)}, name="flat")
    result, _ = held(
        net.finish(net.product(y, 9, "c")),
        design(8, 5, dataflow=dataflow, units=units, formats={"int8": 1}),
        net.inputs(),
    )
    assert result.outputs["y0"].shape == (3, 2, 9)


def test_the_operand_that_is_reused_most_had_better_stay() -> None:
    def taken(dataflow: str, *shape: int) -> float:
        return layer_cycles(gemm(*shape), quick(dataflow, 16, 16, accumulators=4096))

    weights, outputs, inputs = DATAFLOWS
    assert taken(weights, 512, 16, 16) < taken(inputs, 512, 16, 16)
    assert taken(inputs, 16, 16, 512) < taken(weights, 16, 16, 512)
    assert taken(outputs, 16, 512, 16) < min(
        taken(flow, 16, 512, 16) for flow in (weights, inputs)
    )


def test_more_rows_never_take_fewer_cycles() -> None:
    for dataflow in DATAFLOWS:
        taken = [cycles(gemm(m, 40, 24), quick(dataflow, 8, 8)) for m in (1, 8, 9, 33, 70)]
        assert taken == sorted(taken)


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_products_of_two_activations_have_the_same_values_on_every_dataflow(
    rng: np.random.Generator, dataflow: str, units: int
) -> None:
    # scores and values of an attention: both operands are computed
    net = Net(rng, (2, 7, 6))
    q, k = net.product(net.x, 5, "q"), net.product(net.x, 5, "k")
    k = net.builder.op("nn.transpose", [k], {"perm": (0, 2, 1)}, name="kt")
    zeros = {"x_zero_point": 5, "w_zero_point": 5}
    scores = net.builder.op("qnn.matmul", [q, k], zeros, name="scores")
    scores = net.requantize(scores, 2, "scores", zero_point=5)
    found = net.builder.op("qnn.matmul", [scores, net.product(net.x, 4, "v")], zeros, name="y")
    spec = design(4, 3, dataflow=dataflow, units=units, tiles=12, formats={"int8": 1})
    held(net.finish(net.requantize(found, 2, "y")), spec, net.inputs())


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_float_network_becomes_the_same_integers_on_every_dataflow(
    rng: np.random.Generator, dataflow: str
) -> None:
    module = digits(np.random.default_rng(3))
    inputs = {"x": rng.random((20, 1, 1, 8, 8)).astype(np.float32)}
    spec = design(32, 16, accumulators=512, dataflow=dataflow, formats={"int8": 1})
    lowered = TARGET.lower(module, spec, inputs, Options())
    held(lowered.module, spec, inputs)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("units", [1, 3])
def test_groups_that_would_share_a_tile_keep_their_count_of_products(
    dataflow: str, units: int
) -> None:
    net = Net(np.random.default_rng(5), (2, 6, 7, 5))
    y = net.conv(net.x, 9, (3, 3), "conv", pads=(1, 1, 1, 1), groups=3)
    spec = design(64, 64, dataflow=dataflow, formats={"int8": 1}, units=units)
    result, _ = held(net.finish(y), spec, net.inputs())
    # 2 images of 7 x 5 pixels, 9 filters, 9 taps of 2 channels
    assert sum(row.macs for row in result.layers) == 2 * 35 * 9 * 9 * 2
