"""SCALE-Sim 3.0's cycles: our closed form beside SCALE-Sim itself, on the same files.

``python benchmarks/bench_scalesim.py [--peer PYTHON] [--long]``

PYTHON is an interpreter that has ``scalesim==3.0.0`` and ``numpy<2.4`` (its NumPy is older than
ours, so it runs apart; TETRAPLA_SCALESIM_PYTHON names it, too). Every layer's cycles are
compared before any time counts. Ours is timed three ways: the closed form on arrays of layers,
a call of `tetrapla.simulate` that reads both files, and the command line as a process of its
own; the peer as its Python API without traces, and its process. Times are CPU seconds, medians
of `ROUNDS`; ``--long`` takes all 54 layers of ResNet-50 once instead, minutes of the
peer's.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np

import tetrapla
from tetrapla.simulators.systolic.scalesim.closed_form import (
    DATAFLOWS,
    Counts,
    Dataflow,
    Layers,
    cycles,
    totals,
)
from tetrapla.suites.scalesim import TABLE
from tetrapla.validation import GOLDEN

ROUNDS = 5
FOLDER = Path(__file__).resolve().parent
SMALL = ((28, 28, 3, 3, 16, 32, 1), (14, 14, 1, 1, 64, 64, 1), (14, 14, 3, 3, 32, 32, 1))
CONFIG = """[general]
run_name = bench
[architecture_presets]
ArrayHeight: {0}
ArrayWidth: {0}
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: {1}
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def main() -> None:
    """Time the closed form, and the peer where there is one."""
    options = argparse.ArgumentParser()
    options.add_argument("--peer", default=os.environ.get("TETRAPLA_SCALESIM_PYTHON"))
    options.add_argument("--long", action="store_true")
    chosen = options.parse_args()
    resnet50 = _resnet50()
    _closed_form(resnet50)
    if chosen.peer is None:
        print("peer_installed 0")
        return
    if chosen.long:
        _side_by_side(chosen.peer, "resnet50_128x128_os", resnet50, 128, "os", 1)
        return
    for side in (8, 32, 128):
        _side_by_side(chosen.peer, f"small_{side}x{side}_ws", SMALL, side, "ws", ROUNDS)


def _resnet50() -> tuple[tuple[int, ...], ...]:
    """The golden table's layers as rows of a topology."""
    with (GOLDEN / TABLE).open(encoding="utf-8") as file:
        rows = [
            row["dims"].split("x")
            for row in csv.DictReader(file)
            if (row["topology"], row["dataflow"], row["array_rows"])
            == ("Resnet50.csv", "os", "128")
        ]
    return tuple(tuple(map(int, row)) for row in rows)


def _closed_form(sizes: tuple[tuple[int, ...], ...]) -> None:
    """One design at a time, and many at once."""
    layers = Layers.of_convolutions(np.array(sizes, np.int64))
    designs: list[tuple[int, Dataflow]] = [
        (8 * (1 + i % 32), DATAFLOWS[i % len(DATAFLOWS)]) for i in range(3000)
    ]
    start = process_time()
    for side, dataflow in designs:
        cycles(layers, side, side, dataflow).sum()
    print(f"resnet50_design_us {1e6 * (process_time() - start) / len(designs):.2f}")
    sides = np.arange(1, 257)
    grid = np.repeat(sides, 256), np.tile(sides, 256)
    apart = np.random.default_rng(0).integers(1, 2**20, (2, 2**16))
    for name, (rows, cols) in (("grid", grid), ("apart", (apart[0], apart[1]))):
        taken_s = median(_timed(partial(_all, layers, rows, cols)) for _ in range(ROUNDS))
        print(f"resnet50_{name}_points_per_s {3 * rows.size / taken_s:.3g}")


def _all(layers: Layers, rows: Counts, cols: Counts) -> None:
    for dataflow in DATAFLOWS:
        totals(layers, rows, cols, dataflow)


def _side_by_side(
    peer: str,
    name: str,
    sizes: tuple[tuple[int, ...], ...],
    side: int,
    dataflow: Dataflow,
    rounds: int,
) -> None:
    """One topology on one array through both tools; equal cycles first, then the times."""
    with TemporaryDirectory() as folder:
        topology, config = Path(folder, "t.csv"), Path(folder, "c.cfg")
        lines = ["Layer, H, W, R, S, C, N, stride,", *map(_line, enumerate(sizes))]
        topology.write_text("\n".join([*lines, ""]), "utf-8")
        config.write_text(CONFIG.format(side, dataflow), "utf-8")
        words = [peer, str(FOLDER / "scalesim_peer.py"), str(topology), str(config), "conv"]
        runs = [_process(words) for _ in range(rounds)]
        rows = [json.loads(line) for line in runs[0][1].splitlines()]
        simulate = partial(tetrapla.simulate, str(topology), str(config), compat="scalesim")
        said, found = [row["cycles"] for row in rows], [row.cycles for row in simulate().layers]
        if said != found:
            raise SystemExit(f"{name}: the cycles differ: {said} and {found}")
        api_s = median(
            sum(json.loads(line)["cpu_s"] for line in text.splitlines()) for _, text in runs
        )
        call = [str(topology), "--target", str(config), "--compat", "scalesim"]
        command = [sys.executable, "-m", "tetrapla", "simulate", *call]
        layers = Layers.of_convolutions(np.array(sizes, np.int64))
        closed = partial(cycles, layers, side, side, dataflow)
        print(f"{name}_layers_equal_count {len(rows)}")
        print(f"{name}_reported_cycles {int(sum(said))}")
        print(f"{name}_scalesim_api_s {api_s:.3f}")
        for way, work, times in (("closed_form", closed, 100), ("simulate", simulate, ROUNDS)):
            taken_s = median(_timed(work) for _ in range(times))
            print(f"{name}_{way}_us {1e6 * taken_s:.1f}")
            print(f"{name}_scalesim_over_{way}_ratio {api_s / taken_s:.3g}")
        peer_s = median(taken for taken, _ in runs)
        process_s = median(_process(command)[0] for _ in range(ROUNDS))
    print(f"{name}_scalesim_process_s {peer_s:.2f}")
    print(f"{name}_tetrapla_process_s {process_s:.2f}")
    print(f"{name}_process_ratio {peer_s / process_s:.3g}")


def _line(row: tuple[int, tuple[int, ...]]) -> str:
    number, sizes = row
    return f"layer{number}, {', '.join(map(str, sizes))},"


def _timed(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return max(process_time() - start, 1e-9)


def _process(words: list[str]) -> tuple[float, str]:
    """CPU seconds of a process, its start included, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, done.stdout


if __name__ == "__main__":
    main()
