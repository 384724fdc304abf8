"""A quantised graph becomes a program: partition, stages, addresses, image, instructions."""

from __future__ import annotations

from dataclasses import dataclass, field

from tetrapla.backends.systolic.emit import Emitter, Tables
from tetrapla.backends.systolic.image import (
    Image,
    Table,
    Use,
    place_constant,
    place_pass,
    place_product,
)
from tetrapla.backends.systolic.layout import Placed, allocate, constant
from tetrapla.backends.systolic.multiply import Machine
from tetrapla.backends.systolic.partition import Partition, partition
from tetrapla.backends.systolic.products import Product
from tetrapla.backends.systolic.stages import Pass, Stages
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.simulators.systolic.program import HostStep, Layer, Port, Program
from tetrapla.simulators.systolic.spec import SystolicSpec

_INPUT, _OUTPUT = "(input)", "(output)"


def compile_graph(graph: Graph, spec: SystolicSpec, name: str) -> Program:
    """The program of a quantised graph for one chip.

    Raises:
        UnsupportedError: nodes that no instruction can do, all in one message; or activations
            or a model that do not fit their memory.
    """
    parts = partition(graph)
    arriving, leaving = _arriving(graph, parts), _leaving(graph, parts)
    stages = Stages(graph, (spec.array.rows, spec.array.cols))
    for value in arriving:
        stages.values[value.index] = stages.fresh(value, first=0)
    stages.add_all(parts.device)
    for value in leaving:
        stages.read(value)
    used = allocate(stages.buffers, spec.memories.unified_buffer_bytes, name)
    machine = Machine(spec.memories.weight_tiles, spec.memories.accumulator_rows)
    dram = _place(stages, machine.most_rows, arriving, leaving)
    _check_dram(dram.end, spec, name)
    emitter = _emit(machine, stages, dram)
    program = Program(
        name=name,
        rows=spec.array.rows,
        cols=spec.array.cols,
        weight_slots=emitter.array.weight_slots,
        accumulator_rows=emitter.array.accumulator_rows,
        unified_buffer_bytes=used,
        dram_bytes=dram.end,
        instructions=tuple(emitter.dispatcher.instructions),
        constants=bytes(dram.image.data),
        layers=_layers(stages.found),
        packed=dram.image.packed,
        inputs=tuple((key, value.index) for key, value in graph.inputs),
        outputs=tuple((key, value.index) for key, value in graph.outputs),
        to_device=dram.arriving,
        from_device=dram.leaving,
        before=tuple(_host_step(node) for node in parts.before),
        after=tuple(_host_step(node) for node in parts.after),
        has_values=all(index in graph.weights for index in graph.constants),
        host_constants=_host_constants(graph, parts),
    )
    program.binary()  # every operand fits its field
    return program


@dataclass
class _Dram:
    """What lies in DRAM, and where.

    Attributes:
        constants: operands that are loaded at the start, with their places in the buffer.
        spans: by stage, its first use and how many; none for a pass of the vector unit.
        tables: by stage, those that its first instruction needs.
        arriving, leaving: the host's values, after the image.
        end: the size of all.
    """

    image: Image = field(default_factory=Image)
    constants: list[tuple[Placed, Table]] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    tables: list[Tables] = field(default_factory=list)
    arriving: tuple[Port, ...] = ()
    leaving: tuple[Port, ...] = ()
    end: int = 0


def _place(
    stages: Stages, most_rows: int, arriving: list[Value], leaving: list[Value]
) -> _Dram:
    dram = _Dram()
    image = dram.image
    dram.constants = [(to, place_constant(image, to, held)) for to, held in stages.constants]
    for number, stage in enumerate(stages.found):
        if isinstance(stage, Product):
            own = list(place_product(image, number, stage, stages.array, most_rows))
            dram.spans.append((len(dram.uses), len(own)))
            dram.tables.append(((own[0].descriptor,), own[0].tables))
            dram.uses += own
        else:
            dram.spans.append((0, 0))
            dram.tables.append((place_pass(image, stage), ()))
    start = image.add(b"")
    dram.arriving = _ports(arriving, stages, start)
    start += sum(_padded(port.traffic_bytes) for port in dram.arriving)
    dram.leaving = _ports(leaving, stages, start)
    dram.end = start + sum(_padded(port.traffic_bytes) for port in dram.leaving)
    return dram


def _emit(machine: Machine, stages: Stages, dram: _Dram) -> Emitter:
    emitter = Emitter(machine, stages.found, dram.uses)
    emitter.mark(0)
    for target, table in dram.constants:
        port = Port(-1, table.address, target.dtype, target.physical, target.view)
        emitter.load(port, target, host=False)
    for port in dram.arriving:
        emitter.load(port, stages.values[port.value])
    emitter.array.prefetch()
    for number, stage in enumerate(stages.found):
        emitter.mark(number + 1)
        last = number + 1 == len(stages.found)
        following: Tables = ((), ()) if last else dram.tables[number + 1]
        if isinstance(stage, Product):
            emitter.product(*dram.spans[number], following)
        else:
            emitter.vector(stage, dram.tables[number][0], following)
    emitter.mark(len(stages.found) + 1)
    for port in dram.leaving:
        emitter.store(port, stages.values[port.value])
    emitter.halt()
    return emitter


def _check_dram(need: int, spec: SystolicSpec, name: str) -> None:
    if need > spec.dram.capacity_bytes:
        raise UnsupportedError(
            f"systolic: weights, tables, inputs and outputs of '{name}' must fit the DRAM of "
            f"{spec.dram.capacity_bytes} bytes, not {need} bytes; enlarge dram.capacity"
        )


def _arriving(graph: Graph, parts: Partition) -> list[Value]:
    """Values of the host that the accelerator reads."""
    made = {node.result.index for node in parts.device}
    found: dict[int, Value] = {}
    for node in parts.device:
        for value in node.operands[:2]:
            if value.index not in made and not graph.is_weight(value):
                found[value.index] = value
    return list(found.values())


def _leaving(graph: Graph, parts: Partition) -> list[Value]:
    """Values of the accelerator that the host reads."""
    made = {node.result.index for node in parts.device}
    wanted = [v for node in parts.after for v in node.operands]
    wanted += [value for _, value in graph.outputs]
    return list({v.index: v for v in wanted if v.index in made}.values())


def _ports(values: list[Value], stages: Stages, start: int) -> tuple[Port, ...]:
    found = []
    for value in values:
        place: Placed = stages.values[value.index]
        port = Port(value.index, start, place.dtype, place.physical, place.view)
        found.append(port)
        start += _padded(port.traffic_bytes)
    return tuple(found)


def _padded(count: int) -> int:
    return -(-count // 64) * 64


def _layers(found: list[Product | Pass]) -> tuple[Layer, ...]:
    inner = [Layer(s.name, s.op, s.macs if isinstance(s, Product) else 0) for s in found]
    return (Layer(_INPUT, "load", 0), *inner, Layer(_OUTPUT, "store", 0))


def _host_step(node: Node) -> HostStep:
    operands = tuple(value.index for value in node.operands)
    return HostStep(node.kind, node.name, operands, node.result.index, dict(node.attributes))


def _host_constants(graph: Graph, parts: Partition) -> dict[int, Array]:
    wanted = [v for node in (*parts.before, *parts.after) for v in node.operands]
    wanted += [value for _, value in graph.outputs]
    return {v.index: constant(graph, v) for v in wanted if graph.is_weight(v)}
