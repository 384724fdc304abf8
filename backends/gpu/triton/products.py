"""Matrix products and convolutions in Triton: one tile of the output per program instance."""

from __future__ import annotations

from tetrapla.backends.gpu.text import affine
from tetrapla.backends.gpu.triton import convolution
from tetrapla.backends.gpu.triton.code import Frame, steps
from tetrapla.backends.gpu.triton.depthwise import depthwise
from tetrapla.backends.gpu.triton.dots import dot
from tetrapla.backends.gpu.triton.loading import across, load, masks, zero_points
from tetrapla.backends.gpu.triton.text import Writer, offset_text
from tetrapla.simulators.gpu.kernels import Conv, MatMul, Product
from tetrapla.simulators.gpu.sparse import GROUP, KEPT, PACKED


def product(kernel: Product, write: Writer) -> None:
    """Write a product: indices, the k loop, zero points, steps, store."""
    integer = kernel.operand == "i8"
    if isinstance(kernel, Conv) and kernel.is_depthwise:
        depthwise(kernel, write)
    else:
        _tiled(kernel, write, integer)
    _finish(kernel, write, "i32" if integer else "f32")


def _tiled(kernel: Product, write: Writer, integer: bool) -> None:
    """Everything up to the steps; `y` holds the sums of a tile."""
    _, m, n, k = kernel.problem
    tile = kernel.tile
    _places(kernel, write)
    if isinstance(kernel, Conv):
        convolution.rows(kernel, write)
    elif isinstance(kernel, MatMul):
        _matmul_starts(kernel, write)
    kind = "tl.int32" if integer else "tl.float32"
    za, zb = zero_points(kernel, write.dtypes)
    summed = za and not kernel.shift
    write(f"y = tl.zeros(({tile.m}, {tile.n}), {kind})")
    if summed:
        write(f"b_sum = tl.zeros(({tile.n},), tl.int32)")
    if zb:
        write(f"a_sum = tl.zeros(({tile.m},), tl.int32)")
    write(f"for start in range(0, {k}, {tile.k}):")
    write.indent += 1
    step = f"start + tl.arange(0, {tile.k})"
    write(f"step = ({step}).to(tl.int64)" if write.wide else f"step = {step}")
    if isinstance(kernel, Conv):
        convolution.loads(kernel, write)
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


# tiles of m in a group that a wave of program instances shares; with more, columns of tiles
# would be read again from memory before their rows are through (assumed, Triton's tutorial 3)
TOGETHER = 8


def _places(kernel: Product, write: Writer) -> None:
    """The rows and columns of the tile; of many tiles, neighbours share what they read."""
    tiles_m, tiles_n, _ = kernel.grid
    tile = kernel.tile
    down, right = write.program(0), write.program(1)
    if tiles_m > TOGETHER and tiles_n > 1:
        write(
            f"place = {down} + {right} * {tiles_m}",
            f"first = place // {TOGETHER * tiles_n} * {TOGETHER}",
            f"high = tl.minimum({tiles_m} - first, {TOGETHER})",
            f"place = place % {TOGETHER * tiles_n}",
        )
        down, right = "(first + place % high)", "(place // high)"
    write(
        f"row = {down} * {tile.m} + tl.arange(0, {tile.m})",
        f"column = {right} * {tile.n} + tl.arange(0, {tile.n})",
    )


def _matmul_starts(kernel: MatMul, write: Writer) -> None:
    """Where the operands of product z begin; nothing where there is one product."""
    if not kernel.lead:
        return
    write(f"z = {write.program(2)}")
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
    in_a, in_b = masks(kernel)
    for name, mask in (("a", in_a), ("b", in_b)):
        if mask:
            write(f"in_{name} = {mask}")
    if kernel.places:
        b, in_b = _unpacked(kernel, write, in_b and "in_b")
    load(kernel, write, "a", kernel.a, a, in_a and "in_a", 0)
    load(kernel, write, "b", kernel.b, b, in_b and "in_b", 0)


def _unpacked(kernel: MatMul, write: Writer, mask: str) -> tuple[str, str]:
    """The address and the mask of what a packed matrix has kept (`simulators.gpu.sparse`)."""
    byte = f"column[None, :] * {kernel.k // PACKED} + step[:, None] // {PACKED}"
    masked = f", mask={mask}, other=0" if mask else ""
    write(
        f"slot = tl.load({write.pointers[kernel.places]} + {byte}{masked}).to(tl.int32)",
        f"slot = slot >> (step[:, None] // {GROUP} % 2 * 4)",
        f"is_first = (slot & 3) == step[:, None] % {GROUP}",
        f"is_second = (slot >> 2 & 3) == step[:, None] % {GROUP}",
        f"in_b = {mask + ' & ' if mask else ''}(is_first | is_second)",
    )
    pair = f"column[None, :] * {kernel.k // KEPT} + step[:, None] // {GROUP} * {KEPT}"
    return f"{pair} + tl.where(is_first, 0, 1)", "in_b"


def _zero_point_terms(kernel: Product, write: Writer, za: int, zb: int) -> None:
    """``sum (a - za)(b - zb) = sum ab - za sum b - zb sum a + k za zb``, modulo 2^32.

    The terms with za are known beforehand where the kernel has a shift.
    """
    _, _, n, k = kernel.problem
    if kernel.shift:
        offset = convolution.number(kernel, n) if isinstance(kernel, Conv) else "column"
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
        channel = across(convolution.number(kernel, n))
        offset = convolution.place(kernel)
        rows = "row[:, None]"
    else:
        assert isinstance(kernel, MatMul)
        channel = "column[None, :]"
        rows = f"(z * {kernel.m} + row)[:, None]" if kernel.lead else "row[:, None]"
        offset = _placed(kernel, "y", kernel.y_view, ("row", "column"))
    frame = Frame(True, rows, channel, "in_row", "in_column")
    register = steps(kernel.steps, write, channel, "in_column", register, frame)
    write.store(kernel.output, offset, "inside", register)
