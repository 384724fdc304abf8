"""How far generated code may be from the real function: running error analysis of its lines.

Every register has its exact value v, computed in float64, and a bound d on what float32 adds to
it and to what it reads: ``|machine - v| <= d``. The rules are of the operations alone, so that
an operator's bound follows from its own code (N. J. Higham, "Accuracy and Stability of
Numerical Algorithms", 2002, chapters 2 and 3):

* an operation that rounds adds ``u |result|``, u = 2^-24; the exponential, logarithm and the
  like 8 u, as NumPy's and the GPU's are documented within 3 ulp; sums of n terms n u of their
  magnitudes, whatever their order.
* a monotone function passes d on as far as it moves between v - d and v + d, so a rounding to
  integers does by whole numbers, and by nothing where none is near.
* a comparison whose sides are closer than their errors may come out either way; what is
  selected by it may be either, and the difference of the two is part of the bound.

Infinities come from exact operands and are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from tetrapla.backends.gpu.bounds.rules import EXPONENTIAL, U32, Tracked, tracked
from tetrapla.backends.gpu.generated.expressions import expression
from tetrapla.backends.gpu.generated.quantised import QUANTISED
from tetrapla.backends.gpu.generated.roundings import ROUNDINGS
from tetrapla.ir.graph import DTYPES, Array, Node, Value
from tetrapla.ir.quant.small import FORMATS as SMALL
from tetrapla.ir.quant.small import to_small
from tetrapla.simulators.gpu.code import OPERATIONS, REDUCTIONS, Instruction, constant
from tetrapla.simulators.gpu.kernels import Expression

LARGEST32 = float(np.finfo(np.float32).max)
CHUNK = 2**18  # lanes at a time, which bounds the memory
TINY = 2.0**-126  # below, results lose their relative accuracy
WIDE = 2.0**-52  # of the analysis itself, which is in float64
# float operations that are exact, and those that every machine rounds alike and once
EXACT = ("neg", "abs", "minimum", "maximum", "floor", "ceil", "round", "select", "cast")
ONCE = ("add", "sub", "mul", "div", "sqrt", "fma")
MONOTONE = ("exp", "log", "erf", "sqrt", "floor", "ceil", "round")


@dataclass(frozen=True)
class Bounded:
    """A register: exact values, and bounds of their shape or None where nothing is added."""

    v: Array
    d: Array | None


_GONE = Bounded(np.zeros(0), None)
Held: TypeAlias = Mapping[str, Bounded]


class Operands:
    """A node alone: its operands are buffers called by their position."""

    def __init__(self, node: Node) -> None:
        self._names = {v.index: str(i) for i, v in reversed([*enumerate(node.operands)])}
        self.tables: dict[str, Array] = {}

    def root(self, value: Value) -> Value:
        """No views."""
        return value

    def load(self, value: Value) -> str:
        """Its position."""
        return self._names[value.index]

    def order(self, value: Value) -> tuple[int, ...]:
        """As their shapes say."""
        return ()

    def table(self, name: str, array: Array) -> str:
        """Kept by name."""
        self.tables[name] = array
        return name


def code_of(node: Node) -> tuple[Expression, Operands]:
    """The generated kernel of a node alone."""
    operands = Operands(node)
    return expression(node, operands, {}), operands


def rule(node: Node, operands: Sequence[Tracked]) -> Tracked:
    """The error analysis of a node that generated code computes."""
    kernel, own = code_of(node)
    held: dict[str, Bounded] = {
        name: Bounded(array.reshape(1, -1), None) for name, array in own.tables.items()
    }
    for i, (value, x) in enumerate(zip(node.operands, operands, strict=True)):
        v, d = (np.asarray(each.reshape(len(each), -1)) for each in (x.v, x.d))
        if value.dtype != "f32":
            v = v.astype(DTYPES[value.dtype])
        held.setdefault(str(i), Bounded(v, d if d.any() else None))
    return tracked(*_stored(kernel, held, node.result.shape))


def _stored(kernel: Expression, held: Held, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Values and bounds of what the kernel stores, (invocations or 1, *shape)."""
    rows = max(1, CHUNK // kernel.length)
    parts = [
        _part(kernel, held, np.arange(start, min(kernel.rows, start + rows)))
        for start in range(0, kernel.rows, rows)
    ]
    place = np.concatenate([p for p, _, _ in parts])
    count = max(len(v) for _, v, _ in parts)
    v, d = (np.empty((count, len(place))) for _ in range(2))
    v[:, place] = _joined([v for _, v, _ in parts], count)
    d[:, place] = _joined([d for _, _, d in parts], count)
    return v.reshape(count, *shape), np.where(np.isnan(d), np.inf, d).reshape(count, *shape)


def _joined(parts: Sequence[Array], count: int) -> Array:
    return np.concatenate([np.broadcast_to(a, (count, a.shape[1])) for a in parts], axis=1)


def _part(kernel: Expression, held: Held, rows: Array) -> tuple[Array, Array, Array]:
    """Places, values and bounds of some rows."""
    found = _registers(kernel, held, rows)
    value, place = found[kernel.value], found[kernel.place].v
    shape = np.broadcast_shapes(value.v.shape, (1, *place.shape[1:]))
    count, _, _ = shape
    v, d = (np.broadcast_to(a, shape).reshape(count, -1) for a in (value.v, _of(value)))
    return np.broadcast_to(place, (1, *shape[1:])).reshape(-1), v, d


def _registers(kernel: Expression, held: Held, numbers: Array) -> list[Bounded]:
    rows = numbers.reshape(1, -1, 1)
    lanes = np.arange(kernel.length).reshape(1, 1, -1)
    found: list[Bounded] = []
    last = {a: number for number, each in enumerate(kernel.code) for a in each.args}
    last |= dict.fromkeys((kernel.value, kernel.place), len(kernel.code))
    for number, each in enumerate(kernel.code):
        args = [found[i] for i in each.args]
        if each.op == "constant":
            made = Bounded(constant(each).reshape(1, 1, 1), None)
        elif each.op in ("row", "lane"):
            made = Bounded(rows if each.op == "row" else lanes, None)
        elif each.op == "load":
            made = _loaded(held[each.value], args)
        elif each.op in REDUCTIONS:
            made = _reduced(each, args[0], kernel.length)
        else:
            made = _operation(each, args)
        v = made.v.astype(np.float64 if each.dtype == "f32" else DTYPES[each.dtype], copy=False)
        found.append(Bounded(v, made.d))
        for a in each.args:
            if last[a] == number:
                found[a] = _GONE
    return found


def _loaded(buffer: Bounded, args: Sequence[Bounded]) -> Bounded:
    offset = args[0].v
    inside = args[1].v if len(args) > 1 else np.ones((1, 1, 1), np.bool_)
    offset, inside = np.broadcast_arrays(offset, inside)
    pick = partial(_picked, np.where(inside, offset, 0))
    v = np.where(inside, pick(buffer.v), 0)
    d = None if buffer.d is None else np.where(inside, pick(buffer.d), 0.0)
    doubt = [a.d for a in args if a.d is not None]
    if doubt:  # another element may be read
        open_ = np.any(np.broadcast_arrays(*doubt), axis=0)
        d = np.where(open_, np.inf, 0.0 if d is None else d)
    return Bounded(v, d)


def _picked(offset: Array, held: Array) -> Array:
    rows = np.arange(len(held)).reshape(-1, 1, 1)
    return held[:, offset[0]] if len(offset) == 1 else held[rows, offset]


def _reduced(each: Instruction, x: Bounded, length: int) -> Bounded:
    shape = (*x.v.shape[:2], length)
    v = np.broadcast_to(x.v, shape)
    d = np.broadcast_to(_of(x), shape if x.d is None else (*x.d.shape[:2], length))
    floats = each.dtype == "f32"
    n = length * U32 / (1 - length * U32) if floats else 0.0
    size = np.abs(v.astype(np.float64)) + d if floats else None
    match each.op:
        case "sum":
            made = v.sum(axis=2, keepdims=True, dtype=v.dtype)
            away = d.sum(axis=2, keepdims=True)
            fresh = 0.0 if size is None else n * size.sum(axis=2, keepdims=True)
        case "product":
            made = v.prod(axis=2, keepdims=True, dtype=v.dtype)
            plain = np.abs(v.astype(np.float64)).prod(axis=2, keepdims=True)
            most = (np.abs(v.astype(np.float64)) + d).prod(axis=2, keepdims=True)
            away, fresh = most - plain, n * most
        case "largest":
            made, away = v.max(axis=2, keepdims=True), d.max(axis=2, keepdims=True)
            fresh = 0.0
        case _:
            made, away = v.min(axis=2, keepdims=True), d.max(axis=2, keepdims=True)
            fresh = 0.0
    if not floats and x.d is None:
        return Bounded(made, None)
    return Bounded(made, np.where(np.isfinite(made), away + fresh, 0.0))


def _operation(each: Instruction, args: Sequence[Bounded]) -> Bounded:
    v = np.asarray(OPERATIONS[each.op](*(a.v for a in args)))
    if each.op == "cast":
        v = v != 0 if each.dtype == "i1" else v
    floats = each.dtype == "f32"
    known = all(a.d is None for a in args)
    if known and not (floats and each.op not in EXACT):
        narrowed = each.op == "cast" and floats and args[0].v.dtype.kind in "iu"
        return Bounded(v, U32 * np.abs(v.astype(np.float64)) if narrowed else None)
    wide = v.astype(np.float64)
    handed = np.zeros(1) if known else np.asarray(_RULES[each.op](each, v, args))
    fresh = 0.0
    if floats and each.op not in EXACT:
        units = 1 if each.op in ONCE else EXPONENTIAL
        fresh = units * U32 * (np.abs(wide) + handed)
        fresh = fresh + (0.0 if each.op in ("add", "sub") else TINY)
    d = np.where(np.isfinite(wide), handed + fresh, 0.0)
    if floats:
        d = np.where(np.isfinite(wide) & (np.abs(wide) + d > LARGEST32), np.inf, d)
    return Bounded(v, d)


def _of(x: Bounded) -> Array:
    return np.zeros((1, 1, 1)) if x.d is None else x.d


def _sum(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    return _of(args[0]) + _of(args[1])


def _unbounded(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    return np.where(_of(args[0]) + _of(args[1]) > 0, np.inf, 0.0)


def _mul(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    a, b = args
    size = np.abs(a.v) * _of(b) + _of(a) * np.abs(b.v)
    return np.asarray(size + _of(a) * _of(b))


def _fused(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    return _mul(each, v, args[:2]) + _of(args[2])


def _div(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    a, b = args
    least = np.abs(b.v) - _of(b)
    found = (_of(a) + np.abs(v) * _of(b)) / np.maximum(least, 0)
    return np.where(least > 0, found, np.inf)


def _widest(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    found = _of(args[0])
    for x in args[1:]:
        found = np.maximum(found, _of(x))
    return found


def _monotone(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    """How far a rising function moves within the error, and the analysis' own rounding."""
    (x,) = args
    function, d = OPERATIONS[each.op], _of(x)
    low = x.v - d
    if each.op in ("sqrt", "log"):
        low = np.maximum(low, np.minimum(x.v, 0))
    moved = np.maximum(function(x.v + d) - v, v - function(low))
    slack = 0.0 if each.op in EXACT else 4 * WIDE
    return np.where(d > 0, moved + slack * np.abs(v), 0.0)


def _wave(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    return np.minimum(_of(args[0]), 2.0)  # a slope of at most 1


def _compared(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    a, b = args
    if a is b:  # a number is equal to itself, whatever it is
        return np.zeros(v.shape)
    d = _of(a) + _of(b)
    with np.errstate(all="ignore"):
        near = np.abs(a.v.astype(np.float64) - b.v.astype(np.float64)) <= d
    return np.where((d > 0) & near, 1.0, 0.0)


def _selected(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    c, a, b = args
    own = np.where(c.v, _of(a), _of(b))
    apart = np.abs(a.v.astype(np.float64) - b.v.astype(np.float64))
    apart = np.where(a.v == b.v, 0.0, apart)
    return np.where(_of(c) > 0, np.maximum(_of(a), _of(b)) + apart, own)


def _cast(each: Instruction, v: Array, args: Sequence[Bounded]) -> Array:
    (x,) = args
    d = _of(x)
    if each.dtype == "i1":
        return np.where((d > 0) & (np.abs(x.v.astype(np.float64)) <= d), 1.0, 0.0)
    if each.dtype in SMALL:  # the rounding is monotone
        found = (to_small(x.v + e, each.dtype) for e in (0.0, -d, d))
        exact, low, high = (small.astype(np.float64) for small in found)
        return np.where(d > 0, np.maximum(high - exact, exact - low), 0.0)
    if x.v.dtype.kind == "f" and each.dtype != "f32":
        low, high = np.trunc(x.v - d), np.trunc(x.v + d)
        return np.where(d > 0, np.maximum(high - np.trunc(x.v), np.trunc(x.v) - low), 0.0)
    return d


_RULES: Mapping[str, Callable[[Instruction, Array, Sequence[Bounded]], Array]] = {
    "add": _sum,
    "sub": _sum,
    "mul": _mul,
    "div": _div,
    "fma": _fused,
    "sin": _wave,
    "cos": _wave,
    "select": _selected,
    "cast": _cast,
    **dict.fromkeys(("minimum", "maximum", "neg", "abs", "and", "or", "xor", "not"), _widest),
    **dict.fromkeys(("equal", "less", "less_or_equal"), _compared),
    **dict.fromkeys(("floor_div", "remainder", "shift_left", "shift_right"), _unbounded),
    **dict.fromkeys(MONOTONE, _monotone),
}


def is_inexact(node: Node) -> bool:
    """Whether the node's generated code rounds in another way than its operator does."""
    if node.kind in (*QUANTISED, *ROUNDINGS):  # written after it, rounding for rounding
        return False
    kernel, _ = code_of(node)
    made = [i.op for i in kernel.code if i.dtype == "f32" and i.op not in _SURE]
    return len(made) > 1 or not set(made) <= set(ONCE)


_SURE = (*EXACT, "load", "constant", "largest", "smallest")
