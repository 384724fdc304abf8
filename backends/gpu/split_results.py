"""Operators with more than one result become operators with one each, which kernels store.

    before   v, i = nn.top_k(x)        after   r = how many of a row come before each element
                                               v = the element whose r is 0, 1, ... k - 1
                                               i = its place

A rank is counted by comparing every element of a row with every other: n^2 comparisons of a row
of n, without a sort and without branches; of equal numbers the first comes first, as the
operator says. What is counted and compared is exact, so that no bit moves. A dynamic
quantisation is its own definition, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.nn.reduce import extremes
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild


@dataclass(frozen=True)
class SplitResults(Pass):
    """Bit exact."""

    def __call__(self, module: Module) -> Module:
        if not any(node.kind in SPLIT for node in module.graph.nodes):
            return module
        new = Rebuild(module)
        for node in new.graph.nodes:
            if node.kind not in SPLIT or not all(v.elements for v in node.operands):
                new.copy(node)
                continue
            made = SPLIT[node.kind](_Parts(new.builder, node.name), node, new.of)
            for old, value in zip(node.results, made, strict=True):
                new.set(old, value)
        return new.finish()


class _Parts:
    """Operators that stand for one, called after it."""

    def __init__(self, builder: ModuleBuilder, name: str) -> None:
        self._builder, self._name = builder, name

    def op(
        self, kind: str, operands: list[Value], part: str = "", **attributes: Attribute
    ) -> Value:
        """One of them; the parts that are not named are called after their kind."""
        name = f"{self._name}.{part or kind.removeprefix('nn.')}"
        return self._builder.op(kind, operands, attributes, name)

    def weight(self, part: str, array: Array) -> Value:
        """A constant."""
        return self._builder.weight(f"{self._name}.{part}", array)


Split = Callable[[_Parts, Node, Callable[[Value], Value]], list[Value]]


def _top_k(parts: _Parts, node: Node, of: Callable[[Value], Value]) -> list[Value]:
    x = of(node.operands[0])
    rank = len(x.shape)
    axis = node.int("axis") % rank
    n, k = x.shape[axis], node.int("k")
    last = tuple(i for i in range(rank) if i != axis)
    if axis != rank - 1:
        x = parts.op("nn.transpose", [x], "rows", perm=(*last, axis))
    lead = x.shape[:-1]
    number = parts.weight("places", np.arange(n, dtype=np.int32))
    own = _ranks(parts, x, number, bool(node.int("largest")))
    wanted = parts.weight("wanted", np.arange(k, dtype=np.int32).reshape(k, 1))
    own = parts.op("nn.reshape", [own], "ranks", shape=(*lead, 1, n))
    # what two kernels read would be stored, and is as large as k rows: each makes its own
    hits = [parts.op("nn.equal", [own, wanted], "hit") for _ in range(2)]
    low, _ = extremes(DTYPES[x.dtype])
    lowest = parts.weight("lowest", np.array(low, DTYPES[x.dtype]))
    laid = parts.op("nn.reshape", [x], "laid", shape=(*lead, 1, n))
    held = parts.op("nn.where", [hits[0], laid, lowest], "held")
    none = parts.weight("none", np.array(-1, np.int32))
    at = parts.op("nn.where", [hits[1], number, none], "at")
    values, places = (
        parts.op("nn.reduce_max", [each], name, axes=(rank,), keepdims=0)
        for each, name in ((held, "values"), (at, "indices"))
    )
    places = parts.op("nn.cast", [places], "wide", dtype="i64")
    if axis == rank - 1:
        return [values, places]
    back = tuple(last.index(i) if i != axis else rank - 1 for i in range(rank))
    return [parts.op("nn.transpose", [each], perm=back) for each in (values, places)]


def _ranks(parts: _Parts, x: Value, number: Value, largest: bool) -> Value:
    """How many of a row come before each: the larger (or smaller), and the equal in front.

    A NaN is larger than any number, and as large as another.
    """
    *lead, n = x.shape
    own = parts.op("nn.reshape", [x], "own", shape=(*lead, n, 1))
    other = parts.op("nn.reshape", [x], "other", shape=(*lead, 1, n))
    order = [other, own] if largest else [own, other]
    before = parts.op("nn.greater", order, "before")
    equal = parts.op("nn.equal", [own, other], "equal")
    if x.dtype == "f32":
        none = [parts.op("nn.is_nan", [each]) for each in (own, other)]
        both = [parts.op("nn.and", none, "neither") for _ in range(2)]
        equal = parts.op("nn.or", [equal, both[0]], "same")
        above = none[1] if largest else none[0]
        other_is = parts.op("nn.xor", [above, both[1]], "alone")
        before = parts.op("nn.or", [before, other_is], "above")
    column = parts.weight("rows", np.arange(n, dtype=np.int32).reshape(n, 1))
    front = parts.op("nn.less", [number, column], "front")
    tied = parts.op("nn.and", [equal, front], "tied")
    counted = parts.op("nn.cast", [parts.op("nn.or", [before, tied])], dtype="i32")
    return parts.op("nn.reduce_sum", [counted], "rank", axes=(len(lead) + 1,), keepdims=0)


def _dynamic_quantize(parts: _Parts, node: Node, of: Callable[[Value], Value]) -> list[Value]:
    x = of(node.operands[0])
    axes = tuple(range(len(x.shape)))

    def number(name: str, value: float) -> Value:
        return parts.weight(name, np.array(value, np.float32))

    def extreme(reduction: str, join: str) -> Value:
        found = parts.op(f"nn.reduce_{reduction}", [x], axes=axes, keepdims=0)
        return parts.op(f"nn.{join}", [found, number(f"{reduction}.zero", 0.0)])

    lowest, highest = extreme("min", "minimum"), extreme("max", "maximum")
    span = parts.op("nn.sub", [highest, lowest], "span")
    flat = parts.op("nn.equal", [span, number("none", 0.0)], "flat")
    share = parts.op("nn.div", [span, number("steps", 255.0)], "share")
    scale = parts.op("nn.where", [flat, number("one", 1.0), share], "scale")
    down = parts.op("nn.div", [parts.op("nn.neg", [lowest]), scale], "down")
    zero = _byte(parts, parts.op("nn.round", [down], "zero"), "zero_point")
    steps = parts.op("nn.round", [parts.op("nn.div", [x, scale], "steps_of")], "rounded")
    moved = parts.op("nn.add", [steps, parts.op("nn.cast", [zero], "shift", dtype="f32")])
    return [_byte(parts, moved, "q"), scale, zero]


def _byte(parts: _Parts, x: Value, name: str) -> Value:
    """Clipped to 0..255; a NaN is 0."""
    zero = parts.weight(f"{name}.nothing", np.array(0, np.float32))
    known = parts.op("nn.where", [parts.op("nn.is_nan", [x]), zero, x], f"{name}.known")
    held = parts.op("nn.clip", [known], f"{name}.held", low=0.0, high=255.0)
    return parts.op("nn.cast", [held], name, dtype="ui8")


SPLIT: Mapping[str, Split] = {
    "nn.top_k": _top_k,
    "qnn.dynamic_quantize": _dynamic_quantize,
}
