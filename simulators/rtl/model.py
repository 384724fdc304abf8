"""A built design in this process: its memories are NumPy arrays, its clock runs in C++."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.toolchain import Design, shared_object


class _Memory(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("bytes", ctypes.c_longlong))


class Model:
    """One instance of a design. A context manager: its memories die with it.

    Args:
        design: built if the cache does not hold it.
        seed: of the registers' first bits, where the design has them random.

    Raises:
        UnsupportedError: the toolchain is missing or refuses the sources.
    """

    def __init__(self, design: Design, seed: int = 1) -> None:
        self._design = design
        self._code = ctypes.CDLL(str(shared_object(design)))
        self._code.rtl_create.restype = ctypes.c_void_p
        self._code.rtl_memory.restype = _Memory
        self._code.rtl_run.restype = ctypes.c_longlong
        self._code.rtl_recorded.restype = ctypes.c_longlong
        self._code.rtl_seed(seed)
        self._handle = ctypes.c_void_p(self._code.rtl_create())
        self._cycle = 0
        self._stops: list[int] = []  # the next one last
        self._look: Callable[[int], None] = _nothing

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._design.coverage is not None:
            file = self._design.coverage / f"{uuid4().hex}.dat"
            self._code.rtl_coverage(self._handle, str(file).encode())
        self._code.rtl_destroy(self._handle)

    def memory(self, name: str, dtype: np.dtype[Any] | type[np.generic]) -> Array:
        """A view of a memory: writing it writes the model's."""
        index = self._design.memories.index(name)
        found = self._code.rtl_memory(self._handle, index)
        data = (ctypes.c_char * found.bytes).from_address(found.data)
        return np.frombuffer(data, dtype)

    def dram(self, data: Array) -> None:
        """Give the contiguous bytes behind the DRAM port; keep them while it runs."""
        self._code.rtl_dram(ctypes.c_void_p(data.ctypes.data), ctypes.c_longlong(data.nbytes))

    def record(self, file: Path, first: int, last: int, most_bytes: int) -> None:
        """Have a `traced` design write the waveforms of cycles first to last as a VCD.

        Cycle n begins with the clock's edge at time 2 n; the edge that begins `first` is left
        out. Recording ends early soon after the file holds `most_bytes`.
        """
        numbers = (ctypes.c_longlong(n) for n in (first, last, most_bytes))
        self._code.rtl_record(self._handle, str(file).encode(), *numbers)

    @property
    def recorded(self) -> int:
        """The last cycle that `record` has written."""
        return int(self._code.rtl_recorded(self._handle))

    def reset(self) -> None:
        """One clock edge with `reset_i`; cycles count from here."""
        self._code.rtl_reset(self._handle)
        self._cycle = 0

    def watch(self, cycles: Sequence[int], look: Callable[[int], None]) -> None:
        """Have `run` call `look(n)` after n edges since the reset, for ascending `cycles`."""
        self._stops, self._look = list(reversed(cycles)), look

    def run(self, most_cycles: int) -> int:
        """Clock edges until `done_o`, but no more than `most_cycles`; how many."""
        first, end = self._cycle, self._cycle + most_cycles
        while self._cycle < end:
            until = min(end, self._stops[-1]) if self._stops else end
            wanted = until - self._cycle
            ran = int(self._code.rtl_run(self._handle, ctypes.c_longlong(wanted)))
            self._cycle += ran
            while self._stops and self._stops[-1] == self._cycle:
                self._look(self._stops.pop())
            if self._code.rtl_done(self._handle):
                break
        return self._cycle - first


def _nothing(cycle: int) -> None:
    del cycle
