"""The rewrites of `canonicalize` that are nothing but a shape of the graph, as PDL text.

Each keeps every bit: rounding up twice is rounding up, IEEE 754 defines x - y as x + (-y), and
x * 1, x / 1, x - 0 and x + (-0) are x. (x + 0 is not: -0 + 0 is 0.)
"""

from __future__ import annotations

from textwrap import indent

TWICE_IS_ONCE = ("abs", "ceil", "floor", "relu", "round", "sign")
TWICE_IS_NEVER = ("neg", "not")
NEUTRAL = (("mul", "1.0"), ("div", "1.0"), ("sub", "0.0"), ("add", "-0.0"))
SIGNS = (("add", "sub"), ("sub", "add"))


def text() -> str:
    """All of them."""
    twice = [_twice(kind, "%first") for kind in TWICE_IS_ONCE]
    never = [_twice(kind, "(%x : !pdl.value)") for kind in TWICE_IS_NEVER]
    neutral = [_neutral(kind, number) for kind, number in NEUTRAL]
    signs = [_signs(kind, other) for kind, other in SIGNS]
    return "\n".join([*twice, *never, *neutral, *signs])


def _pattern(name: str, matched: str, rewrite: str) -> str:
    body = f"{matched}\npdl.rewrite %root {{\n{indent(rewrite, '  ')}\n}}"
    return f"pdl.pattern @{name} : benefit(1) {{\n{indent(body, '  ')}\n}}"


def _twice(kind: str, result: str) -> str:
    """``f(f(x))`` is what `result` says."""
    matched = f"""%type = pdl.type
%x = pdl.operand : %type
%first = pdl.operation "nn.{kind}"(%x : !pdl.value) -> (%type : !pdl.type)
%between = pdl.result 0 of %first
%root = pdl.operation "nn.{kind}"(%between : !pdl.value) -> (%type : !pdl.type)"""
    return _pattern(f"{kind}_of_{kind}", matched, f"pdl.replace %root with {result}")


def _neutral(kind: str, number: str) -> str:
    """``f(x, w)`` is x where all of w is the number and the result has x's shape."""
    matched = f"""%type = pdl.type
%x = pdl.operand : %type
%w = pdl.operand
%number = pdl.attribute = {number} : f32
pdl.apply_native_constraint "filled"(%w, %number : !pdl.value, !pdl.attribute)
%root = pdl.operation "nn.{kind}"(%x, %w : !pdl.value, !pdl.value) -> (%type : !pdl.type)"""
    return _pattern(f"{kind}_of_neutral", matched, "pdl.replace %root with (%x : !pdl.value)")


def _signs(kind: str, other: str) -> str:
    """``f(x, -y)`` is ``g(x, y)``."""
    matched = f"""%type = pdl.type
%inner = pdl.type
%x = pdl.operand
%y = pdl.operand
%layer = pdl.attribute
%negative = pdl.operation "nn.neg"(%y : !pdl.value) -> (%inner : !pdl.type)
%between = pdl.result 0 of %negative
%root = pdl.operation "nn.{kind}"(%x, %between : !pdl.value, !pdl.value) {{"layer" = %layer}}
    -> (%type : !pdl.type)"""
    rewrite = f"""%made = pdl.operation "nn.{other}"(%x, %y : !pdl.value, !pdl.value)
    {{"layer" = %layer}} -> (%type : !pdl.type)
pdl.replace %root with %made"""
    return _pattern(f"{kind}_of_neg", matched, rewrite)
