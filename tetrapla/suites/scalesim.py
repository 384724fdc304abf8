"""SCALE-Sim 3.0.0's cycles, accesses and utilisations, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic.scalesim import DATAFLOWS, Dataflow, Layers, folded
from tetrapla.suites.tables_ import Cells, number, read, whole
from tetrapla.validation import Row

TABLE = Path("scalesim", "scalesim3_measured.csv")
SOURCE = "SCALE-Sim 3.0.0 run with InterfaceBandwidth CALC; tetrapla/data/golden/README.md"
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
    """Every quantity of every layer of the table.

    Raises:
        ModelError: the table is missing or broken.
    """
    for where, row in read(golden / TABLE):
        yield from _of_layer(row, where)


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


def _dataflow(row: Cells, where: str) -> Dataflow:
    given = row.get("dataflow")
    for known in DATAFLOWS:
        if known == given:
            return known
    there = ", ".join(DATAFLOWS)
    raise ModelError(f"{where}: dataflow must be one of {there}, not {given!r}")
