"""How long compiled products take, what holds them up, what they move and what that costs."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY, Net, chip, gemm, lower
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Attribute
from tetrapla.ir.module import Module
from tetrapla.simulators.report import (
    InternalError,
    LayerRun,
    Run,
    check_invariants,
    price,
    summed,
)
from tetrapla.simulators.systolic.machine import least_cycles, run
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule


def ran(module: Module, spec: SystolicSpec) -> Run:
    return run(compile_graph(module.graph, spec, "m"), spec, {}, KEY)


def layer(module: Module, spec: SystolicSpec, name: str = "gemm") -> LayerRun:
    (row,) = (row for row in ran(module, spec).layers if row.name == name)
    return row


def totals(module: Module, spec: SystolicSpec) -> dict[str, float]:
    result = ran(module, spec)
    return dict(summed([*(row.actions for row in result.layers), result.actions]))


def test_a_bigger_array_is_never_slower_on_a_big_gemm() -> None:
    module = gemm(512, 512, 512)
    found = [ran(module, chip(size, size)).cycles for size in (8, 16, 32, 64, 128, 256)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("size", [8, 32, 128])
def test_a_product_that_feeds_the_array_takes_one_cycle_a_row_and_tile(size: int) -> None:
    m, k, n = 2048, 512, 256
    row = layer(gemm(m, k, n), chip(size, size, 4096, 4, "host.latency=0 ns"))
    assert row.macs == m * k * n
    busy = m * (k // size) * (n // size)
    # two tiles arrive and one shifts in before the first row; after the last row it crosses the
    # array and the last tile's rows are requantised
    transfer = ceil(size * size * 700 / 34_000) + 70
    before, after = 2 * transfer + size, 2 * size + m
    least = 2 * size + m // 8  # rows may be cut so that the last pass has an eighth of them
    assert busy + least <= row.cycles <= busy + before + after + 20
    assert row.utilization_frac == busy / row.cycles
    assert row.bound_by == "array"


@pytest.mark.parametrize(("m", "period"), [(40, 40), (5, 18)])
def test_the_next_weights_shift_in_behind_the_rows(m: int, period: int) -> None:
    # max(M, R + 2) on 16 x 16 where DRAM keeps up: 16 to shift, 1 to see it, 1 to dispatch
    spec = chip(16, 16, 4096, 4, "dram.bandwidth=1 TB/s", "dram.latency=0 ns")
    program = compile_graph(gemm(m, 16 * 8, 16).graph, spec, "m")
    events = schedule(program, spec).events
    products = [
        event.dispatch
        for event, step in zip(events, program.instructions, strict=True)
        if step.op == "MM"
    ]
    assert np.diff(products).tolist() == [period] * 7


def test_a_product_with_few_rows_is_bound_by_the_weights_traffic() -> None:
    # 2 M N K / time = 2 M x bandwidth: 2 x 200 x 34 GB/s = 13.6 Tera operations per second
    row = layer(gemm(200, 4096, 4096), chip(256, 256))
    assert row.bound_by == "dma"
    # of 256 tiles of 1350 cycles the first may come before MARK; beside them DMA brings 16 rows
    # of tables (43 cycles) and a descriptor (3); the last tile's latency (70), shift (256),
    # rows (200 + 512) and RQ (202), and one cycle to see each, come after;
    # the first tile's latency may too
    tables, after = 16 * 43 + 3, 70 + 256 + 712 + 202 + 4
    assert 255 * 1350 + tables + after <= row.cycles <= 256 * 1350 + tables + after + 70
    assert 2 * row.macs / (row.cycles / 700e6) <= 13.6e12


def test_fast_dram_leaves_the_shift_of_weights_as_the_bound() -> None:
    quick = ("dram.bandwidth=100 TB/s", "dram.latency=0 ns", "host.latency=0 ns")
    row = layer(gemm(8, 64 * 20, 64), chip(64, 64, 4096, 4, *quick))
    assert row.bound_by == "weight load"
    # LW goes one cycle after MARK and the first MM 64 + 1 later; R + 2 for each other tile; the
    # last rows cross (8 + 128), RQ goes one later, takes 8 + 2, and MARK sees it one later
    assert row.cycles == 1 + (64 + 1) + 19 * (64 + 2) + (8 + 128 + 1) + (8 + 2 + 1)


def test_pooling_is_bound_by_the_vector_unit(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 20, 32, 32))
    pool = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    module = net.finish(net.builder.op("nn.max_pool2d", [net.x], pool, name="pool"))
    spec = chip(8, 8, 64, 4, "vector.lanes=8", "host.latency=0 ns")
    row = layer(module, spec, "pool")
    assert row.bound_by == "vector"
    assert row.macs == 0
    assert row.utilization_frac is None
    # the input (20480 bytes at 21.5 a cycle) keeps DMA busy for 954 cycles, of which MARK
    # leaves 953, and then comes the descriptor: 3 cycles and 70 of latency
    before = 953 + 3 + 70
    # then 16 x 16 outputs x 4 pixels x ceil(20 / 8) groups and 2 to write; VE and the next
    # layer's MARK each go one cycle after what they wait for
    assert row.cycles == before + 1 + 16 * 16 * 4 * 3 + 2 + 1


def test_layers_add_up_to_the_run_and_never_exceed_the_array(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 3, 8, 8))
    y = net.conv(net.x, 12, (3, 3), "a", pads=(1, 1, 1, 1))
    y = net.conv(y, 12, (3, 3), "b", groups=12)
    y = net.builder.op("nn.reshape", [y], {"shape": (1, y.elements)})
    spec = chip(8, 8)
    result = run(lower(net.finish(net.product(y, 10, "fc")), spec).program, spec, {}, KEY)
    assert result.actions == {"static.second": result.time_s}
    assert [row.name for row in result.layers] == ["(input)", "a", "b", "fc", "(output)"]
    assert sum(row.cycles for row in result.layers) == result.cycles
    for row in result.layers:
        assert (row.utilization_frac or 0) <= 1
        assert row.macs <= row.cycles * 64
    # filters x taps x pixels; each of the 12 groups has one channel
    assert [row.macs for row in result.layers] == [0, 12 * 27 * 64, 12 * 9 * 36, 4320, 0]


def test_an_engine_is_never_busy_with_two_things(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 3, 8, 8))
    module = net.finish(net.conv(net.x, 12, (3, 3), "a", pads=(1, 1, 1, 1)))
    spec = chip(8, 8)
    result = run(lower(module, spec).program, spec, {}, KEY)
    assert {part.unit for part in result.trace} == {"DMA", "LW", "MM", "RQ"}
    for unit in ("DMA", "LW", "MM", "RQ"):
        busy = [(s.start_cycle, s.end_cycle) for s in result.trace if s.unit == unit]
        assert all(one[1] <= two[0] for one, two in pairwise(busy))
        assert sum(end - start for start, end in busy) <= result.cycles


def test_traffic_by_hand() -> None:
    # 10 x 20 by 20 x 6 on 8 x 4: taps 8 + 8 + 4, columns 4 + 2, so 6 tiles of 10 rows
    total = totals(gemm(10, 20, 6), chip(8, 4))
    assert total["mac.int8"] == 10 * 20 * 6
    assert total["mac.idle"] == 6 * 10 * 32 - 1200
    assert total["weight_memory.write_byte"] == total["weight_memory.read_byte"] == 20 * 6
    assert total["array.shift_byte"] == 6 * 4 * 36  # 8 x 9 / 2 registers a column
    assert total["accumulator.write_byte"] == 4 * 10 * 6 * 3
    assert total["accumulator.read_byte"] == 4 * 10 * 6 * (2 + 1)  # two additions and RQ
    assert total["accumulator.add"] == 10 * 6 * 2
    # activations once per column tile, then the result leaves
    assert total["unified_buffer.read_byte"] == 10 * 20 * 2 + 60
    assert total["unified_buffer.write_byte"] == 10 * 20 + 60
    assert total["host_link.byte"] == 10 * 20 + 60
    # weights, one descriptor, rows of 4 and 2 columns with their headers
    assert total["dram.read_byte"] == 120 + 128 + (16 + 32) + (16 + 16)
    assert total["requantize.op"] == 60
    assert total["vector.op"] == total["dram.write_byte"] == 0


def test_a_sum_reads_both_operands() -> None:
    # 20 channels of 3 x 2 pixels: both are read, one is written
    b = ModuleBuilder("sum")
    x, y = b.input("x", (1, 20, 3, 2), "i8"), b.input("y", (1, 20, 3, 2), "i8")
    steps: dict[str, Attribute] = {f"{v}_scale": 0.5 for v in "aby"}
    zeros: dict[str, Attribute] = {f"{v}_zero_point": 0 for v in "aby"}
    b.output("z", b.op("qnn.add", [x, y], {**steps, **zeros}, name="add"))
    row = layer(b.finish(), chip(8, 8), "add")
    assert row.actions["vector.op"] == row.actions["unified_buffer.read_byte"] == 2 * 120
    assert row.actions["unified_buffer.write_byte"] == 120


def test_energy_by_hand() -> None:
    spec = chip(8, 4)
    total = totals(gemm(10, 20, 6), spec)
    energy = price(total, spec.prices)
    cycles = ran(gemm(10, 20, 6), spec).cycles
    # the counts above times the prices of tpu-v1.yaml
    assert energy.by_unit["mac"] == pytest.approx(1200 * 0.152 + 720 * 0.0152)
    assert energy.by_unit["weight_memory"] == pytest.approx(240 * 3.59)
    assert energy.by_unit["unified_buffer"] == pytest.approx((460 + 260) * 6.34)
    assert energy.by_unit["accumulator"] == pytest.approx(1440 * 0.896 + 120 * 0.0507)
    assert energy.by_unit["dram"] == pytest.approx(328 * 162.5)
    assert energy.by_unit["host_link"] == pytest.approx(260 * 40)
    assert energy.by_unit["static"] == pytest.approx(cycles / 700e6 * 28e12)


def test_the_zeros_beside_packed_groups_are_idle(rng: np.random.Generator) -> None:
    # depthwise 1 x 1 on 4 x 4: the four channels share one diagonal tile, 9 rows
    net = Net(rng, (1, 4, 3, 3))
    row = layer(net.finish(net.conv(net.x, 4, (1, 1), "a", groups=4)), chip(4, 4), "a")
    assert row.actions["mac.int8"] == row.macs == 9 * 4
    assert row.actions["mac.idle"] == 9 * 16 - 36


def test_a_busy_array_draws_about_the_published_power() -> None:
    # TPU v1 busy: 40 W (ISCA 2017, table 2), TDP 75 W
    spec = chip(256, 256)
    row = layer(gemm(2048, 8192, 2048), spec)
    energy_pj = price(row.actions, spec.cost).total_pj
    assert energy_pj is not None
    power_w = energy_pj * 1e-12 / (row.cycles / spec.clock_hz) + 28
    assert row.utilization_frac is not None
    assert row.utilization_frac > 0.9
    # the table has whole watts, of other workloads: a twentieth is allowed, 41.2 is found
    assert power_w == pytest.approx(40, rel=0.05)
    assert spec.chip.tdp_w is not None
    assert power_w < spec.chip.tdp_w


def test_a_run_takes_as_long_as_its_bytes_at_least() -> None:
    module, spec = gemm(200, 1024, 1024), chip(256, 256)
    program = compile_graph(module.graph, spec, "m")
    least = least_cycles(program, spec)
    # weights, a descriptor and 4 rows of 256 columns over DRAM; 200 x 1024 bytes in and out
    dram = 1024 * 1024 + 128 + 4 * (16 + 8 * 256)
    seconds = dram / 34e9 + 2 * 200 * 1024 / spec.host.bandwidth_bytes_per_s
    assert least == {
        "(input)": 0,
        "gemm": 200 * 1024 * 1024 / 65536,
        "(output)": 0,
        "": pytest.approx(seconds * 700e6, rel=1e-12),
    }
    many = compile_graph(gemm(4000, 64, 8).graph, chip(8, 8), "m")
    assert least_cycles(many, chip(8, 8))[""] == 4000 * 64 * 8 / 64
    check_invariants(run(program, spec, {}, KEY), least_cycles=least)


def test_a_dma_that_is_too_fast_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: transfers at 100 times the bandwidth."""

    def quick(
        clock_hz: float, bandwidth_bytes_per_s: float, latency_s: float
    ) -> tuple[Fraction, int]:
        del latency_s
        return Fraction(clock_hz) / Fraction(100 * bandwidth_bytes_per_s), 70

    spec = chip(256, 256)
    program = compile_graph(gemm(200, 1024, 1024).graph, spec, "m")
    monkeypatch.setattr("tetrapla.simulators.systolic.timing._link", quick)
    result = run(program, spec, {}, KEY)
    with pytest.raises(
        InternalError, match=r"cycles of the run must be at least \d+\.\d+, not"
    ):
        check_invariants(result, least_cycles=TARGET.least_cycles(program, spec))
