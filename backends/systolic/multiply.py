"""The array's part of a program: tiles to their slots, into the array, sums out of it.

weights        LDW two tiles ahead where the slots allow it, LW right after the MM that
               takes the tile before
accumulators   two halves, so that RQ of one tile runs beside the MMs of the next

Where arrays have columns of their own, a tile is one for each, in slots that follow each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from tetrapla.backends.systolic.design import OUTPUTS, Machine
from tetrapla.backends.systolic.entries import Entries
from tetrapla.backends.systolic.hazards import Dispatcher, Resource, part, stretch
from tetrapla.backends.systolic.image import Fill, Load, Use
from tetrapla.backends.systolic.products import Product
from tetrapla.backends.systolic.slots import Slots

_AHEAD = 2


class Multiplier:
    """Writes LDW, LUW, LW, MM and RQ of all products, in the order of their uses."""

    def __init__(
        self,
        machine: Machine,
        stages: Sequence[object],
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
        # a use needs LW where its tiles are not those already in the array
        self._shifts = [n for n, u in enumerate(uses) if not n or uses[n - 1].loads != u.loads]
        self._shift_set = frozenset(self._shifts)
        self._width = max((len(u.loads) for u in uses), default=1)
        numbers: dict[tuple[Load | Fill, ...], int] = {}
        sequence = [numbers.setdefault(uses[n].loads, len(numbers)) for n in self._shifts]
        self._groups = Slots(machine.weight_tiles // self._width, sequence)
        self._loaded = self._shifted = 0
        self._begun = -1  # the stage whose operands are there
        self._half = 0
        self._waiting: list[tuple[Use, int]] = []
        self._stays = machine.dataflow == OUTPUTS
        self._swapped = 0  # shifts that an MM took
        self._streaming: list[int] = []

    @property
    def weight_slots(self) -> int:
        """Slots of the weight memory that the program uses."""
        return self._groups.used * self._width

    def prefetch(self) -> None:
        """LDW of the tiles that come next."""
        ahead = min(_AHEAD, self._machine.weight_tiles // self._width - 1 - self._stays)
        while self._loaded < min(self._shifted + ahead, len(self._shifts)):
            if not self._ready(self._shifts[self._loaded]):
                return
            self._load_tiles()

    def multiply(self, first: int, count: int) -> None:
        """The uses of one stage, all but the last RQ."""
        self._begun = self._uses[first].product
        for number in range(first, first + count):
            use = self._uses[number]
            self._shift_for(number)
            for table in use.tables:
                self._entries.row(table)
            self._multiply(use, number)
            self._shift_for(number + 1)
            self.prefetch()
            self.finish()
            if use.tile.last:
                self._waiting.append((use, self._half))
                self._half = (self._half + 1) % self._machine.halves
            if self._machine.halves == 1:  # the next MM overwrites what waits
                self.finish()

    def finish(self) -> None:
        """RQ of what is complete and waits."""
        for use, half in self._waiting:
            self._requantize(use, half)
        self._waiting.clear()

    def _ready(self, number: int) -> bool:
        """Whether the tiles of a use are there, to be loaded before its stage begins."""
        use = self._uses[number]
        return use.product <= self._begun or all(isinstance(x, Load) for x in use.loads)

    def _load_tiles(self) -> None:
        use = self._uses[self._shifts[self._loaded]]
        # a slot is free once its weights are in the array, or have streamed through it
        first = self._swapped if self._stays else self._shifted
        group, present = self._groups.take(self._loaded, first)
        if not present:
            for unit, load in enumerate(use.loads):
                self._load_tile(load, group * self._width + unit)
        self._loaded += 1

    def _load_tile(self, load: Load | Fill, slot: int) -> None:
        operands = {"slot": slot, "rows": load.rows, "cols": load.cols}
        if isinstance(load, Load):
            operands |= {"dram": load.address, "fmt": load.fmt, "sparse": int(load.sparse)}
            self._send("LDW", operands, writes=[part("slot", slot)])
            return
        entry, buffer = self._entries.descriptor(load.table), load.source.buffer
        operands |= {"desc": entry, "row": load.row, "k": load.tap}
        operands["transpose"] = int(load.transpose)
        reads = [part("descriptor", entry), stretch(buffer.address, buffer.size_bytes)]
        self._send("LUW", operands, reads, [part("slot", slot)])

    def _shift_for(self, number: int) -> None:
        """LW of the tiles of use `number`, unless it was sent, must wait or is not needed."""
        if self._shifted == len(self._shifts) or self._shifts[self._shifted] != number:
            return
        if not self._ready(number):
            return
        if self._loaded == self._shifted:
            self._load_tiles()
        use, slots = self._uses[number], self._slots(self._shifted)
        operands = {"slot": slots[0], "spread": int(use.tile.spread)}
        reads = [part("slot", slot) for slot in slots]
        self._send("LW", operands, reads, [part("shadow", 0)])
        self._shifted += 1

    def _slots(self, shift: int) -> list[int]:
        first = self._groups.of(shift) * self._width
        return [first + unit for unit in range(len(self._uses[self._shifts[shift]].loads))]

    def _multiply(self, use: Use, number: int) -> None:
        tile, swap = use.tile, number in self._shift_set
        product = self._product(use)
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
            "fmt": product.format.code,
            "spread": int(tile.spread),
            "drain": int(self._stays and tile.last),
        }
        moved = (product.moving or product.source).buffer
        reads = [part("descriptor", entry), stretch(moved.address, moved.size_bytes)]
        if self._stays:  # the weights stream from their slots
            reads += self._streamed(swap)
        takes = [part("shadow", 0)] if swap else []
        writes = [part("accumulators", self._half)] if tile.last or not self._stays else []
        self._send("MM", operands, reads, writes, takes)

    def _streamed(self, swap: bool) -> list[Resource]:
        if swap:
            self._streaming = self._slots(self._swapped)
            self._swapped += 1
        return [part("slot", slot) for slot in self._streaming]

    def _requantize(self, use: Use, half: int) -> None:
        product, tile = self._product(use), use.tile
        at, swapped = product.blocks[tile.block].start, product.moving is not None
        across, down = (tile.row, tile.column) if swapped else (tile.column, tile.row)
        for epilogue, table in zip(product.epilogues, use.tables, strict=True):
            target = epilogue.target.buffer
            start = (epilogue.offset + at + across) * epilogue.width
            start += down * epilogue.table.stride
            entry = self._entries.row(table)
            operands = {
                "acc": half * self._machine.most_rows,
                "len": tile.rows,
                "cols": tile.columns,
                "table": entry,
                "ub": target.address + start,
                "raw": int(epilogue.raw),
                "transposed": int(swapped),
                "spread": int(tile.spread),
                "fmt": epilogue.fmt,
            }
            reads = [part("row", entry), part("accumulators", half)]
            self._send("RQ", operands, reads, [stretch(target.address, target.size_bytes)])

    def _product(self, use: Use) -> Product:
        found = self._stages[use.product]
        assert isinstance(found, Product), "a use belongs to a product"
        return found
