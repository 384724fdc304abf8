"""Global averages of images that do not fit the unified buffer: sums of rows, then their sum.

One instruction reads the whole image. Two routines give the same bytes: the first adds the
pixels of each row, in int32, and runs in strips of rows; the second adds those sums, which
are a few for each channel, and scales the total as the operator says.
"""

from __future__ import annotations

import numpy as np

from tetrapla.backends.systolic.array.products import Placing
from tetrapla.backends.systolic.layout import Placed, channels_last
from tetrapla.backends.systolic.memory.room import aligned
from tetrapla.backends.systolic.vector.routines import RoutineStage
from tetrapla.ir.graph import DTYPES, Array, Attribute, Node
from tetrapla.simulators.systolic.routines import Step

_SUM_BYTES = 4  # of an int32


def is_large_average(placing: Placing, node: Node) -> bool:
    """Whether one image of a global average and its result cannot be there at once."""
    if node.kind != "qnn.global_average_pool":
        return False
    images, channels = node.result.shape[:2]
    image_bytes = placing.read(node.operands[0]).buffer.size_bytes // images
    return aligned(image_bytes) + aligned(channels) > placing.machine.buffer_bytes


def large_average(placing: Placing, node: Node) -> list[RoutineStage]:
    """The two stages of such a node."""
    x, (n, c, h, _) = placing.read(node.operands[0]), node.operands[0].shape
    physical, view = channels_last((n, c, h, 1))
    sums = Placed(placing.scratch(n * c * h * _SUM_BYTES), physical, view, "i32")
    steps = (
        _step("nn.cast", node, (0,), 1, node.operands[0].elements, dtype="i32"),
        _step("nn.reduce_sum", node, (1,), 2, node.operands[0].elements, axes=(3,), keepdims=1),
    )
    along, shape = frozenset({3}), node.operands[0].shape
    name = f"{node.name}.rows"
    rows = RoutineStage(name, node.kind, steps, ((0, x),), ((2, sums),), {}, shape, along)
    target = placing.fresh(node.result)
    placing.values[node.result.index] = target
    ends, down = (((0, sums),), ((8, target),)), frozenset({2})
    scaled, numbers = _scaled(node), _numbers(node)
    total = RoutineStage(node.name, node.kind, scaled, *ends, numbers, (n, c, h, 1), down)
    return [rows, total]


def _numbers(node: Node) -> dict[int, Array]:
    """What the zero point adds to the sum, the ratio of the scales, and the result's zero."""
    size = node.operands[0].shape[2] * node.operands[0].shape[3]
    y_scale = np.float32(node.float("y_scale")) * np.float32(size)
    ratio = np.float32(node.float("x_scale")) / y_scale
    return {
        10: np.array([node.int("x_zero_point") * size], np.int32),
        11: np.array([ratio], np.float32),
        12: np.array([node.int("y_zero_point")], np.float32),
    }


def _scaled(node: Node) -> tuple[Step, ...]:
    """``Sat(rint(f32(S) ratio) + y_zero_point)``, S the sum less its zero points."""
    n, c, h, _ = node.operands[0].shape
    dtype, count = node.result.dtype, n * c
    limits = np.iinfo(DTYPES[dtype])
    low, high = float(limits.min), float(limits.max)
    return (
        _step("nn.reduce_sum", node, (0,), 1, count * h, axes=(2,), keepdims=1),
        _step("nn.sub", node, (1, 10), 2, count),
        _step("nn.cast", node, (2,), 3, count, dtype="f32"),
        _step("nn.mul", node, (3, 11), 4, count),
        _step("nn.round", node, (4,), 5, count),
        _step("nn.add", node, (5, 12), 6, count),
        _step("nn.clip", node, (6,), 7, count, low=low, high=high),
        _step("nn.cast", node, (7,), 8, count, dtype=dtype),
    )


def _step(
    kind: str,
    node: Node,
    operands: tuple[int, ...],
    result: int,
    elements: int,
    **attributes: Attribute,
) -> Step:
    return Step(kind, node.name, operands, (result,), elements, attributes)
