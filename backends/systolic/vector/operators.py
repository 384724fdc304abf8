"""Integer operators that one instruction of the vector unit computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tetrapla.backends.systolic.array.products import Placing
from tetrapla.backends.systolic.layout import (
    ROWS,
    Layout,
    Placed,
    constant,
    image,
    like,
    rows_of,
)
from tetrapla.ir.graph import Graph, Node
from tetrapla.ir.quant.arithmetic import is_single_inside, sum_terms
from tetrapla.simulators.systolic import vector
from tetrapla.simulators.systolic.tables import COUNT_PAD, Descriptor, RequantizeRow

_BYTES = ("i8", "ui8")
_POOLS = ("nn.max_pool2d", "qnn.average_pool2d", "qnn.global_average_pool")


@dataclass(frozen=True)
class Pass:
    """One instruction of the vector unit: descriptors with bases relative to the buffers.

    Attributes:
        sources: those that descriptors read, and then what is read as it lies (weights).
        row: of the requantise table, of a depthwise convolution; `macs` are its products.
        offset: bytes from the start of the target's buffer to the first result.
    """

    name: str
    op: str
    func: int
    rows: int
    sources: tuple[Placed, ...]
    descriptors: tuple[Descriptor, ...]
    target: Placed
    offset: int = 0
    row: RequantizeRow | None = None
    macs: int = 0

    @property
    def targets(self) -> tuple[Placed, ...]:
        """All that it writes."""
        return (self.target,)


def is_pass(graph: Graph, node: Node) -> bool:
    """Whether one instruction computes the node, given layouts that it can read."""
    if node.operands[0].dtype not in _BYTES or len(node.results) > 1:
        return False
    if node.kind == "qnn.add":
        a, b = node.operands
        return a.shape == b.shape and not any(graph.is_weight(v) for v in node.operands)
    if node.kind == "nn.relu":
        return not graph.is_weight(node.operands[0])
    if node.kind == "qnn.lookup":
        x, table = node.operands
        return graph.is_weight(table) and table.dtype in _BYTES and not graph.is_weight(x)
    return node.kind in _POOLS and not graph.is_weight(node.operands[0])


def vector_pass(placing: Placing, node: Node) -> Pass:
    """The stage of such a node.

    Raises:
        UnsupportedError: no access descriptor reads the operands' layouts.
    """
    if node.kind == "qnn.lookup":
        return _lookup(placing, node)
    sources = tuple(placing.read(node.operands[position]) for position in _order(node))
    if node.kind in _POOLS:
        func, descriptor = _window(node, sources[0])
        descriptors: tuple[Descriptor, ...] = (descriptor,)
        target = placing.fresh(node.result)
    else:
        target = placing.fresh(node.result, sources[0].parted()[1])
        func, descriptors = _elementwise(node, sources, target.parted()[1])
    placing.values[node.result.index] = target
    return vector_stage(node, func, sources, descriptors, target)


def vector_stage(
    node: Node,
    func: int,
    sources: tuple[Placed, ...],
    descriptors: tuple[Descriptor, ...],
    target: Placed,
) -> Pass:
    """A pass that writes where `target` lies, which may be a part of its buffer.

    Raises:
        UnsupportedError: the target's rows have no single stride.
    """
    base, channels, stride = rows_of(target, ROWS if node.kind in _POOLS else None)
    first = replace(descriptors[0], out_stride=0 if stride == channels else stride)
    rows = prod(target.parted()[1][0]) // channels
    return Pass(
        node.name, node.kind, func, rows, sources, (first, *descriptors[1:]), target, base
    )


def _lookup(placing: Placing, node: Node) -> Pass:
    """A table of 256 bytes, in the unified buffer by the operand's bits: 0..127 come first."""
    x, table = placing.read(node.operands[0]), constant(placing.graph, node.operands[1])
    held = table if x.flags else np.roll(table, len(table) // 2)
    target = placing.fresh(node.result, x.parted()[1])
    window = like(x, target.parted()[1])
    place = Placed(placing.scratch(held.nbytes), held.shape, (), node.result.dtype)
    placing.constants.append((place, held))
    placing.values[node.result.index] = target
    found = vector_stage(node, vector.LOOKUP, (x,), (window,), target)
    return replace(found, sources=(x, place))


def copy_pass(name: str, source: Placed, target: Placed) -> Pass:
    """The same value elsewhere, or in another order of its rows; its bytes, of any type.

    Raises:
        UnsupportedError: rows that are not contiguous on both sides.
    """
    size = source.element_bytes
    base, channels, stride = rows_of(target)
    shape = target.parted()[1][0]
    found = like(source, target.parted()[1])
    dense = stride == channels
    window = replace(
        found, channels=channels * size, out_stride=0 if dense else stride * size, flags=0
    )
    rows = prod(shape) // channels
    return Pass(name, "copy", vector.COPY, rows, (source,), (window,), target, base * size)


def _order(node: Node) -> tuple[int, ...]:
    """Positions of what is read, in order; qnn.add says where its two change roles."""
    if node.kind == "qnn.add" and is_single_inside(*(v.shape for v in node.operands)):
        return 1, 0
    return tuple(range(min(len(node.operands), 2)))


def _elementwise(
    node: Node, sources: tuple[Placed, ...], layout: Layout
) -> tuple[int, tuple[Descriptor, ...]]:
    """The result lies as the first operand does."""
    first, *others = (like(source, layout) for source in sources)
    if node.kind == "nn.relu":
        high = 255 if sources[0].flags else 127
        return vector.CLAMP, (replace(first, low=0, high=high),)
    ra, rb, offset = _ratios(node)
    return vector.ADD, (replace(first, p0=ra, p1=rb, p2=offset), *others)


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
