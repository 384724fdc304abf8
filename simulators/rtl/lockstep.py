"""Every write of a program, compared on the RTL in the cycle in which it has retired.

An instruction that is dispatched in the cycle after a retirement must find what was written, so
the bytes are compared then: at the earliest that anybody may read them, at the latest that they
must be there. A write that another instruction may already have begun to overwrite is left
out (partial sums that the next tile adds to); the result behind it is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.machine import Memories
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.written import Memory, Written, written
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.timing import Schedule
from tetrapla.simulators.systolic.values import State, step

_VISIBLE = 2
"""Edges from the beginning of the cycle of a retirement to that in which its result is read."""


class Lockstep:
    """A probe of a run that steps the Python machine beside the RTL.

    Attributes:
        state: of the Python machine, one invocation; it is stepped.
        differing: by instruction, how many bytes and sums of its result differ.
        compared: by instruction, how many were compared.
    """

    traced = False

    def __init__(self, program: Program, plan: Schedule, state: State) -> None:
        self.state = state
        self.differing = [0] * len(program.instructions)
        self.compared = [0] * len(program.instructions)
        self._program = program
        self._writes = list(written(program))
        self._due: dict[int, list[int]] = defaultdict(list)
        for number, writes in enumerate(self._writes):
            if writes and not _overwritten(self._writes, plan, number):
                self._due[plan.retire[number] + _VISIBLE].append(number)
        self._kept: dict[int, list[Array]] = {}
        self._expected = {number for numbers in self._due.values() for number in numbers}
        self._done = 0
        self._rtl: Mapping[Memory, Array] = {}

    def attach(self, model: Model, memories: Memories) -> None:
        """Look at what a run writes."""
        self._rtl = _of_rtl(memories)
        model.watch(sorted(self._due), self._look)

    def finish(self, memories: Memories) -> None:
        """Compare what a run that ended too early has left, and step to the end."""
        self._rtl = _of_rtl(memories)
        for cycle in sorted(self._due):
            self._look(cycle)
        self._step(len(self._writes))

    def _look(self, cycle: int) -> None:
        for number in sorted(self._due.pop(cycle)):
            self._step(number + 1)
            for part, wanted in zip(self._writes[number], self._kept.pop(number), strict=True):
                found = self._rtl[part.memory][part.index]
                found = found[..., : wanted.shape[1]] if wanted.ndim > 1 else found
                self.compared[number] += wanted.size
                self.differing[number] += int(np.count_nonzero(found != wanted))

    def _step(self, until: int) -> None:
        """Run the Python machine's instructions below a number."""
        for number in range(self._done, until):
            step(self.state, self._program.instructions[number])
            if number in self._expected:
                self._kept[number] = [self._held(part) for part in self._writes[number]]
        self._done = max(self._done, until)

    def _held(self, part: Written) -> Array:
        """A copy of a part of the Python machine's memories."""
        state, index = self.state, part.index
        match part.memory:
            case "accumulators":
                return np.array(state.sums("i32", 0, len(state.kinds))[0][index])
            case "buffer":
                return np.array(state.buffer[0][index])
            case "dram":
                first, end = part.bounds
                return np.array(state.read(first, end - first)[0])


def _overwritten(writes: Sequence[Sequence[Written]], plan: Schedule, number: int) -> bool:
    """Whether a later instruction may write what this one wrote before it is looked at."""
    for later in range(number + 1, len(writes)):
        if plan.dispatch[later] > plan.retire[number]:
            return False
        if any(a.meets(b) for a in writes[number] for b in writes[later]):
            return True
    return False


def _of_rtl(memories: Memories) -> Mapping[Memory, Array]:
    return {
        "dram": memories.dram,
        "buffer": memories.buffer,
        "accumulators": memories.accumulators,
    }
