"""A quantised graph becomes a program: partition, stages, addresses, image, instructions."""

from __future__ import annotations

from tetrapla.backends.systolic.emit import Emitter, Machine, Tables
from tetrapla.backends.systolic.image import (
    Image,
    Use,
    place_constant,
    place_pass,
    place_product,
)
from tetrapla.backends.systolic.layout import Placed, allocate, constant
from tetrapla.backends.systolic.partition import Partition, partition
from tetrapla.backends.systolic.stages import Pass, Product, Stages
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.simulators.systolic.program import HostStep, Layer, Port, Program
from tetrapla.simulators.systolic.spec import SystolicSpec

_INPUT, _OUTPUT = "(input)", "(output)"


def compile_graph(graph: Graph, spec: SystolicSpec, name: str) -> Program:
    """The program of a quantised graph for one chip.

    Raises:
        UnsupportedError: nodes that no instruction can do, all in one message; or activations
            that do not fit the unified buffer.
    """
    parts = partition(graph)
    array = (spec.array.rows, spec.array.cols)
    stages = Stages(graph, array)
    arriving = _arriving(graph, parts)
    for value in arriving:
        stages.values[value.index] = stages.fresh(value, first=0)
    stages.add_all(parts.device)
    leaving = _leaving(graph, parts)
    for value in leaving:
        stages.read(value)
    used = allocate(stages.buffers, spec.memories.unified_buffer_bytes, name)
    return _assemble(graph, spec, name, parts, stages, (arriving, leaving), used)


def _assemble(
    graph: Graph,
    spec: SystolicSpec,
    name: str,
    parts: Partition,
    stages: Stages,
    crossing: tuple[list[Value], list[Value]],
    used: int,
) -> Program:
    array = (spec.array.rows, spec.array.cols)
    machine = Machine(spec.memories.weight_tiles, spec.memories.accumulator_rows)
    image = Image()
    constants = [(target, place_constant(image, target, a)) for target, a in stages.constants]
    uses: list[Use] = []
    tables: list[Tables] = []
    spans: list[tuple[int, int]] = []
    for number, stage in enumerate(stages.found):
        if isinstance(stage, Product):
            own = list(place_product(image, number, stage, array, machine.most_rows))
            spans.append((len(uses), len(own)))
            tables.append(((own[0].descriptor,), own[0].tables))
            uses += own
        else:
            spans.append((0, 0))
            tables.append((place_pass(image, stage), ()))
    end = image.add(b"")
    arriving = _ports(crossing[0], stages, end)
    end += sum(_padded(port.traffic_bytes) for port in arriving)
    leaving = _ports(crossing[1], stages, end)
    end += sum(_padded(port.traffic_bytes) for port in leaving)

    emitter = Emitter(machine, stages.found, uses)
    emitter.mark(0)
    for target, table in constants:
        port = Port(-1, table.address, target.dtype, target.physical, target.view)
        emitter.load(port, target, host=False)
    for port in arriving:
        emitter.load(port, stages.values[port.value])
    emitter.prefetch()
    _emit_stages(emitter, stages.found, spans, tables)
    emitter.mark(len(stages.found) + 1)
    for port in leaving:
        emitter.store(port, stages.values[port.value])
    emitter.halt()
    program = Program(
        name=name,
        rows=array[0],
        cols=array[1],
        weight_slots=emitter.weight_slots,
        accumulator_rows=emitter.accumulator_rows,
        unified_buffer_bytes=used,
        dram_bytes=end,
        instructions=tuple(emitter.dispatcher.instructions),
        constants=bytes(image.data),
        layers=_layers(stages.found),
        packed=image.packed,
        inputs=tuple((key, value.index) for key, value in graph.inputs),
        outputs=tuple((key, value.index) for key, value in graph.outputs),
        to_device=arriving,
        from_device=leaving,
        before=tuple(_host_step(node) for node in parts.before),
        after=tuple(_host_step(node) for node in parts.after),
        has_values=all(index in graph.weights for index in graph.constants),
        host_constants=_host_constants(graph, parts),
    )
    program.binary()  # every operand fits its field
    return program


def _emit_stages(
    emitter: Emitter,
    found: list[Product | Pass],
    spans: list[tuple[int, int]],
    tables: list[Tables],
) -> None:
    for number, stage in enumerate(found):
        emitter.mark(number + 1)
        following = tables[number + 1] if number + 1 < len(found) else ((), ())
        if isinstance(stage, Product):
            emitter.product(*spans[number], following)
        else:
            emitter.vector(stage, tables[number][0], following)


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
