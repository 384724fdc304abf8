"""Stages in strips that are as long as the room allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby, pairwise

from tetrapla.backends.systolic.layout import Buffer
from tetrapla.backends.systolic.memory.pieces import Cut, Piece, Pieces, around
from tetrapla.backends.systolic.memory.room import Room


@dataclass(frozen=True)
class Strips:
    """A stage cut.

    Attributes:
        ends, pieces: as of a split.
        most_bytes: what a strip takes at most of each buffer.
        fixed: buffers that cannot stream.
        read_bytes: of all strips together, of what strips read; what two in turn have in
            common counts once. `changed_bytes` is the same of what they read or write.
        made_bytes: what they write; `side_bytes` is all that they read or write, one by one.
    """

    ends: list[tuple[int, int]]
    pieces: list[Pieces]
    most_bytes: Mapping[Buffer, int]
    fixed: Set[Buffer]
    read_bytes: Mapping[Buffer, int]
    changed_bytes: Mapping[Buffer, int]
    made_bytes: Mapping[Buffer, int]
    side_bytes: Mapping[Buffer, int]

    @staticmethod
    def of(cut: Cut, most: int) -> Strips:
        """Strips of at most so many rows."""
        ends = cut.strips(most)
        held = [cut.pieces(*pair) for pair in ends]
        sizes, read, changed, made, all_ = (Counter[Buffer]() for _ in range(5))
        before: list[Piece] = []
        results: list[Piece] = []
        for sides in held:
            spans = around(sides)
            operands = {piece.buffer for piece in sides[0]}
            for piece in (*sides[0], *sides[1]):
                all_[piece.buffer] += piece.bytes
            for piece in spans:
                sizes[piece.buffer] = max(sizes[piece.buffer], piece.bytes)
                if piece not in before:
                    changed[piece.buffer] += piece.bytes
                    read[piece.buffer] += piece.bytes * (piece.buffer in operands)
            if sides[1] != results:
                made.update({piece.buffer: piece.bytes for piece in sides[1]})
            before, results = spans, sides[1]
        fixed = {buffer for buffer in sizes if _overlap(held, buffer)}
        return Strips(ends, held, sizes, fixed, read, changed, made, all_)


class CutList:
    """The strips of a cut by their greatest length, made once."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self._held: dict[int, Strips] = {}
        self._middle: dict[int, tuple[dict[Buffer, int], int]] = {}

    def of(self, most: int) -> Strips:
        """The strips of at most so many rows."""
        if most not in self._held:
            self._held[most] = Strips.of(self.cut, most)
        return self._held[most]

    def fits(self, most: int, streamed: Sequence[Buffer], places: int, free: int) -> bool:
        """Whether the strip in the middle fits, before all are made: it is about the largest.

        Args:
            most: rows of a strip.
            streamed: buffers that need `places` for a strip each.
            places: as many.
            free: bytes that there are.
        """
        if most not in self._middle:
            ends = self.cut.strips(most)
            spans = around(self.cut.pieces(*ends[len(ends) // 2]))
            self._middle[most] = {piece.buffer: piece.bytes for piece in spans}, len(ends)
        sizes, count = self._middle[most]
        return min(places, count) * sum(sizes.get(buffer, 0) for buffer in streamed) <= free


@dataclass(frozen=True)
class Split:
    """A stage in strips.

    Attributes:
        cut: how it is cut.
        strips: its strips.
        streams: by buffer, the places that its strips take in turn.
        end_bytes: how far the unified buffer is used.
    """

    cut: Cut
    strips: Strips
    streams: Mapping[Buffer, tuple[int, ...]]
    end_bytes: int


def splits(
    cut_lists: Sequence[CutList], streamed: Sequence[Buffer], room: Room
) -> Iterator[Split]:
    """The longest strips of each cut for which there is room, with two places and with one."""
    for cut in cut_lists if streamed else cut_lists[:1]:
        for places in (2, 1):
            split = _longest(cut, streamed, room, places)
            if split is not None:
                yield split


def _longest(cut: CutList, streamed: Sequence[Buffer], room: Room, places: int) -> Split | None:
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
    cut: CutList, streamed: Sequence[Buffer], room: Room, places: int, most: int
) -> Split | None:
    if not cut.fits(most, streamed, places, room.free_bytes):
        return None
    strips = cut.of(most)
    if any(buffer in strips.fixed for buffer in streamed):
        return None
    places = min(places, len(strips.ends))
    if places * sum(strips.most_bytes[buffer] for buffer in streamed) > room.free_bytes:
        return None
    trial = room.copy()
    streams: dict[Buffer, tuple[int, ...]] = {}
    for buffer in streamed:
        found = trial.place_all([strips.most_bytes[buffer]] * places)
        if found is None:
            return None
        streams[buffer] = tuple(found)
    return Split(cut.cut, strips, streams, trial.end_bytes)


def _overlap(held: Sequence[Pieces], buffer: Buffer) -> bool:
    """Whether two strips write the same bytes: then the second would undo the first."""
    written = sorted(
        (made[0].start, made[0].end)
        for made, _ in groupby([p for p in made if p.buffer is buffer] for _, made in held)
        if made
    )
    return any(one[1] > other[0] for one, other in pairwise(written))
