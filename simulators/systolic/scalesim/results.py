"""The results' scratchpad of SCALE-Sim 3.0.0: one half drains while the other fills.

What is written is kept in rows as wide as the port to the DRAM. When less than a half is free,
a drain sends half a scratchpad's rows, one a cycle, and their words are free at once; a row
that was not full when a drain began stays short, and another row is begun. If a later drain
sends such a row anywhere but last, it counts as a full one, among the words sent and among
those that are free: that is the tool's own error, and here it is kept.
"""

from __future__ import annotations

import numpy as np

from tetrapla.simulators.systolic.scalesim.closed_form import Counts
from tetrapla.simulators.systolic.scalesim.traffic import Transfers


class Results:
    """The scratchpad's state as lines of results come in."""

    def __init__(self, words: int, bandwidth: int) -> None:
        self._words, self._bandwidth = words, bandwidth
        self._active = words - words // 2
        self._free = words
        self._drained = 0  # cycle in which a drain ends
        self._rows = self._sent = self._column = 0
        self._short: dict[int, int] = {}  # words of rows that were sent before they were full
        self._first: int | None = None
        self._last = self._words_sent = 0

    def calm(self, stored: Counts, line: int, end: int, stalls: int) -> int:
        """Store lines that neither wait nor make a drain begin; the first line that may.

        Args:
            stored: words of all lines before each line.
            line: the first to store.
            end: the line at which to stop.
            stalls: cycles by which all of them are late.
        """
        if line + stalls < self._drained:
            end, room = min(end, self._drained - stalls), self._free - 1
        else:
            room = self._free - self._active
        most = stored[line] + max(room, 0)
        stop = min(end, int(np.searchsorted(stored, most, "right")) - 1)
        self._store(int(stored[stop] - stored[line]))
        return stop

    def take(self, cycle: int, count: int) -> int:
        """Store so many words; the cycle in which the last is in."""
        while count:
            draining = cycle < self._drained
            calm = min(count, max(self._free - (1 if draining else self._active), 0))
            self._store(calm)
            count -= calm
            if not count:
                break
            self._store(1)
            count -= 1
            if draining:
                cycle = self._drained
            else:
                self._drain(cycle)
        return cycle

    def emptied(self, cycle: int) -> Transfers:
        """Send all that is left, from a cycle on; everything that was sent."""
        while self._sent < self._rows or self._column:
            self._drain(cycle)
            cycle = self._drained + 1
        return Transfers(self._words_sent, self._first or 0, self._last)

    def _store(self, count: int) -> None:
        self._free -= count
        full, self._column = divmod(self._column + count, self._bandwidth)
        self._rows += full

    def _drain(self, cycle: int) -> None:
        if self._column:
            self._short[self._rows] = self._column
            self._rows, self._column = self._rows + 1, 0
        half = -(-(self._words - self._active) // self._bandwidth)
        end = min(self._sent + half, self._rows)
        count = end - self._sent
        words = (count - 1) * self._bandwidth + self._short.get(end - 1, self._bandwidth)
        self._free += words
        self._words_sent += words
        self._sent, self._drained = end, cycle + count - 1
        self._first = cycle if self._first is None else self._first
        self._last = max(self._last, self._drained)
