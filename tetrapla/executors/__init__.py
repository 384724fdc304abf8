"""Where the points of a sweep are computed: here, on processes, on a Dask or a Ray cluster.

An executor gives a work function a shared value and one item at a time, and yields what comes
out with the item's number, in the order in which it is done. It never decides a result: the
same items give the same results on any executor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from tetrapla.ir.errors import ModelError

S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")

MAX_PROCESSES = 1024  # assumed: more is a typing error


class Executor(Protocol):
    """Computes independent items.

    `work` and everything given to it must be picklable; `work` is a function of a module.
    """

    def run(
        self, work: Callable[[S, A], B], shared: S, items: Sequence[A]
    ) -> Iterator[tuple[int, B]]:
        """Yield (number of the item, ``work(shared, item)``), each item once, as done.

        Args:
            work: called on each item; what it raises is raised here.
            shared: sent to each worker once.
            items: what to compute.

        Raises:
            WorkerError: an item ended its worker every time that it was tried.
        """
        ...


class WorkerError(ModelError):
    """An item ended every worker that it was given to."""

    def __init__(self, number: int, tries: int) -> None:
        super().__init__(
            f"point {number} must be computable in a worker, but ended {tries} of them; run it "
            "alone with simulate to see why (too little memory is the usual reason)"
        )


def executor_for(text: str | None) -> Executor:
    """The executor that ``--executor`` names.

    Args:
        text: None or ``serial``, ``processes`` or ``processes:N``, ``dask://HOST:PORT``,
            ``ray`` or ``ray://HOST:PORT``.

    Raises:
        ModelError: none of them, or a number of processes that cannot be.
        UnsupportedError: the package of a cluster is not installed.
    """
    from tetrapla.executors.local import Processes, Serial

    kind, colon, rest = (text or "serial").partition(":")
    if text in (None, "serial"):
        return Serial()
    if kind == "processes" and (not colon or _count(rest)):
        return Processes(int(rest) if colon else os.cpu_count() or 1)
    if kind == "dask" and rest.startswith("//") and len(rest) > 2:
        from tetrapla.executors.dask_ import Dask

        return Dask(f"tcp:{rest}")
    if kind == "ray" and (not colon or (rest.startswith("//") and len(rest) > 2)):
        from tetrapla.executors.ray_ import Ray

        return Ray(text if colon else None)
    raise ModelError(
        "--executor must be serial, processes, processes:N (N from 1 to "
        f"{MAX_PROCESSES}), dask://HOST:PORT, ray or ray://HOST:PORT, not '{text}'"
    )


def _count(text: str) -> bool:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PROCESSES))
    return digits and 1 <= int(text) <= MAX_PROCESSES


@contextmanager
def one_thread() -> Generator[None]:
    """While the block runs, children of this process start with one numerical thread each.

    Several workers with a thread per core each would fight for them; results do not depend on
    it (sums that matter run in fixed chunks).
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    given = [name for name in names if name not in os.environ]
    os.environ.update(dict.fromkeys(given, "1"))
    try:
        yield
    finally:
        for name in given:
            os.environ.pop(name, None)
