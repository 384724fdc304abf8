"""The schedule: latency and interval by hand, their laws, the mesh, reloaded arrays."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from tetrapla.simulators.analog import noc, timing
from tetrapla.simulators.analog.costing import NocSection
from tetrapla.simulators.analog.program import (
    Digital,
    Product,
    Program,
    Step,
    Tile,
    Window,
)
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.price_ import price
from tetrapla.simulators.report import Run
from tetrapla.simulators.spec_ import load_spec

DRAIN = 6  # reads behind the last, of isaac
READ = 120  # cycles, of isaac


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def meshed(spec: AnalogSpec) -> AnalogSpec:
    mesh = NocSection.model_validate({"hop": 3, "bytes_per_cycle": 4})
    return spec.model_copy(update={"noc": mesh})


def product(number: int, positions: int, copies: int = 1, tiles: int = 1) -> Product:
    """A layer of 100 rows and 10 outputs a tile, from value `number` to the next."""
    outputs = 10 * tiles
    return Product(
        name=f"fc{number}",
        op="qnn.matmul",
        number=number,
        operand=number,
        result=number + 1,
        x_zero_point=0,
        x_low=-128,
        matrix=np.zeros((100, outputs), np.int16),
        bias=np.zeros(outputs, np.int64),
        window=None,
        slices=4,
        tiles=tuple(Tile(0, 100, 10 * t, 10 * t + 10, (0, 0, 0, 0)) for t in range(tiles)),
        macs=positions * 100 * outputs,
        copies=copies,
    )


def chain(*steps: Step, positions: tuple[int, ...]) -> Program:
    """Layers behind each other; value n has `positions[n]` rows."""
    return Program(
        name="chain",
        rows=128,
        cols=128,
        cell_bits=2,
        dac_bits=1,
        inputs=(("x", 0),),
        outputs=(("y", len(steps)),),
        shapes={0: (positions[0], 100)}
        | {
            n + 1: (positions[n], step.matrix.shape[1] if isinstance(step, Product) else 10)
            for n, step in enumerate(steps)
        },
        constants={},
        steps=steps,
    )


def timed(program: Program, spec: AnalogSpec) -> Run:
    return timing.timed(program, spec, {})


def test_latency_and_interval_by_hand() -> None:
    spec = isaac()
    program = chain(product(0, 9), product(1, 4), positions=(9, 4))
    run = timed(program, spec)
    # 9 and 4 positions of 8 reads, each layer drains on its own
    first, second = (9 * 8 + DRAIN) * READ, (4 * 8 + DRAIN) * READ
    assert [layer.cycles for layer in run.layers] == [first, second]
    assert run.cycles == first + second
    # the longer layer's arrays are busy for 72 reads
    assert run.interval_s == 9 * 8 * READ / spec.clock_hz
    assert timing.interval_cycles(program, spec) == 9 * 8 * READ
    assert run.warnings == (
        "time is the latency of one invocation; in a pipeline, where layers work on different "
        "ones, the next can start every 7.2e-06 s, 1.389e+05 a second",
    )


@pytest.mark.parametrize("copies", [1, 2, 3, 4, 9, 20])
def test_copies_divide_the_positions(copies: int) -> None:
    spec = isaac()
    program = chain(product(0, 9, copies), positions=(9,))
    (layer,) = timed(program, spec).layers
    assert layer.cycles == (ceil(9 / copies) * 8 + DRAIN) * READ
    # the work is the same, whoever does it
    alone = timed(chain(product(0, 9), positions=(9,)), spec).layers[0]
    assert layer.actions == alone.actions


@pytest.mark.parametrize(
    "overrides", [(), ("adc.rate=100 MHz",), ("digital.requantize_lanes=1",)]
)
@pytest.mark.parametrize("mesh", [False, True])
def test_a_pipelined_batch_takes_at_most_as_long_as_one_by_one(
    overrides: tuple[str, ...], mesh: bool
) -> None:
    spec = meshed(isaac(*overrides)) if mesh else isaac(*overrides)
    end = Digital("q", "qnn.requantize", "requantize", (3,), 4, {}, 4000, 4000)
    steps = product(0, 9), product(1, 4, 2), product(2, 16, 3), end
    program = chain(*steps, positions=(9, 4, 16, 16))
    run = timed(program, spec)
    assert run.interval_s is not None
    for batch in (1, 2, 10, 1000):
        together = run.time_s + (batch - 1) * run.interval_s
        assert together <= batch * run.time_s
    # nothing that acts is busy for longer than the interval
    longest = max(layer.cycles for layer in run.layers) / spec.clock_hz
    assert run.interval_s <= longest


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("overrides", [(), ("dac.bits=3 bit",), ("adc.per_array=7",)])
def test_no_layer_is_faster_than_its_cells(
    copies: int, tiles: int, overrides: tuple[str, ...]
) -> None:
    spec = isaac(*overrides)
    program = chain(product(0, 11, copies, tiles), positions=(11,))
    program = replace(program, dac_bits=spec.dac.bits)
    least = timing.least_cycles(program, spec)
    assert set(least) == {"fc0"}
    assert 0 < least["fc0"] <= timed(program, spec).layers[0].cycles


def test_a_layer_that_fills_its_array_meets_the_bound_but_for_the_drain() -> None:
    spec = isaac("digital.fill_reads=0")
    full = replace(
        product(0, 5),
        matrix=np.zeros((128, 16), np.int16),
        tiles=(Tile(0, 128, 0, 16, (0, 0, 0, 0)),),
        macs=5 * 128 * 16,
    )
    program = replace(chain(full, positions=(5,)), shapes={0: (5, 128), 1: (5, 16)})
    # the bound counts one cell of a pair, so it is half of the time
    bound = timing.least_cycles(program, spec)["fc0"]
    assert timed(program, spec).layers[0].cycles == pytest.approx(2 * bound, rel=1e-5)


def test_reads_and_conversions_take_turns_where_they_must() -> None:
    # 80 codes at 640 MS/s are 125 ns: 150 cycles beside 120 of the array
    slow = isaac("adc.rate=640 MHz")
    step = product(0, 1)
    assert timing.read_cycles(step, slow) == (150, "adc")
    turns = isaac("adc.rate=640 MHz", "converter.overlaps=false")
    assert timing.read_cycles(step, turns) == (270, "adc")


def test_transfers_cross_the_mesh_between_the_middles_of_layers() -> None:
    spec = meshed(isaac("array.tiles=9"))
    # 96 arrays a tile: 100 tiles of a layer lie on two tiles, so layers begin at 0, 2 and 3
    steps = product(0, 4, tiles=100), product(1, 4), product(2, 4)
    program = chain(*steps, positions=(4, 4, 4))
    program = replace(program, shapes={0: (4, 100), 1: (4, 100), 2: (4, 100), 3: (4, 10)})
    found = noc.transfers(program, spec)
    # a 3 x 3 mesh, every other row backwards: 0 1 2 / 5 4 3 / 6 7 8; middles 1, 2 and 3
    assert {name: one.hops for name, one in found.items()} == {"fc0": 1, "fc1": 1, "fc2": 1}
    far = replace(steps[1], copies=300)  # tiles 2 to 5, middle 4: row 1, column 1
    found = noc.transfers(replace(program, steps=(steps[0], far, steps[2])), spec)
    assert found["fc1"] == noc.Transfer(400, 1, 3 + 100)
    assert found["fc2"].hops == 2  # from tile 4 to tile 6: a row down, a column left
    assert found["fc2"].cycles == 2 * 3 + 100
    layer = timed(replace(program, steps=(steps[0], far, steps[2])), spec).layers[2]
    assert layer.actions["router.byte"] == 800


def test_a_chip_without_a_mesh_moves_at_one_hop_and_in_no_time() -> None:
    program = chain(product(0, 9), positions=(9,))
    assert noc.transfers(program, isaac()) == {"fc0": noc.Transfer(900, 1, 0)}


def test_arrays_that_are_reloaded_take_rounds_and_are_shared() -> None:
    spec = isaac()
    few = {"tiles": 1, "units_per_tile": 1, "arrays_per_unit": 2, "reload_s": 200e-9}
    spec = spec.model_copy(update={"array": spec.array.model_copy(update=few)})
    program = chain(product(0, 3, tiles=5), product(1, 3), positions=(3, 3))
    program = replace(program, shapes={0: (3, 100), 1: (3, 50), 2: (3, 10)})
    run = timed(program, spec)
    # 5 tiles on 2 arrays: 3 rounds, each loads for 240 cycles and reads 24 times
    first, second = 3 * (240 + 24 * READ), 240 + 24 * READ
    assert [layer.cycles for layer in run.layers] == [
        first + DRAIN * READ,
        second + DRAIN * READ,
    ]
    assert timing.interval_cycles(program, spec) == first + second
    assert run.layers[0].actions["weight.convert"] == 5 * 100 * 80


def test_the_array_energy_of_a_model_without_values_is_unknown() -> None:
    spec = isaac()
    cost = {name: pj for name, pj in spec.cost.items() if name != "crossbar.read"}
    spec = spec.model_copy(update={"cost": {**cost, "crossbar.joule": 1e12}})
    run = timed(chain(product(0, 9), positions=(9,)), spec)
    assert run.warnings[-1] == (
        "the arrays' own energy depends on values, and none are computed: it is unknown"
    )
    energy = price(run.layers[0].actions, spec.prices)
    assert (energy.total_pj, energy.by_unit["crossbar"]) == (None, None)
    assert energy.warnings == (
        "the energy total is null: no source gives the price of crossbar.unknown_joule",
    )


def image(number: int, channels: int, rows: int, kernel: int, stride: int, pad: int) -> Product:
    """A convolution of square images, one position a pixel, 10 filters."""
    window = Window((kernel, kernel), (stride, stride), (pad, pad, pad, pad), (1, 1))
    inputs = channels * kernel**2
    return replace(
        product(number, rows * rows),
        matrix=np.zeros((inputs, 10), np.int16),
        tiles=(Tile(0, inputs, 0, 10, (0, 0, 0, 0)),),
        window=window,
        macs=rows * rows * inputs * 10,
    )


def test_streamed_rows_by_hand() -> None:
    spec = isaac("digital.streams=true", "digital.fill_reads=0")
    program = chain(product(0, 4), product(1, 4), positions=(4, 4))
    run = timed(program, spec)
    # a row takes 8 reads; the second layer is one row behind, and as fast
    row = 8 * READ
    assert [(part.start_cycle, part.end_cycle) for part in run.trace] == [
        (0, 4 * row),
        (row, 5 * row),
    ]
    assert run.cycles == 5 * row
    # drained: every row of the first is 6 reads late for the second, which drains as well
    spec = isaac("digital.streams=true")
    drain = DRAIN * READ
    assert timed(program, spec).cycles == 5 * row + 2 * drain
    # what a layer does is the same
    assert timed(program, spec).layers == timed(program, isaac()).layers


def test_a_window_waits_for_the_rows_under_it() -> None:
    spec = isaac("digital.streams=true", "digital.fill_reads=0")
    steps = image(0, 1, 6, 3, 1, 1), image(1, 10, 3, 3, 2, 0)
    program = replace(
        chain(*steps, positions=(1, 1)),
        shapes={0: (1, 1, 6, 6), 1: (1, 10, 6, 6), 2: (1, 10, 2, 2)},
    )
    run = timed(program, spec)
    row = 8 * READ
    # the first makes a row of 6 pixels in 6 x 8 reads; rows 0 and 1 of the second need 3 and 5
    # of them, and take 2 x 8 reads each
    first, second = run.trace
    assert (first.start_cycle, first.end_cycle) == (0, 36 * row)
    assert second.start_cycle == 3 * 6 * row
    assert second.end_cycle == 5 * 6 * row + 2 * row
    assert run.cycles == 36 * row


def test_a_layer_that_needs_everything_waits_for_everything() -> None:
    spec = isaac("digital.streams=true")
    steps = product(0, 4), product(1, 1)
    program = chain(*steps, positions=(4, 1))
    both = timed(program, spec)
    assert both.cycles == timed(program, isaac()).cycles


@pytest.mark.parametrize("copies", [(1, 1, 1), (1, 4, 2), (3, 1, 5)])
@pytest.mark.parametrize("mesh", [False, True])
def test_streaming_is_never_slower_and_never_faster_than_a_layer(
    copies: tuple[int, int, int], mesh: bool
) -> None:
    steps = tuple(product(n, 16, count) for n, count in enumerate(copies))
    program = chain(*steps, positions=(16, 16, 16))
    slow, fast = isaac(), isaac("digital.streams=true")
    if mesh:
        slow, fast = meshed(slow), meshed(fast)
    together, apart = timed(program, fast), timed(program, slow)
    assert together.cycles <= apart.cycles
    assert together.cycles >= max(layer.cycles for layer in apart.layers)
    assert together.interval_s == apart.interval_s
    assert together.interval_s is not None
    assert together.interval_s <= together.time_s
