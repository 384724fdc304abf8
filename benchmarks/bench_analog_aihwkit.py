"""Products with PCM read noise and IR drop at 512x512, beside aihwkit's C++ tile.

``python benchmarks/bench_analog_aihwkit.py [--peer PYTHON] [SIZE]``

A crossbar of PCM in pairs of 7-bit cells, 8-bit inputs at once, one signed 8-bit code a pair;
programmed with error, with read noise of every device in closed form, and wires of aihwkit's
default resistance (0.35 ohm a cell for devices of 5 uS), exact: the array's effective matrix.
`--peer` (or TETRAPLA_AIHWKIT_PYTHON) is an interpreter with aihwkit, whose tile takes read
noise at the output too, and IR drop by its formula for columns. Both get the same weights and
1024 inputs and have one core. CPU seconds of a process, the best of several. `first_batch` is
of 1024 products with the programming and the effective matrix before them, `cached` of later
ones. Budget: `cached` 5 times aihwkit's. `error` is that of the products, noise and all.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from unittest.mock import Mock, patch

import numpy as np
from bench_analog_noise import VECTORS, best_s, layer

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import cells, crossbar
from tetrapla.simulators.analog.program import Product
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

SIZE = 512
PEER = Path(__file__).resolve().parent / "aihwkit_peer.py"
G_MAX_US = 25.0
# 0.35 ohm for devices of 5 uS: the same share of a device's resistance
WIRE_OHM = 0.35 * 5 / G_MAX_US


def chip(size: int) -> AnalogSpec:
    """PCM in pairs, wires, one signed converter a pair."""
    changes = (
        f"array.rows={size}",
        f"array.cols={2 * size}",
        "array.cell=7 bit",
        "dac.bits=8 bit",
        "adc.bits=8 bit",
        "adc.sign=signed",
        "array.topology=interleaved",
        "device.model=pcm_like",
        "device.g_min=0 uS",
        f"device.g_max={G_MAX_US} uS",
        "device.read_noise=0.0175",
        f"wires.r_row={WIRE_OHM} ohm",
        f"wires.r_col={WIRE_OHM} ohm",
    )
    return load_spec("isaac", AnalogSpec, changes).spec


def error(found: Array, wanted: Array) -> float:
    """Of products, in the 2-norm, with the scale that fits best taken out."""
    scale = float((found * wanted).sum() / (found * found).sum())
    return float(np.linalg.norm(found * scale - wanted) / np.linalg.norm(wanted))


def ours(product: Product, size: int, rows: Array) -> tuple[float, float, float]:
    """Products a second of a first batch and of later ones; and their error."""
    spec, key = chip(size), Key(1)
    start = process_time()
    held = cells.programmed(product, 0, spec, key)
    with patch.object(cells, "programmed", Mock(return_value=held)):
        found = crossbar.sliced(product, spec, rows, key)
        first_s = process_time() - start
        later_s = best_s(lambda: crossbar.sliced(product, spec, rows, key))
    wanted = rows[0].astype(np.int64) @ product.matrix.astype(np.int64)
    return VECTORS / first_s, VECTORS / later_s, error(found[0], wanted)


def peer(python: str, weights: Array, inputs: Array) -> tuple[str, float, float]:
    """aihwkit's version, products a second with its best batch, and their error."""
    with TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{name}.npy") for name in ("weights", "inputs", "outputs")]
        np.save(paths[0], weights)
        np.save(paths[1], inputs)
        done = subprocess.run(
            [python, str(PEER), *paths], check=True, capture_output=True, text=True
        )
        outputs = np.load(paths[2])
    told = json.loads(done.stdout.splitlines()[-1])
    for batch, rate in told["mvm_s"].items():
        print(f"aihwkit_batch_{batch}_mvm_per_s {rate:.4g}")
    wanted = inputs.astype(np.float64) @ weights
    return told["version"], max(told["mvm_s"].values()), error(outputs, wanted)


def main() -> None:
    """Print both, and their ratio."""
    options = argparse.ArgumentParser()
    options.add_argument("--peer", default=os.environ.get("TETRAPLA_AIHWKIT_PYTHON"))
    options.add_argument("size", nargs="?", type=int, default=SIZE)
    chosen = options.parse_args()
    size: int = chosen.size
    rng = np.random.default_rng(size)
    product = layer(size, rng)
    rows = rng.integers(0, 256, (1, VECTORS, size)).astype(np.uint8)
    first, later, off = ours(product, size, rows)
    print(f"crossbar_{size}_pcm_wires_first_batch_mvm_per_s {first:.4g}")
    print(f"crossbar_{size}_pcm_wires_cached_mvm_per_s {later:.4g}")
    print(f"crossbar_{size}_pcm_wires_error_frac {off:.4f}")
    if chosen.peer is None:
        print("peer_installed 0")
        return
    weights = (product.matrix / 127).astype(np.float32)
    version, other, off = peer(chosen.peer, weights, (rows[0] / 255).astype(np.float32))
    print(f"aihwkit_version {version}")
    print(f"aihwkit_{size}_error_frac {off:.4f}")
    print(f"ratio_cached_x {later / other:.1f}")
    print(f"ratio_first_batch_x {first / other:.3f}")
    # products after which both have taken as long
    print(f"break_even_mvm {VECTORS * (1 / first - 1 / later) / (1 / other - 1 / later):.0f}")


if __name__ == "__main__":
    main()
