"""Element-wise operators, reductions and normalisations as StableHLO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, prod

import numpy as np

from tetrapla.frontend.foreign.writer import Held, Unwritten, Write, Writer, ints
from tetrapla.frontend.stablehlo.elementwise import COMPARISONS, INTEGER, LOGICAL, SAME
from tetrapla.frontend.stablehlo.export_move import repeated
from tetrapla.ir.graph import DTYPES, Node
from tetrapla.ir.op import Tensor

_REDUCTIONS: Mapping[str, tuple[str, float]] = {
    "nn.reduce_sum": ("add", 0.0),
    "nn.reduce_max": ("maximum", -inf),
    "nn.reduce_min": ("minimum", inf),
    "nn.reduce_prod": ("multiply", 1.0),
}


def same(writer: Writer, name: str, *operands: Held, dtype: str = "") -> Held:
    """An element-wise operation over operands that are repeated to one shape."""
    shape = np.broadcast_shapes(*(held.shape for held in operands))
    whole = [repeated(writer, held, shape) for held in operands]
    type_ = Tensor(shape, dtype or operands[-1].dtype)
    return writer.op(f"stablehlo.{name}", whole, type_)


def number(writer: Writer, value: float, like: Held) -> Held:
    """A constant of no axes in the element type of another value."""
    return writer.splat(value, Tensor((), like.dtype))


def wide_operands(node: Node, writer: Writer) -> list[Held]:
    """The operands as the IR computes with them: f16 cannot hold the squares of its numbers."""
    narrow = ("f16", "bf16")
    held = writer.operands(node)
    return [converted(writer, x, "f32") if x.dtype in narrow else x for x in held]


def converted(writer: Writer, x: Held, dtype: str) -> Held:
    """A float in another type."""
    return (
        x if x.dtype == dtype else writer.op("stablehlo.convert", [x], Tensor(x.shape, dtype))
    )


def reduced(writer: Writer, name: str, start: float, x: Held, axes: Sequence[int]) -> Held:
    """A reduction that drops its axes."""
    kept = [size for axis, size in enumerate(x.shape) if axis not in axes]
    dtype = DTYPES[x.dtype]
    if abs(start) == inf and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        start = limits.min if start < 0 else limits.max
    return writer.op(
        "stablehlo.reduce",
        [x, number(writer, start, x)],
        Tensor(tuple(kept), x.dtype),
        {"dimensions": ints(sorted(axes))},
        combining(name, x.dtype),
    )


def combining(name: str, dtype: str) -> str:
    """A body that combines its two numbers by one operation."""
    one = f"tensor<{dtype}>"
    return (
        f"^bb0(%a: {one}, %b: {one}):\n"
        f'%c = "stablehlo.{name}"(%a, %b) : ({one}, {one}) -> {one}\n'
        f'"stablehlo.return"(%c) : ({one}) -> ()'
    )


def kept(writer: Writer, x: Held, axes: Sequence[int], like: Held) -> Held:
    """A reduced value with its axes back, of size 1."""
    sizes = [1 if axis in axes else size for axis, size in enumerate(like.shape)]
    return writer.op("stablehlo.reshape", [x], Tensor(tuple(sizes), x.dtype))


def _same(name: str) -> Write:
    return lambda node, writer: same(writer, name, *writer.operands(node))


def _compared(direction: str) -> Write:
    def write(node: Node, writer: Writer) -> Held:
        a, b = writer.operands(node)
        shape = np.broadcast_shapes(a.shape, b.shape)
        operands = [repeated(writer, held, shape) for held in (a, b)]
        attributes = {"comparison_direction": f"#stablehlo<comparison_direction {direction}>"}
        return writer.op("stablehlo.compare", operands, Tensor(shape, "i1"), attributes)

    return write


def relu(writer: Writer, x: Held) -> Held:
    """``max(x, 0)``."""
    return same(writer, "maximum", x, number(writer, 0, x))


def _relu(node: Node, writer: Writer) -> Held:
    return relu(writer, *writer.operands(node))


def _reciprocal(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return same(writer, "divide", number(writer, 1, x), x)


def _softplus(node: Node, writer: Writer) -> Held:
    # max(x, 0) + log(1 + exp(-|x|)): nothing overflows
    (x,) = writer.operands(node)
    small = same(writer, "exponential", same(writer, "negate", same(writer, "abs", x)))
    return same(writer, "add", relu(writer, x), same(writer, "log_plus_one", small))


def _mod(node: Node, writer: Writer) -> Held:
    if not node.int("fmod"):
        raise Unwritten("only with the sign of the dividend")
    return same(writer, "remainder", *writer.operands(node))


def _silu(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return same(writer, "multiply", x, same(writer, "logistic", x))


def _choose(writer: Writer, x: Held, below: Held) -> Held:
    """`x` from zero on, `below` elsewhere."""
    zero = writer.splat(0, x.type)
    attributes = {"comparison_direction": "#stablehlo<comparison_direction LT>"}
    negative = writer.op("stablehlo.compare", [x, zero], Tensor(x.shape, "i1"), attributes)
    return writer.op("stablehlo.select", [negative, below, x], x.type)


def _leaky_relu(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    alpha = number(writer, node.float("alpha"), x)
    return _choose(writer, x, same(writer, "multiply", alpha, x))


def _elu(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    below = same(writer, "minimum", x, number(writer, 0, x))
    power = same(writer, "exponential_minus_one", below)
    alpha = number(writer, node.float("alpha"), x)
    return _choose(writer, x, same(writer, "multiply", alpha, power))


def _hard_sigmoid(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    alpha, beta = (number(writer, node.float(key), x) for key in ("alpha", "beta"))
    line = same(writer, "add", same(writer, "multiply", alpha, x), beta)
    return _between(writer, line)


def _hard_swish(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    line = same(writer, "multiply", number(writer, 1 / 6, x), x)
    line = same(writer, "add", line, number(writer, 0.5, x))
    return same(writer, "multiply", x, _between(writer, line))


def _between(writer: Writer, x: Held) -> Held:
    """The value clipped to 0..1."""
    ends = [number(writer, 0, x), number(writer, 1, x)]
    return writer.op("stablehlo.clamp", [ends[0], x, ends[1]], x.type)


def _is_nan(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    attributes = {"comparison_direction": "#stablehlo<comparison_direction NE>"}
    return writer.op("stablehlo.compare", [x, x], Tensor(x.shape, "i1"), attributes)


def _squares(root: bool) -> Write:
    def write(node: Node, writer: Writer) -> Held:
        (x,) = wide_operands(node, writer)
        axes = _axes(node, x)
        made = reduced(writer, "add", 0.0, same(writer, "multiply", x, x), axes)
        made = same(writer, "sqrt", made) if root else made
        made = converted(writer, made, node.result.dtype)
        return kept(writer, made, axes, x) if node.int("keepdims") else made

    return write


def _clip(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    bounds = [number(writer, node.float(key), x) for key in ("low", "high")]
    return writer.op("stablehlo.clamp", [bounds[0], x, bounds[1]], x.type)


def _where(node: Node, writer: Writer) -> Held:
    return same(writer, "select", *writer.operands(node))


def _axes(node: Node, x: Held) -> list[int]:
    return [axis % len(x.shape) for axis in node.ints("axes")]


def _reduction(kind: str) -> Write:
    def write(node: Node, writer: Writer) -> Held:
        (x,) = writer.operands(node)
        axes = _axes(node, x)
        made = reduced(writer, *_REDUCTIONS[kind], x, axes)
        return kept(writer, made, axes, x) if node.int("keepdims") else made

    return write


def _reduce_mean(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    axes = _axes(node, x)
    made = mean(writer, x, axes)
    return kept(writer, made, axes, x) if node.int("keepdims") else made


def mean(writer: Writer, x: Held, axes: Sequence[int]) -> Held:
    """The mean over axes, which it drops."""
    total = reduced(writer, "add", 0.0, x, axes)
    count = prod(x.shape[axis] for axis in axes)
    return same(writer, "divide", total, number(writer, count, x))


def _softmax(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    axes = [node.int("axis") % len(x.shape)]
    power = same(writer, "exponential", _below_largest(writer, x, axes))
    total = kept(writer, reduced(writer, "add", 0.0, power, axes), axes, x)
    return same(writer, "divide", power, total)


def _log_softmax(node: Node, writer: Writer) -> Held:
    (x,) = wide_operands(node, writer)
    axes = [node.int("axis") % len(x.shape)]
    low = _below_largest(writer, x, axes)
    total = reduced(writer, "add", 0.0, same(writer, "exponential", low), axes)
    y = same(writer, "subtract", low, kept(writer, same(writer, "log", total), axes, x))
    return converted(writer, y, node.result.dtype)


def _below_largest(writer: Writer, x: Held, axes: Sequence[int]) -> Held:
    largest = kept(writer, reduced(writer, "maximum", -inf, x, axes), axes, x)
    return same(writer, "subtract", x, largest)


def _layer_norm(node: Node, writer: Writer) -> Held:
    x, scale, *bias = wide_operands(node, writer)
    axes = [*range(node.int("axis") % len(x.shape), len(x.shape))]
    centred = same(writer, "subtract", x, kept(writer, mean(writer, x, axes), axes, x))
    y = same(writer, "multiply", _scaled(node, writer, centred, axes), scale)
    y = same(writer, "add", y, bias[0]) if bias else y
    return converted(writer, y, node.result.dtype)


def _rms_norm(node: Node, writer: Writer) -> Held:
    x, scale = wide_operands(node, writer)
    axes = [*range(node.int("axis") % len(x.shape), len(x.shape))]
    y = same(writer, "multiply", _scaled(node, writer, x, axes), scale)
    return converted(writer, y, node.result.dtype)


def _scaled(node: Node, writer: Writer, x: Held, axes: Sequence[int]) -> Held:
    """The value over the root of its mean square."""
    power = kept(writer, mean(writer, same(writer, "multiply", x, x), axes), axes, x)
    raised = same(writer, "add", power, number(writer, node.float("epsilon"), x))
    return same(writer, "multiply", x, same(writer, "rsqrt", raised))


def _batch_norm(node: Node, writer: Writer) -> Held:
    operands = writer.operands(node)
    attributes = {
        "epsilon": f"{np.float32(node.float('epsilon')):.9e} : f32",
        "feature_index": "1 : i64",
    }
    return writer.op("stablehlo.batch_norm_inference", operands, operands[0].type, attributes)


WRITERS: dict[str, Write] = {
    **{kind: _same(name) for name, kind in {**SAME, **INTEGER, **LOGICAL}.items()},
    **{f"nn.bitwise_{name}": _same(name) for name in LOGICAL},
    **{kind: _compared(name) for name, kind in COMPARISONS.items()},
    **{kind: _reduction(kind) for kind in _REDUCTIONS},
    "nn.batch_norm": _batch_norm,
    "nn.clip": _clip,
    "nn.div": _same("divide"),
    "nn.elu": _elu,
    "nn.hard_sigmoid": _hard_sigmoid,
    "nn.hard_swish": _hard_swish,
    "nn.idiv": _same("divide"),
    "nn.is_nan": _is_nan,
    "nn.layer_norm": _layer_norm,
    "nn.leaky_relu": _leaky_relu,
    "nn.mod": _mod,
    "nn.log_softmax": _log_softmax,
    "nn.reciprocal": _reciprocal,
    "nn.reduce_l2": _squares(True),
    "nn.reduce_mean": _reduce_mean,
    "nn.reduce_sum_square": _squares(False),
    "nn.relu": _relu,
    "nn.rms_norm": _rms_norm,
    "nn.silu": _silu,
    "nn.softmax": _softmax,
    "nn.softplus": _softplus,
    "nn.where": _where,
}
