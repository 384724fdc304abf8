"""Waits: what an instruction must let finish, found from what it reads and writes.

A resource is a stretch of a memory that is addressed, bytes ("ub", start, end) or ("dram",
start, end) or rows ("acc", start, end), or a `Part` of another memory. An engine works in
order, so it never waits for itself, except where it reads what it wrote in an addressed memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from tetrapla.simulators.systolic.isa import ENGINES, MOST_OUTSTANDING, OPERATIONS, Instruction

_ADDRESSED = ("ub", "dram", "acc")
_ENGINE = {name: operation.engine for name, operation in OPERATIONS.items()}


class Part:
    """A part of a memory: by engine, the latest instruction that wrote it, and that read it."""

    __slots__ = ("readers", "writers")

    def __init__(self, writers: dict[str, int], readers: dict[str, int]) -> None:
        self.writers = writers
        self.readers = readers

    @staticmethod
    def untouched() -> Part:
        """One that nobody wrote or read."""
        return Part({}, {})


Stretch: TypeAlias = tuple[str, int, int]
Resource: TypeAlias = Stretch | Part
_NEVER: tuple[int, list[Part]] = (-1, [])
_NO_WAITS: Mapping[str, int] = MappingProxyType({})


def stretch(address: int, size_bytes: int) -> Stretch:
    """A stretch of the unified buffer."""
    return ("ub", address, address + size_bytes)


def region(address: int, size_bytes: int) -> Stretch:
    """A stretch of DRAM."""
    return ("dram", address, address + size_bytes)


def sums(first: int, count: int) -> Stretch:
    """Rows of the accumulators."""
    return ("acc", first, first + count)


class _Stretches:
    """A memory addressed by bytes, cut where any access began or ended.

    Piece i goes from ``starts[i]`` to the next start. A write leaves one piece with itself
    alone: it waited for everybody before it, so whoever waits for it waits for them.
    """

    def __init__(self) -> None:
        self._starts = [0]
        self._parts = [Part.untouched()]
        self._writes = self._changes = 0
        self._latest: tuple[Stretch, int, Part] | None = None  # write, after what change, piece
        # by stretch, after how many writes it was last read, and its pieces after what change
        self._settled: dict[Stretch, int] = {}
        self._pieces: dict[Stretch, tuple[int, list[Part]]] = {}

    def is_settled(self, resource: Stretch) -> bool:
        """Whether it was read since anything was written: its writers have retired."""
        return self._settled.get(resource) == self._writes

    def is_own(self, resource: Stretch, engine: str) -> bool:
        """Whether the engine itself wrote all of it last, and nobody has read it since."""
        part = self._rewritten(resource)
        return part is not None and not part.readers and engine in part.writers

    def _rewritten(self, resource: Stretch) -> Part | None:
        """The one piece of a stretch that is written twice in a row."""
        if self._latest is None:
            return None
        latest, change, part = self._latest
        return part if change == self._changes and latest == resource else None

    def over(self, start: int, end: int) -> list[Part]:
        """The pieces that hold some of the bytes."""
        first = bisect_right(self._starts, start) - 1
        return self._parts[first : bisect_left(self._starts, end, first)]

    def read(self, resource: Stretch, engine: str, number: int) -> None:
        """Note a read."""
        self._settled[resource] = self._writes
        change, pieces = self._pieces.get(resource, _NEVER)
        if change != self._changes:
            _, start, end = resource
            first = self._cut(start)
            pieces = self._parts[first : self._cut(end)]
            self._pieces[resource] = self._changes, pieces
        for part in pieces:
            part.readers[engine] = number

    def write(self, resource: Stretch, engine: str, number: int) -> None:
        """Note a write."""
        self._writes += 1
        part = self._rewritten(resource)
        if part is None:
            part = self._piece(resource)
            self._latest = resource, self._changes, part
        part.writers, part.readers = {engine: number}, {}

    def _piece(self, resource: Stretch) -> Part:
        """The stretch as one piece."""
        _, start, end = resource
        first = self._cut(start)
        last = self._cut(end)
        if last > first + 1:
            self._changes += 1
            del self._starts[first + 1 : last], self._parts[first + 1 : last]
        return self._parts[first]

    def _cut(self, at: int) -> int:
        """The number of the piece that begins there."""
        before = bisect_right(self._starts, at) - 1
        if self._starts[before] == at:
            return before
        self._changes += 1
        held = self._parts[before]
        self._starts.insert(before + 1, at)
        self._parts.insert(before + 1, Part(dict(held.writers), dict(held.readers)))
        return before + 1


class Dispatcher:
    """Collects instructions and gives each its waits."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._sent = dict.fromkeys(ENGINES, 0)
        self._retired = dict.fromkeys(ENGINES, 0)  # numbers below are known to have retired
        self._bytes = {name: _Stretches() for name in _ADDRESSED}

    def send(
        self,
        op: str,
        operands: dict[str, int],
        reads: Sequence[Resource] = (),
        writes: Sequence[Resource] = (),
        takes: Sequence[Resource] = (),
        after: Iterable[str] = (),
    ) -> None:
        """Append an instruction.

        What it `takes` it reads at the front of its wave: whoever comes after it may write.
        It goes `after` all that was sent to these engines.
        """
        engine, needed = _ENGINE[op], {other: self._sent[other] - 1 for other in after}
        self._writers_of((*reads, *takes) if takes else reads, engine, needed)
        self._everyone_at(writes, engine, needed)
        self.instructions.append(
            Instruction(op, operands, self._waits(needed) if needed else _NO_WAITS)
        )
        if engine is not None:
            number = self._sent[engine]
            self._sent[engine] = number + 1
            self._note(engine, number, reads, writes)

    def _writers_of(
        self, resources: Iterable[Resource], engine: str | None, needed: dict[str, int]
    ) -> None:
        retired = self._retired
        for resource in resources:
            if isinstance(resource, Part):
                for other, number in resource.writers.items():
                    # most of what was ever noted has long retired
                    if number >= retired[other] and other != engine:
                        needed[other] = max(number, needed.get(other, -1))
                continue
            memory = self._bytes[resource[0]]
            if not memory.is_settled(resource):
                for part in memory.over(resource[1], resource[2]):
                    self._later(needed, part.writers, None)

    def _everyone_at(
        self, resources: Iterable[Resource], engine: str | None, needed: dict[str, int]
    ) -> None:
        for resource in resources:
            if isinstance(resource, Part):
                self._later(needed, resource.writers, engine)
                self._later(needed, resource.readers, engine)
                continue
            name, start, end = resource
            # a store reads until its last byte has left: a load may not overtake it
            own = None if name == "ub" and engine == "DMA" else engine
            memory = self._bytes[name]
            if engine is None or not memory.is_own(resource, engine):
                for part in memory.over(start, end):
                    self._later(needed, part.writers, engine)
                    self._later(needed, part.readers, own)

    def _later(self, needed: dict[str, int], found: dict[str, int], own: str | None) -> None:
        retired = self._retired
        for engine, number in found.items():
            if number >= retired[engine] and engine != own:
                needed[engine] = max(number, needed.get(engine, -1))

    def _waits(self, needed: Mapping[str, int]) -> dict[str, int]:
        waits: dict[str, int] = {}
        for other, number in needed.items():
            if number >= self._retired[other]:
                allowed = min(self._sent[other] - 1 - number, MOST_OUTSTANDING)
                waits[other] = allowed
                self._retired[other] = self._sent[other] - allowed
        return waits

    def _note(
        self, engine: str, number: int, reads: Iterable[Resource], writes: Iterable[Resource]
    ) -> None:
        for resource in reads:
            if isinstance(resource, Part):
                resource.readers[engine] = number
            else:
                self._bytes[resource[0]].read(resource, engine, number)
        for resource in writes:
            if isinstance(resource, Part):
                resource.writers[engine] = number
            else:
                self._bytes[resource[0]].write(resource, engine, number)
