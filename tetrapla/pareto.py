"""The Pareto front: what nothing else beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def front(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """Whether no other row is at least as small everywhere and smaller somewhere.

    A row with an unknown is never on the front.
    """
    known = [(tuple(row), i) for i, row in enumerate(rows) if None not in row]
    best: list[Sequence[Any]] = []
    found = [False] * len(rows)
    # in ascending order what beats a row comes before it, and something on the front does
    for row, i in sorted(known):
        if all(
            row == other or any(x < y for x, y in zip(row, other, strict=True))
            for other in best
        ):
            best.append(row)
            found[i] = True
    return found
