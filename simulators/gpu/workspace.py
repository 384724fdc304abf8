"""Where a plan's scratch buffers lie: those that are never alive together share memory.

A buffer is alive from the kernel that stores it to the last that reads it. The largest is
placed first, each at the lowest offset that no other alive with it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.gpu.program import Buffer, Program
from tetrapla.simulators.gpu.spec import GpuSpec

# what CUDA's own allocations are aligned to (CUDA C++ Programming Guide, "Device Memory
# Accesses": at least 256 bytes)
ALIGNMENT_BYTES = 256


@dataclass(frozen=True)
class Workspace:
    """One allocation for all scratch buffers.

    Attributes:
        offsets_bytes: by name of a scratch buffer, where it begins.
        size_bytes: of the allocation, the peak of the run.
        scratch_bytes: what the buffers would take side by side.
    """

    offsets_bytes: Mapping[str, int]
    size_bytes: int
    scratch_bytes: int


@dataclass(frozen=True)
class Need:
    """Bytes of device memory that a plan takes, by what they are for."""

    weights: int
    inputs_and_outputs: int
    workspace: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.inputs_and_outputs + self.workspace


@dataclass(frozen=True)
class _Placed:
    first: int
    last: int
    start_bytes: int
    end_bytes: int


def workspace(program: Program) -> Workspace:
    """Place the scratch buffers of a plan; equal plans give equal offsets."""
    alive = _alive(program)
    scratch = [buffer for buffer in program.buffers if buffer.name in alive]
    order = sorted(scratch, key=lambda buffer: (-buffer.traffic_bytes, alive[buffer.name]))
    placed: dict[str, _Placed] = {}
    for buffer in order:
        first, last = alive[buffer.name]
        beside = [p for p in placed.values() if p.first <= last and first <= p.last]
        start = _gap(beside, _padded(buffer))
        placed[buffer.name] = _Placed(first, last, start, start + _padded(buffer))
    return Workspace(
        {buffer.name: placed[buffer.name].start_bytes for buffer in scratch},
        max((p.end_bytes for p in placed.values()), default=0),
        sum(_padded(buffer) for buffer in scratch),
    )


def need(program: Program) -> Need:
    """The device memory of a plan, every buffer aligned."""
    found = {"weight": 0, "input": 0, "output": 0, "scratch": 0}
    for buffer in program.buffers:
        found[buffer.role] += _padded(buffer)
    return Need(
        found["weight"], found["input"] + found["output"], workspace(program).size_bytes
    )


def check_fits(program: Program, spec: GpuSpec) -> None:
    """Refuse a plan that is larger than the chip's memory.

    Raises:
        UnsupportedError: it is, and by how much.
    """
    needed = need(program)
    if needed.total > spec.dram.capacity_bytes:
        raise UnsupportedError(
            f"{spec.name}: {program.name} must fit {spec.dram.capacity_bytes} bytes of device "
            f"memory, not take {needed.total} ({needed.weights} of weights, "
            f"{needed.inputs_and_outputs} of inputs and outputs, {needed.workspace} of "
            "workspace); use a smaller batch"
        )


def _alive(program: Program) -> dict[str, tuple[int, int]]:
    """By scratch buffer, the first and the last kernel that need it."""
    scratch = {buffer.name for buffer in program.buffers if buffer.role == "scratch"}
    scratch -= {port.buffer for port in (*program.inputs, *program.outputs)}
    found: dict[str, tuple[int, int]] = {}
    for position, kernel in enumerate(program.kernels):
        for name in (*kernel.reads, *kernel.writes):
            if name in scratch:
                found[name] = (found.get(name, (position, position))[0], position)
    return found


def _gap(beside: list[_Placed], size_bytes: int) -> int:
    """The lowest offset at which a size fits between what is placed."""
    start = 0
    for each in sorted(beside, key=lambda p: p.start_bytes):
        if start + size_bytes <= each.start_bytes:
            break
        start = max(start, each.end_bytes)
    return start


def _padded(buffer: Buffer) -> int:
    return -(-buffer.traffic_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
