"""Which entry of a table of the machine holds which table of the image; CFG where none does."""

from __future__ import annotations

from tetrapla.backends.systolic.array.image import Table
from tetrapla.backends.systolic.hazards import Dispatcher, part
from tetrapla.simulators.systolic.isa import DESCRIPTORS, REQUANTIZE_ROWS


class Entries:
    """Access descriptors and rows of the requantise table; the oldest makes room."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._descriptors: dict[Table, int] = {}
        self._rows: dict[Table, int] = {}

    def descriptor(self, table: Table) -> int:
        """The entry of an access descriptor."""
        return self._configure(0, "descriptor", DESCRIPTORS, self._descriptors, table)

    def row(self, table: Table) -> int:
        """The row of the requantise table."""
        return self._configure(1, "row", REQUANTIZE_ROWS, self._rows, table)

    def _configure(
        self, kind: int, name: str, limit: int, held: dict[Table, int], table: Table
    ) -> int:
        if table in held:
            held[table] = entry = held.pop(table)  # now the latest
            return entry
        entry = len(held) if len(held) < limit else held.pop(next(iter(held)))
        held[table] = entry
        operands = {"dram": table.address, "kind": kind, "index": entry, "bytes": table.bytes}
        self._dispatcher.send("CFG", operands, writes=[part(name, entry)])
        return entry
