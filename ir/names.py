"""Names that are unique in a module."""

from __future__ import annotations


class Names:
    """Hands out each name once; a taken one gets the next free number."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, stem: str) -> str:
        """`stem` itself the first time, then ``stem_2``, then ``stem_3``."""
        name, count = stem, self._next.get(stem, 1)
        while name in self._next:
            count += 1
            name = f"{stem}_{count}"
        self._next[stem] = count
        self._next.setdefault(name, 1)
        return name
