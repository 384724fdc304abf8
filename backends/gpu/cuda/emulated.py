"""Run a plan's CUDA C on this machine's CPU and keep what every kernel stored."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tetrapla.backends.gpu.cuda.run import FLAGS, Cpu, Plan
from tetrapla.backends.gpu.cuda.source import cuda_sources
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.values import Held


def run_emulated(
    program: Program, inputs: Mapping[str, Array], flags: Sequence[str] = FLAGS
) -> Held:
    """Outputs and buffers of every invocation.

    Args:
        program: with its weights.
        inputs: (invocations, *shape) by input name.
        flags: of g++.

    Raises:
        RefusedError: there is no g++, or it refuses the text.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in cuda_sources(program).items():
            data = content if isinstance(content, bytes) else content.encode()
            (folder / file).write_bytes(data)
        plan = Plan(folder, Cpu(folder, flags))
    kept = [buffer.name for buffer in program.buffers if buffer.role != "weight"]
    stored: dict[str, list[Array]] = {name: [] for name in kept}

    def keep() -> None:
        for each, rows in stored.items():
            rows.append(plan.memory(each))

    plan.run(inputs, keep)
    memory = program.memory
    typed = {
        each: np.stack(rows).view(DTYPES[memory[each].dtype]) for each, rows in stored.items()
    }
    outputs = {
        port.name: typed[port.buffer].reshape(-1, *port.shape).astype(DTYPES[port.dtype])
        for port in program.outputs
    }
    return Held(outputs, tuple(range(len(next(iter(typed.values()))))), typed)
