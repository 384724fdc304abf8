"""The cross-check with every effect on: honest machines pass, planted faults are seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import pytest

from tetrapla.backends.analog import TARGET
from tetrapla.backends.analog.check import cross_check
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.simulators.analog import cells, mapping, noise
from tetrapla.simulators.analog.adc import Mismatch
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.circuits import effective
from tetrapla.simulators.analog.devices import faults
from tetrapla.simulators.analog.machine import AnalogRun
from tetrapla.simulators.analog.program import Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck
from tetrapla.simulators.spec_ import load_spec

WIRES = ("wires.r_row=4 ohm", "wires.r_col=3 ohm", "wires.r_driver=20 ohm")
PCM = ("device.model=pcm_like", "device.g_max=25 uS", "device.time=3600 s")
QUIET = ("device.model=exact", "device.read_noise=0")
FAULTS = (
    *("faults.stuck_low=0.05", "faults.stuck_high=0.03", "faults.open_rows=0.03"),
    *("faults.open_cols=0.02", "faults.shorted_rows=0.03", "faults.shorted_cols=0.02"),
)
MISMATCH = ("adc.offset=0.7", "adc.gain=0.02", "adc.per_array=32")
INVOCATIONS = 200
ALL = (*PCM, *WIRES, *FAULTS, *MISMATCH, "device.spread=0.05")


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


@dataclass(frozen=True)
class Case:
    """A product of 60 x 12 on a chip, with inputs and what the interpreter makes of them."""

    spec: AnalogSpec
    lowered: Lowered[Program]
    inputs: dict[str, Array]
    reference: dict[str, Array]

    def run(self, seed: int = 0) -> AnalogRun:
        found = TARGET.run(self.lowered.program, self.spec, self.inputs, Key(seed))
        assert isinstance(found, AnalogRun)
        return found

    def judged(self, run: AnalogRun) -> CrossCheck:
        return cross_check(self.lowered, self.spec, self.inputs, run, self.reference)


@cache
def case(*overrides: str) -> Case:
    rng = np.random.default_rng(5)
    b = ModuleBuilder("net")
    x = b.input("x", (3, 60), "i8")
    v = b.weight("v", rng.integers(-127, 128, (60, 12)).astype(np.int8))
    points: dict[str, Attribute] = {"x_zero_point": -3, "w_zero_point": 0}
    b.output("y", b.op("qnn.matmul", [x, v], points, "fc"))
    spec = isaac("array.rows=32", *overrides)
    drawn = rng.integers(-128, 128, (2, INVOCATIONS, 3, 60)).astype(np.int8)
    lowered = TARGET.lower(b.finish(), spec, {"x": drawn[0]}, Options())
    inputs = {"x": drawn[1]}
    return Case(spec, lowered, inputs, evaluate_many(lowered.module, inputs))


@pytest.mark.parametrize(
    "overrides",
    [
        WIRES,
        PCM,
        FAULTS,
        MISMATCH,
        ALL,
        (*ALL, "adc.sign=signed"),
        (*ALL, "adc.sign=signed", "array.topology=interleaved"),
        (*ALL, "mapping.weights=offset_column"),
        (*ALL, "mapping.weights=digital_offset", "dac.bits=2 bit"),
        (*ALL, "mapping.weights=n_pair", "mapping.pairs=2"),
        (*ALL, "array.cell=8 bit", "dac.bits=4 bit"),
        (*ALL, "array.topology=gated"),
        ("device.reads=sampled", *WIRES),
        (
            *("device.model=sonos_40nm", "device.g_min=0 uS", "device.g_max=15 uS"),
            "device.time=86400 s",
        ),
        ("device.model=hermes_2", "device.g_max=20 uS", "device.time=1000 s"),
        ("device.model=uniform_independent", "device.programming=0.05"),
        pytest.param(
            ("device.iv=sinh", "device.sinh=8", "dac.bits=4 bit", "array.cols=32"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda overrides: " ".join(overrides)[-60:],
)
def test_an_honest_machine_passes_with_every_effect(overrides: tuple[str, ...]) -> None:
    c = case(*overrides)
    for seed in range(2):
        found = c.judged(c.run(seed))
        assert found.kind == "statistical"
        assert found.mismatches == 0
        assert found.passed, found


@pytest.mark.parametrize(
    "overrides",
    [
        (*WIRES, *QUIET),
        (*WIRES, *QUIET, "adc.sign=signed", "array.topology=interleaved"),
        (*WIRES, *QUIET, "array.topology=gated", "adc.bits=12 bit"),
        (*WIRES, *QUIET, "mapping.weights=offset_column"),
    ],
    ids=lambda overrides: " ".join(overrides)[-60:],
)
def test_wires_alone_are_a_tolerance_that_is_met_exactly(overrides: tuple[str, ...]) -> None:
    c = case(*overrides)
    run = c.run()
    found = c.judged(run)
    assert found.kind == "tolerance"
    assert found.mismatches == 0
    assert found.passed
    assert found.bound is not None
    assert found.max_rel_error is not None
    assert 0 < found.max_rel_error <= found.bound
    # one accumulator off by one is one mismatch at least
    moved = {name: array.copy() for name, array in run.accumulators.items()}
    moved["fc"][0, 0, 0] += 1
    assert not c.judged(replace(run, accumulators=moved, outputs={"y": moved["fc"]})).passed


Patch: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def remade(change: Callable[[Cells, Product], Cells]) -> Patch:
    """Cells are changed after programming."""
    made = cells.programmed

    def programmed(product: Product, number: int, *given: Any) -> Cells:
        return change(made(product, number, *given), product)

    return lambda patch: patch.setattr(cells, "programmed", programmed)


def swap_slices(held: Cells, product: Product) -> Cells:
    """Slices 0 and 1 of the positive columns trade places."""
    if held.defects is None and held.read_sd is None:
        return held  # the run on exact cells is judged bit by bit anyway
    levels = held.levels.copy().reshape(len(held.levels), -1, product.slices, 12)
    levels[:, 0, [0, 1]] = levels[:, 0, [1, 0]]
    return replace(held, levels=levels.reshape(held.levels.shape))


def drop_tile(held: Cells, product: Product) -> Cells:
    """The smaller tile conducts nothing."""
    return replace(held, levels=held.levels * (len(held.levels) != 28))


def other_spec(*overrides: str) -> Patch:
    """The machine's cells are those of another spec."""
    made = cells.programmed

    def programmed(product: Product, number: int, spec: AnalogSpec, key: Key) -> Cells:
        other = isaac("array.rows=32", *overrides)
        return made(product, number, spec if key == Key(0, read=1) else other, key)

    return lambda patch: patch.setattr(cells, "programmed", programmed)


def lost_wires(patch: pytest.MonkeyPatch) -> None:
    """Cells reach their converters as if there were no wires."""

    def bare(g: Array, *_: Any) -> Array:
        return g

    patch.setattr(cells, "effective", bare)


def mirrored_wires(patch: pytest.MonkeyPatch) -> None:
    """The sense amplifiers sit at the other end."""

    def turned(g: Array, wires: Any, minus: Array | None = None) -> Array:
        return effective.effective(g[::-1], wires, minus)[::-1]

    patch.setattr(cells, "effective", turned)


def more_stuck(patch: pytest.MonkeyPatch) -> None:
    """Three times as many cells are stuck as the spec says."""
    exact = noise.chances

    def chances(key: Key, purpose: int, shape: tuple[int, ...]) -> Array:
        drawn = exact(key, purpose, shape)
        return drawn / 3 if purpose == noise.STUCK else drawn

    patch.setattr(noise, "chances", chances)


def scaled(purpose: int, factor: float) -> Patch:
    exact = noise.of_cells

    def of_cells(key: Key, which: int, shape: tuple[int, ...]) -> Array:
        return exact(key, which, shape) * (factor if which == purpose else 1.0)

    return lambda patch: patch.setattr(noise, "of_cells", of_cells)


def healed(patch: pytest.MonkeyPatch) -> None:
    """Broken lines conduct all the same."""

    def lines(self: faults.Defects, held: Array) -> Array:
        return held

    patch.setattr(faults.Defects, "lines", lines)


def no_offsets(patch: pytest.MonkeyPatch) -> None:
    """Converters have no offset."""
    exact = Mismatch.of

    def of(self: Mismatch, conversions: int) -> tuple[Array, Array]:
        gain, offset = exact(self, conversions)
        return gain, 0 * offset

    patch.setattr(Mismatch, "of", of)


def wrong_shift(patch: pytest.MonkeyPatch) -> None:
    """The top slice counts half."""
    exact = mapping.slice_weights

    def weights(*given: Any) -> Array:
        found = exact(*given).copy()
        found[-1] /= 2
        return found

    patch.setattr(mapping, "slice_weights", weights)


def read_at(time: str) -> Patch:
    later = tuple(f"device.time={time}" if "time" in one else one for one in ALL)
    return other_spec(*later)


PLANTED: dict[str, Patch] = {
    "slices swapped": remade(swap_slices),
    "tile dropped": remade(drop_tile),
    "drift of a day": read_at("86400 s"),
    "no drift": read_at("0 s"),
    "wires lost": lost_wires,
    "wires mirrored": mirrored_wires,
    "three times as many stuck": more_stuck,
    "programming error halved": scaled(noise.PROGRAMMING, 0.5),
    "drift exponents all alike": scaled(noise.DRIFT, 0.0),
    "spread of devices halved": scaled(noise.SPREAD, 0.5),
    "converters' errors doubled": scaled(noise.CONVERTER, 2.0),
    "lines healed": healed,
    "top slice counts half": wrong_shift,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_of_the_machine_is_seen_with_every_effect_on(name: str) -> None:
    # the fault is in the machine for good: cells that are read back have it too
    c = case(*ALL)
    with pytest.MonkeyPatch.context() as patch:
        PLANTED[name](patch)
        assert not c.judged(c.run()).passed


# cells that are a little off change sums by less than 600 of them can tell
SMALL = ("wires mirrored", "spread of devices halved", "drift exponents all alike")


@pytest.mark.parametrize("name", [*sorted({*PLANTED} - {*SMALL}), "offsets left out"])
def test_a_fault_of_the_run_alone_is_seen_with_every_effect_on(name: str) -> None:
    # cells that are read back do not have it: the sums give it away
    c = case(*ALL)
    with pytest.MonkeyPatch.context() as patch:
        PLANTED.get(name, no_offsets)(patch)
        run = c.run()
    assert not c.judged(run).passed
