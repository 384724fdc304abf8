"""Reads behind wires, against nodal analysis; closed-form noise against sampled cells."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import cells, mapping
from tetrapla.simulators.analog.circuits.cells import LINEAR, Polynomial, Sinh
from tetrapla.simulators.analog.circuits.effective import solve
from tetrapla.simulators.analog.circuits.nodal import judged
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.reads import Reads, linear, read, solved
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

WIRES = (
    *("wires.r_row=20 ohm", "wires.r_col=30 ohm"),
    *("wires.r_driver=50 ohm", "wires.r_sense=40 ohm"),
)
JUDGED = Wires(20.0, 30.0, 50.0, 40.0)


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def layer(rows: int, outputs: int, slices: int = 2) -> Product:
    matrix = np.random.default_rng(4).integers(-15, 16, (rows, outputs))
    return Product(
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
        slices=slices,
        tiles=(Tile(0, rows, 0, outputs, (0,) * slices),),
        macs=matrix.size,
    )


def at(key: Key, count: int) -> Reads:
    return Reads(key, 0, 0, range(1), range(count), count, 0)


def seen(spec: AnalogSpec, one: Product, driven: Array) -> Array:
    """What converters see, noise aside."""
    held = cells.programmed(one, 0, spec, Key(1))
    made = mapping.columns(one, one.tiles[0], spec)
    quiet = spec.model_copy(
        update={"device": spec.device.model_copy(update={"read_noise_frac": 0.0})}
    )
    held = cells.programmed(one, 0, quiet, Key(1))
    return read(held, made, quiet, driven, 0, at(Key(1), len(driven))).astype(np.float64)


def conductances(spec: AnalogSpec, one: Product) -> Array:
    placed = cells.programmed(one, 0, spec, Key(1)).placed
    return cells.siemens(placed, spec)


@pytest.mark.parametrize("dac_bits", [1, 3])
def test_sums_behind_wires_are_those_of_nodal_analysis(dac_bits: int) -> None:
    pytest.importorskip("scipy", reason="the extra `analog` is not installed")
    spec = isaac(*WIRES, f"dac.bits={dac_bits} bit", "array.rows=16")
    one = layer(16, 3)
    driven = np.random.default_rng(0).integers(0, 1 << dac_bits, (4, 16)).astype(np.float64)
    g = conductances(spec, one)
    # one volt a step; the nominal 1 uS of every cell is taken away
    found = judged(g, driven, JUDGED, "input_source").currents / cells.unit_siemens(spec)
    floor = 1e-6 / cells.unit_siemens(spec) * driven.sum(axis=1, keepdims=True)
    held = cells.programmed(one, 0, spec, Key(1))
    # levels are on a grid: half a step for every row and step of a digit
    slack = 16 * ((1 << dac_bits) - 1) * held.grid / 2 + 1e-9
    assert np.abs(seen(spec, one, driven) - (found - floor)).max() < slack < 1e-2
    # and wires matter here
    assert np.abs(driven @ held.placed - (found - floor)).max() > 0.1


def test_interleaved_sums_are_those_of_nodal_analysis() -> None:
    pytest.importorskip("scipy", reason="the extra `analog` is not installed")
    spec = isaac(*WIRES, "array.topology=interleaved", "adc.sign=signed", "array.rows=16")
    one = layer(16, 3)
    driven = np.random.default_rng(0).integers(0, 2, (4, 16)).astype(np.float64)
    g = conductances(spec, one)
    plus, minus = g[:, :6], g[:, 6:]
    found = judged(plus, driven, JUDGED, "interleaved", g_minus=minus).currents
    held = cells.programmed(one, 0, spec, Key(1))
    slack = 16 * held.grid / 2 + 1e-9
    away = np.abs(seen(spec, one, driven) - found / cells.unit_siemens(spec))
    assert away.max() < slack < 2e-3


@pytest.mark.parametrize("polarities", [1, 2])
def test_gated_sums_are_those_of_nodal_analysis_slot_by_slot(polarities: int) -> None:
    pytest.importorskip("scipy", reason="the extra `analog` is not installed")
    pair = ("array.topology=gated_interleaved", "adc.sign=signed")
    kind = pair if polarities == 2 else ("array.topology=gated",)
    spec = isaac(*WIRES, *kind, "dac.bits=2 bit", "array.rows=16")
    one = layer(16, 3)
    driven = np.random.default_rng(0).integers(0, 4, (3, 16)).astype(np.float64)
    g = conductances(spec, one)
    plus, minus = (g, None) if polarities == 1 else (g[:, :6], g[:, 6:])
    topology = spec.array.topology
    total = np.zeros((3, plus.shape[1]))
    for slot in range(3):
        on = (driven > slot).astype(np.float64)
        total += judged(plus, on, JUDGED, topology, g_minus=minus, supply_volts=1.0).currents
    floor = 1e-6 * driven.sum(axis=1, keepdims=True) if polarities == 1 else 0.0
    expected = (total - floor) / cells.unit_siemens(spec)
    # sums are rounded to 2^-20 of a unit
    assert np.abs(seen(spec, one, driven) - expected).max() < 2.0**-20


def test_cells_that_are_not_linear_are_those_of_nodal_analysis() -> None:
    pytest.importorskip("scipy", reason="the extra `analog` is not installed")
    law = ("device.iv=sinh", "device.sinh=4 ", "array.drive=0.5 V")
    spec = isaac(*WIRES, *law, "dac.bits=2 bit", "array.rows=8")
    one = layer(8, 2)
    driven = np.random.default_rng(0).integers(0, 4, (3, 8)).astype(np.float64)
    volts = driven * 0.5 / 3
    g = conductances(spec, one)
    found = judged(g, volts, JUDGED, "input_source", law=Sinh(4.0)).currents
    # a unit: one level at the full 0.5 V, over three steps
    unit = cells.unit_siemens(spec) * np.sinh(2.0) / 4 / 3
    floor = (1e-6 * np.sinh(4 * volts) / 4).sum(axis=1, keepdims=True)
    away = np.abs(seen(spec, one, driven) - (found - floor) / unit)
    assert away.max() < 2.0**-20
    # a straight law in the same wires is another sum
    straight = judged(g, volts, JUDGED, "input_source", law=LINEAR).currents
    assert np.abs(straight - found).max() > 0.01 * np.abs(found).max()


def test_gated_cells_that_are_not_linear_are_those_of_nodal_analysis() -> None:
    pytest.importorskip("scipy", reason="the extra `analog` is not installed")
    law = (
        "device.iv=polynomial",
        "device.quadratic=0.3",
        "device.cubic=2",
        "array.drive=0.5 V",
    )
    spec = isaac(*WIRES, *law, "array.topology=gated", "dac.bits=2 bit", "array.rows=8")
    one = layer(8, 2)
    driven = np.random.default_rng(0).integers(0, 4, (3, 8)).astype(np.float64)
    g, of = conductances(spec, one), Polynomial(0.3, 2.0)
    total = np.zeros((3, g.shape[1]))
    for slot in range(3):
        on = (driven > slot).astype(np.float64)
        total += judged(g, on, JUDGED, "gated", law=of, supply_volts=0.5).currents
    # one level at 0.5 V: 0.5 + 0.3 / 4 + 2 / 8
    unit, floor = cells.unit_siemens(spec) * 0.825, 1e-6 * 0.825
    expected = (total - floor * driven.sum(axis=1, keepdims=True)) / unit
    assert np.abs(seen(spec, one, driven) - expected).max() < 2.0**-20


def test_tiers_agree_where_both_hold() -> None:
    # T3 with cells that are nearly straight against T1; T2 with wires of nearly nothing
    one = layer(12, 2)
    driven = np.random.default_rng(0).integers(0, 4, (3, 12)).astype(np.float64)
    flat = isaac(*WIRES, "dac.bits=2 bit", "array.rows=12")
    curved = isaac(
        *WIRES, "dac.bits=2 bit", "array.rows=12", "device.iv=sinh", "device.sinh=1e-6"
    )
    assert linear(flat)
    assert not linear(curved)
    away = np.abs(seen(flat, one, driven) - seen(curved, one, driven))
    # the grid of T1 and the rounding of T3
    assert away.max() < 12 * 3 * cells.programmed(one, 0, flat, None).grid + 2.0**-20
    bare = isaac("dac.bits=2 bit", "array.rows=12", "array.topology=gated")
    thin = isaac(
        "dac.bits=2 bit", "array.rows=12", "array.topology=gated", "wires.r_row=0.001 ohm"
    )
    assert not linear(thin)
    # 1 mohm of 40 uS cells: 12 rows lose 12^2 * 4e-8 of a sum of 108 units
    away = np.abs(seen(bare, one, driven) - seen(thin, one, driven))
    assert away.max() < 108 * 144 * 4e-8 + 1e-3


def drawn(spec: AnalogSpec, count: int, key: Key) -> Array:
    """Sums of one input, read `count` times."""
    one = layer(16, 2)
    held = cells.programmed(one, 0, spec, Key(1))
    made = mapping.columns(one, one.tiles[0], spec)
    driven = np.tile(np.arange(16) % 3 != 0, (count, 1)).astype(np.float32)
    return read(held, made, spec, driven, 0, at(key, count)).astype(np.float64)


@pytest.mark.parametrize(
    "extra",
    [
        (),
        WIRES,
        ("adc.sign=signed",),
        ("mapping.weights=n_pair", "mapping.pairs=2"),
        ("array.topology=interleaved", "adc.sign=signed", *WIRES),
    ],
    ids=str,
)
def test_closed_form_read_noise_is_that_of_sampled_cells(extra: tuple[str, ...]) -> None:
    # Kolmogorov and Smirnov, two samples of n: P(D > 1.95 sqrt(2 / n)) = 0.001 per column
    n = 4000
    spec = isaac("array.rows=16", "device.read_noise=0.05", *extra)
    closed = drawn(spec, n, Key(2))
    sampled = drawn(
        isaac("array.rows=16", "device.read_noise=0.05", *extra, "device.reads=sampled"),
        n,
        Key(3),
    )
    assert closed.std(axis=0).min() > 0
    for a, b in zip(closed.T, sampled.T, strict=True):
        every = np.sort(np.concatenate((a, b)))
        below = [np.searchsorted(np.sort(x), every, side="right") / n for x in (a, b)]
        assert np.abs(below[0] - below[1]).max() < 1.95 * sqrt(2 / n)
    # columns are independent in both
    for each in (closed, sampled):
        z = (each - each.mean(axis=0)) / each.std(axis=0)
        found = z.T @ z / n - np.eye(z.shape[1])
        assert np.abs(found).max() < 4.5 / sqrt(n)


def test_read_noise_behind_wires_is_that_of_arrays_solved_anew() -> None:
    # 4000 reads, each with cells of its own; random bits, for which the closed form is meant
    n, rng = 4000, np.random.default_rng(8)
    spec = isaac("array.rows=16", "device.read_noise=0.03", *WIRES)
    one = layer(16, 2)
    held = cells.programmed(one, 0, spec, Key(1))
    assert held.read_sd is not None
    assert held.read_variance is not None
    g = conductances(spec, one)
    drift = rng.normal(size=(n, *g.shape)) * held.read_sd * cells.unit_siemens(spec)
    through = solve(g + drift, JUDGED) / cells.unit_siemens(spec)
    bits = rng.integers(0, 2, (12, 16)).astype(np.float64)
    found = np.einsum("vr,nrc->nvc", bits, through).std(axis=0)
    predicted = np.sqrt(bits @ held.read_variance.astype(np.float64))
    # 5 % of the model, and four standard errors of a standard deviation over 4000
    assert np.abs(found / predicted - 1).max() < 0.05 + 4 / sqrt(2 * n)
    bare = np.sqrt(bits @ held.read_sd**2)
    assert np.abs(found / bare - 1).max() > 0.05 + 4 / sqrt(2 * n)


def test_solved_sums_of_straight_cells_are_the_matrix_product() -> None:
    spec = isaac("array.rows=16", "array.topology=gated")
    one = layer(16, 2)
    held = cells.programmed(one, 0, spec, Key(1))
    made = mapping.columns(one, one.tiles[0], spec)
    driven = np.random.default_rng(0).integers(0, 2, (5, 16)).astype(np.float64)
    found = solved(held, made, spec, driven)
    assert np.abs(found - driven @ held.placed).max() < 2.0**-20
