"""How a stage may be run in the room that there is, and which way costs least.

A way says who leaves the unified buffer first, which operands are loaded and which results
are made whole, and which of them stream through it in strips of output rows. Its price is
that of its strips, and the DRAM traffic of values that leave and come back, now or later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product

from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.layout import Buffer
from tetrapla.backends.systolic.memory.pieces import reads, writes
from tetrapla.backends.systolic.memory.prices import Prices
from tetrapla.backends.systolic.memory.room import Room, aligned
from tetrapla.backends.systolic.memory.splits import CutList, Split, Strips, splits
from tetrapla.backends.systolic.memory.strips import cuts
from tetrapla.backends.systolic.stages import Stage

_NEVER = 2**31


@dataclass(frozen=True)
class Memory:
    """What a plan depends on: the unified buffer, and the machine around it."""

    capacity_bytes: int
    machine: Machine
    lanes: int = 1


@dataclass(frozen=True)
class Situation:
    """What is where before a stage.

    Attributes:
        residents: addresses of what lies whole in the unified buffer.
        later: by buffer, the next stage after this one that uses it, where there is one.
        unsaved: residents whose home has no copy that is up to date.
        leaving: what the host gets in the end: stored once anyway.
        updated: results that hold something already.
    """

    stage: Stage
    residents: Mapping[Buffer, int]
    later: Mapping[Buffer, int]
    unsaved: Set[Buffer]
    leaving: Set[Buffer]
    updated: Set[Buffer]

    def stored_bytes(self, buffer: Buffer) -> int:
        """What leaving costs now."""
        needed = buffer in self.unsaved and buffer not in self.leaving
        return buffer.size_bytes if needed else 0

    def again_bytes(self, buffer: Buffer) -> int:
        """What it costs later that it is not here."""
        return buffer.size_bytes if buffer in self.later else 0


@dataclass(frozen=True)
class Way:
    """How a stage is run.

    Attributes:
        leave: who makes room.
        whole: addresses of what becomes resident; `load` is the part of it that comes from
            DRAM.
        split: the strips of what does not.
        price_bytes: what it costs.
        gap_bytes: the longest stretch that is free after the stage.
    """

    leave: tuple[Buffer, ...]
    whole: Mapping[Buffer, int]
    load: tuple[Buffer, ...]
    split: Split
    price_bytes: int
    gap_bytes: int

    @property
    def rank(self) -> tuple[int, int]:
        """The least is the best."""
        return self.price_bytes, -self.gap_bytes


def missing_bytes(stage: Stage, memory: Memory) -> int:
    """How many bytes more the unified buffer must have for a strip of one row; 0 if none.

    Strips are halved until they fit, so that many short ones are only made where they must.
    """
    least: int | None = None
    for cut in cuts(stage, memory.machine):
        cut_list, most = CutList(cut), cut.rows
        while True:
            need = _need_bytes(stage, cut_list.of(most)) - memory.capacity_bytes
            if need <= 0:
                return 0
            least = need if least is None else min(least, need)
            if most == 1:
                break
            most //= 2
    assert least is not None, "there is always one way to cut"
    return least


def _need_bytes(stage: Stage, strips: Strips) -> int:
    """What a strip takes of all buffers, each in a place of its own."""
    buffers = dict.fromkeys((*reads(stage), *writes(stage)))
    return sum(
        aligned(b.size_bytes if b in strips.fixed else strips.most_bytes[b]) for b in buffers
    )


def best_way(found: Situation, memory: Memory) -> Way:
    """The way that costs least; of equals the one that leaves the longest stretch free."""
    best: Way | None = None
    leaving_bytes = 0
    order = _order(found)
    prices = Prices(found.stage, memory.machine, memory.lanes, found.leaving, found.updated)
    least_bytes = prices.least()
    cut_lists = [CutList(cut) for cut in cuts(found.stage, memory.machine)]
    for count in range(len(order) + 1):
        if count:
            last = order[count - 1]
            leaving_bytes += found.stored_bytes(last) + found.again_bytes(last)
        least = leaving_bytes + least_bytes
        if best is not None and least > best.price_bytes:
            break
        for residents in _residents(found, memory, order[:count]):
            spent = leaving_bytes + residents.traffic_bytes
            if best is not None and spent + least_bytes > best.price_bytes:
                continue
            for split in splits(cut_lists, residents.streamed, residents.room):
                price = spent + prices.of(split)
                way = residents.way(split, price)
                if best is None or way.rank < best.rank:
                    best = way
    assert best is not None, "one strip of one row was found to fit"
    return best


def _order(found: Situation) -> list[Buffer]:
    """Who leaves first: the farthest next use, and last what the stage itself reads."""
    own = {*reads(found.stage), *writes(found.stage)}
    never = max(found.later.values(), default=0) + 1
    others = [b for b in found.residents if b not in own]
    others.sort(key=lambda b: -found.later.get(b, never))
    mine = sorted((b for b in found.residents if b in own), key=lambda b: -b.size_bytes)
    return [*others, *mine]


@dataclass(frozen=True)
class _Residents:
    """Who lies whole in the unified buffer during a stage, and what is free beside them.

    Attributes:
        leave, whole, load: as of a way.
        streamed: operands and results that do not.
        room: beside all that do.
        after: who is there after the stage, as addresses and sizes.
        traffic_bytes: that they cause, now and later.
    """

    leave: tuple[Buffer, ...]
    whole: Mapping[Buffer, int]
    load: tuple[Buffer, ...]
    streamed: tuple[Buffer, ...]
    room: Room
    after: Room
    traffic_bytes: int

    def way(self, split: Split, price_bytes: int) -> Way:
        """With strips of the others."""
        gap_bytes = self.after.gap_bytes
        return Way(self.leave, self.whole, self.load, split, price_bytes, gap_bytes)


def _residents(
    found: Situation, memory: Memory, leave: Sequence[Buffer]
) -> Iterator[_Residents]:
    """Every choice of operands and results that lie there whole."""
    stage = found.stage
    loaded = {*reads(stage)} | found.updated
    kept = {b: a for b, a in found.residents.items() if b not in leave}
    absent = [b for b in dict.fromkeys((*reads(stage), *writes(stage))) if b not in kept]
    around_kept = _room(memory, kept)
    for chosen in product((True, False), repeat=len(absent)):
        whole = [b for b, is_whole in zip(absent, chosen, strict=True) if is_whole]
        if sum(b.size_bytes for b in whole) > around_kept.free_bytes:
            continue
        whole.sort(key=lambda b: found.later.get(b, _NEVER))  # who stays longest is at an end
        streamed = tuple(b for b in absent if b not in whole)
        load = tuple(b for b in whole if b in loaded)
        traffic = sum(b.size_bytes for b in load) + sum(map(found.again_bytes, streamed))
        for last in (False, True) if whole else (False,):
            room = around_kept.copy()
            addresses = room.place_all((b.size_bytes for b in whole), last)
            if addresses is None:
                continue
            placed = dict(zip(whole, addresses, strict=True))
            after = {b: a for b, a in (kept | placed).items() if b in found.later}
            yield _Residents(
                tuple(leave), placed, load, streamed, room, _room(memory, after), traffic
            )


def _room(memory: Memory, residents: Mapping[Buffer, int]) -> Room:
    return Room(memory.capacity_bytes, ((a, b.size_bytes) for b, a in residents.items()))
