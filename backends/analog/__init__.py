"""The analog family: an int8 model on resistive crossbars with DACs and ADCs."""

from __future__ import annotations

from tetrapla.backends.analog.check import cross_check
from tetrapla.backends.analog.crossbars import crossbars, left_out
from tetrapla.backends.analog.lower import lower
from tetrapla.backends.target_ import Ahead, Inputs, Lowered, Options, Target
from tetrapla.ir.module import Module
from tetrapla.passes.pipeline_ import FOLLOWING
from tetrapla.simulators.analog.machine import AnalogRun, run
from tetrapla.simulators.analog.program import Program
from tetrapla.simulators.analog.recorded import recorded
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.analog.timing import least_cycles
from tetrapla.simulators.random_ import Key


def _stochastic(spec: AnalogSpec, options: Options) -> bool:
    return spec.noisy and not options.ideal


def _chunked(
    program: Program, spec: AnalogSpec, inputs: Inputs, key: Key, chunk: int
) -> AnalogRun:
    return run(program, spec, inputs, key, chunk=chunk)


def _modules(lowered: Lowered[Program], spec: AnalogSpec) -> dict[str, Module]:
    del spec
    if left_out(lowered.program):
        return {}
    return {"crossbar": crossbars(lowered.module, lowered.program)}


def _ahead(lowered: Lowered[Program], spec: object, files: object, names: object) -> Ahead:
    del spec, files, names
    reason = left_out(lowered.program)
    return Ahead(notes=(reason,)) if reason else Ahead()


TARGET = Target(
    family="analog",
    spec_type=AnalogSpec,
    default_chip="isaac",
    lower=lower,
    schemes=FOLLOWING,
    run=run,
    run_chunked=_chunked,
    cross_check=cross_check,
    stochastic=_stochastic,
    modules=_modules,
    ahead=_ahead,
    least_cycles=least_cycles,
    recorded=recorded,
)
