"""A gather of constant, evenly spaced places becomes a slice.

    before   y = nn.gather(x, @two) {axis = 1}          after   a = nn.slice(x)   (from 2, one)
                                                                y = nn.reshape(a)

That is how exporters write ``x[:, 2]`` and ``x[:, ::2]``. A slice is a view with other strides
for a machine, a gather reads an index for every row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class SliceGathers(Pass):
    """The same elements are moved: bit exact."""

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _sliced)


def _sliced(edit: Edit, node: Node) -> Value | None:
    indices = edit.constant(node.operands[1]) if node.kind == "nn.gather" else None
    if indices is None or indices.ndim > 1 or indices.size == 0:
        return None
    x = node.operands[0]
    axis = node.int("axis") % len(x.shape)
    size = x.shape[axis]
    places = indices.reshape(-1).astype(np.int64)
    if bool(((places < -size) | (places >= size)).any()):
        return None  # the interpreter refuses it, with the index
    places = np.where(places < 0, places + size, places)
    steps = np.unique(np.diff(places))
    if len(steps) > 1 or 0 in steps:
        return None
    step = int(steps[0]) if len(steps) else 1
    rank = range(len(x.shape))
    attributes = {
        "starts": tuple(int(places[0]) if i == axis else 0 for i in rank),
        "sizes": tuple(len(places) if i == axis else x.shape[i] for i in rank),
        "steps": tuple(step if i == axis else 1 for i in rank),
    }
    if indices.ndim == 1:
        return edit.op("nn.slice", [x], attributes)
    cut = edit.op("nn.slice", [x], attributes, f"{node.name}.slice")
    return edit.op("nn.reshape", [cut], {"shape": node.result.shape})
