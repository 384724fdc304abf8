"""How a product is cut into tiles: by the time model, within what the emitted kernels can do.

A kernel multiplies an m x n tile, k products at a time, by 4 or 8 warps, with the operands of
`stages` steps in shared memory. Of the tiles that the chip has room for, the quickest by the
formulas of `simulators.gpu.product_time` without a split of k, which the emitted kernels have
not. Those that are close to it are taken to be as quick, and that with the fewest instances is
chosen. The k of a tile does not depend on the chip, so neither does a float's rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from tetrapla.simulators.gpu.formats import FORMAT_OF_OPERAND
from tetrapla.simulators.gpu.kernels import Conv, Kernel, Product, Tile
from tetrapla.simulators.gpu.product_time import Candidates, Shapes, candidate_times
from tetrapla.simulators.gpu.spec import ELEMENT_BYTES, GpuSpec

# differences that the model, 6 to 10 % off on average, does not tell: of the time, and of the
# launch, behind which small products hide (assumed)
CLOSE, CLOSE_LAUNCHES = 1.02, 0.1
SIZES = (16, 32, 64, 128, 256)
# products at a time: 128 bytes of a row, a bank's width of shared memory; fp32 runs on the CUDA
# cores, where a large tile spills registers
DEPTHS = {"f32": 32, "tf32": 32, "f16": 64, "bf16": 64, "i8": 128, "f8E4M3FN": 128}
# the least k that the tensor core's instruction takes
LEAST_DEPTHS = {"f32": 16, "tf32": 16, "f16": 16, "bf16": 16, "i8": 32, "f8E4M3FN": 32}
LEAST = 16
# accumulators of a thread: registers are left to operands and addresses. With the instructions
# of Hopper and Blackwell operands stay in shared memory; compiled for sm_80, 128 take 242 to
# 252 of 255 registers, and an epilogue would spill. fp32 runs on the CUDA cores, and what a
# tensor core sums of 8-bit floats is summed twice; generated code behind a product needs more
ACCUMULATORS = {"sm_90": 128, "sm_100": 128}
ACCUMULATORS_ELSEWHERE = 64
ACCUMULATORS_OF = {"f32": 32, "f8E4M3FN": 64}
# elements of a convolution's patches that a thread loads, of each of which it has an address
GATHERED = 64
# a warp group's instruction takes 64 rows; below, Hopper runs Ampere's, which reach 62.9 % of
# the peak (W. Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture via
# Microbenchmarking", 2024)
GROUPED = ("sm_90", "sm_100")
ROWS_OF_A_GROUP, UNGROUPED = 64, 0.629
THREADS = 2048  # of a multiprocessor
MOST_STAGES = 4


def covering(m: int, n: int, k: int, operand: str) -> Tile:
    """The smallest tile that covers each extent, within the limits of any chip."""
    most = 64 if operand == "f32" else 128
    rows, columns = (min(most, max(LEAST, power_of_two(size))) for size in (m, n))
    return _tile(rows, columns, depth(k, operand), 3)


def tiled(kernel: Kernel, spec: GpuSpec) -> Kernel:
    """A product in the tiles of its chip; another kernel, or a format it lacks, as it is."""
    if not isinstance(kernel, Product):
        return kernel
    number_format = FORMAT_OF_OPERAND[kernel.operand]
    if number_format not in spec.formats:
        return kernel
    return replace(kernel, tile=chosen(kernel, spec))


def chosen(kernel: Product, spec: GpuSpec) -> Tile:
    """The tile of a product on a chip that has the format."""
    problem, operand = kernel.problem, kernel.operand
    tiles = fitting(kernel, spec)
    candidates = _candidates(tiles, operand, spec)
    number_format = FORMAT_OF_OPERAND[operand]
    times = candidate_times(_shapes(problem, operand), spec, number_format, candidates)[0]
    most_s = CLOSE * min(times) + CLOSE_LAUNCHES * spec.timing.product.launch_s
    close = [tile for tile, time_s in zip(tiles, times, strict=True) if time_s <= most_s]
    return min(close, key=lambda tile: (_instances(tile, problem), tile.m * tile.n, tile.m))


def fitting(kernel: Product, spec: GpuSpec) -> list[Tile]:
    """The tiles that the chip has room for and that are no larger than the problem needs."""
    _, m, n, k = kernel.problem
    most = [max(LEAST, power_of_two(size)) for size in (m, n)]
    found = [t for t in _tiles(k, kernel.operand, spec) if t.m <= most[0] and t.n <= most[1]]
    if isinstance(kernel, Conv):
        found = [t for t in found if t.m * t.k <= GATHERED * 32 * t.warps]
    if kernel.instructions:
        found = [t for t in found if t.m * t.n <= ACCUMULATORS_ELSEWHERE * 32 * t.warps]
    return found


def depth(k: int, operand: str) -> int:
    """Products at a time."""
    return min(DEPTHS[operand], max(LEAST_DEPTHS[operand], power_of_two(k)))


def stage_bytes(tile: Tile, operand: str) -> int:
    """Shared memory of the operands of one step of k."""
    return (tile.m + tile.n) * tile.k * ELEMENT_BYTES[FORMAT_OF_OPERAND[operand]]


def power_of_two(number: int) -> int:
    """The least power of two that is not below `number`."""
    return 1 << max(0, number - 1).bit_length()


def _instances(tile: Tile, problem: tuple[int, int, int, int]) -> int:
    count, m, n, _ = problem
    return count * -(-m // tile.m) * -(-n // tile.n)


def _tiles(whole: int, operand: str, spec: GpuSpec) -> Iterator[Tile]:
    """Every tile that a block of the chip has room for, with the most stages that serve."""
    k = depth(whole, operand)
    useful = max(2, min(MOST_STAGES, -(-whole // k)))
    most = ACCUMULATORS.get(spec.architecture, ACCUMULATORS_ELSEWHERE)
    most = min(most, ACCUMULATORS_OF.get(operand, most), (spec.block.thread_registers + 1) // 2)
    sizes = SIZES[:-1] if operand == "f32" else SIZES
    for m, n in product(sizes, sizes):
        stages = spec.block.shared_memory_bytes // stage_bytes(_tile(m, n, k, 1), operand)
        made = _tile(m, n, k, max(2, min(useful, stages)))
        if m * n <= most * 32 * made.warps and stages >= 2:
            yield made


def _tile(m: int, n: int, k: int, stages: int) -> Tile:
    """Eight warps from 128 x 64 accumulators on."""
    return Tile(m, n, k, 8 if m * n >= 128 * 64 else 4, stages)


def _shapes(problem: tuple[int, int, int, int], operand: str) -> Shapes:
    count, m, n, k = (np.array([size], np.float64) for size in problem)
    width = ELEMENT_BYTES[FORMAT_OF_OPERAND[operand]]
    return Shapes(count, m, n, k, width * count * (m * k + k * n), width * count * m * n, width)


def _candidates(tiles: list[Tile], operand: str, spec: GpuSpec) -> Candidates:
    """As the time model takes them; a multiprocessor holds what its memories have room for."""
    m, n = (np.array([[getattr(t, name) for t in tiles]], np.float64) for name in "mn")
    resident = np.array([[_resident(tile, operand, spec) for tile in tiles]], np.float64)
    grouped = spec.architecture in GROUPED and operand != "f32"
    slow = np.array([[grouped and tile.m < ROWS_OF_A_GROUP for tile in tiles]])
    share = np.where(slow, UNGROUPED, 1.0)
    return Candidates(m, n, np.ones_like(m), resident, share)


def _resident(tile: Tile, operand: str, spec: GpuSpec) -> int:
    """Instances on a multiprocessor at once, by its registers, threads and shared memory.

    Registers of a thread: its accumulators and, assumed, 64 for all else.
    """
    threads = 32 * tile.warps
    registers = threads * (tile.m * tile.n // threads + 64)
    shared = tile.stages * stage_bytes(tile, operand)
    return max(
        1,
        min(
            spec.block.registers // registers,
            THREADS // threads,
            spec.block.shared_memory_bytes // shared,
        ),
    )
