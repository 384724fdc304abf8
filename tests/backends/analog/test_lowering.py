"""The analog compiler: exact when ideal, tiles, ADC ranges, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.backends.analog import TARGET, predict
from tetrapla.backends.analog.check import cross_check
from tetrapla.backends.analog.tiles import shift_for, tiles
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, SpecError, UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.cells import programmed
from tetrapla.simulators.analog.program import Digital, Program
from tetrapla.simulators.analog.spec import AnalogSpec, lossless_bits
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck, Run
from tetrapla.simulators.spec_ import load_spec

Attributes: TypeAlias = dict[str, Attribute]


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def conv_net(
    rng: np.random.Generator, dtype: str = "i8", groups: int = 1, **window: tuple[int, ...]
) -> Module:
    """x -> qnn.conv2d -> qnn.requantize -> nn.max_pool2d -> flatten -> qnn.matmul."""
    low = -128 if dtype == "i8" else 0
    b = ModuleBuilder("net")
    x = b.input("x", (2, 4, 6, 5), dtype)
    standard = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    attributes: Attributes = {**standard, **window, "groups": groups}
    w = b.weight("w", rng.integers(-127, 128, (8, 4 // groups, 3, 3)).astype(np.int8))
    bias = b.weight("b", rng.integers(-999, 999, 8).astype(np.int32))
    points = {"x_zero_point": low + 9, "w_zero_point": 0}
    acc = b.op("qnn.conv2d", [x, w, bias], {**attributes, **points}, "conv")
    scale = b.weight("s", rng.uniform(1e-3, 4e-3, 8).astype(np.float32))
    form: Attributes = {"zero_point": -3, "low": -3, "high": 127, "dtype": "i8", "axis": 1}
    y = b.op("qnn.requantize", [acc, scale], form, "q")
    pool = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    if min(y.shape[2:]) >= 2:
        y = b.op("nn.max_pool2d", [y], pool, "pool")
    flat = b.op("nn.reshape", [y], {"shape": (2, y.elements // 2)}, "flat")
    v = b.weight("v", rng.integers(-127, 128, (flat.shape[1], 7)).astype(np.int8))
    out = b.op("qnn.matmul", [flat, v], {"x_zero_point": -3, "w_zero_point": 0}, "fc")
    b.output("y", out)
    return b.finish()


def batch(rng: np.random.Generator, module: Module, count: int) -> dict[str, Array]:
    (value,) = module.inputs.values()
    low, dtype = (-128, np.int8) if value.dtype == "i8" else (0, np.uint8)
    return {"x": rng.integers(low, low + 256, (count, *value.shape)).astype(dtype)}


def checked(
    module: Module, spec: AnalogSpec, inputs: dict[str, Array], calibration: Any = None
) -> tuple[CrossCheck, Lowered[Program], Run]:
    lowered = TARGET.lower(module, spec, calibration, Options())
    found = TARGET.run(lowered.program, spec, inputs, Key(0))
    reference = evaluate_many(lowered.module, inputs)
    return cross_check(lowered, spec, inputs, found, reference), lowered, found


@pytest.mark.parametrize("dtype", ["i8", "ui8"])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    "window",
    [
        {},
        {"strides": (2, 1), "pads": (1, 0, 2, 1)},
        {"dilations": (2, 1), "pads": (0, 2, 1, 0)},
    ],
)
def test_an_ideal_chip_equals_the_reference(
    rng: np.random.Generator, dtype: str, groups: int, window: dict[str, tuple[int, ...]]
) -> None:
    module = conv_net(rng, dtype, groups, **window)
    small = isaac("array.rows=16", "array.cols=24").ideal()
    found, lowered, _ = checked(module, small, batch(rng, module, 3))
    assert found == CrossCheck("bit_exact", 0, None, None, True)
    assert lowered.program.arrays > 4


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Module, int]:
    """Convolutions of any window and groups, depthwise too, and the seed of their numbers."""
    groups = draw(st.sampled_from((1, 1, 2, 3, 5)))
    into = draw(st.integers(1, 4)) if groups < 5 else 1
    out = draw(st.integers(1, 3)) if groups < 5 else draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    height, width = (
        d * (k - 1) + 1 + draw(st.integers(0, 4))
        for k, d in zip(kernel, dilations, strict=True)
    )
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    b = ModuleBuilder("net")
    x = b.input("x", (2, groups * into, height, width), "i8")
    w = b.weight("w", rng.integers(-127, 128, (groups * out, into, *kernel)).astype(np.int8))
    window: Attributes = {"strides": strides, "pads": pads, "dilations": dilations}
    points = {"x_zero_point": draw(st.integers(-128, 127)), "w_zero_point": 0, "groups": groups}
    b.output("y", b.op("qnn.conv2d", [x, w], {**window, **points}, "conv"))
    return b.finish(), seed


def exactly(module: Module, seed: int, rows: int, cols: int) -> None:
    """An ideal chip of small arrays gives the reference's accumulators, folded and not."""
    spec = isaac(f"array.rows={rows}", f"array.cols={cols}").ideal()
    inputs = batch(np.random.default_rng(seed), module, 2)
    found, lowered, run = checked(module, spec, inputs)
    assert found == CrossCheck("bit_exact", 0, None, None, True)
    converted = machine.run(lowered.program, spec, inputs, Key(0), fold=False)
    assert np.array_equal(converted.outputs["y"], run.outputs["y"])


@settings(max_examples=60, deadline=None)
@given(drawn=convolutions(), rows=st.integers(1, 24), cols=st.integers(8, 40))
def test_any_convolution_is_exact_on_an_ideal_chip(
    drawn: tuple[Module, int], rows: int, cols: int
) -> None:
    exactly(*drawn, rows, cols)


@settings(max_examples=40, deadline=None)
@given(
    m=st.integers(1, 3),
    k=st.integers(1, 70),
    n=st.integers(1, 12),
    dtype=st.sampled_from(("i8", "ui8")),
    wide=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 32),
    cols=st.integers(10, 40),
)
def test_any_matrix_product_is_exact_on_an_ideal_chip(
    m: int, k: int, n: int, dtype: str, wide: bool, seed: int, rows: int, cols: int
) -> None:
    rng = np.random.default_rng(seed)
    b = ModuleBuilder("net")
    x = b.input("x", (m, k), dtype)
    # unsigned weights about a zero point: centred ones from -3 to 252
    low, kind, zero = (0, np.uint8, 3) if wide else (-128, np.int8, 0)
    w = b.weight("w", rng.integers(low, low + 256, (k, n)).astype(kind))
    bias = b.weight("b", rng.integers(-(2**31), 2**31, n).astype(np.int32))
    points = {"x_zero_point": 5, "w_zero_point": zero}
    b.output("y", b.op("qnn.matmul", [x, w, bias], points, "fc"))
    exactly(b.finish(), seed, rows, cols)


@pytest.mark.parametrize(
    ("array", "bits"),
    [
        # R (2^cell - 1) (2^dac - 1) + 1 sums
        (("array.rows=1", "array.cell=1 bit"), 1),
        (("array.rows=85",), 8),
        (("array.rows=86",), 9),
        (("array.rows=256",), 10),
        (("array.cell=4 bit", "dac.bits=4 bit"), 15),
        (("array.rows=1024", "array.cell=8 bit", "dac.bits=8 bit"), 26),
    ],
)
def test_enough_adc_bits_are_exact_and_one_less_is_not(
    array: tuple[str, ...], bits: int
) -> None:
    silent = ("device.model=exact", "device.read_noise=0")
    spec = isaac(*array, *silent)
    rows = spec.array.rows
    assert lossless_bits(spec, rows) == bits
    # every cell of one column at the top level and every digit at its highest
    b = ModuleBuilder("net")
    top = min(spec.array.top_level, 127)
    w = b.weight("w", np.full((rows, 1), top if top < 127 else -128, np.int8))
    x = b.input("x", (1, rows), "i8")
    b.output("y", b.op("qnn.matmul", [x, w], {"x_zero_point": -128, "w_zero_point": 0}, "fc"))
    module, inputs = b.finish(), {"x": np.full((1, 1, rows), 127, np.int8)}
    exact = evaluate_many(module, inputs)["y"]
    enough = spec.ideal()
    assert enough.adc.bits == max(8, bits)
    program = TARGET.lower(module, enough, None, Options()).program
    run = machine.run(program, enough, inputs, Key(0), fold=False)
    assert np.array_equal(run.outputs["y"], exact)
    if 1 < bits <= 24 and top < 127:
        few = isaac(*array, *silent, f"adc.bits={bits - 1} bit", "adc.range=full")
        one_step = replace_shifts(program)
        short = machine.run(one_step, few, inputs, Key(0)).outputs["y"]
        assert short.item() < exact.item()


def replace_shifts(program: Program) -> Program:
    """The program with ADC steps of one unit."""
    steps = tuple(
        replace(s, tiles=tuple(replace(t, adc_shifts=(0,) * s.slices) for t in s.tiles))
        for s in program.products
    )
    return replace(program, steps=steps)


def test_more_adc_bits_allow_less_error_and_enough_allow_none(rng: np.random.Generator) -> None:
    module = conv_net(rng)
    inputs = batch(rng, module, 12)
    allowed, found = [], []
    for bits in range(2, 10):
        spec = isaac(
            "device.model=exact",
            "device.read_noise=0",
            "adc.range=full",
            f"adc.bits={bits} bit",
        )
        step = TARGET.lower(module, spec, None, Options()).program.products[0]
        rows, _ = machine.driven(step, inputs["x"])
        error = crossbar.sliced(step, spec, rows, Key(0)) - crossbar.folded(step, rows)
        flat = rows.reshape(-1, rows.shape[-1])
        held = [programmed(step, 0, spec, Key(0))]
        bound = predict.resolution(step, spec, held, flat)
        assert (np.abs(error).reshape(bound.shape) <= bound).all()
        allowed.append(bound.max())
        found.append(float(np.sqrt(np.mean(np.square(error, dtype=np.float64)))))
    assert allowed == sorted(allowed, reverse=True)
    # single sums may be luckier with a coarser step, the finest that is not exact is not
    assert found[4] < found[0] / 4
    # 36 rows of level 3: 108 needs 7 bits
    assert found[4] > 0
    assert found[5:] == [0, 0, 0]


def test_an_ideal_chip_says_how_many_adc_bits_it_got(rng: np.random.Generator) -> None:
    module = conv_net(rng)
    lowered = TARGET.lower(module, isaac("adc.bits=4 bit").ideal(), None, Options(ideal=True))
    assert lowered.warnings == (
        "ADCs have 9 bits instead of 4, so that every sum of 128 rows can be told apart; "
        "their energy is that of 4 bits",
    )
    # asked for by the option alone, and twice
    again = TARGET.lower(module, isaac("adc.bits=4 bit"), None, Options(ideal=True))
    assert again.warnings == lowered.warnings
    plenty = TARGET.lower(module, isaac("adc.bits=12 bit").ideal(), None, Options(ideal=True))
    assert plenty.warnings == ()


def test_a_silent_chip_with_too_few_adc_bits_says_so(rng: np.random.Generator) -> None:
    module, silent = conv_net(rng), ("device.model=exact", "device.read_noise=0")
    spec = isaac(*silent, "adc.bits=5 bit")
    lowered = TARGET.lower(module, spec, batch(rng, module, 4), Options())
    assert lowered.warnings == (
        "nothing is noisy, but 5-bit ADCs cannot tell every sum of 48 rows apart, which takes "
        "8 bits: sums may be rounded or clipped",
    )
    assert TARGET.lower(module, isaac(*silent), batch(rng, module, 4), Options()).warnings == ()


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 12),
    rows=st.integers(1, 40),
    outputs=st.integers(1, 6),
    height=st.integers(1, 50),
    width=st.integers(8, 60),
)
def test_tiles_cover_every_weight_once(
    groups: int, rows: int, outputs: int, height: int, width: int
) -> None:
    spec = isaac(f"array.rows={height}", f"array.cols={width}")
    matrix = np.zeros((groups * rows, groups * outputs), np.int64)
    for tile in tiles(*matrix.shape, groups, 4, spec):
        assert tile.rows <= height
        assert 8 * tile.outputs <= width
        matrix[tile.row_start : tile.row_stop, tile.col_start : tile.col_stop] += 1
    blocks = np.kron(np.eye(groups, dtype=np.int64), np.ones((rows, outputs), np.int64))
    assert (matrix[blocks == 1] == 1).all()
    assert matrix.max() == 1


def test_a_depthwise_convolution_shares_crossbars() -> None:
    # 64 channels of 3 x 3: 16 outputs have the columns, but 14 of them the rows, 14 * 9 = 126
    cut = tiles(576, 64, 64, 4, isaac())
    assert [(t.rows, t.outputs) for t in cut] == [(126, 14)] * 4 + [(72, 8)]
    # blocks that are larger than an array are cut as any matrix
    assert [t.rows for t in tiles(400, 4, 2, 4, isaac())] == [128, 128, 128, 16]


@pytest.mark.parametrize(
    ("largest", "shift"), [(0, 0), (255, 0), (255.5, 1), (510, 1), (511, 2)]
)
def test_an_adc_step_is_the_smallest_power_of_two_that_reaches(
    largest: float, shift: int
) -> None:
    assert shift_for(largest, isaac()) == shift


def test_adc_ranges_come_from_calibration_inputs_alone(rng: np.random.Generator) -> None:
    module = conv_net(rng)
    spec = isaac("adc.bits=5 bit")
    calibration = batch(rng, module, 8)
    dim = {"x": np.full_like(calibration["x"], -128)}
    steps = {}
    for name, data in (("none", None), ("drawn", calibration), ("dim", dim)):
        program = TARGET.lower(module, spec, data, Options()).program
        steps[name] = [tile.adc_shifts for tile in program.products[0].tiles]
    # 36 rows of level 3: sums to 108, 31 codes, so steps of 4
    assert steps["none"] == [(2, 2, 2, 2)]
    assert np.sum(steps["dim"]) < np.sum(steps["drawn"]) <= np.sum(steps["none"])


def test_without_calibration_data_the_range_is_full_and_says_so(
    rng: np.random.Generator,
) -> None:
    lowered = TARGET.lower(conv_net(rng), isaac(), None, Options())
    assert lowered.warnings == (
        "ADC ranges are those of the largest possible sums: no calibration data",
    )


def test_what_cannot_be_compiled_is_refused_in_one_sentence(rng: np.random.Generator) -> None:
    module = conv_net(rng)
    with pytest.raises(UnsupportedError) as format_:
        TARGET.lower(module, isaac(), None, Options(quant="none"))
    assert str(format_.value) == (
        "analog: the number format must be int8 or int4, not none; leave --quant out"
    )
    few = ("array.arrays_per_unit=1", "array.units_per_tile=1", "array.tiles=1")
    with pytest.raises(UnsupportedError) as many:
        TARGET.lower(module, isaac(*few), None, Options())
    assert str(many.value) == (
        "isaac: the model must fit its 1 crossbars, not need 2; "
        "use a smaller model or --set array.tiles=2"
    )
    with pytest.raises(SpecError) as narrow:
        TARGET.lower(module, isaac("array.cols=7"), None, Options())
    assert str(narrow.value) == (
        "array.cols must be at least the 8 columns of one weight, not 7; "
        "use more columns or more bits a cell"
    )
    b = ModuleBuilder("float")
    b.output("y", b.op("nn.relu", [b.input("x", (1, 4))], name="r"))
    with pytest.raises(ModelError, match="needs calibration data to be quantised to int8"):
        TARGET.lower(b.finish(), isaac(), None, Options())


def test_digital_work_and_its_traffic_by_hand() -> None:
    b = ModuleBuilder("net")
    points = {"x_zero_point": 0, "w_zero_point": 0}
    x = b.input("x", (1, 2, 4, 4), "i8")
    window = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    w = b.weight("w", np.ones((2, 2, 1, 1), np.int8))
    acc = b.op("qnn.conv2d", [x, w], {**window, "groups": 1, **points}, "conv")
    form: Attributes = {"zero_point": 0, "low": -128, "high": 127, "dtype": "i8", "axis": 1}
    y = b.op("qnn.requantize", [acc, b.weight("s", np.ones(1, np.float32))], form, "q")
    scales = dict.fromkeys(("a_scale", "b_scale", "y_scale"), 1.0)
    zeros = dict.fromkeys(("a_zero_point", "b_zero_point", "y_zero_point"), 0)
    total = b.op("qnn.add", [y, x], {**scales, **zeros}, "sum")
    pool = {**window, "kernel": (2, 2), "strides": (2, 2)}
    b.output("y", b.op("nn.max_pool2d", [total], pool, "pool"))
    program = TARGET.lower(b.finish(), isaac(), None, Options()).program
    found = {
        step.name: (step.unit, step.elements, step.traffic_bytes)
        for step in program.steps
        if isinstance(step, Digital)
    }
    assert found == {
        "q": ("requantize", 32, 32),  # 32 sums from the output registers, written as bytes
        "sum": ("vector", 32, 32 + 32 + 32),  # two operands read, one result written
        "pool": ("pool", 32, 32 + 8),  # 8 results from four values each
    }
