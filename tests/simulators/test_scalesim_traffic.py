"""SCALE-Sim's memory model: transfers by hand, and those that it reported of random designs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tetrapla.simulators.systolic.scalesim.closed_form import DATAFLOWS, Dataflow
from tetrapla.simulators.systolic.scalesim.demand import Stream, Windows
from tetrapla.simulators.systolic.scalesim.estimate import Notes, noted
from tetrapla.simulators.systolic.scalesim.memory import traffic
from tetrapla.simulators.systolic.scalesim.results import Results
from tetrapla.simulators.systolic.scalesim.traffic import Scratchpads, Traffic, Transfers

TABLE = Path(__file__).parent / "scalesim" / "scalesim3_traffic.csv"
PADS = "ifmap", "filter", "ofmap"


def product(m: int, n: int, k: int) -> Windows:
    return Windows(m, k, 1, k, 1, n, 1)


def moved(
    layer: Windows, rows: int, cols: int, dataflow: Dataflow, pads: Scratchpads
) -> Traffic:
    found = traffic(layer, rows, cols, dataflow, pads)
    assert found is not None
    return found


def test_what_fits_is_fetched_once_before_the_array_starts() -> None:
    # 16 words an operand; sets of 1024 // 100 = 10, so two of them, in 2 cycles at 10 words
    pads = Scratchpads.estimating(1024, 1024, 1024, 4)
    found = moved(product(4, 4, 4), 4, 4, "os", pads)
    fetched = Transfers(16, -2, -1)
    # the last line is cycle 9; from it on 4 rows of 4 results leave
    assert found == Traffic(0, 9, fetched, fetched, Transfers(16, 9, 12))
    assert found.cycles_with_prefetch == 12 + 2
    assert (found.ifmap.words_per_cycle, found.ofmap.words_per_cycle) == (8, 4)


def test_a_full_half_is_a_fetch() -> None:
    # 1200 weights, one every second cycle of a 1x1 array; a half of 1024 words is 50 sets of 10
    pads = Scratchpads.estimating(1024, 1024, 1024, 1)
    found = moved(product(1, 1200, 1), 1, 1, "ws", pads)
    # the first half before the first read, at ten words; the last in the second's interval
    assert found.filter == Transfers(1200, -50, 2 * 999 + 1)
    assert found.ifmap == Transfers(1, -1, -1)


def test_two_halves_in_a_cycle_are_none() -> None:
    # 1200 weights for 1200 columns are read at once; SCALE-Sim divides by that interval, 0
    pads = Scratchpads.estimating(1024, 1024, 4096, 1200)
    assert traffic(product(1, 1200, 1), 1, 1200, "ws", pads) is None


def test_given_a_bandwidth_whole_lines_are_fetched() -> None:
    # one word of each operand is a line of 10, fetched in the cycle before the first
    pads = Scratchpads(1024, 1024, 1024, 10, 10, 1)
    found = moved(product(1, 1, 1), 8, 8, "ws", pads)
    line = Transfers(10, -1, -1)
    assert found == Traffic(0, 22, line, line, Transfers(1, 22, 22))  # 2*8 + 8 + 1 - 2 cycles
    assert found.cycles_with_prefetch == 23


def test_each_move_fetches_the_other_half() -> None:
    # 1024 words hold 47 sets of 11, 517 weights, at first; words 517 and 1034 move the window
    pads = Scratchpads(1024, 1024, 4096, 16, 16, 16)
    found = moved(product(1, 1200, 1), 1, 1, "ws", pads)
    # 32 lines of 16 before, and 32 in each move, which ends 33 cycles after the last
    assert found.filter == Transfers(3 * 512, -32, -1 + 2 * 33)
    assert found.stall_cycles == 0  # both end long before


def test_a_short_row_in_the_middle_of_a_drain_counts_as_full() -> None:
    results = Results(16, 4)
    assert results.take(0, 9) == 0  # 8 fill two rows, the ninth starts a drain of them
    assert results.take(2, 8) == 2  # the ninth's row stays short, and leaves with the next
    assert results.emptied(5) == Transfers(20, 0, 5)  # 17 words, and 3 that never were


@pytest.mark.parametrize("words", [100, 700, 1024])
def test_notes_are_those_of_a_loop_over_addresses(words: int) -> None:
    rng = np.random.default_rng(words)
    folds = [
        Stream(np.sort(rng.integers(0, 400, 3000)), rng.integers(0, 2000, 3000))
        for _ in range(3)
    ]
    folds += folds  # the same folds again
    expected = Notes(first_line=int(folds[0].cycles[0]))
    held: set[int] = set()
    for number, fold in enumerate(folds):
        for cycle, address in zip(fold.cycles, fold.addresses, strict=True):
            if int(address) in held:
                continue
            held.add(int(address))
            expected.words += 1
            if len(held) == 50 * (words // 100):
                held = set()
                expected.full_lines.append(number * 400 + int(cycle))
    expected.left = len(held)
    assert len(expected.full_lines) > 2
    assert noted(folds, 400, words) == expected


def test_calm_lines_are_stored_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    drained = 0
    for _ in range(200):
        words, port = int(rng.integers(8, 200)), int(rng.integers(1, 20))
        writes = rng.integers(0, 12, 300)
        stored = np.concatenate([[0], np.cumsum(writes)])
        alone, together = Results(words, port), Results(words, port)
        late = 0
        for line, count in enumerate(writes.tolist()):
            late = alone.take(line + late, count) - line
        line = stalls = 0
        while line < writes.size:
            line = together.calm(stored, line, writes.size, stalls)
            if line < writes.size:
                stalls = together.take(line + stalls, int(writes[line])) - line
                line += 1
        assert stalls == late
        found = together.emptied(300 + stalls)
        assert alone.emptied(300 + stalls) == found
        drained += found.first < 300
    assert drained > 100


def test_scalesim_reported_these_transfers() -> None:
    """Operands larger than their scratchpads, of any bandwidth; arrays of one row or column."""
    seen = {"CALC": 0, "USER": 0}
    with TABLE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            words = [1024 * int(row[f"{name}_kb"]) for name in PADS]
            down, across = int(row["array_rows"]), int(row["array_cols"])
            ports = [int(row[f"{name}_bandwidth"]) for name in PADS]
            pads = Scratchpads.estimating(words[0], words[1], words[2], across)
            if row["mode"] == "USER":
                pads = Scratchpads(*words, *ports)
            flow: Dataflow = next(known for known in DATAFLOWS if known == row["dataflow"])
            layer = Windows(*(int(size) for size in row["sizes"].split("x")))
            found = moved(layer, down, across, flow, pads)
            assert found.cycles == int(row["cycles"])
            assert found.stall_cycles == int(row["stall_cycles"])
            assert found.cycles_with_prefetch == int(row["cycles_incl_prefetch"])
            assert found.ifmap.words == int(row["dram_ifmap_reads"])
            assert found.filter.words == int(row["dram_filter_reads"])
            assert found.ofmap.words == int(row["dram_ofmap_writes"])
            for name, pad in zip(PADS, (found.ifmap, found.filter, found.ofmap), strict=True):
                assert pad.words_per_cycle == float(row[f"dram_{name}_words_per_cycle"])
            seen[row["mode"]] += found.filter.words > words[1]
    assert min(seen.values()) > 20
