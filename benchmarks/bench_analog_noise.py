"""Normals per second, and products of a matrix and a vector with read noise on one core.

``python benchmarks/bench_analog_noise.py``

A crossbar of 8-bit cells in pairs, 8-bit inputs at once, one signed 8-bit code a pair: 128x128
and 1024x1024 weights, 1024 vectors, programmed before the clock starts as a peer's are.
`crossbar` is the machine's own read path, with its noise in closed form: `plain` in NumPy,
otherwise with the extra `fast`; `missed` with cells that programming left between levels, whose
sums take float64. CrossSim 3.2 runs beside it where it can be imported, with the
same bits and the same magnitude, noise of every cell for every vector. CPU seconds, the best of
`ROUNDS` or more.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from time import process_time
from typing import Any
from unittest.mock import Mock, patch

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import cells, crossbar, noise
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

ROUNDS = 5
VECTORS = 1024
SIZES = (128, 1024)
READ_NOISE = 0.01
NORMALS = 1 << 22
_ADC_BITS = 8
_LEAST_S = 0.5
# CrossSim's MVM/s, an AVX-512 server core, and how many times as many are wanted
WANTED = {128: 3.4e5, 1024: 7.5e3}


def best_s(work: Callable[[], object]) -> float:
    """CPU seconds, the least of some rounds and of half a second's."""
    work()
    spent: list[float] = []
    while len(spent) < ROUNDS or sum(spent) < _LEAST_S:
        begin = process_time()
        work()
        spent.append(process_time() - begin)
    return min(spent)


def layer(size: int, rng: np.random.Generator) -> Product:
    """A square matrix on one tile, its codes fitted to a few standard deviations of sums."""
    weights = rng.integers(-127, 128, (size, size)).astype(np.int16)
    # a sum of n products of inputs up to 255 and weights up to 127, over 2^7 codes to a side
    reach = 4 * np.sqrt(size * (127**2 / 3) * (255**2 / 3))
    shift = max(0, int(np.ceil(np.log2(reach / (1 << _ADC_BITS - 1)))))
    return Product(
        name="fc",
        op="qnn.matmul",
        number=0,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=-128,
        matrix=weights,
        bias=np.zeros(size, np.int64),
        window=None,
        slices=1,
        tiles=(Tile(0, size, 0, size, (shift,)),),
        macs=size * size,
    )


def chip(size: int, *, exact: bool = True) -> AnalogSpec:
    """ISAAC with pairs of 8-bit cells, 8-bit inputs and one signed converter a pair."""
    changes = (
        f"array.rows={size}",
        f"array.cols={2 * size}",
        "array.cell=8 bit",
        "dac.bits=8 bit",
        f"adc.bits={_ADC_BITS} bit",
        "adc.sign=signed",
        "device.model=" + ("exact" if exact else "pcm_like"),
        "device.g_min=0 uS",
        "device.g_max=25 uS",
        f"device.read_noise={READ_NOISE}",
    )
    return load_spec("isaac", AnalogSpec, changes).spec


def ours(size: int, *, compiled: bool, exact: bool = True) -> float:
    """Products a second of the machine's read path."""
    rng = np.random.default_rng(size)
    product, spec, key = layer(size, rng), chip(size, exact=exact), Key(1)
    rows = rng.integers(0, 256, (1, VECTORS, size)).astype(np.uint8)
    held = cells.programmed(product, 0, spec, key)
    # cells are programmed once for all reads of a state, as the peer's matrix is set once
    with (
        patch.object(cells, "programmed", Mock(return_value=held)),
        patch.object(noise, "compiles", Mock(return_value=compiled)),
    ):
        return VECTORS / best_s(lambda: crossbar.sliced(product, spec, rows, key))


def normals(*, compiled: bool) -> float:
    """Normals a second, float32."""
    return NORMALS / best_s(
        lambda: noise.reading(Key(1), 0, 0, range(1), 0, NORMALS, fast=compiled)
    )


def products(size: int) -> float:
    """Products a second of a float32 matrix alone, for comparison."""
    rng = np.random.default_rng(size)
    a = rng.random((VECTORS, size), np.float32)
    b = rng.random((size, size), np.float32)
    return VECTORS / best_s(lambda: a @ b)


def peer(size: int) -> float:
    """CrossSim: the same bits, proportional noise of every device in every product."""
    simulator: Any = import_module("simulator")
    settings: Any = simulator.CrossSimParameters()
    settings.core.style = "BALANCED"
    settings.core.rows_max = settings.core.cols_max = size
    settings.xbar.device.read_noise.enable = True
    settings.xbar.device.read_noise.model = "NormalProportionalDevice"
    settings.xbar.device.read_noise.magnitude = READ_NOISE
    for side in (settings.xbar.adc.mvm, settings.xbar.dac.mvm):
        side.bits = _ADC_BITS
    settings.xbar.adc.mvm.model = "QuantizerADC"
    settings.xbar.adc.mvm.adc_range_option = "MAX"
    settings.xbar.dac.mvm.model = "QuantizerDAC"
    rng = np.random.default_rng(size)
    core: Any = simulator.AnalogCore(
        rng.normal(0, 0.3, (size, size)).clip(-1, 1), params=settings, empty_matrix=False
    )
    # it holds a copy of the matrix for every vector: a few at a time, as memory allows
    vectors: Array = rng.random((size, max(1, min(VECTORS, (1 << 25) // size**2))))
    return float(vectors.shape[1] / best_s(lambda: core @ vectors))


def main() -> None:
    """Print every figure."""
    fast = find_spec("numba") is not None
    if not fast:
        print("# numba is not installed: pip install 'tetrapla[fast]'")
    print(f"normals_plain_per_s {normals(compiled=False):.3g}")
    if fast:
        print(f"normals_per_s {normals(compiled=True):.3g}")
    for size in SIZES:
        print(f"gemm_{size}_mvm_per_s {products(size):.4g}")
        print(f"crossbar_{size}_plain_mvm_per_s {ours(size, compiled=False):.4g}")
        found = ours(size, compiled=True) if fast else 0.0
        if fast:
            print(f"crossbar_{size}_mvm_per_s {found:.4g}")
            print(f"crossbar_{size}_over_wanted_x {found / WANTED[size]:.2f}")
            missed = ours(size, compiled=True, exact=False)
            print(f"crossbar_{size}_missed_mvm_per_s {missed:.4g}")
        if find_spec("simulator") is not None:
            other = peer(size)
            print(f"crosssim_{size}_mvm_per_s {other:.4g}")
            print(f"crossbar_{size}_over_crosssim_x {found / other:.0f}")


if __name__ == "__main__":
    main()
