"""Noise of reads: compiled and plain are the same numbers; the closed form is sampling's."""

from __future__ import annotations

from math import erf, log, sqrt

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.cells import programmed
from tetrapla.simulators.analog.devices import DEVICES
from tetrapla.simulators.analog.devices.cells import state
from tetrapla.simulators.analog.mapping import columns
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.reads import Reads, read
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

READS, INPUTS = 4000, 48
# Kolmogorov's distribution: sqrt(n) D exceeds this in one sound run of ten thousand
CRITICAL = sqrt(-log(1e-4 / 2) / 2)


@pytest.mark.parametrize(
    ("layer", "tile", "reads", "start", "count"),
    [
        (0, 0, range(1), 0, 1),
        (2, 5, range(4), 0, 100),
        (2, 5, range(1, 3), 91, 9),
        (3, 65535, range(2), 3, 5000),
        (65535, 1, range(3), 7, 2049),
        (1, 1, range(2), 8 * 256 - 1, 2),
        (1, 1, range(5, 5), 0, 10),
        (1, 1, range(2), 2**31 - 5, 64),
    ],
)
@pytest.mark.parametrize("key", [Key(3, 7, read=10), Key(2**32 - 1, 2**32 - 1, read=2**31)])
def test_compiled_normals_are_the_plain_ones_bit_by_bit(
    key: Key, layer: int, tile: int, reads: range, start: int, count: int
) -> None:
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    plain = noise.reading(key, layer, tile, reads, start, count, fast=False)
    fast = noise.reading(key, layer, tile, reads, start, count, fast=True)
    assert plain.dtype == fast.dtype == np.float32
    assert plain.shape == (len(reads), count)
    assert np.array_equal(plain.view(np.uint32), fast.view(np.uint32))


def test_many_normals_are_the_same_with_and_without_the_extra() -> None:
    # enough for `reading` to choose the compiled ones where they are there
    whole = noise.reading(Key(1), 0, 0, range(2), 0, 1 << 15)
    plain = noise.reading(Key(1), 0, 0, range(2), 0, 1 << 15, fast=False)
    assert np.array_equal(whole, plain)


def test_the_table_is_a_normal_within_half_an_atom() -> None:
    table = noise.quantiles().astype(np.float64)
    assert len(table) == 1 << 16
    assert (np.diff(table) >= 0).all()
    assert np.mean(table**2) == pytest.approx(1, abs=1e-7)  # float32 holds each to 6e-8
    # entries are half a word of 2^-32 off the middle, at the ends over a density of 3.5e-5
    assert np.abs(table + table[::-1]).max() < 2.0**-32 / 3.4e-5
    # the distribution function at entry k is between k and k + 1 atoms, and so is Phi there:
    # the scaling to unit variance moves no entry by more than 2e-4 of itself
    phi = np.array([(1 + erf(z / sqrt(2))) / 2 for z in table])
    middle = (np.arange(1 << 16) + 0.5) / (1 << 16)
    assert np.abs(phi - middle).max() < 2.0**-16


def distance(sample: Array, mean: float, sd: float) -> float:
    """sqrt(n) D of Kolmogorov and Smirnov against N(mean, sd^2)."""
    ordered = np.sort(sample.ravel())
    n = len(ordered)
    phi = np.array([(1 + erf(z / sqrt(2))) / 2 for z in (ordered - mean) / sd])
    steps = np.arange(n + 1) / n
    return float(sqrt(n) * max((steps[1:] - phi).max(), (phi - steps[:-1]).max()))


def between(a: Array, b: Array) -> float:
    """sqrt(n m / (n + m)) D of two samples."""
    a, b = np.sort(a.ravel()), np.sort(b.ravel())
    both = np.concatenate((a, b))
    gap = np.abs(
        np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)
    ).max()
    return float(sqrt(len(a) * len(b) / (len(a) + len(b))) * gap)


def reads_of(name: str, t_s: float | None, read: float = 1.0) -> tuple[Array, Array, Array]:
    """Held cells, read noise [inputs, 3], and inputs of a small array of the device."""
    device = DEVICES[name].scaled(read=read)
    top = (device.drifted_usiemens or device.highest_usiemens or 25.0) * 1e-6
    low = (device.lowest_usiemens or 0.05 * top * 1e6) * 1e-6
    goal = np.linspace(low, top, INPUTS * 3).reshape(INPUTS, 3)
    found = state(device, goal, top, t_s, Key(2))
    assert found.read_sigma is not None
    x = np.round(np.linspace(0, 7, INPUTS)) / 7
    return found.held, found.read_sigma, x


def sampled(held: Array, sigma: Array, x: Array) -> Array:
    """READS sums of every column, each cell with its own normal in every read."""
    z = noise.of_cells(Key(9), noise.FLICKER, (READS, *held.shape))
    return np.asarray(np.einsum("i,rij->rj", x, held + sigma * z))


CASES = [
    ("pcm_like", 1.0, 1.0),
    ("pcm_like", 86400.0, 1.0),
    ("hermes_2", 3600.0, 1.0),
    ("sonos_40nm", 0.0, 1.0),
    ("reram_cmo_2pct", 10.0, 1.0),
    ("normal_proportional", None, 0.1),
    ("normal_independent", None, 0.05),
]


@pytest.mark.parametrize(("name", "t_s", "read"), CASES)
def test_read_noise_in_closed_form_is_that_of_every_cell_for_itself(
    name: str, t_s: float | None, read: float
) -> None:
    held, sigma, x = reads_of(name, t_s, read)
    sums = sampled(held, sigma, x)
    mean, sd = x @ held, np.sqrt((x * x) @ (sigma * sigma))
    drawn = noise.reading(Key(5), 0, 0, range(READS), 0, 3).astype(np.float64)
    closed = mean + sd * drawn
    for column in range(3):
        # sampling against the closed form's distribution, then against its drawn numbers
        assert distance(sums[:, column], mean[column], sd[column]) < CRITICAL
        assert distance(closed[:, column], mean[column], sd[column]) < CRITICAL
        assert between(sums[:, column], closed[:, column]) < CRITICAL


def test_a_closed_form_that_is_wrong_fails() -> None:
    held, sigma, x = reads_of("pcm_like", 86400.0)
    sums = sampled(held, sigma, x)[:, 0]
    mean, sd = (x @ held)[0], np.sqrt((x * x) @ (sigma * sigma))[0]
    assert distance(sums, mean, sd) < CRITICAL
    # a quarter off in the spread, the inputs not squared, a tenth of a spread off in the mean
    assert distance(sums, mean, 1.25 * sd) > CRITICAL
    assert distance(sums, mean, float(np.sqrt(x @ (sigma * sigma))[0])) > CRITICAL
    assert distance(sums, mean + 0.1 * sd, sd) > CRITICAL


def test_purposes_are_numbers_of_their_own() -> None:
    purposes = [
        value
        for name, value in vars(noise).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, int)
    ]
    assert len(purposes) == len(set(purposes)) >= 11
    key = Key(1, layer=2, tile=3)
    first = [noise.of_cells(key, purpose, (20,)) for purpose in purposes]
    for i, a in enumerate(first):
        for b in first[:i]:
            assert not np.any(a == b)


def machine_sums(mode: str, topology: str) -> Array:
    """Sums of every converter of one array in many reads of one input, [reads, conversions]."""
    changes = (
        "device.model=pcm_like",
        "device.g_min=0.1 uS",
        "device.g_max=25 uS",
        "device.time=3600 s",
        f"device.reads={mode}",
        f"array.topology={topology}",
        "adc.sign=signed",
        "wires.r_row=5 ohm",
        "wires.r_col=5 ohm",
    )
    spec = load_spec("isaac", AnalogSpec, changes).spec
    matrix = np.random.default_rng(1).integers(-127, 128, (24, 2)).astype(np.int16)
    tile = Tile(0, 24, 0, 2, (0,) * 4)
    layer = Product(
        "fc", "qnn.matmul", 0, 0, 1, 0, -128, matrix, np.zeros(2), None, 4, (tile,), 48
    )
    cells = programmed(layer, 0, spec, Key(4))
    driven = np.tile((np.arange(24) % 3 > 0).astype(np.float32), (READS, 1))
    block = Reads(Key(4), 0, 0, range(1), range(READS), READS, 0)
    return read(cells, columns(layer, tile, spec), spec, driven, 0, block)


@pytest.mark.parametrize("topology", ["input_source", "interleaved"])
def test_the_machine_reads_alike_in_closed_form_and_cell_by_cell(topology: str) -> None:
    closed, every = (machine_sums(mode, topology) for mode in ("closed_form", "sampled"))
    assert closed.shape == every.shape
    for column in range(closed.shape[1]):
        assert between(closed[:, column], every[:, column]) < CRITICAL
    # and a seventh of a spread beside it would be seen
    assert between(closed[:, 0], every[:, 0] + 0.15 * every[:, 0].std()) > CRITICAL
