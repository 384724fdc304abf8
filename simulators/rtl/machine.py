"""A compiled program on the RTL: the same binary, the same memories, every cycle.

The Python machine and the RTL start from the same bytes, so all of their memories can be
compared afterwards, and the cycle in which each instruction was dispatched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Protocol

import numpy as np

from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.errors import (
    refuse_array,
    refuse_instructions,
    refused_word,
    stopped,
)
from tetrapla.simulators.rtl.loading import limits, named, places
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.package import NAMED_WORDS
from tetrapla.simulators.rtl.toolchain import Design
from tetrapla.simulators.systolic.isa import ENGINES
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.routines import execute
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import ENTRY_BYTES, HEADER

FILES = (
    "tpu_isa_pkg.sv",
    "requantize_pkg.sv",
    "float32_pkg.sv",
    "dram_pkg.sv",
    "retirement.sv",
    "retire_trace.sv",
    "dispatcher.sv",
    "error_register.sv",
    "dma.sv",
    "descriptors.sv",
    "weight_memory.sv",
    "unified_buffer.sv",
    "sa_ws.sv",
    "sa_os.sv",
    "accumulators.sv",
    "vector_unit.sv",
    "tpu.sv",
)
_UNITS = ("weight_memory", "unified_buffer", "accumulators", "vector_unit", "dma")
_MEMORIES = (
    "dispatcher.words",
    "dispatcher.named",
    "dispatcher.routines",
    "dispatcher.dispatched",
    "dispatcher.marks",
    "dispatcher.status",
    "retire_trace.cycles",
    "retire_trace.counts",
    "retire_trace.entries",
    "error_register.error",
    "error_register.limits",
    "error_register.places",
    "dma.links",
    "vector_unit.requested",
    "unified_buffer.bytes",
    "accumulators.rows",
    *(f"{unit}.busy_cycles" for unit in _UNITS),
)
_FINEST = 10**12  # as in timing.py: finer than this, a latency would keep its float error


@dataclass(frozen=True)
class RtlRun:
    """What the RTL leaves.

    Attributes:
        cycles: up to and with the one that dispatches HALT.
        dispatched: for each instruction its cycle, int64.
        retired: likewise; of one that no engine does, when it was dispatched.
        marks: (id, cycle) of each MARK, in order.
        dram, buffer: bytes, int8.
        accumulators: int32, (rows, columns).
        busy_cycles: by engine.
        hosted: numbers of the routines whose values the host computed, in order.
    """

    cycles: int
    dispatched: Array
    retired: Array
    marks: tuple[tuple[int, int], ...]
    dram: Array
    buffer: Array
    accumulators: Array
    busy_cycles: dict[str, int]
    hosted: tuple[int, ...]


@dataclass(frozen=True)
class Memories:
    """Views of the memories while a program runs.

    Attributes:
        dram, buffer: bytes, int8.
        accumulators: int32, (rows, columns).
    """

    dram: Array
    buffer: Array
    accumulators: Array


class Probe(Protocol):
    """What looks into a run.

    Attributes:
        traced: whether the model must be one that records waveforms.
    """

    traced: bool

    def attach(self, model: Model, memories: Memories) -> None:
        """Is called after the reset, before the first cycle."""


def design(program: Program, spec: SystolicSpec) -> Design:
    """The configuration for a program: sizes are rounded up, so that few are built.

    Raises:
        UnsupportedError: the RTL has no such array.
    """
    refuse_array(spec)
    refuse_instructions(program)
    array = spec.array
    stationary = array.dataflow == "output_stationary"
    latency = max(_latency(spec, spec.dram.latency_s), _latency(spec, spec.host.latency_s))
    parameters = {
        "R": array.rows,
        "C": array.cols,
        "LANES": spec.vector.lanes,
        "LOG_WORDS": _bits(len(program.instructions) + 1, 12, 4),
        "LOG_NAMED": _bits(len(program.routines) + len(program.gathers), 2, 2),
        "LOG_PLACES": _bits(len(places(program)), 4, 2),
        "LOG_MARKS": _bits(sum(i.op == "MARK" for i in program.instructions), 10, 2),
        "LOG_BYTES": _bits(program.unified_buffer_bytes, 16, 2),
        "LOG_SLOTS": _bits(program.weight_slots, 2, 2),
        "LOG_ROWS": _bits(program.accumulator_rows, 8, 4),
        "LOG_ENTRIES": _bits(_entries(program), 8, 2),
        "LOG_LATENCY": _bits(max(latency, 2 * array.rows + array.cols) + 2, 10, 1),
        "OUTPUT_STATIONARY": int(stationary),
    }
    return Design("tpu", FILES, parameters, _MEMORIES)


def run(
    program: Program,
    spec: SystolicSpec,
    dram: Array,
    buffer: Array,
    accumulators: Array,
    most_cycles: int,
    probe: Probe | None = None,
    watch: bool = True,
    words: bytes | None = None,
    seed: int | None = None,
) -> RtlRun:
    """Run a program on one invocation's memories.

    Args:
        program: compiled for this array.
        spec: the design point.
        dram: bytes before the run; not written.
        buffer: the unified buffer's before the run.
        accumulators: int32 (rows, columns) before the run.
        most_cycles: give up behind them.
        probe: looks into the run.
        watch: a hazard that the waits do not cover stops it.
        words: other instruction words than the program's.
        seed: registers and memories begin with random bits of this seed, above 0.

    Raises:
        UnsupportedError: the toolchain or this configuration is missing.
        FaultError: the RTL stopped at an instruction, which is illegal or a hazard.
        ModelError: it did not stop.
    """
    chosen = design(program, spec)
    if probe is not None and probe.traced:
        chosen = replace(chosen, traced=True)
    chosen = replace(chosen, random=seed is not None)
    with Model(chosen, seed or 1) as model:
        words = program.binary() if words is None else words
        binary = np.frombuffer(words, np.uint8)
        model.memory("dispatcher.words", np.uint8)[: len(binary)] = binary
        model.memory("dma.links", np.uint64)[:] = _links(spec)
        model.memory("unified_buffer.bytes", np.int8)[: len(buffer)] = buffer
        rows = model.memory("accumulators.rows", np.int32).reshape(-1, spec.array.cols)
        rows[: len(accumulators), : accumulators.shape[1]] = accumulators
        model.memory("dispatcher.routines", np.uint32)[0] = len(program.routines)
        entries = model.memory("dispatcher.named", np.uint64).reshape(-1, NAMED_WORDS)
        for number, entry in enumerate(named(program, spec)):
            entries[number, : len(entry)] = entry
        model.memory("error_register.limits", np.int64)[:] = limits(program, watch)
        held = places(program)
        model.memory("error_register.places", np.uint64)[: len(held)] = held
        own = np.array(dram)
        model.dram(own)
        model.reset()
        if probe is not None:
            buffer_view = model.memory("unified_buffer.bytes", np.int8)[: len(buffer)]
            probe.attach(model, Memories(own, buffer_view, rows[: len(accumulators)]))
        cycles, hosted = _clocked(program, model, most_cycles)
        marks = _stop(program, model, words, (cycles, most_cycles))
        trace = model.memory("dispatcher.marks", np.uint64)[:marks]
        busy = (int(model.memory(f"{u}.busy_cycles", np.uint64)[0]) for u in _UNITS)
        count = len(program.instructions)
        dispatched = model.memory("dispatcher.dispatched", np.int64)[:count].copy()
        return RtlRun(
            cycles=cycles,
            dispatched=dispatched,
            retired=_retired(program, model, dispatched),
            marks=tuple((int(m) >> 40, int(m) & (1 << 40) - 1) for m in trace),
            dram=own,
            buffer=model.memory("unified_buffer.bytes", np.int8)[: len(buffer)].copy(),
            accumulators=rows[: len(accumulators)].copy(),
            busy_cycles=dict(zip(ENGINES, busy, strict=True)),
            hosted=tuple(hosted),
        )


def _retired(program: Program, model: Model, dispatched: Array) -> Array:
    """When each instruction retired; -1 of one that has not."""
    entries = int(model.memory("retire_trace.entries", np.uint32)[0])
    cycles = model.memory("retire_trace.cycles", np.int64)[:entries]
    counts = model.memory("retire_trace.counts", np.int64)[:entries]
    found = dispatched.copy()
    for place, engine in enumerate(ENGINES):
        own = [n for n, i in enumerate(program.instructions) if i.engine == engine]
        # 12 bits for each engine, whose instructions retire in order
        times = np.repeat(cycles, (counts >> 12 * place) & 4095)
        found[own] = -1
        found[own[: len(times)]] = times[: len(own)]
    return found


def _clocked(program: Program, model: Model, most_cycles: int) -> tuple[int, list[int]]:
    """Run to the end; where the vector unit asks for a routine, the host computes it."""
    status = model.memory("dispatcher.status", np.uint32)
    requested = model.memory("vector_unit.requested", np.uint32)
    buffer = model.memory("unified_buffer.bytes", np.int8)[: program.unified_buffer_bytes]
    cycles, hosted = 0, list[int]()
    while True:
        cycles += model.run(most_cycles - cycles)
        number, due = (int(word) for word in requested)
        if status[3] or cycles >= most_cycles or not due:
            return cycles, hosted
        requested[1] = 0
        hosted.append(number)
        execute(buffer[None], program.routines[number])


def _stop(program: Program, model: Model, words: bytes, end: tuple[int, int]) -> int:
    """How many MARKs a run that ended well has left; `end` is its cycles, and the most."""
    code, at, marks, _ = (int(v) for v in model.memory("dispatcher.status", np.uint32))
    error = [int(v) for v in model.memory("error_register.error", np.int64)]
    if error[0]:
        raise stopped(program, words, error)
    if code:
        raise refused_word(program, code, at, words)
    if end[0] >= end[1]:
        raise ModelError(
            f"program '{program.name}' must end within {end[1]} cycles, not hang; "
            "its waits name what never comes"
        )
    return marks


def _links(spec: SystolicSpec) -> list[int]:
    """The transfers' clock: cost, pay, latency and bytes a cycle, for DRAM and for the host."""
    words: list[int] = []
    for link in (spec.dram, spec.host):
        pace = Fraction(spec.clock_hz) / Fraction(link.bandwidth_bytes_per_s)
        cost, pay = pace.numerator, pace.denominator
        if max(cost * 2**27, pay) >= 2**64:
            raise UnsupportedError(
                f"cycles per byte must be a fraction of small numbers for the RTL, not {pace}; "
                "round the clock or the bandwidth"
            )
        words += [cost, pay, _latency(spec, link.latency_s), ceil(1 / pace)]
    return words


def _latency(spec: SystolicSpec, latency_s: float) -> int:
    return ceil(Fraction(latency_s).limit_denominator(_FINEST) * Fraction(spec.clock_hz))


def _entries(program: Program) -> int:
    """Of the longest row of the requantise table."""
    sizes = [i["bytes"] for i in program.instructions if i.op == "CFG" and i["kind"]]
    return max(1, (max(sizes, default=0) - HEADER.size) // ENTRY_BYTES)


def _bits(count: int, least: int, step: int) -> int:
    """Address bits for `count`, at least `least`, in steps."""
    need = max(count - 1, 1).bit_length() - least
    return least + step * max(0, -(-need // step))
