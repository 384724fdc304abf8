"""The target as an oracle: what a network costs on it, and how often it is right there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tetrapla.designs import Design, design
from tetrapla.ir.errors import ModelError
from tetrapla.ir.interpret import evaluate_many
from tetrapla.run import Trial, compile_for
from tetrapla.samples import CALIBRATION_SAMPLES, Samples
from tetrapla.settings import Settings
from tetrapla.sweeps.grid import OBJECTIVES
from tetrapla.trials import options_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tetrapla.ir.module import Module
    from tetrapla.run import Result
    from tetrapla.simulators.report import Report

COSTS: Final = ("energy", "latency", "area")
UNITS: Final[Mapping[str, str]] = {"energy": "pj", "latency": "s", "area": "mm2"}
PRICED_SAMPLES: Final = 16  # whose mean is a cost where spikes are counted; else one will do
NARROW: Final = "int4"  # the format of weights of four bits


@dataclass(frozen=True)
class Oracle:
    """A machine, its options and the quantity that is made small.

    Args:
        design: the machine.
        objective: one of `COSTS`.
        settings: `quant`, `timesteps`, `code`, `ideal`, `chips` and `seed` count.
    """

    design: Design
    objective: str
    settings: Settings

    def settings_of(self, weight_bits: int) -> Settings:
        """The options of a network: narrow weights are compiled as such."""
        if weight_bits > 4 or self.settings.quant is not None or self.spikes:
            return self.settings
        return replace(self.settings, quant=NARROW)

    @property
    def spikes(self) -> bool:
        """Whether the machine counts spikes: it has its own format of weights, too."""
        return self.design.target.family == "spiking"

    def cost(self, module: Module, weight_bits: int, images: NDArray[np.float32]) -> float:
        """What one inference costs.

        Args:
            module: with weights; its batch is 1.
            weight_bits: of its weights.
            images: (samples, ...), the first of which calibrate, and fewer of which are run.

        Raises:
            ModelError: the machine's sources do not price it.
            UnsupportedError: the machine cannot do the network.
        """
        # one chip and few images: what is asked is the cost, not the accuracy
        chosen = replace(self.settings_of(weight_bits), chips=1 if self.noisy else None)
        inputs = _inputs(module, images)
        count = PRICED_SAMPLES if self.spikes else 1
        few = {name: array[:count] for name, array in inputs.items()}
        executable = compile_for(module, self.design, _calibration(inputs), options_of(chosen))
        return self.of(executable.run(few, chosen.seed))

    def of(self, report: Report) -> float:
        """The objective of a report.

        Raises:
            ModelError: the machine's sources do not price it.
        """
        found = OBJECTIVES[self.objective](report)
        if found is None:
            others = " or ".join(name for name in COSTS if name != self.objective)
            raise ModelError(
                f"--objective must be a quantity that {self.design.label} has a price for, not "
                f"{self.objective}; take {others}"
            )
        return found

    @property
    def noisy(self) -> bool:
        """Whether two chips of the machine differ."""
        options = options_of(self.settings)
        return self.design.target.stochastic(self.design.spec(options), options)

    def judged(
        self,
        module: Module,
        weight_bits: int,
        calibration: NDArray[np.float32],
        images: NDArray[np.float32],
        labels: NDArray[np.int64],
        *,
        chips: int | None = None,
    ) -> Result:
        """The machine's report and runs on labelled images.

        Args:
            module: with weights; its batch is 1.
            weight_bits: of its weights.
            calibration: images whose first ones calibrate.
            images: that are run.
            labels: their classes.
            chips: of a noisy machine; None for as many as the settings say.
        """
        chosen = self.settings_of(weight_bits)
        if chips is not None and self.noisy:
            chosen = replace(chosen, chips=chips)
        inputs = _inputs(module, images)
        samples = Samples(
            inputs, 1, labels.reshape(-1, 1), _calibration(_inputs(module, calibration))
        )
        trial = Trial(module, module.name, samples, evaluate_many(module, inputs))
        executable = compile_for(module, self.design, samples.calibration, options_of(chosen))
        return executable.simulated(trial, chosen.seed, "")


def oracle(target: str, objective: str, settings: Settings) -> Oracle:
    """The oracle of a target's name.

    Raises:
        ModelError: there is no such objective.
        TetraplaError: there is no such target, or its YAML is wrong.
    """
    if objective not in COSTS:
        raise ModelError(f"--objective must be {', '.join(COSTS)}, not '{objective}'")
    return Oracle(design(target, settings.overrides), objective, settings)


def right(result: Result, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images each chip has right, (chips, images)."""
    found: list[NDArray[np.bool_]] = []
    for run in result.runs:
        (scores,) = run.outputs.values()
        found.append(np.argmax(scores, axis=-1).reshape(-1) == labels)
    return np.stack(found)


def key_of(held: Oracle) -> list[Any]:
    """All that an answer of the oracle depends on, beside the network, as plain data."""
    chip = held.design.chip
    words: Sequence[str] = held.settings.words()
    return [held.design.label, chip.text, list(chip.overrides), held.objective, list(words)]


def _inputs(module: Module, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    ((name, value),) = module.graph.inputs
    return {name: images.reshape(len(images), *value.shape)}


def _calibration(
    inputs: Mapping[str, NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    return {name: array[:CALIBRATION_SAMPLES] for name, array in inputs.items()}
