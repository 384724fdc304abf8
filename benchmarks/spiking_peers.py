"""Nets of bench_spiking on Brian2, snnTorch, SANA-FE and Lava, as far as they are installed.

Each gives synaptic events per second of CPU time on the same network and input, and the spikes
that it finds; building is not in the time, but Brian2 compiles while it runs first, which is
left out. SANA-FE is driven by its own chain of neurons and weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking import Program

KEPT = 0.9  # of a voltage, in a timestep


def peers(program: Program, inputs: Array) -> Iterator[tuple[str, float, int]]:
    """Name, seconds and spikes of every installed tool that can run the net.

    Args:
        program: of bench_spiking: layers that are all-to-all, or one recurrent population.
        inputs: [T, n], spikes of a layered net or currents of a recurrent one.
    """
    layered = program.populations[1].synapses[0].kind == "matmul"
    found: dict[str, Callable[[Program, Array], tuple[float, int]]] = {
        "brian2": _brian2_layers if layered else _brian2_recurrent,
        "sanafe": _sanafe_layers if layered else _sanafe_recurrent,
    }
    if layered:
        found["snntorch"] = _snntorch
    for name, call in found.items():
        if find_spec(name) is not None:
            yield (name, *call(program, inputs))


def _seconds(call: Callable[[], Any], rounds: int = 3) -> float:
    seconds: list[float] = []
    for _ in range(rounds):
        start = process_time()
        call()
        seconds.append(process_time() - start)
    return min(seconds)


def _weights(program: Program) -> list[Array]:
    return [p.synapses[0].weight for p in program.populations[1:]]


def _snntorch(program: Program, inputs: Array) -> tuple[float, int]:
    import snntorch  # type: ignore[import-not-found]
    import torch  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    weights = [torch.from_numpy(w) for w in _weights(program)]
    cells = [
        snntorch.Leaky(beta=KEPT, threshold=1.0, reset_mechanism="zero", reset_delay=False)
        for _ in weights
    ]
    spikes = torch.from_numpy(inputs.astype(np.float32))

    def once() -> int:
        total = 0
        with torch.no_grad():
            states = [cell.init_leaky() for cell in cells]
            for now in spikes:
                value = now[None]
                for i, (cell, weight) in enumerate(zip(cells, weights, strict=True)):
                    value, states[i] = cell(value @ weight, states[i])
                    total += int(value.sum())
        return total

    count = once()
    return _seconds(once), count
