"""From nodes to stages: what to compute with which tables, before any instruction exists."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.formats import PRODUCTS
from tetrapla.backends.systolic.layout import Buffer, Placed, constant, flat, image, placed
from tetrapla.backends.systolic.partition import Refusal, refuse
from tetrapla.backends.systolic.products import Product, product, requantizers
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.ir.quant.arithmetic import is_single_inside, sum_terms
from tetrapla.simulators.systolic import vector
from tetrapla.simulators.systolic.tables import COUNT_PAD, Descriptor


@dataclass(frozen=True)
class Pass:
    """One instruction of the vector unit: descriptors with bases relative to the buffers."""

    name: str
    op: str
    func: int
    rows: int
    sources: tuple[Placed, ...]
    descriptors: tuple[Descriptor, ...]
    target: Placed


class Stages:
    """Collects stages; `values` says where each value lies, `buffers` what needs an address."""

    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.graph = graph
        self.machine = machine
        self.found: list[Product | Pass] = []
        self.values: dict[int, Placed] = {}
        self.buffers: list[Buffer] = []
        self.constants: list[tuple[Placed, Array]] = []
        self.uses = graph.uses()
        self.kept = {value.index for _, value in graph.outputs}

    def add_all(self, nodes: tuple[Node, ...]) -> None:
        """Make the stages of the accelerator's nodes.

        Raises:
            UnsupportedError: layouts that no instruction can read; one message for all.
        """
        refusals = []
        for node in nodes:
            try:
                self._add(node)
            except UnsupportedError as error:
                refusals.append(Refusal(node.kind, node.name, str(error)))
                for value in self._results(node):  # go on, to find all of them
                    self.values[value.index] = self.fresh(value)
        refuse(refusals)

    def fresh(self, value: Value, first: int | None = None) -> Placed:
        """Place a value in a new buffer, written by stage `first`, else by the one to come."""
        found = placed(value, len(self.found) + 1 if first is None else first)
        self.buffers.append(found.buffer)
        return found

    def scratch(self, size_bytes: int) -> Buffer:
        """A buffer for a constant that the stage to come reads."""
        self.buffers.append(Buffer(size_bytes, 0, len(self.found) + 1))
        return self.buffers[-1]

    def read(self, value: Value) -> Placed:
        """Where a value lies; the stage to come reads it. A constant is loaded at the start."""
        if value.index not in self.values:
            self.values[value.index] = self.fresh(value, first=0)
            self.constants.append((self.values[value.index], constant(self.graph, value)))
        found = self.values[value.index]
        found.buffer.last = max(found.buffer.last, len(self.found) + 1)
        return found

    def _results(self, node: Node) -> list[Value]:
        if node.kind not in PRODUCTS:
            return [node.result]
        return [node.result, *(n.result for n in requantizers(self, node))]

    def _add(self, node: Node) -> None:
        match node.kind:
            case kind if kind in PRODUCTS:
                self.found.append(product(self, node))
            case "qnn.requantize":
                pass  # part of its product
            case "nn.reshape":
                self._move(node, "reshape", node.result.shape)
            case "nn.transpose":
                self._move(node, "transpose", node.ints("perm"))
            case _:
                self.found.append(self._pass(node))

    def _move(self, node: Node, step: str, arguments: tuple[int, ...]) -> None:
        source = self.read(node.operands[0])
        self.values[node.result.index] = source.then(step, arguments)

    def _pass(self, node: Node) -> Pass:
        order = _order(node)
        sources = tuple(self.read(node.operands[position]) for position in order)
        if node.kind in ("nn.relu", "qnn.add"):
            func, descriptors, target = self._elementwise(node, sources)
        else:
            func, descriptor = _window(node, sources[0])
            descriptors, target = (descriptor,), self.fresh(node.result)
        self.values[node.result.index] = target
        rows = int(np.prod(target.physical)) // descriptors[0].channels
        return Pass(node.name, node.kind, func, rows, sources, descriptors, target)

    def _elementwise(
        self, node: Node, sources: tuple[Placed, ...]
    ) -> tuple[int, tuple[Descriptor, ...], Placed]:
        """The result lies as the first operand does."""
        first = sources[0]
        if any(s.physical != first.physical or s.view != first.view for s in sources):
            raise UnsupportedError("operands of different layouts")
        buffer = self.fresh(node.result).buffer
        target = Placed(buffer, first.physical, first.view, node.result.dtype)
        if node.kind == "nn.relu":
            high = 255 if first.flags else 127
            return vector.CLAMP, (replace(flat(first), low=0, high=high),), target
        ra, rb, offset = _ratios(node)
        a = replace(flat(first), p0=ra, p1=rb, p2=offset)
        return vector.ADD, (a, flat(sources[1])), target


def _order(node: Node) -> tuple[int, ...]:
    """Positions of what is read, in order; qnn.add says where its two change roles."""
    if node.kind == "qnn.add" and is_single_inside(*(v.shape for v in node.operands)):
        return 1, 0
    return tuple(range(min(len(node.operands), 2)))


def _ratios(node: Node) -> tuple[float, float, float]:
    """The constants of qnn.add, each rounded to float32 as the operator says."""
    names = [*("ab"[position] for position in _order(node)), "y"]
    ra, rb, offset = sum_terms(
        [node.float(f"{name}_scale") for name in names],
        [node.int(f"{name}_zero_point") for name in names],
    )
    return float(ra), float(rb), float(offset)


def _window(node: Node, x: Placed) -> tuple[int, Descriptor]:
    """The instruction and the descriptor of a pooling operator."""
    whole = image(x)
    _, _, out_h, out_w = node.result.shape
    if node.kind != "nn.max_pool2d":
        zeros = (node.int("x_zero_point"), node.int("y_zero_point"))
        whole = replace(whole, zero_x=zeros[0], zero_y=zeros[1])
    if node.kind == "qnn.global_average_pool":
        size = np.float32(whole.height * whole.width)
        y_scale = np.float32(node.float("y_scale"))
        ratio = np.float32(node.float("x_scale")) / (y_scale * size)
        return vector.GLOBAL_AVERAGE, replace(
            whole,
            kernel_h=whole.height,
            kernel_w=whole.width,
            p0=float(ratio),
        )
    (kh, kw), (sy, sx) = node.ints("kernel"), node.ints("strides")
    top, left, _, _ = node.ints("pads")
    window = replace(
        whole,
        kernel_h=kh,
        kernel_w=kw,
        out_h=out_h,
        out_w=out_w,
        stride_y=sy,
        stride_x=sx,
        pad_top=top,
        pad_left=left,
    )
    if node.kind == "nn.max_pool2d":
        dy, dx = node.ints("dilations")
        return vector.MAX, replace(window, dilation_y=dy, dilation_x=dx)
    counted = COUNT_PAD if node.int("count_include_pad") else 0
    return vector.AVERAGE, replace(
        window,
        flags=window.flags | counted,
        p0=float(np.float32(node.float("x_scale"))),
        p1=float(np.float32(node.float("y_scale"))),
    )
