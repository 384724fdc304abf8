"""A Dask cluster that somebody started: ``--executor dask://HOST:PORT`` of its scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, TypeVar

from tetrapla.executors import WorkerError
from tetrapla.ir.errors import ModelError, UnsupportedError

S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")

_CONNECT_S: Final = 10
_TRIES: Final = 3  # of the items that a cluster lost with its workers
_AHEAD: Final = 64  # assumed: items in the scheduler for each worker keep it busy


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
        with client:
            yield from self._all(client, work, shared, items)

    def _all(
        self, client: Any, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        left, tries = list(range(len(items))), [0] * len(items)
        while left:
            done = set[int]()
            # a scattered value has no recipe: where all its holders ended it is sent again
            held = client.scatter(shared, broadcast=True, hash=False)
            lost = list[int]()
            for number, future in self._submitted(client, work, held, items, left):
                if future.status == "finished":
                    done.add(number)
                    yield number, future.result()
                elif future.status == "error" and not self._of_the_cluster(future):
                    future.result()  # raises what the work raised
                else:
                    lost.append(number)
            for number in lost:
                tries[number] += 1
                if tries[number] >= _TRIES:
                    raise WorkerError(number, tries[number])
            left = [number for number in left if number not in done]

    def _submitted(
        self,
        client: Any,
        work: Callable[[S, A], B],
        held: Any,
        items: Sequence[A],
        numbers: Sequence[int],
    ) -> Iterator[tuple[int, Any]]:
        """Futures as they end, each with its item's number."""
        waiting = iter(numbers)
        of: dict[str, int] = {}
        running = self._dask.as_completed()
        for number in waiting:
            self._submit(client, work, held, items, number, of, running)
            if len(of) >= _AHEAD * max(1, len(client.nthreads())):
                break
        for future in running:
            yield of.pop(future.key), future
            for number in waiting:
                self._submit(client, work, held, items, number, of, running)
                break

    @staticmethod
    def _submit(
        client: Any,
        work: Callable[[S, A], B],
        held: Any,
        items: Sequence[A],
        number: int,
        of: dict[str, int],
        running: Any,
    ) -> None:
        # pure=False: two equal items are two items
        future = client.submit(work, held, items[number], pure=False)
        of[future.key] = number
        running.add(future)

    def _of_the_cluster(self, future: Any) -> bool:
        """Whether workers ended under an item, and not the item's own work failed."""
        kinds = (self._dask.scheduler.KilledWorker, self._dask.comm.CommClosedError)
        return isinstance(future.exception(), kinds)
