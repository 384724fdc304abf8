"""Concatenations: what is not written in its place already is copied there."""

from __future__ import annotations

import numpy as np

from tetrapla.backends.systolic.layout import Placed
from tetrapla.backends.systolic.vector.homes import Part, is_same
from tetrapla.backends.systolic.vector.operators import Pass, copy_pass
from tetrapla.backends.systolic.vector.routines import RoutineStage, copy_stage
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Attribute, Node, Value
from tetrapla.simulators.systolic.routines import Step


def copies(
    node: Node, whole: Placed, operands: tuple[Placed, Placed], there: tuple[bool, bool]
) -> list[RoutineStage | Pass]:
    """The stages of a concatenation.

    Args:
        node: nn.concat or qnn.concat.
        whole: where the result lies.
        operands: where the operands lie.
        there: whether each lies in its part of the result.

    Raises:
        UnsupportedError: the result's layout cannot be cut.
    """
    axis, start = node.int("axis") % len(node.result.shape), 0
    found: list[RoutineStage | Pass] = []
    for letter, value, source, ready in zip("ab", node.operands, operands, there, strict=True):
        target = Part(node.result, axis, start, value.shape[axis]).inside(whole)
        start += value.shape[axis]
        if ready or not value.elements:
            continue
        if target is None:
            raise UnsupportedError("a result in a layout that cannot be cut")
        name = f"{node.name}.{letter}"
        if node.kind == "nn.concat" or is_same(node, letter):
            found.append(copied(name, source, target, value.shape))
        else:
            found.append(_rescaled(node, letter, name, source, target, value))
    return found


def copied(
    name: str, source: Placed, target: Placed, shape: tuple[int, ...]
) -> RoutineStage | Pass:
    """A value elsewhere: by one instruction where rows are contiguous, else by a routine."""
    try:
        return copy_pass(name, source, target)
    except UnsupportedError:
        return copy_stage(name, source, target, shape)


def _rescaled(
    node: Node, letter: str, name: str, source: Placed, target: Placed, value: Value
) -> RoutineStage:
    """An operand under the result's scale: ``x_scale / y_scale`` in two float32 steps."""
    scales = {1: node.float(f"{letter}_scale"), 3: node.float("y_scale")}
    real: dict[str, Attribute] = {"zero_point": node.int(f"{letter}_zero_point"), "axis": 0}
    held: dict[str, Attribute] = {"zero_point": node.int("y_zero_point"), "axis": 0}
    steps = (
        Step("qnn.dequantize", name, (0, 1), (2,), value.elements, real),
        Step(
            "qnn.quantize",
            name,
            (2, 3),
            (4,),
            value.elements,
            {**held, "dtype": source.dtype},
        ),
    )
    immediates = {i: np.array([scale], np.float32) for i, scale in scales.items()}
    places = ((0, source),), ((4, target),)
    kept: frozenset[int] = frozenset()
    return RoutineStage(name, node.kind, steps, *places, immediates, value.shape, kept)
