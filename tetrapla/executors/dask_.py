"""A Dask cluster that somebody started: ``--executor dask://HOST:PORT`` of its scheduler."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from logging import ERROR, getLogger
from time import perf_counter
from typing import Any, Final, TypeVar

from tetrapla.executors import WorkerError
from tetrapla.ir.errors import ModelError, UnsupportedError

S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")

_CONNECT_S: Final = 10
_TRIES: Final = 3  # of the items that a cluster lost with its workers
_AHEAD: Final = 4  # assumed: batches in the scheduler for each worker keep it busy
_TASK_S: Final = 0.25  # assumed: of a batch; the scheduler takes milliseconds for each
_MOST: Final = 64  # items of a batch, assumed: so many are done again where a worker ends


class Dask:
    """Workers of a cluster; what a worker had when it ended is done by another.

    The workers need this package, in this version.
    """

    def __init__(self, address: str) -> None:
        """Args: address: of the scheduler, ``tcp://host:port``.

        Raises:
            UnsupportedError: the package `distributed` is not installed.
        """
        try:
            self._dask: Any = import_module("distributed")
        except ImportError:
            raise UnsupportedError(
                "--executor dask:// needs dask's distributed, which is not installed; "
                'pip install "tetrapla[scale]"'
            ) from None
        self.address = address

    def run(
        self, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        """As `Executor.run`.

        Raises:
            ModelError: no scheduler answers.
        """
        try:
            client = self._dask.Client(self.address, timeout=_CONNECT_S)
        except (OSError, TimeoutError) as error:
            raise ModelError(
                f"--executor must name a Dask scheduler that answers, not {self.address} "
                f"({type(error).__name__}); start one with `dask scheduler`"
            ) from None
        # of a worker that ended; what it had is done again
        getLogger("distributed.client").setLevel(ERROR)
        with client:
            yield from self._all(client, work, shared, items)

    def _all(
        self, client: Any, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        # which of several items ended its worker is found by doing each of them alone
        left, alone, tries = list(range(len(items))), set[int](), [0] * len(items)
        while left:
            done, lost = set[int](), list[int]()
            # a scattered value has no recipe: where all its holders ended it is sent again
            held = client.scatter(shared, broadcast=True, hash=False)
            for numbers, future, made in self._submitted(
                client, work, held, items, left, alone
            ):
                if made is not None:
                    results, error, _ = made
                    for number, result in zip(numbers, results, strict=False):
                        done.add(number)
                        yield number, result
                    if error is not None:
                        raise error
                elif future.status == "error" and not self._of_the_cluster(future):
                    future.result()  # raises what the work raised
                else:
                    lost += numbers
            for number in lost:
                tries[number] += number in alone or len(lost) == 1
                if tries[number] >= _TRIES:
                    raise WorkerError(number, tries[number])
            alone.update(lost)
            left = [number for number in left if number not in done]

    def _submitted(
        self,
        client: Any,
        work: Callable[[S, A], B],
        held: Any,
        items: Sequence[A],
        numbers: Sequence[int],
        alone: set[int],
    ) -> Iterator[tuple[list[int], Any, Any]]:
        """Futures as they end, with their items' numbers and, where done, what `_each` gave."""
        waiting = deque(numbers)
        of: dict[str, list[int]] = {}
        running = self._dask.as_completed()
        size, workers = 1, max(1, len(client.nthreads()))

        def fill() -> None:
            while waiting and len(of) < _AHEAD * workers:
                batch = [waiting.popleft()]
                fair = 1 + len(waiting) // (2 * workers)  # the last batches end together
                while (
                    waiting
                    and len(batch) < min(size, fair)
                    and not alone.intersection((batch[0], waiting[0]))
                ):
                    batch.append(waiting.popleft())
                # pure=False: two equal batches are two
                part = [items[number] for number in batch]
                future = client.submit(_each, work, held, part, pure=False)
                of[future.key] = batch
                running.add(future)

        fill()
        for future in running:
            batch, made = of.pop(future.key), None
            if future.status == "finished":
                made = future.result()
                spent_s = made[2] / len(batch)
                size = max(1, min(_MOST, int(_TASK_S / max(spent_s, 1e-6))))
            yield batch, future, made
            fill()

    def _of_the_cluster(self, future: Any) -> bool:
        """Whether workers ended under an item, and not the item's own work failed."""
        kinds = (self._dask.scheduler.KilledWorker, self._dask.comm.CommClosedError)
        return isinstance(future.exception(), kinds)


def _each(
    work: Callable[[S, A], B], shared: S, items: Sequence[A]
) -> tuple[list[B], Exception | None, float]:
    """In a worker: results of some items, what the next one raised, and how many seconds."""
    start, found = perf_counter(), list[B]()
    try:
        for item in items:
            found.append(work(shared, item))
    except Exception as error:  # told with what is done, and raised by the caller
        return found, error, perf_counter() - start
    return found, None, perf_counter() - start
