"""Matrix products and convolutions: a block makes one tile of the plan, k in the plan's order.

A block stages a slice of k of both operands in shared memory and every thread adds its own
outputs; float sums of a tile's k are made apart and then joined, as the plan does, which is
what the error bound counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tetrapla.backends.gpu.cuda.steps import Element, stepped
from tetrapla.backends.gpu.cuda.text import MEMORY, Writer, offset, quotient, whole
from tetrapla.backends.gpu.text import affine
from tetrapla.simulators.gpu.kernels import Conv, MatMul, Product
from tetrapla.simulators.gpu.sparse import GROUP, KEPT, PACKED

LARGEST = 128  # side of a block's tile; a larger one of the plan's is several blocks
MOST_OUTPUTS = 8  # of a thread, along each side of a tile
SLICE = 16  # words of shared memory along k: floats, or four int8 each


@dataclass(frozen=True)
class Block:
    """How the threads of a block share a tile of m x n outputs."""

    m: int
    n: int
    rows: int
    columns: int

    @property
    def threads(self) -> int:
        """Of the block."""
        return self.rows * self.columns

    @property
    def outputs(self) -> tuple[int, int]:
        """Of one thread: rows and columns, which lie `rows` and `columns` apart."""
        return -(-self.m // self.rows), -(-self.n // self.columns)


def block(kernel: Product) -> Block:
    """16 x 16 threads; the plan's tile, or a part of it that registers can hold."""
    m, n = (min(LARGEST, size) for size in (kernel.tile.m, kernel.tile.n))
    return Block(m, n, max(16, m // MOST_OUTPUTS), max(16, n // MOST_OUTPUTS))


def grid(kernel: Product) -> tuple[int, int, int]:
    """Blocks of a launch: tiles of m, tiles of n, independent products."""
    shared, (count, m, n, _) = block(kernel), kernel.problem
    return -(-m // shared.m), -(-n // shared.n), count


def product(kernel: Product, write: Writer) -> None:
    """Write a product: indices, the k loop, zero points, steps, store."""
    shared = block(kernel)
    integer = kernel.operand == "i8"
    word = "int" if integer else "float"
    up, across = shared.outputs
    height, width = up * shared.rows, across * shared.columns
    za, zb = _zero_points(kernel, write)
    write(
        # the odd stride keeps neighbours of a column in different banks
        f"__shared__ {word} a_tile[{SLICE}][{height + 1}];",
        f"__shared__ {word} b_tile[{SLICE}][{width + 1}];",
    )
    _place(kernel, shared, write)
    write(f"{word} y[{up}][{across}] = {{}};")
    if za:
        write(f"int b_sum[{across}] = {{}};")
    if zb:
        write(f"int a_sum[{up}] = {{}};")
    _sum(kernel, shared, write)
    _finish(kernel, shared, write)


def _place(kernel: Product, shared: Block, write: Writer) -> None:
    """Which tile this block makes, and which outputs of it this thread."""
    tiles_m, tiles_n, count = grid(kernel)
    # neighbours lie along what is contiguous in memory
    near, far = f"threadIdx.x % {shared.columns}", f"threadIdx.x / {shared.columns}"
    own_row, own_column = far, near
    if isinstance(kernel, Conv) and kernel.y_view[1] != 1:
        own_row, own_column = (
            f"threadIdx.x % {shared.rows}",
            f"threadIdx.x / {shared.rows}",
        )
    tile_m = f"blockIdx.x % {tiles_m} * {shared.m}" if tiles_m > 1 else "0"
    tile_n = f"{quotient('blockIdx.x', tiles_m, tiles_n)} * {shared.n}"
    write(
        f"const int first_row = {tile_m};",
        f"const int first_column = {tile_n if tiles_n > 1 else '0'};",
        f"const int own_row = {own_row}, own_column = {own_column};",
    )
    if count > 1:
        name = "group" if isinstance(kernel, Conv) else "z"
        write(f"const int {name} = {quotient('blockIdx.x', tiles_m * tiles_n)};")
    if isinstance(kernel, MatMul) and count > 1:
        for side, view in (("a", kernel.a_view), ("b", kernel.b_view), ("y", kernel.y_view)):
            start = offset("z", kernel.lead, view[:-2])
            write(f"const Index {side}_start = {start};")


def _sum(kernel: Product, shared: Block, write: Writer) -> None:
    """The loop over k."""
    _, _, _, k = kernel.problem
    up, across = shared.outputs
    if kernel.operand == "i8":
        write(f"for (int slice = 0; slice < {k}; slice += {4 * SLICE}) {{")
        _slice(kernel, shared, write, "y")
        write("}")
        return
    depth = -(-kernel.tile.k // SLICE) * SLICE
    outer = depth < k
    if outer:
        write(
            f"for (int start = 0; start < {k}; start += {depth}) {{",
            f"float part[{up}][{across}] = {{}};",
            f"const int end = start + {depth} < {k} ? start + {depth} : {k};",
            f"for (int slice = start; slice < end; slice += {SLICE}) {{",
        )
    else:
        write(f"for (int slice = 0; slice < {k}; slice += {SLICE}) {{")
    _slice(kernel, shared, write, "part" if outer else "y")
    write("}")
    if outer:
        _each_output(write, shared, "y[i][j] = add(y[i][j], part[i][j]);")
        write("}")


def _slice(kernel: Product, shared: Block, write: Writer, total: str) -> None:
    """Stage a slice of both operands, then multiply it."""
    up, across = shared.outputs
    za, zb = _zero_points(kernel, write)
    _stage(kernel, shared, write, "a")
    _stage(kernel, shared, write, "b")
    write("__syncthreads();")
    write("#pragma unroll 4", f"for (int k = 0; k < {SLICE}; k++) {{")
    word, ones = "float", ""
    if kernel.operand == "i8":
        word, ones = "int", "0x01010101"
    write(f"{word} a[{up}], b[{across}];")
    _each(write, up, f"a[i] = a_tile[k][own_row + i * {shared.rows}];")
    _each(write, across, f"b[i] = b_tile[k][own_column + i * {shared.columns}];")
    if za:
        _each(write, across, f"b_sum[i] = __dp4a(b[i], {ones}, b_sum[i]);")
    if zb:
        _each(write, up, f"a_sum[i] = __dp4a(a[i], {ones}, a_sum[i]);")
    join = "__dp4a" if ones else "__fmaf_rn"
    _each_output(write, shared, f"{total}[i][j] = {join}(a[i], b[j], {total}[i][j]);")
    write("}", "__syncthreads();")


def _each(write: Writer, count: int, line: str) -> None:
    write("#pragma unroll", f"for (int i = 0; i < {count}; i++) {line}")


def _each_output(write: Writer, shared: Block, line: str) -> None:
    up, across = shared.outputs
    write(
        "#pragma unroll",
        f"for (int i = 0; i < {up}; i++) {{",
        "#pragma unroll",
        f"for (int j = 0; j < {across}; j++) {line}",
        "}",
    )


def _stage(kernel: Product, shared: Block, write: Writer, side: str) -> None:
    """Copy a slice of an operand into shared memory; what lies outside is 0."""
    up, across = shared.outputs
    length = up * shared.rows if side == "a" else across * shared.columns
    along_k = _along_k(kernel, side)
    place, step = f"at / {SLICE}", f"at % {SLICE}"
    if not along_k:
        place, step = f"at % {length}", f"at / {length}"
    write(
        "#pragma unroll 2",  # addresses are long, and their code is once for each
        f"for (int at = threadIdx.x; at < {SLICE * length}; at += {shared.threads}) {{",
        f"const int {'row' if side == 'a' else 'column'} = "
        f"first_{'row' if side == 'a' else 'column'} + {place};",
    )
    target = f"{side}_tile[{step}][{place}]"
    if kernel.operand == "i8":
        write("int word = 0;", "for (int byte = 0; byte < 4; byte++) {")
        write(f"const int k = slice + {step} * 4 + byte;")
        _element(kernel, write, side)
        write("word |= (x & 255) << (8 * byte);", "}", f"{target} = word;")
    else:
        write(f"const int k = slice + {step};")
        _element(kernel, write, side)
        write(f"{target} = x;")
    write("}")


def _along_k(kernel: Product, side: str) -> bool:
    """Whether an operand is contiguous along k, where neighbours then read."""
    assert isinstance(kernel, (MatMul, Conv))
    if isinstance(kernel, MatMul):
        return kernel.a_view[-1] == 1 if side == "a" else kernel.b_view[-1] != 1
    return kernel.w_view[0] != 1 if side == "b" else kernel.x_view[1] == 1


def _element(kernel: Product, write: Writer, side: str) -> None:
    """Declare x, an operand's element at (row, k) or (k, column), as it is multiplied."""
    _, m, n, k = kernel.problem
    integer = kernel.operand == "i8"
    write(f"{'int' if integer else 'float'} x = {'0' if integer else '0.0f'};")
    extent, name = (m, "row") if side == "a" else (n, "column")
    write(f"if ({name} < {extent} && k < {k}) {{")
    buffer = kernel.a if side == "a" else kernel.b
    if isinstance(kernel, Conv) and side == "a":
        _patch(kernel, write)
    elif isinstance(kernel, MatMul) and side == "b" and kernel.places:
        _unpacked(kernel, write)
    else:
        write(f"x = {_multiplied(kernel, write, buffer, _address(kernel, side))};")
    write("}")


def _unpacked(kernel: MatMul, write: Writer) -> None:
    """An element of a packed matrix (`simulators.gpu.sparse`), where it is kept."""
    byte = write.load(kernel.places, f"(Index)column * {kernel.k // PACKED} + k / {PACKED}")
    pair = f"(Index)column * {kernel.k // KEPT} + k / {GROUP} * {KEPT} + (first ? 0 : 1)"
    write(
        f"const int place = {byte} >> (k / {GROUP} % 2 * 4);",
        f"const bool first = (place & 3) == k % {GROUP};",
        f"if (first || (place >> 2 & 3) == k % {GROUP}) {{",
        f"x = {_multiplied(kernel, write, kernel.b, pair)};",
        "}",
    )


def _address(kernel: Product, side: str) -> str:
    _, _, n, _ = kernel.problem
    if isinstance(kernel, Conv):
        filters = affine(f"(Index)({_in_group('column', n, kernel.groups)})", kernel.w_view[0])
        return f"{filters} + {_window(kernel, kernel.w_view[1:])}"
    assert isinstance(kernel, MatMul)
    if side == "a":
        return _placed(kernel, "a", kernel.a_view, ("row", "k"), kernel.a_offset)
    return _placed(kernel, "b", kernel.b_view, ("k", "column"), kernel.b_offset)


def _placed(
    kernel: MatMul, name: str, view: tuple[int, ...], at: tuple[str, str], before: int = 0
) -> str:
    """The address of a row and a column of an operand, or of the result."""
    pairs = zip(at, view[-2:], strict=True)
    terms = [affine(f"(Index){text}", stride) for text, stride in pairs if stride != 0]
    if kernel.problem[0] > 1:
        terms.insert(0, f"{name}_start")
    if before:
        terms.append(str(before))
    return " + ".join(terms) or "0"


def _strided(places: Sequence[str], strides: Sequence[int]) -> str:
    """The address of coordinates."""
    pairs = zip(places, strides, strict=True)
    return " + ".join(affine(f"(Index)({text})", stride) for text, stride in pairs)


def _window(kernel: Conv, strides: Sequence[int]) -> str:
    """The address of step k of the window: its row, its column, and innermost its channel."""
    own, (_, kernel_w) = kernel.shape[1] // kernel.groups, kernel.kernel
    places = (f"k % {own}", quotient("k", kernel_w * own), quotient("k", own, kernel_w))
    return _strided(places, strides)


def _patch(kernel: Conv, write: Writer) -> None:
    """An element of the image under the window; the padding holds the zero point."""
    _, channels, height, width = kernel.shape
    (_, kernel_w), (out_h, out_w) = kernel.kernel, kernel.out
    top, left, _, _ = kernel.pads
    own = channels // kernel.groups
    c = _in_group(f"k % {own}" if own > 1 else "0", own, kernel.groups)
    p, q = quotient("row", out_w, out_h), f"row % {out_w}"
    r, s = quotient("k", kernel_w * own), quotient("k", own, kernel_w)
    write(
        f"const int h = {affine(f'({p})', kernel.strides[0], -top)} + "
        f"{affine(f'({r})', kernel.dilations[0])};",
        f"const int w = {affine(f'({q})', kernel.strides[1], -left)} + "
        f"{affine(f'({s})', kernel.dilations[1])};",
    )
    inside = f"h >= 0 && h < {height} && w >= 0 && w < {width}"
    places = (quotient("row", out_h * out_w), c, "h", "w")
    found = _multiplied(kernel, write, kernel.a, _strided(places, kernel.x_view))
    padding = "0.0f"
    if kernel.operand == "i8":
        padding = whole(kernel.a_zero_point - _down(kernel.a, write))
    write(f"x = {inside} ? {found} : {padding};")


def _multiplied(kernel: Product, write: Writer, buffer: str, address: str) -> str:
    """An element in the type that is multiplied; uint8 is moved down by 128."""
    text, held = write.load(buffer, address), write.dtype(buffer)
    if held == "ui8":
        return f"{text} - 128"
    return rounded(kernel.operand, held, text)


def rounded(operand: str, held: str, text: str) -> str:
    """A float of a type as it enters the multipliers."""
    if operand in (held, "f32", "i8"):
        return text
    return f"to_tf32({text})" if operand == "tf32" else f"read(to_{MEMORY[operand]}({text}))"


def _zero_points(kernel: Product, write: Writer) -> tuple[int, int]:
    """The zero points of the operands as multiplied; that of a is 0 where a buffer has it."""
    if kernel.operand != "i8":
        return 0, 0
    za = 0 if kernel.shift else kernel.a_zero_point - _down(kernel.a, write)
    return za, kernel.b_zero_point - _down(kernel.b, write)


def _down(buffer: str, write: Writer) -> int:
    """By how much an operand is moved down to fit a signed byte."""
    return 128 if write.dtype(buffer) == "ui8" else 0


def _finish(kernel: Product, shared: Block, write: Writer) -> None:
    """Every output of the thread: zero points, steps, store."""
    _, m, n, _ = kernel.problem
    up, across = shared.outputs
    register = "int" if kernel.operand == "i8" else "float"
    # registers cannot be indexed by a loop, and the steps many times over would be long code
    write(f"{register} sum[{up}][{across}];")
    _each_output(write, shared, f"sum[i][j] = {_corrected(kernel, write)};")
    write(
        "#pragma unroll 1",
        f"for (int i = 0; i < {up}; i++) {{",
        "#pragma unroll 1",
        f"for (int j = 0; j < {across}; j++) {{",
        f"const int row = first_row + own_row + i * {shared.rows};",
        f"const int column = first_column + own_column + j * {shared.columns};",
        f"if (row >= {m} || column >= {n}) continue;",
    )
    if isinstance(kernel, Conv):
        pixels = kernel.out[0] * kernel.out[1]
        channel, rows = _in_group("column", n, kernel.groups), "row"
        out_h, out_w = kernel.out
        places = (quotient("row", pixels), channel, quotient("row", out_w, out_h))
        place = _strided((*places, f"row % {out_w}"), kernel.y_view)
    else:
        assert isinstance(kernel, MatMul)
        several = kernel.problem[0] > 1
        channel, rows = "column", f"z * {m} + row" if several else "row"
        place = _placed(kernel, "y", kernel.y_view, ("row", "column"))
    y0 = "sum[i][j]"
    if kernel.shift:
        y0 = f"add({y0}, {write.load(kernel.shift, channel)})"
    write(f"const {register} y0 = {y0};")
    at = Element(channel, rows, channel)
    write.store(kernel.output, place, stepped(kernel.steps, write, at, "y0", register))
    write("}", "}")


def _corrected(kernel: Product, write: Writer) -> str:
    """``sum (a - za)(b - zb) = sum ab - za sum b - zb sum a + k za zb``, modulo 2^32."""
    za, zb = _zero_points(kernel, write)
    text = "y[i][j]"
    if za:
        text = f"sub({text}, mul(b_sum[j], {za}))"
    if zb:
        text = f"sub({text}, mul(a_sum[i], {zb}))"
    if za and zb:
        constant = (kernel.problem[3] * za * zb + 2**31) % 2**32 - 2**31
        text = f"add({text}, {whole(constant)})"
    return text


def _in_group(index: str, size: int, groups: int) -> str:
    """A channel's number among all groups'."""
    return index if groups == 1 else f"group * {size} + {index}"
