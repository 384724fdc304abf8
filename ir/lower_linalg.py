"""Lowering `nn` to upstream MLIR: linalg, tensor, arith and math on tensors.

Before::

    %y = "nn.relu"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>

After::

    %y = linalg.generic {maps, parallel} ins(%x) outs(%empty) {
      ^bb0(%a0: f32, %o: f32): %t0 = arith.maximumf %a0, %zero : f32  linalg.yield %t0 : f32
    }

Inputs come first among the arguments of @main, then weights in the order of `graph.constants`.
Sums run in the order of the loops, so they differ from the interpreter's by rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.ir.linalg_text import Held, Writer, axes_of, places_of
from tetrapla.ir.nn.pool import window_counts
from tetrapla.ir.op import Tensor

ELEMENTS = ("f32", "f64")


def lowered(graph: Graph) -> str:
    """The text of a module whose function @main computes the graph's outputs.

    Raises:
        UnsupportedError: an operator has no lowering, or a value is empty or not f32 or f64.
    """
    writer = Writer()
    arguments = [*(value for _, value in graph.inputs), *weights(graph)]
    for value in arguments:
        _check(value)
        writer.names[value.index] = f"%arg{value.index}"
    for node in graph.nodes:
        if node.kind not in LOWERINGS:
            raise UnsupportedError(
                f"node '{node.name}' must be one of {', '.join(LOWERINGS)} to be lowered to "
                f"linalg, not {node.kind}"
            )
        _check(node.result)
        operands = [Held(writer.names[v.index], _tensor(v)) for v in node.operands]
        result = LOWERINGS[node.kind](writer, node, operands)
        writer.names[node.result.index] = result.name
    taken = ", ".join(f"%arg{v.index}: {_tensor(v)}" for v in arguments)
    types = ", ".join(str(_tensor(v)) for _, v in graph.outputs)
    names = ", ".join(writer.names[v.index] for _, v in graph.outputs)
    body = "\n  ".join([*writer.lines, f"return {names} : {types}"])
    head = f"func.func @main({taken}) -> ({types}) attributes {{llvm.emit_c_interface}}"
    return f"{head} {{\n  {body}\n}}\n"


def weights(graph: Graph) -> list[Value]:
    """The constants that are read, in the order in which @main takes them."""
    read = {v.index: v for node in graph.nodes for v in node.operands}
    read.update({value.index: value for _, value in graph.outputs})
    return [read[index] for index in graph.constants if index in read]


def _matmul(writer: Writer, node: Node, operands: list[Held]) -> Held:
    a, b, *bias = operands
    type_ = _tensor(node.result)
    *lead, m, n = axes_of(type_.rank)
    k = f"d{type_.rank}"
    axes_a = [*places_of(a.type.shape[:-2], lead), m, k]
    axes_b = [*places_of(b.type.shape[:-2], lead), k, n]
    start = writer.filled(0.0, type_)
    axes = axes_of(type_.rank)
    body = _multiply_add(type_.dtype)
    y = writer.generic([(a, axes_a), (b, axes_b)], start, axes, type_.rank + 1, body)
    return writer.epilogue(
        y, bias[0] if bias else None, axis=-1, activation=node.str("activation")
    )


def _conv2d(writer: Writer, node: Node, operands: list[Held]) -> Held:
    x, w, *bias = operands
    groups, type_ = node.int("groups"), _tensor(node.result)
    filters, per, *kernel = w.type.shape
    x = writer.padded(x, node.ints("pads"), 0.0)
    w = writer.reshaped(w, (groups, filters // groups, per, *kernel))
    # n, group, filter, row, column; then channel of the group and the kernel's two axes
    rows, columns = _window_places(3, 6, node.ints("strides"), node.ints("dilations"))
    split = Tensor((type_.shape[0], groups, filters // groups, *type_.shape[2:]), type_.dtype)
    y = writer.generic(
        [
            (x, ["d0", f"d1 * {per} + d5", rows, columns]),
            (w, ["d1", "d2", "d5", "d6", "d7"]),
        ],
        writer.filled(0.0, split),
        axes_of(5),
        8,
        _multiply_add(type_.dtype),
    )
    y = writer.reshaped(y, type_.shape)
    return writer.epilogue(
        y, bias[0] if bias else None, axis=1, activation=node.str("activation")
    )


def _binary(instruction: str) -> Callable[[Writer, Node, list[Held]], Held]:
    def lower(writer: Writer, node: Node, operands: list[Held]) -> Held:
        type_ = _tensor(node.result)
        dims = axes_of(type_.rank)
        placed = [(held, places_of(held.type.shape, dims)) for held in operands]
        return writer.elementwise(
            placed, type_, [f"%r = arith.{instruction} %a0, %a1 : {type_.dtype}"]
        )

    return lower


def _relu(writer: Writer, node: Node, operands: list[Held]) -> Held:
    del node
    return writer.relu(operands[0])


def _reshape(writer: Writer, node: Node, operands: list[Held]) -> Held:
    return writer.reshaped(operands[0], node.result.shape)


def _transpose(writer: Writer, node: Node, operands: list[Held]) -> Held:
    perm = node.ints("perm")
    axes = [f"d{perm.index(axis)}" for axis in range(len(perm))]
    return writer.elementwise([(operands[0], axes)], _tensor(node.result), [])


def _max_pool2d(writer: Writer, node: Node, operands: list[Held]) -> Held:
    x = writer.padded(operands[0], node.ints("pads"), -np.inf)
    start = writer.filled(-np.inf, _tensor(node.result))
    body = [f"%r = arith.maximumf %a0, %o : {x.type.dtype}"]
    return _pooled(writer, node, x, start, node.ints("dilations"), body)


def _average_pool2d(writer: Writer, node: Node, operands: list[Held]) -> Held:
    x = writer.padded(operands[0], node.ints("pads"), 0.0)
    type_ = _tensor(node.result)
    body = [f"%r = arith.addf %a0, %o : {type_.dtype}"]
    total = _pooled(writer, node, x, writer.filled(0.0, type_), (1, 1), body)
    counts = window_counts(
        node.operands[0].shape[2:],
        node.ints("kernel"),
        node.ints("strides"),
        node.ints("pads"),
        node.int("count_include_pad"),
    )
    held = Tensor(counts.shape, type_.dtype)
    rows = ", ".join(f"[{', '.join(f'{int(c)}.0' for c in row)}]" for row in counts)
    divisor = writer.line(f"arith.constant dense<[{rows}]> : {held}", held)
    return writer.elementwise(
        [(total, axes_of(4)), (divisor, ["d2", "d3"])],
        type_,
        [f"%r = arith.divf %a0, %a1 : {type_.dtype}"],
    )


def _global_average_pool(writer: Writer, node: Node, operands: list[Held]) -> Held:
    (x,) = operands
    n, c, h, w = x.type.shape
    start = writer.filled(0.0, Tensor((n, c), x.type.dtype))
    body = [f"%r = arith.addf %a0, %o : {x.type.dtype}"]
    total = writer.generic([(x, axes_of(4))], start, axes_of(2), 4, body)
    size = writer.constant(float(h * w), x.type.dtype)
    body = [f"%r = arith.divf %a0, {size} : {x.type.dtype}"]
    mean = writer.elementwise([(total, axes_of(2))], total.type, body)
    return writer.reshaped(mean, node.result.shape)


def _softmax(writer: Writer, node: Node, operands: list[Held]) -> Held:
    (x,) = operands
    dtype, dims = x.type.dtype, axes_of(x.type.rank)
    axis = node.int("axis") % x.type.rank
    kept = [dim for i, dim in enumerate(dims) if i != axis]
    less = Tensor(tuple(s for i, s in enumerate(x.type.shape) if i != axis), dtype)
    start = writer.filled(-np.inf, less)
    body = [f"%r = arith.maximumf %a0, %o : {dtype}"]
    top = writer.generic([(x, dims)], start, kept, len(dims), body)
    power = writer.elementwise(
        [(x, dims), (top, kept)],
        x.type,
        [f"%t = arith.subf %a0, %a1 : {dtype}", f"%r = math.exp %t : {dtype}"],
    )
    start = writer.filled(0.0, less)
    body = [f"%r = arith.addf %a0, %o : {dtype}"]
    total = writer.generic([(power, dims)], start, kept, len(dims), body)
    body = [f"%r = arith.divf %a0, %a1 : {dtype}"]
    return writer.elementwise([(power, dims), (total, kept)], x.type, body)


def _batch_norm(writer: Writer, node: Node, operands: list[Held]) -> Held:
    x, scale, bias, mean, variance = operands
    dtype, dims, per_channel = x.type.dtype, axes_of(x.type.rank), ["d1"]
    epsilon = writer.constant(node.float("epsilon"), dtype)
    gain = writer.elementwise(
        [(scale, ["d0"]), (variance, ["d0"])],
        scale.type,
        [
            f"%s = arith.addf %a1, {epsilon} : {dtype}",
            f"%t = math.sqrt %s : {dtype}",
            f"%r = arith.divf %a0, %t : {dtype}",
        ],
    )
    return writer.elementwise(
        [(x, dims), *((held, per_channel) for held in (mean, gain, bias))],
        x.type,
        [
            f"%s = arith.subf %a0, %a1 : {dtype}",
            f"%t = arith.mulf %s, %a2 : {dtype}",
            f"%r = arith.addf %t, %a3 : {dtype}",
        ],
    )


def _pooled(
    writer: Writer,
    node: Node,
    x: Held,
    start: Held,
    dilations: tuple[int, ...],
    body: Sequence[str],
) -> Held:
    """A fold over windows; an operand that is never read gives the window's size."""
    window = writer.empty(Tensor(node.ints("kernel"), x.type.dtype))
    rows, columns = _window_places(2, 4, node.ints("strides"), dilations)
    placed = [(x, ["d0", "d1", rows, columns]), (window, ["d4", "d5"])]
    return writer.generic(placed, start, axes_of(4), 6, body)


def _window_places(
    outer: int, inner: int, strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[str, str]:
    """Where a window's element lies in the padded input, down and across."""
    rows, columns = (
        f"d{outer + i} * {strides[i]} + d{inner + i} * {dilations[i]}" for i in (0, 1)
    )
    return rows, columns


def _multiply_add(dtype: str) -> list[str]:
    return [f"%t = arith.mulf %a0, %a1 : {dtype}", f"%r = arith.addf %o, %t : {dtype}"]


def _tensor(value: Value) -> Tensor:
    return Tensor(value.shape, value.dtype)


def _check(value: Value) -> None:
    if value.dtype not in ELEMENTS or not value.elements:
        raise UnsupportedError(
            f"values must be f32 or f64 with elements to be lowered to linalg, "
            f"not {_tensor(value)}"
        )


LOWERINGS: Mapping[str, Callable[[Writer, Node, list[Held]], Held]] = MappingProxyType(
    {
        "nn.add": _binary("addf"),
        "nn.average_pool2d": _average_pool2d,
        "nn.batch_norm": _batch_norm,
        "nn.conv2d": _conv2d,
        "nn.global_average_pool": _global_average_pool,
        "nn.matmul": _matmul,
        "nn.max_pool2d": _max_pool2d,
        "nn.mul": _binary("mulf"),
        "nn.relu": _relu,
        "nn.reshape": _reshape,
        "nn.softmax": _softmax,
        "nn.transpose": _transpose,
    }
)
