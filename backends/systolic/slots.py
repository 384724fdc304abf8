"""Which slot of the weight memory holds which tile, decided with the whole sequence known."""

from __future__ import annotations

from bisect import bisect_right


class Slots:
    """Belady's rule: the tile whose next use lies farthest makes room.

    Of tiles that are not used again, the one shifted longest ago does, so that its slot can be
    filled while later ones are still read.
    """

    def __init__(self, count: int, sequence: list[int]) -> None:
        """`sequence` names the tiles in the order in which they are shifted into the array."""
        self._sequence = sequence
        self._places: dict[int, list[int]] = {}
        for place, tile in enumerate(sequence):
            self._places.setdefault(tile, []).append(place)
        self._count = count
        self._tiles: list[int] = []  # by slot in use
        self._slots: dict[int, int] = {}  # and back
        self._latest: list[int] = []  # by slot, the latest place that it was taken for

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
        if tile in self._slots:
            slot = self._slots[tile]
            self._latest[slot] = place
            return slot, True
        slot = len(self._tiles)
        if slot < self._count:
            self._tiles.append(tile)
            self._latest.append(place)
        else:
            needed = set(self._sequence[current:place])
            free = [s for s, held in enumerate(self._tiles) if held not in needed]
            slot = max(
                free, key=lambda s: (self._next_use(self._tiles[s], place), -self._latest[s])
            )
            del self._slots[self._tiles[slot]]
            self._tiles[slot], self._latest[slot] = tile, place
        self._slots[tile] = slot
        return slot, False

    def _next_use(self, tile: int, after: int) -> int:
        """Place of the tile's next use; one past the end where there is none."""
        places = self._places[tile]
        index = bisect_right(places, after)
        return places[index] if index < len(places) else len(self._sequence)
