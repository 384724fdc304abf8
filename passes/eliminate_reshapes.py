"""Reshapes sink towards the outputs, where the last one of a chain is all that stays.

    before   a = nn.reshape(x) {shape = (1, 8, 4)}            after   y = nn.relu(nn.add(x, @b))
             b = nn.relu(nn.add(a, @b))     (b: [4])
             y = nn.reshape(b) {shape = (8, 4)}               where x has shape (8, 4)

A reshape sinks through element-wise operators: both operands reshaped alike, or one and a
single number, or one and a vector along a last axis that the reshape keeps. What is read more
than once stays. Expansions to the same shape and chains of them go as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.elementwise_ import binary, unary
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rules_ import shapes


@dataclass(frozen=True)
class EliminateReshapes(Pass):
    """Elements keep their order and are computed as before: bit exact."""

    def __call__(self, module: Module) -> Module:
        return rewrite(module, shapes, _one, _two)


def _one(edit: Edit, node: Node) -> Value | None:
    if not unary(node.kind):
        return None
    x = _plain(edit, node.operands[0])
    return x and _sunk(edit, node, [x])


def _two(edit: Edit, node: Node) -> Value | None:
    if not binary(node.kind):
        return None
    a, b = node.operands
    x, y = (_plain(edit, value) for value in node.operands)
    if x is not None and y is not None:
        same = x.shape == y.shape and a.shape == b.shape
        return _sunk(edit, node, [x, y]) if same else None
    if x is not None and a.shape == node.result.shape and _spreads(x, a, b):
        return _sunk(edit, node, [x, b])
    if y is not None and b.shape == node.result.shape and _spreads(y, b, a):
        return _sunk(edit, node, [a, y])
    return None


def _plain(edit: Edit, value: Value) -> Value | None:
    """What the value is the reshape of, if nothing else reads the reshape."""
    node = edit.maker(value, "nn.reshape")
    return None if node is None or edit.readers(value) > 1 else node.operands[0]


def _spreads(x: Value, reshaped: Value, other: Value) -> bool:
    """Whether the other operand meets the same elements without the reshape."""
    if other.elements == 1:
        return len(other.shape) <= min(len(x.shape), len(reshaped.shape))
    return len(other.shape) == 1 and x.shape[-1:] == reshaped.shape[-1:] == other.shape


def _sunk(edit: Edit, node: Node, operands: list[Value]) -> Value:
    """The operator on operands as they were, then the reshape."""
    made = edit.op(node.kind, operands, node.attributes)
    return edit.op("nn.reshape", [made], {"shape": node.result.shape}, f"{node.name}.reshaped")
