"""Waits: what an instruction must let finish, found from what it reads and writes.

A resource is ("ub", start, end), a stretch of the unified buffer, or the name and number of
another memory's part. An engine works in order, so it never waits for itself, except where the
unified buffer is read that it wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tetrapla.simulators.systolic.isa import ENGINES, MOST_OUTSTANDING, OPERATIONS, Instruction

Resource = tuple[str, int, int]


def part(name: str, number: int) -> Resource:
    """A numbered part of a memory."""
    return (name, number, number + 1)


def stretch(address: int, size_bytes: int) -> Resource:
    """A stretch of the unified buffer."""
    return ("ub", address, address + size_bytes)


@dataclass
class _Record:
    """Number of the latest instruction of each engine that wrote, and that read."""

    writers: dict[str, int] = field(default_factory=dict)
    readers: dict[str, int] = field(default_factory=dict)


class Dispatcher:
    """Collects instructions and gives each its waits."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._sent = dict.fromkeys(ENGINES, 0)
        self._retired = dict.fromkeys(ENGINES, 0)  # numbers below are known to have retired
        self._records: dict[Resource, _Record] = {}
        self._stretches: dict[Resource, _Record] = {}  # of the unified buffer

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
                own = engine if resource[0] != "ub" else None
                _later(needed, record.writers, own)
        for resource in writes:
            for record in self._overlapping(resource):
                _later(needed, record.writers, engine)
                _later(needed, record.readers, engine)
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
            for resource in reads:
                self._record(resource).readers[engine] = number
            for resource in writes:
                self._record(resource).writers[engine] = number

    def _record(self, resource: Resource) -> _Record:
        records = self._stretches if resource[0] == "ub" else self._records
        return records.setdefault(resource, _Record())

    def _overlapping(self, resource: Resource) -> list[_Record]:
        name, start, end = resource
        if name != "ub":
            return [self._record(resource)]
        return [
            record
            for (_, first, last), record in self._stretches.items()
            if first < end and start < last
        ]


def _later(needed: dict[str, int], found: dict[str, int], own: str | None) -> None:
    for engine, number in found.items():
        if engine != own and number > needed.get(engine, -1):
            needed[engine] = number
