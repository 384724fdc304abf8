"""Which slot of the weight memory holds which tile, decided with the whole sequence known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush


class Slots:
    """Belady's rule: the tile whose next use lies farthest makes room.

    Of tiles that are not used again, the one shifted longest ago does, so that its slot can be
    filled while later ones are still read.
    """

    def __init__(self, count: int, sequence: Sequence[int]) -> None:
        """`sequence` names the tiles in the order in which they are shifted into the array.

        `take` is to be called for each place of it, in order.
        """
        self._sequence = sequence
        self._places: dict[int, list[int]] = {}
        for place, tile in enumerate(sequence):
            self._places.setdefault(tile, []).append(place)
        self._count = count
        self._tiles: list[int] = []  # by slot in use
        self._slots: dict[int, int] = {}  # and back
        self._latest: list[int] = []  # by slot, the latest place that it was taken for
        # who leaves first: (-next use, latest place, slot); old if the latest place is another
        self._leaving: list[tuple[int, int, int]] = []

    @property
    def used(self) -> int:
        """How many slots ever held a tile."""
        return len(self._tiles)

    def of(self, place: int) -> int:
        """The slot that holds the tile of that place in the sequence."""
        return self._slots[self._sequence[place]]

    def take(self, place: int, current: int) -> tuple[int, bool]:
        """Find room for the tile of `place`; the tiles of `current` up to it must stay.

        Returns:
            The slot, and whether the tile is already there.
        """
        tile = self._sequence[place]
        present = tile in self._slots
        if present:
            slot = self._slots[tile]
        elif len(self._tiles) < self._count:
            slot = len(self._tiles)
            self._tiles.append(tile)
            self._latest.append(place)
        else:
            slot = self._emptied(set(self._sequence[current:place]))
            self._tiles[slot] = tile
        self._slots[tile], self._latest[slot] = slot, place
        heappush(self._leaving, (-self._next_use(tile, place), place, slot))
        return slot, present

    def _emptied(self, needed: set[int]) -> int:
        """The slot of the tile that leaves."""
        kept = []
        while True:
            entry = heappop(self._leaving)
            _, latest, slot = entry
            if self._latest[slot] != latest:
                continue  # old
            if self._tiles[slot] not in needed:
                break
            kept.append(entry)
        for entry in kept:
            heappush(self._leaving, entry)
        del self._slots[self._tiles[slot]]
        return slot

    def _next_use(self, tile: int, after: int) -> int:
        """Place of the tile's next use; one past the end where there is none."""
        places = self._places[tile]
        index = bisect_right(places, after)
        return places[index] if index < len(places) else len(self._sequence)
