"""A TVM graph whose regions a target computes: bring your own codegen, with a simulator.

In TVM's process the file or IRModule is folded, matched and cut into regions. Here every
region becomes a module, compiled for the target and calibrated on what reaches the region. In
a run TVM computes the rest and asks for each region, which the target's machine simulates.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np

from tetrapla.backends.target_ import Options
from tetrapla.designs import Design, design
from tetrapla.frontend.relax.calls import Call, Composite, Kind, Ref, Region, kind_of
from tetrapla.frontend.relax.importer import input_name, module_of, output_name, refs, refusal
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.run import Executable, compile_for
from tetrapla.samples import drawn
from tetrapla.simulators.report import Report
from tetrapla.tvm.process import Child
from tetrapla.tvm.told import Asked, Cut, Graph

Compute: TypeAlias = "Callable[[str, dict[str, Array]], Mapping[str, Array]]"


@dataclass(frozen=True)
class Part:
    """One region: the operators in it, its module, and the module compiled."""

    name: str
    ops: tuple[str, ...]
    module: Module
    executable: Executable


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes:
        outputs: by the graph's names, (invocations, *shape).
        reports: of the regions in the order in which the graph meets them.
    """

    outputs: dict[str, Array]
    reports: tuple[Report, ...]

    @property
    def cycles(self) -> float:
        """Of all regions, one behind the other; what TVM computes is not in it."""
        return sum(each.cycles for each in self.reports)

    @property
    def total_pj(self) -> float | None:
        """The energy of all regions; None where a price is unknown."""
        known = [each.energy.total_pj for each in self.reports]
        return None if None in known else sum(each for each in known if each is not None)


class Offloaded:
    """A graph in TVM's process with its regions on a target; close it, or use it in a with.

    Attributes:
        graph: what TVM was given.
        parts: the regions.
        left: the operators that TVM computes, in order.
        reasons: for those that could have no region, why, by operator.
    """

    def __init__(
        self, child: Child, graph: Graph, cut: Cut, parts: Sequence[Part], why: dict[str, str]
    ) -> None:
        self._child = child
        self.graph = graph
        self.parts = tuple(parts)
        self.left = cut.left
        self.reasons = why

    def run(self, inputs: Mapping[str, Array], seed: int = 0) -> Outcome:
        """Run the graph.

        Args:
            inputs: by name, arrays of the input's shape, or (invocations, *shape).
            seed: of every region's run; its report is of that seed.
        """
        executables = {each.name: each.executable for each in self.parts}
        reports: list[Report] = []

        def compute(name: str, operands: dict[str, Array]) -> Mapping[str, Array]:
            report = executables[name].run(operands, seed)
            reports.append(report)
            return report.outputs

        return Outcome(passed(self._child, self.graph, inputs, compute), tuple(reports))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End TVM's process."""
        self._child.close()


def offload(
    model: object,
    target: str,
    calibration: Mapping[str, Array] | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    batch: int = 1,
    merge: bool = True,
    options: Options | None = None,
    overrides: Sequence[str] = (),
) -> Offloaded:
    """Give the regions of a TVM graph to a target.

    Args:
        model: the path of an .onnx file, which TVM imports, or of a .json that
            ``tvm.ir.save_json`` wrote, or a Relax IRModule.
        target: a chip's name, a family's, or the path of a YAML file.
        calibration: arrays (samples, *shape) by input name, for targets that quantise.
        dims: sizes of symbolic dimensions of an .onnx file.
        batch: size of a leading symbolic dimension of an .onnx file.
        merge: whether neighbouring matches are one region; else each match is its own.
        options: the lowering's: format, timesteps, ideal.
        overrides: ``FIELD=VALUE`` over the chip's YAML.

    Raises:
        ModelError: TVM is not installed, or the file cannot be read.
        UnsupportedError: TVM cannot import the model, or nothing in it can be offloaded.
    """
    found = design(target, overrides)
    verb, told = _request(model, dims or {}, batch)
    child = Child()
    try:
        graph: Graph = child.ask(verb, **told)
        return _Offloading(child, graph, found, options or Options(), merge).made(calibration)
    except BaseException:
        child.close()
        raise


def _request(
    model: object, dims: Mapping[str, int], batch: int
) -> tuple[str, dict[str, object]]:
    """What the child is asked to load."""
    if type(model).__module__.partition(".")[0] == "tvm":
        # who holds such an object has imported TVM
        return "load_relax", {"text": sys.modules["tvm"].ir.save_json(model)}
    if not isinstance(model, str | os.PathLike):
        raise ModelError(
            "the model must be a path or a Relax IRModule, not "
            f"{type(model).__name__}; save it as ONNX"
        )
    path = Path(model)
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of an .onnx or .json file")
    if path.suffix == ".onnx":
        return "load_onnx", {"data": path.read_bytes(), "dims": dict(dims), "batch": batch}
    if path.suffix == ".json":
        return "load_relax", {"text": path.read_text("utf-8")}
    raise ModelError(f"{path}: must be .onnx or .json for TVM, not '{path.suffix}'")


def passed(
    child: Child, graph: Graph, inputs: Mapping[str, Array], compute: Compute
) -> dict[str, Array]:
    """The graph's outputs, (invocations, *shape), its regions computed by a function.

    All invocations go to the function together, so that a machine sees them as it would
    without TVM: they run up to the next region, and again with its results.

    Args:
        child: which holds the graph, cut.
        graph: what it takes and gives.
        inputs: by name.
        compute: of a region's name and operands, the results by name; all with the axis of
            invocations.
    """
    rows = _rows(graph, inputs)
    known: list[list[tuple[Array, ...]]] = [[] for _ in rows]
    while True:
        answers = child.ask("run", rows=rows, known=known)
        asked = [each for each in answers if isinstance(each, Asked)]
        if not asked:
            columns = zip(*answers, strict=True)
            stacked = [np.stack(column) for column in columns]
            return dict(zip(graph.outputs, stacked, strict=True))
        first = asked[0]
        operands = {
            input_name(i): np.stack([each.operands[i] for each in asked])
            for i in range(len(first.operands))
        }
        results = compute(first.region, operands)
        ordered = [results[output_name(i)] for i in range(len(results))]
        for i, had in enumerate(known):
            had.append(tuple(array[i] for array in ordered))


def _rows(graph: Graph, inputs: Mapping[str, Array]) -> list[list[Array]]:
    """The inputs of every invocation, in the graph's order."""
    columns: list[Array] = []
    for name, ref in zip(graph.names, graph.inputs, strict=True):
        if name not in inputs:
            raise ModelError(f"input '{name}' must be given, not only {', '.join(inputs)}")
        array = np.asarray(inputs[name])
        held = array[np.newaxis] if array.shape == ref.type.shape else array
        if held.shape[1:] != ref.type.shape:
            raise ModelError(
                f"input '{name}' must have the shape {list(ref.type.shape)}, or that behind an "
                f"axis of invocations, not {list(array.shape)}; reshape it"
            )
        columns.append(held.astype(ref.type.dtype, copy=False))
    return [list(row) for row in zip(*columns, strict=True)]


class _Offloading:
    """From a graph that the child holds to compiled regions."""

    def __init__(
        self, child: Child, graph: Graph, found: Design, options: Options, merge: bool
    ) -> None:
        self._child, self._graph, self._merge = child, graph, merge
        self._design, self._options = found, options
        self._why: dict[str, str] = {}
        self._refused: set[Kind] = set()

    def made(self, calibration: Mapping[str, Array] | None) -> Offloaded:
        """Cut, compile, and cut again without what the target refuses."""
        for call in self._graph.calls:
            reason = refusal(call)
            if reason is not None:
                self._refuse(call, reason)
        while True:
            cut = self._cut()
            parts = self._parts(cut, calibration)
            if parts is not None:
                return Offloaded(self._child, self._graph, cut, parts, self._why)

    def _cut(self) -> Cut:
        accepted = frozenset(map(kind_of, self._graph.calls)) - self._refused
        cut: Cut = self._child.ask("cut", accepted=accepted, merge=self._merge)
        if not cut.regions:
            reasons = "; ".join(f"{op}: {reason}" for op, reason in self._why.items())
            raise UnsupportedError(
                f"{self._design.label} can be given no operator of this graph ({reasons})"
            )
        return cut

    def _parts(self, cut: Cut, calibration: Mapping[str, Array] | None) -> list[Part] | None:
        """The regions compiled; None where the target refuses one, which is then noted."""
        modules = {region.name: module_of(region) for region in cut.regions}
        seen = self._seen(modules, calibration)
        parts: list[Part] = []
        for region in cut.regions:
            module = modules[region.name]
            try:
                made = compile_for(module, self._design, seen.get(region.name), self._options)
            except UnsupportedError as error:
                self._narrow(region, str(error))
                return None
            ops = tuple(call.op for each in region.composites for call in each.calls)
            parts.append(Part(region.name, ops, module, made))
        return parts

    def _seen(
        self, modules: Mapping[str, Module], calibration: Mapping[str, Array] | None
    ) -> dict[str, dict[str, Array]]:
        """What reaches every region when the float graph runs on the calibration data."""
        found: dict[str, dict[str, Array]] = {}
        if calibration is None:
            return found

        def compute(name: str, operands: dict[str, Array]) -> Mapping[str, Array]:
            before = found.get(name)
            found[name] = operands if before is None else _joined(before, operands)
            return evaluate_many(modules[name], operands)

        passed(self._child, self._graph, calibration, compute)
        return found

    def _narrow(self, region: Region, message: str) -> None:
        """Note the calls of a region that the target refuses alone; all, if it refuses none."""
        calls = [call for composite in region.composites for call in composite.calls]
        alone = {kind_of(call): (call, self._reason(call)) for call in calls}
        bad = [(call, reason) for call, reason in alone.values() if reason is not None]
        for call, reason in bad or [(call, message) for call in calls]:
            self._refuse(call, reason)

    def _reason(self, call: Call) -> str | None:
        """Why the target refuses a call that is a network of its own."""
        # the first: a dropout's second has no counterpart, and a split's are all alike
        results = [each for each in call.results[:1] if isinstance(each, Ref)]
        inputs = {each.index: each for each in refs(call.operands)}
        alone = Region(
            "alone", tuple(inputs.values()), (Composite("alone", (call,)),), tuple(results)
        )
        try:
            module = module_of(alone)
            data = drawn(module, 0).calibration
            compile_for(module, self._design, data, self._options)
        except (UnsupportedError, ModelError) as error:
            return str(error)
        return None

    def _refuse(self, call: Call, reason: str) -> None:
        self._refused.add(kind_of(call))
        self._why.setdefault(call.op, reason)


def _joined(before: dict[str, Array], more: dict[str, Array]) -> dict[str, Array]:
    return {name: np.concatenate([array, more[name]]) for name, array in before.items()}
