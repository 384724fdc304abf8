"""Recovery: each pass lowers the error of its cause, and does nothing without it."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from math import sqrt
from statistics import mean
from typing import Any

import numpy as np
import pytest

from tests.simulators.analog.helpers import compiled
from tetrapla.backends.analog.check import cross_check
from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import cells, machine, mapping, recovery
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.crossbar import folded, folds, sliced
from tetrapla.simulators.analog.devices.faults import Defects
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.validation import GOLDEN

# ADCs of one unit a step that never clip, so that what is left is the array's
WIDE = ("adc.bits=24 bit", "adc.sign=signed")
QUIET = ("device.model=exact", "device.read_noise=0")
PCM = ("device.model=pcm_like", "device.g_max=25 uS", "device.g_min=0 uS")
STUCK = ("faults.stuck_low=0.02", "faults.stuck_high=0.02", "faults.open_rows=0.02")
RECOVERED = (
    "recovery.wires=precompensated",
    "recovery.drift=global",
    "recovery.drift=column",
    "recovery.rows=permuted",
)


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def layer(matrix: Array, spec: AnalogSpec) -> Product:
    """A product on one tile."""
    slices = mapping.slices(matrix, spec)
    rows, outputs = matrix.shape
    return Product(
        name="fc",
        op="qnn.matmul",
        number=3,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=-128,
        matrix=matrix.astype(np.int16),
        bias=np.zeros(outputs, np.int64),
        window=None,
        slices=slices,
        tiles=(Tile(0, rows, 0, outputs, (0,) * slices),),
        macs=rows * outputs,
    )


def error(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def drawn(rows: int, outputs: int) -> tuple[Array, Array]:
    """Inputs [1, 24, rows], 0 to 255, and normal weights of 8 bits."""
    rng = np.random.default_rng(4)
    weights = np.rint(np.clip(rng.standard_normal((rows, outputs)) * 42, -127, 127))
    return rng.integers(0, 256, (1, 24, rows)).astype(np.uint8), weights.astype(np.int64)


def product_error(matrix: Array, inputs: Array, seed: int, *overrides: str) -> float:
    spec = isaac(*WIDE, *overrides)
    one = layer(matrix, spec)
    found = sliced(one, spec, inputs, Key(seed))
    return error(found, inputs.astype(np.int64) @ matrix)


def test_bent_weights_divide_the_error_of_wires_by_twenty() -> None:
    # 128 x 128 cells of 7 bits, wires of 1e-4 of the lowest resistance, 1 / 25 uS
    inputs, matrix = drawn(128, 64)
    chip = (
        *("array.rows=128", "array.cols=128", "array.cell=7 bit", *QUIET, *PCM[1:]),
        *("wires.r_row=4 ohm", "wires.r_col=4 ohm"),
    )
    raw, bent = (
        product_error(matrix, inputs, 0, *chip, f"recovery.wires={how}")
        for how in ("none", "precompensated")
    )
    assert raw > 0.1
    assert bent <= raw / 20


def test_pairs_on_one_bit_line_are_bent_too() -> None:
    inputs, matrix = drawn(128, 64)
    chip = (
        *("array.rows=128", "array.cols=128", "array.cell=7 bit", *QUIET, *PCM[1:]),
        *("wires.r_row=4 ohm", "wires.r_col=4 ohm", "array.topology=interleaved"),
    )
    for g_min in ("device.g_min=0 uS", "device.g_min=1 uS"):
        raw, bent = (
            product_error(matrix, inputs, 0, *chip, g_min, f"recovery.wires={how}")
            for how in ("none", "precompensated")
        )
        assert bent <= raw / 20


def test_g_min_and_errors_of_cells_go_through_the_gain() -> None:
    inputs, matrix = drawn(64, 12)
    chip = ("array.rows=64", *QUIET, "wires.r_row=4 ohm", "wires.r_col=4 ohm")
    bent = (*chip, "recovery.wires=precompensated")
    for g_min in ("device.g_min=0 uS", "device.g_min=2 uS"):
        raw = product_error(matrix, inputs, 0, *chip, g_min)
        assert product_error(matrix, inputs, 0, *bent, g_min) <= raw / 20
    spec = isaac(*WIDE, *bent, "device.read_noise=0.01")
    held = cells.programmed(layer(matrix, spec), 0, spec, Key(0))
    assert held.reference is not None
    assert held.read_sd is not None
    assert held.gain is not None
    assert held.read_variance is not None
    scale = held.reference.scale
    assert (scale > 1).all()
    made = mapping.columns(layer(matrix, spec), layer(matrix, spec).tiles[0], spec)
    expected = made.spread((held.read_sd * held.gain) ** 2) * scale**2
    # on a grid so fine that a sum over the rows has 24 bits
    grid = len(expected) * expected.max() * 2.0**-22
    assert np.abs(held.read_variance - expected).max() <= grid / 2


@cache
def classifier() -> tuple[Array, Array]:
    """The first layer of the golden classifier of digits: inputs [1, 600, 64] and weights."""
    with np.load(GOLDEN / "analog" / "digits_mlp.npz") as held:
        weights, inputs = held["W0"].astype(np.float64).T, held["X"]
    whole = np.rint(weights / np.abs(weights).max() * 127).astype(np.int64)
    return (inputs * 15).astype(np.uint8)[None], whole


with (GOLDEN / "analog" / "digits_mlp_drift.csv").open(encoding="utf-8") as file:
    DRIFTED = [
        row
        for row in csv.DictReader(file)
        if row["model"] == "pcm_like" and row["t_s"] in ("3600", "86400", "31536000")
    ]


@pytest.mark.parametrize("row", DRIFTED, ids=lambda row: f"{row['t_s']}-{row['compensation']}")
def test_a_scaled_reference_leaves_the_golden_error_of_drift(row: dict[str, str]) -> None:
    # from 0.36 to 0.12 after a day; weights of 7 bits and a sign add 0.002 (rounded to 1 / 127)
    inputs, matrix = classifier()
    chip = (*PCM, "array.rows=64", "array.cols=256", "array.cell=7 bit", "dac.bits=8 bit")
    how = f"recovery.drift={row['compensation']}"
    errors = [
        product_error(matrix, inputs, seed, *chip, f"device.time={row['t_s']} s", how)
        for seed in range(8)
    ]
    allowed = 4 * float(row["mvm_rel_err_sd"]) * sqrt(1 / len(errors) + 1 / int(row["n_seeds"]))
    assert abs(mean(errors) - float(row["mvm_rel_err_mean"])) <= allowed
    # one reference a column takes no less away than one a tile, but for what it fits
    if row["compensation"] == "global":
        column = [
            product_error(
                matrix, inputs, seed, *chip, f"device.time={row['t_s']} s", RECOVERED[2]
            )
            for seed in range(8)
        ]
        assert mean(column) <= mean(errors)


def test_alpha_is_the_quotient_of_the_read_outs() -> None:
    first = np.array([[4.0, 0.0, -2.0], [2.0, 0.0, 1.0]])
    now = np.array([[2.0, 0.0, -2.0], [1.0, 0.0, 0.0]])
    assert recovery.drifted(first, now, "column").tolist() == [2.0, 1.0, 1.5]
    assert recovery.drifted(first, now, "global").tolist() == [9 / 6 / (5 / 6)] * 3
    # a read-out counts 1e-4 of a level at least
    assert recovery.drifted(first, 0 * now, "column").tolist() == [3e4, 1.0, 1.5e4]


def test_rows_move_away_from_broken_cells() -> None:
    inputs, matrix = drawn(64, 8)
    matrix[::3] //= 8  # rows that matter less are what a choice can be made of
    chip = (*QUIET, *STUCK, "array.rows=64")
    before, after = (
        [weight_error(matrix, s, *chip, f"recovery.rows={how}") for s in range(6)]
        for how in ("none", "permuted")
    )
    assert all(b < a for a, b in zip(before, after, strict=True))
    raw, moved = (
        mean(product_error(matrix, inputs, s, *chip, f"recovery.rows={how}") for s in range(6))
        for how in ("none", "permuted")
    )
    assert moved < raw


def weight_error(matrix: Array, seed: int, *overrides: str) -> float:
    """The sum of squared errors of the weights on a chip."""
    spec = isaac(*WIDE, *overrides)
    one = layer(matrix, spec)
    held = cells.programmed(one, 0, spec, Key(seed))
    made = mapping.columns(one, one.tiles[0], spec)
    found = made.totals(held.levels.astype(np.float64))
    wanted = matrix if held.order is None else matrix[held.order]
    if held.order is not None:
        assert sorted(held.order.tolist()) == list(range(len(matrix)))
    return float(((found - wanted) ** 2).sum())


def test_the_best_order_of_three_rows_is_found() -> None:
    # row 0 is open: the one that weighs least goes there, and its neighbour moves
    goal = np.array([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    none = np.zeros(2, np.bool_)
    made = Defects(
        factor=None,
        stuck=np.zeros((3, 2), np.int8),
        open_rows=np.array([True, False, False]),
        open_columns=none,
        row_group=np.arange(3),
        column_group=np.arange(2),
    )
    found = recovery.order(goal, made, 3, 0.0, lambda levels: levels)
    assert found is not None
    assert found[0] == 1
    assert sorted(found.tolist()) == [0, 1, 2]
    # stuck at the top: the row whose cell is there already
    stuck = np.array([[0, 0], [1, 0], [0, 0]], np.int8)
    made = replace(made, open_rows=np.zeros(3, np.bool_), stuck=stuck)
    found = recovery.order(goal, made, 3, 0.0, lambda levels: levels)
    assert found is not None
    assert found[1] == 0
    assert recovery.order(goal, replace(made, stuck=0 * stuck), 3, 0.0, lambda x: x) is None


@pytest.mark.parametrize("how", RECOVERED)
def test_recovery_without_its_cause_changes_nothing(how: str) -> None:
    inputs, matrix = drawn(24, 6)
    quiet = isaac("array.rows=24", "adc.bits=12 bit", *QUIET, how)
    one = layer(matrix, quiet)
    assert folds(one, quiet)
    exact = inputs.astype(np.int64) @ matrix
    assert np.array_equal(folded(one, inputs), exact)
    assert np.array_equal(sliced(one, quiet, inputs, Key(1)), exact)
    # noise alone is what it was, bit by bit
    noisy = ("array.rows=24", *PCM)
    for device in (noisy, (*noisy, "device.time=3600 s", "device.drift=0")):
        found, bare = (
            sliced(layer(matrix, spec), spec, inputs, Key(1))
            for spec in (isaac(*device, how), isaac(*device))
        )
        assert np.array_equal(found, bare)


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("array.topology=gated", "gated arrays of linear cells"),
        ("device.iv=milo", "input_source arrays of milo cells"),
    ],
)
def test_only_linear_arrays_can_be_bent(override: str, why: str) -> None:
    given = (override, "device.g_min=50 uS", "device.g_max=200 uS", "device.model=exact")
    with pytest.raises(SpecError) as raised:
        isaac(*given, "recovery.wires=precompensated")
    assert (
        "recovery.wires must be none where array.topology is gated or device.iv "
        "is not linear, since such arrays are not one matrix to invert, not precompensated "
        f"with {why}; leave it out"
    ) in str(raised.value)


WIRES = ("wires.r_row=4 ohm", "wires.r_col=3 ohm", "wires.r_driver=20 ohm")
LATER = (*PCM, "device.time=86400 s")
BENT = (*LATER, *WIRES, RECOVERED[0])
EVERY = (*BENT, *STUCK, "faults.shorted_rows=0.03", "adc.offset=0.5", *RECOVERED[2:])


def judged(*overrides: str, patch: Any = None) -> Any:
    lowered, spec, inputs, reference = compiled(*overrides)
    with pytest.MonkeyPatch.context() as context:
        if patch is not None:
            patch(context)
        run = machine.run(lowered.program, spec, inputs, Key(2))
        return cross_check(lowered, spec, inputs, run, reference)


@pytest.mark.parametrize(
    "overrides",
    [
        BENT,
        (*BENT, "device.g_min=1 uS", "mapping.weights=offset_column"),
        (*BENT, "device.g_min=1 uS", "adc.sign=signed", "array.topology=interleaved"),
        (*LATER, RECOVERED[1]),
        (*LATER, RECOVERED[2], "device.g_min=1 uS"),
        (*LATER, *WIRES, RECOVERED[1], "adc.sign=signed", "array.topology=interleaved"),
        (*LATER, *WIRES, RECOVERED[2], "array.topology=gated"),
        (*QUIET, *STUCK, RECOVERED[3]),
        EVERY,
        (*EVERY, "device.g_min=1 uS", "device.reads=sampled", "adc.sign=signed"),
    ],
    ids=lambda overrides: " ".join(overrides)[-50:],
)
def test_an_honest_machine_passes(overrides: tuple[str, ...]) -> None:
    found = judged(*overrides)
    assert found.kind == "statistical"
    assert found.mismatches == 0
    assert found.passed, found


def test_bent_exact_cells_are_a_tolerance_that_is_met() -> None:
    found, bare = judged(*QUIET, *WIRES, RECOVERED[0]), judged(*QUIET, *WIRES)
    assert found.kind == "tolerance"
    assert found.passed, found
    assert found.max_rel_error < bare.max_rel_error


def wrong_gain(context: pytest.MonkeyPatch) -> None:
    """References that are 3 % off."""
    right = recovery.reference

    def reference(alpha: Array | None, gain: float, floor: Array) -> Any:
        return right(alpha, gain * 1.03, floor)

    context.setattr(recovery, "reference", reference)


def half_bent(context: pytest.MonkeyPatch) -> None:
    """Conductances half the way from the targets."""
    right = recovery.bent

    def bent(target: Array, lines: Wires, low: float, high: float) -> tuple[Array, float]:
        found, gain = right(target, lines, low, high)
        return (target + found) / 2, gain

    context.setattr(recovery, "bent", bent)


def not_drifted(context: pytest.MonkeyPatch) -> None:
    """Read-outs of the present in place of those of the past."""
    right = recovery.drifted

    def drifted(first: Array, now: Array, how: Any) -> Array:
        assert first.shape == now.shape
        return right(now, now, how)

    context.setattr(recovery, "drifted", drifted)


def unrouted(context: pytest.MonkeyPatch) -> None:
    """Rows moved, and their inputs did not."""

    def routed(held: cells.Cells, inputs: Array) -> Array:
        return inputs if held.order is None else inputs[..., np.arange(len(held.order))]

    context.setattr(cells.Cells, "routed", routed)


@pytest.mark.parametrize("planted", [wrong_gain, half_bent, not_drifted])
def test_a_wrong_gain_is_seen(planted: Any) -> None:
    assert not judged(*EVERY, patch=planted).passed


@pytest.mark.parametrize("planted", [wrong_gain, not_drifted, unrouted])
def test_a_fault_of_the_run_alone_is_seen(planted: Any) -> None:
    # cells that are read back do not have it: the sums give it away
    lowered, spec, inputs, reference = compiled(*EVERY)
    with pytest.MonkeyPatch.context() as context:
        planted(context)
        run = machine.run(lowered.program, spec, inputs, Key(2))
    assert not cross_check(lowered, spec, inputs, run, reference).passed
