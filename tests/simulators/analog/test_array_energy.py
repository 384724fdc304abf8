"""Joules of arrays: by hand, by brute force, through wires, and whatever the cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import dissipation
from tetrapla.simulators.analog.cells import programmed, siemens
from tetrapla.simulators.analog.circuits.effective import admittance
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.energy import drive_gram, drive_squares, joules, wired_joules
from tetrapla.simulators.analog.machine import run
from tetrapla.simulators.analog.program import Product, Program, Tile
from tetrapla.simulators.analog.sections import WiresSection
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.price_ import price, summed
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

VOLTS = 0.2
READ_S = 100e-9


def counted(*overrides: str) -> AnalogSpec:
    """ISAAC with the joules of its arrays in place of a price per read."""
    own = ("cost.crossbar.joule=1 J", f"array.drive={VOLTS} V")
    return load_spec("isaac", AnalogSpec, (*own, *overrides)).spec


def net(rng: np.random.Generator, spec: AnalogSpec, copies: int = 1) -> Program:
    """One product, 150 x 20 on four tiles, at 6 positions."""
    matrix = rng.integers(-127, 128, (150, 20)).astype(np.int16)
    tiles = tuple(
        Tile(top, min(top + 128, 150), left, min(left + 16, 20), (0, 0, 0, 0))
        for top in (0, 128)
        for left in (0, 16)
    )
    step = Product(
        name="fc",
        op="qnn.matmul",
        number=0,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=-128,
        matrix=matrix,
        bias=np.zeros(20, np.int64),
        window=None,
        slices=4,
        tiles=tiles,
        macs=6 * matrix.size,
        copies=copies,
    )
    a = spec.array
    return Program(
        name="net",
        rows=a.rows,
        cols=a.cols,
        cell_bits=a.cell_bits,
        dac_bits=spec.dac.bits,
        inputs=(("x", 0),),
        outputs=(("y", 1),),
        shapes={0: (6, 150), 1: (6, 20)},
        constants={},
        steps=(step,),
    )


def on_hermes(rng: np.random.Generator, spec: AnalogSpec) -> Program:
    """The product on one tile of HERMES."""
    program = net(rng, spec)
    (step,) = program.products
    one = replace(step, slices=1, tiles=(Tile(0, 150, 0, 20, (8,)),))
    return replace(program, steps=(one,), signed=True)


def brute(inputs: Array, cells: Array, dac_bits: int, *, gated: bool = False) -> float:
    """Every vector and digit on its own, in the order of a loop."""
    total, top = 0.0, (1 << dac_bits) - 1
    for vector in inputs.reshape(-1, inputs.shape[-1]).astype(int):
        for shift in range(0, 8, dac_bits):
            share = (vector >> shift & top) / top
            squares = share if gated else share**2
            total += READ_S * VOLTS**2 * float((squares[:, None] * cells).sum())
    return total


def test_one_cell_by_hand() -> None:
    # 0b101 on a 1-bit DAC: two reads of 100 ns at 0.2 V through 10 uS: 2 x 1e-7 x 0.04 x 1e-5
    squares = drive_squares(np.array([[5]], np.uint8), 8, 1)
    assert squares.tolist() == [2]
    found = joules(squares, np.array([1e-5]), read_s=READ_S, volts=VOLTS, dac_bits=1)
    assert found == pytest.approx(8e-14, rel=1e-15)
    # 2-bit digits: 1 and 1, a ninth of the power each; gated, a third of the time each
    assert drive_squares(np.array([[5]], np.uint8), 8, 2).tolist() == [2]
    assert drive_squares(np.array([[5]], np.uint8), 8, 2, timed=True).tolist() == [6]


@pytest.mark.parametrize("dac_bits", [1, 2, 3, 8])
@pytest.mark.parametrize("gated", [False, True])
def test_squares_are_every_read_added_up(
    rng: np.random.Generator, dac_bits: int, gated: bool
) -> None:
    inputs = rng.integers(0, 256, (3, 40, 12)).astype(np.uint8)
    cells = rng.random((12, 7)) * 1e-5
    squares = drive_squares(inputs, 8, dac_bits, timed=gated)
    found = joules(squares, cells.sum(axis=1), read_s=READ_S, volts=VOLTS, dac_bits=dac_bits)
    assert found == pytest.approx(brute(inputs, cells, dac_bits, gated=gated), rel=1e-12)


def test_ideal_wires_are_wires_without_resistance(rng: np.random.Generator) -> None:
    inputs = rng.integers(0, 256, (50, 12)).astype(np.uint8)
    cells = rng.random((12, 7)) * 1e-5
    gram = drive_gram(inputs, 8, 2)
    assert np.diag(gram).tolist() == drive_squares(inputs, 8, 2).tolist()
    none = wired_joules(
        gram, admittance(cells, Wires()), read_s=READ_S, volts=VOLTS, dac_bits=2
    )
    assert none == pytest.approx(brute(inputs, cells, 2), rel=1e-12)
    # wires in series can only lower what the sources deliver
    lossy = admittance(cells, Wires(row_ohm=500.0, col_ohm=500.0))
    some = wired_joules(gram, lossy, read_s=READ_S, volts=VOLTS, dac_bits=2)
    assert 0 < some < none


def test_a_products_joules_are_those_of_its_cells(rng: np.random.Generator) -> None:
    spec = counted()
    (step,) = net(rng, spec).products
    inputs = rng.integers(0, 256, (2, 6, 150)).astype(np.uint8)
    expected = 0.0
    for place, tile in enumerate(step.tiles):
        cells = siemens(programmed(step, place, spec, Key(3)).placed, spec)
        part = inputs[:, :, tile.row_start : tile.row_stop]
        expected += brute(part, cells, spec.dac.bits)
    found = dissipation.joules(step, spec, inputs, Key(3))
    assert found == pytest.approx(expected / 2, rel=1e-12)


def test_copies_share_the_positions(rng: np.random.Generator) -> None:
    spec = counted().ideal()
    (one,) = net(rng, spec).products
    inputs = rng.integers(0, 256, (2, 6, 150)).astype(np.uint8)
    alone = dissipation.joules(one, spec, inputs, Key(0))
    # exact cells are the same in every copy
    for copies in (2, 3):
        together = dissipation.joules(replace(one, copies=copies), spec, inputs, Key(0))
        assert together == pytest.approx(alone, rel=1e-12)


def test_the_array_energy_does_not_depend_on_the_chunk(rng: np.random.Generator) -> None:
    spec = counted()
    wires = WiresSection.model_validate({"r_row": 2.0, "r_col": 2.0})
    spec = spec.model_copy(update={"wires": wires})
    program = net(rng, spec)
    inputs = {"x": rng.integers(-128, 128, (5, 6, 150)).astype(np.int8)}
    found = [run(program, spec, inputs, Key(1), chunk=chunk) for chunk in (None, 7, 1000)]
    assert len({one.layers[0].actions["crossbar.joule"] for one in found}) == 1
    assert all((one.outputs["y"] == found[0].outputs["y"]).all() for one in found)
    # the invocations given apart have the same mean, but for the rounding of a sum of five
    apart = [
        run(program, spec, {"x": inputs["x"][n : n + 1]}, Key(1)).layers[0] for n in range(5)
    ]
    mean = sum(layer.actions["crossbar.joule"] for layer in apart) / 5
    assert found[0].layers[0].actions["crossbar.joule"] == pytest.approx(mean, rel=1e-12)


def test_what_is_counted_is_what_is_priced(rng: np.random.Generator) -> None:
    spec = counted()
    program = net(rng, spec)
    inputs = {"x": rng.integers(-128, 128, (2, 6, 150)).astype(np.int8)}
    layer = run(program, spec, inputs, Key(1)).layers[0]
    assert "crossbar.read" not in layer.actions
    by_unit = price(summed([layer.actions]), spec.prices).by_unit
    assert by_unit["crossbar"] == layer.actions["crossbar.joule"] * 1e12
    # 48 reads x 150 rows x 160 columns, half of the bits, cells of 1 to 40 uS at 0.2 V
    least, most = (48 * 150 * 160 * g * 0.04 * READ_S for g in (1e-6, 40e-6))
    assert 0.4 * least < layer.actions["crossbar.joule"] < 0.6 * most
    plain = run(net(rng, spec), load_spec("isaac", AnalogSpec).spec, inputs, Key(1)).layers[0]
    assert "crossbar.joule" not in plain.actions
    assert plain.actions["crossbar.read"] == 6 * 8 * 4


def test_the_price_of_a_joule_takes_the_place_of_a_reads() -> None:
    set_ = ("cost.crossbar.joule=1 J", "array.drive=0.2 V")
    spec = load_spec("isaac", AnalogSpec, set_).spec
    assert spec.prices["crossbar.joule"] == 1e12
    with pytest.raises(SpecError) as caught:
        load_spec("isaac", AnalogSpec, set_[:1])
    assert str(caught.value).endswith(
        "cost.crossbar.joule needs array.drive, the volts that the rows are driven with; add "
        "it, or leave the price of a read, cost.crossbar.read, alone"
    )


def test_pulses_of_one_height_take_the_whole_voltage_for_their_width(
    rng: np.random.Generator,
) -> None:
    spec = load_spec("hermes", AnalogSpec, ("device.model=exact",)).spec
    (step,) = on_hermes(rng, spec).products
    inputs = rng.integers(0, 256, (2, 6, 150)).astype(np.uint8)
    cells = siemens(programmed(step, 0, spec, Key(3)).placed, spec)
    # V^2 G for the share of 133 ns that the input is of the highest one
    shares = inputs.reshape(-1, 150).sum(axis=0) / 255 / 2
    expected = 0.2**2 * 133e-9 * float(shares @ cells.sum(axis=1))
    assert dissipation.joules(step, spec, inputs, Key(3)) == pytest.approx(expected, rel=1e-12)


def test_a_core_of_hermes_takes_the_published_energy_and_cells_their_own(
    rng: np.random.Generator,
) -> None:
    spec = load_spec("hermes", AnalogSpec).spec
    program = on_hermes(rng, spec)
    known = []
    for inputs in (np.full((1, 6, 150), -128), rng.integers(-128, 128, (1, 6, 150))):
        layer = run(program, spec, {"x": inputs.astype(np.int8)}, Key(1)).layers[0]
        known.append(price(summed([layer.actions]), spec.prices).by_unit)
    # an input that is 0 everywhere drives no row
    assert known[0]["crossbar"] == 0
    assert (known[1]["crossbar"] or 0) > 0
    assert known[0]["sample_hold"] == known[1]["sample_hold"] == 6 * 12.5e3
    cells, rest = (spec.prices[f"{unit}.read"] or 0.0 for unit in ("crossbar", "sample_hold"))
    assert cells + rest == 13.4e3
    # half of 65,536 pairs' conductance, half of the time
    typical = 65536 * 10.35e-6 / 2 * 0.2**2 * 133e-9 / 2 * 1e12
    assert cells == pytest.approx(typical, rel=0.005)
