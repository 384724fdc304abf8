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
from tetrapla.ir.graph import DTYPES, Array, Graph
from tetrapla.simulators.gpu.machine import GpuRun
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import Held
from tetrapla.simulators.report import CrossCheck, Run

# of a kernel's largest result; a wider bound would pass results that say nothing
WIDEST = 0.1
# of a kernel's elements may have a wider one, assumed: those that a comparison so near a tie
# decides that it may come out either way; the others say whether the kernel is right
FEW = 0.01
# of all kernels' results that are analysed at once, assumed: each takes some 50 bytes
MOST_ELEMENTS = 2**24


@dataclass(frozen=True)
class Compared:
    """What a kernel stored against what it should have.

    Attributes:
        outside: elements beyond their own bound.
        largest_error, largest_bound: of an element; a bound may be infinite or NaN.
        scale: the largest magnitude of the exact result.
        wide: elements whose bound is over `WIDEST` of it.
        elements: of the result.
    """

    outside: int
    largest_error: float = 0.0
    largest_bound: float = 0.0
    scale: float = 1.0
    wide: int = 0
    elements: int = 1

    def __add__(self, other: Compared) -> Compared:
        """Of the invocations of both."""
        return Compared(
            self.outside + other.outside,
            max(self.largest_error, other.largest_error),
            # NumPy's maximum keeps a NaN
            float(np.maximum(self.largest_bound, other.largest_bound)),
            max(self.scale, other.scale),
            self.wide + other.wide,
            self.elements + other.elements,
        )

    @property
    def error(self) -> float:
        """The largest, relative to the largest result."""
        return self.largest_error / self.scale

    @property
    def bound(self) -> float:
        """Likewise."""
        return self.largest_bound / self.scale

    @property
    def says_little(self) -> bool:
        """Whether too much may be right."""
        return not np.isfinite(self.bound) or self.wide > FEW * self.elements

    @property
    def nearness(self) -> tuple[bool, float, float]:
        """Which kernel a report shows: a bound too wide, then the error nearest to its own.

        Of several without an error the one that may have the largest.
        """
        if self.says_little:
            return True, self.bound if np.isfinite(self.bound) else inf, 0.0
        if self.bound == 0:
            return False, inf if self.outside else 0.0, 0.0
        return False, self.error / self.bound, self.bound


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

    The figures are of the kernel whose error comes nearest to its bound, or of one whose bound
    is over `WIDEST` of its largest result for more than a `FEW` elements, which fails; an
    infinite one (overflow) fails alike and is None.

    Where an int8 plan has float arithmetic, but every kernel stored integers that no rounding
    changes, nothing but equality was asked for: then equal outputs are bit-exact too.
    """
    if integer(lowered):
        mismatches = _unequal(held, reference)
        return CrossCheck("bit_exact", mismatches, None, None, mismatches == 0)
    graph = lowered.module.graph
    program, layout = planned(lowered.module, lowered.program.format)
    compared = _kernels(graph, layout, inputs, held)
    mismatches = sum(kernel.outside for kernel in compared)
    mismatches += _carried(program, held)
    mismatches += _beyond(graph, layout, inputs, held, reference)
    shown = max(compared, key=lambda kernel: kernel.nearness, default=Compared(0))
    passed = mismatches == 0 and not shown.says_little
    if program.format == "int8" and passed and not any(k.largest_bound for k in compared):
        if not _unequal(held, reference):
            return CrossCheck("bit_exact", 0, None, None, True)
    return CrossCheck(
        "tolerance", mismatches, _finite(shown.error), _finite(shown.bound), passed
    )


def integer(lowered: Lowered[Program]) -> bool:
    """Whether the plan has no float arithmetic that two machines may round differently."""
    nodes = lowered.module.graph.nodes
    return lowered.program.format == "int8" and not any(map(inexact, nodes))


def _kernels(graph: Graph, layout: Layout, inputs: Inputs, held: Held) -> list[Compared]:
    """Every kernel in order, so many probed invocations at a time as the memory takes."""
    each = sum(array[0].size for array in held.stored.values())
    step = max(1, MOST_ELEMENTS // max(1, each))
    total: list[Compared] = []
    for start in range(0, len(held.probed), step):
        some = slice(start, start + step)
        given = {n: np.asarray(a)[list(held.probed[some])] for n, a in inputs.items()}
        stored = {name: array[some] for name, array in held.stored.items()}
        found = list(_of_some(graph, layout, given, stored))
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
    return total


def _of_some(
    graph: Graph, layout: Layout, given: Mapping[str, Array], held: Mapping[str, Array]
) -> Iterator[Compared]:
    """Every kernel in order; the inputs' own rounding is known and has no figures."""
    values = [value for _, value in graph.inputs] + [node.results[0] for node in graph.nodes]
    stored = {
        value.index: layout.shaped(value, held[layout.names[value.index]])
        for value in values
        if value.index in layout.names
    }
    loaded = {value.index for _, value in graph.inputs}
    for kept in kernel_bounds(graph, layout, given, stored):
        found = stored[kept.index]
        if kept.index in loaded:
            yield Compared(_differing(found, kept.machine.astype(found.dtype)))
        else:
            step = 1.0 if found.dtype.kind in "iu" else 0.0
            yield _compared(found.astype(np.float64), kept.exact, kept.bound, step)


def _compared(found: Array, exact: Array, bound: Array, step: float = 0.0) -> Compared:
    """Of one kernel; a bound of a `step` is never wide, as of integers that are one off."""
    with np.errstate(all="ignore"):
        error = np.where(_equal(found, exact), 0.0, np.abs(found - exact))
        scale = float(np.abs(exact[np.isfinite(exact)]).max(initial=0)) or 1.0
        bound = np.broadcast_to(bound, error.shape)
        return Compared(
            int(np.count_nonzero(~(error <= bound))),
            float(error.max(initial=0)),
            float(bound.max(initial=0)),
            scale,
            int(np.count_nonzero(~(bound <= max(WIDEST * scale, step)))),
            error.size,
        )


def _carried(program: Program, held: Held) -> int:
    """Elements of the probed outputs that are not what their buffers hold."""
    probed, memory = list(held.probed), program.memory
    total = 0
    for port in program.outputs:
        if memory[port.buffer].role == "weight":  # an output that is a constant
            own = program.weights[port.buffer].astype(DTYPES[memory[port.buffer].dtype])
            stored = np.broadcast_to(own, (len(probed), *port.shape))
        else:
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


def _unequal(held: Held, reference: Mapping[str, Array]) -> int:
    """Elements of the outputs that are not the reference's."""
    return sum(_differing(held.outputs[name], array) for name, array in reference.items())


def _differing(found: Array, wanted: Array) -> int:
    return int(np.count_nonzero(~_equal(found, wanted)))


def _equal(y: Array, reference: Array) -> Array:
    if y.dtype.kind == "f":
        return np.asarray((y == reference) | (np.isnan(y) & np.isnan(reference)))
    return np.asarray(y == reference)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
