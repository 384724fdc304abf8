"""Sums of products: matrix product and convolution, of floats and of integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.move import padded, spaced
from tetrapla.ir.linalg.norm import work_type
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, axes_of, places_of, tensor_of
from tetrapla.ir.op import Tensor

# of the body and two elements: what is summed
Term: TypeAlias = Callable[[Body, Scalar, Scalar], Scalar]


def lower_matmul(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """In float32 for the narrower floats, rounded once."""
    a, b, *bias = operands
    y = tensor_of(node.result)
    work = y._replace(dtype=work_type(y.dtype))
    product = matrix_product(writer, a, b, work, _term_of(work.dtype))
    return _epilogue(writer, node, product, bias, -1)


def lower_conv(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """In float32 for the narrower floats, rounded once."""
    x, w, *bias = operands
    y = tensor_of(node.result)
    work = y._replace(dtype=work_type(y.dtype))
    summed = correlation(writer, node, x, w, work, _term_of(work.dtype), 0)
    return _epilogue(writer, node, summed, bias, 1)


def matrix_product(writer: Writer, a: Held, b: Held, y: Tensor, term: Term) -> Held:
    """``y[.., m, n] = sum_k term(a[.., m, k], b[.., k, n])``.

    The loop of n is the innermost: it walks along b and y, and a vector unit can take it. Each
    element is summed in the order of k all the same.
    """
    lead = axes_of(y.rank - 2)
    m, k, n = (f"d{y.rank - 2 + i}" for i in range(3))
    axes_a = [*places_of(a.type.shape[:-2], lead), m, k]
    axes_b = [*places_of(b.type.shape[:-2], lead), k, n]
    return writer.generic(
        [(a, axes_a), (b, axes_b)],
        writer.filled(0, y),
        [*lead, m, n],
        y.rank + 1,
        _summed(term),
    )


def correlation(
    writer: Writer, node: Node, x: Held, w: Held, y: Tensor, term: Term, fill: float
) -> Held:
    """A convolution of any number of axes, whose padding is `fill`."""
    pads, axes = node.ints("pads"), w.type.rank - 2
    x = padded(writer, x, (0, 0, *pads[:axes]), (0, 0, *pads[axes:]), fill)
    groups, strides, dilations = (
        node.int("groups"),
        node.ints("strides"),
        node.ints("dilations"),
    )
    return windowed(writer, x, w, y, term, groups, strides, dilations)


def windowed(
    writer: Writer,
    x: Held,
    w: Held,
    y: Tensor,
    term: Term,
    groups: int,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> Held:
    """Sums over channels of the group and the kernel, of a padded x and w[O,C/groups,...].

    Loops: n, group, filter, channel of the group, the kernel's axes, the result's axes. The
    innermost walks along a row of the result.
    """
    filters, per, *kernel = w.type.shape
    axes = len(kernel)
    w = writer.reshaped(w, (groups, filters // groups, per, *kernel))
    split = Tensor((y.shape[0], groups, filters // groups, *y.shape[2:]), y.dtype)
    dims = axes_of(4 + 2 * axes)
    taps, places = dims[4 : 4 + axes], dims[4 + axes :]
    windows = [
        f"{place} * {stride} + {tap} * {dilation}"
        for place, stride, tap, dilation in zip(places, strides, taps, dilations, strict=True)
    ]
    summed = writer.generic(
        [(x, ["d0", f"d1 * {per} + d3", *windows]), (w, ["d1", "d2", "d3", *taps])],
        writer.filled(0, split),
        ["d0", "d1", "d2", *places],
        len(dims),
        _summed(term),
    )
    return writer.reshaped(summed, y.shape)


def lower_conv_transpose(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """A convolution of x with zeros between its values, by the kernel turned around."""
    x, w, *bias = operands
    y, groups = tensor_of(node.result), node.int("groups")
    axes, dilations = w.type.rank - 2, node.ints("dilations")
    kernel = w.type.shape[2:]
    before = [
        (size - 1) * dilation - pad
        for size, dilation, pad in zip(kernel, dilations, node.ints("pads")[:axes], strict=True)
    ]
    extents = [(size - 1) * d + 1 for size, d in zip(kernel, dilations, strict=True)]
    sizes = [n + e - 1 for n, e in zip(y.shape[2:], extents, strict=True)]
    stuffed = spaced(writer, x, node.ints("strides"), before, sizes)
    w = _turned(writer, w, groups)
    work = y._replace(dtype=work_type(y.dtype))
    once = (1,) * axes
    term = _term_of(work.dtype)
    summed = windowed(writer, stuffed, w, work, term, groups, once, dilations)
    return writer.cast(with_bias(writer, summed, bias, 1), y.dtype)


def _turned(writer: Writer, w: Held, groups: int) -> Held:
    """w[C, O/groups, ...] as [O, C/groups, ...], its kernel from behind."""
    channels, filters, *kernel = w.type.shape
    per = channels // groups

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        taps = [b.affine(f"{k - 1} - d0", i) for k, i in zip(kernel, at[2:], strict=True)]
        channel = b.affine(f"(d0 floordiv {filters}) * {per} + d1", at[0], at[1])
        return b.at(w, [channel, b.affine(f"d0 mod {filters}", at[0]), *taps])

    return writer.gathered(Tensor((filters * groups, per, *kernel), w.type.dtype), read)


def with_bias(writer: Writer, y: Held, bias: list[Held], axis: int) -> Held:
    """``y + bias`` along an axis; the bias may be absent."""
    if not bias:
        return y
    dims = axes_of(y.type.rank)
    return writer.placed(
        y.type,
        lambda b, a, c: b.add(a, b.cast(c, a.dtype)),
        [(y, dims), (bias[0], [dims[axis]])],
    )


def _epilogue(writer: Writer, node: Node, y: Held, bias: list[Held], axis: int) -> Held:
    y = with_bias(writer, y, bias, axis)
    if node.attributes.get("activation") == "relu":
        y = writer.elementwise(y.type, lambda b, a: b.maximum(a, b.like(0, a)), y)
    return writer.cast(y, node.result.dtype)


def _term_of(dtype: str) -> Term:
    return lambda b, x, w: b.mul(b.cast(x, dtype), b.cast(w, dtype))


def _summed(term: Term) -> Callable[[Body, Scalar, Scalar, Scalar], Scalar]:
    return lambda b, x, w, total: b.add(total, term(b, x, w))
