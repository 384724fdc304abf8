"""Published chips and macros beside the catalogue and the machine's own counts.

A row with a bound closes: the parts that a source gives, put together by our machine and
tables, make the whole that it gives, too. Rows without one inform: what a published figure
would be by a simple law from another one of its source, or by a constant of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from tetrapla.backends.target_ import find
from tetrapla.simulators.analog import timing
from tetrapla.simulators.analog.program import Product, Program, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.costs_ import table
from tetrapla.simulators.price_ import price, summed
from tetrapla.simulators.recipes_ import Book
from tetrapla.simulators.report import Run
from tetrapla.validation import Row

_CLOSES: Final = 0.005
_ISAAC: Final = "Shafiee et al., ISCA 2016, table I"
_NATURE: Final = "Nature Communications 15, 2024, table 3; ISAAC's own table, 16-bit weights"
_HERMES: Final = "Le Gallo et al., Nature Electronics 6, 2023"
_ALBIREO: Final = "Shiflett et al., ISCA 2021, table III, conservative"
_SINANGIL: Final = "Sinangil et al., JSSC 2021; ours is operations over the energy of an array"
_WANG: Final = "Wang et al., VLSI 2022; ours is the value at 0.9 V by the square of the voltage"
_JIA: Final = "Jia et al., JSSC 2020, 0.85 V; ours is the value at 1 bit over the bits"
_COLONNADE: Final = "Kim et al., JSSC 2021, 65 nm; ours is an 8-bit add of Horowitz's, scaled"


def rows() -> Iterator[Row]:
    """ISAAC's closure, HERMES, Albireo, and four macros."""
    yield from _isaac()
    yield from _hermes()
    yield from _albireo()
    yield from _macros()


def chip(name: str) -> AnalogSpec:
    """The spec of a shipped analog chip."""
    spec: Any = find(name)[1].spec
    assert isinstance(spec, AnalogSpec)  # of this catalogue's chips
    return spec


def full(spec: AnalogSpec, slices: int = 1) -> Program:
    """One product, of one input vector, that fills an array."""
    a = spec.array
    outputs = a.cols // (2 * slices)
    step = Product(
        name="full",
        op="qnn.matmul",
        number=0,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=0,
        matrix=np.zeros((a.rows, outputs), np.int16),
        bias=np.zeros(outputs, np.int64),
        window=None,
        slices=slices,
        tiles=(Tile(0, a.rows, 0, outputs, (0,) * slices),),
        macs=a.rows * outputs,
    )
    return Program(
        name="full",
        rows=a.rows,
        cols=a.cols,
        cell_bits=a.cell_bits,
        dac_bits=spec.dac.bits,
        inputs=(("x", 0),),
        outputs=(("y", 1),),
        shapes={0: (1, a.rows), 1: (1, outputs)},
        constants={},
        steps=(step,),
    )


def _isaac() -> Iterator[Row]:
    spec = chip("isaac")
    parts, a = spec.components, spec.array
    assert parts is not None  # of this chip
    unit_w = sum(parts.unit_power_w.values())
    tile_w = a.units_per_tile * unit_w + sum(parts.tile_power_w.values())
    unit_mm2 = sum(parts.unit_area_mm2.values())
    tile_mm2 = a.units_per_tile * unit_mm2 + sum(parts.tile_area_mm2.values())
    watts = a.tiles * tile_w + parts.link_power_w
    area_mm2 = a.tiles * tile_mm2 + parts.link_area_mm2
    # 16-bit weights in one polarity, a digit of 16-bit inputs a read
    program = full(spec, 16 // (2 * a.cell_bits))
    read_s = timing.read_cycles(program.products[0], spec)[0] / spec.clock_hz
    macs = a.rows * (a.cols * a.cell_bits // 16) * a.total
    tops = 2 * macs / (16 / spec.dac.bits * read_s) * 1e-12
    for quantity, unit, published, ours, source in (
        ("units_power", "mW", 289.0, a.units_per_tile * unit_w * 1e3, _ISAAC),
        ("tile_power", "mW", 330.0, tile_w * 1e3, _ISAAC),
        ("chip_power", "W", 65.8, watts, _ISAAC),
        ("tile_area", "mm2", 0.372, tile_mm2, _ISAAC),
        ("chip_area", "mm2", 85.4, area_mm2, _ISAAC),
        ("tops", "TOPS", 41.29, tops, _NATURE),
        ("tops_per_mm2", "TOPS/mm2", 0.4835, tops / area_mm2, _NATURE),
        ("tops_per_w", "TOPS/W", 0.6275, tops / watts, _NATURE),
    ):
        yield Row("analog", "isaac", quantity, unit, published, ours, _CLOSES, source)
    yield _isaac_unit(spec, unit_w)


def _isaac_unit(spec: AnalogSpec, published_w: float) -> Row:
    """A unit's power from the counts and prices of a read of its arrays."""
    a = spec.array
    counts = {
        "crossbar.read": a.arrays_per_unit,
        "sample_hold.read": a.arrays_per_unit,
        "dac.convert": a.arrays_per_unit * a.rows,
        "adc.convert": a.arrays_per_unit * a.cols,
        "shift_add.op": a.arrays_per_unit * a.cols,
        "input_register.byte": a.arrays_per_unit * a.rows * spec.dac.bits // 8,
        "output_register.byte": 256,
    }
    energy_pj = price(counts, spec.prices).total_pj or 0.0
    source = f"{_ISAAC}; ours is counts times prices of a read, whose ADC price is 6.7 % higher"
    watts = energy_pj * 1e-12 / a.read_s
    return Row(
        "analog", "isaac", "busy_unit_power", "mW", published_w * 1e3, watts * 1e3, None, source
    )


def _ran(spec: AnalogSpec) -> Run:
    return timing.timed(full(spec), spec, {})


def _hermes() -> Iterator[Row]:
    spec = chip("hermes")
    run = _ran(spec)
    macs = run.layers[0].macs
    energy_pj = price(summed(layer.actions for layer in run.layers), spec.prices)
    memory = sum(energy_pj.by_unit.get(unit) or 0.0 for unit in ("edram", "bus", "router"))
    array_pj = (energy_pj.total_pj or 0.0) - memory
    interval_s = timing.interval_cycles(full(spec), spec) / spec.clock_hz
    tops = 2 * macs * spec.array.total / interval_s * 1e-12
    closes = "; the prices of a read are made from it: it closes"
    for quantity, unit, published, ours, bound, source in (
        ("energy_per_mac", "fJ", 205.0, array_pj / macs * 1e3, _CLOSES, _HERMES + closes),
        ("interval", "ns", 133.0, interval_s * 1e9, _CLOSES, _HERMES + closes),
        ("tops", "TOPS", 63.1, tops, _CLOSES, _HERMES + closes),
        (
            "interval_of_4_phases",
            "ns",
            521.0,
            4 * interval_s * 1e9,
            None,
            f"{_HERMES}; ours is four phases of one",
        ),
    ):
        yield Row("analog", "hermes", quantity, unit, published, ours, bound, source)


def _albireo() -> Iterator[Row]:
    """Its powers at full speed from prices, and the whole."""
    spec = chip("albireo")
    a, cost, rate = spec.array, spec.prices, spec.clock_hz
    pj = {name: value or 0.0 for name, value in cost.items()}
    outputs = a.cols // 2 * a.total
    cells = a.rows * a.cols * a.total
    inputs = 63  # 21 wavelengths of 3 units
    powers = {
        "dac": (7.93, inputs * pj["dac.convert"] + cells * pj["weight.convert"]),
        "adc": (1.31, outputs * pj["adc.convert"]),
        "tia": (0.14, outputs / (a.cols // 2) * pj["sample_hold.read"]),
        "cache": (0.03, (inputs + a.rows * a.cols // 2 + outputs) * pj["edram.byte"]),
    }
    total = spec.chip.static_power_w or 0.0
    for part, (published, energy_pj) in powers.items():
        watts = energy_pj * rate * 1e-12
        total += watts
        yield Row("analog", "albireo", f"{part}_power", "W", published, watts, None, _ALBIREO)
    yield Row("analog", "albireo", "power", "W", 22.7, total, 0.02, _ALBIREO)


def _macros() -> Iterator[Row]:
    for outputs, energy_pj, published in (
        (0, 3.357, 610.5),
        (6, 5.838, 351.0),
        (15, 7.795, 262.3),
    ):
        # 64 inputs x 16 outputs, a multiplication and an addition each
        ours = 64 * 16 * 2 / energy_pj
        case = f"sinangil 0.8 V, outputs of {outputs}"
        yield Row("analog", case, "tops_per_w", "TOPS/W", published, ours, None, _SINANGIL)
    for volts, published in ((0.65, 5.109), (0.7, 5.875), (0.9, 10.25), (1.0, 13.125)):
        source = "Sinangil et al., JSSC 2021, worst case; ours is that of 0.8 V by the square"
        ours = 7.813 * (volts / 0.8) ** 2
        case = f"sinangil {volts:g} V"
        yield Row("analog", case, "array_energy", "pJ", published, ours, None, source)
    for volts, published in ((0.7, 31.998), (0.8, 22.590), (1.0, 16.376), (1.1, 15.467)):
        ours = 18.439 * (0.9 / volts) ** 2
        case = f"wang {volts:g} V"
        yield Row("analog", case, "tops_per_w", "TOPS/W", published, ours, None, _WANG)
    for bits, published in ((2, 0.874 / 2), (4, 0.874 / 4), (8, 0.874 / 9.375)):
        case = f"jia {bits}-bit inputs"
        yield Row("analog", case, "tops", "TOPS", published, 0.874 / bits, None, _JIA)
    add = Book((table("jouppi-2021"),), 65.0).total("add.int8")
    yield Row(
        "analog",
        "colonnade 1 x 8 bit",
        "energy_per_mac",
        "pJ",
        0.1443,
        None if add is None else add.pj,
        None,
        _COLONNADE,
    )
