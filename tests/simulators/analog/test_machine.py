"""The analog machine as a whole: the chip's own sums, time by hand, seeds and chunks, JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError, SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import machine
from tetrapla.simulators.analog.machine import run
from tetrapla.simulators.analog.program import Digital, Product, Program, Tile
from tetrapla.simulators.analog.spec import AnalogSpec, lossless_bits
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import assemble, price, summed
from tetrapla.simulators.spec_ import load_spec

REQUANTIZE: dict[str, Any] = {
    "zero_point": 0,
    "low": -128,
    "high": 127,
    "axis": 1,
    "dtype": "i8",
}


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def program(matrix: Array, spec: AnalogSpec, positions: int) -> Program:
    """One matrix product [positions, rows] x matrix on one tile, requantised."""
    rows, outputs = matrix.shape
    product = Product(
        name="fc",
        op="qnn.matmul",
        number=0,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=-128,
        matrix=matrix.astype(np.int16),
        bias=np.zeros(outputs, np.int64),
        window=None,
        slices=4,
        tiles=(Tile(0, rows, 0, outputs, (0, 0, 0, 0)),),
        macs=positions * matrix.size,
    )
    made = positions * outputs
    end = Digital("q", "qnn.requantize", "requantize", (1, 2), 3, REQUANTIZE, made, made)
    return Program(
        name="net",
        rows=spec.array.rows,
        cols=spec.array.cols,
        cell_bits=spec.array.cell_bits,
        dac_bits=spec.dac.bits,
        inputs=(("x", 0),),
        outputs=(("acc", 1), ("y", 3)),
        shapes={0: (positions, rows), 1: (positions, outputs), 3: (positions, outputs)},
        constants={2: np.array([2.0**-10], np.float32)},
        steps=(product, end),
    )


@pytest.fixture
def net(rng: np.random.Generator) -> Program:
    return program(rng.integers(-127, 128, (128, 16)), isaac(), positions=5)


def drawn(rng: np.random.Generator, count: int, net: Program) -> dict[str, Array]:
    return {"x": rng.integers(-128, 128, (count, *net.shapes[0])).astype(np.int8)}


def test_the_components_of_isaac_add_up_to_the_published_tile_and_chip() -> None:
    # Shafiee et al., ISCA 2016, table I: IMA 24.08 mW, 12 of them 289 mW, tile 330 mW,
    # 168 tiles 55.4 W, chip 65.8 W and 85.4 mm2
    spec = isaac()
    parts = spec.components
    assert parts is not None
    unit_w, array = sum(parts.unit_power_w.values()), spec.array
    tile_w = array.units_per_tile * unit_w + sum(parts.tile_power_w.values())
    assert unit_w == pytest.approx(24.08e-3, rel=1e-9)
    assert array.units_per_tile * unit_w == pytest.approx(289e-3, rel=5e-3)
    assert tile_w == pytest.approx(330e-3, rel=5e-3)
    assert array.tiles * tile_w + parts.link_power_w == pytest.approx(spec.chip.tdp_w, rel=5e-3)
    unit_mm2 = sum(parts.unit_area_mm2.values())
    tile_mm2 = array.units_per_tile * unit_mm2 + sum(parts.tile_area_mm2.values())
    assert unit_mm2 == pytest.approx(0.01312, rel=5e-3)
    assert tile_mm2 == pytest.approx(0.372, rel=5e-3)
    chip_mm2 = array.tiles * tile_mm2 + parts.link_area_mm2
    assert chip_mm2 == pytest.approx(spec.chip.area_mm2, rel=5e-3)


def test_the_throughput_of_isaac_is_the_published_one() -> None:
    # 16-bit weights of 8 cells, 16 reads of 100 ns an input: 128 * 16 MACs in 1.6 us an array,
    # 41.29 TOPS; 0.4835 TOPS/mm2 and 0.6275 TOPS/W (Nature Communications 15, table 3)
    spec = isaac()
    a = spec.array
    macs = a.rows * (a.cols * a.cell_bits // 16)
    tops = 2 * macs * a.total / (16 / spec.dac.bits * a.read_s) / 1e12
    assert spec.chip.area_mm2 is not None
    assert spec.chip.tdp_w is not None
    assert tops == pytest.approx(41.29, rel=5e-3)
    assert tops / spec.chip.area_mm2 == pytest.approx(0.4835, rel=5e-3)
    assert tops / spec.chip.tdp_w == pytest.approx(0.6275, rel=5e-3)


def test_a_busy_unit_costs_its_published_power() -> None:
    # 8 arrays read every 100 ns; ADC and DAC prices are hwcomponents', 6.7 % above the table's
    cost, parts = isaac().cost, isaac().components
    assert parts is not None
    reads = {"crossbar.read": 8, "sample_hold.read": 8, "input_register.byte": 128}
    watts = {"crossbar": 2.4e-3, "sample_hold": 1e-5, "input_register": 1.24e-3}
    for unit, energy_pj in price(reads, cost).by_unit.items():
        assert energy_pj == pytest.approx(watts[unit] * 100e-9 * 1e12, rel=1e-3)
    converts = price({"adc.convert": 8 * 128, "dac.convert": 1024}, cost).by_unit
    assert converts["adc"] == pytest.approx(16e-3 * 100e-9 * 1e12, rel=0.07)
    assert converts["dac"] == pytest.approx(4e-3 * 100e-9 * 1e12, rel=0.07)


def test_a_lossless_adc_for_128_rows_of_two_bit_cells_has_nine_bits() -> None:
    # ceil(log2(128 * 3 * 1 + 1)) = ceil(log2 385)
    assert lossless_bits(isaac(), 128) == 9
    # 85 rows of level 3 are 255: the most that 8 bits tell apart
    assert [lossless_bits(isaac(), rows) for rows in (85, 86)] == [8, 9]
    ideal = isaac().ideal()
    assert ideal.adc.bits == 9
    assert ideal.adc.range == "full"
    assert not ideal.device.noisy
    assert ideal.ideal() == ideal
    assert isaac("adc.bits=12 bit").ideal().adc.bits == 12


def test_cycles_and_actions_by_hand(rng: np.random.Generator) -> None:
    spec = isaac()
    net = program(rng.integers(-127, 128, (100, 10)), spec, positions=5)
    found = run(net, spec, drawn(rng, 3, net), Key(0))
    product, requantize = found.layers
    # 5 positions x 8 bits = 40 reads, and 6 to drain, of 100 ns = 120 cycles at 1.2 GHz
    assert product.cycles == 46 * 120
    assert product.bound_by == "crossbar"
    assert product.macs == 5 * 100 * 10
    # 100 rows x 10 outputs x 8 cells of 128 x 128
    assert product.utilization_frac == 100 * 10 * 8 / 128**2
    assert product.actions == {
        "router.byte": 500,
        "edram.byte": 500,
        "bus.byte": 500,
        "input_register.byte": 500,
        "dac.convert": 40 * 100,
        "crossbar.read": 40,
        "sample_hold.read": 40,
        "adc.convert": 40 * 80,
        "shift_add.op": 40 * 80 + 5 * 10,
        "output_register.byte": 40 * 10 * 2,
    }
    # 50 elements on 2 lanes
    assert requantize.cycles == 25
    assert requantize.bound_by == "digital"
    assert found.cycles == 46 * 120 + 25
    assert requantize.actions == {"requantize.op": 50, "edram.byte": 50, "bus.byte": 50}
    assert found.time_s == found.cycles / 1.2e9
    assert found.actions == {"static.second": found.time_s}


def test_every_tile_of_a_layer_converts_its_own_columns(rng: np.random.Generator) -> None:
    spec = isaac("dac.bits=2 bit")
    net = program(rng.integers(-127, 128, (200, 20)), spec, positions=3)
    (step, end) = net.steps
    assert isinstance(step, Product)
    tiles = tuple(
        Tile(top, min(top + 128, 200), left, min(left + 16, 20), (0, 0, 0, 0))
        for top in (0, 128)
        for left in (0, 16)
    )
    net = replace(net, steps=(replace(step, tiles=tiles), end))
    found = run(net, spec, drawn(rng, 1, net), Key(0)).layers[0]
    # 3 positions x 4 digits of 2 bits = 12 reads; two tiles of 16 outputs, two of 4, 8 columns
    # an output; each row range is fetched once and driven on two tiles
    assert found.actions == {
        "router.byte": 600,
        "edram.byte": 600,
        "bus.byte": 600,
        "input_register.byte": 3 * 2 * 200,
        "dac.convert": 12 * 2 * 200,
        "crossbar.read": 12 * 4,
        "sample_hold.read": 12 * 4,
        "adc.convert": 12 * 2 * 8 * 20,
        "shift_add.op": 12 * 2 * 8 * 20 + 3 * 2 * 20,
        "output_register.byte": 12 * 2 * 20 * 2,
    }
    # tiles read at once: one read is 100 ns, whatever their number
    assert found.cycles == (12 + 6) * 120
    assert found.utilization_frac == 200 * 20 * 8 / (4 * 128**2)


def test_energy_is_counts_times_prices_by_hand(rng: np.random.Generator) -> None:
    spec = isaac()
    net = program(rng.integers(-127, 128, (100, 10)), spec, positions=5)
    found = run(net, spec, drawn(rng, 1, net), Key(0))
    energy = price(found.layers[0].actions, spec.cost)
    # 3200 codes, 4000 DAC digits, 40 reads of an array
    assert energy.by_unit["adc"] == pytest.approx(3200 * 1.667)
    assert energy.by_unit["dac"] == pytest.approx(4000 * 0.41667)
    assert energy.by_unit["crossbar"] == pytest.approx(40 * 30.0)
    static = price(found.actions, spec.prices).total_pj
    # 10.4 W of links
    assert static == pytest.approx(found.time_s * 10.4e12, rel=1e-15)


def test_a_slow_adc_sets_the_pace(net: Program, rng: np.random.Generator) -> None:
    # 128 columns at 640 MS/s take 200 ns, 240 cycles
    slow = run(net, isaac("adc.rate=640 MHz"), drawn(rng, 1, net), Key(0)).layers[0]
    assert (slow.bound_by, slow.cycles) == ("adc", 46 * 240)
    two = run(net, isaac("adc.rate=640 MHz", "adc.per_array=2"), drawn(rng, 1, net), Key(0))
    assert (two.layers[0].bound_by, two.layers[0].cycles) == ("crossbar", 46 * 120)


def test_every_action_has_a_price(net: Program, rng: np.random.Generator) -> None:
    spec = isaac()
    found = run(net, spec, drawn(rng, 1, net), Key(0))
    report = assemble(
        found,
        model="net",
        target="isaac",
        family="analog",
        command="",
        cost=spec.prices,
        macs=net.products[0].macs,
    )
    assert report.energy.total_pj is not None
    counted = summed([*(layer.actions for layer in found.layers), found.actions])
    assert set(spec.prices) - set(counted) == {
        *("mac.op", "max_pool.op", "vector.op"),
        *("crossbar.joule", "crossbar.unknown_joule", "weight.convert"),  # of other chips
    }


def test_an_action_without_a_price_is_refused(net: Program, rng: np.random.Generator) -> None:
    spec = isaac()
    found = run(net, spec, drawn(rng, 1, net), Key(0))
    cost = {action: pj for action, pj in spec.cost.items() if action != "adc.convert"}
    with pytest.raises(SpecError, match=r"leave out adc\.convert"):
        price(found.layers[0].actions, cost)


def test_one_seed_gives_one_result_and_another_seed_another(
    net: Program, rng: np.random.Generator
) -> None:
    inputs = drawn(rng, 4, net)
    first, same, other = (
        run(net, isaac(), inputs, Key(seed)).outputs["acc"] for seed in (7, 7, 8)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_values_do_not_depend_on_how_the_data_is_cut(
    net: Program, rng: np.random.Generator
) -> None:
    inputs = drawn(rng, 6, net)
    whole = run(net, isaac(), inputs, Key(3)).outputs["acc"]
    parts = [
        run(net, isaac(), {"x": inputs["x"][part]}, Key(3, read=part.start)).outputs["acc"]
        for part in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    assert np.array_equal(whole, np.concatenate(parts))
    for held in (1, 3 * 128, 7 * 128):  # one position, three, more than one invocation
        found = run(net, isaac(), inputs, Key(3), chunk=held)
        assert np.array_equal(found.outputs["acc"], whole)


def test_two_chips_and_two_reads_differ(net: Program, rng: np.random.Generator) -> None:
    inputs = drawn(rng, 1, net)
    twice = {"x": np.repeat(inputs["x"], 2, axis=0)}
    first, second = run(net, isaac(), twice, Key(0)).outputs["acc"]
    assert not np.array_equal(first, second)
    other = run(net, isaac(), inputs, Key(0, chip=1)).outputs["acc"][0]
    assert not np.array_equal(first, other)
    # without read noise, reads of one chip are equal
    first, second = run(net, isaac("device.read_noise=0"), twice, Key(0)).outputs["acc"]
    assert np.array_equal(first, second)


def test_a_program_survives_json(net: Program, rng: np.random.Generator) -> None:
    inputs = drawn(rng, 2, net)
    again = Program.from_dict(json.loads(json.dumps(net.to_dict())))
    assert again.to_dict() == net.to_dict()
    found, expected = (run(p, isaac(), inputs, Key(1)).outputs["y"] for p in (again, net))
    assert np.array_equal(found, expected)


def test_json_that_is_no_program_is_refused(net: Program) -> None:
    with pytest.raises(ModelError) as refused:
        Program.from_dict({"schema": "tetrapla.systolic/1"})
    assert str(refused.value) == (
        "a program's schema must be tetrapla.analog/1, not tetrapla.systolic/1"
    )
    whole = net.to_dict()
    with pytest.raises(ModelError) as lacking:
        Program.from_dict({key: part for key, part in whole.items() if key != "steps"})
    assert str(lacking.value) == ("a program must have the part 'steps'; compile it again")
    with pytest.raises(ModelError, match="must be as it was written, not changed"):
        Program.from_dict({**whole, "shapes": 7})


def test_a_run_keeps_accumulators_of_invocations_spread_evenly(
    net: Program, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PROBED", 4)
    found = run(net, isaac(), drawn(rng, 10, net), Key(2))
    assert found.key == Key(2)
    assert found.probed == (0, 3, 6, 9)
    kept = found.outputs["acc"][list(found.probed)]
    assert np.array_equal(found.accumulators["fc"], kept)
    assert machine.spread(3, 256).tolist() == [0, 1, 2]
    assert machine.spread(1, 4).tolist() == [0]


def test_the_listing_names_tiles_and_adc_steps(net: Program) -> None:
    (product, end) = net.steps
    assert isinstance(product, Product)
    tile = replace(product.tiles[0], adc_shifts=(0, 1, 1, 2))
    shown = replace(net, steps=(replace(product, tiles=(tile,)), end)).text()
    assert shown == (
        "; net: 1 crossbars of 128 x 128, 2 bits a cell, 1-bit DACs\n"
        "input x -> v0\n"
        "fc: qnn.matmul v0 -> v1, 128 x 16 in 4 slices, 10240 MACs\n"
        "  tile 0: rows 0..128, outputs 0..16, ADC steps 1, 2, 2, 4\n"
        "q: requantize qnn.requantize v1, v2 -> v3\n"
        "output acc <- v1\n"
        "output y <- v3\n"
    )


def test_wrong_inputs_and_arrays_are_refused(net: Program, rng: np.random.Generator) -> None:
    inputs = drawn(rng, 1, net)
    with pytest.raises(ModelError) as named:
        run(net, isaac(), {"z": inputs["x"]}, Key(0))
    assert str(named.value) == "inputs must be named ['x'], not ['z']"
    with pytest.raises(ModelError) as shaped:
        run(net, isaac(), {"x": inputs["x"][:, :1]}, Key(0))
    assert str(shaped.value) == (
        "input 'x' must have shape (5, 128) per invocation, not (1, 128)"
    )
    with pytest.raises(ModelError) as counted:
        run(net, isaac(), {"x": inputs["x"][:0]}, Key(0))
    assert str(counted.value) == (
        "inputs must hold one equal, positive number of invocations, not [0]"
    )
    with pytest.raises(SpecError) as other:
        run(net, isaac("array.rows=64"), inputs, Key(0))
    assert str(other.value) == (
        "program 'net' must run on the arrays it was compiled for, 128 x 128 with 2 bits a "
        "cell and 1-bit DACs, not 64 x 128 with 2 and 1; compile it again"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "device.model=rram_mil",
            "device.model must be a known device, not rram_mil; did you mean 'rram_milo'?",
        ),
        (
            "device.model=rram_wan_cubic",
            "device.g_max must be at most 39.26 uS, where rram_wan_cubic was fitted, "
            "not 40 uS; lower it or choose another model",
        ),
        (
            "device.model=rram_milo",
            "device.g_min must be at least 50 uS, where rram_milo was fitted, not 1 uS; "
            "raise it or choose another model",
        ),
    ],
)
def test_a_device_outside_its_fit_is_refused(override: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        isaac(override)
    assert message in str(refused.value)
