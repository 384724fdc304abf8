"""A model: MLIR for the structure, a store for the weights.

A module is built once and not written afterwards; a pass builds another one. It travels as
its text plus its weights, because MLIR's own objects cannot be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any

import tetrapla.ir.dialects  # noqa: F401  # pyright: ignore[reportUnusedImport]
from tetrapla.ir.convert import (
    attribute,
    attributes_of,
    plain,
    tensor_of,
    type_of,
)
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
    MLIRError,
    Operation,
    ReturnOp,
    StringAttr,
    context,
)
from tetrapla.ir.mlir import Module as MlirModule
from tetrapla.ir.names import Names
from tetrapla.ir.op import MAX_ELEMENTS, OPS, Tensor, segments
from tetrapla.ir.text import check_text

WEIGHT = "nn.weight"
_LONGEST = 500  # characters of a diagnostic, assumed: MLIR repeats the text that it refuses


class Module:
    """One function `main` of operators over static shapes, and the arrays it names.

    `weights` maps a symbol to an array whose shape and type the text repeats; a shape-only
    module has none. Arrays are not written by anyone.
    """

    def __init__(self, mlir: MlirModule, weights: Mapping[str, Array], name: str) -> None:
        self.mlir = mlir
        self.weights: Mapping[str, Array] = MappingProxyType(dict(weights))
        self.name = name

    @classmethod
    def parse(cls, text: str, weights: Mapping[str, Array], name: str = "model") -> Module:
        """Read generic MLIR text.

        Raises:
            IRError: the text is not MLIR, nests deeper than `tetrapla.ir.text` allows, or an
                operator's constraint does not hold.
        """
        check_text(text)
        try:
            with context(), Location.unknown():
                module = cls(MlirModule.parse(text), weights, name)
        except MLIRError as error:
            raise IRError(_first_line(error)) from None
        module.verify()
        return module

    @classmethod
    def from_graph(cls, graph: Graph, name: str) -> Module:
        """Write a graph as MLIR and verify it.

        Raises:
            IRError: a constraint does not hold.
        """
        with context(), Location.unknown():
            mlir = MlirModule.create()
            with InsertionPoint(mlir.body):
                _emit(graph)
        arrays = {graph.constants[k]: array for k, array in graph.weights.items()}
        module = cls(mlir, arrays, name)
        module.verify()
        return module

    def verify(self) -> None:
        """Check every operator's constraints, and the weights' shapes and types.

        Raises:
            IRError: with the first diagnostic.
        """
        try:
            with context(), Location.unknown():
                self.mlir.operation.verify()
        except MLIRError as error:
            raise IRError(_first_line(error)) from None
        graph = self.graph
        for index, symbol in graph.constants.items():
            if not self.weights:
                break
            if symbol not in self.weights:
                raise IRError(f"weight @{symbol} is named in the module but not in its store")
            array, value = self.weights[symbol], self._values[index]
            if array.shape != value.shape or array.dtype != DTYPES[value.dtype]:
                raise IRError(
                    f"weight @{symbol} must be {Tensor(value.shape, value.dtype)}, "
                    f"not {array.dtype} of shape {array.shape}"
                )

    def text(self) -> str:
        """Generic MLIR, the form that every MLIR tool reads."""
        return str(self.mlir.operation.get_asm(print_generic_op_form=True))

    def clone(self) -> Module:
        """A second module with the same text and the same arrays."""
        return Module.parse(self.text(), self.weights, self.name)

    @cached_property
    def graph(self) -> Graph:
        """The plain view; see `tetrapla.ir.graph`."""
        return self._read[0]

    @property
    def _values(self) -> dict[int, Value]:
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Graph, dict[int, Value]]:
        with context():
            return _snapshot(self.mlir, self.weights)

    @property
    def inputs(self) -> dict[str, Value]:
        """The inputs by name, in order."""
        return dict(self.graph.inputs)

    @property
    def outputs(self) -> dict[str, Value]:
        """The outputs by name, in order."""
        return dict(self.graph.outputs)

    @property
    def shape_only(self) -> bool:
        """Whether it names weights that it does not have."""
        return bool(self.graph.constants) and not self.weights

    def __reduce__(self) -> tuple[Any, ...]:
        return Module.parse, (self.text(), dict(self.weights), self.name)


def _emit(graph: Graph) -> None:
    handles: dict[int, Any] = {}
    types = [type_of(Tensor(v.shape, v.dtype)) for _, v in graph.inputs]
    results = [type_of(Tensor(v.shape, v.dtype)) for _, v in graph.outputs]
    main = FuncOp("main", FunctionType.get(types, results))
    for key, named in (("tetrapla.inputs", graph.inputs), ("tetrapla.outputs", graph.outputs)):
        names = [StringAttr.get(name) for name, _ in named]
        main.attributes[key] = ArrayAttr.get(names)
    block = main.add_entry_block()
    handles.update({v.index: block.arguments[i] for i, (_, v) in enumerate(graph.inputs)})
    with InsertionPoint(block):
        pending = dict(graph.constants)
        needed = [v for node in graph.nodes for v in node.operands]
        for value in [*needed, *(v for _, v in graph.outputs)]:
            if value.index in pending:
                symbol = pending.pop(value.index)
                handles[value.index] = _weight(symbol, value)
        for node in graph.nodes:
            made = _operation(node, [handles[v.index] for v in node.operands])
            for value, result in zip(node.results, made.results, strict=True):
                handles[value.index] = result
        ReturnOp([handles[v.index] for _, v in graph.outputs])


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
    present = segments(OPS[node.kind], len(operands))
    if present is not None:
        attributes["operandSegmentSizes"] = DenseI32ArrayAttr.get(present)
    attributes["layer"] = StringAttr.get(node.name)
    return Operation.create(
        node.kind,
        results=[type_of(Tensor(v.shape, v.dtype)) for v in node.results],
        operands=operands,
        attributes=attributes,
        loc=Location.name(node.name),
    )


def _snapshot(mlir: MlirModule, store: Mapping[str, Array]) -> tuple[Graph, dict[int, Value]]:
    main = _main(mlir)
    block = main.regions[0].blocks[0]
    values: dict[Any, Value] = {}
    by_index: dict[int, Value] = {}

    def add(handle: Any) -> Value:
        tensor = _checked(tensor_of(handle.type))
        value = Value(len(values), tensor.shape, tensor.dtype)
        values[handle] = value
        by_index[value.index] = value
        return value

    arguments = [add(argument) for argument in block.arguments]
    nodes: list[Node] = []
    constants: dict[int, str] = {}
    outputs: list[Value] = []
    names = Names()
    for op in block.operations:
        operation = op.operation
        if operation.name == "func.return":
            outputs = [values[operand] for operand in operation.operands]
        elif operation.name == WEIGHT:
            constants[add(operation.results[0]).index] = _text(operation, "symbol")
        elif operation.name not in OPS:
            raise IRError(f"a model holds operators of the project, not {operation.name}")
        else:
            nodes.append(
                Node(
                    operation.name,
                    names.take(_stem(operation)),
                    tuple(values[operand] for operand in operation.operands),
                    tuple(add(result) for result in operation.results),
                    attributes_of(operation),
                )
            )
    inputs = _names(main, "tetrapla.inputs", "in", len(arguments))
    returned = _names(main, "tetrapla.outputs", "out", len(outputs))
    weights = {index: store[symbol] for index, symbol in constants.items() if symbol in store}
    graph = Graph(
        tuple(zip(inputs, arguments, strict=True)),
        tuple(zip(returned, outputs, strict=True)),
        tuple(nodes),
        constants,
        weights,
    )
    return graph, by_index


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


def _first_line(error: MLIRError) -> str:
    diagnostics = [d.message for d in getattr(error, "error_diagnostics", [])]
    found = diagnostics[0] if diagnostics else str(error).strip().splitlines()[-1]
    return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."
