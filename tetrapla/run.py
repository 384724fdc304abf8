"""From a module and a design to a checked report.

target.lower -> machine.run over the samples -> cross-check by the interpreter on the lowered
module -> accuracy of the float model and of the machine -> `Report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tetrapla.accuracy import accuracy, shares_of
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.designs import Design, design
from tetrapla.digests import model_sha256
from tetrapla.ir.errors import ModelError, SpecError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import macs
from tetrapla.origins import provenance
from tetrapla.progress import Step, silent
from tetrapla.samples import Samples, as_invocations, batch_of
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.recording_ import Recording
from tetrapla.simulators.report import Accuracy, CrossCheck, Report, Run, assemble, summed
from tetrapla.simulators.roof_ import most_used
from tetrapla.simulators.yield_ import Yield, yield_of

POINT = 0.01  # of accuracy, assumed: what a good chip may lose
IDEAL = "--ideal: every non-ideality of the machine is off"
IDEAL_ALREADY = "--ideal changes nothing: the machine has no non-ideality"


@dataclass(frozen=True)
class Result:
    """A report, and the machine's runs that it sums up: one per seed."""

    report: Report
    runs: tuple[Run, ...]
    executable: Executable | None = None
    inputs: Mapping[str, Array] | None = None


@dataclass(frozen=True)
class Trial:
    """What every machine is given: a model and samples, and what the float model makes of them.

    Attributes:
        name: what reports call the model.
        expected: the float model's outputs, where labels can judge them; else None.
        least_accuracy: what a good chip has; None for `POINT` below the float model's.
    """

    module: Module
    name: str
    samples: Samples
    expected: Mapping[str, Array] | None = None
    least_accuracy: float | None = None

    @cached_property
    def model_sha256(self) -> str:
        """Of the model, computed once."""
        return model_sha256(self.module)


@dataclass(frozen=True)
class Executable:
    """A module compiled for one design point."""

    module: Module
    design: Design
    spec: Any
    lowered: Lowered[Any]
    options: Options

    def run(self, inputs: Mapping[str, Array], seed: int = 0) -> Report:
        """Simulate the inputs and check the machine against the interpreter.

        Args:
            inputs: by name, arrays of the input's shape, or (invocations, *shape).
            seed: of the first run; a machine with noise runs `designs.SEEDS` of them.
        """
        held = as_invocations(self.module, inputs)
        samples = Samples(held, batch_of(self.module))
        return self.simulated(Trial(self.module, self.module.name, samples), seed).report

    def simulated(
        self, trial: Trial, seed: int = 0, said: str = "", step: Step = silent
    ) -> Result:
        """Simulate a trial.

        Args:
            trial: of the module that this was compiled from.
            seed: of the first run.
            said: the command to record in the report.
            step: is told of every run.
        """
        samples, target = trial.samples, self.design.target
        reference, second, sentence = None, None, ""
        if not self.module.shape_only:
            reference = evaluate_many(self.lowered.module, samples.inputs)
            second, sentence = target.second_check(self.lowered, samples.inputs, reference)
        runs, checks = self._runs(samples, seed, reference, step)
        right, good = None, None
        if trial.expected is not None and samples.labels is not None:
            outputs = [run.outputs for run in runs]
            right = accuracy(trial.expected, outputs, samples.labels)
            if len(runs) > 1:
                least = trial.least_accuracy
                good = yield_of(
                    shares_of(outputs, samples.labels),
                    max(0.0, right.reference - POINT) if least is None else least,
                )
        report = self._report(
            runs,
            trial=trial,
            command=said,
            seed=seed,
            accuracy=right,
            chip_yield=good,
            cross_check=_joined(checks) if checks else None,
            second_check=second,
            warnings=[
                *samples.warnings,
                *self._notes(runs),
                *([sentence] if sentence else []),
            ],
        )
        return Result(report, tuple(runs), self, samples.inputs)

    def _report(
        self,
        runs: Sequence[Run],
        *,
        trial: Trial,
        command: str,
        seed: int,
        accuracy: Accuracy | None,
        chip_yield: Yield | None,
        cross_check: CrossCheck | None,
        second_check: CrossCheck | None,
        warnings: Sequence[str],
    ) -> Report:
        """Price the first run and put everything known about all of them beside it."""
        try:
            found = assemble(
                runs[0],
                model=trial.name,
                target=self.design.label,
                family=self.design.target.family,
                command=command,
                cost=self.spec.prices,
                seed=seed,
                batch=trial.samples.batch,
                ranges=self.design.chip.ranges,
                area_mm2=self.spec.area_mm2,
                tdp_w=self.spec.chip.tdp_w,
                accuracy=accuracy,
                chip_yield=chip_yield,
                cross_check=cross_check,
                second_check=second_check,
                roof=self.spec.roof(
                    most_used(summed([layer.actions for layer in runs[0].layers]))
                ),
                macs=macs(self.lowered.module.graph.nodes),
                least_cycles=self.design.target.least_cycles(self.lowered.program, self.spec),
                warnings=warnings,
                provenance=provenance(self.design.chip),
            )
            return replace(found, more={"model_sha256": trial.model_sha256})
        except SpecError as error:
            raise SpecError(f"{self.design.label}: {error}") from None

    def recorded(self, run: Run) -> Recording:
        """What the machine's units did in a run of this, for a trace."""
        return self.design.target.recorded(self.lowered.program, self.spec, run)

    def sources(self) -> dict[str, str | bytes]:
        """Files that the target emits beside its program: a gpu's kernels, a TPU's binary."""
        return dict(self.design.target.sources(self.lowered.program))

    def _runs(
        self, samples: Samples, seed: int, reference: Mapping[str, Array] | None, step: Step
    ) -> tuple[list[Run], list[CrossCheck]]:
        """One run per seed, each with its check where there are values to check."""
        runs: list[Run] = []
        checks: list[CrossCheck] = []
        target = self.design.target
        for each in range(seed, seed + self.design.seeds(self.options)):
            run = self._run(samples, Key(each))
            runs.append(run)
            if reference is not None:
                held = (self.lowered, self.spec, samples.inputs, run, reference)
                check = target.cross_check(*held)
                if check is not None:
                    checks.append(check)
            step(f"{self.module.name} on {self.design.label}", 1)
        return runs, checks

    def _run(self, samples: Samples, key: Key) -> Run:
        target, chunk = self.design.target, self.options.chunk
        held = (self.lowered.program, self.spec, samples.inputs, key)
        if chunk is None:
            return target.run(*held)
        if target.run_chunked is None:
            raise UnsupportedError(
                f"--chunk must come with an analog target, not {self.design.label}; leave it "
                "out"
            )
        return target.run_chunked(*held, chunk)

    def _notes(self, runs: Sequence[Run]) -> list[str]:
        notes = [*self.design.chip.warnings, *self.lowered.warnings]
        if self.design.chip.overrides:
            notes.insert(0, self.spec.rescaled)
        if self.options.ideal:
            notes.insert(0, IDEAL_ALREADY if self.spec == self.design.chip.spec else IDEAL)
        if len(runs) > 1:
            note = f"a machine with noise: accuracy and cross-check are over {len(runs)} seeds"
            same = all(_counted(run) == _counted(runs[0]) for run in runs)
            notes.append(note if same else f"{note}, cycles and energy are of the first")
        return notes


def compile_for(
    module: Module,
    chosen: Design | str,
    calibration: Mapping[str, Array] | None = None,
    options: Options | None = None,
    overrides: Sequence[str] = (),
) -> Executable:
    """Lower a module for a design, or for a chip's name, a family's or a YAML file.

    Raises:
        RegistryError: no such target.
        SpecError: the chip's YAML or an override is wrong.
        UnsupportedError: the machine cannot do the model.
        ModelError: the target calibrates and there is no calibration data, or the model's
            numbers are ones that no machine computes with.
    """
    options = options or Options()
    check_computable(module)
    found = design(chosen, overrides) if isinstance(chosen, str) else chosen
    if options.tuning is not None and found.target.family != "gpu":
        raise ModelError(f"--tuning must be given to a GPU, not to {found.label}; leave it out")
    spec = found.spec(options)
    data = None if calibration is None else as_invocations(module, calibration)
    try:
        lowered = found.target.lower(module, spec, data, options)
    except (ModelError, UnsupportedError) as error:
        raise _of_the_chip(error, found) from None
    return Executable(module, found, spec, lowered, options)


def _of_the_chip(
    error: ModelError | UnsupportedError, found: Design
) -> ModelError | UnsupportedError:
    """A compiler speaks of its family; a person named a chip."""
    family, text = found.target.family, str(error)
    rest = text.removeprefix(family)
    return type(error)(found.label + rest) if rest[:1] in (" ", ":") else error


def check_computable(module: Module) -> None:
    """Refuse what is legal in the IR and means nothing on a machine.

    Raises:
        ModelError: a tensor has no elements, a weight holds NaN, or a product's an infinity.
    """
    graph = module.graph
    named = [(f"input '{name}'", value) for name, value in graph.inputs]
    named += [(f"the result of '{n.name}'", value) for n in graph.nodes for value in n.results]
    for what, value in named:
        if value.elements == 0:
            raise ModelError(
                f"{what} must have at least one element to run on a machine, not the shape "
                f"{list(value.shape)}; remove it from the model"
            )
    multiplied = {
        value.index
        for node in graph.nodes
        if node.kind.removeprefix("nn.") in ("matmul", "conv2d")
        for value in node.operands
    }
    for index, weight in graph.weights.items():
        if weight.dtype.kind != "f":
            continue
        # a mask of scores holds -inf; in a product an infinity makes every result one, or NaN
        odd = weight[~np.isfinite(weight) if index in multiplied else np.isnan(weight)]
        if odd.size:
            raise ModelError(
                f"weight @{graph.constants[index]} must be finite to run on a machine, but "
                f"{odd.size} of its {weight.size} numbers are not (the first is {odd[0]}); "
                "mend the model"
            )


def _counted(run: Run) -> tuple[object, ...]:
    """Everything of a run that its report prices and times."""
    return run.cycles, run.time_s, run.actions, run.layers


def _joined(checks: Sequence[CrossCheck]) -> CrossCheck:
    """One check for all seeds: mismatches add up, and the error closest to its bound counts."""
    mismatches = [check.mismatches for check in checks if check.mismatches is not None]
    return replace(
        max(checks, key=_strain),
        mismatches=sum(mismatches) if mismatches else None,
        passed=all(check.passed for check in checks),
    )


def _strain(check: CrossCheck) -> tuple[bool, float]:
    return not check.passed, (check.max_rel_error or 0.0) / (check.bound or 1.0)
