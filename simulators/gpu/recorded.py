"""A stream of kernels for a trace: from launch to start, and from start to end."""

from __future__ import annotations

from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.time import kernel_times
from tetrapla.simulators.recording_ import Recording, Stretch
from tetrapla.simulators.report import Run


def recorded(program: Program, spec: GpuSpec, run: Run) -> Recording:
    """Every kernel as the time model has it: a launch in which nothing runs, then its work."""
    found: list[Stretch] = []
    times = kernel_times(program, spec)
    for part, layer, full in zip(run.trace, run.layers, times, strict=True):
        start_s, end_s = part.start_cycle / spec.clock_hz, part.end_cycle / spec.clock_hz
        begun_s = min(start_s + full.launch_s, end_s)
        if begun_s > start_s:
            found.append(Stretch("launch", part.name, start_s, begun_s))
        found.append(
            Stretch(
                "stream 0",
                part.name,
                begun_s,
                end_s,
                {
                    "op": layer.op,
                    "bound_by": layer.bound_by,
                    "macs": layer.macs,
                    "dram_bytes": part.traffic_bytes,
                },
            )
        )
    return Recording(tuple(found))
