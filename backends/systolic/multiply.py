"""The array's part of a program: weights to their slots, into the array, sums out of it.

weights        LDW two tiles ahead where the slots allow it, LW right after the MM that
               takes the tile before
accumulators   two halves, so that RQ of one tile runs beside the MMs of the next
"""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.backends.systolic.entries import Entries
from tetrapla.backends.systolic.hazards import Dispatcher, part, stretch
from tetrapla.backends.systolic.image import Use
from tetrapla.backends.systolic.products import Product
from tetrapla.backends.systolic.slots import Slots
from tetrapla.backends.systolic.stages import Pass

_AHEAD = 2


@dataclass(frozen=True)
class Machine:
    """What of the design point the order depends on."""

    weight_tiles: int
    accumulator_rows: int

    @property
    def halves(self) -> int:
        """Parts of the accumulators."""
        return 2 if self.accumulator_rows > 1 else 1

    @property
    def most_rows(self) -> int:
        """Rows of one part."""
        return self.accumulator_rows // self.halves


class Multiplier:
    """Writes LDW, LW, MM and RQ of all products, in the order of their uses."""

    def __init__(
        self,
        machine: Machine,
        stages: list[Product | Pass],
        uses: list[Use],
        dispatcher: Dispatcher,
        entries: Entries,
    ) -> None:
        self.accumulator_rows = 0
        self._machine = machine
        self._stages = stages
        self._uses = uses
        self._send = dispatcher.send
        self._entries = entries
        # a use needs LW where its tile is not the one already in the array
        self._shifts = [
            n for n, u in enumerate(uses) if not n or uses[n - 1].weights != u.weights
        ]
        self._shift_set = frozenset(self._shifts)
        self._slots = Slots(machine.weight_tiles, [uses[n].weights for n in self._shifts])
        self._loaded = self._shifted = 0
        self._half = 0
        self._waiting: list[tuple[Use, int]] = []

    @property
    def weight_slots(self) -> int:
        """Slots of the weight memory that the program uses."""
        return self._slots.used

    def prefetch(self) -> None:
        """LDW of the tiles that come next."""
        ahead = min(_AHEAD, self._machine.weight_tiles - 1)
        while self._loaded < min(self._shifted + ahead, len(self._shifts)):
            self._load_tile()

    def multiply(self, first: int, count: int) -> None:
        """The uses of one stage, all but the last RQ."""
        for number in range(first, first + count):
            use = self._uses[number]
            self._shift_for(number)
            for table in use.tables:
                self._entries.row(table)
            self._multiply(use, number)
            self._shift_for(number + 1)
            self.prefetch()
            self.finish()
            if use.last:
                self._waiting.append((use, self._half))
                self._half = (self._half + 1) % self._machine.halves
            if self._machine.halves == 1:  # the next MM overwrites what waits
                self.finish()

    def finish(self) -> None:
        """RQ of what is complete and waits."""
        for use, half in self._waiting:
            self._requantize(use, half)
        self._waiting.clear()

    def _load_tile(self) -> None:
        use = self._uses[self._shifts[self._loaded]]
        slot, present = self._slots.take(self._loaded, self._shifted)
        if not present:
            rows, cols = use.tile.taps, use.tile.columns
            operands = {"dram": use.weights, "slot": slot, "rows": rows, "cols": cols}
            self._send("LDW", operands, writes=[part("slot", slot)])
        self._loaded += 1

    def _shift_for(self, number: int) -> None:
        """LW of the tile of use `number`, unless it was sent or is not needed."""
        if self._shifted == len(self._shifts) or self._shifts[self._shifted] != number:
            return
        if self._loaded == self._shifted:
            self._load_tile()
        slot = self._slots.of(self._shifted)
        self._send("LW", {"slot": slot}, [part("slot", slot)], [part("shadow", 0)])
        self._shifted += 1

    def _multiply(self, use: Use, number: int) -> None:
        tile, swap = use.tile, number in self._shift_set
        entry = self._entries.descriptor(use.descriptor)
        start = self._half * self._machine.most_rows
        self.accumulator_rows = max(self.accumulator_rows, start + tile.rows)
        operands = {
            "desc": entry,
            "acc": start,
            "len": tile.rows,
            "row": tile.row,
            "k": tile.tap,
            "lanes": tile.taps,
            "swap": int(swap),
            "accumulate": int(not tile.first),
        }
        source = self._product(use).source.buffer
        reads = [part("descriptor", entry), stretch(source.address, source.size_bytes)]
        takes = [part("shadow", 0)] if swap else []
        self._send("MM", operands, reads, [part("accumulators", self._half)], takes)

    def _requantize(self, use: Use, half: int) -> None:
        product, tile = self._product(use), use.tile
        first = product.blocks[tile.block].first + tile.column
        for epilogue, table in zip(product.epilogues, use.tables, strict=True):
            target = epilogue.target.buffer
            start = target.address + first * (4 if epilogue.raw else 1)
            entry = self._entries.row(table)
            operands = {
                "acc": half * self._machine.most_rows,
                "len": tile.rows,
                "cols": tile.columns,
                "table": entry,
                "ub": start + tile.row * epilogue.table.stride,
                "raw": int(epilogue.raw),
            }
            reads = [part("row", entry), part("accumulators", half)]
            self._send("RQ", operands, reads, [stretch(target.address, target.size_bytes)])

    def _product(self, use: Use) -> Product:
        found = self._stages[use.product]
        assert isinstance(found, Product), "a use belongs to a product"
        return found
