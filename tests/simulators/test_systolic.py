"""The machine on programs written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError, SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.counts import ACTIONS, ALWAYS
from tetrapla.simulators.systolic.isa import Instruction, parse
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Layer, Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.timing import schedule
from tetrapla.simulators.systolic.vector import fused_multiply_add
from tetrapla.simulators.systolic.views import Place


def chip(*settings: str) -> SystolicSpec:
    return load_spec("tpu-v1", SystolicSpec, settings).spec


def program(rows: int, cols: int, *lines: str, constants: bytes = b"") -> Program:
    return Program(
        name="by hand",
        rows=rows,
        cols=cols,
        weight_slots=1,
        accumulator_rows=64,
        unified_buffer_bytes=1024,
        dram_bytes=len(constants) + 2048,
        instructions=tuple(parse(line) for line in lines),
        constants=constants,
        layers=(Layer("all", "test", 0),),
        packed={},
        inputs=(),
        outputs=(),
        to_device=(),
        from_device=(),
    )


@pytest.mark.parametrize(("n", "m", "cycles"), [(16, 32, 118), (4, 8, 34), (64, 1, 200)])
def test_load_multiply_requantise_takes_3n_2m_6(n: int, m: int, cycles: int) -> None:
    # LW at 0 is done at N; MM at N+1 at 3N+M+1; RQ at 3N+M+2 at 3N+2M+4; HALT one later
    lines = ["LW", f"MM len={m} wait=LW:0", f"RQ len={m} wait=MM:0", "HALT"]
    spec = chip(f"array.rows={n}", f"array.cols={n}")
    assert schedule(program(n, n, *lines), spec).cycles == 3 * n + 2 * m + 6 == cycles


def test_tiles_in_a_row_cost_max_of_activations_and_rows_plus_two_each() -> None:
    # LW of the next tile runs beside MM of this one: the period is M, or R with one cycle to
    # see that LW is done and one to dispatch MM
    for n, m, period in ((16, 5, 18), (16, 40, 40)):
        pair = ["LW", f"MM len={m} swap=1 wait=LW:0"]
        spec = chip(f"array.rows={n}", f"array.cols={n}")
        many = schedule(program(n, n, *(pair * 20), "HALT"), spec).cycles
        more = schedule(program(n, n, *(pair * 21), "HALT"), spec).cycles
        assert more - many == period


def test_a_wait_with_outstanding_instructions_names_an_earlier_one() -> None:
    # the second MM must not hold up RQ of the first: 16 + 1 + 32 + 32 + 1
    lines = ["LW", "MM len=32 wait=LW:0", "MM len=32", "RQ len=32 wait=MM:1", "HALT"]
    spec = chip("array.rows=16", "array.cols=16")
    events = schedule(program(16, 16, *lines), spec).events
    assert [event.dispatch for event in events[:4]] == [0, 17, 49, 17 + 32 + 32 + 1]


def test_a_transfer_takes_bytes_over_bandwidth_and_latency() -> None:
    spec = chip()
    tile = program(256, 256, "LDW rows=256 cols=256", "HALT")
    busy = ceil(65536 * 700e6 / 34e9)  # 1350: the paper's 1349 cycles, rounded up
    assert busy == 1350
    assert schedule(tile, spec).cycles == busy + 70 + 2  # 100 ns are 70 cycles


@pytest.mark.parametrize(("latency", "cycles"), [("110 ns", 77), ("100 ns", 70), ("1 ns", 1)])
def test_a_latency_of_whole_cycles_is_not_rounded_up(latency: str, cycles: int) -> None:
    # 1.1e-7 s x 7e8 Hz is 77.00000000000001 in floats; less than a cycle takes one
    lines = ["LDA bytes=1", "SYNC wait=DMA:0", "HALT"]
    events = schedule(program(256, 256, *lines), chip(f"dram.latency={latency}")).events
    assert events[0].retire == 1 + cycles


def test_raw_results_take_four_cycles_a_row() -> None:
    lines = ["RQ len=10 cols=3", "RQ len=10 cols=3 raw=1", "SYNC wait=RQ:0", "HALT"]
    events = schedule(program(8, 8, *lines), chip("array.rows=8", "array.cols=8")).events
    assert [event.dispatch for event in events] == [0, 10, 10 + 40 + 2 + 1, 54]


def test_the_vector_unit_takes_pixels_times_groups_of_lanes() -> None:
    # 6 rows of 2 x 2 windows, 300 channels in 2 groups of 256 lanes: 48; an add has one pixel
    pool = Descriptor(0, 300, kernel_h=2, kernel_w=2).pack()
    add = Descriptor(0, 300).pack()
    lines = [
        "CFG bytes=128",
        "CFG dram=128 index=1 bytes=128",
        "VE len=6 wait=DMA:0",
        "VE func=3 a=1 b=1 len=6",
        "HALT",
    ]
    events = schedule(program(256, 256, *lines, constants=pool + add), chip()).events
    assert events[2].free - events[2].dispatch == 6 * 4 * 2
    assert events[3].free - events[3].dispatch == 6 * 2
    assert events[3].dispatch == events[2].free


def test_retirement_is_in_order() -> None:
    # the host's link is slow (1 us = 700 cycles); DRAM behind it waits its turn
    lines = ["LDA bytes=16 host=1", "LDA bytes=16", "SYNC wait=DMA:0", "HALT"]
    events = schedule(program(256, 256, *lines), chip()).events
    assert events[1].retire == events[0].retire == 1 + 700


def test_values_of_a_window_read_without_im2col(rng: np.random.Generator) -> None:
    """A 3x3 convolution with padding on a 4x5 image with 2 channels, 3 filters."""
    image = rng.integers(-128, 128, (4, 5, 2)).astype(np.int8)
    weights = rng.integers(-128, 128, (18, 3)).astype(np.int8)
    bias = np.array([5, -700, 2**31 - 1], np.int32)
    found = _convolution(image, weights, bias, 3)
    padded = np.pad(image.astype(np.int64), ((1, 1), (1, 1), (0, 0)), constant_values=-3)
    wanted = np.empty((20, 3), np.int64)
    for y in range(4):
        for x in range(5):
            wanted[5 * y + x] = padded[y : y + 3, x : x + 3].reshape(18) @ weights + bias
    assert np.array_equal(found, wanted.astype(np.int32))  # int32 addition wraps


def _convolution(image: Array, weights: Array, bias: Array, zero_point: int) -> Array:
    descriptor = Descriptor(
        base=0,
        channels=2,
        kernel_h=3,
        kernel_w=3,
        height=4,
        width=5,
        out_h=4,
        out_w=5,
        pad_top=1,
        pad_left=1,
        row_stride=10,
        pixel_stride=2,
        pad_value=-zero_point,
    ).pack()
    row = RequantizeRow(12, 0, 0, 0, False, bias, np.ones(3, np.float32)).pack()
    constants = b"".join(p.ljust(128, b"\0") for p in (weights.tobytes(), descriptor, row))
    lines = [
        "MARK",
        f"LDA dram={len(constants)} bytes=40",
        "LDW rows=8 cols=3",
        "CFG dram=128 bytes=128",
        f"CFG dram=256 kind=1 bytes={len(row)}",
        "LW wait=DMA:0",
        "MM len=20 lanes=8 swap=1 wait=LW:0",
        "LDW dram=24 rows=10 cols=3 wait=LW:0",
        "LW wait=DMA:0",
        "MM len=20 k=8 lanes=10 swap=1 accumulate=1 wait=LW:0",
        "RQ len=20 cols=3 ub=64 raw=1 wait=MM:0",
        f"ST dram={len(constants) + 64} ub=64 bytes=240 wait=RQ:0",
        "HALT",
    ]
    made = replace(
        program(16, 8, *lines, constants=constants),
        inputs=(("x", 0),),
        outputs=(("y", 1),),
        to_device=(Place(0, len(constants), "i8", (4, 5, 2)),),
        from_device=(Place(1, len(constants) + 64, "i32", (20, 3)),),
    )
    again = Program.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    spec = chip("array.rows=16", "array.cols=8")
    result = run(again, spec, {"x": np.stack([image, image[::-1]])}, Key(0))
    assert result.outputs["y"].shape == (2, 20, 3)
    return np.asarray(result.outputs["y"][0])


def test_every_action_has_a_price_and_every_price_an_action() -> None:
    assert set(ALWAYS) <= set(chip().cost) <= set(ACTIONS)


def test_a_program_for_another_array_is_refused() -> None:
    made = program(16, 16, "MARK", "HALT")
    with pytest.raises(SpecError) as refused:
        run(made, chip(), {}, Key(0))
    assert str(refused.value) == (
        "array must be the program's 16 x 16, not 256 x 256; compile the model for this chip"
    )


def test_a_memory_that_is_too_small_is_refused() -> None:
    made = program(256, 256, "MARK", "HALT")
    with pytest.raises(SpecError) as refused:
        run(made, chip("memories.accumulator_rows=63"), {}, Key(0))
    assert str(refused.value) == (
        "accumulator_rows must be at least the program's 64, not 63; "
        "compile the model for this chip"
    )


def refusal(*settings: str) -> str:
    with pytest.raises(SpecError) as refused:
        chip("array.formats.int8=1", *settings)
    return str(refused.value)


def test_a_buffer_that_holds_no_tile_is_refused() -> None:
    # tpu-v1 has int16 too: a row in takes 2 x 256 bytes, a row out 256
    assert refusal("memories.unified_buffer=767 B") == (
        "--set memories.unified_buffer must hold one row in and one row out, 768 bytes, not "
        "767 bytes; enlarge it or shrink the array"
    )
    assert refusal("array.units=5") == (
        "tpu-v1.yaml:32:5: with --set array.formats.int8=1, --set array.units=5, "
        "memories.weight_tiles must hold a tile for each of 5 units, not 4; enlarge it or take "
        "fewer units"
    )
    assert refusal("dram.capacity=131071 B") == (
        "--set dram.capacity must hold one tile of weights, 131072 bytes, not 131071 bytes; "
        "enlarge it or shrink the array"
    )


def test_inputs_are_checked() -> None:
    with pytest.raises(ModelError) as refused:
        run(program(256, 256, "MARK", "HALT"), chip(), {"x": np.zeros((1, 2))}, Key(0))
    assert str(refused.value) == (
        "inputs must be [] with one number of invocations, not ['x'] with [1]"
    )


def test_a_program_of_another_schema_is_refused() -> None:
    with pytest.raises(ModelError) as refused:
        Program.from_dict({"schema": "x"})
    assert str(refused.value) == "a program's schema must be tetrapla.systolic/1, not x"


def test_fused_multiply_add_rounds_once(rng: np.random.Generator) -> None:
    from fractions import Fraction

    x = rng.integers(-255, 256, 2000)
    ratio = np.float32(rng.random() + 0.3)
    # addends that leave the sum close to a tie of float32, where two roundings differ from one
    addend = np.float32(1.5) * rng.choice([1, 2**-12, 2**-24], 2000).astype(np.float32)
    found = fused_multiply_add(x, ratio, addend)
    for value, other, result in zip(x, addend, found, strict=True):
        exact = Fraction(int(value)) * Fraction(float(ratio)) + Fraction(float(other))
        below, above = np.nextafter(result, -np.inf), np.nextafter(result, np.inf)
        miss = abs(Fraction(float(result)) - exact)
        assert miss <= abs(Fraction(float(below)) - exact)
        assert miss <= abs(Fraction(float(above)) - exact)


def test_an_instruction_left_out_of_the_operands_is_zero() -> None:
    assert Instruction("LW")["slot"] == 0
