"""Values read and written where others lie: by an offset, and a stride per axis.

A transpose, reshape, slice or repetition only says where elements are found, so a kernel that
takes strides reads through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from tetrapla.ir.graph import Node, Value

MOVES = ("nn.reshape", "nn.transpose", "nn.slice", "nn.expand")


@dataclass(frozen=True)
class View:
    """A value read out of another one's row-major elements."""

    value: Value
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def written(
    node: Node, uses: Mapping[int, Sequence[Node]], kept: set[int]
) -> tuple[View, set[str]]:
    """Where the result is written: as itself, or through the transposes behind it."""
    chain: list[Node] = []
    value, best = node.result, (plain(node.result), set[str]())
    while value.index not in kept and len(uses.get(value.index, ())) == 1:
        (user,) = uses[value.index]
        if user.kind not in ("nn.transpose", "nn.reshape"):
            break
        chain.append(user)
        value = user.result
        view = _through(chain, node.result.shape) if user.kind == "nn.transpose" else None
        if view is not None:
            best = view, {each.name for each in chain}
    return best


def _through(chain: Sequence[Node], shape: tuple[int, ...]) -> View | None:
    """A value of a shape in the buffer of what transposes and reshapes make of it."""
    last = plain(chain[-1].result)
    own, strides = last.shape, last.strides
    for node in reversed(chain):
        before = node.operands[0].shape
        if node.kind == "nn.transpose":
            places = {axis: at for at, axis in enumerate(node.ints("perm"))}
            strides = tuple(strides[places[axis]] for axis in range(len(before)))
        else:
            found = reshaped(own, strides, before)
            if found is None:
                return None
            strides = found
        own = before
    return View(last.value, 0, shape, strides)


def turned(
    value: Value,
    turns: Sequence[Node],
    shape: tuple[int, ...],
    lying: tuple[int, ...] = (),
) -> View | None:
    """Elements of a shape in a value's buffer, which transposes behind each other make of it.

    What lies between them are reshapes; None where the strides are not even. `lying` are the
    strides of the value, where it is not row-major.
    """
    held, strides = value.shape, lying or plain(value).strides
    for node in reversed(turns):
        found = reshaped(held, strides, node.result.shape)
        if found is None:
            return None
        places = {axis: at for at, axis in enumerate(node.ints("perm"))}
        held = node.operands[0].shape
        strides = tuple(found[places[axis]] for axis in range(len(held)))
    found = reshaped(held, strides, shape)
    return None if found is None else View(value, 0, shape, found)


def view_of(value: Value, makers: Mapping[int, Node]) -> View:
    """A value as it lies in the first buffer behind the moves that make it."""
    node = makers.get(value.index)
    if node is None or node.kind not in MOVES:
        return plain(value)
    x = view_of(node.operands[0], makers)
    match node.kind:
        case "nn.transpose":
            strides = tuple(x.strides[axis] for axis in node.ints("perm"))
            return View(x.value, x.offset, value.shape, strides)
        case "nn.slice":
            starts, steps = node.ints("starts"), node.ints("steps")
            offset = sum(a * s for a, s in zip(starts, x.strides, strict=True))
            strides = tuple(a * s for a, s in zip(steps, x.strides, strict=True))
            return View(x.value, x.offset + offset, value.shape, strides)
        case "nn.expand":
            return repeated(x, value.shape)
        case _:
            found = reshaped(x.shape, x.strides, value.shape)
            return (
                plain(value) if found is None else replace(x, shape=value.shape, strides=found)
            )


def reshaped(
    shape: tuple[int, ...], strides: tuple[int, ...], to: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The strides under which elements [*shape] are read as [*to], in row-major order.

    None where they are not evenly apart.
    """
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    made: list[int] = []
    inner, width, stride = 1, 1, 0  # a run of `width` elements, `inner` of which are read
    for size in reversed(to):
        if size == 1:
            made.append(0)
            continue
        if inner == width:
            if not old:
                return None
            (width, stride), inner = old.pop(), 1
        while width % (inner * size):
            if not old or old[-1][1] != width * stride:
                return None
            width *= old.pop()[0]
        made.append(stride * inner)
        inner *= size
    return tuple(reversed(made))


def repeated(view: View, shape: tuple[int, ...]) -> View:
    """Laid against the last axes of a shape, with no stride where it is repeated."""
    more = len(shape) - len(view.shape)
    pairs = zip(view.shape, view.strides, shape[more:], strict=True)
    own = tuple(0 if n == 1 else stride for n, stride, _ in pairs)
    return replace(view, shape=shape, strides=((0,) * more + own))


def plain(value: Value) -> View:
    """A value as it lies in a buffer of its own."""
    shape = value.shape
    return View(value, 0, shape, tuple(prod(shape[i + 1 :]) for i in range(len(shape))))


def strides_of(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Elements between places along each axis, where the axes lie in an order."""
    strides, inner = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = inner
        inner *= shape[axis]
    return tuple(strides)
