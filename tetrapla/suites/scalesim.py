"""SCALE-Sim 3.0.0's cycles, accesses, utilisations and stalls, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic.scalesim.closed_form import (
    DATAFLOWS,
    Dataflow,
    Layers,
    folded,
)
from tetrapla.simulators.systolic.scalesim.memory import Scratchpads, Windows, stall_cycles
from tetrapla.suites.tables_ import Cells, number, read, whole
from tetrapla.validation import Row

TABLE = Path("scalesim", "scalesim3_measured.csv")
USER = Path("scalesim", "scalesim3_user_mode.csv")
SOURCE = "SCALE-Sim 3.0.0 run with InterfaceBandwidth CALC; tetrapla/data/golden/README.md"
STALLS = "SCALE-Sim 3.0.0 run with InterfaceBandwidth USER; tetrapla/data/golden/README.md"
_PORT = 10  # words a cycle of the ifmap's and the filters' scratchpads in all of these runs
_SIZES = ("M", "N", "K", "array_rows", "array_cols")
# column, quantity and unit
_COUNTS = (
    ("reported_total_cycles", "cycles_reported", "cycles"),
    ("sram_ifmap_reads", "ifmap_reads", "words"),
    ("sram_filter_reads", "filter_reads", "words"),
    ("sram_ofmap_writes_reported", "ofmap_writes_reported", "words"),
)
_SHARES = (
    ("overall_util_pct", "utilization_pct"),
    ("mapping_eff_pct", "mapping_pct"),
    ("compute_util_pct", "compute_pct"),
)
_ROUNDING = 2.0**-53


def rows(golden: Path) -> Iterator[Row]:
    """Every quantity of every layer of the tables; that of stalls may be left out.

    Raises:
        ModelError: the table is missing or broken.
    """
    for where, row in read(golden / TABLE):
        yield from _of_layer(row, where)
    if (golden / USER).is_file():
        for where, row in read(golden / USER):
            yield from _of_stalls(row, where)


def _of_layer(row: Cells, where: str) -> Iterator[Row]:
    m, n, k, down, across = (whole(row, name, where) for name in _SIZES)
    flow = _dataflow(row, where)
    layers = Layers(*(np.array([size], np.int64) for size in (m, n, k)))
    ours = folded(layers, down, across, flow)
    case = f"{row.get('topology')} {row.get('layer')} {flow} {down}x{across}"
    for column, quantity, unit in _COUNTS:
        found, known = int(getattr(ours, quantity)[0]), number(row, column, where)
        yield Row("scalesim", case, quantity, unit, known, found, 0.0, SOURCE)
    # SCALE-Sim adds the shares of the folds up, of which there are fewer than cycles
    bound = (int(ours.cycles[0]) + 8) * _ROUNDING
    for column, quantity in _SHARES:
        share, known = float(getattr(ours, quantity)[0]), number(row, column, where)
        yield Row("scalesim", case, quantity, "%", known, share, bound, SOURCE)


def _of_stalls(row: Cells, where: str) -> Iterator[Row]:
    down, across = (whole(row, name, where) for name in ("array_rows", "array_cols"))
    sizes = _listed(row, "dims", where, 7)
    words = [1024 * kib for kib in _listed(row, "sram_kb", where, 3)]
    port = whole(row, "bandwidth_words_per_cycle", where)
    flow, windows = _dataflow(row, where), Windows(*sizes)
    pads = Scratchpads(words[0], words[1], words[2], _PORT, _PORT, port)
    ours = stall_cycles(windows, down, across, flow, pads)
    reported = int(folded(Layers(*windows.sizes()), down, across, flow).cycles_reported[0])
    total = None if ours is None else reported + ours
    case = f"{row.get('topology')} {row.get('layer')} {flow} {down}x{across} at {port}"
    for column, found in (("stall_cycles", ours), ("reported_total_cycles", total)):
        known = number(row, column, where)
        name = "stall_cycles" if column == "stall_cycles" else "cycles_with_stalls"
        yield Row("scalesim", case, name, "cycles", known, found, 0.0, STALLS)


def _listed(row: Cells, name: str, where: str, count: int) -> list[int]:
    """Whole numbers of one column, of the form of a topology's row or a list of sizes."""
    parts = (row.get(name) or "").replace("/", "x").split("x")
    if len(parts) != count:
        raise ModelError(
            f"{where}: {name} must be {count} whole numbers, not {row.get(name)!r}"
        )
    return [whole({name: part}, name, where) for part in parts]


def _dataflow(row: Cells, where: str) -> Dataflow:
    given = row.get("dataflow")
    for known in DATAFLOWS:
        if known == given:
            return known
    there = ", ".join(DATAFLOWS)
    raise ModelError(f"{where}: dataflow must be one of {there}, not {given!r}")
