"""Waits: what an instruction must let finish, found from what it reads and writes.

A resource is a stretch of a memory that is addressed, bytes ("ub", start, end) or ("dram",
start, end) or rows ("acc", start, end), or the name and number of another memory's part. An
engine works in order, so it never waits for itself, except where it reads what it wrote in an
addressed memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from tetrapla.simulators.systolic.isa import ENGINES, MOST_OUTSTANDING, OPERATIONS, Instruction

Resource = tuple[str, int, int]
_ADDRESSED = ("ub", "dram", "acc")


def part(name: str, number: int) -> Resource:
    """A numbered part of a memory."""
    return (name, number, number + 1)


def stretch(address: int, size_bytes: int) -> Resource:
    """A stretch of the unified buffer."""
    return ("ub", address, address + size_bytes)


def region(address: int, size_bytes: int) -> Resource:
    """A stretch of DRAM."""
    return ("dram", address, address + size_bytes)


def sums(first: int, count: int) -> Resource:
    """Rows of the accumulators."""
    return ("acc", first, first + count)


@dataclass
class _Record:
    """Number of the latest instruction of each engine that wrote, and that read."""

    writers: dict[str, int] = field(default_factory=dict[str, int])
    readers: dict[str, int] = field(default_factory=dict[str, int])


class _Stretches:
    """A memory addressed by bytes, cut where any access began or ended.

    Piece i goes from ``starts[i]`` to the next start. A write leaves one piece with itself
    alone: it waited for everybody before it, so whoever waits for it waits for them.
    """

    def __init__(self) -> None:
        self._starts = [0]
        self._records = [_Record()]

    def over(self, start: int, end: int) -> list[_Record]:
        """The records of the bytes."""
        first = bisect_right(self._starts, start) - 1
        return self._records[first : bisect_left(self._starts, end)]

    def read(self, start: int, end: int, engine: str, number: int) -> None:
        """Note a read."""
        first = self._cut(start)
        for record in self._records[first : self._cut(end)]:
            record.readers[engine] = number

    def write(self, start: int, end: int, engine: str, number: int) -> None:
        """Note a write."""
        first = self._cut(start)
        last = self._cut(end)
        self._starts[first:last] = [start]
        self._records[first:last] = [_Record({engine: number})]

    def _cut(self, at: int) -> int:
        """The number of the piece that begins there."""
        before = bisect_right(self._starts, at) - 1
        if self._starts[before] == at:
            return before
        held = self._records[before]
        self._starts.insert(before + 1, at)
        self._records.insert(before + 1, _Record(dict(held.writers), dict(held.readers)))
        return before + 1


class Dispatcher:
    """Collects instructions and gives each its waits."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._sent = dict.fromkeys(ENGINES, 0)
        self._retired = dict.fromkeys(ENGINES, 0)  # numbers below are known to have retired
        self._records: dict[Resource, _Record] = {}
        self._bytes = {name: _Stretches() for name in _ADDRESSED}

    def send(
        self,
        op: str,
        operands: dict[str, int],
        reads: Iterable[Resource] = (),
        writes: Iterable[Resource] = (),
        takes: Iterable[Resource] = (),
        after: Iterable[str] = (),
    ) -> None:
        """Append an instruction.

        What it `takes` it reads at the front of its wave: whoever comes after it may write.
        It goes `after` all that was sent to these engines.
        """
        engine = OPERATIONS[op].engine
        needed = {other: self._sent[other] - 1 for other in after}
        for resource in (*reads, *takes):
            for record in self._overlapping(resource):
                own = None if resource[0] in _ADDRESSED else engine
                _later(needed, record.writers, own)
        for resource in writes:
            for record in self._overlapping(resource):
                _later(needed, record.writers, engine)
                # a store reads until its last byte has left: a load may not overtake it
                late = resource[0] == "ub" and engine == "DMA"
                _later(needed, record.readers, None if late else engine)
        waits = {}
        for other, number in needed.items():
            if number >= self._retired[other]:
                allowed = min(self._sent[other] - 1 - number, MOST_OUTSTANDING)
                waits[other] = allowed
                self._retired[other] = self._sent[other] - allowed
        self.instructions.append(Instruction(op, operands, waits))
        if engine is not None:
            number = self._sent[engine]
            self._sent[engine] += 1
            self._note(engine, number, reads, writes)

    def _note(
        self, engine: str, number: int, reads: Iterable[Resource], writes: Iterable[Resource]
    ) -> None:
        for name, start, end in reads:
            if name in _ADDRESSED:
                self._bytes[name].read(start, end, engine, number)
            else:
                self._record((name, start, end)).readers[engine] = number
        for name, start, end in writes:
            if name in _ADDRESSED:
                self._bytes[name].write(start, end, engine, number)
            else:
                self._record((name, start, end)).writers[engine] = number

    def _record(self, resource: Resource) -> _Record:
        found = self._records.get(resource)
        if found is None:
            found = self._records[resource] = _Record()
        return found

    def _overlapping(self, resource: Resource) -> list[_Record]:
        name, start, end = resource
        if name in _ADDRESSED:
            return self._bytes[name].over(start, end)
        return [self._record(resource)]


def _later(needed: dict[str, int], found: dict[str, int], own: str | None) -> None:
    for engine, number in found.items():
        if engine != own and number > needed.get(engine, -1):
            needed[engine] = number
