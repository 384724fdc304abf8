"""The analog cross-check: honest machines pass it, planted faults do not."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import Any, TypeAlias

import numpy as np
import pytest

from tetrapla.backends.analog import TARGET, deviations, predict
from tetrapla.backends.analog.check import cross_check
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.simulators.analog import cells, crossbar, fused, mapping, noise
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.machine import AnalogRun
from tetrapla.simulators.analog.program import Digital, Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck
from tetrapla.simulators.spec_ import load_spec

INVOCATIONS = 24

Attributes: TypeAlias = dict[str, Attribute]


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


@dataclass(frozen=True)
class Case:
    """A model on a chip, with inputs and what the interpreter makes of them."""

    spec: AnalogSpec
    lowered: Lowered[Program]
    inputs: dict[str, Array]
    reference: dict[str, Array]

    def run(self, seed: int = 0) -> AnalogRun:
        return self.run_program(self.lowered.program, seed)

    def run_program(self, program: Program, seed: int = 0) -> AnalogRun:
        found = TARGET.run(program, self.spec, self.inputs, Key(seed))
        assert isinstance(found, AnalogRun)
        return found

    def judged(self, run: AnalogRun) -> CrossCheck:
        return cross_check(self.lowered, self.spec, self.inputs, run, self.reference)


def case(*overrides: str, ideal: bool = False) -> Case:
    """Convolution of 36 rows, requantised, and a product of 120; arrays of 32 rows."""
    rng = np.random.default_rng(5)
    b = ModuleBuilder("net")
    x = b.input("x", (2, 4, 6, 5), "i8")
    w = b.weight("w", rng.integers(-127, 128, (8, 4, 3, 3)).astype(np.int8))
    bias = b.weight("b", rng.integers(-999, 999, 8).astype(np.int32))
    window: Attributes = {"strides": (2, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    points: Attributes = {"x_zero_point": -119, "w_zero_point": 0}
    acc = b.op("qnn.conv2d", [x, w, bias], {**window, **points, "groups": 1}, "conv")
    scale = b.weight("s", rng.uniform(1e-3, 4e-3, 8).astype(np.float32))
    form: Attributes = {"zero_point": -3, "low": -3, "high": 127, "dtype": "i8", "axis": 1}
    y = b.op("qnn.requantize", [acc, scale], form, "q")
    flat = b.op("nn.reshape", [y], {"shape": (2, y.elements // 2)}, "flat")
    v = b.weight("v", rng.integers(-127, 128, (flat.shape[1], 7)).astype(np.int8))
    b.output("y", b.op("qnn.matmul", [flat, v], {**points, "x_zero_point": -3}, "fc"))
    module = b.finish()
    spec = isaac("array.rows=32", *overrides)
    spec = spec.ideal() if ideal else spec
    drawn = rng.integers(-128, 128, (2, INVOCATIONS, 2, 4, 6, 5)).astype(np.int8)
    lowered = TARGET.lower(module, spec, {"x": drawn[0]}, Options())
    inputs = {"x": drawn[1]}
    return Case(spec, lowered, inputs, evaluate_many(lowered.module, inputs))


@pytest.fixture(scope="module")
def isaac_case() -> Case:
    return case()


@pytest.fixture(scope="module")
def tall_case() -> Case:
    return case("array.rows=128")


def test_expected_sums_are_those_of_the_machine(isaac_case: Case) -> None:
    # 400 reads of the same rows on the same cells: z values of every sum are standard
    c = isaac_case
    step = c.lowered.program.products[0]
    held = [cells.programmed(step, n, c.spec, Key(3)) for n in range(len(step.tiles))]
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.integers(0, 256, (1, 6, 36)).astype(np.uint8), 400, axis=0)
    found = crossbar.sliced(step, c.spec, rows, Key(3)).astype(np.float64)
    expected = predict.accumulators(step, c.spec, held, rows[0])
    z = (found.mean(axis=0) - expected.mean) / np.sqrt(expected.variance / 400)
    assert np.abs(z).max() < 4.5
    ratio = found.var(axis=0) / expected.variance
    error = np.sqrt((2 + expected.fourth / expected.variance**2) / 400)
    assert (np.abs(ratio - 1) < 4.5 * error).all()


def test_the_bound_follows_from_the_number_of_tests_alone(isaac_case: Case) -> None:
    # 100 tests: 2 * 100 exp(-z^2 / 2) = 1e-6
    bound = deviations.Deviations((0.0,) * 100).bound
    assert 200 * exp(-bound * bound / 2) == pytest.approx(1e-6)
    assert deviations.FAILING == 1e-6
    found = [isaac_case.judged(isaac_case.run(seed)) for seed in (0, 1)]
    # conv: 2 tiles of 8 outputs, fc: 4 tiles of 7; 12 tests of cells each, then every output,
    # tile, slice of a sign and digit, and the spread to either side
    count = (12 + 8 + 2 + 8 + 8 + 2) + (12 + 7 + 4 + 8 + 8 + 2)
    assert found[0].bound == found[1].bound == sqrt(2 * log(2 * count / 1e-6))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("device.model=reram_wan_2d",),
        ("adc.bits=5 bit",),
        ("adc.range=full", "adc.bits=4 bit"),
        ("dac.bits=2 bit",),
        ("array.cell=1 bit",),
        ("array.cell=4 bit", "dac.bits=3 bit"),
        ("device.model=rram_milo", "device.g_min=50 uS", "device.g_max=225 uS"),
        ("device.model=reram_cmo_0p2pct", "device.g_min=9 uS", "device.g_max=88 uS"),
        ("device.g_min=0 uS",),
        ("device.read_noise=0",),
        ("device.model=exact", "device.read_noise=0.1"),
        # thresholds at 4 to 5 standard deviations, where the table of normals ends
        ("device.model=exact", "device.read_noise=0.012", "array.rows=128"),
        ("device.model=exact", "device.read_noise=0.001"),
    ],
)
def test_an_honest_machine_passes_on_every_chip(overrides: tuple[str, ...]) -> None:
    c = case(*overrides)
    for seed in range(2):
        found = c.judged(c.run(seed))
        assert found.kind == "statistical"
        assert found.mismatches == 0
        assert found.passed
        assert found.max_rel_error is not None
        assert found.bound is not None
        assert found.max_rel_error <= found.bound < 7


def test_an_honest_machine_passes_over_thirty_seeds_with_room(isaac_case: Case) -> None:
    found = [isaac_case.judged(isaac_case.run(seed)) for seed in range(30)]
    assert all(each.passed for each in found)
    # 30 runs of 81 tests: 2 * 30 * 81 exp(-z^2 / 2) < 0.01 at z = 5.2; and noise is there
    errors = [each.max_rel_error or 0.0 for each in found]
    assert max(errors) < 5.2
    assert min(errors) > 0.5


Patch = Callable[[pytest.MonkeyPatch], None]


@contextmanager
def planted(fault: Patch) -> Generator[None]:
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        yield


def louder_reads(factor: float) -> Patch:
    """Reads have another noise than the spec says."""
    exact = fused.add_read

    def add_read(codes: Array, driven: Array, held: Cells, *given: Any, **how: Any) -> None:
        assert held.read_variance is not None
        louder = replace(held, read_variance=held.read_variance * np.float32(factor**2))
        exact(codes, driven, louder, *given, **how)

    return lambda patch: patch.setattr(crossbar, "add_read", add_read)


def scaled(purpose: int, factor: float) -> Patch:
    """The cells' normals of one purpose."""
    exact = noise.of_cells

    def drawn(key: Key, which: int, shape: tuple[int, ...]) -> Array:
        return exact(key, which, shape) * (factor if which == purpose else 1.0)

    return lambda patch: patch.setattr(noise, "of_cells", drawn)


def shifted(number: int, factor: float) -> Patch:
    """A slice is added with a wrong shift."""
    exact = mapping.slice_weights

    def weights(product: Product, *given: Any) -> Array:
        found = exact(product, *given).copy()
        found[number] *= factor
        return found

    return lambda patch: patch.setattr(mapping, "slice_weights", weights)


def rearranged(change: Callable[[Array], None]) -> Patch:
    """Cells [rows, 2, slices, outputs] are changed in place after programming."""
    made = cells.programmed

    def programmed(product: Product, number: int, *given: Any) -> Cells:
        held = made(product, number, *given)
        levels = held.levels.copy()
        change(levels.reshape(len(levels), 2, product.slices, -1))
        return replace(held, levels=levels)

    return lambda patch: patch.setattr(cells, "programmed", programmed)


def swap_columns(levels: Array) -> None:
    """The pair of one output is swapped."""
    levels[..., 0] = levels[:, ::-1, :, 0].copy()


def swap_weight(levels: Array) -> None:
    """The pair of the largest weight of the tile is swapped."""
    net = levels[:, 0, -1] - levels[:, 1, -1]
    row, column = np.unravel_index(np.abs(net).argmax(), net.shape)
    levels[row, :, :, column] = levels[row, ::-1, :, column].copy()


def stick_column(levels: Array) -> None:
    """One column does not conduct."""
    levels[:, 0, -1, 0] = 0


def lost_digit(digit: int) -> Patch:
    exact = crossbar.digits_of

    def digits_of(inputs: Array, number: int, bits: int) -> Array:
        return exact(inputs, number, bits) * (number != digit)

    return lambda patch: patch.setattr(crossbar, "digits_of", digits_of)


def wrong_rounding(patch: pytest.MonkeyPatch) -> None:
    """The ADC rounds down."""

    def convert(sums: Array, adc: Any, lsb: Any) -> Array:
        return np.asarray(np.clip(np.floor(sums / lsb), adc.lowest, adc.highest))

    def add_read(codes: Array, driven: Array, held: Cells, *given: Any, **_: Any) -> None:
        lsb, spec, weight, reads, digit = given
        spread = np.sqrt((driven * driven) @ held.read_variance)
        sums = driven @ held.levels + spread * reads.normals(digit, len(lsb))
        codes += weight * convert(sums, spec.adc, lsb)

    patch.setattr(crossbar, "convert", convert)
    patch.setattr(crossbar, "add_read", add_read)


FAULTS: dict[str, Patch] = {
    "programming noise doubled": scaled(noise.PROGRAMMING, 2),
    "programming noise halved": scaled(noise.PROGRAMMING, 0.5),
    "programming noise left out": scaled(noise.PROGRAMMING, 0),
    "read noise doubled": louder_reads(2),
    "read noise halved": louder_reads(0.5),
    "read noise left out": louder_reads(0),
    **{f"slice {k} times {f}": shifted(k, f) for k in range(4) for f in (2.0, 0.5)},
    "pair of columns swapped": rearranged(swap_columns),
    "pair of one weight swapped": rearranged(swap_weight),
    "column stuck": rearranged(stick_column),
    **{f"digit {t} lost": lost_digit(t) for t in (3, 5, 7)},
    "rounding down": wrong_rounding,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_noisy_run_alone_is_seen_in_its_statistics(
    isaac_case: Case, tall_case: Case, name: str
) -> None:
    # 1 % of noise hardly ever tips a code in an array of 32 rows
    c = tall_case if "read" in name else isaac_case
    with planted(FAULTS[name]):
        run = c.run()
    found = c.judged(run)
    assert found.mismatches == 0
    assert found.max_rel_error is not None
    assert found.bound is not None
    assert found.max_rel_error > found.bound
    assert not found.passed


@pytest.mark.parametrize("name", [*FAULTS, "digit 0 lost"])
def test_a_fault_of_the_machine_is_seen(isaac_case: Case, tall_case: Case, name: str) -> None:
    # cells read back have the fault too, and so has the run on exact cells
    c = tall_case if "read" in name else isaac_case
    with planted(FAULTS.get(name, lost_digit(0))):
        assert not c.judged(c.run()).passed


def without(program: Program, layer: int, tile: int) -> Program:
    """The program of a machine that loses one tile; the others keep their numbers."""

    def emptied(step: Product) -> Product:
        lost = step.tiles[tile]
        matrix = step.matrix.copy()
        matrix[lost.row_start : lost.row_stop, lost.col_start : lost.col_stop] = 0
        return replace(step, matrix=matrix)

    steps = tuple(
        emptied(step) if isinstance(step, Product) and step.number == layer else step
        for step in program.steps
    )
    return replace(program, steps=steps)


def dropped(program: Program, layer: int, tile: int) -> Program:
    steps = tuple(
        replace(step, tiles=tuple(t for n, t in enumerate(step.tiles) if n != tile))
        if isinstance(step, Product) and step.number == layer
        else step
        for step in program.steps
    )
    return replace(program, steps=steps)


@pytest.mark.parametrize("ideal", [False, True])
@pytest.mark.parametrize("lose", [without, dropped])
def test_a_tile_that_is_lost_is_seen_however_small(
    lose: Callable[[Program, int, int], Program], ideal: bool
) -> None:
    c = case(ideal=ideal)
    for step in c.lowered.program.products:
        # the second tile of conv holds 4 of its 36 rows
        for number in range(len(step.tiles)):
            broken = lose(c.lowered.program, step.number, number)
            run = c.run_program(broken)
            # lost by the machine, and by the compiler
            assert not c.judged(run).passed
            assert not replace(c, lowered=replace(c.lowered, program=broken)).judged(run).passed


def test_another_chip_than_the_spec_is_seen(isaac_case: Case) -> None:
    for other in (
        ("device.model=reram_wan_1d",),
        ("device.read_noise=0.03",),
        ("device.g_max=30 uS",),
        ("adc.bits=4 bit",),
    ):
        chip = isaac("array.rows=32", *other)
        run = TARGET.run(isaac_case.lowered.program, chip, isaac_case.inputs, Key(0))
        assert isinstance(run, AnalogRun)
        assert not isaac_case.judged(run).passed, other


def test_a_wrong_digital_step_is_counted(isaac_case: Case) -> None:
    def changed(step: Any) -> Any:
        if isinstance(step, Digital) and step.unit == "requantize":
            return replace(step, attributes={**step.attributes, "low": -128})
        return step

    program = isaac_case.lowered.program
    broken = replace(program, steps=tuple(changed(step) for step in program.steps))
    run = isaac_case.run_program(broken)
    found = isaac_case.judged(run)
    # the machine's fc had another operand than the interpreter's requantize gives
    assert not found.passed
    outputs = {"y": run.outputs["y"] + (np.arange(7) == 3).astype(np.int32)}
    moved = isaac_case.judged(replace(isaac_case.run(), outputs=outputs))
    assert moved.mismatches
    assert not moved.passed


def test_a_wrong_output_of_an_ideal_chip_is_counted() -> None:
    c = case(ideal=True)
    run = c.run()
    assert c.judged(run) == CrossCheck("bit_exact", 0, None, None, True)
    outputs = {"y": run.outputs["y"].copy()}
    outputs["y"][3, 1, 2] += 1
    assert c.judged(replace(run, outputs=outputs)) == CrossCheck(
        "bit_exact", 1, None, None, False
    )


def test_too_few_adc_bits_are_a_tolerance_from_the_steps() -> None:
    c = case("device.model=exact", "device.read_noise=0", "adc.bits=5 bit", "adc.range=full")
    # 32 rows of level 3: sums to 96, 31 codes, so steps of 4
    assert {t.adc_shifts for s in c.lowered.program.products[:1] for t in s.tiles} >= {(2,) * 4}
    found = c.judged(c.run())
    assert found.kind == "tolerance"
    assert found.mismatches == 0
    assert found.passed
    assert found.max_rel_error is not None
    assert found.bound is not None
    assert 0 < found.max_rel_error <= found.bound
    with planted(wrong_rounding):
        run = c.run()
    assert not c.judged(run).passed
