"""From a module and a target's name to a checked report.

load -> target.lower -> machine.run over the samples -> cross-check by the interpreter on the
lowered module -> accuracy of the float model and of the machine -> `Report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from tetrapla.backends.target_ import AnyTarget, Lowered, Options, find
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.progress import bar
from tetrapla.samples import Samples, batch_of, drawn, limited, read
from tetrapla.settings import Settings, command
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import Accuracy, CrossCheck, Report, Run, assemble
from tetrapla.simulators.spec_ import Loaded

SEEDS = 5  # runs of a machine with noise: the contract asks for at least five
IDEAL_WARNING = "--ideal: every non-ideality of the machine is off"


@dataclass(frozen=True)
class Result:
    """A report, and the machine's runs that it sums up: one per seed."""

    report: Report
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Executable:
    """A module compiled for one design point."""

    module: Module
    target: AnyTarget
    chip: Loaded[Any]
    spec: Any
    lowered: Lowered[Any]
    options: Options

    def run(self, inputs: Mapping[str, Array], seed: int = 0) -> Report:
        """Simulate the inputs and check the machine against the interpreter.

        Args:
            inputs: arrays of shape (invocations, *static shape), by input name.
            seed: of the first run; a machine with noise runs `SEEDS` of them.
        """
        return self.simulated(inputs, seed).report

    def simulated(
        self,
        inputs: Mapping[str, Array],
        seed: int = 0,
        *,
        labels: Array | None = None,
        expected: Mapping[str, Array] | None = None,
        said: str = "",
        warnings: Sequence[str] = (),
        batch: int | None = None,
    ) -> Result:
        """Simulate, as `run` does, with what a report can say beside the machine's numbers.

        Args:
            inputs: arrays of shape (invocations, *static shape), by input name.
            seed: of the first run.
            labels: right answers, shape (invocations, batch); None where they are not known.
            expected: the float model's outputs; computed from `module` when needed.
            said: the command to record in the report.
            warnings: to pass on into the report.
            batch: inferences in one invocation; None reads it off the inputs' shapes.
        """
        held = dict(inputs)
        seeds = self._seeds(seed)
        reference = evaluate_many(self.lowered.module, held)
        runs: list[Run] = []
        checks: list[CrossCheck] = []
        for each in seeds:
            runs.append(self.target.run(self.lowered.program, self.spec, held, Key(each)))
            check = self.target.cross_check(self.lowered, self.spec, held, runs[-1], reference)
            checks.append(check)
        accuracy = None
        if labels is not None:
            floats = expected if expected is not None else evaluate_many(self.module, held)
            accuracy = _accuracy(floats, [run.outputs for run in runs], labels)
        second, sentence = self.target.second_check(self.lowered, held, reference)
        report = assemble(
            runs[0],
            model=self.module.name,
            target=self.chip.name,
            family=self.target.family,
            command=said,
            cost=self.spec.cost,
            seed=seed,
            batch=batch_of(self.module) if batch is None else batch,
            area_mm2=self.spec.chip.area_mm2,
            accuracy=accuracy,
            cross_check=_joined(checks),
            second_check=second,
            macs=_macs(self.lowered.module),
            warnings=(*warnings, *self._notes(len(seeds)), *([sentence] if sentence else [])),
            provenance=self.chip.provenance,
        )
        return Result(report, tuple(runs))

    def sources(self) -> dict[str, str]:
        """Files that the target emits beside its program (a gpu's kernels)."""
        return dict(self.target.sources(self.lowered.program))

    def _seeds(self, seed: int) -> range:
        noisy = self.target.stochastic(self.spec, self.options)
        return range(seed, seed + (SEEDS if noisy else 1))

    def _notes(self, seeds: int) -> tuple[str, ...]:
        notes = list(self.lowered.warnings)
        if self.options.ideal:
            notes.insert(0, IDEAL_WARNING)
        if seeds > 1:
            notes.append(
                f"a machine with noise: accuracy and cross-check are over {seeds} seeds, "
                "cycles and energy are of the first"
            )
        return tuple(notes)


def compile_for(
    module: Module,
    name: str,
    calibration: Mapping[str, Array] | None = None,
    options: Options | None = None,
    overrides: Sequence[str] = (),
) -> Executable:
    """Lower a module for a chip, a family's default or a YAML file.

    Raises:
        RegistryError: no such target.
        SpecError: the chip's YAML or an override is wrong.
        UnsupportedError: the machine cannot do the model.
        ModelError: the target calibrates and there is no calibration data.
    """
    options = options or Options()
    target, chip = find(name, overrides)
    spec = chip.spec.ideal() if options.ideal else chip.spec
    data = None if calibration is None else dict(calibration)
    lowered = target.lower(module, spec, data, options)
    return Executable(module, target, chip, spec, lowered, options)


def options_of(settings: Settings) -> Options:
    """The part of the settings that a lowering reads."""
    return Options(settings.quant, settings.timesteps, settings.ideal)


def samples_for(module: Module, settings: Settings) -> Samples:
    """The data that the settings ask for."""
    if settings.data is None:
        return limited(drawn(module, settings.seed), settings.samples)
    found = read(module, settings.data, settings.calib, settings.calib_fraction)
    return limited(found, settings.samples)


def check_targets(names: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Judge every name, YAML and override before the work starts."""
    if not names:
        raise ModelError("--targets must name at least one target, not none")
    for name in names:
        find(name, overrides)


def reports(
    module: Module, names: Sequence[str], settings: Settings, said: str | None = None
) -> list[Report]:
    """Run one model on several targets with the same samples, in the order of `names`.

    Args:
        module: the float model.
        names: chips, families or YAML files.
        settings: the common options.
        said: the command to record; None writes the equivalent `compare`.
    """
    said = said or command("compare", [module.name], list(names), settings)
    return [result.report for result in results(module, names, settings, said)]


def results(
    module: Module, names: Sequence[str], settings: Settings, said: str
) -> list[Result]:
    """`reports` with the machines' runs beside them."""
    check_targets(names, settings.overrides)
    samples = samples_for(module, settings)
    expected = evaluate_many(module, samples.inputs) if _judged(module, samples) else None
    labels = samples.labels if expected is not None else None
    found: list[Result] = []
    with bar(module.name, len(names)) as done:
        for name in names:
            executable = compile_for(
                module, name, samples.calibration, options_of(settings), settings.overrides
            )
            result = executable.simulated(
                samples.inputs,
                settings.seed,
                labels=labels,
                expected=expected,
                said=said,
                warnings=samples.warnings,
                batch=samples.batch,
            )
            found.append(result)
            done(1)
    return found


def _macs(module: Module) -> int | None:
    """Multiplications of one invocation; None where spikes replace them."""
    total = 0
    for node in module.graph.nodes:
        kind = node.kind.partition(".")[2]
        if node.kind.startswith("spike."):
            return None
        if kind == "conv2d":
            total += node.result.elements * prod(node.operands[1].shape[1:])
        elif kind == "matmul":
            total += node.result.elements * node.operands[0].shape[-1]
    return total


def _judged(module: Module, samples: Samples) -> bool:
    """Whether answers can be right: labels, and one output of shape [batch, classes]."""
    shapes = [value.shape for _, value in module.graph.outputs]
    return samples.labels is not None and len(shapes) == 1 and len(shapes[0]) == 2


def _accuracy(
    floats: Mapping[str, Array], outputs: Sequence[Mapping[str, Array]], labels: Array
) -> Accuracy:
    shares = [_share(found, labels) for found in outputs]
    return Accuracy(
        reference=_share(floats, labels),
        target=float(np.mean(shares)),
        target_std=float(np.std(shares, ddof=1)) if len(shares) > 1 else None,
        seeds=len(shares),
        samples=int(labels.size),
    )


def _share(outputs: Mapping[str, Array], labels: Array) -> float:
    (scores,) = outputs.values()
    answers = np.argmax(scores, axis=-1).reshape(labels.shape)
    return float(np.count_nonzero(answers == labels) / labels.size)


def _joined(checks: Sequence[CrossCheck]) -> CrossCheck:
    """One check for all seeds: mismatches add up, the worst error counts."""
    mismatches = [check.mismatches for check in checks if check.mismatches is not None]
    errors = [check.max_rel_error for check in checks if check.max_rel_error is not None]
    return replace(
        checks[0],
        mismatches=sum(mismatches) if mismatches else None,
        max_rel_error=max(errors) if errors else None,
        passed=all(check.passed for check in checks),
    )
