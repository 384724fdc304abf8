"""Integer operators, exact: sums wrap in their accumulators, scales are float32."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.contract import Term, correlation, matrix_product, with_bias
from tetrapla.ir.linalg.element import lowest
from tetrapla.ir.linalg.elementwise import parameter
from tetrapla.ir.linalg.move import joined
from tetrapla.ir.linalg.pool import divided, pooled
from tetrapla.ir.linalg.quant_scale import centred, saturated, stored
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, axes_of, tensor_of
from tetrapla.ir.op import Tensor
from tetrapla.ir.quant.arithmetic import is_single_inside, sum_terms
from tetrapla.ir.quant.softmax import RESERVE


def lower_add(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``sat(rint(fma(a, rA, fma(b, rB, c))))``, the ratios and c computed beforehand."""
    y, keys = tensor_of(node.result), "aby"
    if is_single_inside(operands[0].type.shape, operands[1].type.shape):
        operands, keys = operands[::-1], "bay"
    scales = [node.float(f"{key}_scale") for key in keys]
    zeros = [node.int(f"{key}_zero_point") for key in keys]
    first, second, offset = map(float, sum_terms(scales, zeros))

    def steps(b: Body, p: Scalar, q: Scalar) -> Scalar:
        p, q = b.cast(p, "f32"), b.cast(q, "f32")
        inner = b.multiply_add(q, b.like(second, q), b.like(offset, q))
        outer = b.multiply_add(p, b.like(first, p), inner)
        return saturated(b, b.math("roundeven", outer), y.dtype)

    return writer.elementwise(y, steps, *operands)


def lower_mul(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``sat(rint(f32((a - a_zero_point) (b - b_zero_point)) * m + y_zero_point))``."""
    y = tensor_of(node.result)
    a, b, c = (np.float32(node.float(f"{key}_scale")) for key in "aby")
    ratio = float(a * b / c)

    def steps(body: Body, *elements: Scalar) -> Scalar:
        p, q = (
            body.cast(_centred(body, each, node.int(f"{key}_zero_point"), "i32"), "f32")
            for key, each in zip("ab", elements, strict=True)
        )
        scaled = body.mul(body.mul(p, q), body.like(ratio, p))
        moved = body.add(scaled, body.like(node.int("y_zero_point"), scaled))
        return saturated(body, body.math("roundeven", moved), y.dtype)

    return writer.elementwise(y, steps, *operands)


def lower_concat(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Each requantised, then joined."""
    y = tensor_of(node.result)

    def requantized(key: str, x: Held) -> Held:
        def steps(b: Body, a: Scalar) -> Scalar:
            whole = _centred(b, a, node.int(f"{key}_zero_point"), "i32")
            real = b.cast(whole, "f32")
            real = b.mul(real, b.like(parameter(node, f"{key}_scale"), real))
            ratio = b.div(real, b.like(parameter(node, "y_scale"), real))
            return stored(b, ratio, b.number(node.int("y_zero_point"), "i32"), y.dtype)

        return writer.elementwise(x.type, steps, x)

    own = [requantized(key, x) for key, x in zip("ab", operands, strict=True)]
    return joined(writer, own[0], own[1], node.int("axis") % y.rank)


def lower_lookup(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``table[x - min]``."""
    x, table = operands
    least = int(lowest(x.type.dtype))

    def read(b: Body, a: Scalar) -> Scalar:
        return b.at(table, [b.cast(_centred(b, a, least, "i64"), "index")])

    return writer.elementwise(tensor_of(node.result), read, x)


def lower_softmax(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """ONNX Runtime's table of exponentials, in float32, and their sum in order."""
    (x,) = operands
    axis, dims = node.int("axis") % x.type.rank, axes_of(x.type.rank)
    kept = [dim for place, dim in enumerate(dims) if place != axis]
    table = writer.table(_exponentials(node, x.type.shape[axis]), Tensor((256,), "f32"))
    top = writer.folded(x, {axis}, lowest(x.type.dtype), Body.maximum)
    share = float(np.floor(np.float32(1) / np.float32(node.float("y_scale"))))

    def power(b: Body, a: Scalar, m: Scalar) -> Scalar:
        below = b.sub(b.cast(a, "i64"), b.cast(m, "i64"))
        return b.at(table, [b.cast(b.add(below, b.like(255, below)), "index")])

    def ended(b: Body, a: Scalar, t: Scalar) -> Scalar:
        whole = b.math("roundeven", b.div(b.mul(a, b.like(share, a)), t))
        moved = b.add(whole, b.like(node.int("y_zero_point"), whole))
        return saturated(b, moved, x.type.dtype)

    real = Tensor(x.type.shape, "f32")
    powers = writer.placed(real, power, [(x, dims), (top, kept)])
    total = writer.folded(powers, {axis}, 0, Body.add)
    return writer.placed(x.type, ended, [(powers, dims), (total, kept)])


def _exponentials(node: Node, size: int) -> Sequence[float]:
    """Of -255 to 0 steps below the largest, raised as far as the sum allows."""
    scale = float(np.float32(node.float("x_scale")))
    room = np.log(np.float64(np.finfo(np.float32).max / np.float32(size)))
    raised = max(0.0, float(room) - RESERVE) / scale
    numbers: list[float] = np.exp((np.arange(256.0) - 255 + raised) * scale).tolist()
    return numbers


def lower_matmul(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``sum_k (x - x_zero_point) (w - w_zero_point) + bias``."""
    x, w, *bias = operands
    y = tensor_of(node.result)
    product = matrix_product(writer, x, w, y, _term_of(node, y.dtype))
    return with_bias(writer, product, bias, -1)


def lower_conv2d(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """The padding counts as ``x == x_zero_point``."""
    x, w, *bias = operands
    y = tensor_of(node.result)
    fill = node.int("x_zero_point")
    summed = correlation(writer, node, x, w, y, _term_of(node, y.dtype), fill)
    return with_bias(writer, summed, bias, 1)


def lower_matmul_integer(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """The operands less their zero points first, one for all, per row or per column."""
    a, b, *zeros = operands
    y = tensor_of(node.result)
    if zeros and zeros[0].type.rank == 1:
        zeros[0] = writer.reshaped(zeros[0], (*zeros[0].type.shape, 1))
    a = _without_zero(writer, a, zeros[:1], y.dtype)
    b = _without_zero(writer, b, zeros[1:], y.dtype)
    return matrix_product(writer, a, b, y, _product)


def lower_conv_integer(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """The operands less their zero points first; so the padding is 0."""
    x, w, *zeros = operands
    y = tensor_of(node.result)
    if len(zeros) == 2 and zeros[1].type.rank == 1:
        zeros[1] = writer.reshaped(zeros[1], (*zeros[1].type.shape, 1, 1, 1))
    x = _without_zero(writer, x, zeros[:1], y.dtype)
    w = _without_zero(writer, w, zeros[1:], y.dtype)
    return correlation(writer, node, x, w, y, _product, 0)


def lower_average_pool2d(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """A float32 sum in row-major order, then ``sat(rint(s / n / y_scale + y_zero_point))``."""
    (x,), y = operands, tensor_of(node.result)

    def real(b: Body, a: Scalar) -> Scalar:
        steps = b.cast(_centred(b, a, node.int("x_zero_point"), "i32"), "f32")
        return b.mul(steps, b.like(parameter(node, "x_scale"), steps))

    def ended(b: Body, total: Scalar, n: Scalar) -> Scalar:
        mean = b.div(b.div(total, n), b.like(parameter(node, "y_scale"), total))
        moved = b.add(mean, b.like(node.int("y_zero_point"), mean))
        return saturated(b, b.math("roundeven", moved), y.dtype)

    held = writer.elementwise(Tensor(x.type.shape, "f32"), real, x)
    total = pooled(writer, node, held, 0, Body.add)
    return divided(writer, node, total, ended, y)


def lower_global_average_pool(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``sat(rint(f32(S) * f32(x_scale / f32(y_scale * H W))) + y_zero_point)``."""
    (x,), y = operands, tensor_of(node.result)
    size = np.float32(prod(x.type.shape[2:]))
    scale = np.float32(node.float("x_scale")) / (np.float32(node.float("y_scale")) * size)

    def step(b: Body, total: Scalar, a: Scalar) -> Scalar:
        return b.add(total, _centred(b, a, node.int("x_zero_point"), "i64"))

    def ended(b: Body, total: Scalar) -> Scalar:
        real = b.cast(total, "f32")
        steps = b.math("roundeven", b.mul(real, b.like(float(scale), real)))
        return saturated(b, b.add(steps, b.like(node.int("y_zero_point"), steps)), y.dtype)

    total = writer.folded(x, (2, 3), 0, step, "i64")
    mean = writer.elementwise(Tensor(total.type.shape, y.dtype), ended, total)
    return writer.reshaped(mean, y.shape)


def _centred(b: Body, x: Scalar, zero_point: int, dtype: str) -> Scalar:
    return centred(b, x, b.number(zero_point, dtype), dtype)


def _without_zero(writer: Writer, x: Held, zeros: list[Held], dtype: str) -> Held:
    wide = Tensor(x.type.shape, dtype)
    if not zeros:
        return writer.cast(x, dtype)
    return writer.elementwise(wide, lambda b, a, z: centred(b, a, z, dtype), x, zeros[0])


def _product(b: Body, x: Scalar, w: Scalar) -> Scalar:
    return b.mul(x, w)


def _term_of(node: Node, dtype: str) -> Term:
    zeros = node.int("x_zero_point"), node.int("w_zero_point")

    def term(b: Body, x: Scalar, w: Scalar) -> Scalar:
        return b.mul(_centred(b, x, zeros[0], dtype), _centred(b, w, zeros[1], dtype))

    return term
