"""Operators that move elements: each is where an element of the result comes from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.backends.gpu.generated.elementwise import power, select
from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.scope import Coordinates, Rule, Scope
from tetrapla.ir.graph import Array, Node
from tetrapla.ir.op import evaluated


def _reshape(s: Scope, node: Node, at: Coordinates) -> Register:
    (x,) = node.operands
    return s.element(x, s.code.regrouped(at, node.result.shape, x.shape))


def _transpose(s: Scope, node: Node, at: Coordinates) -> Register:
    moved = dict(zip(node.ints("perm"), at, strict=True))
    return s.element(node.operands[0], [moved[axis] for axis in range(len(at))])


def _expand(s: Scope, node: Node, at: Coordinates) -> Register:
    return s.broadcast(node.operands[0], at)


def _reverse_sequence(s: Scope, node: Node, at: Coordinates) -> Register:
    x, lengths = node.operands
    time, batch = (node.int(f"{name}_axis") % len(at) for name in ("time", "batch"))
    length = s.element(lengths, [at[batch]]).to("i32")
    back = select(s, at[time] < length, length - 1 - at[time], at[time])
    return s.element(x, [back if axis == time else c for axis, c in enumerate(at)])


def _slice(s: Scope, node: Node, at: Coordinates) -> Register:
    cuts = zip(at, node.ints("starts"), node.ints("steps"), strict=True)
    return s.element(node.operands[0], [c * step + start for c, start, step in cuts])


def _concat(s: Scope, node: Node, at: Coordinates) -> Register:
    a, b = node.operands
    axis = node.int("axis") % len(at)
    size, place = a.shape[axis], at[axis]
    first = place < size
    with s.where(first):
        x = s.element(a, at)
    with s.where(~first):
        y = s.element(b, [c - size if i == axis else c for i, c in enumerate(at)])
    return select(s, first, x, y)


def _pad(s: Scope, node: Node, at: Coordinates) -> Register:
    (x,) = node.operands
    before, mode = node.ints("pads")[: len(at)], node.str("mode")
    behind = node.ints("pads")[len(at) :]
    if mode != "constant":
        return s.element(x, _lined(s, node, at))
    inside: Register | None = None
    moved: list[Register] = []
    for c, size, low, high in zip(at, x.shape, before, behind, strict=True):
        source = c - low
        for reaches, held in ((low > 0, source >= 0), (high > 0, source < size)):
            if reaches:
                inside = held if inside is None else inside & held
        moved.append(source)
    if inside is None:
        return s.element(x, moved)
    with s.where(inside):
        found = s.element(x, moved)
    value = np.float32(node.float("value"))
    filled = float(value) if x.dtype == "f32" else int(value)
    return select(s, inside, found, filled)


def _lined(s: Scope, node: Node, at: Coordinates) -> list[Register]:
    """Each coordinate's source, of an operator that moves along axes alone, by tables."""
    (x,) = node.operands
    found: list[Register] = []
    for axis, (c, size) in enumerate(zip(at, x.shape, strict=True)):
        column = np.arange(size).reshape(-1, *(1,) * (len(at) - axis - 1))
        places = np.ascontiguousarray(np.broadcast_to(column, x.shape))
        moved = np.moveaxis(evaluated(node.kind, [places], node.attributes), axis, 0)
        sources = moved.reshape(len(moved), -1)[:, 0]
        found.append(_looked_up(s, f"{node.name}#places{axis}", sources, c))
    return found


def _looked_up(s: Scope, name: str, sources: Array, at: Register) -> Register:
    """``sources[at]``: by arithmetic where it is at divided by a number, else by a table."""
    count = np.arange(len(sources))
    for divisor in range(1, 9):
        if np.array_equal(sources, count // divisor):
            return at // divisor
    return s.table(name, sources, at)


def _resize(s: Scope, node: Node, at: Coordinates) -> Register:
    if node.str("mode") == "nearest":
        return s.element(node.operands[0], _lined(s, node, at))
    return _mixed(s, node, list(at), 0)


def _mixed(s: Scope, node: Node, at: list[Register], axis: int) -> Register:
    """The sum over the taps of an axis and those behind it."""
    (x,) = node.operands
    if axis == len(at):
        return s.element(x, at)
    if x.shape[axis] == node.result.shape[axis]:
        return _mixed(s, node, at, axis + 1)
    sources, weights = _taps(node, axis)
    total: Register | None = None
    for tap in range(len(sources)):
        place = s.table(f"{node.name}#places{axis}.{tap}", sources[tap], at[axis])
        weight = s.table(f"{node.name}#weights{axis}.{tap}", weights[tap], at[axis])
        term = _mixed(s, node, [*at[:axis], place, *at[axis + 1 :]], axis + 1) * weight
        total = term if total is None else total + term
    assert total is not None, node.name
    return total


def _taps(node: Node, axis: int) -> tuple[Array, Array]:
    """(taps, size) places and weights along an axis: the operator's own, of unit vectors."""
    (x,) = node.operands
    old, new = x.shape[axis], node.result.shape[axis]
    scales = node.str("scales").split(",")
    factor = scales[axis] if len(scales) == len(x.shape) else ""
    attributes = dict(node.attributes)
    attributes |= {"sizes": (old, new), "scales": f"1,{factor}" if factor else ""}
    matrix = evaluated(node.kind, [np.eye(old, dtype=np.float64)], attributes).T
    most = int((matrix != 0).sum(axis=1).max())
    places = np.argsort(matrix == 0, axis=1, kind="stable")[:, :most]
    return places.T, np.take_along_axis(matrix, places, axis=1).T


def _wrapped(s: Scope, index: Register, size: int) -> Register:
    """An index that may count from the end, kept within the axis."""
    zero, whole = (s.code.constant(n, index.dtype) for n in (0, size))
    index = select(s, index < zero, index + whole, index)
    return s.op("minimum", s.op("maximum", index, zero), whole - 1).to("i32")


def _gather(s: Scope, node: Node, at: Coordinates) -> Register:
    x, indices = node.operands
    axis = node.int("axis") % len(x.shape)
    behind = axis + len(indices.shape)
    index = _wrapped(s, s.element(indices, at[axis:behind]), x.shape[axis])
    return s.element(x, [*at[:axis], index, *at[behind:]])


def _gather_elements(s: Scope, node: Node, at: Coordinates) -> Register:
    x, indices = node.operands
    axis = node.int("axis") % len(x.shape)
    index = _wrapped(s, s.element(indices, at), x.shape[axis])
    return s.element(x, [*at[:axis], index, *at[axis + 1 :]])


def _gather_nd(s: Scope, node: Node, at: Coordinates) -> Register:
    x, indices = node.operands
    lead, named = node.int("batch_dims"), indices.shape[-1]
    own = len(indices.shape) - 1
    picked = [
        _wrapped(s, s.element(indices, [*at[:own], s.code.constant(i)]), x.shape[lead + i])
        for i in range(named)
    ]
    return s.element(x, [*at[:lead], *picked, *at[own:]])


def _one_hot(s: Scope, node: Node, at: Coordinates) -> Register:
    indices, values = node.operands
    axis, depth = node.int("axis") % len(at), node.int("depth")
    index = s.element(indices, [*at[:axis], *at[axis + 1 :]])
    zero, whole = (s.code.constant(n, index.dtype) for n in (0, depth))
    index = select(s, index < zero, index + whole, index)
    hot = index.equal(at[axis].to(index.dtype))
    off, on = (s.element(values, [s.code.constant(i)]) for i in range(2))
    return select(s, hot, on, off)


def _trilu(s: Scope, node: Node, at: Coordinates) -> Register:
    x = s.element(node.operands[0], at)
    row, column, k = at[-2], at[-1], node.int("k")
    kept = column >= row + k if node.int("upper") else column <= row + k
    return select(s, kept, x, 0 if x.dtype != "f32" else 0.0)


def _depth_to_space(s: Scope, node: Node, at: Coordinates) -> Register:
    (x,) = node.operands
    n, c, h, w = at
    block, channels = node.int("blocksize"), node.result.shape[1]
    inner = (h % block) * block + w % block
    deep = node.str("mode") == "DCR"
    source = inner * channels + c if deep else c * (block * block) + inner
    return s.element(x, [n, source, h // block, w // block])


def _space_to_depth(s: Scope, node: Node, at: Coordinates) -> Register:
    (x,) = node.operands
    n, c, h, w = at
    block, channels = node.int("blocksize"), x.shape[1]
    area = block * block
    deep = node.str("mode") == "DCR"
    source, inner = (c % channels, c // channels) if deep else (c // area, c % area)
    return s.element(x, [n, source, h * block + inner // block, w * block + inner % block])


def _lrn(s: Scope, node: Node, at: Coordinates) -> Register:
    (x,) = node.operands
    size, channels = node.int("size"), x.shape[1]
    reach = min(size, 2 * channels)
    total: Register | None = None
    for tap in range(reach):
        channel = at[1] + (tap - (reach - 1) // 2)
        with s.where((channel >= 0) & (channel < channels)):
            found = s.element(x, [at[0], channel, *at[2:]])
        total = found * found if total is None else total + found * found
    assert total is not None, node.name
    base = total * (node.float("alpha") / size) + node.float("bias")
    return s.element(x, at) / power(s, base, s.code.constant(node.float("beta"), "f32"))


def _rotary(s: Scope, node: Node, at: Coordinates) -> Register:
    x, cos, sin = node.operands
    h, place = cos.shape[-1], at[-1]
    if node.int("interleaved"):
        pair, second = place // 2, (place % 2).equal(1)
        other = select(s, second, place - 1, place + 1)
    else:
        second = place >= h
        pair = select(s, second, place - h, place)
        other = select(s, second, place - h, place + h)
    turned = place < 2 * h
    with s.where(turned):
        c, w = (s.broadcast(v, [*at[:-1], pair]) for v in (cos, sin))
        partner = s.element(x, [*at[:-1], other])
    own = s.element(x, at)
    made = own * c + select(s, second, w, -w) * partner
    return select(s, turned, made, own)


MOVES: Mapping[str, Rule] = {
    "nn.reshape": _reshape,
    "nn.transpose": _transpose,
    "nn.expand": _expand,
    "nn.reverse_sequence": _reverse_sequence,
    "nn.slice": _slice,
    "nn.concat": _concat,
    "nn.pad": _pad,
    "nn.resize": _resize,
    "nn.gather": _gather,
    "nn.gather_elements": _gather_elements,
    "nn.gather_nd": _gather_nd,
    "nn.one_hot": _one_hot,
    "nn.trilu": _trilu,
    "nn.depth_to_space": _depth_to_space,
    "nn.space_to_depth": _space_to_depth,
    "nn.lrn": _lrn,
    "nn.rotary_embedding": _rotary,
}
