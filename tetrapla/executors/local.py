"""Executors of this machine: one after the other, and a process per worker."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Final, TypeVar

from tetrapla.executors import WorkerError, one_thread

S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")

TRIES: Final = 3  # of an item whose worker ended: a machine short of memory may need a second
_AHEAD: Final = 2  # items given to a pool for each of its workers


class Serial:
    """One item after the other, in this process."""

    def run(
        self, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        """As `Executor.run`."""
        for number, item in enumerate(items):
            yield number, work(shared, item)


class Processes:
    """Fresh processes of this machine; one that ends is replaced, and its items done again."""

    def __init__(self, count: int) -> None:
        """Args: count: of processes at once."""
        self.count = count

    def run(
        self, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        """As `Executor.run`."""
        # which of several items ended its worker is found by doing each of them alone
        suspected: list[int] = []
        left, tries = list(range(len(items))), [0] * len(items)
        while left:
            running: dict[Future[B], int] = {}
            done = set[int]()
            batch = suspected[:1] or left
            try:
                for number, result in _pooled(work, shared, items, batch, self.count, running):
                    done.add(number)
                    yield number, result
            except BrokenProcessPool:
                ended = sorted(running.values())
                for number in ended:
                    tries[number] += 1
                if len(batch) == 1 and tries[batch[0]] >= TRIES:
                    raise WorkerError(batch[0], tries[batch[0]]) from None
                suspected = sorted({*suspected, *ended})
            left = [number for number in left if number not in done]
            suspected = [number for number in suspected if number not in done]


def _pooled(
    work: Callable[[S, A], B],
    shared: S,
    items: Sequence[A],
    numbers: Sequence[int],
    count: int,
    running: dict[Future[B], int],
) -> Iterator[tuple[int, B]]:
    """Results of some items by a pool of processes; `running` holds what it is at."""
    count = min(count, len(numbers))
    # a forked child would inherit threads of MLIR and BLAS in the middle of their work
    context = multiprocessing.get_context("spawn")
    with one_thread():
        pool = ProcessPoolExecutor(
            count, mp_context=context, initializer=_begin, initargs=(work, shared)
        )
        waiting = iter(numbers)
        try:
            while True:
                for number in islice(waiting, count * _AHEAD - len(running)):
                    running[pool.submit(_do, items[number])] = number
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(finished, key=running.__getitem__):
                    result = future.result()
                    yield running.pop(future), result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_given: list[Any] = []


def _begin(work: Callable[[Any, Any], Any], shared: object) -> None:
    _given[:] = [work, shared]


def _do(item: object) -> Any:
    work, shared = _given
    return work(shared, item)
