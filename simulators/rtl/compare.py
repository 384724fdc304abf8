"""One program on the Python machine and on the RTL: all writes, dispatches and layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.lockstep import Lockstep
from tetrapla.simulators.rtl.machine import Memories, RtlRun, run
from tetrapla.simulators.systolic.hazards import checked
from tetrapla.simulators.systolic.machine import check_fit, finished, started
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import Schedule
from tetrapla.simulators.systolic.values import State

_SPARE_CYCLES = 1000  # that the RTL may take longer before it counts as hanging


@dataclass(frozen=True)
class Layer:
    """One layer on both.

    Attributes:
        name: the layer's.
        cycles, rtl_cycles: from the dispatch of its MARK to that of the next.
        compared: bytes and sums that its instructions wrote and that were compared.
        values: how many of them differ.
        dispatches: instructions of it that went in another cycle, and MARKs that the RTL
            recorded otherwise.
        retirements: instructions of it that retired in another cycle.
    """

    name: str
    cycles: int
    rtl_cycles: int
    compared: int
    values: int
    dispatches: int
    retirements: int

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        differing = self.values or self.dispatches or self.retirements
        return not differing and self.cycles == self.rtl_cycles


@dataclass(frozen=True)
class Comparison:
    """How many things differ, and what was compared.

    Attributes:
        layers: in order; their values were compared when they were written.
        dram_bytes, buffer_bytes, sums: that differ at the end in DRAM (with the outputs), the
            unified buffer and the accumulators.
        dispatches, retirements: instructions that went, or retired, in another cycle.
        cycles: the RTL's less the Python machine's.
        plan, rtl: both runs.
        outputs: of the RTL by name, (1, *shape).
    """

    layers: tuple[Layer, ...]
    dram_bytes: int
    buffer_bytes: int
    sums: int
    dispatches: int
    retirements: int
    cycles: int
    plan: Schedule
    rtl: RtlRun
    outputs: Mapping[str, Array]

    @property
    def left(self) -> int:
        """Bytes and sums that differ at the end."""
        return self.dram_bytes + self.buffer_bytes + self.sums

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        settled = not (self.left or self.dispatches or self.retirements or self.cycles)
        return settled and all(layer.equal for layer in self.layers)


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
    plan = checked(program, spec)
    most = plan.cycles + _SPARE_CYCLES
    rtl, probe, host = _beside(program, spec, inputs, plan, most)
    if _differing(rtl.retired, np.array(plan.retire)):
        # the values of a machine that is late are judged by its own times
        own = replace(plan, dispatch=rtl.dispatched.tolist(), retire=rtl.retired.tolist())
        rtl, probe, host = _beside(program, spec, inputs, own, most)
    state = probe.state
    sums = state.sums("i32", 0, len(state.kinds))[0]
    constants = len(state.constants)
    differing = (
        _differing(rtl.dram[:constants], state.constants)
        + _differing(rtl.dram[constants:], state.regions[0]),
        _differing(rtl.buffer, state.buffer[0]),
        _differing(rtl.accumulators[:, : sums.shape[1]], sums),
        _differing(rtl.dispatched, np.array(plan.dispatch)),
        _differing(rtl.retired, np.array(plan.retire)),
    )
    layers = tuple(_layers(program, plan, rtl, probe))
    state.regions[0] = rtl.dram[constants:]
    outputs = finished(program, state, host)
    return Comparison(layers, *differing, rtl.cycles - plan.cycles, plan, rtl, outputs)


def _beside(
    program: Program,
    spec: SystolicSpec,
    inputs: Mapping[str, Array],
    plan: Schedule,
    most_cycles: int,
) -> tuple[RtlRun, Lockstep, dict[int, Array]]:
    """Run both, and look at the RTL's results when `plan` says; the host's values, too."""
    state, host = started(program, inputs)
    held = memories_of(state)
    probe = Lockstep(program, plan, state)
    rtl = run(program, spec, held.dram, held.buffer, held.accumulators, most_cycles, probe)
    probe.finish(Memories(rtl.dram, rtl.buffer, rtl.accumulators))
    return rtl, probe, host


def memories_of(state: State) -> Memories:
    """What the RTL begins with: the first invocation's; only DRAM is a copy."""
    dram = np.concatenate([state.constants, state.regions[0]])
    sums = state.sums("i32", 0, len(state.kinds))[0]
    return Memories(dram, state.buffer[0], sums)


def _layers(program: Program, plan: Schedule, rtl: RtlRun, probe: Lockstep) -> list[Layer]:
    marks = [n for n, i in enumerate(program.instructions) if i.op == "MARK"]
    starts, count = [0, *marks[1:]], len(program.instructions)
    found = []
    for place, (first, end) in enumerate(zip(starts, [*starts[1:], count], strict=True)):
        number = program.instructions[marks[place]]["id"]
        moved = _differing(rtl.dispatched[first:end], np.array(plan.dispatch[first:end]))
        mark = rtl.marks[place] if place < len(rtl.marks) else None
        found.append(
            Layer(
                name=program.layers[number].name,
                cycles=_cycle(plan.dispatch, end, plan.cycles)
                - _cycle(plan.dispatch, first, plan.cycles),
                rtl_cycles=_cycle(rtl.dispatched, end, rtl.cycles)
                - _cycle(rtl.dispatched, first, rtl.cycles),
                compared=sum(probe.compared[first:end]),
                values=sum(probe.differing[first:end]),
                dispatches=moved + (mark != (number, plan.dispatch[marks[place]])),
                retirements=_differing(
                    rtl.retired[first:end], np.array(plan.retire[first:end])
                ),
            )
        )
    return found


def _cycle(dispatched: list[int] | Array, number: int, cycles: int) -> int:
    """In which a layer that begins with an instruction begins; the first does at once."""
    if number == 0:
        return 0
    return int(dispatched[number]) if number < len(dispatched) else cycles


def _differing(one: Array, other: Array) -> int:
    return int(np.count_nonzero(one != other))
