"""The machine held against the interpreter.

Where every ADC code is exact and the cells are, outputs must equal the reference's: bit_exact.
Otherwise two statistics of the error are held against what `predict` draws from the spec, on
the same inputs but without the machine:

* the largest error of any output, bound z sd with sd the largest predicted one and
  z = Phi^-1(1 - 1e-6 / (2 n)) for n outputs: one run in a million of a sound machine fails;
* the root mean square error, bound mean + 6 sd of the same statistic over the draws.

Both relative to the largest magnitude of the reference. The second sees small systematic faults
that the first cannot; where it alone fails, it is the pair that is reported. Besides, the same
program runs on exact cells, where it must equal the reference: `mismatches`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Final

import numpy as np

from tetrapla.backends.analog import predict
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.program import Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck, Run

DRAWS: Final = 16
SAMPLES: Final = 64
_FAILING = 1e-6
_RMS_SD = 6.0


def cross_check(
    lowered: Lowered[Program],
    spec: AnalogSpec,
    inputs: dict[str, Array],
    run: Run,
    reference: Mapping[str, Array],
) -> CrossCheck:
    """Compare a run with the reference's outputs on the same inputs."""
    program = lowered.program
    if all(crossbar.folds(step, spec) for step in program.products):
        differing = _differing(run.outputs, reference)
        return CrossCheck("bit_exact", differing, None, None, differing == 0)
    chosen = samples(reference)
    judged = {name: array[chosen] for name, array in reference.items()}
    some = {name: array[chosen] for name, array in inputs.items()}
    mismatches = _differing(on_exact_cells(program, spec, some), judged)
    drawn = predicted_errors(program, spec, some, judged)
    error = _errors(run.outputs, reference)
    pairs = (_worst(error, drawn), _root_mean_square(error[chosen], drawn))
    failed = [pair for pair in pairs if pair[0] > pair[1]]
    shown = (failed or pairs)[0]
    largest = max(float(np.abs(array).max()) for array in reference.values()) or 1.0
    passed = not failed and mismatches == 0
    return CrossCheck("statistical", mismatches, shown[0] / largest, shown[1] / largest, passed)


def on_exact_cells(
    program: Program, spec: AnalogSpec, inputs: dict[str, Array]
) -> Mapping[str, Array]:
    """Outputs of the same tiles with every non-ideality off."""
    steps = tuple(
        replace(
            step, tiles=tuple(replace(t, adc_shifts=(0,) * step.slices) for t in step.tiles)
        )
        if isinstance(step, Product)
        else step
        for step in program.steps
    )
    exact = replace(program, steps=steps)
    return machine.run(exact, spec.ideal(), inputs, Key(0)).outputs


def samples(reference: Mapping[str, Array]) -> Array:
    """Numbers of the invocations that the prediction looks at, spread evenly."""
    count = len(next(iter(reference.values())))
    spread = np.linspace(0, count - 1, min(count, SAMPLES))
    return np.unique(spread.astype(np.int64))


def predicted_errors(
    program: Program, spec: AnalogSpec, inputs: dict[str, Array], reference: Mapping[str, Array]
) -> Array:
    """Errors of the outputs under the predicted noise, [draws, invocations, elements]."""
    expected = predict.prediction(program, spec, inputs)
    return np.stack([_errors(expected.outputs(draw), reference) for draw in range(DRAWS)])


def _differing(found: Mapping[str, Array], reference: Mapping[str, Array]) -> int:
    return sum(int(np.count_nonzero(found[name] != array)) for name, array in reference.items())


def _worst(error: Array, drawn: Array) -> tuple[float, float]:
    """The largest error and its bound."""
    z = NormalDist().inv_cdf(1 - _FAILING / (2 * error.size))
    sd = np.sqrt((drawn**2).mean(axis=0)).max()
    return float(np.abs(error).max()), z * float(sd)


def _root_mean_square(error: Array, drawn: Array) -> tuple[float, float]:
    """The root mean square error and its bound."""
    each = np.sqrt((drawn**2).mean(axis=(1, 2)))
    bound = each.mean() + _RMS_SD * each.std(ddof=1)
    return float(np.sqrt((error**2).mean())), float(bound)


def _errors(found: Mapping[str, Array], reference: Mapping[str, Array]) -> Array:
    """Errors of all outputs, float64 [invocations, elements]."""
    parts = [
        (found[name].astype(np.float64) - array.astype(np.float64)).reshape(len(array), -1)
        for name, array in reference.items()
    ]
    return np.concatenate(parts, axis=1)
