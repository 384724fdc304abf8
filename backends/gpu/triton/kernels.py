"""One Triton function per kernel, its extents written out, after `simulators.gpu.values`."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from tetrapla.backends.gpu.generated.expressions import LONGEST
from tetrapla.backends.gpu.text import affine
from tetrapla.backends.gpu.tiles import power_of_two
from tetrapla.backends.gpu.triton import depthwise
from tetrapla.backends.gpu.triton.attention import attention
from tetrapla.backends.gpu.triton.code import Frame, expression, steps
from tetrapla.backends.gpu.triton.long_rows import long_rows
from tetrapla.backends.gpu.triton.products import product
from tetrapla.backends.gpu.triton.recurrent import recurrent
from tetrapla.backends.gpu.triton.steps import integers
from tetrapla.backends.gpu.triton.text import (
    REGISTERS,
    TYPES,
    Writer,
    number,
    offset_text,
    quotient,
)
from tetrapla.ir.quant.arithmetic import sum_terms
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import (
    Binary,
    Conv,
    Expression,
    Gather,
    GlobalPool,
    Kernel,
    MatMul,
    Pointwise,
    Pool,
    Softmax,
)
from tetrapla.simulators.gpu.recurrent import Recurrent
from tetrapla.simulators.gpu.steps import RANGES


def body(kernel: Kernel, write: Writer) -> None:
    """Write a kernel's lines."""
    _BODIES[type(kernel)](kernel, write)


def grid(kernel: Kernel) -> tuple[int, int, int]:
    """Program instances of a launch."""
    match kernel:
        case Conv() if kernel.is_depthwise:
            return depthwise.grid(kernel)
        case MatMul() | Conv() | FusedAttention() | Recurrent():
            return kernel.grid
        case Softmax():
            return -(-kernel.rows // kernel.block), 1, 1
        case GlobalPool():
            return -(-kernel.planes // kernel.block), 1, 1
        case Pool():
            return -(-kernel.planes * prod(kernel.out) // kernel.block), 1, 1
        case Pointwise():
            return -(-kernel.elements // kernel.block), 1, 1
        case Expression():
            return -(-kernel.rows // kernel.block), 1, 1
        case Binary() | Gather():
            return -(-prod(kernel.shape) // kernel.block), 1, 1
        case _:
            raise AssertionError(type(kernel).__name__)


def _pool(kernel: Pool, write: Writer) -> None:
    (height, width), (out_h, out_w) = kernel.size, kernel.out
    top, left, bottom, right = kernel.pads
    register = "f32" if kernel.function != "max" else REGISTERS[write.dtypes[kernel.x]]
    start = {"f32": 'float("-inf")', "i32": "-2147483648"}[register]
    if kernel.function != "max":
        start = "0.0"
    _indices(write, kernel.block, kernel.planes * out_h * out_w)
    beside = kernel.beside
    write(
        f"plane = {quotient('index', out_h * out_w * beside)}",
        f"p = {quotient('index', out_w * beside, out_h)}",
        f"q = {quotient('index', beside, out_w)}",
        f"y = tl.full(({kernel.block},), {start}, {TYPES[register]})",
    )
    if kernel.function != "max":
        write(f"count = tl.zeros(({kernel.block},), tl.float32)")
    write(f"for r in range({kernel.kernel[0]}):")
    write(f"    for s in range({kernel.kernel[1]}):")
    write.indent += 2
    write(
        f"h = {affine('p', kernel.strides[0], -top)} + {affine('r', kernel.dilations[0])}",
        f"w = {affine('q', kernel.strides[1], -left)} + {affine('s', kernel.dilations[1])}",
        f"image = inside & (h >= 0) & (h < {height}) & (w >= 0) & (w < {width})",
        f"x = {write.load(kernel.x, _pixel(kernel), 'image')}",
    )
    if kernel.function == "max":
        nan = "" if register == "i32" else ", propagate_nan=tl.PropagateNan.ALL"
        write(f"y = tl.maximum(y, tl.where(image, x, {start}){nan})")
    else:
        _average_term(kernel, write, height + bottom, width + right)
    write.indent -= 2
    if kernel.function != "max":
        write("y = tl.div_rn(y, count)")
    if kernel.function == "quant_average":
        # the zero point enters before the rounding
        write(f"y = tl.div_rn(y, {_full(write, kernel.block, kernel.scales[1])})")
        write(f"y = y + {float(kernel.zero_points[1])}")
        register = _saturate(write, write.dtypes[kernel.x])
    _finish(kernel, write, register)


def _pixel(kernel: Pool) -> str:
    """The address of row h, column w of a plane, or of one of those beside each other."""
    height, width = kernel.size
    pixel = f"(plane * {height} + h) * {width} + w"
    beside = kernel.beside
    return pixel if beside == 1 else f"({pixel}) * {beside} + index % {beside}"


def _average_term(kernel: Pool, write: Writer, bottom: int, right: int) -> None:
    if kernel.function == "quant_average":
        real = f"(x - {kernel.zero_points[0]}).to(tl.float32) * {number(kernel.scales[0])}"
        write(f"x = {real}")
    write("y = y + tl.where(image, x, 0.0)")
    counted = f"(h < {bottom}) & (w < {right})" if kernel.count_include_pad else "image"
    write(f"count = count + tl.where({counted}, 1.0, 0.0)")


def _global_pool(kernel: GlobalPool, write: Writer) -> None:
    lanes = power_of_two(kernel.size)
    write(
        f"index = {write.program(0)} * {kernel.block} + tl.arange(0, {kernel.block})",
        f"inside = index < {kernel.planes}",
        f"lane = tl.arange(0, {lanes})",
        f"held = inside[:, None] & (lane[None, :] < {kernel.size})",
    )
    offset = f"index[:, None] * {kernel.size} + lane[None, :]"
    if kernel.beside > 1:
        beside = kernel.beside
        plane = f"index // {beside} * {kernel.size * beside} + index % {beside}"
        offset = f"({plane})[:, None] + lane[None, :] * {beside}"
    write(f"x = {write.load(kernel.x, offset, 'held')}")
    if kernel.function == "average":
        write("y = tl.sum(tl.where(held, x, 0.0), axis=1)")
        write(f"y = tl.div_rn(y, {_full(write, kernel.block, kernel.size)})")
        _finish(kernel, write, "f32")
        return
    x_scale, y_scale = (np.float32(scale) for scale in kernel.scales)
    scale = x_scale / (y_scale * np.float32(kernel.size))
    low, high = RANGES[write.dtypes[kernel.x]]
    zero = kernel.zero_points[1]
    write(
        f"y = tl.sum(tl.where(held, x - {kernel.zero_points[0]}, 0), axis=1)",
        f"y = y.to(tl.float32) * {number(float(scale))}",
        integers(zero, low, high),
    )
    _finish(kernel, write, "i32")


def _softmax(kernel: Softmax, write: Writer) -> None:
    lanes = power_of_two(kernel.length)
    write(
        f"row = {write.program(0)} * {kernel.block} + tl.arange(0, {kernel.block})",
        f"lane = tl.arange(0, {lanes})",
        f"inside = (row[:, None] < {kernel.rows}) & (lane[None, :] < {kernel.length})",
    )
    if kernel.stride == 1:
        write(f"index = row[:, None] * {kernel.length} + lane[None, :]")
    else:
        plane = kernel.length * kernel.stride
        write(
            f"start = row // {kernel.stride} * {plane} + row % {kernel.stride}",
            f"index = start[:, None] + lane[None, :] * {kernel.stride}",
        )
    write(
        f"x = {write.load(kernel.x, 'index', 'inside')}",
        'x = tl.where(inside, x, float("-inf"))',
        f"x = tl.where(row[:, None] < {kernel.rows}, x, 0.0)",
        "power = tl.exp(x - tl.max(x, axis=1)[:, None])",
        "y = power / tl.sum(power, axis=1)[:, None]",
    )
    _finish(kernel, write, "f32")


def _pointwise(kernel: Pointwise, write: Writer) -> None:
    _indices(write, kernel.block, kernel.elements)
    write(f"y = {write.load(kernel.x, 'index', 'inside')}")
    _finish(kernel, write, REGISTERS[write.dtypes[kernel.x]])


def _binary(kernel: Binary, write: Writer) -> None:
    _indices(write, kernel.block, prod(kernel.shape))
    a = offset_text("index", kernel.shape, kernel.a_strides)
    b = offset_text("index", kernel.shape, kernel.b_strides)
    write(
        f"a = {write.load(kernel.a, a, 'inside')}", f"b = {write.load(kernel.b, b, 'inside')}"
    )
    register = REGISTERS[write.dtypes[kernel.a]]
    if kernel.function == "quant_add":
        terms = sum_terms(kernel.scales, kernel.zero_points)
        full = [_full(write, kernel.block, float(value)) for value in terms]
        write(
            f"y = tl.fma(b.to(tl.float32), {full[1]}, {full[2]})",
            f"y = tl.fma(a.to(tl.float32), {full[0]}, y)",
        )
        register = _saturate(write, write.dtypes[kernel.a])
    else:
        write("y = a + b" if kernel.function == "add" else "y = a * b")
    _finish(kernel, write, register)


def _gather(kernel: Gather, write: Writer) -> None:
    _indices(write, kernel.block, prod(kernel.shape))
    offset = offset_text("index", kernel.shape, kernel.strides)
    write(f"y = {write.load(kernel.x, offset, 'inside')}")
    _finish(kernel, write, REGISTERS[write.dtypes[kernel.x]])


def _indices(write: Writer, block: int, elements: int) -> None:
    write(
        f"index = {write.program(0)} * {block} + tl.arange(0, {block})",
        f"inside = index < {elements}",
    )


def _finish(kernel: Kernel, write: Writer, register: str) -> None:
    """The steps and the store of a kernel whose output position is `index`."""
    channel = f"({quotient('index', kernel.inner, kernel.channels)})"
    frame = Frame(False, "index", "", "inside", "")
    register = steps(kernel.steps, write, channel, "inside", register, frame)
    write.store(kernel.output, "index", "inside", register)


def _saturate(write: Writer, dtype: str) -> str:
    low, high = RANGES[dtype]
    write(integers(0, low, high))
    return "i32"


def _full(write: Writer, block: int, value: float) -> str:
    """A vector of one float32 constant: some functions take tensors alone."""
    return f"tl.full(({block},), {number(value)}, tl.float32)"


def _generated(kernel: Expression, write: Writer) -> None:
    (long_rows if kernel.length > LONGEST else expression)(kernel, write)


_BODIES: dict[type[Kernel], Callable[..., None]] = {
    MatMul: product,
    Conv: product,
    Pool: _pool,
    GlobalPool: _global_pool,
    Softmax: _softmax,
    Pointwise: _pointwise,
    Binary: _binary,
    Gather: _gather,
    Expression: _generated,
    FusedAttention: attention,
    Recurrent: recurrent,
}
