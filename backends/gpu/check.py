"""The second check: the emitted kernels themselves, under Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from math import ceil, prod
from pathlib import Path

import numpy as np

from tetrapla.backends.gpu.arrays import save
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.triton.kernels import grid
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.target_ import Inputs, Lowered
from tetrapla.ir.graph import Array
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import Kernel, Product
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.recurrent import Recurrent
from tetrapla.simulators.gpu.values import Held
from tetrapla.simulators.report import CrossCheck, InternalError

NOT_INSTALLED = "emitted kernels were not run: triton is not installed"
INVOCATIONS = 2
LIMIT_S = 600
# iterations of tiles and blocks that the interpreter runs in about a minute
MOST_ITERATIONS = 50_000


def run_interpreted(program: Program, inputs: Mapping[str, Array]) -> Held | None:
    """Run the emitted kernels in a process of their own.

    Args:
        program: with its weights.
        inputs: (invocations, *shape) by input name.

    Returns:
        The outputs and what every kernel stored, of all the invocations; None where triton is
        not installed.

    Raises:
        InternalError: the kernels did not run, or not in time.
    """
    if find_spec("triton") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in sources(program).items():
            data = content if isinstance(content, bytes) else content.encode()
            (folder / file).write_bytes(data)
        held = {name: np.asarray(array) for name, array in inputs.items()}
        save(folder / "inputs.npz", held)
        environment = {**os.environ, "TRITON_CACHE_DIR": name}
        words = ["--interpret", "--input", "inputs.npz", "-o", "outputs.npz", "--keep"]
        command = [sys.executable, "run.py", *words, "memory.npz"]
        _process(command, environment, folder)
        outputs, stored = (_arrays(folder / file) for file in ("outputs.npz", "memory.npz"))
        count = len(next(iter(held.values())))
        return Held(outputs, tuple(range(count)), stored)


def _arrays(path: Path) -> dict[str, Array]:
    with np.load(path) as held:
        return {name: held[name] for name in held.files}


def _process(command: list[str], environment: Mapping[str, str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InternalError(
            "emitted kernels must run under Triton's interpreter in "
            f"{LIMIT_S} s, not longer; use a smaller model"
        ) from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InternalError(f"emitted kernels must run under Triton's interpreter: {last}")


def iterations(program: Program) -> int:
    """Program instances of every launch, times the tiles that each goes through."""
    return sum(prod(grid(kernel)) * _depth(kernel) for kernel in program.kernels)


def _depth(kernel: Kernel) -> int:
    match kernel:
        case Product():
            return ceil(kernel.problem[3] / kernel.tile.k)
        case FusedAttention():
            return sum(ceil(count / kernel.tile_keys) for count in kernel.segments)
        case Recurrent():
            tiles = ceil(kernel.hidden / kernel.tile_hidden)
            return kernel.length * tiles * ceil(kernel.hidden / kernel.tile_k) * kernel.gates
        case _:
            return 1


def second_check(
    lowered: Lowered[Program],
    inputs: Inputs,
    reference: Mapping[str, Array],
) -> tuple[CrossCheck | None, str]:
    """Judge the emitted kernels on the first invocations.

    Returns:
        The verdict with what was run, or None with the reason why nothing was.
    """
    some = {name: array[:INVOCATIONS] for name, array in inputs.items()}
    work = iterations(lowered.program)
    if work > MOST_ITERATIONS:
        return None, (
            f"emitted kernels were not run: {work} tile iterations are more than the "
            f"{MOST_ITERATIONS} that Triton's interpreter is given"
        )
    found = run_interpreted(lowered.program, some)
    if found is None:
        return None, NOT_INSTALLED
    wanted = {name: array[:INVOCATIONS] for name, array in reference.items()}
    count = len(next(iter(some.values())))
    verdict = judged(lowered, some, found, wanted)
    return verdict, f"emitted kernels were run on {count} inputs under Triton's interpreter"
