"""Free room in the unified buffer: first fit around what is there."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator

_ALIGNMENT = 16


def aligned(count: int) -> int:
    """The next address at which a buffer may begin."""
    return -(-count // _ALIGNMENT) * _ALIGNMENT


class Room:
    """A memory of `capacity_bytes` in which some stretches are taken."""

    def __init__(self, capacity_bytes: int, taken: Iterable[tuple[int, int]] = ()) -> None:
        """`taken` are addresses with sizes in bytes."""
        self._capacity_bytes = capacity_bytes
        self._taken = sorted((start, start + size) for start, size in taken)

    def copy(self) -> Room:
        """The same, to try something."""
        return Room(self._capacity_bytes, ((a, b - a) for a, b in self._taken))

    @property
    def end_bytes(self) -> int:
        """The end of the last stretch that is taken."""
        return max((end for _, end in self._taken), default=0)

    @property
    def gap_bytes(self) -> int:
        """The longest stretch that is free."""
        return max((end - start for start, end in self._free()), default=0)

    @property
    def free_bytes(self) -> int:
        """All that is free, in however many stretches."""
        return sum(end - start for start, end in self._free())

    def place(self, size_bytes: int, last: bool = False) -> int | None:
        """Take the first stretch that is free, or the last one's end; None without one."""
        fits = [(a, b) for a, b in self._free() if a + size_bytes <= b]
        if not fits:
            return None
        address = fits[0][0]
        if last:
            high = (fits[-1][1] - size_bytes) // _ALIGNMENT * _ALIGNMENT
            address = max(high, fits[-1][0])
        insort(self._taken, (address, address + size_bytes))
        return address

    def place_all(self, sizes_bytes: Iterable[int], last: bool = False) -> list[int] | None:
        """Take a stretch for each; None where one finds none."""
        found = []
        for size_bytes in sizes_bytes:
            address = self.place(size_bytes, last)
            if address is None:
                return None
            found.append(address)
        return found

    def _free(self) -> Iterator[tuple[int, int]]:
        address = 0
        for start, end in self._taken:
            if address < start:
                yield address, start
            address = max(address, aligned(end))
        if address < self._capacity_bytes:
            yield address, self._capacity_bytes
