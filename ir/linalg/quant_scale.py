"""Between floats and quantised values: one scale, one per axis, one per block, or computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.element import highest, is_float, lowest
from tetrapla.ir.linalg.reduce import magnitude
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, axes_of, tensor_of
from tetrapla.ir.op import Tensor
from tetrapla.ir.quant.blocks import MX_INT8_RANGE, MX_INT8_STEP
from tetrapla.ir.quant.small import E8M0, E8M0_RANGE, FORMATS


def saturated(b: Body, x: Scalar, dtype: str) -> Scalar:
    """A whole float in an integer type; NaN becomes the type's minimum."""
    low, high = b.like(lowest(dtype), x), b.like(highest(dtype), x)
    known = b.select(b.is_nan(x), low, x)
    return b.cast(b.minimum(b.maximum(known, low), high), dtype)


def stored(b: Body, steps: Scalar, zero_point: Scalar, dtype: str) -> Scalar:
    """Float32 steps as a quantised type: rounded, moved by a zero point in f64, saturated."""
    if is_float(dtype):
        return b.cast(steps, dtype)
    whole = b.cast(b.math("roundeven", steps), "f64")
    return saturated(b, b.add(whole, b.cast(zero_point, "f64")), dtype)


def centred(b: Body, x: Scalar, zero_point: Scalar, dtype: str) -> Scalar:
    """``x - zero_point`` in an integer type that holds it, or in f32 for a small float."""
    if is_float(x.dtype):
        return b.cast(x, "f32")
    return b.sub(b.cast(x, dtype), b.cast(zero_point, dtype))


def lower_quantize(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``sat(rint(x / scale) + zero_point)``."""
    x, scale = operands
    y = tensor_of(node.result)

    def steps(b: Body, a: Scalar, s: Scalar) -> Scalar:
        zero_point = b.number(node.int("zero_point"), "i32")
        return stored(b, b.div(a, s), zero_point, y.dtype)

    placed = [(x, axes_of(x.type.rank)), (scale, along(scale, x, node.int("axis")))]
    return writer.placed(y, steps, placed)


def lower_dequantize(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``f32(q - zero_point) * scale``."""
    q, scale = operands

    def real(b: Body, a: Scalar, s: Scalar) -> Scalar:
        steps = centred(b, a, b.number(node.int("zero_point"), "i64"), "i64")
        return b.mul(b.cast(steps, "f32"), s)

    placed = [(q, axes_of(q.type.rank)), (scale, along(scale, q, node.int("axis")))]
    return writer.placed(tensor_of(node.result), real, placed)


def lower_requantize(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``rint(clamp(f32(acc) * scale, low - zero_point, high - zero_point)) + zero_point``."""
    acc, scale = operands
    y = tensor_of(node.result)
    zero_point = node.int("zero_point")

    def steps(b: Body, a: Scalar, s: Scalar) -> Scalar:
        scaled = b.mul(b.cast(a, "f32"), s)
        low, high = (b.like(node.int(k) - zero_point, scaled) for k in ("low", "high"))
        clamped = b.minimum(b.maximum(scaled, low), high)
        rounded = b.math("roundeven", clamped)
        return saturated(b, b.add(rounded, b.like(zero_point, rounded)), y.dtype)

    placed = [(acc, axes_of(acc.type.rank)), (scale, along(scale, acc, node.int("axis")))]
    return writer.placed(y, steps, placed)


def lower_dynamic_quantize(
    writer: Writer, node: Node, operands: list[Held]
) -> tuple[Held, Held, Held]:
    """The range of the values and 0 together gives scale and zero point."""
    (x,), (q, scale, zero) = operands, map(tensor_of, node.results)
    axes = range(x.type.rank)
    low = writer.folded(x, axes, 0, Body.minimum)
    high = writer.folded(x, axes, 0, Body.maximum)

    def step(b: Body, bottom: Scalar, top: Scalar) -> Scalar:
        span = b.sub(top, bottom)
        flat = b.compare("eq", span, b.like(0, span))
        return b.select(flat, b.like(1, span), b.div(span, b.like(255, span)))

    def place(b: Body, bottom: Scalar, s: Scalar) -> Scalar:
        return saturated(b, b.math("roundeven", b.div(b.negative(bottom), s)), zero.dtype)

    steps = writer.elementwise(scale, step, low, high)
    zeros = writer.elementwise(zero, place, low, steps)
    y = writer.elementwise(
        q, lambda b, a, s, z: stored(b, b.div(a, s), z, q.dtype), *(x, steps, zeros)
    )
    return y, steps, zeros


def lower_quantize_blocks(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``sat(rint(x / s) + z)``, s and z those of the element's block."""
    return quantized_blocks(
        writer, *operands, blocks=node.ints("blocks"), y=tensor_of(node.result)
    )


def quantized_blocks(
    writer: Writer, x: Held, scale: Held, *zeros: Held, blocks: Sequence[int], y: Tensor
) -> Held:
    """As `lower_quantize_blocks`; under an E8M0 scale i8 counts in 64ths."""

    def steps(b: Body, at: Sequence[Scalar]) -> Scalar:
        place = _block(b, at, blocks)
        ratio = b.div(b.at(x, at), b.cast(b.at(scale, place), "f32"))
        if _is_mx_int8(scale, y.dtype):
            near = b.math("roundeven", b.div(ratio, b.like(MX_INT8_STEP, ratio)))
            low, high = (b.like(bound, near) for bound in MX_INT8_RANGE)
            return saturated(b, b.minimum(b.maximum(near, low), high), y.dtype)
        zero = b.at(zeros[0], place) if zeros else b.number(0, "i32")
        return stored(b, ratio, zero, y.dtype)

    return writer.gathered(y, steps)


def lower_dequantize_blocks(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``f32(q - z) * s``, s and z those of the element's block."""
    return dequantized_blocks(writer, *operands, blocks=node.ints("blocks"))


def dequantized_blocks(
    writer: Writer, q: Held, scale: Held, *zeros: Held, blocks: Sequence[int]
) -> Held:
    """As `lower_dequantize_blocks`; under an E8M0 scale i8 counts in 64ths."""

    def real(b: Body, at: Sequence[Scalar]) -> Scalar:
        place = _block(b, at, blocks)
        zero = b.at(zeros[0], place) if zeros else b.number(0, "i64")
        steps = b.cast(centred(b, b.at(q, at), zero, "i64"), "f32")
        if _is_mx_int8(scale, q.type.dtype):
            steps = b.mul(steps, b.like(MX_INT8_STEP, steps))
        return b.mul(steps, b.cast(b.at(scale, place), "f32"))

    return writer.gathered(Tensor(q.type.shape, "f32"), real)


def lower_mx_quantize(writer: Writer, node: Node, operands: list[Held]) -> tuple[Held, Held]:
    """A block's scale is a power of two, of the exponent of its largest magnitude."""
    (x,), (q, scale) = operands, map(tensor_of, node.results)
    largest = FORMATS[q.dtype].e_max if q.dtype in FORMATS else 0
    least, most = E8M0_RANGE

    def code(b: Body, a: Scalar) -> Scalar:
        wide = b.cast(a, "f64")
        bits = b.emit(f"arith.bitcast {wide.name} : f64 to i64", "i64")
        # a magnitude has no sign, and every float32 is a normal float64; 0 has 0 for 1023 less
        power = b.bitwise("shrui", bits, b.like(52, bits))
        power = b.sub(power, b.like(1023 + largest, bits))
        held = b.minimum(b.maximum(power, b.like(least, bits)), b.like(most, bits))
        number = b.cast(b.sub(held, b.like(least, held)), "i32")
        finite = b.compare("lt", wide, b.like(np.inf, wide))
        known = b.select(finite, number, b.like(255, number))
        return b.emit(f"arith.trunci {known.name} : i32 to i8", E8M0)

    blocks = _along_axis(node, x)
    scales = writer.elementwise(scale, code, _maxima(writer, x, scale.shape, blocks))
    return quantized_blocks(writer, x, scales, blocks=blocks, y=q), scales


def lower_nvfp4_quantize(writer: Writer, node: Node, operands: list[Held]) -> tuple[Held, Held]:
    """Steps in float32: a block's scale, then the elements by scale and tensor scale."""
    (x, whole), (q, scale) = operands, map(tensor_of, node.results)
    blocks = _along_axis(node, x)
    top = writer.reshaped(whole, ())
    largest = FORMATS[q.dtype].largest

    def small(b: Body, a: Scalar, t: Scalar) -> Scalar:
        return b.cast(b.div(b.div(a, b.like(largest, a)), t), scale.dtype)

    def divisor(b: Body, s: Scalar, t: Scalar) -> Scalar:
        step = b.mul(b.cast(s, "f32"), t)
        nothing = b.compare("eq", step, b.like(0, step))
        return b.select(nothing, b.like(np.inf, step), step)

    maxima = _maxima(writer, x, scale.shape, blocks)
    scales = writer.elementwise(scale, small, maxima, top)
    steps = writer.elementwise(scale._replace(dtype="f32"), divisor, scales, top)
    return quantized_blocks(writer, x, steps, blocks=blocks, y=q), scales


def lower_nvfp4_dequantize(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``(q * scale) * tensor_scale``."""
    q, scale, whole = operands
    steps = dequantized_blocks(writer, q, scale, blocks=_along_axis(node, q))
    top = writer.reshaped(whole, ())
    return writer.elementwise(steps.type, Body.mul, steps, top)


def along(parameter: Held, x: Held, axis: int) -> list[str]:
    """Where the element of a parameter stands that is one, or one per index of the axis."""
    if parameter.type.shape == (1,):
        return ["0"]
    return [f"d{axis % x.type.rank}"]


def _along_axis(node: Node, x: Held) -> tuple[int, ...]:
    axis = node.int("axis") % x.type.rank
    return tuple(node.int("block_size") if place == axis else 1 for place in range(x.type.rank))


def _maxima(writer: Writer, x: Held, shape: tuple[int, ...], blocks: Sequence[int]) -> Held:
    """The largest magnitude of every block, of which one axis has several elements."""
    axis = next((i for i, block in enumerate(blocks) if block > 1), 0)
    block, size = blocks[axis], x.type.shape[axis]

    def largest(b: Body, at: Sequence[Scalar]) -> Scalar:
        def step(i: Scalar, held: Sequence[Scalar]) -> list[Scalar]:
            element = magnitude(b, b.at(x, [*at[:axis], i, *at[axis + 1 :]]))
            return [b.maximum(held[0], element)]

        first = b.affine(f"d0 * {block}", at[axis])
        behind = b.minimum(b.affine(f"d0 + {block}", first), b.number(size, "index"))
        return b.loop(first, behind, [b.number(0, x.type.dtype)], step)[0]

    return writer.gathered(Tensor(shape, x.type.dtype), largest)


def _block(b: Body, at: Sequence[Scalar], blocks: Sequence[int]) -> list[Scalar]:
    return [b.affine(f"d0 floordiv {size}", i) for i, size in zip(at, blocks, strict=True)]


def _is_mx_int8(scale: Held, dtype: str) -> bool:
    return scale.type.dtype == E8M0 and dtype == "i8"
