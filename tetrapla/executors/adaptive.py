"""This process as long as that is quick, then processes for what is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Final, TypeVar

from tetrapla.executors.local import Processes, Serial

S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")

PATIENCE_S: Final = 1.5
"""From here on a second process is worth its start, which takes about as long."""


class Adaptive:
    """Serial for the first moments; what takes longer goes to processes.

    The results do not depend on where an item is computed, so they do not depend on the clock.
    """

    def __init__(self, count: int | None = None, patience_s: float = PATIENCE_S) -> None:
        """Args: count: of processes at once, None for the cores of this process."""
        self.count = count or cores()
        self.patience_s = patience_s

    def run(
        self, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        """As `Executor.run`."""
        begun, left = monotonic(), list(range(len(items)))
        while left and not self._pays(monotonic() - begun, len(left)):
            number = left.pop(0)
            yield number, work(shared, items[number])
        rest = [items[number] for number in left]
        executor = Processes(min(self.count, len(rest))) if len(rest) > 1 else Serial()
        for place, made in executor.run(work, shared, rest):
            yield left[place], made

    def _pays(self, spent_s: float, left: int) -> bool:
        return self.count > 1 and left > 1 and spent_s >= self.patience_s


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
