"""Values picked and put by indices that are data: gathers, scatters, the largest few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.element import is_float
from tetrapla.ir.linalg.norm import work_type
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, tensor_of
from tetrapla.ir.op import Tensor


def lower_gather(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Slices along an axis."""
    x, indices = operands
    axis, rank = node.int("axis") % x.type.rank, indices.type.rank
    size = x.type.shape[axis]
    _check_indices(writer, node, indices, size)

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        i = _wrapped(b, b.at(indices, at[axis : axis + rank]), size)
        return b.at(x, [*at[:axis], i, *at[axis + rank :]])

    return writer.gathered(tensor_of(node.result), read)


def lower_gather_elements(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """One index per element, along an axis."""
    x, indices = operands
    axis = node.int("axis") % x.type.rank
    size = x.type.shape[axis]
    _check_indices(writer, node, indices, size)

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        i = _wrapped(b, b.at(indices, at), size)
        return b.at(x, [*at[:axis], i, *at[axis + 1 :]])

    return writer.gathered(tensor_of(node.result), read)


def lower_gather_nd(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """A tuple of indices, behind the axes that both have."""
    x, indices = operands
    lead, rank = node.int("batch_dims"), indices.type.rank
    sizes = x.type.shape[lead : lead + indices.type.shape[-1]]
    _check_tuples(writer, node, indices, sizes)

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        named = _tuple(b, indices, at[: rank - 1], sizes)
        return b.at(x, [*at[:lead], *named, *at[rank - 1 :]])

    return writer.gathered(tensor_of(node.result), read)


def lower_scatter_elements(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """One index per update, along an axis."""
    x, indices, updates = operands
    axis = node.int("axis") % x.type.rank
    size = x.type.shape[axis]
    _check_indices(writer, node, indices, size)

    def places(b: Body, at: Sequence[Scalar]) -> list[Scalar]:
        return [*at[:axis], _wrapped(b, b.at(indices, at), size), *at[axis + 1 :]]

    return _scattered(writer, node, x, updates, places)


def lower_scatter_nd(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """A tuple of indices per update."""
    x, indices, updates = operands
    rank, sizes = indices.type.rank, x.type.shape[: indices.type.shape[-1]]
    _check_tuples(writer, node, indices, sizes)

    def places(b: Body, at: Sequence[Scalar]) -> list[Scalar]:
        return [*_tuple(b, indices, at[: rank - 1], sizes), *at[rank - 1 :]]

    return _scattered(writer, node, x, updates, places)


def lower_top_k(writer: Writer, node: Node, operands: list[Held]) -> tuple[Held, Held]:
    """Each element's rank among its row, then the elements by their ranks."""
    (x,), (values, indices) = operands, map(tensor_of, node.results)
    axis = node.int("axis") % x.type.rank
    ranks = _ranks(writer, x, axis, "gt" if node.int("largest") else "lt")
    size = x.type.shape[axis]

    def place(b: Body, at: Sequence[Scalar]) -> Scalar:
        wanted = b.cast(at[axis], "i64")

        def step(i: Scalar, held: Sequence[Scalar]) -> list[Scalar]:
            rank = b.at(ranks, [*at[:axis], i, *at[axis + 1 :]])
            return [b.select(b.compare("eq", rank, wanted), b.cast(i, "i64"), held[0])]

        return b.loop(0, size, [b.number(0, "i64")], step)[0]

    places = writer.gathered(indices, place)

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        i = b.cast(b.at(places, at), "index")
        return b.at(x, [*at[:axis], i, *at[axis + 1 :]])

    return writer.gathered(values, read), places


def _ranks(writer: Writer, x: Held, axis: int, predicate: str) -> Held:
    """How many elements of the row come before each: of equal ones the first; NaN last."""

    def rank(b: Body, at: Sequence[Scalar]) -> Scalar:
        own = b.at(x, at)

        def step(i: Scalar, held: Sequence[Scalar]) -> list[Scalar]:
            other = b.at(x, [*at[:axis], i, *at[axis + 1 :]])
            beats, equal = b.compare(predicate, other, own), b.compare("eq", other, own)
            if is_float(x.type.dtype):
                odd, mine = b.is_nan(other), b.is_nan(own)
                only = (odd, mine) if predicate == "gt" else (mine, odd)
                wins = b.bitwise("andi", only[0], b.bitwise("xori", only[1], b.like(1, odd)))
                beats = b.bitwise("ori", beats, wins)
                equal = b.bitwise("ori", equal, b.bitwise("andi", odd, mine))
            early = b.bitwise("andi", equal, b.compare("lt", i, at[axis]))
            return [b.add(held[0], b.cast(b.bitwise("ori", beats, early), "i64"))]

        return b.loop(0, x.type.shape[axis], [b.number(0, "i64")], step)[0]

    return writer.gathered(Tensor(x.type.shape, "i64"), rank)


def _scattered(
    writer: Writer,
    node: Node,
    x: Held,
    updates: Held,
    places: Callable[[Body, Sequence[Scalar]], list[Scalar]],
) -> Held:
    """A copy of x, updated one after the other."""
    reduction, shape = node.str("reduction"), updates.type.shape
    work = x.type.dtype if reduction == "none" else work_type(x.type.dtype)
    copy = writer.elementwise(x.type._replace(dtype=work), lambda b, a: b.cast(a, work), x)
    combine = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}

    def update(b: Body, number: Scalar, y: Held) -> tuple[list[Scalar], Scalar]:
        at = [
            b.affine(f"d0 floordiv {prod(shape[axis + 1 :])} mod {size}", number)
            for axis, size in enumerate(shape)
        ]
        place, value = places(b, at), b.cast(b.at(updates, at), work)
        if reduction != "none":
            value = getattr(b, combine[reduction])(b.at(y, place), value)
        return place, value

    return writer.cast(writer.updated(copy, prod(shape), update), x.type.dtype)


def _wrapped(b: Body, index: Scalar, size: int) -> Scalar:
    """An index counted from the front, and brought inside: what is outside is a fault."""
    i = b.cast(index, "i64")
    zero = b.like(0, i)
    i = b.select(b.compare("lt", i, zero), b.add(i, b.like(size, i)), i)
    i = b.minimum(b.maximum(i, zero), b.like(size - 1, i))
    return b.cast(i, "index")


def _tuple(b: Body, indices: Held, at: Sequence[Scalar], sizes: Sequence[int]) -> list[Scalar]:
    return [
        _wrapped(b, b.at(indices, [*at, b.number(i, "index")]), size)
        for i, size in enumerate(sizes)
    ]


def _check_indices(writer: Writer, node: Node, indices: Held, size: int) -> None:
    writer.must_lie(indices, -size, size - 1, f"{node.kind} indices")


def _check_tuples(writer: Writer, node: Node, indices: Held, sizes: Sequence[int]) -> None:
    one = indices.type._replace(shape=indices.type.shape[:-1])
    for i, size in enumerate(sizes):

        def component(b: Body, at: Sequence[Scalar], i: int = i) -> Scalar:
            return b.at(indices, [*at, b.number(i, "index")])

        _check_indices(writer, node, writer.gathered(one, component), size)
