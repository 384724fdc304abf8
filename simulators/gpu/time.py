"""How long the kernels of a plan take, and on what.

Products: `product_time`. Everything else is memory-bound: ``t = t0 + B / (eb BW)`` with B the
tensors, each moved once, and another eb where they fit the L2 cache. A kernel whose energy
would need more than the chip's TDP is stretched: the chip lowers its clock. Kernels run one
after another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tetrapla.simulators.gpu.attention_time import parts
from tetrapla.simulators.gpu.formats import FORMAT_OF_OPERAND
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import (
    Binary,
    Expression,
    GlobalPool,
    Kernel,
    Pointwise,
    Pool,
    Product,
    Softmax,
)
from tetrapla.simulators.gpu.product_time import Floats, Shapes, product_times
from tetrapla.simulators.gpu.program import Buffer, Program
from tetrapla.simulators.gpu.recurrent import Recurrent
from tetrapla.simulators.gpu.recurrent_time import recurrence
from tetrapla.simulators.gpu.spec import ELEMENT_BYTES, GpuSpec, Stream
from tetrapla.simulators.gpu.steps import BatchNorm


@dataclass(frozen=True)
class KernelTime:
    """One launch.

    Attributes:
        time_s: from launch to end.
        bound_by: what takes most of it: launch, compute, tile quantisation, wave quantisation,
            l2, dram, split-k sum or power.
        dram_bytes: read and written.
        l2_bytes: between the L2 cache and the multiprocessors.
        launch_s: of it, before the kernel does anything.
    """

    time_s: float
    bound_by: str
    dram_bytes: float
    l2_bytes: float
    launch_s: float = 0.0


def kernel_times(program: Program, spec: GpuSpec) -> list[KernelTime]:
    """The time of every launch, before the power limit.

    Raises:
        UnsupportedError: the chip lacks the format of a product.
    """
    memory = program.memory
    held = [kernel for kernel in program.kernels if isinstance(kernel, Product)]
    products: dict[str, KernelTime] = {}
    for operand in dict.fromkeys(kernel.operand for kernel in held):
        some = [kernel for kernel in held if kernel.operand == operand]
        times = _product_times(some, memory, spec, FORMAT_OF_OPERAND[operand])
        products |= {kernel.name: time for kernel, time in zip(some, times, strict=True)}
    return [
        products[kernel.name]
        if isinstance(kernel, Product)
        else _kernel_time(kernel, memory, spec)
        for kernel in program.kernels
    ]


def _kernel_time(kernel: Kernel, memory: Mapping[str, Buffer], spec: GpuSpec) -> KernelTime:
    """Of a kernel that is no product."""
    moved = moved_bytes(kernel, memory)
    if isinstance(kernel, FusedAttention):
        return _attention_time(kernel, moved, spec)
    if isinstance(kernel, Recurrent):
        return _recurrent_time(kernel, memory, spec)
    return stream_time(moved, stream_of(kernel, spec), spec)


def _recurrent_time(
    kernel: Recurrent, memory: Mapping[str, Buffer], spec: GpuSpec
) -> KernelTime:
    number_format = FORMAT_OF_OPERAND[kernel.operand]
    found = recurrence(kernel, memory[kernel.r].traffic_bytes, spec, number_format)
    launch_s = spec.timing.product.launch_s + spec.synchronize_s
    name = found.bound_by if found.busy_s > launch_s else "launch"
    moved = moved_bytes(kernel, memory)
    return KernelTime(launch_s + found.busy_s, name, moved, moved + found.l2_bytes, launch_s)


def _attention_time(kernel: FusedAttention, moved: int, spec: GpuSpec) -> KernelTime:
    found = parts(kernel, moved, spec, FORMAT_OF_OPERAND[kernel.operand])
    launch_s = spec.timing.product.launch_s + spec.synchronize_s
    name = found.bound_by if found.busy_s > launch_s else "launch"
    return KernelTime(launch_s + found.busy_s, name, moved, moved, launch_s)


def stream_time(moved: int, stream: Stream, spec: GpuSpec) -> KernelTime:
    """A memory-bound kernel that moves so many bytes."""
    share, bound = stream.dram_efficiency_frac, "dram"
    if stream.l2_efficiency is not None and moved <= spec.l2.capacity_bytes:
        share, bound = stream.l2_efficiency, "l2"
    launch_s = stream.launch_s + spec.synchronize_s
    moving_s = moved / (share * spec.dram.bandwidth_bytes_per_s)
    name = bound if moving_s > launch_s else "launch"
    return KernelTime(launch_s + moving_s, name, moved, moved, launch_s)


def capped(time: KernelTime, dynamic_pj: float | None, spec: GpuSpec) -> KernelTime:
    """The kernel at the clock that the power limit leaves it.

    Args:
        time: at full clock.
        dynamic_pj: what the kernel costs besides the idle power; None where a price is
            unknown, and then there is no limit.
        spec: the chip; one without a TDP or an idle power has no limit either.
    """
    tdp_w, idle_w = spec.chip.tdp_w, spec.chip.static_power_w
    if dynamic_pj is None or tdp_w is None or idle_w is None:
        return time
    # E / t + idle <= TDP; a lower voltage at the lower clock is not counted
    least_s = dynamic_pj * 1e-12 / (tdp_w - idle_w)
    if least_s <= time.time_s:
        return time
    return replace(time, time_s=least_s, bound_by="power")


def moved_bytes(kernel: Kernel, memory: Mapping[str, Buffer]) -> int:
    """Every tensor that the kernel reads or writes, once."""
    return read_bytes(kernel, memory) + memory[kernel.output].traffic_bytes


def read_bytes(kernel: Kernel, memory: Mapping[str, Buffer]) -> int:
    """Compulsory reads: every tensor once."""
    return sum(memory[name].traffic_bytes for name in kernel.reads)


def least_time_s(kernel: Kernel, memory: Mapping[str, Buffer], spec: GpuSpec) -> float:
    """The time that no kernel can beat: peak arithmetic, and peak bandwidth.

    The bandwidth is the memory's where the tensors do not fit the L2 cache, else the cache's,
    which takes no time where no source gives its bandwidth.
    """
    moved = moved_bytes(kernel, memory)
    bandwidth: float | None = spec.dram.bandwidth_bytes_per_s
    if moved <= spec.l2.capacity_bytes:
        bandwidth = spec.l2.bandwidth_bytes_per_s
    moving_s = 0.0 if bandwidth is None else moved / bandwidth
    if not isinstance(kernel, (Product, FusedAttention, Recurrent)):
        return moving_s
    peak = spec.peak_op_per_s(FORMAT_OF_OPERAND[kernel.operand])
    return max(moving_s, 2 * kernel.macs / peak)


def scalar_operations(kernel: Kernel, memory: Mapping[str, Buffer]) -> int:
    """Float32 operations outside the tensor cores: one per step, window element or term."""
    elements = memory[kernel.output].elements
    steps = elements * sum(step.operations for step in kernel.steps)
    match kernel:
        case Pool():
            return steps + elements * kernel.kernel[0] * kernel.kernel[1]
        case GlobalPool():
            return steps + memory[kernel.x].elements
        case Softmax():
            return steps + 4 * elements  # subtract, exponential, sum, divide
        case FusedAttention():
            # scale, maximum, subtract, exponential, sum, and the mask
            return (5 + kernel.masked) * kernel.pairs
        case Recurrent():
            # a sum with what is given, a function of four operations, a product or sum
            return 6 * kernel.gates * elements
        case Binary():
            return steps + elements
        case Expression():
            return steps + kernel.operations
        case _:
            return steps


def stream_of(kernel: Kernel, spec: GpuSpec) -> Stream:
    """The fitted class of a memory-bound kernel.

    The fit knows additions, activations and normalisations. Assumed: what reduces (softmax,
    global pooling) or normalises is a normalisation; everything else reads once and writes
    once as an activation does.
    """
    if isinstance(kernel, Binary):
        return spec.timing.addition
    reduces = isinstance(kernel, Expression) and kernel.length > 1
    if reduces or isinstance(kernel, (Softmax, GlobalPool)):
        return spec.timing.normalization
    if isinstance(kernel, Pointwise) and any(isinstance(s, BatchNorm) for s in kernel.steps):
        return spec.timing.normalization
    return spec.timing.activation


def _product_times(
    kernels: Sequence[Product], memory: Mapping[str, Buffer], spec: GpuSpec, number_format: str
) -> list[KernelTime]:
    shapes = _shapes(kernels, memory, number_format)
    times = product_times(shapes, spec, number_format)
    launch_s = times.launch_s + spec.synchronize_s
    total_s = times.time_s + spec.synchronize_s
    names = times.bound_by(launch_s)
    return [
        KernelTime(
            float(total_s[i]),
            names[i],
            float(times.dram_bytes[i]),
            float(l2),
            float(launch_s[i]),
        )
        for i, l2 in enumerate(times.l2_bytes)
    ]


def _shapes(
    kernels: Sequence[Product], memory: Mapping[str, Buffer], number_format: str
) -> Shapes:
    def column(values: list[float]) -> Floats:
        return np.array(values, np.float64)

    problems = [kernel.problem for kernel in kernels]
    operands = [float(_operand_bytes(kernel, memory)) for kernel in kernels]
    moved = [float(moved_bytes(kernel, memory)) for kernel in kernels]
    count, m, n, k = (column([float(one[i]) for one in problems]) for i in range(4))
    return Shapes(
        count, m, n, k, column(operands), column(moved) - column(operands),
        ELEMENT_BYTES[number_format],
    )  # fmt: skip


def _operand_bytes(kernel: Product, memory: Mapping[str, Buffer]) -> int:
    return sum(memory[name].traffic_bytes for name in dict.fromkeys((kernel.a, kernel.b)))
