"""A quantised graph becomes a program: partition, stages, addresses, image, instructions."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tetrapla.backends.systolic.array.image import (
    Image,
    Use,
    place_constant,
    place_pass,
    place_product,
    place_row,
    place_rows,
)
from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.emit import Emitter, Home, Homes, Tables, Work
from tetrapla.backends.systolic.layout import Buffer, Placed, constant
from tetrapla.backends.systolic.memory.plan import Plan, Values, plan
from tetrapla.backends.systolic.memory.ways import Memory
from tetrapla.backends.systolic.partition import Partition, partition
from tetrapla.backends.systolic.stages import Stage, Stages
from tetrapla.backends.systolic.trials import fastest
from tetrapla.backends.systolic.vector.moves import on_integers
from tetrapla.backends.systolic.vector.operators import Pass
from tetrapla.backends.systolic.vector.routines import GatherStage
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.simulators.systolic.program import HostStep, Layer, Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.views import Place

_INPUT, _OUTPUT = "(input)", "(output)"


def compile_graph(graph: Graph, spec: SystolicSpec, name: str) -> Program:
    """The program of a quantised graph for one chip.

    Raises:
        UnsupportedError: nodes that no instruction can do, all in one message; or activations
            or a model that do not fit their memory.
    """
    with _uncollected():
        return _compiled(graph, spec, name)


@contextmanager
def _uncollected() -> Generator[None]:
    """No garbage collection: it would walk millions of instructions again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _compiled(graph: Graph, spec: SystolicSpec, name: str) -> Program:
    machine, found = Machine.of(spec), staged(graph, spec)
    memory = Memory(spec.memories.unified_buffer_bytes, machine, spec.vector.lanes)
    made = plan(values_of(found), memory)
    held = found.parts, found.stages, made, found.arriving, found.leaving
    build = _Build(found.graph, spec, name, *held)
    program = fastest(build.program, machine, spec)
    program.binary()  # every operand fits its field
    return program


@dataclass(frozen=True)
class Staged:
    """A graph's stages, before they have a place.

    Attributes:
        arriving, leaving: values that the host gives and takes.
    """

    graph: Graph
    parts: Partition
    stages: Stages
    arriving: list[Value]
    leaving: list[Value]


def staged(graph: Graph, spec: SystolicSpec) -> Staged:
    """What the accelerator computes of a graph, stage by stage.

    Raises:
        UnsupportedError: nodes that no instruction can do, all in one message.
    """
    machine = Machine.of(spec)
    graph = on_integers(graph)
    parts = partition(graph, machine.formats)
    arriving, leaving = _arriving(graph, parts), _leaving(graph, parts)
    stages = Stages(graph, machine)
    for value in arriving:
        stages.values[value.index] = stages.fresh(value, first=0)
    stages.add_all(parts.device)
    for value in leaving:
        stages.read(value)
    return Staged(graph, parts, stages, arriving, leaving)


@dataclass(frozen=True)
class _Build:
    """All that is known before the order of the array's work is chosen."""

    graph: Graph
    spec: SystolicSpec
    name: str
    parts: Partition
    stages: Stages
    made: Plan
    arriving: list[Value]
    leaving: list[Value]

    def program(self, machine: Machine) -> Program:
        """The program that uses no more than the machine's tiles and accumulators."""
        graph, spec, parts, stages = self.graph, self.spec, self.parts, self.stages
        dram = _place(stages, self.made, self.arriving, self.leaving, machine)
        _check_dram(dram.end, spec, self.name, bool(self.made.spilled))
        emitter = Emitter(machine, dram.works, dram.uses, dram.homes)
        emitter.emit()
        return Program(
            name=self.name,
            rows=spec.array.rows,
            cols=spec.array.cols,
            units=spec.array.units,
            dataflow=spec.array.dataflow,
            weight_slots=emitter.array.weight_slots,
            accumulator_rows=emitter.array.accumulator_rows,
            unified_buffer_bytes=self.made.used_bytes,
            dram_bytes=dram.end,
            instructions=tuple(emitter.dispatcher.instructions),
            constants=bytes(dram.image.data),
            layers=_layers(stages.found, dram),
            packed=dram.image.packed,
            inputs=tuple((key, value.index) for key, value in graph.inputs),
            outputs=tuple((key, value.index) for key, value in graph.outputs),
            to_device=dram.arriving,
            from_device=dram.leaving,
            before=tuple(_host_step(node) for node in parts.before),
            after=tuple(_host_step(node) for node in parts.after),
            has_values=all(index in graph.weights for index in graph.constants),
            host_constants=_host_constants(graph, parts),
            routines=tuple(emitter.routines),
            gathers=tuple(emitter.gathers),
        )


def values_of(found: Staged) -> Values:
    """What a plan knows of the buffers."""
    stages = found.stages
    arriving, leaving = (buffers_of(stages, v) for v in (found.arriving, found.leaving))
    constants = tuple(target.buffer for target, _ in stages.constants)
    return Values(stages.found, arriving, constants, leaving)


def buffers_of(stages: Stages, values: list[Value]) -> tuple[Buffer, ...]:
    """Where some values lie, each buffer once."""
    return tuple(dict.fromkeys(stages.values[value.index].buffer for value in values))


@dataclass
class _Dram:
    """What lies in DRAM, and where.

    Attributes:
        works: the steps with their tables.
        uses: of all products.
        homes: of the buffers.
        arriving, leaving: the host's values, after the image; then what is spilled.
        end: the size of all.
    """

    image: Image = field(default_factory=Image)
    works: list[Work] = field(default_factory=list[Work])
    uses: list[Use] = field(default_factory=list[Use])
    homes: Homes = field(default_factory=Homes)
    arriving: tuple[Place, ...] = ()
    leaving: tuple[Place, ...] = ()
    end: int = 0


def _place(
    stages: Stages,
    made: Plan,
    arriving: list[Value],
    leaving: list[Value],
    machine: Machine,
) -> _Dram:
    dram = _Dram()
    image, homes = dram.image, dram.homes
    for target, held in stages.constants:
        table = place_constant(image, target, held)
        homes.sources[target.buffer] = Home(table.address, host=False)
    products = 0
    for step in made.steps:
        first = len(dram.uses)
        tables: Tables = ((), ())
        if isinstance(step.work, Product):
            number, products = products, products + 1
            dram.uses += place_product(image, number, step.work, machine)
            tables = ((dram.uses[first].descriptor,), dram.uses[first].tables)
        elif isinstance(step.work, Pass):
            tables = (place_pass(image, step.work), place_row(image, step.work))
        elif isinstance(step.work, GatherStage):
            tables = ((place_rows(image, step.work),), ())
        dram.works.append(Work(step, first, len(dram.uses) - first, tables))
    start = image.add(b"")
    dram.arriving, start = _ports(arriving, stages, start)
    dram.leaving, start = _ports(leaving, stages, start)
    for port in (*dram.leaving, *dram.arriving):  # what arrives is there to be read
        homes.sources[stages.values[port.value].buffer] = Home(port.address, host=True)
    for port in dram.leaving:
        found = homes.targets.setdefault(stages.values[port.value].buffer, [])
        found.append(Home(port.address, host=True))
    for buffer in made.spilled:
        homes.sources[buffer] = home = Home(start, host=False)
        homes.targets[buffer] = [home]
        start += _padded(buffer.size_bytes)
    dram.end = start
    return dram


def _check_dram(need: int, spec: SystolicSpec, name: str, spills: bool) -> None:
    if need > spec.dram.capacity_bytes:
        held = "weights, tables, inputs and outputs"
        if spills:
            held = "weights, tables, inputs, outputs and what leaves the unified buffer"
        raise UnsupportedError(
            f"systolic: {held} of '{name}' must fit the DRAM of "
            f"{spec.dram.capacity_bytes} bytes, not {need} bytes; enlarge dram.capacity"
        )


def _arriving(graph: Graph, parts: Partition) -> list[Value]:
    """Values of the host that the accelerator reads."""
    made = {v.index for node in parts.device for v in node.results}
    found: dict[int, Value] = {}
    for node in parts.device:
        for value in node.operands:
            if value.index not in made and not graph.is_weight(value):
                found[value.index] = value
    return list(found.values())


def _leaving(graph: Graph, parts: Partition) -> list[Value]:
    """Values of the accelerator that the host reads."""
    made = {v.index for node in parts.device for v in node.results}
    wanted = [v for node in parts.after for v in node.operands]
    wanted += [value for _, value in graph.outputs]
    return list({v.index: v for v in wanted if v.index in made}.values())


def _ports(values: list[Value], stages: Stages, start: int) -> tuple[tuple[Place, ...], int]:
    """Places one after another from `start`, and their end."""
    found = []
    for value in values:
        place: Placed = stages.values[value.index]
        port = Place(value.index, start, place.dtype, place.physical, place.view)
        found.append(port)
        start += _padded(port.traffic_bytes)
    return tuple(found), start


def _padded(count: int) -> int:
    return -(-count // 64) * 64


def _layers(found: list[Stage], dram: _Dram) -> tuple[Layer, ...]:
    done = [0] * (len(found) + 2)
    for work in dram.works:
        uses = dram.uses[work.first : work.first + work.count]
        done[work.step.layer] += sum(use.macs for use in uses)
    inner = []
    for number, stage in enumerate(found, 1):
        macs = stage.macs if isinstance(stage, Product | Pass) else 0
        skipped = macs - done[number] if isinstance(stage, Product) else 0
        inner.append(Layer(stage.name, stage.op, macs, skipped))
    return (Layer(_INPUT, "load", 0), *inner, Layer(_OUTPUT, "store", 0))


def _host_step(node: Node) -> HostStep:
    operands = tuple(value.index for value in node.operands)
    return HostStep(node.kind, node.name, operands, node.result.index, dict(node.attributes))


def _host_constants(graph: Graph, parts: Partition) -> dict[int, Array]:
    wanted = [v for node in (*parts.before, *parts.after) for v in node.operands]
    wanted += [value for _, value in graph.outputs]
    return {v.index: constant(graph, v) for v in wanted if graph.is_weight(v)}
