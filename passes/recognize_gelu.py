"""The error function or tanh around a value becomes one GELU.

    before   e = nn.erf(x / sqrt(2))                    after   y = nn.gelu(x)
             y = x * (e + 1) * 0.5

Any order and association of the products and sums will do: the node is read as a polynomial of
x and of the function's value t, which must be ``x / 2 + x t / 2``. ``tanh(sqrt(2 / pi) (x +
0.044715 x^3))`` gives the form `approximate = "tanh"`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import pi, sqrt
from typing import ClassVar, TypeAlias

from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import BEHIND, REAL, close, number, unscaled
from tetrapla.passes.pass_ import Pass

# coefficient by the exponents of x and t
Polynomial: TypeAlias = "dict[tuple[int, int], float]"

X, T = (1, 0), (0, 1)
GELU: Polynomial = {(1, 0): 0.5, (1, 1): 0.5}
CUBIC: Polynomial = {(1, 0): sqrt(2 / pi), (3, 0): sqrt(2 / pi) * 0.044715}
ARITHMETIC = ("nn.mul", "nn.add", "nn.sub", "nn.div", "nn.pow", "nn.neg")
# assumed: no exporter writes a longer chain; x * x * x adds one
DEPTH = 8


@dataclass(frozen=True)
class RecognizeGelu(Pass):
    """One rounding instead of one per step.

    With u = 2^-24: constants within `match_.SAME_REL` = 16 u and up to 5 roundings move the
    function's argument z, which moves ``x t(z) / 2`` by at most x / 4 of that (the largest
    ``z t'(z) / 2`` is 0.25 of erf and 0.22 of tanh): 6 u x. The function, the sum, the products
    and the new form's rounding add 5 u x. That is relative to the largest x, which is taken to
    be positive (an output near it); the layers behind may amplify by `match_.BEHIND`.
    """

    max_rel_error: ClassVar[float] = BEHIND * 11 * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _gelu)


def _gelu(edit: Edit, node: Node) -> Value | None:
    if node.kind not in ("nn.mul", "nn.div", "nn.add") or node.result.dtype not in REAL:
        return None
    # once each: sums of sums lead to one value in many ways
    for t in dict.fromkeys(_below(edit, node, DEPTH, ("nn.erf", "nn.tanh"))):
        function = edit.maker(t)
        assert function is not None
        if function.kind == "nn.erf":
            x, factor = unscaled(edit, function.operands[0])
            xs, form = ([x] if close(factor, sqrt(0.5)) else []), "none"
        else:
            xs, form = _cubic(edit, function.operands[0]), "tanh"
        for x in xs:
            found = _polynomial(edit, node, {x.index: X, t.index: T}, DEPTH)
            if x.shape == node.result.shape and _same(found, GELU):
                return edit.op("nn.gelu", [x], {"approximate": form})
    return None


def _cubic(edit: Edit, z: Value) -> list[Value]:
    """The x of which z is the argument of tanh."""
    node = edit.maker(z, *ARITHMETIC)
    if node is None:
        return []
    candidates = {v.index: v for v in _below(edit, node, DEPTH, ())}
    return [
        x
        for x in candidates.values()
        if _same(_polynomial(edit, node, {x.index: X}, DEPTH), CUBIC)
    ]


def _below(edit: Edit, node: Node, depth: int, kinds: tuple[str, ...]) -> Iterator[Value]:
    """Values under sums and products: those that the kinds make, or all without kinds."""
    for operand in node.operands:
        maker = edit.maker(operand)
        if not kinds or (maker is not None and maker.kind in kinds):
            yield operand
        if maker is not None and maker.kind in ARITHMETIC and depth:
            yield from _below(edit, maker, depth - 1, kinds)


def _polynomial(
    edit: Edit, node: Node, known: Mapping[int, tuple[int, int]], depth: int
) -> Polynomial | None:
    """What the node computes of the known values; None if it is no polynomial of them."""
    if node.kind not in ARITHMETIC or depth == 0:
        return None
    parts: list[Polynomial] = []
    for value in node.operands:
        part = _part(edit, value, known, depth)
        if part is None:
            return None
        parts.append(part)
    match node.kind, parts:
        case "nn.neg", [a]:
            return _product(a, {(0, 0): -1.0})
        case "nn.add", [a, b]:
            return _sum(a, b)
        case "nn.sub", [a, b]:
            return _sum(a, _product(b, {(0, 0): -1.0}))
        case "nn.mul", [a, b]:
            return _product(a, b)
        case "nn.div", [a, b]:
            under = b.get((0, 0), 0.0) if len(b) == 1 else 0.0
            return _product(a, {(0, 0): 1 / under}) if under else None
        case _:
            return _power(*parts)


def _part(
    edit: Edit, value: Value, known: Mapping[int, tuple[int, int]], depth: int
) -> Polynomial | None:
    if value.index in known:
        return {known[value.index]: 1.0}
    constant = number(edit, value)
    if constant is not None:
        return {(0, 0): constant}
    maker = edit.maker(value)
    return None if maker is None else _polynomial(edit, maker, known, depth - 1)


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    return {key: a.get(key, 0.0) + b.get(key, 0.0) for key in {*a, *b}}


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    found: Polynomial = {}
    for (i, j), p in a.items():
        for (k, m), q in b.items():
            found[i + k, j + m] = found.get((i + k, j + m), 0.0) + p * q
    return found


def _power(a: Polynomial, b: Polynomial) -> Polynomial | None:
    exponent = b.get((0, 0)) if len(b) == 1 else None
    if exponent not in (2.0, 3.0):
        return None
    square = _product(a, a)
    return square if exponent == 2.0 else _product(square, a)


def _same(found: Polynomial | None, wanted: Polynomial) -> bool:
    if found is None or found.keys() != wanted.keys():
        return False
    return all(close(found[key], value) for key, value in wanted.items())
