"""Which slot of the weight memory holds which tile, decided with the whole sequence known."""

from __future__ import annotations

from bisect import bisect_right


class Slots:
    """Belady's rule: the tile whose next use lies farthest makes room."""

    def __init__(self, count: int, sequence: list[int]) -> None:
        """`sequence` names the tiles in the order in which they are shifted into the array."""
        self._sequence = sequence
        self._places: dict[int, list[int]] = {}
        for place, tile in enumerate(sequence):
            self._places.setdefault(tile, []).append(place)
        self._held: dict[int, int | None] = dict.fromkeys(range(count))  # slot -> tile

    @property
    def used(self) -> int:
        """How many slots ever held a tile."""
        return sum(tile is not None for tile in self._held.values())

    def of(self, place: int) -> int:
        """The slot that holds the tile of that place in the sequence."""
        return next(s for s, tile in self._held.items() if tile == self._sequence[place])

    def take(self, place: int, current: int) -> tuple[int, bool]:
        """Find room for the tile of `place`; the tiles of `current` up to it must stay.

        Returns:
            The slot, and whether the tile is already there.
        """
        tile = self._sequence[place]
        for slot, held in self._held.items():
            if held == tile:
                return slot, True
        needed = set(self._sequence[current:place])
        free = [slot for slot, held in self._held.items() if held not in needed]
        slot = max(free, key=lambda s: self._next_use(self._held[s], place))
        self._held[slot] = tile
        return slot, False

    def _next_use(self, tile: int | None, after: int) -> int:
        """Place of the tile's next use; one past the end where there is none."""
        places = self._places.get(tile, []) if tile is not None else []
        index = bisect_right(places, after)
        return places[index] if index < len(places) else len(self._sequence)
