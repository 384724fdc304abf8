"""Nodes whose operands are all constants become weights named after them.

    before   t = nn.transpose(@w) {perm = (1, 0)}          after   y = nn.matmul(x, @t)
             y = nn.matmul(x, t)

A node stays if its result is both large and larger than its operands together (a broadcast
must not blow up the file), and so does `qnn.dequantize`: folded, it would turn integer
weights into floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

# assumed: a result of up to 2^20 elements (4 MiB of float32) is never worth recomputing
SMALL_ELEMENTS = 2**20
KEPT = frozenset({"qnn.dequantize"})


@dataclass(frozen=True)
class FoldConstants(Pass):
    """The interpreter's own `evaluate` computes the weight, so every bit stays."""

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        arrays = dict(new.graph.weights)
        constants = set(new.graph.constants)
        folded: dict[int, Node] = {}

        def declare(values: Iterable[Value]) -> None:
            # only what something reads becomes a weight, not every link of a chain
            for value in values:
                if value.index in folded:
                    node = folded.pop(value.index)
                    new.set(value, _weight(new, node, arrays))

        for node in new.graph.nodes:
            if _folds(node, constants):
                constants.add(node.result.index)
                folded[node.result.index] = node
                if not new.shape_only:
                    arrays[node.result.index] = _value(node, arrays)
            else:
                declare(node.operands)
                new.copy(node)
        declare(value for _, value in new.graph.outputs)
        return new.finish()


def _value(node: Node, arrays: Mapping[int, Array]) -> Array:
    operands = [arrays[value.index] for value in node.operands]
    # overflow and NaN are values here, as in the interpreter
    with np.errstate(all="ignore"):
        # not ascontiguousarray, which gives a scalar an axis
        return np.asarray(OPS[node.kind].evaluate(*operands, **node.attributes), order="C")


def _weight(new: Rebuild, node: Node, arrays: Mapping[int, Array]) -> Value:
    if new.shape_only:
        return new.builder.shape_of_weight(node.name, node.result.shape, node.result.dtype)
    return new.builder.weight(node.name, arrays[node.result.index])


def _folds(node: Node, constants: set[int]) -> bool:
    if node.kind in KEPT or any(value.index not in constants for value in node.operands):
        return False
    held = sum(value.elements for value in node.operands)
    return node.result.elements <= max(SMALL_ELEMENTS, held)
