"""Between a graph and MLIR's operations, in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from tetrapla.ir.convert import attribute, attributes_of, plain, tensor_of, type_of
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import DTYPES, Array, Graph, Node, Value
from tetrapla.ir.mlir import (
    ArrayAttr,
    DenseI32ArrayAttr,
    FlatSymbolRefAttr,
    FuncOp,
    FunctionType,
    InsertionPoint,
    Location,
    Operation,
    ReturnOp,
    StringAttr,
)
from tetrapla.ir.mlir import Module as MlirModule
from tetrapla.ir.names import Names
from tetrapla.ir.op import MAX_ELEMENTS, OPS, Tensor, segments

WEIGHT, RETURN = "nn.weight", "func.return"
# upstream's terminator that may end any block: IRDL cannot say of an own operator that it ends
# one, so a foreign tool would refuse the body
YIELD = "tosa.yield"


def emit(graph: Graph) -> MlirModule:
    """A module whose @main is the graph, not verified; needs a current context."""
    mlir = MlirModule.create()
    with InsertionPoint(mlir.body):
        main = FuncOp("main", FunctionType.get(_types(graph.inputs), _types(graph.outputs)))
        for key, named in (
            ("tetrapla.inputs", graph.inputs),
            ("tetrapla.outputs", graph.outputs),
        ):
            names = [StringAttr.get(name) for name, _ in named]
            main.attributes[key] = ArrayAttr.get(names)
        block = main.add_entry_block()
    with InsertionPoint(block):
        ReturnOp(_fill(block, graph))
    return mlir


def _types(named: tuple[tuple[str, Value], ...]) -> list[Any]:
    return [type_of(Tensor(value.shape, value.dtype)) for _, value in named]


def _fill(block: Any, graph: Graph) -> list[Any]:
    """Write the graph's operations at the end of a block; return the handles of its outputs."""
    handles: dict[int, Any] = {
        value.index: block.arguments[i] for i, (_, value) in enumerate(graph.inputs)
    }
    pending = dict(graph.constants)
    needed = [value for node in graph.nodes for value in node.operands]
    for value in [*needed, *(value for _, value in graph.outputs)]:
        if value.index in pending:
            handles[value.index] = _weight(pending.pop(value.index), value)
    for node in graph.nodes:
        made = _operation(node, [handles[value.index] for value in node.operands])
        for value, result in zip(node.results, made.results, strict=True):
            handles[value.index] = result
    return [handles[value.index] for _, value in graph.outputs]


def _weight(symbol: str, value: Value) -> Any:
    made = Operation.create(
        WEIGHT,
        results=[type_of(Tensor(value.shape, value.dtype))],
        attributes={"symbol": FlatSymbolRefAttr.get(symbol)},
        loc=Location.name(symbol),
    )
    return made.results[0]


def _operation(node: Node, operands: list[Any]) -> Any:
    attributes = {key: attribute(value) for key, value in node.attributes.items()}
    attributes.update(_sizes(node.kind, len(operands), len(node.results)))
    attributes["layer"] = StringAttr.get(node.name)
    made = Operation.create(
        node.kind,
        results=[type_of(Tensor(v.shape, v.dtype)) for v in node.results],
        operands=operands,
        attributes=attributes,
        loc=Location.name(node.name),
        regions=len(node.bodies),
    )
    for region, body in zip(made.regions, node.bodies, strict=True):
        block = region.blocks.append(*_types(body.inputs))
        with InsertionPoint(block):
            returned = _fill(block, body)
            Operation.create(YIELD, operands=returned)
    return made


def _sizes(kind: str, operands: int, results: int) -> dict[str, Any]:
    counts = segments(OPS[kind], operands, results)
    return {key: DenseI32ArrayAttr.get(sizes) for key, sizes in counts.items()}


def read(mlir: MlirModule, store: Mapping[str, Array]) -> tuple[Graph, list[tuple[str, Value]]]:
    """The graph of @main, and every weight that it or a body names, with its declared type.

    Raises:
        IRError: the module holds something else than a model of the project.
    """
    main = _main(mlir)
    named: list[tuple[str, Value]] = []
    block = _Block(main.regions[0].blocks[0], store, named)
    inputs = _names(main, "tetrapla.inputs", "in", len(block.arguments))
    returned = _names(main, "tetrapla.outputs", "out", len(block.outputs))
    return block.graph(inputs, returned), named


@dataclass
class _Block:
    """One block while it is read; handles are valid as long as it is."""

    block: Any
    store: Mapping[str, Array]
    named: list[tuple[str, Value]]
    values: dict[Any, Value] = field(default_factory=dict[Any, Value])
    nodes: list[Node] = field(default_factory=list[Node])
    constants: dict[int, str] = field(default_factory=dict[int, str])
    outputs: list[Value] = field(default_factory=list[Value])

    def __post_init__(self) -> None:
        self.arguments = [self._add(argument) for argument in self.block.arguments]
        names = Names()
        for op in self.block.operations:
            operation = op.operation
            if operation.name in (RETURN, YIELD):
                self.outputs = [self.values[operand] for operand in operation.operands]
            elif operation.name == WEIGHT:
                value, symbol = self._add(operation.results[0]), _text(operation, "symbol")
                self.constants[value.index] = symbol
                self.named.append((symbol, value))
            elif operation.name not in OPS:
                raise IRError(f"a model holds operators of the project, not {operation.name}")
            else:
                self.nodes.append(self._node(operation, names.take(_stem(operation))))

    def graph(self, inputs: list[str], outputs: list[str]) -> Graph:
        held = {i: self.store[s] for i, s in self.constants.items() if s in self.store}
        return Graph(
            tuple(zip(inputs, self.arguments, strict=True)),
            tuple(zip(outputs, self.outputs, strict=True)),
            tuple(self.nodes),
            self.constants,
            held,
        )

    def _node(self, operation: Any, name: str) -> Node:
        operands = tuple(self.values[operand] for operand in operation.operands)
        results = tuple(self._add(result) for result in operation.results)
        bodies = tuple(self._body(region) for region in operation.regions)
        return Node(operation.name, name, operands, results, attributes_of(operation), bodies)

    def _body(self, region: Any) -> Graph:
        inner = _Block(region.blocks[0], self.store, self.named)
        inputs = [f"in{i}" for i in range(len(inner.arguments))]
        return inner.graph(inputs, [f"out{i}" for i in range(len(inner.outputs))])

    def _add(self, handle: Any) -> Value:
        tensor = _checked(tensor_of(handle.type))
        value = Value(len(self.values), tensor.shape, tensor.dtype)
        self.values[handle] = value
        return value


def _main(mlir: MlirModule) -> Any:
    functions = [op.operation for op in mlir.body.operations]
    mains = [f for f in functions if f.name == "func.func" and _symbol(f) == "main"]
    if len(mains) != 1 or len(mains[0].regions[0].blocks) != 1:
        raise IRError("a model must hold one function @main of one block; none or more found")
    return mains[0]


def _symbol(function: Any) -> str:
    return str(StringAttr(function.attributes["sym_name"]).value)


def _names(main: Any, key: str, stem: str, count: int) -> list[str]:
    """The names that the function declares under a key, or numbered ones."""
    if key not in main.attributes:
        return [f"{stem}{i}" for i in range(count)]
    held = main.attributes[key]
    items = list(held) if isinstance(held, ArrayAttr) else []
    if not (isinstance(held, ArrayAttr) and all(isinstance(i, StringAttr) for i in items)):
        raise IRError(f"{key} must be a list of strings, not {held}")
    names = [str(StringAttr(item).value) for item in items]
    if len(names) != count or len(set(names)) != count:
        raise IRError(f"{key} must hold {count} different names, not {names}")
    return names


def _checked(tensor: Tensor) -> Tensor:
    if tensor.dtype not in DTYPES:
        raise IRError(f"elements must be one of {', '.join(DTYPES)}, not {tensor}")
    if prod(tensor.shape) > MAX_ELEMENTS:
        raise IRError(f"a value must have at most {MAX_ELEMENTS} elements, not {tensor}")
    return tensor


def _stem(operation: Any) -> str:
    if "layer" in operation.attributes:
        return _text(operation, "layer")
    return str(operation.name).split(".")[-1]


def _text(operation: Any, key: str) -> str:
    """An attribute that must be there and be text."""
    held = plain(operation.attributes[key]) if key in operation.attributes else None
    if not isinstance(held, str):
        raise IRError(f"{operation.name} must have the text attribute '{key}', not {held}")
    return held
