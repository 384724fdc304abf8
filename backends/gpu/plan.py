"""A plan in the making: which buffer holds which value, in which type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.simulators.gpu.program import Buffer, Port

VIEWS = ("nn.reshape", "nn.transpose")
PRODUCTS = ("nn.matmul", "nn.conv2d")


@dataclass(frozen=True)
class Layout:
    """Where a plan keeps the inputs and what its kernels store.

    Attributes:
        halves: the plan rounds to float16.
        names: by index of a value, its buffer; views have none of their own.
        dtypes: by index of a value, the type of its buffer.
    """

    halves: bool
    names: Mapping[int, str]
    dtypes: Mapping[int, str]


class Plan:
    """The buffers of a graph. `number_format` is fp16, fp32 or int8.

    Under fp16 the model's inputs, the operands of products and what kernels hand on are
    float16; outputs of the model and parameters of the steps are float32. Integers keep
    their type, and an int8 plan keeps its floats in float32.
    """

    def __init__(self, graph: Graph, number_format: str) -> None:
        self.graph = graph
        self.number_format = number_format
        self._root = _roots(graph)
        self._names: dict[int, str] = {}
        self._buffers: dict[str, Buffer] = {}
        self.tables: dict[str, Array] = {}
        self._outputs = {self.root(value).index for _, value in graph.outputs}
        self._multiplied = {
            self.root(value).index
            for node in graph.nodes
            if node.kind in PRODUCTS
            for value in node.operands[:2]
        }
        for name, value in graph.inputs:
            self._add(value, name, "input")

    def root(self, value: Value) -> Value:
        """The value whose buffer `value` reads: itself, or what it is a view of."""
        return self._root.get(value.index, value)

    def is_view(self, node: Node) -> bool:
        """Whether a node needs no kernel."""
        return self.root(node.result).index != node.result.index

    def load(self, value: Value) -> str:
        """The buffer of an operand; a weight gets one when it is first read."""
        held = self.root(value)
        if held.index not in self._names:
            self._add(held, self.graph.constants[held.index], "weight")
        return self._names[held.index]

    def table(self, name: str, array: Array) -> str:
        """A buffer of constants that the compiler makes; the same name gives the same one."""
        if name not in self.tables:
            assert name not in self._buffers, f"buffer {name} is taken"
            dtype = "f32" if array.dtype.kind == "f" else "i32"
            self._buffers[name] = Buffer(name, dtype, array.shape, "weight")
            self.tables[name] = array
        return name

    def store(self, value: Value, name: str) -> str:
        """A new buffer for a kernel's result."""
        role = "output" if value.index in self._outputs else "scratch"
        return self._add(value, name, role)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """The model's inputs and outputs."""
        graph = self.graph
        inputs, outputs = (
            tuple(Port(name, self.load(v), v.shape, v.dtype) for name, v in named)
            for named in (graph.inputs, graph.outputs)
        )
        return inputs, outputs

    @property
    def layout(self) -> Layout:
        """Of everything but the weights."""
        names = {
            index: name
            for index, name in self._names.items()
            if self._buffers[name].role != "weight"
        }
        dtypes = {index: self._buffers[name].dtype for index, name in names.items()}
        return Layout(self.number_format == "fp16", names, dtypes)

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """In the order in which they were made."""
        return tuple(self._buffers.values())

    def _add(self, value: Value, stem: str, role: str) -> str:
        name, count = stem, 1
        while name in self._buffers:
            # a weight keeps its symbol, by which a run finds its array
            assert role != "weight", f"buffer {stem} is taken"
            count += 1
            name = f"{stem}_{count}"
        self._names[value.index] = name
        self._buffers[name] = Buffer(name, self._dtype(value, role), value.shape, role)
        return name

    def _dtype(self, value: Value, role: str) -> str:
        if value.dtype != "f32" or self.number_format != "fp16":
            return value.dtype
        if role == "weight":
            return "f16" if value.index in self._multiplied else "f32"
        return "f32" if role == "output" else "f16"


def _roots(graph: Graph) -> dict[int, Value]:
    """By index of a view's result, the value that it shows."""
    root: dict[int, Value] = {}
    for node in graph.nodes:
        if node.kind in VIEWS and _keeps_order(node):
            operand = node.operands[0]
            root[node.result.index] = root.get(operand.index, operand)
    return root


def _keeps_order(node: Node) -> bool:
    if node.kind == "nn.reshape":
        return True
    shape = node.operands[0].shape
    long = [axis for axis in node.ints("perm") if shape[axis] != 1]
    return long == sorted(long)
