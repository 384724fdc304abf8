"""Values rearranged by a rule: padding, blocks of pixels, triangles, rotations, resizing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Node
from tetrapla.ir.linalg.norm import work_type
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, tensor_of
from tetrapla.ir.nn.interpolate import CROP, Axis, coordinates, nearest, taps
from tetrapla.ir.op import Tensor


def lower_pad(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Negative pads cut first; each mode says where a place beyond the edge is read."""
    (x,), y, mode = operands, tensor_of(node.result), node.str("mode")
    pads, rank = node.ints("pads"), x.type.rank
    fill = np.array(node.float("value"), np.float32).astype(DTYPES[y.dtype]).item()
    cuts = [max(-pad, 0) for pad in pads]
    sizes = [n - cuts[i] - cuts[rank + i] for i, n in enumerate(x.type.shape)]
    if 0 in sizes:
        return writer.filled(fill, y)

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        places: list[Scalar] = []
        inside = b.number(1, "i1")
        for axis, (i, size) in enumerate(zip(at, sizes, strict=True)):
            raw = b.affine(f"d0 - {max(pads[axis], 0)}", i)
            place = _source(b, raw, size, mode)
            if mode == "constant":
                inside = b.bitwise("andi", inside, b.compare("eq", raw, place))
            places.append(b.affine(f"d0 + {cuts[axis]}", place))
        return b.select(inside, b.at(x, places), b.number(fill, y.dtype))

    return writer.gathered(y, read)


def _source(b: Body, place: Scalar, size: int, mode: str) -> Scalar:
    zero, last = b.like(0, place), b.like(size - 1, place)
    match mode:
        case "wrap":
            return b.affine(f"d0 mod {size}", place)
        case "reflect":
            near = b.maximum(place, b.sub(zero, place))
            back = b.sub(last, near)
            return b.sub(last, b.maximum(back, b.sub(zero, back)))
        case _:
            return b.minimum(b.maximum(place, zero), last)


def lower_depth_to_space(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Each pixel of the result is a channel of a pixel of x."""
    (x,), y, size = operands, tensor_of(node.result), node.int("blocksize")
    block = f"(d1 mod {size}) * {size} + d2 mod {size}"
    channel = f"({block}) * {y.shape[1]} + d0"
    if node.str("mode") == "CRD":
        channel = f"d0 * {size**2} + {block}"

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        n, depth, row, column = at
        pixel = [b.affine(f"d0 floordiv {size}", i) for i in (row, column)]
        return b.at(x, [n, b.affine(channel, depth, row, column), *pixel])

    return writer.gathered(y, read)


def lower_space_to_depth(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Each channel of the result is a pixel of a block of x."""
    (x,), y, size = operands, tensor_of(node.result), node.int("blocksize")
    channels = x.type.shape[1]
    block, depth = f"(d0 floordiv {channels})", f"d0 mod {channels}"
    if node.str("mode") == "CRD":
        block, depth = f"(d0 mod {size**2})", f"d0 floordiv {size**2}"

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        n, channel, row, column = at
        down = b.affine(f"d1 * {size} + {block} floordiv {size}", channel, row)
        across = b.affine(f"d1 * {size} + {block} mod {size}", channel, column)
        return b.at(x, [n, b.affine(depth, channel), down, across])

    return writer.gathered(y, read)


def lower_trilu(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """What lies on the side of a diagonal stays."""
    (x,), k = operands, node.int("k")
    rows, columns = x.type.shape[-2:]
    k = max(-rows - 1, min(k, columns + 1))
    predicate = "ge" if node.int("upper") else "le"

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        diagonal = b.sub(at[-1], at[-2])
        kept = b.compare(predicate, diagonal, b.like(k, diagonal))
        return b.select(kept, b.at(x, at), b.number(0, x.type.dtype))

    return writer.gathered(x.type, read)


def lower_one_hot(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """An index outside is on nowhere."""
    (indices, values), y = operands, tensor_of(node.result)
    axis, depth = node.int("axis") % y.rank, node.int("depth")

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        i = b.cast(b.at(indices, [*at[:axis], *at[axis + 1 :]]), "i64")
        zero = b.like(0, i)
        i = b.select(b.compare("lt", i, zero), b.add(i, b.like(depth, i)), i)
        on = b.compare("eq", i, b.cast(at[axis], "i64"))
        off_on = [b.at(values, [b.number(place, "index")]) for place in (0, 1)]
        return b.select(on, off_on[1], off_on[0])

    return writer.gathered(y, read)


def lower_reverse_sequence(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """The first steps of each sequence are read from behind."""
    x, lengths = operands
    batch, time = (node.int(f"{key}_axis") % x.type.rank for key in ("batch", "time"))
    steps = x.type.shape[time]
    writer.must_lie(lengths, 0, steps, f"{node.kind} lengths")

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        length = b.cast(b.cast(b.at(lengths, [at[batch]]), "i64"), "index")
        step, zero = at[time], b.number(0, "index")
        back = b.sub(b.sub(length, b.number(1, "index")), step)
        source = b.select(b.compare("lt", step, length), back, step)
        source = b.minimum(b.maximum(source, zero), b.number(steps - 1, "index"))
        return b.at(x, [*at[:time], source, *at[time + 1 :]])

    return writer.gathered(x.type, read)


def lower_rotary_embedding(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Pairs turned in float32 for the narrower floats; the rest stays."""
    x, cos, sin = operands
    work, h = work_type(x.type.dtype), cos.type.shape[-1]
    mixed = node.int("interleaved")
    pair = "d0 floordiv 2" if mixed else f"d0 mod {h}"
    first, second = ("d0 * 2", "d0 * 2 + 1") if mixed else ("d0", f"d0 + {h}")

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        i = at[-1]
        j = b.minimum(b.affine(pair, i), b.number(h - 1, "index"))
        angle = _broadcast(b, cos, [*at[:-1], j])
        c, s = (b.cast(b.at(each, angle), work) for each in (cos, sin))
        place = b.affine(first, j)
        real = b.cast(b.at(x, [*at[:-1], place]), work)
        imaginary = b.cast(b.at(x, [*at[:-1], b.affine(second, j)]), work)
        turned = b.select(
            b.compare("eq", i, place),
            b.sub(b.mul(c, real), b.mul(s, imaginary)),
            b.add(b.mul(s, real), b.mul(c, imaginary)),
        )
        inside = b.compare("lt", i, b.number(2 * h, "index"))
        return b.select(inside, b.cast(turned, x.type.dtype), b.at(x, at))

    return writer.gathered(x.type, read)


def _broadcast(b: Body, x: Held, at: Sequence[Scalar]) -> list[Scalar]:
    """The indices of a tensor that broadcasts, its axes aligned to the right."""
    aligned = at[len(at) - x.type.rank :]
    zero = b.number(0, "index")
    return [zero if size == 1 else i for size, i in zip(x.type.shape, aligned, strict=True)]


def lower_resize(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """One axis after the other; places and weights are tables."""
    (x,), y = operands, tensor_of(node.result)
    if node.str("coordinate_transformation_mode") == CROP:
        raise UnsupportedError(
            f"{node.kind} must have other coordinates than {CROP} to be lowered to linalg; "
            "compute this model with the interpreter"
        )
    close = node.str("mode") == "nearest"
    held = x if close else writer.cast(x, "f64")
    scales = [np.float32(part) for part in node.str("scales").split(",") if part]
    for place, (old, new) in enumerate(zip(x.type.shape, y.shape, strict=True)):
        scale = scales[place] if scales else np.float32(new) / np.float32(old)
        axis = Axis(old, new, scale, (0.0, 1.0))
        if not axis.whole:
            held = _resized(writer, node, held, place, axis)
    return writer.cast(held, y.dtype)


def _resized(writer: Writer, node: Node, x: Held, place: int, axis: Axis) -> Held:
    sources, weights = _taps(node, axis)
    count = len(sources)
    sources = np.clip(sources, 0, axis.old - 1)
    at_table = writer.table(sources.ravel().tolist(), Tensor((count, axis.new), "i64"))
    shape = (*x.type.shape[:place], axis.new, *x.type.shape[place + 1 :])

    def source(b: Body, at: Sequence[Scalar], tap: int) -> Scalar:
        i = b.at(at_table, [b.number(tap, "index"), at[place]])
        return b.at(x, [*at[:place], b.cast(i, "index"), *at[place + 1 :]])

    if node.str("mode") == "nearest":
        return writer.gathered(Tensor(shape, x.type.dtype), lambda b, at: source(b, at, 0))
    table = writer.table(weights.ravel().tolist(), Tensor((count, axis.new), "f64"))

    def mixed(b: Body, at: Sequence[Scalar]) -> Scalar:
        total = b.number(0, "f64")
        for tap in range(count):
            weight = b.at(table, [b.number(tap, "index"), at[place]])
            total = b.add(total, b.mul(source(b, at, tap), weight))
        return total

    return writer.gathered(Tensor(shape, "f64"), mixed)


def _taps(node: Node, axis: Axis) -> tuple[Array, Array]:
    """The places that each coordinate mixes and their weights, both [taps, new]."""
    at = coordinates(axis, node.str("coordinate_transformation_mode"))
    if node.str("mode") == "nearest":
        found = nearest(at, node.str("nearest_mode"))[None]
        return found, np.ones(found.shape)
    shrink = min(float(axis.scale), 1.0) if node.int("antialias") else 1.0
    sources, weights = taps(at, node.str("mode"), shrink, node.float("cubic_coeff_a"))
    if node.int("exclude_outside"):
        weights = weights * ((sources >= 0) & (sources < axis.old))
        total = weights.sum(axis=0)
        weights = weights / np.where(total == 0, 1, total)
    return sources, weights
