"""Folds over windows of x[N,C,...], of two or three axes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.element import lowest
from tetrapla.ir.linalg.move import padded
from tetrapla.ir.linalg.norm import work_type
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Placed, Writer, axes_of, tensor_of
from tetrapla.ir.op import Tensor


def lower_max_pool(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """The largest of each window."""
    (x,) = operands
    low = lowest(x.type.dtype)
    return pooled(writer, node, x, low, Body.maximum)


def lower_average_pool(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """In float32 for the narrower floats."""
    (x,), y = operands, tensor_of(node.result)
    wide = writer.cast(x, work_type(x.type.dtype))
    total = pooled(writer, node, wide, 0, Body.add)
    return divided(writer, node, total, lambda b, a, n: b.cast(b.div(a, n), y.dtype), y)


def lower_lp_pool(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``(sum |x|^p)^(1/p)``, in f64."""
    (x,), y, p = operands, tensor_of(node.result), node.int("p")

    def power(b: Body, a: Scalar) -> Scalar:
        wide = b.math("absf", b.cast(a, "f64"))
        return b.math("powf", wide, b.like(p, wide))

    def root(b: Body, a: Scalar) -> Scalar:
        return b.cast(b.math("powf", a, b.like(1 / p, a)), y.dtype)

    powers = writer.elementwise(Tensor(x.type.shape, "f64"), power, x)
    total = pooled(writer, node, powers, 0, Body.add)
    return writer.elementwise(y, root, total)


def lower_global_average_pool(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """In float32 for the narrower floats."""
    (x,), y = operands, tensor_of(node.result)
    size = prod(x.type.shape[2:])
    wide = writer.cast(x, work_type(x.type.dtype))
    total = writer.folded(wide, (2, 3), 0, Body.add)
    mean = writer.elementwise(
        Tensor(total.type.shape, y.dtype),
        lambda b, a: b.cast(b.div(a, b.like(size, a)), y.dtype),
        total,
    )
    return writer.reshaped(mean, y.shape)


def lower_global_max_pool(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """The largest of all."""
    (x,) = operands
    low = lowest(x.type.dtype)
    top = writer.folded(x, (2, 3), low, Body.maximum)
    return writer.reshaped(top, node.result.shape)


def pooled(
    writer: Writer,
    node: Node,
    x: Held,
    start: float,
    step: Callable[[Body, Scalar, Scalar], Scalar],
) -> Held:
    """A fold over windows of x, padded with `start`, which changes nothing."""
    y = Tensor(node.result.shape, x.type.dtype)
    kernel, axes = node.ints("kernel"), len(node.ints("kernel"))
    (before, behind), dilations = _pads(node), _dilations(node)
    x = padded(writer, x, (0, 0, *before), (0, 0, *behind), start)
    # an operand that is never read gives the window's size
    window = writer.empty(Tensor(kernel, x.type.dtype))
    taps = axes_of(2 + 2 * axes)[2 + axes :]
    places = [
        f"d{2 + i} * {node.ints('strides')[i]} + {taps[i]} * {dilations[i]}"
        for i in range(axes)
    ]
    return writer.generic(
        [(x, ["d0", "d1", *places]), (window, taps)],
        writer.filled(start, y),
        axes_of(2 + axes),
        2 + 2 * axes,
        lambda b, a, _, held: step(b, held, a),
    )


def divided(
    writer: Writer,
    node: Node,
    total: Held,
    function: Callable[[Body, Scalar, Scalar], Scalar],
    y: Tensor,
) -> Held:
    """`function` of each window's sum and of how many elements it stands for."""
    counts = [_counts(node, axis) for axis in range(len(node.ints("kernel")))]
    placed: list[Placed] = [(total, axes_of(y.rank))]
    for axis, each in enumerate(counts):
        held = writer.table(each, Tensor((len(each),), total.type.dtype))
        placed.append((held, [f"d{2 + axis}"]))

    def quotient(b: Body, a: Scalar, first: Scalar, *others: Scalar) -> Scalar:
        n = first
        for each in others:
            n = b.mul(n, each)
        return function(b, a, n)

    return writer.placed(y, quotient, placed)


def _counts(node: Node, axis: int) -> list[int]:
    """How many taps of each window along an axis count."""
    kernel, stride = node.ints("kernel")[axis], node.ints("strides")[axis]
    pads, dilation = node.ints("pads"), _dilations(node)[axis]
    before, behind = pads[axis], pads[len(pads) // 2 + axis]
    inside = range(before, before + node.operands[0].shape[2 + axis])
    if node.int("count_include_pad"):
        inside = range(inside.stop + behind)
    return [
        sum(stride * window + dilation * tap in inside for tap in range(kernel))
        for window in range(node.result.shape[2 + axis])
    ]


def _dilations(node: Node) -> tuple[int, ...]:
    if "dilations" in node.attributes:
        return node.ints("dilations")
    return (1,) * len(node.ints("kernel"))


def _pads(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Before and behind each axis; an overhang lies behind the padding."""
    pads, axes = node.ints("pads"), len(node.ints("kernel"))
    over = node.ints("overhang") if "overhang" in node.attributes else (0,) * axes
    behind = tuple(pad + more for pad, more in zip(pads[axes:], over, strict=True))
    return pads[:axes], behind
