"""One program on the Python machine and on the RTL: every byte, every dispatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.rtl.machine import RtlRun, run
from tetrapla.simulators.systolic.legal import check_legal
from tetrapla.simulators.systolic.machine import check_fit
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import Schedule, schedule
from tetrapla.simulators.systolic.values import State, execute

_SPARE_CYCLES = 1000  # that the RTL may take longer before it counts as hanging


@dataclass(frozen=True)
class Comparison:
    """How many things differ, and what was compared.

    Attributes:
        dram_bytes, buffer_bytes, sums: that differ in DRAM (with the outputs), the unified
            buffer and the accumulators.
        dispatches: instructions that went in another cycle.
        cycles: the RTL's less the Python machine's.
        plan, rtl: both runs.
    """

    dram_bytes: int
    buffer_bytes: int
    sums: int
    dispatches: int
    cycles: int
    plan: Schedule
    rtl: RtlRun

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (
            self.dram_bytes or self.buffer_bytes or self.sums or self.dispatches or self.cycles
        )


def compare(program: Program, spec: SystolicSpec, inputs: Mapping[str, Array]) -> Comparison:
    """Run one invocation on both.

    Args:
        program: with values.
        spec: the design point.
        inputs: arrays of shape (1, *shape) by input name.

    Raises:
        SpecError: the program does not fit the design point.
        ModelError: the program is illegal, or the RTL stopped at an instruction.
        UnsupportedError: the RTL or its toolchain lacks something.
    """
    check_fit(program, spec)
    check_legal(program)
    plan = schedule(program, spec)
    state = _started(program, inputs)
    sums = state.sums("i32", 0, program.accumulator_rows)[0]
    most = plan.cycles + _SPARE_CYCLES
    rtl = run(program, spec, _dram(state), state.buffer[0], sums, most)
    execute(program, state)
    return Comparison(
        dram_bytes=_differing(rtl.dram, _dram(state)),
        buffer_bytes=_differing(rtl.buffer, state.buffer[0]),
        sums=_differing(rtl.accumulators[:, : sums.shape[1]], sums),
        dispatches=_differing(rtl.dispatched, np.array(plan.dispatch)),
        cycles=rtl.cycles - plan.cycles,
        plan=plan,
        rtl=rtl,
    )


def _dram(state: State) -> Array:
    return np.concatenate([state.constants, state.regions[0]])


def _differing(one: Array, other: Array) -> int:
    return int(np.count_nonzero(one != other))


def _started(program: Program, inputs: Mapping[str, Array]) -> State:
    """The Python machine's memories with the inputs in DRAM, after the host's own steps."""
    from tetrapla.ir.op import evaluated

    import_module("tetrapla.ir.dialects")  # fills the table of operators
    host = {value: inputs[name][0] for name, value in program.inputs}
    host |= program.host_constants
    for step in program.before:
        operands = [host[value] for value in step.operands]
        host[step.result] = evaluated(step.kind, operands, step.attributes)
    state = State(program, 1)
    for port in program.to_device:
        start = port.address - len(state.constants)
        region = state.regions[0, start : start + port.traffic_bytes].view(DTYPES[port.dtype])
        region[port.positions()] = host[port.value]
    return state
