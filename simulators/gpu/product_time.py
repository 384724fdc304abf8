"""How long matrix products take, many at once: a soft roofline, or tiles, waves and split-K.

Level 1, three constants (`Product`), for a chip nobody has fitted::

    t = t0 + pnorm4(F / (ec peak), B / (eb BW))

with F = 2 m n k operations and B the bytes of operands and result, each moved once. Level 2
adds four constants (`Tiles`) and takes the quickest of 12 tiles and 8 ways to split k::

    kc   = k / split, in steps of 32
    n    = ceil(m / tm) ceil(n / tn) split                  tiles, o of them on an SM at once
    tk   = pnorm4(2 tm tn kc / (ec fpc f), (tm + tn) e kc / (feed f))
    full = n div (S o), rest = n mod (S o)                  waves over S multiprocessors
    tc   = (full o + ceil(rest / S)) tk + (full + [rest > 0]) prologue
    td   = bytes / (eb BW) (1 + knee / B)
    t    = t0 + pnorm4(tc, td) + [split > 1] (reduction + 8 m n split / (feed f S))

`bytes` is B where the operands fit 80 % of the L2 cache, else at least what a wave of tiles
reads. e is the bytes of an operand's element, f the clock, fpc the operations per clock and
multiprocessor. The model and its norm: fitted to a tuned library's fp16 kernels, see
docs/gpu.md; other formats are assumed to scale with their peak and their bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tetrapla.simulators.gpu.spec import GpuSpec, Tiles

Floats: TypeAlias = NDArray[np.float64]

TILES = (
    *((256, 128), (128, 256), (128, 128), (256, 64), (64, 256), (128, 64)),
    *((64, 128), (64, 64), (32, 128), (128, 32), (32, 64), (64, 32)),
)
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
_AT_ONCE = 512  # products
_STEP = 32  # of k
_SHORTEST = 64  # of a split's k
_L2_SHARE = 0.8  # of the L2 cache that operands find room in
# of a chip that nobody fitted tiles to: the A100's, assumed
UNFITTED = Tiles.model_construct(
    feed_byte_per_clock=39.6, prologue_s=0.63e-6, reduction_s=2.3e-6, knee_bytes=1_900_000
)


@dataclass(frozen=True)
class Candidates:
    """Ways to cut a product up; arrays of shape (1, candidates).

    Attributes:
        m, n: of a tile.
        split: parts of k.
        resident: tiles that a multiprocessor holds at once.
        share: of the chip's rate that a tile's instructions reach.
    """

    m: Floats
    n: Floats
    split: Floats
    resident: Floats
    share: Floats


def _library() -> Candidates:
    m, n, split = np.array(
        [(*tile, split) for tile in TILES for split in SPLITS], np.float64
    ).T[:, None]
    area = m * n
    resident = np.where(area >= 16384, 1.0, np.where(area >= 8192, 2.0, 3.0))
    return Candidates(m, n, split, resident, np.ones_like(m))


_LIBRARY = _library()


@dataclass(frozen=True)
class Shapes:
    """Products to be timed; arrays of shape (products,).

    Attributes:
        count: independent products of one size in a launch.
        m, n, k: of each.
        operand_bytes: of both operands of all of them, read once.
        result_bytes: of all results, written once, and of what an epilogue reads.
        element_bytes: of an operand's element.
    """

    count: Floats
    m: Floats
    n: Floats
    k: Floats
    operand_bytes: Floats
    result_bytes: Floats
    element_bytes: int

    @property
    def operations(self) -> Floats:
        """A multiply-add is two."""
        return 2 * self.count * self.m * self.n * self.k

    @property
    def moved_bytes(self) -> Floats:
        """Every tensor once."""
        return self.operand_bytes + self.result_bytes

    def parts(self) -> Iterator[Shapes]:
        """The same products, so many at once that their candidates stay in a CPU's cache."""
        for start in range(0, max(1, len(self.m)), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            yield Shapes(
                self.count[some], self.m[some], self.n[some], self.k[some],
                self.operand_bytes[some], self.result_bytes[some], self.element_bytes,
            )  # fmt: skip


def dense(m: Floats, n: Floats, k: Floats, element_bytes: int) -> Shapes:
    """Plain products whose result has the operands' type; arrays of shape (products,)."""
    m, n, k = (np.asarray(size, np.float64) for size in (m, n, k))
    operand_bytes = element_bytes * (m * k + k * n)
    return Shapes(np.ones_like(m), m, n, k, operand_bytes, element_bytes * m * n, element_bytes)


@dataclass(frozen=True)
class ProductTimes:
    """Seconds by part, arrays of shape (products,).

    Attributes:
        launch_s: t0.
        compute_s: the arithmetic alone, at the fitted efficiency.
        tile_s: what padding to whole tiles adds to it.
        feed_s: what the tiles need from the L2 cache, where that is more than their arithmetic,
            else 0.
        wave_s: what whole waves and their prologues add.
        array_s: all that the multiprocessors take; beside it the memory works.
        dram_s: the memory.
        reduction_s: adding the parts of a split k.
        dram_bytes: read and written, what a wave of tiles reads again included.
        l2_bytes: what the multiprocessors read from the L2 cache and write to it.
    """

    launch_s: Floats
    compute_s: Floats
    tile_s: Floats
    feed_s: Floats
    wave_s: Floats
    array_s: Floats
    dram_s: Floats
    reduction_s: Floats
    dram_bytes: Floats
    l2_bytes: Floats

    @property
    def time_s(self) -> Floats:
        """Of each product, from launch to end."""
        busy: Floats = pnorm4(self.array_s, self.dram_s) + self.reduction_s
        return self.launch_s + busy

    def arrays(self) -> tuple[Floats, ...]:
        """Every part, in the order in which they are declared."""
        return tuple(getattr(self, each.name) for each in fields(self))

    def bound_by(self, launch_s: Floats) -> list[str]:
        """The name of what takes most of each product's time.

        The multiprocessors' part is named by what makes it long, where they take longer than
        both the launch and the memory.

        Args:
            launch_s: of each, with what the measurement context adds.
        """
        outer = {
            "launch": launch_s,
            "dram": self.dram_s,
            "split-k sum": self.reduction_s,
            "array": self.array_s,
        }
        inner = {
            "compute": self.compute_s,
            "tile quantisation": self.tile_s,
            "wave quantisation": self.wave_s,
            "l2": self.feed_s,
        }
        return [
            _largest(inner, i) if _largest(outer, i) == "array" else _largest(outer, i)
            for i in range(len(launch_s))
        ]


def product_times(shapes: Shapes, spec: GpuSpec, number_format: str) -> ProductTimes:
    """The parts of every product's time.

    Raises:
        UnsupportedError: the chip has no such format.
    """
    tiles = spec.timing.product.tiles
    if tiles is None:
        return _level_1(shapes, spec, number_format)
    found = [_level_2(part, spec, tiles, number_format) for part in shapes.parts()]
    columns = zip(*(one.arrays() for one in found), strict=True)
    return ProductTimes(*(np.concatenate(column) for column in columns))


def candidate_times(
    shapes: Shapes, spec: GpuSpec, number_format: str, candidates: Candidates
) -> Floats:
    """Seconds of every product under every candidate, (products, candidates), by level 2.

    A chip of level 1 has the constants of `UNFITTED`.

    Raises:
        UnsupportedError: the chip has no such format.
    """
    tiles = spec.timing.product.tiles or UNFITTED
    grid = _grid(_Columns(shapes), spec, tiles, number_format, candidates)
    return spec.timing.product.launch_s + grid.time_s


def pnorm4(a: Floats, b: Floats) -> Floats:
    """``(a^4 + b^4)^(1/4)``, a soft maximum."""
    large, small = np.maximum(a, b), np.minimum(a, b)
    # scaled, because the fourth power of a small time underflows
    share = np.divide(small, large, out=np.zeros_like(large), where=large > 0)
    found: Floats = large * (1 + share**4) ** 0.25
    return found


def _level_1(shapes: Shapes, spec: GpuSpec, number_format: str) -> ProductTimes:
    product = spec.timing.product
    peak = product.compute_efficiency_frac * spec.peak_op_per_s(number_format)
    rate = product.dram_efficiency_frac * spec.dram.bandwidth_bytes_per_s
    compute_s, dram_s = shapes.operations / peak, shapes.moved_bytes / rate
    none = np.zeros_like(compute_s)
    launch_s = np.full_like(compute_s, product.launch_s)
    return ProductTimes(
        launch_s, compute_s, none, none, none, compute_s, dram_s, none,
        shapes.moved_bytes, shapes.moved_bytes,
    )  # fmt: skip


def _level_2(shapes: Shapes, spec: GpuSpec, tiles: Tiles, number_format: str) -> ProductTimes:
    product = spec.timing.product
    grid = _grid(_Columns(shapes), spec, tiles, number_format, _LIBRARY)
    best = np.argmin(grid.time_s, axis=1)[:, None]

    def chosen(candidates: Floats) -> Floats:
        found: Floats = np.take_along_axis(candidates, best, axis=1)[:, 0]
        return found

    peak = product.compute_efficiency_frac * spec.peak_op_per_s(number_format)
    compute_s = shapes.operations / peak
    padded_s, fed_s = chosen(grid.padded_s), chosen(grid.fed_s)
    return ProductTimes(
        np.full_like(compute_s, product.launch_s),
        compute_s,
        padded_s - compute_s,
        np.where(fed_s > padded_s, fed_s, 0.0),
        chosen(grid.array_s - grid.even_s),
        chosen(grid.array_s),
        chosen(grid.dram_s),
        chosen(grid.reduction_s),
        chosen(grid.dram_bytes),
        chosen(grid.l2_bytes),
    )


@dataclass(frozen=True)
class _Grid:
    """Every candidate of every product: arrays of shape (products, candidates).

    `padded_s`, `fed_s` and `even_s` are arithmetic, feed and both of all tiles, spread evenly
    over the multiprocessors.
    """

    time_s: Floats
    padded_s: Floats
    fed_s: Floats
    even_s: Floats
    array_s: Floats
    dram_s: Floats
    reduction_s: Floats
    dram_bytes: Floats
    l2_bytes: Floats


def _grid(
    one: _Columns, spec: GpuSpec, tiles: Tiles, number_format: str, candidates: Candidates
) -> _Grid:
    """The formulas of the module's head, without the launch."""
    clock_hz, sms = spec.clock_hz, spec.streaming_multiprocessors
    efficiency = spec.timing.product.compute_efficiency_frac
    rate = efficiency * spec.per_clock(number_format) * clock_hz
    feed = tiles.feed_byte_per_clock * clock_hz
    tm, tn, split, resident = candidates.m, candidates.n, candidates.split, candidates.resident
    kc = np.ceil(one.k / split / _STEP) * _STEP
    count = np.ceil(one.m / tm) * np.ceil(one.n / tn) * split * one.count
    staged = (tm + tn) * one.element_bytes * kc
    arithmetic_s, feed_s = 2 * tm * tn * kc / (rate * candidates.share), staged / feed
    tile_s = pnorm4(arithmetic_s, feed_s)
    full = np.floor(count / (sms * resident))
    rest = count - full * sms * resident
    array_s = (full * resident + np.ceil(rest / sms)) * tile_s
    array_s = array_s + (full + (rest > 0)) * tiles.prologue_s
    dram_bytes = _dram_bytes(one, spec, count, staged, resident)
    reached = spec.timing.product.dram_efficiency_frac * spec.dram.bandwidth_bytes_per_s
    dram_s = dram_bytes / reached * (1 + tiles.knee_bytes / one.moved)
    # float32, written and read
    parts = np.where(split > 1, 8 * one.count * one.m * one.n * split, 0.0)
    reduction_s = np.where(split > 1, tiles.reduction_s + parts / (feed * sms), 0.0)
    time_s = pnorm4(array_s, dram_s) + reduction_s
    time_s = np.where((split > 1) & (kc < _SHORTEST), np.inf, time_s)
    even = count / sms
    return _Grid(
        time_s, even * arithmetic_s, even * feed_s, even * tile_s, array_s, dram_s,
        reduction_s, dram_bytes, count * staged + one.result + parts,
    )  # fmt: skip


def _dram_bytes(
    one: _Columns, spec: GpuSpec, count: Floats, staged: Floats, resident: Floats
) -> Floats:
    """What the memory moves: every tensor once, or what the waves of tiles read."""
    places = spec.streaming_multiprocessors * resident
    waves = np.maximum(count / places, 1) * np.sqrt(np.minimum(places, count))
    again = np.maximum(one.moved, waves * staged + one.result)
    fits = one.operand <= _L2_SHARE * spec.l2.capacity_bytes
    found: Floats = np.where(fits, one.moved, again)
    return found


def _largest(parts: dict[str, Floats], index: int) -> str:
    return max(parts, key=lambda name: float(parts[name][index]))


class _Columns:
    """The shapes as columns, to be laid against the candidates' row."""

    def __init__(self, shapes: Shapes) -> None:
        self.count, self.m, self.n, self.k = (
            size[:, None] for size in (shapes.count, shapes.m, shapes.n, shapes.k)
        )
        self.operand = shapes.operand_bytes[:, None]
        self.result = shapes.result_bytes[:, None]
        self.moved = shapes.moved_bytes[:, None]
        self.element_bytes = shapes.element_bytes
