"""Random systolic designs, and how far the closed form is off on each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tetrapla.backends.systolic import closed_form
from tetrapla.backends.systolic import lower as lowered
from tetrapla.backends.target_ import Options
from tetrapla.designs import design
from tetrapla.ir.module import Module
from tetrapla.models import load_for
from tetrapla.settings import Settings
from tetrapla.simulators.price_ import price, standing, summed
from tetrapla.simulators.systolic.counts import actions
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule

_TARGET = "tpu-v1"


def drawn(count: int, seed: int) -> Iterator[Sequence[str]]:
    """Overrides of designs of any shape: sides, memories, clock, DRAM, lanes, log-uniform."""
    rng = np.random.default_rng(seed)

    def between(low: float, high: float) -> int:
        return round(2 ** rng.uniform(np.log2(low), np.log2(high)))

    for _ in range(count):
        sides = [
            between(16, 512) if rng.random() < 0.5 else 2 ** int(rng.integers(4, 10))
            for _ in range(2)
        ]
        yield (
            f"array.rows={sides[0]}",
            f"array.cols={sides[1]}",
            f"memories.accumulator_rows={2 ** int(rng.integers(8, 15))}",
            f"memories.weight_tiles={int(rng.integers(2, 17))}",
            f"clock={between(200, 2000)}MHz",
            f"dram.bandwidth={between(5, 1000)}GB/s",
            f"dram.latency={between(50, 500)}ns",
            f"vector.lanes={2 ** int(rng.integers(4, 11))}",
        )


class Judge:
    """A model whose shapes are compiled for each design, and timed."""

    def __init__(self, model: str) -> None:
        module = load_for(model, Settings())
        self._module = Module.parse(module.text(), {}, module.name)
        self._form = closed_form(self._module, design(_TARGET).chip.spec, Options())

    def errors(self, overrides: Sequence[str]) -> tuple[float, float]:
        """Cycles and energy of the closed form over the machine's, less one."""
        spec: SystolicSpec = design(_TARGET, overrides).chip.spec
        program = lowered(self._module, spec, None, Options()).program
        cycles = schedule(program, spec).cycles
        data = spec.model_dump()
        columns = {}
        for path in self._form.fields:
            value = data
            for name in path.split("."):
                value = value[name]
            columns[path] = np.array([value], np.float64)
        found = self._form(columns)
        estimated = {name: float(count[0]) for name, count in found.actions.items()}
        energies = []
        for taken, counts in (
            (cycles, summed(actions(program))),
            (float(found.cycles[0]), estimated),
        ):
            energy = price(
                {**counts, **standing(spec.cost, taken / spec.clock_hz, taken)}, spec.prices
            ).total_pj
            assert energy is not None, "the chip has all prices"
            energies.append(energy)
        return float(found.cycles[0]) / cycles - 1, energies[1] / energies[0] - 1
