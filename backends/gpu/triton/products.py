"""Matrix products and convolutions in Triton: one tile of the output per program instance."""

from __future__ import annotations

from tetrapla.backends.gpu.triton.code import Frame, steps
from tetrapla.backends.gpu.triton.dots import dot, nothing
from tetrapla.backends.gpu.triton.steps import (
    TYPES,
    Writer,
    affine,
    cast,
    offset_text,
    quotient,
)
from tetrapla.simulators.gpu.kernels import Conv, MatMul, Product


def product(kernel: Product, write: Writer) -> None:
    """Write a product: indices, the k loop, zero points, steps, store."""
    _, m, n, k = kernel.problem
    tile = kernel.tile
    write(
        f"row = tl.program_id(0) * {tile.m} + tl.arange(0, {tile.m})",
        f"column = tl.program_id(1) * {tile.n} + tl.arange(0, {tile.n})",
    )
    if isinstance(kernel, Conv):
        _conv_rows(kernel, write)
    elif isinstance(kernel, MatMul):
        _matmul_starts(kernel, write)
    integer = kernel.operand == "i8"
    kind = "tl.int32" if integer else "tl.float32"
    za, zb = _zero_points(kernel, write)
    summed = za and not kernel.shift
    write(f"y = tl.zeros(({tile.m}, {tile.n}), {kind})")
    if summed:
        write(f"b_sum = tl.zeros(({tile.n},), tl.int32)")
    if zb:
        write(f"a_sum = tl.zeros(({tile.m},), tl.int32)")
    write(f"for start in range(0, {k}, {tile.k}):")
    write.indent += 1
    write(f"step = start + tl.arange(0, {tile.k})")
    if isinstance(kernel, Conv):
        _conv_loads(kernel, write)
    elif isinstance(kernel, MatMul):
        _matmul_loads(kernel, write)
    if zb:
        write(f"a = tl.where(step[None, :] < {k}, a, 0).to(tl.int8)")
    write(*dot(kernel))
    if summed:
        write("b_sum += tl.sum(b.to(tl.int32), axis=0)")
    if zb:
        write("a_sum += tl.sum(a.to(tl.int32), axis=1)")
    write.indent -= 1
    _zero_point_terms(kernel, write, za, zb)
    write(
        f"in_row = row[:, None] < {m}",
        f"in_column = column[None, :] < {n}",
        "inside = in_row & in_column",
    )
    _finish(kernel, write, "i32" if integer else "f32")


def _matmul_starts(kernel: MatMul, write: Writer) -> None:
    """Where the operands of product z begin; nothing where there is one product."""
    if not kernel.lead:
        return
    write("z = tl.program_id(2)")
    for name, view in (("a", kernel.a_view), ("b", kernel.b_view), ("y", kernel.y_view)):
        write(f"{name}_start = {offset_text('z', kernel.lead, view[:-2])}")


def _placed(
    kernel: MatMul, name: str, view: tuple[int, ...], at: tuple[str, str], offset: int = 0
) -> str:
    """The address of a row and a column of an operand, or of the result."""
    places = zip((f"{at[0]}[:, None]", f"{at[1]}[None, :]"), view[-2:], strict=True)
    terms = [affine(text, stride) for text, stride in places]
    start = [f"{name}_start"] if kernel.lead else []
    return " + ".join([*([str(offset)] if offset else []), *start, *terms])


def _matmul_loads(kernel: MatMul, write: Writer) -> None:
    a = _placed(kernel, "a", kernel.a_view, ("row", "step"), kernel.a_offset)
    b = _placed(kernel, "b", kernel.b_view, ("step", "column"), kernel.b_offset)
    in_a = f"(row[:, None] < {kernel.m}) & (step[None, :] < {kernel.k})"
    in_b = f"(step[:, None] < {kernel.k}) & (column[None, :] < {kernel.n})"
    write(f"in_a = {in_a}", f"in_b = {in_b}")
    _load(kernel, write, "a", kernel.a, a, 0)
    _load(kernel, write, "b", kernel.b, b, 0)


def _conv_rows(kernel: Conv, write: Writer) -> None:
    out_h, out_w = kernel.out
    if kernel.groups > 1:
        write("group = tl.program_id(2)")
    write(
        f"image = {quotient('row', out_h * out_w)}",
        f"p = {quotient('row', out_w, out_h)}",
        f"q = row % {out_w}",
    )


def _conv_loads(kernel: Conv, write: Writer) -> None:
    groups, m, n, k = kernel.problem
    _, channels, height, width = kernel.shape
    kernel_h, kernel_w = kernel.kernel
    top, left, _, _ = kernel.pads
    c = _in_group("c", channels // groups, groups)
    write(
        f"c = {quotient('step', kernel_h * kernel_w)}",
        f"r = {quotient('step', kernel_w, kernel_h)}",
        f"s = step % {kernel_w}",
        f"top = {affine('p', kernel.strides[0], -top)}",
        f"left = {affine('q', kernel.strides[1], -left)}",
        f"h = top[:, None] + {_across(affine('r', kernel.dilations[0]))}",
        f"w = left[:, None] + {_across(affine('s', kernel.dilations[1]))}",
        f"plane = {_down(affine('image', channels))} + {_across(c)}",
        f"in_a = (row[:, None] < {m}) & (step[None, :] < {k})",
        f"in_a = in_a & (h >= 0) & (h < {height}) & (w >= 0) & (w < {width})",
        f"in_b = (step[:, None] < {k}) & (column[None, :] < {n})",
    )
    # the padding holds the zero point
    x = f"(plane * {height} + h) * {width} + w"
    _load(kernel, write, "a", kernel.a, x, kernel.a_zero_point)
    filters = f"{_across(_in_group('column', n, groups))} * {k} + step[:, None]"
    _load(kernel, write, "b", kernel.b, filters, 0)


def _load(
    kernel: Product, write: Writer, name: str, buffer: str, offset: str, other: int
) -> None:
    """Load an operand in the type that the multipliers take; uint8 is moved down by 128."""
    held = write.dtypes[buffer]
    filled = nothing(held, other)
    text = f"tl.load({write.pointers[buffer]} + {offset}, mask=in_{name}, other={filled})"
    if held == "ui8":
        text = f"({text}.to(tl.int32) - 128)"
        if name == "b":
            text = f"tl.where(in_b, {text}, 0)"
    wanted = TYPES["f32" if kernel.operand == "tf32" else kernel.operand]
    made = cast(text, kernel.operand) if kernel.operand in TYPES else f"{text}.to({wanted})"
    write(f"{name} = {text}" if TYPES[held] == wanted else f"{name} = {made}")


def _zero_points(kernel: Product, write: Writer) -> tuple[int, int]:
    """The zero points of the operands as multiplied, uint8 moved down by 128."""
    if kernel.operand != "i8":
        return 0, 0
    za, zb = kernel.a_zero_point, kernel.b_zero_point
    down = [128 if write.dtypes[name] == "ui8" else 0 for name in (kernel.a, kernel.b)]
    return za - down[0], zb - down[1]


def _zero_point_terms(kernel: Product, write: Writer, za: int, zb: int) -> None:
    """``sum (a - za)(b - zb) = sum ab - za sum b - zb sum a + k za zb``, modulo 2^32.

    The terms with za are known beforehand where the kernel has a shift.
    """
    _, _, n, k = kernel.problem
    if kernel.shift:
        groups = kernel.groups if isinstance(kernel, Conv) else 1
        offset = _in_group("column", n, groups)
        load = f"tl.load({write.pointers[kernel.shift]} + {offset}, mask=column < {n}, other=0)"
        write(f"y = y + {load}[None, :]")
    elif za:
        write(f"y = y - b_sum[None, :] * {za}")
    if zb:
        write(f"y = y - a_sum[:, None] * {zb}")
    if za and zb and not kernel.shift:
        constant = (k * za * zb + 2**31) % 2**32 - 2**31
        write(f"y = y + {constant}")


def _finish(kernel: Product, write: Writer, register: str) -> None:
    _, _, n, _ = kernel.problem
    if isinstance(kernel, Conv):
        pixels = kernel.out[0] * kernel.out[1]
        channel = _across(_in_group("column", n, kernel.groups))
        write(f"plane = {_down(affine('image', kernel.filters))} + {channel}")
        offset = f"plane * {pixels} + (p * {kernel.out[1]} + q)[:, None]"
        rows = "row[:, None]"
    else:
        assert isinstance(kernel, MatMul)
        channel = "column[None, :]"
        rows = f"(z * {kernel.m} + row)[:, None]" if kernel.lead else "row[:, None]"
        offset = _placed(kernel, "y", kernel.y_view, ("row", "column"))
    frame = Frame(True, rows, channel, "in_row", "in_column")
    register = steps(kernel.steps, write, channel, "in_column", register, frame)
    write.store(kernel.output, offset, "inside", register)


def _in_group(index: str, size: int, groups: int) -> str:
    """A channel's number among all groups'."""
    return index if groups == 1 else f"group * {size} + {index}"


def _across(text: str) -> str:
    """A vector along the columns of a tile."""
    return f"{text}[None, :]" if text.isidentifier() else f"({text})[None, :]"


def _down(text: str) -> str:
    """A vector along the rows of a tile."""
    return f"{text}[:, None]" if text.isidentifier() else f"({text})[:, None]"
