"""Which slot of the weight memory holds which tile, decided with the whole sequence known."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush


class Slots:
    """Belady's rule: the tile whose next use lies farthest makes room.

    Of tiles that are not used again, the one shifted longest ago does, so that its slot can be
    filled while later ones are still read. Tiles are taken in the order of the sequence, so the
    next use of what is there is known when it is taken.
    """

    def __init__(self, count: int, sequence: list[int]) -> None:
        """`sequence` names the tiles in the order in which they are shifted into the array."""
        self._sequence = sequence
        self._next = [len(sequence)] * len(sequence)  # by place, the tile's next one
        later: dict[int, int] = {}
        for place in range(len(sequence) - 1, -1, -1):
            self._next[place] = later.get(sequence[place], len(sequence))
            later[sequence[place]] = place
        self._count = count
        self._tiles: list[int] = []  # by slot in use
        self._slots: dict[int, int] = {}  # and back
        self._latest: list[int] = []  # by slot, the latest place that it was taken for
        # the farthest next use first, then the earliest place; outdated ones are passed over
        self._farthest: list[tuple[int, int, int]] = []
        self._recent: deque[tuple[int, int, int]] = deque()  # that may still have to stay

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
            self._latest[slot] = place
        elif len(self._tiles) < self._count:
            slot = len(self._tiles)
            self._tiles.append(tile)
            self._latest.append(place)
        else:
            slot = self._freed(current)
            del self._slots[self._tiles[slot]]
            self._tiles[slot], self._latest[slot] = tile, place
        self._slots[tile] = slot
        self._recent.append((-self._next[place], place, slot))
        return slot, present

    def _freed(self, current: int) -> int:
        """The slot whose tile is needed last, and not from `current` on up to now."""
        while self._recent and self._recent[0][1] < current:
            heappush(self._farthest, self._recent.popleft())
        while True:
            _, place, slot = heappop(self._farthest)
            if self._latest[slot] == place:  # not taken again since
                return slot
