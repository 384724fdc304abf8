"""Windows that no written kernel does: of volumes, of p-norms, of integers with zero points.

A row for each element of the result, a lane for each element of its window; what lies beyond
the input is 0, or the lowest number under a maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tetrapla.backends.gpu.generated.elementwise import exp, select
from tetrapla.backends.gpu.generated.quantised import zero_point
from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.rowwise import At, Registers, Rowwise
from tetrapla.backends.gpu.generated.scope import Scope
from tetrapla.ir.graph import DTYPES, Node
from tetrapla.ir.nn.reduce import extremes


def _window(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return node.result.shape, node.ints("kernel")


def _taps(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return node.result.shape, node.operands[1].shape[1:]


def _tapped(s: Scope, node: Node, row: Registers, lane: Registers) -> Registers:
    return (*row[:2], *_places(node, row[2:], lane))


def _filtered(s: Scope, node: Node, row: Registers, lane: Registers) -> Registers:
    """Of a convolution: channels of the filter's group, and the window's places."""
    _, w = node.operands[:2]
    group = row[1] // (w.shape[0] // node.int("groups"))
    return (row[0], group * w.shape[1] + lane[0], *_places(node, row[2:], lane[1:]))


def _places(node: Node, out: Sequence[Register], tap: Sequence[Register]) -> Registers:
    """Where a tap of a window lies; it may be beyond the input."""
    given = zip(
        *(out, tap, node.ints("strides"), node.ints("dilations"), node.ints("pads")),
        strict=False,  # the pads behind follow those in front
    )
    return tuple(p * stride + t * dilation - pad for p, t, stride, dilation, pad in given)


def _inside(s: Scope, node: Node, places: Sequence[Register]) -> Register:
    """Whether a place lies in the input."""
    inside = s.code.constant(1, "i1")
    for place, size in zip(places, node.operands[0].shape[2:], strict=True):
        inside = inside & (place >= 0) & (place < size)
    return inside


def _held(s: Scope, node: Node, at: At) -> tuple[Register, Register]:
    """Whether a lane's element exists, and the element or 0."""
    inside = _inside(s, node, at.element[2:])
    with s.where(inside):
        return inside, s.element(node.operands[0], at.element)


def _largest(s: Scope, node: Node, at: At) -> Register:
    inside, x = _held(s, node, at)
    low, _ = extremes(DTYPES[x.dtype])
    return s.op("largest", select(s, inside, x, float(low) if x.dtype == "f32" else int(low)))


def _average(s: Scope, node: Node, at: At) -> Register:
    inside, x = _held(s, node, at)
    pads, sizes = node.ints("pads"), node.operands[0].shape[2:]
    counted = inside
    if node.int("count_include_pad"):
        counted = s.code.constant(1, "i1")
        for place, size, pad in zip(at.element[2:], sizes, pads[len(sizes) :], strict=True):
            counted = counted & (place < size + pad)
    one = s.code.constant(1.0, "f32")
    return s.op("sum", x) / s.op("sum", select(s, counted, one, 0.0))


def _norm(s: Scope, node: Node, at: At) -> Register:
    _, x = _held(s, node, at)
    size, p = s.op("abs", x), node.int("p")
    if p == 1:
        return s.op("sum", size)
    if p == 2:
        return s.op("sqrt", s.op("sum", x * x))
    # relative to the largest, so that no power overflows
    top = s.op("largest", size)
    share = size / select(s, top.equal(0.0), 1.0, top)
    power = share
    for _ in range(p - 1):
        power = power * share
    return top * exp(s, s.op("log", s.op("maximum", s.op("sum", power), 1.0)) / float(p))


def _accumulated(s: Scope, node: Node, at: At) -> Register:
    """``sum((x - x0) (w - w0[filter]))`` in int32, which wraps; what is padded is x0."""
    inside, x = _held(s, node, at)
    w, *zeros = node.operands[1:]
    steps = x.to("i32")
    if zeros:
        steps = steps - zero_point(s, zeros[0], at.row, at.row[1])
    taps = s.element(w, (at.row[1], *at.lane)).to("i32")
    if len(zeros) > 1:
        taps = taps - zero_point(s, zeros[1], at.row, at.row[1])
    return s.op("sum", select(s, inside, steps * taps, 0))


WINDOWS: Mapping[str, Rowwise] = {
    "nn.max_pool3d": Rowwise(_window, _tapped, _largest, False),
    "nn.average_pool3d": Rowwise(_window, _tapped, _average, False),
    "nn.lp_pool2d": Rowwise(_window, _tapped, _norm, False),
    "qnn.conv_integer": Rowwise(_taps, _filtered, _accumulated, False),
}
