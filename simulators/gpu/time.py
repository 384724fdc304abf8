"""How long a kernel takes, and on what: a soft roofline (level 1).

Products: ``t = t0 + pnorm4(F / (ec peak), B / (eb BW))`` with F = 2 m n k and B the compulsory
bytes, each tensor read or written once. Everything else is memory-bound:
``t = t0 + B / (eb BW)``. Kernels run one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.simulators.gpu.program import (
    Binary,
    Buffer,
    GlobalPool,
    Kernel,
    Pointwise,
    Pool,
    Product,
    Softmax,
)
from tetrapla.simulators.gpu.spec import GpuSpec, Stream
from tetrapla.simulators.gpu.steps import BatchNorm

FORMAT_OF_OPERAND = {"f16": "fp16", "f32": "fp32", "i8": "int8"}


@dataclass(frozen=True)
class KernelTime:
    """The parts of a kernel's time; `time_s` is their soft maximum plus the launch."""

    launch_s: float
    compute_s: float
    dram_s: float

    @property
    def time_s(self) -> float:
        """Total."""
        return self.launch_s + pnorm4(self.compute_s, self.dram_s)

    @property
    def bound_by(self) -> str:
        """The largest part: launch, compute or dram."""
        parts = {"launch": self.launch_s, "compute": self.compute_s, "dram": self.dram_s}
        return max(parts, key=lambda name: parts[name])


def kernel_time(kernel: Kernel, memory: dict[str, Buffer], spec: GpuSpec) -> KernelTime:
    """The time of one launch."""
    moved = read_bytes(kernel, memory) + memory[kernel.output].traffic_bytes
    if isinstance(kernel, Product):
        timing = spec.timing.product
        peak = spec.peak_op_per_s(FORMAT_OF_OPERAND[kernel.operand])
        compute_s = 2 * kernel.macs / (timing.compute_efficiency_frac * peak)
        rate = timing.dram_efficiency_frac * spec.dram.bandwidth_bytes_per_s
        return KernelTime(timing.launch_s, compute_s, moved / rate)
    stream = _stream(kernel, spec)
    rate = stream.dram_efficiency_frac * spec.dram.bandwidth_bytes_per_s
    return KernelTime(stream.launch_s, 0.0, moved / rate)


def read_bytes(kernel: Kernel, memory: dict[str, Buffer]) -> int:
    """Compulsory reads: every tensor once."""
    return sum(memory[name].traffic_bytes for name in kernel.reads)


def least_time_s(kernel: Kernel, memory: dict[str, Buffer], spec: GpuSpec) -> float:
    """The time that no kernel can beat: peak arithmetic and peak bandwidth."""
    moved = read_bytes(kernel, memory) + memory[kernel.output].traffic_bytes
    dram_s = moved / spec.dram.bandwidth_bytes_per_s
    if not isinstance(kernel, Product):
        return dram_s
    peak = spec.peak_op_per_s(FORMAT_OF_OPERAND[kernel.operand])
    return max(dram_s, 2 * kernel.macs / peak)


def scalar_operations(kernel: Kernel, memory: dict[str, Buffer]) -> int:
    """Float32 operations outside the tensor cores: one per step, window element or term."""
    elements = memory[kernel.output].elements
    steps = elements * len(kernel.steps)
    match kernel:
        case Pool():
            return steps + elements * kernel.kernel[0] * kernel.kernel[1]
        case GlobalPool():
            return steps + memory[kernel.x].elements
        case Softmax():
            return steps + 4 * elements  # subtract, exponential, sum, divide
        case Binary():
            return steps + elements
        case _:
            return steps


def pnorm4(a: float, b: float) -> float:
    """``(a^4 + b^4)^(1/4)``, a soft maximum."""
    large, small = max(a, b), min(a, b)
    if large == 0:
        return 0.0
    # scaled, because a^4 of a nanosecond underflows nothing yet but of a picosecond might
    return float(large * (1 + (small / large) ** 4) ** 0.25)


def _stream(kernel: Kernel, spec: GpuSpec) -> Stream:
    """The fitted class of a memory-bound kernel.

    The fit knows additions, activations and normalisations. Assumed: what reduces (softmax,
    global pooling) or normalises is a normalisation; everything else reads once and writes
    once as an activation does.
    """
    if isinstance(kernel, Binary):
        return spec.timing.addition
    if isinstance(kernel, (Softmax, GlobalPool)):
        return spec.timing.normalization
    if isinstance(kernel, Pointwise) and any(isinstance(s, BatchNorm) for s in kernel.steps):
        return spec.timing.normalization
    return spec.timing.activation
