"""SCALE-Sim 3.0.0's memory model: stalls, and what goes between the scratchpads and the DRAM.

Under ``InterfaceBandwidth: USER`` (its read_buffer.py, write_buffer.py) an operand is fetched
in a fixed order into a scratchpad of a hundred sets. Half of them are active; an address that
is in none of the active sets moves the window on by the other half, again and again until it
is in, and each move ends a fixed time after the last one. Which moves happen depends on the
order of the addresses alone, and how long the array waits for them on the stalls so far. What
is odd there is odd here: a positive wait counts twice, a negative one shortens the line's
stall, and a fetch counts whole lines of the port to the DRAM, whatever they hold.

Under ``CALC`` reads never wait; `estimate` has what is fetched then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tetrapla.simulators.systolic.scalesim.closed_form import Counts, Dataflow, cycles
from tetrapla.simulators.systolic.scalesim.demand import (
    Demand,
    Fetches,
    Stream,
    Windows,
    demand,
)
from tetrapla.simulators.systolic.scalesim.estimate import estimated, noted
from tetrapla.simulators.systolic.scalesim.results import Results
from tetrapla.simulators.systolic.scalesim.traffic import Scratchpads, Traffic, Transfers

MOST_WORDS = 2**24  # of an operand, assumed: the lists of its addresses take a few hundred MB
MOST_CYCLES = 2**24
_SETS = 100
_FIRST_BLOCK, _LAST_BLOCK = 2**8, 2**18  # addresses that are looked up at once


@lru_cache(maxsize=1024)  # networks repeat their layers
def traffic(
    layer: Windows, rows: int, cols: int, dataflow: Dataflow, pads: Scratchpads
) -> Traffic | None:
    """The stalls and transfers of a layer.

    Returns:
        None where it is larger than the limits above, or where SCALE-Sim itself divides by
        zero (`estimate.estimated`).
    """
    sizes = layer.layers()
    m, n, k = (int(size[0]) for size in (sizes.m, sizes.n, sizes.k))
    total = int(cycles(sizes, rows, cols, dataflow)[0])
    if max(m * k, k * n) > MOST_WORDS or total > MOST_CYCLES:
        return None
    asked = demand(layer, rows, cols, dataflow)
    return _estimated(asked, pads) if pads.estimates else _fetched(asked, pads)


def _fetched(asked: Demand, pads: Scratchpads) -> Traffic:
    reads = (
        _Reads(asked.ifmap_fetches, pads.ifmap_words, pads.ifmap_bandwidth),
        _Reads(asked.filter_fetches, pads.filter_words, pads.filter_bandwidth),
    )
    folds = asked.ifmap, asked.filter
    moves = [each.moves(of, asked.lines) for each, of in zip(reads, folds, strict=True)]
    results = Results(pads.ofmap_words, pads.ofmap_bandwidth)
    last, late = _served(moves, reads, asked, results)
    sent = results.emptied(last)
    ifmap, filters = (each.transfers() for each in reads)
    return Traffic(sum(late.values()), last, ifmap, filters, sent)


def _estimated(asked: Demand, pads: Scratchpads) -> Traffic | None:
    """No read waits, and no write.

    In the n cycles of a drain after its first the array writes at most n rows of the port,
    which is as wide as the array, and the drain freed more than n rows at once.
    """
    ifmap, filters = (
        estimated(noted(folds, asked.lines, words), words)
        for folds, words in ((asked.ifmap, pads.ifmap_words), (asked.filter, pads.filter_words))
    )
    if ifmap is None or filters is None:
        return None
    results = Results(pads.ofmap_words, pads.ofmap_bandwidth)
    last, late = _served((), (), asked, results)
    return Traffic(sum(late.values()), last, ifmap, filters, results.emptied(last))


class _Reads:
    """One operand's scratchpad: the sets that its order fills, and the active ones."""

    def __init__(self, fetches: Fetches, words: int, bandwidth: int) -> None:
        count = int((fetches.folds >= 0).sum())
        a_set, half = -(-words // _SETS), words - words // 2
        self.sets = count // a_set + 1
        self.active = min(-(-half // a_set), self.sets)
        self.step = min(-(-(words - half) // a_set), self.sets - self.active)
        self.keys = np.empty(0, np.int64)
        if self.active < self.sets:
            keys = fetches.order() * self.sets + np.arange(count) // a_set
            # a number that no key reaches ends the search
            self.keys = np.append(np.unique(keys), np.iinfo(np.int64).max)
        self.bandwidth = bandwidth
        # lines of the port: of all there is to fetch, at first; of the other half, in a move
        self.first_lines = min(-(-half // bandwidth), -(-fetches.folds.size // bandwidth))
        self.move_lines = -(-(words - half) // bandwidth)
        self.moved = 0
        self.ready = -1  # cycle in which the last move ended

    def moves(self, folds: Iterable[Stream], lines: int) -> dict[int, int]:
        """How often the window moves on in each line in which it does."""
        found: dict[int, int] = {}
        if self.active == self.sets:
            return found
        start, block = 0, _FIRST_BLOCK
        for number, fold in enumerate(folds):
            addresses, place = fold.addresses, 0
            while place < addresses.size:
                held = self._active(addresses[place : place + block], start)
                if held.all():
                    place, block = place + held.size, min(2 * block, _LAST_BLOCK)
                    continue
                place, block = place + int(held.argmin()), _FIRST_BLOCK
                line = number * lines + int(fold.cycles[place])
                while not self._active(addresses[place : place + 1], start)[0]:
                    start = (start + self.step) % self.sets
                    found[line] = found.get(line, 0) + 1
        return found

    def _active(self, addresses: Counts, start: int) -> NDArray[np.bool_]:
        """Whether a set with the address lies in the window, which may wrap around."""
        base, end = addresses * self.sets, start + self.active
        after = self.keys[np.searchsorted(self.keys, base + start)]
        held: NDArray[np.bool_] = after < base + min(end, self.sets)
        if end > self.sets:
            held |= self.keys[np.searchsorted(self.keys, base)] < base + end - self.sets
        return held

    def stall(self, cycle: int, moves: int) -> int:
        """Cycles by which a line is late after so many moves."""
        offset = 1  # a hit takes one
        for _ in range(moves):
            self.ready += self.move_lines + 1  # with a cycle of latency
            late = self.ready - (cycle + offset)
            offset += late + max(late, 0)
        self.moved += moves
        return offset - 1

    def transfers(self) -> Transfers:
        """All fetches until now; the first ends before the array starts."""
        fetched = self.first_lines + self.moved * self.move_lines
        return Transfers(fetched * self.bandwidth, -self.first_lines, self.ready)


def _served(
    moves: Sequence[dict[int, int]], reads: Sequence[_Reads], asked: Demand, results: Results
) -> tuple[int, dict[int, int]]:
    """All lines one after the other; only those that move or write can stall.

    Returns:
        The cycle in which the last line's results are in, and the stalls by line.
    """
    writes = np.concatenate(asked.writes)
    stored = np.concatenate([[0], np.cumsum(writes)])
    moved = [*sorted({line for held in moves for line in held}), writes.size]
    late: dict[int, int] = {}
    line = stalls = last = at = 0
    while line < writes.size:
        calm = results.calm(stored, line, moved[at], stalls)
        line, last = calm, calm - 1 + stalls if calm > line else last
        if line == writes.size:
            break
        cycle = line + stalls
        waits = [r.stall(cycle, m.get(line, 0)) for r, m in zip(reads, moves, strict=True)]
        last = results.take(cycle, int(writes[line]))
        wait = max(*waits, last - cycle) if waits else last - cycle
        if wait:
            late[line] = wait
            stalls += wait
        at += line == moved[at]
        line += 1
    return last, late
