"""Fused attention in Triton, after `simulators.gpu.fused_attention`."""

from __future__ import annotations

from tetrapla.backends.gpu.text import affine
from tetrapla.backends.gpu.tiles import power_of_two
from tetrapla.backends.gpu.triton.dots import added, narrowed
from tetrapla.backends.gpu.triton.text import Writer, number, offset_text
from tetrapla.simulators.gpu.fused_attention import FusedAttention, Strided

LEAST = 16  # of every extent of a tile: the tensor core's


def attention(kernel: FusedAttention, write: Writer) -> None:
    """Write an attention: the queries, a loop over the keys of each segment, the quotient."""
    columns, values = _lanes(kernel.columns), _lanes(kernel.value_columns)
    rows = kernel.tile_rows
    write(f"row = tl.program_id(0) * {rows} + tl.arange(0, {rows})", "head = tl.program_id(1)")
    if kernel.lead:
        write("z = tl.program_id(2)")
    if kernel.key_heads != kernel.heads:
        write(f"key_head = head // {kernel.heads // kernel.key_heads}")
    write(
        f"column = tl.arange(0, {columns})",
        f"value_column = tl.arange(0, {values})",
        f"in_q = (row[:, None] < {kernel.rows}) & (column[None, :] < {kernel.columns})",
    )
    _load(kernel, write, "q", kernel.q, ("head", "row[:, None]", "column[None, :]"))
    write(
        f'top = tl.full(({rows},), float("-inf"), tl.float32)',
        f"total = tl.zeros(({rows},), tl.float32)",
        f"y = tl.zeros(({rows}, {values}), tl.float32)",
    )
    for segment in range(len(kernel.segments)):
        _segment(kernel, write, segment)
    nothing = "0.0" if kernel.masked_rows == "zero" else 'float("nan")'
    inside = (
        f"(row[:, None] < {kernel.rows}) & (value_column[None, :] < {kernel.value_columns})"
    )
    write(f"y = tl.where(total[:, None] == 0.0, {nothing}, y / total[:, None])")
    write(f"inside = {inside}")
    place = _place(kernel, kernel.y, ("head", "row[:, None]", "value_column[None, :]"))
    write.store(kernel.output, place, "inside", "f32")


def _segment(kernel: FusedAttention, write: Writer, segment: int) -> None:
    """The tiles of keys of one segment, without those that no query of the tile sees."""
    count, before = kernel.segments[segment], sum(kernel.segments[:segment])
    stop = str(count)
    if kernel.last_key is not None:
        tile = kernel.tile_rows
        last = f"tl.minimum(tl.program_id(0) * {tile} + {tile}, {kernel.rows})"
        write(f"stop = tl.minimum({affine(last, 1, kernel.last_key - before)}, {count})")
        stop = "stop"
    write(f"for start in range(0, {stop}, {kernel.tile_keys}):")
    write.indent += 1
    own = "head" if kernel.key_heads == kernel.heads else "key_head"
    write(
        f"key = start + tl.arange(0, {kernel.tile_keys})",
        f"in_k = (column[:, None] < {kernel.columns}) & (key[None, :] < {count})",
        f"in_v = (key[:, None] < {count}) & (value_column[None, :] < {kernel.value_columns})",
    )
    _load(kernel, write, "k", kernel.key(segment), (own, "key[None, :]", "column[:, None]"))
    write(f"s = tl.zeros(({kernel.tile_rows}, {kernel.tile_keys}), tl.float32)")
    write(f"s = {added(kernel.operand, 'q', 'k', 's')} * {number(kernel.scale)}")
    _mask(kernel, write, count, before)
    write(
        "higher = tl.maximum(top, tl.max(s, axis=1))",
        'origin = tl.where(higher == float("-inf"), 0.0, higher)',
        "shrink = tl.exp(top - origin)",
        "power = tl.exp(s - origin[:, None])",
        "total = total * shrink + tl.sum(power, axis=1)",
    )
    _load(
        kernel,
        write,
        "v",
        kernel.value(segment),
        (own, "key[:, None]", "value_column[None, :]"),
    )
    power = narrowed(kernel.operand, "power", "f32")
    write(f"y = {added(kernel.operand, power, 'v', 'y * shrink[:, None]')}", "top = higher")
    write.indent -= 1


def _mask(kernel: FusedAttention, write: Writer, count: int, before: int) -> None:
    """Add or apply the mask; keys behind the last one, and later ones, are hidden."""
    place = "key" if before == 0 else f"({affine('key', 1, before)})"
    seen = [f"(key[None, :] < {count})"]
    if kernel.mask is not None:
        held = write.dtypes[kernel.mask.buffer]
        at = _place(kernel, kernel.mask, ("head", "row[:, None]", f"{place}[None, :]"))
        # only along the axes that it is not repeated along
        *_, by_row, by_key = kernel.mask.strides
        parts = [f"(row[:, None] < {kernel.rows})"] if by_row else []
        parts += [f"(key[None, :] < {count})"] if by_key else []
        within = f", mask={' & '.join(parts)}, other=0" if parts else ""
        loaded = f"tl.load({write.pointers[kernel.mask.buffer]} + {at}{within})"
        if held == "i1":
            seen.append(f"({loaded} != 0)")
        else:
            write(f"s = s + {loaded}" + ("" if held == "f32" else ".to(tl.float32)"))
    if kernel.last_key is not None:
        seen.append(f"({place}[None, :] <= {_down(affine('row', 1, kernel.last_key))})")
    write(f's = tl.where({" & ".join(seen)}, s, float("-inf"))')


def _load(
    kernel: FusedAttention,
    write: Writer,
    name: str,
    tensor: Strided,
    at: tuple[str, str, str],
) -> None:
    """Load a tile of an operand in the type that the multipliers take."""
    place = _place(kernel, tensor, at)
    text = f"tl.load({write.pointers[tensor.buffer]} + {place}, mask=in_{name}, other=0.0)"
    write(f"{name} = {narrowed(kernel.operand, text, write.dtypes[tensor.buffer])}")


def _place(kernel: FusedAttention, tensor: Strided, at: tuple[str, str, str]) -> str:
    """The offsets of a tile: [head, row, column] of the program's instance."""
    *outer, by_head, by_row, by_column = tensor.strides
    terms: list[str] = []
    if any(outer):
        terms.append(offset_text("z", kernel.lead, tuple(outer)))
    pairs = zip(at, (by_head, by_row, by_column), strict=True)
    terms += [affine(index, stride) for index, stride in pairs if stride != 0]
    if tensor.offset:
        terms.append(str(tensor.offset))
    return " + ".join(terms) or "0"


def _down(text: str) -> str:
    return f"{text}[:, None]" if text.isidentifier() else f"({text})[:, None]"


def _lanes(extent: int) -> int:
    return max(LEAST, power_of_two(extent))
