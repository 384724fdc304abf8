"""One run of a plan on a GPU: values, time, counted actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.simulators.gpu.program import Buffer, Kernel, Product, Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.time import (
    FORMAT_OF_OPERAND,
    KernelTime,
    kernel_time,
    least_time_s,
    read_bytes,
    scalar_operations,
)
from tetrapla.simulators.gpu.values import Held, executed
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import LayerRun, Run, Slice, standing

# matrix operations and their action; the rest is float32 on the CUDA cores
_ACTION = {"fp16": "flop.fp16", "fp32": "flop.fp32", "int8": "op.int8"}


@dataclass(frozen=True)
class GpuRun(Run):
    """A run, with what a debugger would read out of the device memory to judge it."""

    held: Held = field(default_factory=lambda: Held({}))


def run(program: Program, spec: GpuSpec, inputs: Mapping[str, Array], key: Key) -> GpuRun:
    """Run a plan.

    Args:
        program: with its weights.
        spec: the chip.
        inputs: (invocations, *shape) by input name; empty for time and energy alone.
        key: unused, a GPU draws no random numbers.

    Raises:
        UnsupportedError: the buffers do not fit the device memory.
    """
    del key
    _fit(program, spec)
    memory = program.memory
    layers: list[LayerRun] = []
    trace: list[Slice] = []
    start = 0.0
    for kernel in program.kernels:
        took = kernel_time(kernel, memory, spec)
        cycles = took.time_s * spec.clock_hz
        layers.append(_layer(kernel, memory, spec, took))
        moved = read_bytes(kernel, memory) + memory[kernel.output].traffic_bytes
        trace.append(Slice("gpu", kernel.name, start, start + cycles, moved))
        start += cycles
    time_s = start / spec.clock_hz
    held = executed(program, inputs) if inputs else Held({})
    return GpuRun(
        held.outputs,
        tuple(layers),
        start,
        time_s,
        standing(spec.cost, time_s, start),
        _warnings(spec),
        tuple(trace),
        held,
    )


def least_cycles(program: Program, spec: GpuSpec) -> dict[str, float]:
    """By layer, the bound from MACs at the peak and bytes at the full bandwidth."""
    memory = program.memory
    return {k.name: least_time_s(k, memory, spec) * spec.clock_hz for k in program.kernels}


def _layer(
    kernel: Kernel, memory: dict[str, Buffer], spec: GpuSpec, took: KernelTime
) -> LayerRun:
    actions: dict[str, int | float] = {
        "hbm.read_byte": read_bytes(kernel, memory),
        "hbm.write_byte": memory[kernel.output].traffic_bytes,
        "flop.fp32": scalar_operations(kernel, memory),
    }
    utilization_frac = None
    if isinstance(kernel, Product):
        number_format = FORMAT_OF_OPERAND[kernel.operand]
        action = _ACTION[number_format]
        actions[action] = actions.get(action, 0) + 2 * kernel.macs
        peak = spec.peak_op_per_s(number_format)
        utilization_frac = 2 * kernel.macs / (took.time_s * peak)
    return LayerRun(
        name=kernel.name,
        op=kernel.op,
        cycles=took.time_s * spec.clock_hz,
        macs=kernel.macs,
        utilization_frac=utilization_frac,
        bound_by=took.bound_by,
        actions=actions,
    )


def _fit(program: Program, spec: GpuSpec) -> None:
    needed = sum(buffer.traffic_bytes for buffer in program.buffers)
    if needed > spec.dram.capacity_bytes:
        raise UnsupportedError(
            f"{spec.name}: the buffers of {program.name} must fit {spec.dram.capacity_bytes} "
            f"bytes of device memory, not take {needed}; use a smaller batch"
        )


def _warnings(spec: GpuSpec) -> tuple[str, ...]:
    return (
        f"time is a level-1 estimate ({spec.timing.context} context): a soft roofline with the "
        "chip's own constants, 10 % typical error on large products, more on small kernels",
        "energy is uncalibrated: derived prices, +-15 % at best",
    )
