"""Laws of the machine: nothing without magnitude, nothing that depends on how it is cut."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import machine, mapping
from tetrapla.simulators.analog.crossbar import folded, folds, sliced
from tetrapla.simulators.analog.devices import DEVICES
from tetrapla.simulators.analog.program import Product, Program, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.analog.tiers import tier
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

# a chip on which nothing is off, and ADCs that tell every sum apart
QUIET = ("device.model=exact", "device.read_noise=0", "adc.bits=12 bit", "array.rows=24")
WIRES = ("wires.r_row=30 ohm", "wires.r_col=20 ohm", "wires.r_driver=10 ohm")
EVERYTHING = (
    *("array.rows=24", "device.model=pcm_like", "device.g_max=25 uS", "device.time=3600 s"),
    *("faults.stuck_low=0.02", "faults.stuck_high=0.02", "faults.open_rows=0.02"),
    *("faults.shorted_cols=0.02", "device.spread=0.05", "adc.offset=0.3", "adc.gain=0.01"),
    *WIRES,
)


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def layer(spec: AnalogSpec, rows: int = 40, outputs: int = 6) -> Product:
    matrix = np.random.default_rng(1).integers(-127, 128, (rows, outputs))
    slices = mapping.slices(matrix, spec)
    tiles = tuple(
        Tile(top, min(top + 24, rows), left, left + 3, (0,) * slices)
        for top in range(0, rows, 24)
        for left in range(0, outputs, 3)
    )
    return Product(
        name="fc",
        op="qnn.matmul",
        number=2,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=-128,
        matrix=matrix.astype(np.int16),
        bias=np.zeros(outputs, np.int64),
        window=None,
        slices=slices,
        tiles=tiles,
        macs=rows * outputs,
    )


def program(spec: AnalogSpec) -> Program:
    one = layer(spec)
    return Program(
        name="net",
        rows=spec.array.rows,
        cols=spec.array.cols,
        cell_bits=spec.array.cell_bits,
        dac_bits=spec.dac.bits,
        inputs=(("x", 0),),
        outputs=(("y", 1),),
        shapes={0: (3, 40), 1: (3, 6)},
        constants={},
        steps=(one,),
        weights=spec.mapping.weights,
        pairs=spec.mapping.pairs,
        signed=spec.adc.sign == "signed",
        interleaved=spec.array.interleaved,
    )


def drawn(count: int = 4) -> Array:
    return np.random.default_rng(2).integers(0, 256, (count, 3, 40)).astype(np.uint8)


MAGNITUDES = [
    ("wires.r_row=0 ohm", "wires.r_col=0 ohm", "wires.r_driver=0 ohm", "wires.r_sense=0 ohm"),
    (
        *("device.model=pcm_like", "device.g_max=25 uS", "device.time=3600 s"),
        *("device.programming=0", "device.drift=0", "device.read=0"),
    ),
    ("device.model=reram_wan_1s", "device.programming=0"),
    ("device.model=normal_proportional", "device.programming=0", "device.read=0"),
    ("device.model=uniform_independent", "device.programming=0", "device.read=0"),
    ("device.spread=0",),
    (
        *("faults.stuck_low=0", "faults.stuck_high=0", "faults.open_rows=0"),
        *("faults.open_cols=0", "faults.shorted_rows=0", "faults.shorted_cols=0"),
    ),
    ("adc.offset=0", "adc.gain=0"),
    ("converter.circuit=flash", "adc.unit=0", "adc.comparator=0"),
    ("device.iv=sinh", "device.sinh=0", "dac.bits=2 bit"),
    ("device.iv=polynomial", "device.quadratic=0", "device.cubic=0", "dac.bits=2 bit"),
    ("array.topology=gated", "wires.r_row=0 ohm"),
    ("device.reads=sampled",),
]


@pytest.mark.parametrize("off", MAGNITUDES, ids=lambda off: str(off[0]))
def test_a_magnitude_of_zero_is_the_exact_product(off: tuple[str, ...]) -> None:
    spec = isaac(*QUIET, *off)
    one, inputs = layer(spec), drawn()
    exact = inputs.astype(np.int64) @ one.matrix
    assert spec.sums_are_exact
    assert folds(one, spec)
    assert tier(one, spec).name == "T0"
    assert np.array_equal(folded(one, inputs), exact)
    assert np.array_equal(sliced(one, spec, inputs, Key(7)), exact)


MORE = [
    WIRES,
    ("device.model=pcm_like", "device.g_max=25 uS"),
    ("device.spread=0.2",),
    ("faults.stuck_low=0.1",),
    ("faults.stuck_high=0.1",),
    ("faults.open_rows=0.1",),
    ("faults.open_cols=0.1",),
    ("faults.shorted_rows=0.1",),
    ("faults.shorted_cols=0.1",),
    ("adc.offset=1",),
    ("adc.gain=0.05",),
    ("adc.unit=0.3",),
    ("converter.circuit=flash", "adc.comparator=2"),
    ("device.read_noise=0.1",),
    ("device.iv=sinh", "device.sinh=8", "dac.bits=2 bit"),
    ("array.topology=gated", *WIRES),
]


@pytest.mark.parametrize("on", MORE, ids=lambda on: str(on[0]))
def test_every_non_ideality_moves_values_and_ideal_takes_it_away(on: tuple[str, ...]) -> None:
    spec = isaac(*QUIET, *on)
    one, inputs = layer(spec), drawn()
    exact = inputs.astype(np.int64) @ one.matrix
    assert not folds(one, spec)
    assert not np.array_equal(sliced(one, spec, inputs, Key(7)), exact)
    assert np.array_equal(sliced(one, spec.ideal(), inputs, Key(7)), exact)


@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("adc.sign=signed", "array.topology=interleaved"),
        ("mapping.weights=offset_column", "dac.bits=2 bit"),
        ("device.reads=sampled",),
        ("array.topology=gated", "dac.bits=4 bit"),
    ],
    ids=str,
)
def test_values_do_not_depend_on_the_chunk(extra: tuple[str, ...]) -> None:
    spec = isaac(*EVERYTHING, *extra)
    net, inputs = program(spec), {"x": (drawn().astype(np.int16) - 128).astype(np.int8)}
    whole = machine.run(net, spec, inputs, Key(5)).outputs["y"]
    for chunk in (1, 100, 1 << 22):
        found = machine.run(net, spec, inputs, Key(5), chunk=chunk).outputs["y"]
        assert np.array_equal(found, whole)
    assert np.array_equal(machine.run(net, spec, inputs, Key(5)).outputs["y"], whole)
    for other in (Key(6), Key(5, chip=1)):
        assert not np.array_equal(machine.run(net, spec, inputs, other).outputs["y"], whole)


def test_tiles_may_be_done_in_any_order() -> None:
    # tile t of a product is at first_tile + t: a product of one tile each, last to first
    spec, inputs = isaac(*EVERYTHING), drawn()
    one = layer(spec)
    whole = sliced(one, spec, inputs, Key(3))
    total = np.zeros_like(whole)
    for number in reversed(range(len(one.tiles))):
        alone = replace(one, tiles=(one.tiles[number],), first_tile=number)
        total += sliced(alone, spec, inputs, Key(3))
    assert np.array_equal(total, whole)


_SCRIPT = """
import numpy as np, sys
sys.path.insert(0, {here!r})
from test_laws import EVERYTHING, drawn, isaac, layer
from tetrapla.simulators.analog.crossbar import sliced
from tetrapla.simulators.random_ import Key
spec = isaac(*EVERYTHING)
print(sliced(layer(spec), spec, drawn(40), Key(3)).tolist())
"""


def test_values_do_not_depend_on_the_threads() -> None:
    script = _SCRIPT.format(here=str(Path(__file__).parent))
    found: list[str] = []
    for threads in ("1", "4"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        env: dict[str, Any] = {**os.environ, **dict.fromkeys(names, threads)}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        found.append(done.stdout)
    assert found[0] == found[1]
    assert found[0].count(",") > 600


def test_which_tier_computes_a_product_and_why() -> None:
    def named(*overrides: str) -> tuple[str, str]:
        spec = isaac(*overrides)
        found = tier(layer(spec), spec)
        return found.name, found.why

    assert named(*QUIET) == (
        "T0",
        "every code is exact: slices and digits fold to an integer product",
    )
    assert named() == ("T1", "columns add up without loss in wires")
    assert named(*WIRES) == (
        "T1",
        "arrays are linear: their effective matrix holds the wires",
    )
    assert named(*WIRES, "array.topology=gated") == (
        "T2",
        "gated arrays with wires are a ladder of their own for every input",
    )
    assert named(*WIRES, "device.iv=sinh", "device.sinh=2") == (
        "T3",
        "cells follow a law that is not linear, sinh",
    )
    # with one bit and no wires a cell has its full voltage or none: any law is a factor
    assert named(*QUIET, "device.iv=sinh", "device.sinh=2")[0] == "T0"


def test_every_device_runs_at_its_first_time() -> None:
    for name, device in DEVICES.items():
        low, high = device.lowest_usiemens or 0.0, device.highest_usiemens or 25.0
        high = min(high, device.drifted_usiemens or high)
        spec = isaac(
            f"device.model={name}",
            f"device.g_min={low} uS",
            f"device.g_max={high} uS",
            "array.rows=24",
        )
        values = sliced(layer(spec), spec, drawn(), Key(0))
        assert values.shape == (4, 3, 6)


def test_a_program_of_another_mapping_is_refused() -> None:
    spec = isaac(*QUIET)
    inputs = {"x": np.zeros((1, 3, 40), np.int8)}
    other = isaac(*QUIET, "mapping.weights=n_pair", "mapping.pairs=2", "adc.sign=signed")
    with pytest.raises(SpecError) as raised:
        machine.run(program(spec), other, inputs, Key(0))
    assert str(raised.value) == (
        "program 'net' must run with the mapping it was compiled for, differential, unsigned "
        "codes, plain bit lines, not n_pair of 2 pairs, signed codes, plain bit lines; compile "
        "it again"
    )
    with pytest.raises(SpecError) as raised:
        machine.run(program(spec), spec, inputs, Key(0), chunk=0)
    assert str(raised.value) == (
        "chunk must be a number of sums from 1 up, not 0; leave it out"
    )
