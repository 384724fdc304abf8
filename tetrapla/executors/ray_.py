"""A Ray cluster, or one that Ray starts on this machine: ``--executor ray``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, TypeVar

from tetrapla.executors import WorkerError
from tetrapla.ir.errors import ModelError, UnsupportedError

S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")

_TRIES: Final = 3
_AHEAD: Final = 4  # assumed: tasks for each core keep it busy


class Ray:
    """Tasks of Ray; what a worker had when it ended is done again."""

    def __init__(self, address: str | None) -> None:
        """Args: address: ``ray://host:port``, or None for a cluster of this machine.

        Raises:
            UnsupportedError: Ray is not installed.
        """
        try:
            self._ray: Any = import_module("ray")
        except ImportError:
            raise UnsupportedError(
                '--executor ray needs Ray, which is not installed; pip install "tetrapla[ray]"'
            ) from None
        self.address = address

    def run(
        self, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        """As `Executor.run`.

        Raises:
            ModelError: no cluster answers.
        """
        ray = self._ray
        ours = not ray.is_initialized()
        if ours:
            try:
                ray.init(self.address, log_to_driver=False, include_dashboard=False)
            except Exception as error:  # of a cluster that does not start, Ray raises just this
                raise ModelError(
                    f"--executor must name a Ray cluster that answers, not {self.address} "
                    f"({type(error).__name__}); start one with `ray start --head`"
                ) from None
        try:
            yield from self._all(work, shared, items)
        finally:
            if ours:
                ray.shutdown()

    def _all(
        self, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        ray = self._ray
        # Ray itself gives an item whose worker ended to another, so many times
        task = ray.remote(max_retries=_TRIES - 1, num_cpus=1)(work)
        held = ray.put(shared)
        ahead = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(range(len(items)))
        running: dict[Any, int] = {}
        while True:
            while len(running) < ahead:
                number = next(waiting, None)
                if number is None:
                    break
                running[task.remote(held, items[number])] = number
            if not running:
                return
            for done in ray.wait(list(running), num_returns=1)[0]:
                number = running.pop(done)
                try:
                    result = ray.get(done)
                except ray.exceptions.WorkerCrashedError:
                    raise WorkerError(number, _TRIES) from None
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                yield number, result
