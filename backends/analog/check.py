"""The machine held against the interpreter.

The compiler and the machine, noise off: a few invocations run on exact cells, with silent reads
and ADCs of enough bits, every column converted one by one; they must equal the reference.

* ``bit_exact``, where the chip is so itself (`--ideal`): every output equals the reference.
* ``statistical``, where cells or reads are noisy. No bound on the outputs themselves could be
  tight: noise goes through every layer behind. So every product is judged on its own, with
  the operand that it had: (1) the digital steps between are done again by the interpreter's own
  operators on the run's accumulators, and must give the run's outputs; (2) the programmed
  cells, read back, must be distributed as the spec says; (3) given them, so must the
  accumulators. (1) is counted in `mismatches`. For (2) and (3) `max_rel_error` is the largest
  deviation in predicted standard errors, and `bound` follows from the number of tests alone
  (`deviations`); what is predicted, `predict` derives from the spec.
* ``tolerance``, where nothing is random, but ADC bits are too few or wires lose voltage:
  accumulators must be what (3) says, exactly; `max_rel_error` is their largest error over the
  largest exact one, and the bound is what wires, steps and last codes allow
  (`predict.resolution`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tetrapla.backends.analog import predict, reestimated
from tetrapla.backends.analog.deviations import Deviations, of_cells, of_sums
from tetrapla.backends.analog.replay import Replay, differing, replayed
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.kept import Kept
from tetrapla.simulators.analog.mapping import columns
from tetrapla.simulators.analog.program import Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck, Run

EXACT_SAMPLES: Final = 4
CONVERSIONS: Final = 1 << 19  # predicted for each product; they set how many sums are judged
_LEAST_SAMPLES: Final = 8
_LEAST_INVOCATIONS: Final = 16


def cross_check(
    lowered: Lowered[Program],
    spec: AnalogSpec,
    inputs: dict[str, Array],
    run: Run,
    reference: Mapping[str, Array],
) -> CrossCheck:
    """Compare a run with the reference's outputs on the same inputs."""
    program = lowered.program
    assert isinstance(run, machine.AnalogRun)
    mismatches = exact_mismatches(program, spec, inputs, reference)
    if all(crossbar.folds(step, spec) for step in program.products):
        mismatches += differing(run.outputs, reference)
        return CrossCheck("bit_exact", mismatches, None, None, mismatches == 0)
    seen = replayed(lowered.module, inputs, run)
    mismatches += seen.mismatches + reestimated.mismatches(lowered, spec, run)
    if not spec.noisy:
        return _tolerance(program, spec, run, seen, mismatches)
    found = deviations(program, spec, run, seen)
    if run.trial is not None and program.trial is not None:
        tried = replayed(lowered.module, program.trial.inputs, run.trial)
        found += deviations(program, spec, run.trial, tried, read_back=False)
    mismatches += found.mismatches
    passed = mismatches == 0 and found.largest <= found.bound
    return CrossCheck("statistical", mismatches, found.largest, found.bound, passed)


@dataclass(frozen=True)
class Sample:
    """Unsigned inputs [samples, rows] of a product and its sums [samples, outputs]."""

    rows: Array
    sums: Array


def exact_mismatches(
    program: Program,
    spec: AnalogSpec,
    inputs: Mapping[str, Array],
    reference: Mapping[str, Array],
) -> int:
    """Outputs of the same tiles that differ with every non-ideality off, column by column."""
    chosen = machine.spread(len(next(iter(inputs.values()))), EXACT_SAMPLES)
    steps = tuple(
        replace(
            step, tiles=tuple(replace(t, adc_shifts=(0,) * step.slices) for t in step.tiles)
        )
        if isinstance(step, Product)
        else step
        for step in program.steps
    )
    some = {name: array[chosen] for name, array in inputs.items()}
    exact = machine.run(replace(program, steps=steps), spec.ideal(), some, Key(0), fold=False)
    return differing(exact.outputs, {n: array[chosen] for n, array in reference.items()})


def deviations(
    program: Program,
    spec: AnalogSpec,
    run: machine.AnalogRun,
    seen: Replay,
    *,
    read_back: bool = True,
) -> Deviations:
    """Of the cells, if they are read back, and the accumulators of every product.

    Cells that several products share are judged once.
    """
    total = Deviations()
    kept = Kept(program, spec, run.key, again=False)
    for step, own in _copies(program):
        judged = kept.known(step)
        cells = kept.cells(step)
        seen_by = seen.operands[step.name], run.accumulators[step.name]
        sample = sampled(step, spec, *seen_by, own)
        expected = predict.accumulators(step, spec, cells, sample.rows)
        if read_back and not judged:
            total += of_cells(step, spec, cells, run.key)
        total += of_sums(expected, _near(sample.sums, expected.mean))
    return total


def sampled(
    step: Product, spec: AnalogSpec, x: Array, accumulators: Array, own: slice
) -> Sample:
    """As many sums of one copy of a product as `CONVERSIONS` allow, spread evenly.

    `own` are the positions of an invocation that the copy does.
    """
    outputs = step.matrix.shape[1]
    each = spec.digits * sum(columns(step, tile, spec).conversions for tile in step.tiles)
    wanted = max(_LEAST_SAMPLES, CONVERSIONS // max(1, each * (own.step or 1)))
    positions = max(1, len(range(accumulators[0].size // outputs)[own]))
    few = machine.spread(len(x), max(_LEAST_INVOCATIONS, -(-wanted // positions)))
    rows, _ = machine.driven(step, x[few])
    sums = accumulators[few].astype(np.float64)
    if step.window is not None:
        sums = sums.transpose(0, 1, 3, 4, 2)
    sums = sums.reshape(len(few), -1, outputs)[:, own].reshape(-1, outputs)
    flat = rows[:, own].reshape(-1, rows.shape[-1])
    chosen = machine.spread(len(flat), wanted)
    # bias and the offset of the inputs are known: what is left is the sum of codes
    return Sample(flat[chosen], sums[chosen] - machine.corrected(step, np.zeros(outputs)))


def _copies(program: Program) -> Iterator[tuple[Product, slice]]:
    """Every copy of every product, and the positions of an invocation that it does."""
    for step in program.products:
        for number in range(step.copies):
            yield step.copy(number), slice(number, None, step.copies)


def _tolerance(
    program: Program, spec: AnalogSpec, run: machine.AnalogRun, seen: Replay, mismatches: int
) -> CrossCheck:
    error, bound = 0.0, 0.0
    kept = Kept(program, spec, run.key, again=False)
    for step, own in _copies(program):
        cells = kept.cells(step)
        seen_by = seen.operands[step.name], run.accumulators[step.name]
        sample = sampled(step, spec, *seen_by, own)
        exact = crossbar.folded(step, sample.rows).astype(np.float64)
        expected = predict.accumulators(step, spec, cells, sample.rows)
        sums = _near(sample.sums, expected.mean)
        mismatches += of_cells(step, spec, cells, run.key).mismatches
        mismatches += of_sums(expected, sums).mismatches
        largest = float(np.abs(exact).max()) or 1.0
        allowed = predict.resolution(step, spec, cells, sample.rows)
        # each sum has its own allowance: the bound shown is that of the product's worst error
        mismatches += int(np.count_nonzero(np.abs(sums - exact) > allowed))
        error = max(error, float(np.abs(sums - exact).max()) / largest)
        bound = max(bound, float(allowed.max()) / largest)
    return CrossCheck("tolerance", mismatches, error, bound, mismatches == 0)


def _near(sums: Array, mean: Array) -> Array:
    """Sums that were wrapped to 32 bits, brought back next to their mean."""
    return np.asarray(sums - 2.0**32 * np.rint((sums - mean) / 2.0**32))
