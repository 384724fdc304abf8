"""The plan's own run held against the interpreter on the same lowered module."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.backends.gpu.bound import INEXACT, error_bounds
from tetrapla.backends.target_ import Inputs, Lowered
from tetrapla.ir.graph import Array
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.report import CrossCheck, Run


def cross_check(
    lowered: Lowered[Program],
    spec: GpuSpec,
    inputs: Inputs,
    run: Run,
    reference: Mapping[str, Array],
) -> CrossCheck:
    """Judge a run; see `judged`."""
    del spec
    return judged(lowered, inputs, run.outputs, reference)


def judged(
    lowered: Lowered[Program],
    inputs: Inputs,
    outputs: Mapping[str, Array],
    reference: Mapping[str, Array],
) -> CrossCheck:
    """Bit-exact for an integer plan; for a float one, every element within its bound.

    The bound comes from K and the formats (`bound.error_bounds`) and does not look at
    `outputs`. The figures are the largest over the outputs of max |error| / max |reference|
    and of max bound / max |reference|; an infinite one (overflow) is None.
    """
    if integer(lowered):
        mismatches = sum(
            int(np.count_nonzero(~_equal(outputs[name], array)))
            for name, array in reference.items()
        )
        return CrossCheck("bit_exact", mismatches, None, None, mismatches == 0)
    bounds = error_bounds(lowered.module.graph, lowered.program.format, inputs)
    passed, mismatches = True, 0
    worst_error, worst_bound = 0.0, 0.0
    for name, array in reference.items():
        exact = array.astype(np.float64)
        error = np.abs(outputs[name].astype(np.float64) - exact)
        outside = ~(error <= bounds[name])
        passed = passed and not outside.any() and bool(np.isfinite(bounds[name]).all())
        mismatches += int(np.count_nonzero(outside))
        scale = float(np.abs(exact).max(initial=0)) or 1.0
        worst_error = _largest(worst_error, error, scale)
        worst_bound = _largest(worst_bound, bounds[name], scale)
    return CrossCheck(
        "tolerance", mismatches, _finite(worst_error), _finite(worst_bound), passed
    )


def integer(lowered: Lowered[Program]) -> bool:
    """Whether the plan has no float arithmetic that two machines may round differently."""
    kinds = {node.kind for node in lowered.module.graph.nodes}
    return lowered.program.format == "int8" and not kinds & set(INEXACT)


def _equal(y: Array, reference: Array) -> Array:
    if y.dtype.kind == "f":
        return np.asarray((y == reference) | (np.isnan(y) & np.isnan(reference)))
    return np.asarray(y == reference)


def _largest(so_far: float, values: Array, scale: float) -> float:
    # np.maximum keeps a NaN, max() would drop it
    return float(np.maximum(so_far, values.max(initial=0) / scale))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
