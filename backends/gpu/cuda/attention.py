"""Fused attention in CUDA C, after `simulators.gpu.fused_attention`.

A block has 16 queries of one head, 16 threads for each. They make the scores of a tile of keys
in shared memory, then each adds to its own columns of the result. Keys and values are read
through the caches.
"""

from __future__ import annotations

from tetrapla.backends.gpu.cuda.products import rounded
from tetrapla.backends.gpu.cuda.text import THREADS, Writer, number, offset, quotient
from tetrapla.backends.gpu.text import affine
from tetrapla.simulators.gpu.fused_attention import FusedAttention, Strided

ROWS = 16  # of a block; a plan's tile has a multiple of them
LANES = THREADS // ROWS
# columns of queries that shared memory holds beside the scores, in 48 KiB: 16 x 512 floats
MOST_STAGED = 512


def blocks(kernel: FusedAttention) -> int:
    """Of the launch: tiles of queries, heads, instances."""
    return -(-kernel.rows // ROWS) * kernel.heads * kernel.instances


def attention(kernel: FusedAttention, write: Writer) -> None:
    """Write an attention: the queries, a loop over the keys of each segment, the quotient."""
    tiles = -(-kernel.rows // ROWS)
    own = -(-kernel.value_columns // LANES)
    if kernel.columns <= MOST_STAGED:
        write(f"__shared__ float q[{ROWS}][{kernel.columns}];")
    write(
        f"__shared__ float s[{ROWS}][{kernel.tile_keys}];",
        f"__shared__ float scratch[{THREADS}];",
        f"const int local = threadIdx.x / {LANES}, lane = threadIdx.x % {LANES};",
        f"const int first_row = blockIdx.x % {tiles} * {ROWS}, row = first_row + local;",
        f"const int head = {quotient('blockIdx.x', tiles, kernel.heads)};",
        f"const int key_head = {quotient('head', kernel.heads // kernel.key_heads)};",
    )
    if kernel.instances > 1:
        write(f"const int z = {quotient('blockIdx.x', tiles * kernel.heads)};")
    if kernel.columns <= MOST_STAGED:
        found = _operand(kernel, write, kernel.q, ("head", "row", "column"))
        write(
            f"for (int column = lane; column < {kernel.columns}; column += {LANES})",
            f"    q[local][column] = row < {kernel.rows} ? {found} : 0.0f;",
            "__syncthreads();",
        )
    write(
        f"float top = -infinity(), total = 0.0f, y[{own}] = {{}};",
    )
    for segment in range(len(kernel.segments)):
        _segment(kernel, write, segment, own)
    nothing = "0.0f" if kernel.masked_rows == "zero" else "not_a_number()"
    write(
        f"for (int i = 0; i < {own}; i++) {{",
        f"const int column = lane + i * {LANES};",
        f"if (row >= {kernel.rows} || column >= {kernel.value_columns}) continue;",
    )
    place = _place(kernel, kernel.y, ("head", "row", "column"))
    write.store(kernel.output, place, f"total == 0.0f ? {nothing} : div(y[i], total)")
    write("}")


def _segment(kernel: FusedAttention, write: Writer, segment: int, own: int) -> None:
    """The tiles of keys of one segment, without those that no query of the plan's tile sees."""
    count, before = kernel.segments[segment], sum(kernel.segments[:segment])
    tile = kernel.tile_keys
    write("{", f"int stop = {count};")
    if kernel.last_key is not None:
        rows = kernel.tile_rows
        last = f"minimum(first_row / {rows} * {rows} + {rows}, {kernel.rows})"
        seen = affine(last, 1, kernel.last_key - before)
        write(f"stop = minimum({seen}, stop);")
    write(f"for (int start = 0; start < stop; start += {tile}) {{")
    write(f"for (int i = lane; i < {tile}; i += {LANES}) {{", "const int key = start + i;")
    _score(kernel, write, segment, count, before)
    write(
        "}",
        "__syncthreads();",
        "float own = -infinity();",
        f"for (int i = lane; i < {tile}; i += {LANES}) own = maximum(own, s[local][i]);",
        f"const float higher = maximum(top, across<Largest, {LANES}>(own, scratch));",
        "const float origin = higher == -infinity() ? 0.0f : higher;",
        "const float shrink = expf(sub(top, origin));",
        "own = 0.0f;",
        f"for (int i = lane; i < {tile}; i += {LANES}) {{",
        "s[local][i] = expf(sub(s[local][i], origin));",
        "own = add(own, s[local][i]);",
        "}",
        f"total = add(mul(total, shrink), across<Sum, {LANES}>(own, scratch));",
    )
    _mix(kernel, write, segment, count, own)
    write("top = higher;", "__syncthreads();", "}", "}")


def _score(
    kernel: FusedAttention, write: Writer, segment: int, count: int, before: int
) -> None:
    """Scaled, masked; minus infinity for what is hidden and behind the last key."""
    place = affine("key", 1, before)
    k = _operand(kernel, write, kernel.key(segment), ("key_head", "key", "column"))
    q = "q[local][column]"
    if kernel.columns > MOST_STAGED:
        q = _operand(kernel, write, kernel.q, ("head", "row", "column"))
    write(
        "float score = 0.0f;",
        f"if (row < {kernel.rows} && key < {count}) {{",
        f"for (int column = 0; column < {kernel.columns}; column++)",
        f"    score = __fmaf_rn({q}, {k}, score);",
        f"score = mul(score, {number(kernel.scale)});",
    )
    if kernel.mask is not None:
        at = _place(kernel, kernel.mask, ("head", "row", f"({place})"))
        mask = write.load(kernel.mask.buffer, at)
        if write.dtype(kernel.mask.buffer) == "i1":
            write(f"if (!{mask}) score = -infinity();")
        else:
            write(f"score = add(score, {mask});")
    if kernel.last_key is not None:
        limit = affine("row", 1, kernel.last_key)
        write(f"if ({place} > {limit}) score = -infinity();")
    write("}", f"s[local][i] = key < {count} ? score : -infinity();")


def _mix(kernel: FusedAttention, write: Writer, segment: int, count: int, own: int) -> None:
    """Scale the result down and add a tile's values by their powers."""
    v = _operand(kernel, write, kernel.value(segment), ("key_head", "key", "column"))
    power = rounded(kernel.operand, "f32", "s[local][key - start]")
    write(
        f"const int end = minimum(start + {kernel.tile_keys}, {count});",
        "#pragma unroll",
        f"for (int i = 0; i < {own}; i++) {{",
        f"const int column = lane + i * {LANES};",
        f"if (row >= {kernel.rows} || column >= {kernel.value_columns}) continue;",
        "float part = 0.0f;",
        f"for (int key = start; key < end; key++) part = __fmaf_rn({power}, {v}, part);",
        "y[i] = add(mul(y[i], shrink), part);",
        "}",
    )


def _operand(
    kernel: FusedAttention, write: Writer, tensor: Strided, at: tuple[str, str, str]
) -> str:
    """An element in the type that is multiplied."""
    text = write.load(tensor.buffer, _place(kernel, tensor, at))
    return rounded(kernel.operand, write.dtype(tensor.buffer), text)


def _place(kernel: FusedAttention, tensor: Strided, at: tuple[str, str, str]) -> str:
    """The offset of [head, row, column] of the block's instance."""
    *outer, by_head, by_row, by_column = tensor.strides
    terms: list[str] = []
    if any(outer) and kernel.instances > 1:
        terms.append(offset("z", kernel.lead, tuple(outer)))
    pairs = zip(at, (by_head, by_row, by_column), strict=True)
    terms += [affine(f"(Index){index}", stride) for index, stride in pairs if stride != 0]
    if tensor.offset:
        terms.append(str(tensor.offset))
    return " + ".join(terms) or "0"
