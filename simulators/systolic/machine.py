"""The machine: runs a program on a design point and returns values, cycles and actions.

A layer's cycles go from the dispatch of its MARK to that of the next, so the layers' cycles add
up to the run's. The first and the last layer are the transfers of inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import numpy as np

from tetrapla.ir.errors import ModelError, SpecError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import LayerRun, Run, Slice, standing, summed
from tetrapla.simulators.systolic.counts import counted
from tetrapla.simulators.systolic.formats import PRODUCTS, STORED
from tetrapla.simulators.systolic.hazards import checked
from tetrapla.simulators.systolic.owners import owners
from tetrapla.simulators.systolic.program import HostStep, Program
from tetrapla.simulators.systolic.spec import ArraySection, SystolicSpec
from tetrapla.simulators.systolic.timing import (
    Schedule,
    held_cycles,
    transfer_bytes,
)
from tetrapla.simulators.systolic.values import State, execute, invocation_bytes
from tetrapla.simulators.systolic.views import Place

_CHUNK_BYTES = 2**26


def run(program: Program, spec: SystolicSpec, inputs: Mapping[str, Array], key: Key) -> Run:
    """Run the program.

    Args:
        program: compiled for this array.
        spec: the design point.
        inputs: arrays of shape (invocations, *shape) by input name; none at all for cycles and
            actions without values.
        key: unused, nothing here is random.

    Raises:
        SpecError: the program does not fit the design point.
        ModelError: inputs are missing, unknown or of another shape or type, or the program
            is illegal.
    """
    del key
    check_fit(program, spec)
    plan = checked(program, spec)
    time_s = plan.cycles / spec.clock_hz
    return Run(
        outputs=outputs(program, inputs) if inputs else {},
        layers=_layers(program, spec, plan),
        cycles=plan.cycles,
        time_s=time_s,
        actions=standing(spec.cost, time_s, plan.cycles),
        warnings=_warnings(program),
        trace=_trace(program, plan),
    )


def least_cycles(program: Program, spec: SystolicSpec) -> dict[str, float]:
    """By layer, its MACs in all PEs at its format's pace; under "" what holds of the whole run.

    MACs that a sparse tile leaves out take no cycle. Transfers overlap with other layers, so
    bytes bound the run alone: one DMA engine moves those of DRAM and of the host one after
    another, each at its link's bandwidth.
    """
    found = counted(program, spec.array.gate_zeros)
    moved = summed([layer.actions for layer in found])
    dram_bytes = moved["dram.read_byte"] + moved["dram.write_byte"]
    transfer_s = (
        dram_bytes / spec.dram.bandwidth_bytes_per_s
        + moved["host_link.byte"] / spec.host.bandwidth_bytes_per_s
    )
    busy = [_busy_cycles(layer.actions, spec) for layer in found]
    names = [program.layers[i["id"]].name for i in program.instructions if i.op == "MARK"]
    layers = dict(zip(names, busy, strict=True))
    return {**layers, "": max(sum(layers.values()), transfer_s * spec.clock_hz)}


def _busy_cycles(actions: Mapping[str, float], spec: SystolicSpec) -> float:
    """Cycles that the MACs of a layer would take with every PE busy."""
    array = spec.array
    pes = array.rows * array.cols * array.units
    # a gated MAC is of one of the program's formats: the fastest gives the bound
    paces = {"mac.zero": min(array.formats.values())}
    paces |= {f"mac.{name}": pace for name, pace in array.formats.items()}
    return sum(actions.get(name, 0) * pace for name, pace in paces.items()) / pes


def check_fit(program: Program, spec: SystolicSpec) -> None:
    """Refuse a program that was compiled for another array or needs larger memories.

    Raises:
        SpecError: it does not fit.
    """
    _check_array(program, spec.array)
    memories = spec.memories
    needs = (
        ("weight_tiles", "", program.weight_slots, memories.weight_tiles),
        ("accumulator_rows", "", program.accumulator_rows, memories.accumulator_rows),
        (
            "unified_buffer",
            " bytes",
            program.unified_buffer_bytes,
            memories.unified_buffer_bytes,
        ),
        ("dram.capacity", " bytes", program.dram_bytes, spec.dram.capacity_bytes),
    )
    for name, unit, need, there in needs:
        if need > there:
            raise SpecError(
                f"{name} must be at least the program's {need}{unit}, not {there}{unit}; "
                "compile the model for this chip"
            )


def _check_array(program: Program, array: ArraySection) -> None:
    if (program.rows, program.cols) != (array.rows, array.cols):
        raise SpecError(
            f"array must be the program's {program.rows} x {program.cols}, not "
            f"{array.rows} x {array.cols}; compile the model for this chip"
        )
    if (program.units, program.dataflow) != (array.units, array.dataflow):
        raise SpecError(
            "array.units and array.dataflow must be the program's "
            f"{program.units} and {program.dataflow}, not {array.units} and {array.dataflow}; "
            "compile the model for this chip"
        )
    for name in _formats(program):
        if name not in array.formats:
            raise SpecError(
                f"array.formats must have the program's {name}, not only "
                f"{', '.join(array.formats)}; compile the model for this chip"
            )
    if array.sparsity == "none" and any(i["sparse"] for i in program.instructions):
        raise SpecError(
            "array.sparsity must be the program's 2:4, not none; "
            "compile the model for this chip"
        )


def _formats(program: Program) -> list[str]:
    """The array formats that a program uses, in the order of their names."""
    used = {PRODUCTS[i["fmt"]] for i in program.instructions if i.op == "MM"}
    used |= {
        "int4" for i in program.instructions if i.op == "LDW" and STORED[i["fmt"]] == "int4"
    }
    return sorted(used)


def outputs(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The values alone, shape (invocations, *shape) by output name.

    Raises:
        ModelError: the program is shape-only; or inputs are missing or unknown, or hold
            different numbers of invocations.
    """
    if not program.has_values:
        raise ModelError(f"model '{program.name}' is shape-only and has no values to compute")
    wanted = [name for name, _ in program.inputs]
    counts = {len(array) for array in inputs.values()}
    if set(wanted) != set(inputs) or len(counts) != 1:
        raise ModelError(
            f"inputs must be {wanted} with one number of invocations, not {sorted(inputs)} "
            f"with {sorted(counts)}"
        )
    (count,) = counts
    chunk = max(1, _CHUNK_BYTES // invocation_bytes(program))
    parts = [
        _values(program, {name: array[start : start + chunk] for name, array in inputs.items()})
        for start in range(0, count, chunk)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _values(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of one chunk of invocations."""
    state, host = started(program, inputs)
    execute(program, state)
    return finished(program, state, host)


def started(program: Program, inputs: Mapping[str, Array]) -> tuple[State, dict[int, Array]]:
    """The memories before the first instruction, with the inputs in DRAM.

    Args:
        program: with values.
        inputs: arrays (invocations, *shape) by input name.

    Returns:
        The memories, and the host's values by number, which `finished` takes.

    Raises:
        ModelError: what the accelerator gets is of another shape or type.
    """
    count = max((len(array) for array in inputs.values()), default=1)
    host = {value: inputs[name] for name, value in program.inputs}
    _host(program, program.before, host, count)
    state = State(program, count)
    for port in program.to_device:
        positions = port.positions()
        _check_value(host[port.value], (count, *positions.shape), port.dtype)
        _region(state, port)[:, positions] = host[port.value]
    return state, host


def finished(program: Program, state: State, host: dict[int, Array]) -> dict[str, Array]:
    """The outputs by name, (invocations, *shape), from the memories after the last one.

    Args:
        program: the program.
        state: its memories; of them DRAM is read.
        host: from `started`; what the host computes afterwards is added.
    """
    count = len(state.regions)
    for port in program.from_device:
        host[port.value] = _region(state, port)[:, port.positions()]
    _host(program, program.after, host, count)
    constants = program.host_constants
    for _, value in program.outputs:
        if value in constants:
            host[value] = np.repeat(constants[value][None], count, axis=0)
    return {name: host[value] for name, value in program.outputs}


def _check_value(array: Array, shape: tuple[int, ...], dtype: str) -> None:
    if array.shape != shape or array.dtype != DTYPES[dtype]:
        raise ModelError(
            f"an array for the accelerator must be {dtype} of shape {shape}, not "
            f"{array.dtype} of shape {array.shape}"
        )


def _region(state: State, port: Place) -> Array:
    """The port's part of DRAM, (invocations, elements) of its type; a view of int8 memory."""
    start = port.address - len(state.constants)
    return state.regions[:, start : start + port.traffic_bytes].view(DTYPES[port.dtype])


def _host(
    program: Program, steps: tuple[HostStep, ...], host: dict[int, Array], count: int
) -> None:
    if not steps:
        return
    from tetrapla.ir.op import evaluated

    import_module("tetrapla.ir.dialects")  # fills OPS; costs the bindings' start-up
    constants = program.host_constants

    def one(step: HostStep, i: int) -> Array:
        operands = [constants[v] if v in constants else host[v][i] for v in step.operands]
        return evaluated(step.kind, operands, step.attributes)

    with np.errstate(all="ignore"):
        for step in steps:
            host[step.result] = np.stack([one(step, i) for i in range(count)])


def _layers(program: Program, spec: SystolicSpec, plan: Schedule) -> tuple[LayerRun, ...]:
    marks = [n for n, i in enumerate(program.instructions) if i.op == "MARK"]
    starts = [0, *(plan.dispatch[n] for n in marks[1:])]
    ends = [*starts[1:], plan.cycles]
    found = counted(program, spec.array.gate_zeros)
    held = held_cycles(plan, starts)
    rows = []
    for n, start, end, count, causes in zip(marks, starts, ends, found, held, strict=True):
        layer = program.layers[program.instructions[n]["id"]]
        cycles = end - start
        busy = _busy_cycles(count.actions, spec)
        rows.append(
            LayerRun(
                name=layer.name,
                op=layer.op,
                cycles=cycles,
                macs=count.macs + layer.skipped_macs,
                utilization_frac=busy / cycles if layer.macs and cycles else None,
                bound_by=max(sorted(causes), key=lambda name: causes[name]),
                actions=count.actions,
            )
        )
    return tuple(rows)


def _warnings(program: Program) -> tuple[str, ...]:
    steps = [*program.before, *program.after]
    if not steps:
        return ()
    names = ", ".join(f"{step.name} ({step.kind})" for step in steps)
    return (f"the host computes {names}; its time and energy are not counted",)


def _trace(program: Program, plan: Schedule) -> tuple[Slice, ...]:
    marks = [i["id"] for i in program.instructions if i.op == "MARK"]
    names = [program.layers[number].name for number in marks]
    slices = []
    for n, (instruction, owner) in enumerate(
        zip(program.instructions, owners(program), strict=True)
    ):
        engine = instruction.engine
        if engine is not None:
            moved = transfer_bytes(program, instruction) if engine == "DMA" else 0
            start, end = plan.dispatch[n] + 1, plan.free[n] + 1
            name = f"{instruction.op} {names[owner]}"
            slices.append(Slice(engine, name, start, end, moved))
    return tuple(slices)
