"""A plan in the making: which buffer holds which value, in which type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from tetrapla.backends.gpu.formats import FLOATS, scale_of
from tetrapla.backends.gpu.views import View, plain, strides_of
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.simulators.gpu.program import Buffer, Port
from tetrapla.simulators.gpu.recurrent import GATES

VIEWS = ("nn.reshape", "nn.transpose")
PRODUCTS = ("nn.matmul", "nn.conv2d")
ATTENTION = "nn.attention"
# operands whose instructions read both matrices along the axis that is summed
TURNED = ("tf32", "i8", "f8E4M3FN")


def multiplied(node: Node) -> tuple[Value, ...]:
    """The operands that enter the multipliers; of an attention, all but the mask."""
    if node.kind == ATTENTION:
        return node.operands[: (len(node.operands) - 1) // 2 * 2 + 1]
    if node.kind in GATES:  # the input, both matrices and the first state
        return (*node.operands[:3], *node.operands[4:5])
    return node.operands[:2] if node.kind in PRODUCTS else ()


@dataclass(frozen=True)
class Layout:
    """Where a plan keeps the inputs and what its kernels store.

    Attributes:
        multiplied: what enters the multipliers of products of floats: f32, tf32, f16, bf16.
        names: by index of a value, its buffer; views have none of their own.
        dtypes: by index of a value, the type of its buffer.
        orders: by index of a value, its axes from the outermost in memory, where they are not
            in the value's own order.
    """

    multiplied: str
    names: Mapping[int, str]
    dtypes: Mapping[int, str]
    orders: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])

    def shaped(self, value: Value, memory: Array) -> Array:
        """What a buffer holds, (invocations, elements), in the value's own shape."""
        order = self.orders.get(value.index)
        if order is None:
            return memory.reshape(-1, *value.shape)
        lying = memory.reshape(-1, *(value.shape[axis] for axis in order))
        back = sorted(range(len(order)), key=order.__getitem__)
        return lying.transpose(0, *(axis + 1 for axis in back))


class Plan:
    """The buffers of a graph. `number_format` is one of `formats.FLOATS`.

    Under fp16 the model's inputs, the operands of products and what kernels hand on are
    float16, under bf16 bfloat16; outputs of the model and parameters of the steps are float32.
    Integers and 8-bit floats keep their type, and the other plans their floats in float32.
    """

    def __init__(self, graph: Graph, number_format: str) -> None:
        self.graph = graph
        self.number_format = number_format
        self._own: dict[str, str] = {}  # constants of the compiler, by stem
        # by name of a product of 8-bit floats, the scales of its operands
        self.scales: Mapping[str, tuple[Value, Value]] = {}
        self._root = _roots(graph)
        self._names: dict[int, str] = {}
        self._buffers: dict[str, Buffer] = {}
        # a weight keeps its symbol, by which a run finds its array
        self._symbols = frozenset(graph.constants.values())
        self.tables: dict[str, Array] = {}
        # of products by name: what is read or written by strides of its own
        self.reads: Mapping[str, tuple[View, View]] = {}
        self.writes: dict[str, View] = {}
        # by index of a value, its axes in memory where they are not in its own order
        self.orders: Mapping[int, tuple[int, ...]] = {}
        # by name of a kernel's first node, the value that it stores
        self.stored: dict[str, Value] = {}
        self._outputs = {self.root(value).index for _, value in graph.outputs}
        self._multiplied = {
            self.root(value).index for node in graph.nodes for value in multiplied(node)
        }
        # of a mask that is added, float16 would make infinities of large numbers
        self._added = {
            self.root(value).index
            for node in graph.nodes
            if node.kind == ATTENTION
            for value in node.operands[len(multiplied(node)) :]
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

    def operands(self, node: Node) -> tuple[View, View]:
        """Where a product's operands lie, in their own shapes."""
        a, b = node.operands[:2]
        return self.reads.get(node.name) or (plain(a), plain(b))

    def written(self, node: Node) -> View:
        """Where a product's result lies, in its own shape."""
        return self.writes.get(node.name) or plain(node.result)

    def order(self, value: Value) -> tuple[int, ...]:
        """The axes of a value from the outermost in memory; empty for its own order."""
        return self.orders.get(self.root(value).index, ())

    def strides(self, value: Value) -> tuple[int, ...]:
        """Elements between places along each axis; empty where they are row-major."""
        order = self.order(value)
        return strides_of(value.shape, order) if order else ()

    def filters(self, value: Value, operand: str) -> tuple[str, tuple[int, ...]]:
        """The buffer and strides of a convolution's filters, [filter, channel, row, column].

        Weights are laid out anew, as the product reads them: its steps above its columns, or
        behind each of them, as the instructions want.
        """
        if not self.graph.is_weight(value):
            return self.load(value), ()
        order = (0, 2, 3, 1) if operand in TURNED else (2, 3, 1, 0)
        name = f"{self.graph.constants[value.index]}.{'turned' if order[0] == 0 else 'rows'}"
        held = self.graph.weights.get(value.index)
        shape = tuple(value.shape[axis] for axis in order)
        moved = None if held is None else held.transpose(order)
        self._constant(name, self._dtype(value, "weight"), shape, moved)
        return name, strides_of(value.shape, order)

    def table(self, name: str, array: Array) -> str:
        """A buffer of constants that the compiler makes; the same name gives the same one."""
        if name not in self.tables:
            assert name not in self._buffers, f"buffer {name} is taken"
            dtype = "f32" if array.dtype.kind == "f" else "i32"
            self._buffers[name] = Buffer(name, dtype, array.shape, "weight")
            self.tables[name] = array
        return name

    def second(self, view: View, operand: str) -> tuple[str, View]:
        """The buffer of a product's second matrix, and where it lies in that.

        Instructions of 8 and 32 bits read both operands along the axis that is summed: a
        constant matrix is kept with that axis last.
        """
        value, shape = view.value, view.shape
        constant = self.graph.is_weight(value) and view == plain(value) and len(shape) == 2
        if not constant or operand not in TURNED:
            return self.load(value), view
        stem, (k, n) = f"{self.graph.constants[value.index]}.turned", shape
        held = self.graph.weights.get(value.index)
        name = self._constant(stem, value.dtype, (n, k), None if held is None else held.T)
        return name, replace(view, strides=(1, k))

    def scale(self, node: Node) -> str:
        """The buffer of the scales behind a product of 8-bit floats."""
        array = scale_of(self.graph, self.scales[node.name])
        return self._constant(f"{node.name}.scale", "f32", array.shape, array)

    def shift(self, node: Node, groups: int) -> str:
        """The buffer of a product's `kernels.Product.shift`; "" where it needs none."""
        a, b = node.operands[:2]
        za = node.int("x_zero_point") - (128 if a.dtype == "ui8" else 0)
        if za == 0 or not self.graph.is_weight(b) or (prod(b.shape[:-2]) != 1 and groups == 0):
            return ""
        columns = b.shape[-1] if groups == 0 else b.shape[0]
        made = None
        held = self.graph.weights.get(b.index)
        if held is not None:
            centred = held.astype(np.int64) - node.int("w_zero_point")
            axes = (-2,) if groups == 0 else (1, 2, 3)
            made = (-za * centred.sum(axis=axes).reshape(columns)).astype(np.int32)
        return self._constant(f"{node.name}.shift", "i32", (columns,), made)

    def store(self, value: Value, name: str) -> str:
        """A new buffer for a kernel's result."""
        role = "output" if value.index in self._outputs else "scratch"
        return self._add(value, name, role)

    def dtype(self, buffer: str) -> str:
        """The type of a buffer."""
        return self._buffers[buffer].dtype

    def scratch(self, name: str, shape: tuple[int, ...]) -> str:
        """A buffer of float32 that holds no value of the graph."""
        made, count = name, 1
        while made in self._buffers or made in self._symbols:
            count += 1
            made = f"{name}_{count}"
        self._buffers[made] = Buffer(made, "f32", shape, "scratch")
        return made

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """The model's inputs and outputs."""
        graph = self.graph
        inputs, outputs = (
            tuple(Port(name, self.load(v), v.shape, v.dtype) for name, v in named)
            for named in (graph.inputs, graph.outputs)
        )
        return inputs, outputs

    def _constant(
        self, stem: str, dtype: str, shape: tuple[int, ...], array: Array | None
    ) -> str:
        """A buffer of the compiler's own, the same for the same stem.

        Without an array where the weights are not known.
        """
        if stem not in self._own:
            name = stem
            while name in self._buffers or name in self._symbols:
                name += "_"
            self._own[stem] = name
            self._buffers[name] = Buffer(name, dtype, shape, "weight")
            if array is not None:
                self.tables[name] = np.ascontiguousarray(array)
        return self._own[stem]

    @property
    def layout(self) -> Layout:
        """Of everything but the weights."""
        names = {
            index: name
            for index, name in self._names.items()
            if self._buffers[name].role != "weight"
        }
        dtypes = {index: self._buffers[name].dtype for index, name in names.items()}
        orders = {index: order for index, order in self.orders.items() if index in names}
        return Layout(FLOATS[self.number_format].multiplied, names, dtypes, orders)

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """In the order in which they were made."""
        return tuple(self._buffers.values())

    def _add(self, value: Value, stem: str, role: str) -> str:
        name, count = stem, 1
        while role != "weight" and (name in self._buffers or name in self._symbols):
            count += 1
            name = f"{stem}_{count}"
        self._names[value.index] = name
        order = self.orders.get(value.index, ())
        self._buffers[name] = Buffer(name, self._dtype(value, role), value.shape, role, order)
        return name

    def _dtype(self, value: Value, role: str) -> str:
        kept = FLOATS[self.number_format].kept
        if value.dtype != "f32" or kept == "f32":
            return value.dtype
        if role == "weight":
            return kept if value.index in self._multiplied else "f32"
        return "f32" if role == "output" or value.index in self._added else kept


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
