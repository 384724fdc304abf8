"""From stages to instructions: what moves values, and the order of the stages.

The tables of the next stage are filled before this stage's last RQ.
"""

from __future__ import annotations

from typing import TypeAlias

from tetrapla.backends.systolic.entries import Entries
from tetrapla.backends.systolic.hazards import Dispatcher, Resource, part, stretch
from tetrapla.backends.systolic.image import Table, Use
from tetrapla.backends.systolic.layout import Placed
from tetrapla.backends.systolic.multiply import Machine, Multiplier
from tetrapla.backends.systolic.products import Product
from tetrapla.backends.systolic.stages import Pass
from tetrapla.simulators.systolic.program import Port

Tables: TypeAlias = tuple[tuple[Table, ...], tuple[Table, ...]]
"""Access descriptors and requantise rows."""


class Emitter:
    """Writes the instructions of a whole program."""

    def __init__(self, machine: Machine, stages: list[Product | Pass], uses: list[Use]) -> None:
        self.dispatcher = Dispatcher()
        self.entries = Entries(self.dispatcher)
        self.array = Multiplier(machine, stages, uses, self.dispatcher, self.entries)
        self._send = self.dispatcher.send

    def load(self, port: Port, target: Placed, host: bool = True) -> None:
        """LDA of a whole value."""
        operands = {
            "dram": port.address,
            "ub": target.buffer.address,
            "bytes": port.traffic_bytes,
            "host": int(host),
        }
        self._send("LDA", operands, writes=[_whole(target)])

    def store(self, port: Port, source: Placed) -> None:
        """ST of a whole value, to the host."""
        operands = {
            "dram": port.address,
            "ub": source.buffer.address,
            "bytes": port.traffic_bytes,
            "host": 1,
        }
        self._send("ST", operands, reads=[_whole(source)])

    def mark(self, number: int) -> None:
        """Begin a layer, once the one before has written its results."""
        self._send("MARK", {"id": number}, after=("RQ", "VE"))

    def halt(self) -> None:
        """End the program."""
        self._send("HALT", {})

    def vector(self, one: Pass, tables: tuple[Table, ...], following: Tables) -> None:
        """A pass of the vector unit."""
        entries = [self.entries.descriptor(table) for table in tables]
        operands = {
            "func": one.func,
            "a": entries[0],
            "b": entries[-1],
            "ub": one.target.buffer.address,
            "len": one.rows,
        }
        reads = [*(part("descriptor", e) for e in entries), *(_whole(s) for s in one.sources)]
        self._send("VE", operands, reads, [_whole(one.target)])
        self._prepare(following)

    def product(self, first: int, count: int, following: Tables) -> None:
        """The uses of one stage; `following` are the tables that the next stage needs first."""
        self.array.multiply(first, count)
        self._prepare(following)
        self.array.finish()

    def _prepare(self, following: Tables) -> None:
        for table in following[0]:
            self.entries.descriptor(table)
        for table in following[1]:
            self.entries.row(table)


def _whole(value: Placed) -> Resource:
    return stretch(value.buffer.address, value.buffer.size_bytes)
