"""One run of a plan on a GPU: values, time, counted actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tetrapla.ir.graph import Array
from tetrapla.simulators.gpu.formats import FORMAT_OF_OPERAND
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import Kernel, Product
from tetrapla.simulators.gpu.program import Buffer, Program
from tetrapla.simulators.gpu.recurrent import Recurrent
from tetrapla.simulators.gpu.spec import ACTIONS, GpuSpec
from tetrapla.simulators.gpu.time import (
    KernelTime,
    capped,
    kernel_times,
    least_time_s,
    scalar_operations,
)
from tetrapla.simulators.gpu.values import Held, executed
from tetrapla.simulators.gpu.workspace import check_fits
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import LayerRun, Run, Slice, price, standing


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
        UnsupportedError: the plan does not fit the device memory, or the chip lacks the
            format of a product.
    """
    del key
    check_fits(program, spec)
    memory, start_s, limited = program.memory, 0.0, True
    layers: list[LayerRun] = []
    trace: list[Slice] = []
    for kernel, full in zip(program.kernels, kernel_times(program, spec), strict=True):
        actions = _actions(kernel, memory, full)
        dynamic_pj = price(actions, spec.prices).total_pj
        limited = limited and dynamic_pj is not None
        took = capped(full, dynamic_pj, spec)
        layers.append(_layer(kernel, spec, took, actions))
        span = (start_s * spec.clock_hz, (start_s + took.time_s) * spec.clock_hz)
        trace.append(Slice("gpu", kernel.name, *span, round(took.dram_bytes)))
        start_s += took.time_s
    cycles = start_s * spec.clock_hz
    held = executed(program, inputs) if inputs else Held({})
    return GpuRun(
        held.outputs,
        tuple(layers),
        cycles,
        start_s,
        standing(spec.cost, start_s, cycles),
        _warnings(spec, limited),
        tuple(trace),
        held=held,
    )


def least_cycles(program: Program, spec: GpuSpec) -> dict[str, float]:
    """By layer, the bound from MACs at the peak and bytes at the full bandwidth."""
    memory = program.memory
    return {k.name: least_time_s(k, memory, spec) * spec.clock_hz for k in program.kernels}


def _actions(
    kernel: Kernel, memory: Mapping[str, Buffer], took: KernelTime
) -> dict[str, int | float]:
    written = memory[kernel.output].traffic_bytes
    actions: dict[str, int | float] = {
        "dram.read_byte": round(took.dram_bytes) - written,
        "dram.write_byte": written,
        "l2.byte": round(took.l2_bytes),
        "flop.fp32": scalar_operations(kernel, memory),
    }
    if isinstance(kernel, (Product, FusedAttention, Recurrent)):
        action = ACTIONS[FORMAT_OF_OPERAND[kernel.operand]]
        actions[action] = actions.get(action, 0) + 2 * kernel.macs
    return actions


def _layer(
    kernel: Kernel, spec: GpuSpec, took: KernelTime, actions: Mapping[str, int | float]
) -> LayerRun:
    utilization_frac = None
    if isinstance(kernel, (Product, FusedAttention, Recurrent)):
        peak = spec.peak_op_per_s(FORMAT_OF_OPERAND[kernel.operand])
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


def _warnings(spec: GpuSpec, limited: bool) -> tuple[str, ...]:
    """What the figures are worth."""
    origin = (
        "a soft roofline, which had 6 to 11 % mean error on the matrix products of three GPUs "
        "with the constants for an unknown one"
        if spec.level == 1
        else "tiles and waves, which had 6 to 10 % mean error on the matrix products and up to "
        "14 % on the convolutions of the GPUs that were fitted"
    )
    said = [
        f"time is a level-{spec.level} estimate ({spec.timing.context} context): {origin}, "
        "more on small kernels; products are those of a tuned library",
        "energy is uncalibrated: derived prices, +-15 % at best",
    ]
    if not limited or spec.chip.tdp_w is None or spec.chip.static_power_w is None:
        said.append(
            "the power limit is not applied: a price, the idle power or the TDP is unknown"
        )
    return tuple(said)
