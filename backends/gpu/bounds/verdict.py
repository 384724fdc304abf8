"""The plan's own run held against the interpreter on the same lowered module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from tetrapla.backends.gpu.bounds.bound import error_bounds, inexact, kernel_bounds
from tetrapla.backends.gpu.lower import planned
from tetrapla.backends.gpu.plan import Layout
from tetrapla.backends.target_ import Inputs, Lowered
from tetrapla.ir.graph import Array, Graph
from tetrapla.simulators.gpu.machine import GpuRun
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import Held
from tetrapla.simulators.report import CrossCheck, Run

# of a kernel's largest result; a wider bound would pass results that say nothing
WIDEST = 0.1


@dataclass(frozen=True)
class Compared:
    """What a kernel stored against what it should have.

    Attributes:
        outside: elements beyond their own bound.
        error: the largest, over the largest magnitude of the exact result.
        bound: likewise; it may be infinite or NaN.
    """

    outside: int
    error: float
    bound: float

    @property
    def nearness(self) -> tuple[bool, float]:
        """Which kernel a report shows: a bound too wide, then the error nearest to its own."""
        if not self.bound <= WIDEST:
            return True, self.bound if np.isfinite(self.bound) else inf
        if self.bound == 0:
            return False, inf if self.outside else 0.0
        return False, self.error / self.bound


def cross_check(
    lowered: Lowered[Program],
    spec: GpuSpec,
    inputs: Inputs,
    run: Run,
    reference: Mapping[str, Array],
) -> CrossCheck:
    """Judge a run; see `judged`."""
    del spec
    assert isinstance(run, GpuRun)
    # the outputs that the run reports, the buffers that its kernels stored
    held = Held(run.outputs, run.held.probed, run.held.stored)
    return judged(lowered, inputs, held, reference)


def judged(
    lowered: Lowered[Program], inputs: Inputs, held: Held, reference: Mapping[str, Array]
) -> CrossCheck:
    """Bit-exact outputs for an integer plan; for a float one, kernel by kernel.

    What each kernel stored in the probed invocations lies within its own bound of what the
    interpreter's operators make in float64 of what the kernels before it stored, by the
    module's unrounded weights (`bound.kernel_bounds`); the outputs are what the last ones
    stored. No bound looks at what it judges, nor grows with depth. The outputs of the other
    invocations have the bound from the inputs on, which is loose for deep networks.

    The figures are of the kernel whose error comes nearest to its bound, or whose bound is over
    `WIDEST` of its largest result, which fails; an infinite one (overflow) is None.
    """
    if integer(lowered):
        mismatches = sum(_differing(held.outputs[n], array) for n, array in reference.items())
        return CrossCheck("bit_exact", mismatches, None, None, mismatches == 0)
    graph = lowered.module.graph
    program, layout = planned(lowered.module, lowered.program.format)
    compared = list(_kernels(graph, layout, inputs, held))
    mismatches = sum(kernel.outside for kernel in compared)
    mismatches += _carried(program, held)
    mismatches += _beyond(graph, layout, inputs, held, reference)
    shown = max(compared, key=lambda kernel: kernel.nearness, default=Compared(0, 0.0, 0.0))
    passed = mismatches == 0 and shown.bound <= WIDEST
    return CrossCheck(
        "tolerance", mismatches, _finite(shown.error), _finite(shown.bound), passed
    )


def integer(lowered: Lowered[Program]) -> bool:
    """Whether the plan has no float arithmetic that two machines may round differently."""
    nodes = lowered.module.graph.nodes
    return lowered.program.format == "int8" and not any(map(inexact, nodes))


def _kernels(graph: Graph, layout: Layout, inputs: Inputs, held: Held) -> Iterator[Compared]:
    """Every kernel in order; the inputs' own rounding is known and has no figures."""
    probed = list(held.probed)
    given = {name: np.asarray(array)[probed] for name, array in inputs.items()}
    values = [value for _, value in graph.inputs] + [node.result for node in graph.nodes]
    stored = {
        value.index: held.stored[layout.names[value.index]].reshape(-1, *value.shape)
        for value in values
        if value.index in layout.names
    }
    loaded = {value.index for _, value in graph.inputs}
    for kept in kernel_bounds(graph, layout, given, stored):
        found = stored[kept.index]
        if kept.index in loaded:
            yield Compared(_differing(found, kept.machine.astype(found.dtype)), 0.0, 0.0)
        else:
            yield _compared(found.astype(np.float64), kept.exact, kept.bound)


def _compared(found: Array, exact: Array, bound: Array) -> Compared:
    with np.errstate(all="ignore"):
        error = np.where(_equal(found, exact), 0.0, np.abs(found - exact))
        scale = float(np.abs(exact[np.isfinite(exact)]).max(initial=0)) or 1.0
        outside = int(np.count_nonzero(~(error <= bound)))
        # NumPy's maximum keeps a NaN
        return Compared(
            outside,
            float(error.max(initial=0) / scale),
            float(bound.max(initial=0) / scale),
        )


def _carried(program: Program, held: Held) -> int:
    """Elements of the probed outputs that are not what their buffers hold."""
    probed = list(held.probed)
    total = 0
    for port in program.outputs:
        stored = held.stored[port.buffer].reshape(-1, *port.shape)
        reported = held.outputs[port.name][probed]
        total += _differing(reported, stored.astype(reported.dtype))
    return total


def _beyond(
    graph: Graph, layout: Layout, inputs: Inputs, held: Held, reference: Mapping[str, Array]
) -> int:
    """Elements of the outputs that were not probed and are out of the bound, where it is."""
    count = max(len(array) for array in reference.values())
    others = sorted(set(range(count)) - set(held.probed))
    if not others:
        return 0
    given = {name: np.asarray(array)[others] for name, array in inputs.items()}
    total = 0
    for name, bound in error_bounds(graph, layout, given).items():
        exact = reference[name][others].astype(np.float64)
        total += _compared(
            held.outputs[name][others].astype(np.float64),
            exact,
            np.where(np.isfinite(bound), bound, inf),
        ).outside
    return total


def _differing(found: Array, wanted: Array) -> int:
    return int(np.count_nonzero(~_equal(found, wanted)))


def _equal(y: Array, reference: Array) -> Array:
    if y.dtype.kind == "f":
        return np.asarray((y == reference) | (np.isnan(y) & np.isnan(reference)))
    return np.asarray(y == reference)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
