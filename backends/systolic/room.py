"""Free room in the unified buffer: first fit around what is there."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

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

    def place(self, size_bytes: int) -> int | None:
        """Take the first stretch that is free; None where there is none."""
        address = 0
        for start, end in self._taken:
            if address + size_bytes <= start:
                break
            address = max(address, aligned(end))
        if address + size_bytes > self._capacity_bytes:
            return None
        insort(self._taken, (address, address + size_bytes))
        return address

    def place_all(self, sizes_bytes: Iterable[int]) -> list[int] | None:
        """Take a stretch for each; None where one finds none."""
        found = []
        for size_bytes in sizes_bytes:
            address = self.place(size_bytes)
            if address is None:
                return None
            found.append(address)
        return found
