"""How a stage may be run in the room that there is, and which way costs least.

A way says who leaves the unified buffer first, which operands are loaded and which results
are made whole, and which of them stream through it in strips of output rows. Its price is the
DRAM traffic that it causes now and brings about later: values that leave and come back,
weights that are read again for every strip where the weight memory does not hold them, halos
of windows, access descriptors. To that come, at the pace of DRAM, the cycles of the work, which
short strips make longer, and those in which nothing works beside a transfer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby, pairwise, product

from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.layout import Buffer, Moving
from tetrapla.backends.systolic.memory.channels import Channels
from tetrapla.backends.systolic.memory.pieces import (
    Cut,
    Pieces,
    around,
    is_loaded,
    reads,
    writes,
)
from tetrapla.backends.systolic.memory.room import Room
from tetrapla.backends.systolic.memory.strips import cuts
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.vector.routines import GatherStage, RoutineStage
from tetrapla.simulators.systolic.tables import DESCRIPTOR_BYTES

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
class Split:
    """A stage in strips.

    Attributes:
        cut: how it is cut.
        strips: first row and end of each; `pieces` what each reads and writes.
        streams: by buffer, the places that its strips take in turn.
        end_bytes: how far the unified buffer is used.
    """

    cut: Cut
    strips: list[tuple[int, int]]
    pieces: list[Pieces]
    streams: Mapping[Buffer, tuple[int, ...]]
    end_bytes: int


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


def least_bytes(stage: Stage, machine: Machine) -> tuple[list[int], list[int]]:
    """What must be there at least of each operand and each result: a strip of one row."""
    found = [_most_bytes(stage, _CutList(cut).of(1)) for cut in cuts(stage, machine)]
    return min(found, key=lambda pair: sum(pair[0]) + sum(pair[1]))


def _most_bytes(stage: Stage, strips: _Strips) -> tuple[list[int], list[int]]:
    def most(buffer: Buffer) -> int:
        return buffer.size_bytes if buffer in strips.fixed else strips.most_bytes[buffer]

    made = writes(stage)  # what is read and written counts as written
    return [most(b) for b in reads(stage) if b not in made], [most(b) for b in made]


def best_way(found: Situation, memory: Memory) -> Way:
    """The way that costs least; of equals the one that leaves the longest stretch free."""
    best: Way | None = None
    leaving_bytes = 0
    order = _order(found)
    cut_lists = [_CutList(cut) for cut in cuts(found.stage, memory.machine)]
    for count in range(len(order) + 1):
        if count:
            last = order[count - 1]
            leaving_bytes += found.stored_bytes(last) + found.again_bytes(last)
        if best is not None and leaving_bytes >= best.price_bytes:
            break
        for way in _ways(found, memory, cut_lists, order[:count], leaving_bytes):
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


def _ways(
    found: Situation,
    memory: Memory,
    cut_lists: Sequence[_CutList],
    leave: Sequence[Buffer],
    leaving_bytes: int,
) -> Iterator[Way]:
    stage = found.stage
    loaded = {*reads(stage)} | found.updated
    kept = {b: a for b, a in found.residents.items() if b not in leave}
    absent = [b for b in dict.fromkeys((*reads(stage), *writes(stage))) if b not in kept]
    for chosen in product((True, False), repeat=len(absent)):
        whole = [b for b, is_whole in zip(absent, chosen, strict=True) if is_whole]
        whole.sort(key=lambda b: found.later.get(b, _NEVER))  # who stays longest is at an end
        streamed = [b for b in absent if b not in whole]
        for last in (False, True) if whole else (False,):
            room = _room(memory, kept)
            addresses = room.place_all((b.size_bytes for b in whole), last)
            if addresses is None:
                continue
            placed = dict(zip(whole, addresses, strict=True))
            after = {b: a for b, a in (kept | placed).items() if b in found.later}
            gap_bytes = _room(memory, after).gap_bytes
            load = tuple(b for b in whole if b in loaded)
            for split in _splits(cut_lists, streamed, room):
                price = leaving_bytes + sum(b.size_bytes for b in load)
                price += _price(found, memory, split)
                yield Way(tuple(leave), placed, load, split, price, gap_bytes)


def _room(memory: Memory, residents: Mapping[Buffer, int]) -> Room:
    return Room(memory.capacity_bytes, ((a, b.size_bytes) for b, a in residents.items()))


def _splits(
    cut_lists: Sequence[_CutList], streamed: Sequence[Buffer], room: Room
) -> Iterator[Split]:
    """The longest strips of each cut for which there is room, with two places and with one."""
    for cut in cut_lists if streamed else cut_lists[:1]:
        for places in (2, 1):
            split = _longest(cut, streamed, room, places)
            if split is not None:
                yield split


def _longest(
    cut: _CutList, streamed: Sequence[Buffer], room: Room, places: int
) -> Split | None:
    low, high, best = 1, cut.cut.rows, None
    while low <= high:
        most = (low + high) // 2
        split = _split(cut, streamed, room, places, most)
        if split is None:
            high = most - 1
        else:
            best, low = split, most + 1
    return best


def _split(
    cut: _CutList, streamed: Sequence[Buffer], room: Room, places: int, most: int
) -> Split | None:
    strips = cut.of(most)
    if any(buffer in strips.fixed for buffer in streamed):
        return None
    trial = room.copy()
    streams: dict[Buffer, tuple[int, ...]] = {}
    for buffer in streamed:
        count = min(places, len(strips.ends))
        found = trial.place_all([strips.most_bytes[buffer]] * count)
        if found is None:
            return None
        streams[buffer] = tuple(found)
    return Split(cut.cut, strips.ends, strips.pieces, streams, trial.end_bytes)


@dataclass(frozen=True)
class _Strips:
    """A stage cut; what a strip takes at most of each buffer, and what cannot stream."""

    ends: list[tuple[int, int]]
    pieces: list[Pieces]
    most_bytes: Mapping[Buffer, int]
    fixed: Set[Buffer]


class _CutList:
    """The strips of a cut by their greatest length, made once."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self._held: dict[int, _Strips] = {}

    def of(self, most: int) -> _Strips:
        """The strips of at most so many rows."""
        if most not in self._held:
            ends = self.cut.strips(most)
            held = [self.cut.pieces(*pair) for pair in ends]
            sizes: dict[Buffer, int] = {}
            for piece in (piece for sides in held for piece in around(sides)):
                sizes[piece.buffer] = max(sizes.get(piece.buffer, 0), piece.bytes)
            fixed = {buffer for buffer in sizes if _overlap(held, buffer)}
            self._held[most] = _Strips(ends, held, sizes, fixed)
        return self._held[most]


def _overlap(held: Sequence[Pieces], buffer: Buffer) -> bool:
    """Whether two strips write the same bytes: then the second would undo the first."""
    written = sorted(
        (made[0].start, made[0].end)
        for made, _ in groupby([p for p in made if p.buffer is buffer] for _, made in held)
        if made
    )
    return any(one[1] > other[0] for one, other in pairwise(written))


def _price(found: Situation, memory: Memory, split: Split) -> int:
    """Traffic of the strips, and later of what they stream; and cycles, as bytes."""
    streams, total = split.streams, 0
    for before, sides in zip((None, *split.pieces), split.pieces, strict=False):
        held = [] if before is None else around(before)
        for piece in around(sides):
            loaded = is_loaded(piece.buffer, sides[0], found.updated)
            if loaded and piece.buffer in streams and piece not in held:
                total += piece.bytes
        if before is None or sides[1] != before[1]:
            made = (p for p in sides[1] if p.buffer not in found.leaving)
            total += sum(p.bytes for p in made if p.buffer in streams)
    total += sum(found.again_bytes(buffer) for buffer in streams)
    stage, machine = found.stage, memory.machine
    blocks = len(stage.blocks) if isinstance(stage, Product) else 1
    total += len(split.strips) * blocks * DESCRIPTOR_BYTES
    total += _weights_bytes(stage, memory, split)
    work_bytes = int(_work_cycles(split, stage, memory) / machine.byte_cycles)
    return total + work_bytes + min(_alone_bytes(split), work_bytes)


def _alone_bytes(split: Split) -> int:
    """What moves while nothing works, because a strip has no second place."""
    if len(split.strips) == 1 or any(len(places) > 1 for places in split.streams.values()):
        return 0
    moved = (piece for sides in split.pieces for side in sides for piece in side)
    return sum(piece.bytes for piece in moved if piece.buffer in split.streams)


def _work_cycles(split: Split, stage: Stage, memory: Memory) -> int:
    """How long the array or the vector unit is busy, about; a short strip waits for weights."""
    if isinstance(stage, Product):
        least = memory.machine.rows + 2
        tiles = sum(_tiles(block.shape, memory.machine) for block in stage.blocks)
        rows = (stage.rows * (end - a) // split.cut.rows for a, end in split.strips)
        return tiles * sum(max(count, least) for count in rows) // split.cut.groups
    if isinstance(stage, RoutineStage | GatherStage):
        return stage.cycles(memory.lanes)
    d = stage.descriptors[0]
    return stage.rows * d.taps * -(-d.channels // memory.lanes)


def _tiles(shape: tuple[int, int], machine: Machine) -> int:
    return -(-shape[0] // machine.rows) * -(-shape[1] // machine.cols)


def _weights_bytes(stage: Stage, memory: Memory, split: Split) -> int:
    """Weights read from DRAM; each strip of rows goes over all tiles, or those of a group."""
    if not isinstance(stage, Product) or stage.moving is not None:
        return 0
    machine, tiles, all_bytes = memory.machine, 0, 0
    for block in stage.blocks:
        if not isinstance(block.weights, Moving):
            taps, channels = block.shape
            tiles += _tiles(block.shape, machine)
            all_bytes += taps * channels * block.weights.itemsize
    if isinstance(split.cut, Channels) and split.cut.outside:
        tiles = -(-tiles // split.cut.groups)  # of a group: that is what must be kept
    # of a cycle of tiles all slots but one keep theirs, and that one serves all the others
    kept = machine.weight_tiles if tiles <= machine.weight_tiles else machine.weight_tiles - 1
    again = max(0, tiles - kept)
    return all_bytes + (len(split.strips) // split.cut.groups - 1) * (
        all_bytes * again // max(tiles, 1)
    )
