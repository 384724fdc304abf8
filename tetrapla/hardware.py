"""A model on the RTL: the same program on the Python machine and in SystemVerilog, compared.

It is compiled and reported as `tetrapla simulate` does, but the values are those of the RTL,
so the cross-check holds them against the interpreter; every sample runs in lock step with the
Python machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tetrapla.backends.target_ import Inputs
from tetrapla.designs import Design
from tetrapla.ir.errors import ModelError, UnsupportedError, nearest
from tetrapla.ir.graph import Array
from tetrapla.models import load_for
from tetrapla.progress import Step, bar
from tetrapla.run import Executable, compile_for
from tetrapla.settings import Settings, command
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import Report, Run, Slice
from tetrapla.simulators.rtl.compare import Comparison, compare
from tetrapla.simulators.rtl.errors import refuse_array
from tetrapla.simulators.rtl.waves import waves
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.trials import options_of, trial

SAMPLES = 1  # where nobody says how many
_SUMMARY = (
    "samples",
    "rtl_cycles",
    "value_mismatches",
    "cycle_differences",
    "dispatch_mismatches",
    "retirement_mismatches",
    "passed",
)


@dataclass(frozen=True)
class LayerCheck:
    """One layer on the RTL, over all samples.

    Attributes:
        rtl_cycles: from its MARK to the next, in every sample's run.
        compared: bytes and sums that it wrote and that were compared.
        value_mismatches: how many of them differ.
        dispatch_mismatches, retirement_mismatches: instructions that the RTL sent, or that
            retired there, in another cycle.
    """

    rtl_cycles: int
    compared: int
    value_mismatches: int
    dispatch_mismatches: int
    retirement_mismatches: int


@dataclass(frozen=True)
class RtlReport(Report):
    """A report of a model that ran on the RTL.

    Attributes:
        checks: as `layers`.
        rtl_cycles: of the run.
        left_mismatches: bytes and sums of the memories that differ when all is done.
        samples: that ran.
    """

    checks: tuple[LayerCheck, ...] = ()
    rtl_cycles: int = 0
    left_mismatches: int = 0
    samples: int = 0

    @property
    def value_mismatches(self) -> int:
        """Of all layers, and of what is left when all is done."""
        return sum(check.value_mismatches for check in self.checks) + self.left_mismatches

    @property
    def cycle_differences(self) -> int:
        """Layers that the RTL takes another number of cycles for."""
        pairs = zip(self.layers, self.checks, strict=True)
        return sum(row.cycles != check.rtl_cycles for row, check in pairs)

    @property
    def dispatch_mismatches(self) -> int:
        """Instructions that the RTL sent in another cycle."""
        return sum(check.dispatch_mismatches for check in self.checks)

    @property
    def retirement_mismatches(self) -> int:
        """Instructions that retired on the RTL in another cycle."""
        return sum(check.retirement_mismatches for check in self.checks)

    @property
    def passed(self) -> bool:
        """Whether the RTL does what the Python machine does, and computes what it should."""
        judged = self.cross_check is None or self.cross_check.passed
        moved = self.dispatch_mismatches + self.retirement_mismatches
        wrong = self.value_mismatches + self.cycle_differences + moved
        return judged and not wrong and self.rtl_cycles == self.cycles

    def to_dict(self, *, sight: bool = True) -> dict[str, Any]:
        found = super().to_dict(sight=sight)
        for layer, check in zip(found["layers"], self.checks, strict=True):
            layer.update({f.name: getattr(check, f.name) for f in fields(check)})
        return {**found, "rtl": {name: getattr(self, name) for name in _SUMMARY}}


@dataclass(frozen=True)
class Checked:
    """What `checked` found.

    Attributes:
        run: the Python machine's, with a track of the RTL's layers in its trace.
    """

    report: RtlReport
    run: Run
    executable: Executable
    inputs: Inputs

    def waves(self, layer: str) -> tuple[bytes, str | None]:
        """The waveforms of a layer as a VCD, of the first sample, and what to know of them.

        Raises:
            ModelError: there is no such layer.
        """
        names = [row.name for row in self.report.layers]
        if layer not in names:
            hint = nearest(layer, names)
            raise ModelError(
                f"--layer must be a layer of the program, not '{layer}'"
                f"{hint}{'' if hint else ';'} there are: {', '.join(names)}"
            )
        counts = [check.rtl_cycles for check in self.report.checks]
        place = names.index(layer)
        first = sum(counts[:place])
        last = first + counts[place]
        program, spec = self.executable.lowered.program, self.executable.spec
        sample = {name: array[:1] for name, array in self.inputs.items()}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "layer.vcd"
            ended = waves(program, spec, sample, (first, last), file)
            data = file.read_bytes()
        if ended == last:
            return data, None
        part = f"the first {ended - first} of its {last - first} cycles"
        return data, f"the VCD of layer '{layer}' holds {part}: more would be too large a file"


def checked(path: str, target: str, design: Design, settings: Settings) -> Checked:
    """A model's file on one chip's RTL, as the command `rtl` names them.

    Raises:
        UnsupportedError: the target is no systolic array, or the RTL or its toolchain lacks
            something.
        ModelError: the model has no values.
    """
    _check_chip(design)
    settings = replace(settings, samples=settings.samples or SAMPLES)
    said = command("rtl", [path], [target], settings)
    given = trial(load_for(path, settings), settings)
    if given.module.shape_only:
        raise ModelError(
            f"model '{given.name}' must have weights for the RTL to compute with, not shapes "
            "alone; load it from a file that holds them"
        )
    samples, options = given.samples, options_of(settings)
    with bar(samples.invocations) as step:
        hardware = _Hardware(step, f"{given.name} on the RTL of {design.label}")
        built = replace(design, target=replace(design.target, run=hardware.run))
        executable = compile_for(given.module, built, samples.calibration, options)
        result = executable.simulated(given, settings.seed, said)
    found = hardware.found
    report = _report(result.report, executable.lowered.program, found)
    return Checked(report, _tracked(result.runs[0], found[0]), executable, samples.inputs)


def _check_chip(design: Design) -> None:
    spec: object = design.chip.spec
    if not isinstance(spec, SystolicSpec):
        raise UnsupportedError(
            f"rtl must have a systolic target, not {design.label} of the family "
            f"{design.target.family}; name a systolic chip"
        )
    refuse_array(spec)


class _Hardware:
    """Runs programs as a target does, with the values of the RTL.

    Attributes:
        found: what was compared, by sample.
    """

    def __init__(self, step: Step, what: str) -> None:
        self.found: list[Comparison] = []
        self._step, self._what = step, what

    def run(
        self, program: Program, spec: SystolicSpec, inputs: Mapping[str, Array], key: Key
    ) -> Run:
        """Run every sample on both machines."""
        timed = run(program, spec, {}, key)
        for i in range(len(next(iter(inputs.values())))):
            sample = {name: array[i : i + 1] for name, array in inputs.items()}
            self.found.append(compare(program, spec, sample))
            self._step(self._what, 1)
        names = [name for name, _ in program.outputs]
        outputs = {n: np.concatenate([one.outputs[n] for one in self.found]) for n in names}
        return replace(timed, outputs=outputs)


def _report(report: Report, program: Program, found: Sequence[Comparison]) -> RtlReport:
    """The report with what the samples' comparisons come to."""
    checks = tuple(
        LayerCheck(
            rtl_cycles=_odd_one([layer.rtl_cycles for layer in layers], layers[0].cycles),
            compared=sum(layer.compared for layer in layers),
            value_mismatches=sum(layer.values for layer in layers),
            dispatch_mismatches=sum(layer.dispatches for layer in layers),
            retirement_mismatches=sum(layer.retirements for layer in layers),
        )
        for layers in zip(*(one.layers for one in found), strict=True)
    )
    held = {f.name: getattr(report, f.name) for f in fields(Report)}
    held["warnings"] = (*report.warnings, *_hosted(program, found))
    return RtlReport(
        **held,
        checks=checks,
        rtl_cycles=_odd_one([one.rtl.cycles for one in found], found[0].plan.cycles),
        left_mismatches=sum(one.left for one in found),
        samples=len(found),
    )


def _hosted(program: Program, found: Sequence[Comparison]) -> Iterator[str]:
    """What to know of the routines, whose values the RTL does not compute."""
    numbers = sorted({number for one in found for number in one.rtl.hosted})
    if numbers:
        names = ", ".join(dict.fromkeys(program.routines[number].name for number in numbers))
        yield f"the RTL times the routines {names}; their values are the reference's"


def _odd_one(counts: Sequence[int], wanted: int) -> int:
    """What every sample should take; the first that it does not."""
    return next((count for count in counts if count != wanted), wanted)


def _tracked(run: Run, one: Comparison) -> Run:
    """The run with a track of the RTL's layers."""
    slices: list[Slice] = []
    start = 0
    for layer in one.layers:
        slices.append(Slice("RTL", layer.name, start, start + layer.rtl_cycles))
        start += layer.rtl_cycles
    return replace(run, trace=(*run.trace, *slices))
