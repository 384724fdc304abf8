"""Operators whose elements depend on a row of others: reductions, normalisations, scatters.

A kernel has a row for each result of a reduction and a lane for each element that it reads; a
normalisation stores every lane. A scatter is the inverse of how it is usually done: each
element of the result looks through all indices for those that name it, so that the order of
the updates is the operator's own and no two of them race.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from tetrapla.backends.gpu.generated.elementwise import exp, select
from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.scope import Scope
from tetrapla.ir.graph import DTYPES, Node, Value
from tetrapla.ir.nn.reduce import extremes

Registers: TypeAlias = tuple[Register, ...]
Function: TypeAlias = Callable[[Scope, Node, "At"], Register]


@dataclass(frozen=True)
class At:
    """Where a kernel stands: coordinates of its row, of its lane, and of the operand's element.

    A register that does not depend on the lane has one number per row.
    """

    row: Registers
    lane: Registers
    element: Registers


@dataclass(frozen=True)
class Rowwise:
    """An operator that one kernel is.

    Attributes:
        extents: of a node, its rows and its lanes as shapes.
        element: coordinates of the first operand, from those of row and lane.
        function: of the result, per row or per lane.
        whole: a result for every lane, at the element's place; else one for every row.
    """

    extents: Callable[[Node], tuple[tuple[int, ...], tuple[int, ...]]]
    element: Callable[[Scope, Node, Registers, Registers], Registers]
    function: Function
    whole: bool


def _axes(node: Node) -> tuple[int, ...]:
    """The axes that a row runs along."""
    rank = len(node.operands[0].shape)
    match node.kind:
        case "nn.layer_norm" | "nn.rms_norm":
            return tuple(range(node.int("axis") % rank, rank))
        case "nn.instance_norm":
            return tuple(range(2, rank))
        case "nn.global_max_pool" | "nn.global_average_pool":
            return (2, 3)
        case _ if "axes" in node.attributes:
            return tuple(sorted(axis % rank for axis in node.ints("axes")))
        case _:
            return (node.int("axis") % rank,)


def _along_axes(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape, axes = node.operands[0].shape, _axes(node)
    kept = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    return kept, tuple(shape[axis] for axis in axes)


def _at_axes(s: Scope, node: Node, row: Registers, lane: Registers) -> Registers:
    axes, kept, along = _axes(node), iter(row), iter(lane)
    rank = len(node.operands[0].shape)
    return tuple(next(along) if axis in axes else next(kept) for axis in range(rank))


ALONG_AXES = (_along_axes, _at_axes)  # a row along the operator's axes, a lane for each element


def _groups(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape, groups = node.operands[0].shape, node.int("groups")
    return (shape[0], groups), (shape[1] // groups, *shape[2:])


def _at_groups(s: Scope, node: Node, row: Registers, lane: Registers) -> Registers:
    size = node.operands[0].shape[1] // node.int("groups")
    return (row[0], row[1] * size + lane[0], *lane[1:])


def _updates(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    x, indices = node.operands[:2]
    own = indices.shape if node.kind == "nn.scatter_elements" else indices.shape[:-1]
    return x.shape, own


def _earlier(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A row for every element, a lane for every one along the axis."""
    shape = node.operands[0].shape
    return shape, (shape[node.int("axis") % len(shape)],)


def _at_earlier(s: Scope, node: Node, row: Registers, lane: Registers) -> Registers:
    axis = node.int("axis") % len(row)
    return (*row[:axis], *lane, *row[axis + 1 :])


def _cumulative(s: Scope, node: Node, at: At) -> Register:
    place = at.row[node.int("axis") % len(at.row)]
    return s.op("sum", select(s, s.code.lane <= place, _x(s, node, at), 0))


def _at_row(s: Scope, node: Node, row: Registers, lane: Registers) -> Registers:
    return row


def _x(s: Scope, node: Node, at: At) -> Register:
    return s.element(node.operands[0], at.element)


def _reduction(
    name: str, before: Callable[[Scope, Register], Register] | None = None
) -> Rowwise:
    """An operation along the lanes, of the elements or of a function of them."""

    def function(s: Scope, node: Node, at: At) -> Register:
        x = _x(s, node, at)
        return s.op(name, x if before is None else before(s, x))

    return Rowwise(_along_axes, _at_axes, function, False)


def _count(node: Node) -> float:
    return float(prod(ROWWISE[node.kind].extents(node)[1]))


def _mean(s: Scope, node: Node, at: At) -> Register:
    return s.op("sum", _x(s, node, at)) / _count(node)


def _l2(s: Scope, node: Node, at: At) -> Register:
    x = _x(s, node, at)
    return s.op("sqrt", s.op("sum", x * x))


def _log_sum_exp(s: Scope, node: Node, at: At) -> Register:
    x = _x(s, node, at)
    top = s.op("largest", x)
    finite = s.op("abs", top) < float("inf")
    origin = select(s, finite, top, 0.0)
    return origin + s.op("log", s.op("sum", exp(s, x - origin)))


def _first(s: Scope, x: Register, best: Register) -> Register:
    """The number of the first lane that holds the best, or a NaN."""
    size = s.code.length
    hit = x.equal(best)
    if x.dtype == "f32":
        hit = hit | ~x.equal(x)
    return s.op("smallest", select(s, hit, s.code.lane, size))


def _arg(name: str) -> Rowwise:
    def function(s: Scope, node: Node, at: At) -> Register:
        x = _x(s, node, at)
        return _first(s, x, s.op(name, x)).to("i64")

    return Rowwise(_along_axes, _at_axes, function, False)


def _hardmax(s: Scope, node: Node, at: At) -> Register:
    x = _x(s, node, at)
    return s.code.lane.equal(_first(s, x, s.op("largest", x))).to("f32")


def _softmax(s: Scope, node: Node, at: At) -> Register:
    x = _x(s, node, at)
    power = exp(s, x - s.op("largest", x))
    return power / s.op("sum", power)


def _log_softmax(s: Scope, node: Node, at: At) -> Register:
    x = _x(s, node, at)
    away = x - s.op("largest", x)
    return away - s.op("log", s.op("sum", exp(s, away)))


def _standardised(s: Scope, node: Node, at: At) -> Register:
    x, count = _x(s, node, at), _count(node)
    away = x - s.op("sum", x) / count
    variance = s.op("sum", away * away) / count
    return away / s.op("sqrt", variance + node.float("epsilon"))


def _scaled(s: Scope, node: Node, y: Register, at: Sequence[Register]) -> Register:
    """The result times the scale, and the bias added."""
    y = y * s.element(node.operands[1], at)
    return y + s.element(node.operands[2], at) if len(node.operands) > 2 else y


def _layer_norm(s: Scope, node: Node, at: At) -> Register:
    return _scaled(s, node, _standardised(s, node, at), at.lane)


def _rms_norm(s: Scope, node: Node, at: At) -> Register:
    x = _x(s, node, at)
    power = s.op("sum", x * x) / _count(node)
    return _scaled(s, node, x / s.op("sqrt", power + node.float("epsilon")), at.lane)


def _channel_norm(s: Scope, node: Node, at: At) -> Register:
    return _scaled(s, node, _standardised(s, node, at), at.element[1:2])


def _hits(s: Scope, node: Node, at: At) -> Register:
    """Whether a lane's indices name the row."""
    x, indices = node.operands[:2]
    if node.kind == "nn.scatter_elements":
        axis = node.int("axis") % len(x.shape)
        hit = _named(s, indices, at.lane, at.row[axis], x.shape[axis])
        pairs = enumerate(zip(at.row, at.lane, strict=True))
        others = [a.equal(b) for i, (a, b) in pairs if i != axis]
    else:
        hit, *others = (
            _named(s, indices, (*at.lane, s.code.constant(i)), at.row[i], x.shape[i])
            for i in range(indices.shape[-1])
        )
    for other in others:
        hit = hit & other
    return hit


def _named(s: Scope, indices: Value, at: Registers, place: Register, size: int) -> Register:
    index = s.element(indices, at).to("i32")
    return select(s, index < 0, index + size, index).equal(place)


def _scatter(s: Scope, node: Node, at: At) -> Register:
    x, indices, updates = node.operands
    hit, before = _hits(s, node, at), s.element(x, at.row)
    elements = node.kind == "nn.scatter_elements"
    behind = () if elements else at.row[indices.shape[-1] :]
    reduction = node.str("reduction")
    if reduction == "none":
        last = s.op("largest", select(s, hit, s.code.lane, -1))
        own = s.code.coordinates(last, updates.shape if elements else indices.shape[:-1])
        with s.where(last >= 0):
            update = s.element(updates, (*own, *behind))
        return select(s, last >= 0, update, before)
    with s.where(hit):
        update = s.element(updates, (*at.lane, *behind))
    name, join = _JOINS[reduction]
    neutral = {"add": 0, "mul": 1}.get(reduction)
    if neutral is None:
        neutral = extremes(DTYPES[x.dtype])[0 if reduction == "max" else 1]
    return s.op(join, before, s.op(name, select(s, hit, update, neutral)))


_JOINS: Mapping[str, tuple[str, str]] = {
    "add": ("sum", "add"),
    "mul": ("product", "mul"),
    "max": ("largest", "maximum"),
    "min": ("smallest", "minimum"),
}

_SCATTER = Rowwise(_updates, _at_row, _scatter, False)

ROWWISE: Mapping[str, Rowwise] = {
    "nn.reduce_sum": _reduction("sum"),
    "nn.reduce_sum_square": _reduction("sum", lambda s, x: x * x),
    "nn.reduce_l1": _reduction("sum", lambda s, x: s.op("abs", x)),
    "nn.reduce_max": _reduction("largest"),
    "nn.reduce_min": _reduction("smallest"),
    "nn.reduce_prod": _reduction("product"),
    "nn.global_max_pool": _reduction("largest"),
    "nn.reduce_mean": Rowwise(_along_axes, _at_axes, _mean, False),
    "nn.reduce_l2": Rowwise(_along_axes, _at_axes, _l2, False),
    "nn.reduce_log_sum_exp": Rowwise(_along_axes, _at_axes, _log_sum_exp, False),
    "nn.arg_max": _arg("largest"),
    "nn.arg_min": _arg("smallest"),
    "nn.cumulative_sum": Rowwise(_earlier, _at_earlier, _cumulative, False),
    "nn.hardmax": Rowwise(_along_axes, _at_axes, _hardmax, True),
    "nn.softmax": Rowwise(_along_axes, _at_axes, _softmax, True),
    "nn.log_softmax": Rowwise(_along_axes, _at_axes, _log_softmax, True),
    "nn.layer_norm": Rowwise(_along_axes, _at_axes, _layer_norm, True),
    "nn.rms_norm": Rowwise(_along_axes, _at_axes, _rms_norm, True),
    "nn.instance_norm": Rowwise(_along_axes, _at_axes, _channel_norm, True),
    "nn.group_norm": Rowwise(_groups, _at_groups, _channel_norm, True),
    "nn.scatter_nd": _SCATTER,
    "nn.scatter_elements": _SCATTER,
}
