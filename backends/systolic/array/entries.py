"""Which entry of a table of the machine holds which table of the image; CFG where none does."""

from __future__ import annotations

from tetrapla.backends.systolic.array.image import Table
from tetrapla.backends.systolic.hazards import Dispatcher, Part
from tetrapla.simulators.systolic.isa import DESCRIPTORS, REQUANTIZE_ROWS


class Entries:
    """Access descriptors and rows of the requantise table; the oldest makes room."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._descriptors = _Held(dispatcher, 0, DESCRIPTORS)
        self._rows = _Held(dispatcher, 1, REQUANTIZE_ROWS)

    def descriptor(self, table: Table) -> int:
        """The entry of an access descriptor."""
        return self._descriptors.entry(table)

    def row(self, table: Table) -> int:
        """The row of the requantise table."""
        return self._rows.entry(table)

    def rows(self, tables: tuple[Table, ...]) -> None:
        """See to the rows of one use, one after another."""
        self._rows.entries(tables)

    def descriptor_part(self, entry: int) -> Part:
        """What holds an access descriptor, as a resource."""
        return self._descriptors.parts[entry]

    def row_part(self, entry: int) -> Part:
        """What holds a row of the requantise table, as a resource."""
        return self._rows.parts[entry]


class _Held:
    """The entries of one table, the one used longest ago first."""

    def __init__(self, dispatcher: Dispatcher, kind: int, limit: int) -> None:
        self.parts = [Part.untouched() for _ in range(limit)]
        self._dispatcher = dispatcher
        self._kind = kind
        self._held: dict[int, int] = {}  # by address in DRAM
        self._latest = -1  # address
        self._group: tuple[Table, ...] = ()  # those that were used last, in order

    def entries(self, tables: tuple[Table, ...]) -> None:
        """See to several; again in the same order they change nothing."""
        if tables is not self._group:
            for table in tables:
                self.entry(table)
            self._group = tables

    def entry(self, table: Table) -> int:
        """Where a table lies."""
        held, address = self._held, table.address
        if address == self._latest:
            return held[address]
        self._latest, self._group = address, ()
        if address in held:
            held[address] = entry = held.pop(address)  # now the latest
            return entry
        entry = len(held) if len(held) < len(self.parts) else held.pop(next(iter(held)))
        held[address] = entry
        operands = {"dram": address, "kind": self._kind, "index": entry, "bytes": table.bytes}
        self._dispatcher.send("CFG", operands, writes=[self.parts[entry]])
        return entry
