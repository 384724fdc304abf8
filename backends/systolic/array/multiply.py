"""The array's part of a program: tiles to their slots, into the array, sums out of it.

weights        LDW as far ahead as there are slots, up to 16 tiles; LW right after the MM that
               takes the tile before; LUW one tile ahead, since it shares LW's engine
accumulators   a ring of rows; RQ of a tile is sent once its sums have left the array, so that
               it does not keep the MMs of the next tiles from being dispatched

Where arrays have columns of their own, a tile is one for each, in slots that follow each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tetrapla.backends.systolic.array.entries import Entries
from tetrapla.backends.systolic.array.image import Fill, Load, Use
from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.array.slots import Slots
from tetrapla.backends.systolic.design import OUTPUTS, Machine
from tetrapla.backends.systolic.hazards import (
    Dispatcher,
    Part,
    Resource,
    Stretch,
    stretch,
    sums,
)

_TABLES_AHEAD = 3  # uses; the tables of one leave entries for those that are being read
_AT_ONCE = 2
MOST_AHEAD = 16  # tiles; more hide little, and finding room for them takes its time


@dataclass
class _Waiting:
    """Complete sums that RQ has yet to take: their first row, and cycles since the last MM."""

    use: Use
    start: int
    age: float = 0.0

    def overlaps(self, start: int, rows: int) -> bool:
        """Whether some rows hold it."""
        return start < self.start + self.use.tile.rows and self.start < start + rows


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
        self._start = self._next = 0  # of the sums being made, and of those to come
        self._waiting: list[_Waiting] = []
        self._stays = machine.dataflow == OUTPUTS
        self._arriving: dict[int, float] = {}  # by use, cycles that DMA takes for its tiles
        self._swapped = 0  # shifts that an MM took
        self._streaming: list[int] = []
        self._slot_parts = [Part.untouched() for _ in range(machine.weight_tiles)]
        self._shadow = Part.untouched()
        self._moved: Stretch = stretch(0, 0)  # what the present stage moves through the array
        # from the last row or tap fed: a cycle to see it, and one before the next MM
        self._latency = machine.leaving_cycles + 2

    @property
    def weight_slots(self) -> int:
        """Slots of the weight memory that the program uses."""
        return self._groups.used * self._width

    def prefetch(self) -> None:
        """LDW of the tiles that come next."""
        ahead = self._machine.weight_tiles // self._width - 1 - self._stays
        ahead = min(ahead, MOST_AHEAD)
        if self._begun < 0:  # more would keep the first layer from beginning
            ahead = min(ahead, _AT_ONCE)
        # a few at a time: each takes a cycle of the dispatcher, which the next MM waits for
        last = min(self._shifted + ahead, self._loaded + _AT_ONCE, len(self._shifts))
        while self._loaded < last:
            number = self._shifts[self._loaded]
            if not (self._constant(number) or self._loaded == self._shifted):
                return
            if not self._ready(number):
                return
            self._load_tiles()

    def multiply(self, first: int, count: int) -> None:
        """The uses of one stage, all but the last RQ."""
        self._begin(self._uses[first])
        for number in range(first, first + count):
            use = self._uses[number]
            self._shift_for(number)
            self._entries.rows(use.tables)
            self._make_room(use)
            self._multiply(use, number)
            self._shift_for(number + 1)
            self.prefetch()
            self._look_ahead(number)
            self._requantize_left(use, number)
            if use.tile.last:
                self._waiting.append(_Waiting(use, self._start))

    def _begin(self, use: Use) -> None:
        self._begun, product = use.product, self._product(use)
        moved = (product.moving or product.source).buffer
        self._moved = stretch(moved.address, moved.size_bytes)

    def _look_ahead(self, number: int) -> None:
        """The tables of the uses to come: DRAM's latency passes beside the work."""
        for use in self._uses[number + 1 : number + 1 + _TABLES_AHEAD]:
            if use.product == self._begun:
                self._entries.descriptor(use.descriptor)
                self._entries.rows(use.tables)

    def finish(self) -> None:
        """RQ of what is complete and waits."""
        self._requantize_first(len(self._waiting))

    def finish_before(self, product: int) -> None:
        """RQ of what is complete of the products before that one."""
        self._requantize_first(sum(w.use.product < product for w in self._waiting))

    def _make_room(self, use: Use) -> None:
        """Rows of the accumulators for new sums."""
        if not use.tile.first:
            return
        rows = use.tile.rows
        self._start = self._next if self._next + rows <= self._machine.accumulator_rows else 0
        self._next = self._start + rows
        self.accumulator_rows = max(self.accumulator_rows, self._next)
        held = [n for n, w in enumerate(self._waiting) if w.overlaps(self._start, rows)]
        self._requantize_first(held[-1] + 1 if held else 0)

    def _requantize_left(self, use: Use, number: int) -> None:
        """RQ of sums that have left the array by the time that this MM has been fed."""
        arriving = self._arriving.pop(number, 0.0)
        if not self._waiting:
            return
        tile, form = use.tile, self._product(use).format.name
        fed = self._machine.fed_cycles(tile.taps, tile.rows, form, tile.spread)
        passed = max(fed, arriving)
        for waiting in self._waiting:
            waiting.age += passed
        left = [n for n, w in enumerate(self._waiting) if w.age >= self._latency]
        self._requantize_first(left[-1] + 1 if left else 0)

    def _requantize_first(self, count: int) -> None:
        for waiting in self._waiting[:count]:
            self._requantize(waiting.use, waiting.start)
        del self._waiting[:count]

    def _constant(self, number: int) -> bool:
        # beside a computed tile, only the idle arrays' zeros are constant
        return isinstance(self._uses[number].loads[0], Load)

    def _ready(self, number: int) -> bool:
        """Whether the tiles of a use are there, to be loaded before its stage begins."""
        use = self._uses[number]
        return use.product <= self._begun or self._constant(number)

    def _load_tiles(self) -> None:
        use = self._uses[self._shifts[self._loaded]]
        # a slot is free once its weights are in the array, or have streamed through it
        first = self._swapped if self._stays else self._shifted
        group, present = self._groups.take(self._loaded, first)
        if not present:
            for unit, load in enumerate(use.loads):
                self._load_tile(load, group * self._width + unit)
            held = sum(load.rows * load.cols for load in use.loads)
            self._arriving[self._shifts[self._loaded]] = held * self._machine.byte_cycles
        self._loaded += 1

    def _load_tile(self, load: Load | Fill, slot: int) -> None:
        operands = {"slot": slot, "rows": load.rows, "cols": load.cols}
        if isinstance(load, Load):
            operands |= {"dram": load.address, "fmt": load.fmt, "sparse": int(load.sparse)}
            self._send("LDW", operands, writes=[self._slot_parts[slot]])
            return
        entry, buffer = self._entries.descriptor(load.table), load.source.buffer
        operands |= {"desc": entry, "row": load.row, "k": load.tap}
        operands |= {"transpose": int(load.transpose), "fmt": load.fmt}
        reads: list[Resource] = [self._entries.descriptor_part(entry)]
        reads.append(stretch(buffer.address, buffer.size_bytes))
        self._send("LUW", operands, reads, [self._slot_parts[slot]])

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
        reads = [self._slot_parts[slot] for slot in slots]
        self._send("LW", operands, reads, [self._shadow])
        self._shifted += 1

    def _slots(self, shift: int) -> list[int]:
        first = self._groups.of(shift) * self._width
        return [first + unit for unit in range(len(self._uses[self._shifts[shift]].loads))]

    def _multiply(self, use: Use, number: int) -> None:
        tile, swap = use.tile, number in self._shift_set
        product = self._product(use)
        entry = self._entries.descriptor(use.descriptor)
        operands = {
            "desc": entry,
            "acc": self._start,
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
        reads: list[Resource] = [self._entries.descriptor_part(entry), self._moved]
        if self._stays:  # the weights stream from their slots
            reads += self._streamed(swap)
        takes = [self._shadow] if swap else []
        leaves = tile.last or not self._stays
        writes = [sums(self._start, tile.rows)] if leaves else []
        self._send("MM", operands, reads, writes, takes)

    def _streamed(self, swap: bool) -> list[Part]:
        if swap:
            self._streaming = self._slots(self._swapped)
            self._swapped += 1
        return [self._slot_parts[slot] for slot in self._streaming]

    def _requantize(self, use: Use, first: int) -> None:
        product, tile = self._product(use), use.tile
        at, swapped = product.blocks[tile.block].start, product.moving is not None
        across, down = (tile.row, tile.column) if swapped else (tile.column, tile.row)
        for epilogue, table in zip(product.epilogues, use.tables, strict=True):
            target = epilogue.target.buffer
            start = (epilogue.offset + at + across) * epilogue.width
            start += down * epilogue.table.stride
            entry = self._entries.row(table)
            operands = {
                "acc": first,
                "len": tile.rows,
                "cols": tile.columns,
                "table": entry,
                "ub": target.address + start,
                "raw": int(epilogue.raw),
                "transposed": int(swapped),
                "spread": int(tile.spread),
                "fmt": epilogue.fmt,
            }
            reads: list[Resource] = [self._entries.row_part(entry), sums(first, tile.rows)]
            self._send("RQ", operands, reads, [stretch(target.address, target.size_bytes)])

    def _product(self, use: Use) -> Product:
        found = self._stages[use.product]
        assert isinstance(found, Product), "a use belongs to a product"
        return found
