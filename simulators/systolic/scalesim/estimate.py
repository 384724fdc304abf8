"""One operand's reads from the DRAM under SCALE-Sim 3.0.0's ``InterfaceBandwidth: CALC``.

Every read of the array hits. An address that the scratchpad does not hold is noted; the notes
fill sets of a hundredth of the scratchpad, and when fifty are full they count as one fetch, and
all that was noted is forgotten. So an address is read once between two such moments, and what
is left at the end is a last fetch. (The tool's read_buffer_estimate_bw.py.)

When: the first fetch goes at ten words a cycle and ends before the array's first read; each
other one takes as long as the notes of the one before took to fill. The last one is in the
interval in which the last full half was noted, not the one after: that is the tool's timing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tetrapla.simulators.systolic.scalesim.closed_form import Counts
from tetrapla.simulators.systolic.scalesim.demand import Stream
from tetrapla.simulators.systolic.scalesim.traffic import ESTIMATED_READS, Transfers

_SETS = 100
_HALF = 50
_LATENCY = 1  # of the DRAM port, in cycles
_BLOCK = 2**16  # addresses that are looked up at once


@dataclass
class Notes:
    """What was noted of an operand.

    Attributes:
        words: addresses noted, one as often as it was.
        left: those since the last half was full.
        first_line: the line of the array's first read.
        full_lines: the lines in which a half became full.
    """

    words: int = 0
    left: int = 0
    first_line: int = 0
    full_lines: list[int] = field(default_factory=list)


def noted(folds: Sequence[Stream], lines: int, scratchpad_words: int) -> Notes:
    """Go through what the array reads, fold after fold, each of so many lines."""
    half = _HALF * (scratchpad_words // _SETS)
    span = 1 + max(int(fold.addresses.max(initial=-1)) for fold in folds)
    seen, place = np.full(span, -1, np.int64), np.empty(span, np.int64)
    found, whole = Notes(), dict[int, int]()
    starts = (n * lines + int(f.cycles[0]) for n, f in enumerate(folds) if f.cycles.size)
    found.first_line = next(starts, 0)
    for number, fold in enumerate(folds):
        turn = len(found.full_lines)
        if whole.get(id(fold)) == turn:  # all of it was noted since the last half was full
            continue
        at = 0
        while at < fold.addresses.size:
            block = fold.addresses[at : at + _BLOCK]
            new = _first_of_each(block, seen, place, len(found.full_lines))
            full = found.left + new.size >= half
            if full:
                new = new[: half - found.left]
                found.full_lines.append(number * lines + int(fold.cycles[at + new[-1]]))
            found.words += new.size
            found.left = 0 if full else found.left + new.size
            at += int(new[-1]) + 1 if full else block.size
        if turn == len(found.full_lines):
            whole[id(fold)] = turn
    return found


def _first_of_each(block: Counts, seen: Counts, place: Counts, turn: int) -> Counts:
    """Where addresses that were not seen this turn come for the first time; all are seen now.

    Those after a half became full are marked, too, with a turn that is over by then.
    """
    new = np.flatnonzero(seen[block] != turn)
    fresh = block[new]
    number = np.arange(fresh.size)
    place[fresh[::-1]] = number[::-1]  # of equal addresses the last that is assigned stays
    seen[fresh] = turn
    found: Counts = new[place[fresh] == number]
    return found


def estimated(notes: Notes, scratchpad_words: int) -> Transfers | None:
    """The fetches of what was noted; a line of the array's demand is a cycle.

    Returns:
        None where two halves are full in one cycle, at which the tool ends with a division by
        zero.
    """
    a_set = scratchpad_words // _SETS
    if not notes.full_lines:
        taken = -(-(-(-notes.left // a_set) * a_set) // ESTIMATED_READS)
        return Transfers(notes.words, -taken, -1)
    if len(set(notes.full_lines)) < len(notes.full_lines):
        return None
    taken = -(-_HALF * a_set // ESTIMATED_READS)
    last = notes.full_lines[-1] + _LATENCY
    return Transfers(notes.words, notes.first_line - taken, last)
