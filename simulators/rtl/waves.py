"""The waveforms of a stretch of a run on the RTL, as a VCD that GTKWave opens.

Scopes are the modules of `rtl/`. Cycle n begins with the clock's rising edge at time 2 n, so a
layer has as many edges as it has cycles. Memories and rows of more than 2048 bits are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.compare import memories_of
from tetrapla.simulators.rtl.machine import Memories, run
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.systolic.machine import started
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

MOST_BYTES = 2**28
"""Of a file; a longer recording ends there."""


class _Enough(Exception):  # noqa: N818 - nothing is wrong
    """All is recorded: the rest of the run is of no interest."""


@dataclass
class _Recorder:
    """A probe that records and then ends the run."""

    file: Path
    first: int
    last: int
    traced: bool = True
    recorded: int = -1

    def attach(self, model: Model, memories: Memories) -> None:
        del memories
        model.record(self.file, self.first, self.last, MOST_BYTES)
        model.watch([self.last], lambda _: self._end(model))

    def _end(self, model: Model) -> None:
        self.recorded = model.recorded
        raise _Enough


def waves(
    program: Program,
    spec: SystolicSpec,
    inputs: Mapping[str, Array],
    cycles: tuple[int, int],
    file: Path,
) -> int:
    """Record a run.

    Args:
        program: with values, legal, compiled for the design point.
        spec: the design point.
        inputs: arrays of shape (1, *shape) by input name.
        cycles: the first, and the one behind the last; the edges that end them are recorded.
        file: written.

    Returns:
        The cycle in which the recording ended: the second of `cycles`, or an earlier one where
        the file became too large.

    Raises:
        UnsupportedError: the RTL or its toolchain lacks something.
        ModelError: the RTL stopped at an instruction.
    """
    state, _ = started(program, inputs)
    held = memories_of(state)
    probe = _Recorder(file, *cycles)
    with suppress(_Enough):
        run(program, spec, held.dram, held.buffer, held.accumulators, cycles[1] + 1, probe)
    return probe.recorded
