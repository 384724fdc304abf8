"""StableHLO's reductions: over axes, and over windows (pools)."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from tetrapla.frontend.foreign.move import reversed_axes
from tetrapla.frontend.foreign.operation import ForeignOp
from tetrapla.frontend.foreign.scope import Constant, Later, Operand, Refusal, Scope, Settled
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.ir.nn.pool import window_counts

# how a body combines two numbers: the reduction, the pair's operator, and what leaves the other
# number as it is
_BODIES: Mapping[str, tuple[str, str, float | None]] = {
    "stablehlo.add": ("nn.reduce_sum", "nn.add", 0.0),
    "stablehlo.maximum": ("nn.reduce_max", "nn.maximum", -inf),
    "stablehlo.minimum": ("nn.reduce_min", "nn.minimum", inf),
    "stablehlo.multiply": ("nn.reduce_prod", "nn.mul", 1.0),
}
_TRUTHS: Mapping[str, tuple[str, str, float | None]] = {
    "stablehlo.and": ("nn.reduce_min", "nn.minimum", 1.0),
    "stablehlo.or": ("nn.reduce_max", "nn.maximum", 0.0),
}
# argmax and argmin as JAX writes them (NaN wins; of equals the smaller index), and torch-mlir,
# whose comparisons leave open what becomes of NaN
FIRST = (
    "compare {over} 0 2; compare NE 0 0; or v0 v1; compare EQ 0 2; compare LT 1 3; and v3 v4; "
    "or v2 v5; select v2 0 2; select v6 1 3; return v7 v8",
    "compare {over_or_equal} 0 2; select v0 0 2; compare EQ 0 2; minimum 1 3; select v0 1 3; "
    "select v2 v3 v4; return v1 v5",
)
_WAYS: Mapping[str, str] = {
    **{form.format(over="GT", over_or_equal="GE"): "max" for form in FIRST},
    **{form.format(over="LT", over_or_equal="LE"): "min" for form in FIRST},
}


def _reduce(op: ForeignOp, scope: Scope) -> Operand | tuple[Operand, ...]:
    axes = op.ints("dimensions")
    if len(op.results) == 2:
        return _place(op, scope, axes)
    if len(op.results) != 1:
        raise Refusal("only of one value, or of a value and its places")
    x, start = op.operands
    if x.dtype == "i1":
        return _truths(op, scope, x, start, axes)
    kind, pair, neutral = _body(op, _BODIES)
    attributes: dict[str, Attribute] = {"axes": axes, "keepdims": 0}
    made: Operand = scope.op(kind, [x], attributes, op.label) if axes else x
    if _is(start, neutral):
        return made
    many = scope.spread(scope.narrow(start), op.result.shape)
    return scope.elementwise(pair, [made, many], {}, f"{op.label}_start")


def _truths(
    op: ForeignOp, scope: Scope, x: Operand, start: Operand, axes: tuple[int, ...]
) -> Operand:
    """A conjunction or disjunction, as the smallest or largest of numbers 0 and 1."""
    kind, _, neutral = _body(op, _TRUTHS)
    if not _is(start, neutral):
        raise Refusal("only from a start that changes nothing")
    attributes: dict[str, Attribute] = {"axes": axes, "keepdims": 0}
    numbers = scope.cast(x, "i32", op.label)
    return scope.cast(scope.op(kind, [numbers], attributes, op.label), "i1", op.label)


def _place(op: ForeignOp, scope: Scope, axes: tuple[int, ...]) -> tuple[Operand, Operand]:
    """The largest (smallest) number and where it stands, as JAX writes argmax (argmin)."""
    x, places = op.operands[:2]
    way = _WAYS.get(said(op.handle.regions[0].blocks[0]))
    if way is None or len(axes) != 1 or not isinstance(places, Constant):
        raise Refusal("of two values only as argmax or argmin over one axis")
    (axis,) = axes
    counted = np.arange(x.shape[axis]).reshape(
        [-1 if i == axis else 1 for i in range(len(x.shape))]
    )
    if not np.array_equal(places.array, np.broadcast_to(counted, x.shape)):
        raise Refusal("of two values only with the places along the axis")
    held: dict[str, Attribute] = {"axis": axis, "keepdims": 0}
    index = scope.op(f"nn.arg_{way}", [x], held, op.label)
    attributes: dict[str, Attribute] = {"axes": axes, "keepdims": 0}
    best = scope.op(f"nn.reduce_{way}", [x], attributes, f"{op.label}_{way}")
    return best, scope.cast(index, places.dtype, op.label)


def _reduce_window(op: ForeignOp, scope: Scope) -> Operand:
    if len(op.results) != 1:
        raise Refusal("only of one value")
    x, start = op.operands
    kind, _, neutral = _body(op, _BODIES)
    summed = (
        _running_sum(op, scope) if kind == "nn.reduce_sum" and _is(start, neutral) else None
    )
    if summed is not None:
        return summed
    if kind not in ("nn.reduce_max", "nn.reduce_sum") or not _is(start, neutral):
        raise Refusal("only as a maximum or a sum from a start that changes nothing")
    if set(op.ints("base_dilations", (1,))) != {1}:
        raise Refusal("only without a dilated input")
    order, attributes = _image_order(op, len(x.shape))
    image = scope.transpose(x, order, f"{op.label}_x")
    back: list[int] = np.argsort(order).tolist()
    if kind == "nn.reduce_max":
        y = scope.op("nn.max_pool2d", [image], attributes, op.label)
        return scope.transpose(y, back, f"{op.label}_result")
    return _window_sum(op, scope, image, attributes, back)


def _running_sum(op: ForeignOp, scope: Scope) -> Operand | None:
    """A sum over all that stands before each number, or behind it, as JAX writes cumsum."""
    x = op.operands[0]
    rank = len(x.shape)
    sizes, pads = op.ints("window_dimensions"), op.ints("padding", (0,) * 2 * rank)
    axes = [axis for axis, size in enumerate(sizes) if size > 1]
    plain = {*op.ints("window_strides"), *op.ints("window_dilations")} <= {1}
    if len(axes) != 1 or not plain or op.result.shape != x.shape:
        return None
    (axis,) = axes
    sides = pads[2 * axis], pads[2 * axis + 1]
    rest = (*pads[: 2 * axis], *pads[2 * axis + 2 :])
    whole = x.shape[axis] - 1
    if sizes[axis] != x.shape[axis] or any(rest) or sides not in ((whole, 0), (0, whole)):
        return None
    back = sides[0] == 0
    turned = reversed_axes(scope, x, (axis,), op.label) if back else x
    y = scope.op("nn.cumulative_sum", [turned], {"axis": axis}, op.label)
    return reversed_axes(scope, y, (axis,), op.label) if back else y


def _image_order(op: ForeignOp, rank: int) -> tuple[list[int], dict[str, Attribute]]:
    """Which axes are batch, channels, height and width, and the window over the last two."""
    sizes = op.ints("window_dimensions")
    strides = op.ints("window_strides", (1,) * rank)
    dilations = op.ints("window_dilations", (1,) * rank)
    pads = op.ints("padding", (0,) * 2 * rank)
    low, high = pads[0::2], pads[1::2]
    moved = [
        axis
        for axis in range(rank)
        if (sizes[axis], strides[axis], low[axis], high[axis]) != (1, 1, 0, 0)
    ]
    others = [axis for axis in range(rank) if axis not in moved]
    if rank != 4 or len(moved) > 2 or min(pads) < 0:
        raise Refusal("only over two axes of a value of rank 4, without negative padding")
    while len(moved) < 2:  # a window of one along an axis of places
        moved = sorted([others.pop(), *moved])
    attributes: dict[str, Attribute] = {
        "kernel": tuple(sizes[axis] for axis in moved),
        "strides": tuple(strides[axis] for axis in moved),
        "pads": (*(low[axis] for axis in moved), *(high[axis] for axis in moved)),
        "dilations": tuple(dilations[axis] for axis in moved),
    }
    return [*others, *moved], attributes


def _window_sum(
    op: ForeignOp,
    scope: Scope,
    image: Settled,
    attributes: dict[str, Attribute],
    back: list[int],
) -> Operand:
    """A sum over windows; over the right counts it is an average pool."""
    kernel, pads, strides = (_pair(attributes[key]) for key in ("kernel", "pads", "strides"))
    held = {key: attributes[key] for key in ("kernel", "strides", "pads")}

    def total() -> Operand:
        # a convolution of each channel with ones
        channels = image.shape[1]
        ones = Constant(np.ones((channels, 1, *kernel), DTYPES[image.dtype]))
        window: dict[str, Attribute] = {
            "strides": strides,
            "pads": pads,
            "dilations": attributes["dilations"],
            "groups": channels,
            "activation": "none",
        }
        y = scope.op("nn.conv2d", [image, ones], window, op.label)
        return scope.transpose(y, back, f"{op.label}_result")

    def mean(counts: Array) -> Operand | None:
        if attributes["dilations"] != (1, 1) or image.dtype[0] not in "fb":
            return None
        for include in (1, 0):
            wanted = window_counts(image.shape[2:], kernel, strides, pads, include)
            whole = np.broadcast_to(wanted, (*image.shape[:2], *wanted.shape)).transpose(back)
            if np.array_equal(counts, whole):
                pooled = {**held, "count_include_pad": include}
                y = scope.op("nn.average_pool2d", [image], pooled, op.label)
                return scope.transpose(y, back, f"{op.label}_result")
        return None

    if isinstance(image, Constant):
        return total()
    return Later(op.result.shape, op.result.dtype, total, mean)


def _pair(value: Attribute) -> tuple[int, ...]:
    assert isinstance(value, tuple)
    return value


def _body(
    op: ForeignOp, bodies: Mapping[str, tuple[str, str, float | None]]
) -> tuple[str, str, float | None]:
    """How the body combines its two arguments, in either order."""
    block = op.handle.regions[0].blocks[0]
    held = [inner.operation for inner in block.operations]
    if len(held) != 2 or held[0].name not in bodies:
        raise Refusal("only with a body of one addition, product, maximum or minimum")
    if {*held[0].operands} != {*block.arguments} or [*held[1].operands] != [*held[0].results]:
        raise Refusal("only with a body that combines its two arguments")
    return bodies[held[0].name]


def _is(start: Operand, neutral: float | None) -> bool:
    if not isinstance(start, Constant) or neutral is None or start.array.size != 1:
        return False
    value = start.array.reshape(())[()]
    if abs(neutral) == inf and start.array.dtype.kind in "iu":
        limits = np.iinfo(start.array.dtype)
        return int(value) == (limits.min if neutral < 0 else limits.max)
    return float(value) == neutral


def said(block: Any) -> str:
    """A body in one line: arguments by number, values by the order they are made in."""
    names = {argument: str(i) for i, argument in enumerate(block.arguments)}
    lines: list[str] = []
    for inner in block.operations:
        handle = inner.operation
        words = [handle.name.partition(".")[2]]
        if "comparison_direction" in handle.attributes:
            words.append(str(handle.attributes["comparison_direction"])[:-1].split()[-1])
        words += [names.get(operand, "?") for operand in handle.operands]
        for result in handle.results:
            names[result] = f"v{len(lines)}"
        lines.append(" ".join(words))
    return "; ".join(lines)


OPERATORS: Mapping[str, Translate] = {
    "stablehlo.reduce": _reduce,
    "stablehlo.reduce_window": _reduce_window,
}
