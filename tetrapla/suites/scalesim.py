"""SCALE-Sim 3.0.0's cycles, accesses, utilisations, stalls and bandwidths, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic.scalesim.closed_form import (
    DATAFLOWS,
    Dataflow,
    Folded,
    Layers,
    folded,
)
from tetrapla.simulators.systolic.scalesim.demand import Windows
from tetrapla.simulators.systolic.scalesim.memory import traffic
from tetrapla.simulators.systolic.scalesim.traffic import Scratchpads, Traffic, Transfers
from tetrapla.suites.tables_ import Cells, number, read, whole
from tetrapla.validation import Row

TABLE = Path("scalesim", "scalesim3_measured.csv")
USER = Path("scalesim", "scalesim3_user_mode.csv")
SOURCE = "SCALE-Sim 3.0.0 run with InterfaceBandwidth CALC; tetrapla/data/golden/README.md"
STALLS = "SCALE-Sim 3.0.0 run with InterfaceBandwidth USER; tetrapla/data/golden/README.md"
_PORT = 10  # words a cycle of the ifmap's and the filters' scratchpads in all USER runs
_CALC_WORDS = 64 * 1024  # of each scratchpad in all CALC runs
_ROUNDING = 2.0**-53


@dataclass(frozen=True)
class _Ours:
    """A row's run here: the array's work, and between the scratchpads and the DRAM.

    Attributes:
        cycles: as they are reported: without stalls, in closed form.
        moved: None where it is not modelled; then no number of it equals the golden one.
    """

    folds: Folded
    cycles: int | None
    macs: int
    places: int
    moved: Traffic | None

    def counts(self) -> Iterator[tuple[str, str, str, int | None]]:
        """Column, quantity, unit and our number of what must be equal."""
        held, moved = self.folds, self.moved
        stalls = moved.stall_cycles if moved else None
        prefetched = moved.cycles_with_prefetch if moved else None
        yield "reported_total_cycles", "cycles_reported", "cycles", self.cycles
        yield "stall_cycles", "stall_cycles", "cycles", stalls
        yield "total_incl_prefetch", "cycles_incl_prefetch", "cycles", prefetched
        yield "sram_ifmap_reads", "ifmap_reads", "words", int(held.ifmap_reads[0])
        yield "sram_filter_reads", "filter_reads", "words", int(held.filter_reads[0])
        written = int(held.ofmap_writes_reported[0])
        yield "sram_ofmap_writes_reported", "ofmap_writes_reported", "words", written
        names = "dram_ifmap_reads", "dram_filter_reads", "dram_ofmap_writes"
        for name, pad in zip(names, self._transfers(), strict=True):
            yield name, name, "words", pad.words if pad else None

    def bandwidths(self) -> Iterator[tuple[str, str, float | None]]:
        """Column, quantity and our words per cycle: one division of whole numbers each."""
        held = self.folds
        found = held.ifmap_reads[0], held.filter_reads[0], held.ofmap_writes_reported[0]
        names = (("if", "ifmap"), ("w", "filter"), ("of", "ofmap"))
        for (short, name), words in zip(names, found, strict=True):
            column, mean = f"avg_bw_sram_{short}", _over(int(words), self.cycles)
            yield column, f"sram_{name}_words_per_cycle", mean
        for (short, name), pad in zip(names, self._transfers(), strict=True):
            mean = pad.words_per_cycle if pad else None
            yield f"avg_bw_dram_{short}", f"dram_{name}_words_per_cycle", mean

    def _transfers(self) -> tuple[Transfers | None, ...]:
        moved = self.moved
        return (moved.ifmap, moved.filter, moved.ofmap) if moved else (None, None, None)

    def shares(self) -> Iterator[tuple[str, str, float | None]]:
        """Column, quantity and our per cent."""
        macs = _over(100 * self.macs, self.cycles)
        yield "overall_util_pct", "utilization_pct", macs and macs / self.places
        yield "mapping_eff_pct", "mapping_pct", float(self.folds.mapping_pct[0])
        yield "compute_util_pct", "compute_pct", float(self.folds.compute_pct[0])


def _over(count: int, cycles: int | None) -> float | None:
    """None of a layer that is not modelled, or that is reported to take no cycle."""
    return count / cycles if cycles else None


def rows(golden: Path) -> Iterator[Row]:
    """Every quantity of every layer of the tables; that of USER may be left out.

    Raises:
        ModelError: the table is missing or broken.
    """
    for where, row in read(golden / TABLE):
        yield from _of_calc(row, where)
    if (golden / USER).is_file():
        for where, row in read(golden / USER):
            yield from _of_user(row, where)


def _of_calc(row: Cells, where: str) -> Iterator[Row]:
    names = ("M", "N", "K", "array_cols")
    m, n, k, across = (whole(row, name, where) for name in names)
    layers = Layers(*(np.array([size], np.int64) for size in (m, n, k)))
    pads = Scratchpads.estimating(_CALC_WORDS, _CALC_WORDS, _CALC_WORDS, across)
    yield from _compared(row, where, layers, pads, SOURCE)


def _of_user(row: Cells, where: str) -> Iterator[Row]:
    ifmap, filters, ofmap = (1024 * kib for kib in _listed(row, "sram_kb", where, 3))
    port = whole(row, "bandwidth_words_per_cycle", where)
    pads = Scratchpads(ifmap, filters, ofmap, _PORT, _PORT, port)
    yield from _compared(row, where, _windows(row, where).layers(), pads, STALLS)


def _compared(
    row: Cells, where: str, layers: Layers, pads: Scratchpads, source: str
) -> Iterator[Row]:
    down, across = (whole(row, name, where) for name in ("array_rows", "array_cols"))
    flow = _dataflow(row, where)
    moved = traffic(_windows(row, where), down, across, flow, pads)
    held = folded(layers, down, across, flow)
    cycles: int | None = int(held.cycles_reported[0])
    if not pads.estimates:
        cycles = moved.cycles if moved else None
    ours = _Ours(held, cycles, int(layers.macs[0]), down * across, moved)
    case = f"{row.get('topology')} {row.get('layer')} {flow} {down}x{across}"
    if not pads.estimates:
        case += f" at {pads.ofmap_bandwidth}"
    for column, quantity, unit, count in ours.counts():
        known = number(row, column, where)
        yield Row("scalesim", case, quantity, unit, known, count, 0.0, source)
    for column, quantity, mean in ours.bandwidths():
        known = number(row, column, where)
        yield Row("scalesim", case, quantity, "words/cycle", known, mean, 0.0, source)
    # SCALE-Sim adds the shares of the folds up, of which there are fewer than cycles
    bound = (int(held.cycles[0]) + 8) * _ROUNDING
    for column, quantity, share in ours.shares():
        known = number(row, column, where)
        yield Row("scalesim", case, quantity, "%", known, share, bound, source)


def _windows(row: Cells, where: str) -> Windows:
    return Windows(*_listed(row, "dims", where, 7))


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
