"""Element-wise operators, reductions and normalisations as TOSA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi, prod, sqrt

import numpy as np

from tetrapla.frontend.foreign.writer import Held, Unwritten, Write, Writer
from tetrapla.frontend.tosa.elementwise import INTEGER, REDUCTIONS, SAME
from tetrapla.frontend.tosa.export_move import constant, leveled, reshaped, zero
from tetrapla.ir.graph import Node
from tetrapla.ir.op import Tensor

_TRUTHS = ("equal", "greater", "greater_equal")
_KEEP_NAN = "#tosa.nan_mode<PROPAGATE>"


def same(writer: Writer, name: str, *operands: Held) -> Held:
    """An element-wise operator; it broadcasts axes of size 1."""
    sizes = np.broadcast_shapes(*(held.shape for held in operands))
    level = [leveled(writer, held, len(sizes)) for held in operands]
    type_ = Tensor(sizes, "i1" if name in _TRUTHS else operands[-1].dtype)
    if name == "mul":
        level.append(zero(writer, "i8"))  # no shift
    if name == "negate":
        level += [zero(writer, type_.dtype), zero(writer, type_.dtype)]
    attributes = {"nan_mode": _KEEP_NAN} if name in ("maximum", "minimum") else {}
    return writer.op(f"tosa.{name}", level, type_, attributes)


def number(writer: Writer, value: float, like: Held) -> Held:
    """A constant of one element in the element type of another value."""
    return writer.splat(value, Tensor((), like.dtype))


def wide_operands(node: Node, writer: Writer) -> list[Held]:
    """The operands as the IR computes with them: f16 cannot hold the squares of its numbers."""
    narrow = ("f16", "bf16")
    held = writer.operands(node)
    return [converted(writer, x, "f32") if x.dtype in narrow else x for x in held]


def converted(writer: Writer, x: Held, dtype: str) -> Held:
    """A float in another type."""
    return x if x.dtype == dtype else writer.op("tosa.cast", [x], Tensor(x.shape, dtype))


def _same(name: str) -> Write:
    return lambda node, writer: same(writer, name, *writer.operands(node))


def _swapped(name: str) -> Write:
    return lambda node, writer: same(writer, name, *writer.operands(node)[::-1])


def _mul(node: Node, writer: Writer) -> Held:
    if node.result.dtype not in ("f32", "f16", "bf16", "i32"):
        raise Unwritten("only of floats and i32")
    return same(writer, "mul", *writer.operands(node))


def _div(node: Node, writer: Writer) -> Held:
    a, b = writer.operands(node)
    return same(writer, "mul", a, same(writer, "reciprocal", b))


def relu(writer: Writer, x: Held) -> Held:
    """``max(x, 0)``."""
    if x.dtype[0] not in "fb":
        return same(writer, "maximum", x, number(writer, 0, x))
    return clamped(writer, x, 0.0, np.inf)


def clamped(writer: Writer, x: Held, low: float, high: float) -> Held:
    """``min(max(x, low), high)`` of a float."""
    bounds = [constant_text(value, x.dtype) for value in (low, high)]
    attributes = {"min_val": bounds[0], "max_val": bounds[1], "nan_mode": _KEEP_NAN}
    return writer.op("tosa.clamp", [x], x.type, attributes)


def constant_text(value: float, dtype: str) -> str:
    """A float attribute of a float type: its bits, which infinity has as well.

    Raises:
        Unwritten: the type is another one.
    """
    if dtype not in ("f32", "f16"):
        raise Unwritten("only of f32 and f16")
    kind = np.float32 if dtype == "f32" else np.float16
    return f"0x{kind(value).tobytes()[::-1].hex().upper()} : {dtype}"


def _relu(node: Node, writer: Writer) -> Held:
    return relu(writer, *writer.operands(node))


def _clip(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return clamped(writer, x, node.float("low"), node.float("high"))


def _sqrt(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return same(writer, "reciprocal", same(writer, "rsqrt", x))


def _silu(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return same(writer, "mul", x, same(writer, "sigmoid", x))


def _gelu(node: Node, writer: Writer) -> Held:
    (x,) = wide_operands(node, writer)
    if node.str("approximate") == "none":
        odd = same(writer, "erf", same(writer, "mul", number(writer, 1 / sqrt(2), x), x))
    else:
        cube = same(writer, "mul", x, same(writer, "mul", x, x))
        scaled = same(writer, "mul", number(writer, 0.044715, x), cube)
        inner = same(writer, "add", x, scaled)
        odd = same(writer, "tanh", same(writer, "mul", number(writer, sqrt(2 / pi), x), inner))
    half = same(writer, "mul", number(writer, 0.5, x), x)
    y = same(writer, "mul", half, same(writer, "add", number(writer, 1, x), odd))
    return converted(writer, y, node.result.dtype)


def _leaky_relu(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    below = same(writer, "mul", number(writer, node.float("alpha"), x), x)
    negative = same(writer, "greater", number(writer, 0, x), x)
    return same(writer, "select", negative, below, x)


def _elu(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    small = same(writer, "exp", same(writer, "minimum", x, number(writer, 0, x)))
    below = same(writer, "sub", small, number(writer, 1, x))
    below = same(writer, "mul", number(writer, node.float("alpha"), x), below)
    negative = same(writer, "greater", number(writer, 0, x), x)
    return same(writer, "select", negative, below, x)


def _hard_sigmoid(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    alpha, beta = (number(writer, node.float(key), x) for key in ("alpha", "beta"))
    return clamped(writer, same(writer, "add", same(writer, "mul", alpha, x), beta), 0.0, 1.0)


def _hard_swish(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    line = same(writer, "mul", number(writer, 1 / 6, x), x)
    line = same(writer, "add", line, number(writer, 0.5, x))
    return same(writer, "mul", x, clamped(writer, line, 0.0, 1.0))


def _softplus(node: Node, writer: Writer) -> Held:
    # max(x, 0) + log(1 + exp(-|x|)): nothing overflows
    (x,) = writer.operands(node)
    small = same(writer, "exp", same(writer, "negate", same(writer, "abs", x)))
    more = same(writer, "log", same(writer, "add", number(writer, 1, x), small))
    return same(writer, "add", relu(writer, x), more)


def _is_nan(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return same(writer, "logical_not", same(writer, "equal", x, x))


def _squares(root: bool) -> Write:
    def write(node: Node, writer: Writer) -> Held:
        (x,) = wide_operands(node, writer)
        axes = [axis % len(x.shape) for axis in node.ints("axes")]
        total = reduced(writer, "reduce_sum", same(writer, "mul", x, x), axes)
        if root:
            total = same(writer, "reciprocal", same(writer, "rsqrt", total))
        total = converted(writer, total, node.result.dtype)
        return reshaped(writer, total, node.result.shape)

    return write


def _cast(node: Node, writer: Writer) -> Held:
    """Floats go toward zero before they become integers."""
    (x,) = writer.operands(node)
    dtype = node.str("dtype")
    if x.dtype[0] in "fb" and dtype == "i1":
        raise Unwritten("not from floats to i1")
    if x.dtype[0] in "fb" and dtype[0] not in "fb":
        negative = same(writer, "greater", number(writer, 0, x), x)
        up, down = same(writer, "ceil", x), same(writer, "floor", x)
        x = same(writer, "select", negative, up, down)
    return writer.op("tosa.cast", [x], Tensor(x.shape, dtype))


def reduced(writer: Writer, name: str, x: Held, axes: Sequence[int]) -> Held:
    """A reduction that keeps its axes with size 1."""
    for axis in axes:
        sizes = [1 if i == axis else size for i, size in enumerate(x.shape)]
        attributes = {"axis": f"{axis} : i32"}
        if name in ("reduce_max", "reduce_min"):
            attributes["nan_mode"] = _KEEP_NAN
        x = writer.op(f"tosa.{name}", [x], Tensor(tuple(sizes), x.dtype), attributes)
    return x


def _reduction(name: str) -> Write:
    def write(node: Node, writer: Writer) -> Held:
        (x,) = writer.operands(node)
        axes = [axis % len(x.shape) for axis in node.ints("axes")]
        return reshaped(writer, reduced(writer, name, x, axes), node.result.shape)

    return write


def mean(writer: Writer, x: Held, axes: Sequence[int]) -> Held:
    """The mean over axes, which stay with size 1."""
    share = 1 / prod(x.shape[axis] for axis in axes)
    return same(writer, "mul", reduced(writer, "reduce_sum", x, axes), number(writer, share, x))


def _reduce_mean(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    axes = [axis % len(x.shape) for axis in node.ints("axes")]
    return reshaped(writer, mean(writer, x, axes), node.result.shape)


def _argmax(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    axis = node.int("axis") % len(x.shape)
    sizes = tuple(size for i, size in enumerate(x.shape) if i != axis)
    attributes = {"axis": f"{axis} : i32", "nan_mode": _KEEP_NAN}
    place = writer.op("tosa.argmax", [x], Tensor(sizes, node.result.dtype), attributes)
    return reshaped(writer, place, node.result.shape)


def _softmax(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    axes = [node.int("axis") % len(x.shape)]
    power = same(writer, "exp", _below_largest(writer, x, axes))
    total = reduced(writer, "reduce_sum", power, axes)
    return same(writer, "mul", power, same(writer, "reciprocal", total))


def _log_softmax(node: Node, writer: Writer) -> Held:
    (x,) = wide_operands(node, writer)
    axes = [node.int("axis") % len(x.shape)]
    low = _below_largest(writer, x, axes)
    total = reduced(writer, "reduce_sum", same(writer, "exp", low), axes)
    y = same(writer, "sub", low, same(writer, "log", total))
    return converted(writer, y, node.result.dtype)


def _below_largest(writer: Writer, x: Held, axes: Sequence[int]) -> Held:
    return same(writer, "sub", x, reduced(writer, "reduce_max", x, axes))


def _layer_norm(node: Node, writer: Writer) -> Held:
    x, scale, *bias = wide_operands(node, writer)
    axes = [*range(node.int("axis") % len(x.shape), len(x.shape))]
    centred = same(writer, "sub", x, mean(writer, x, axes))
    y = same(writer, "mul", _scaled(node, writer, centred, axes), scale)
    y = same(writer, "add", y, bias[0]) if bias else y
    return converted(writer, y, node.result.dtype)


def _rms_norm(node: Node, writer: Writer) -> Held:
    x, scale = wide_operands(node, writer)
    axes = [*range(node.int("axis") % len(x.shape), len(x.shape))]
    y = same(writer, "mul", _scaled(node, writer, x, axes), scale)
    return converted(writer, y, node.result.dtype)


def _scaled(node: Node, writer: Writer, x: Held, axes: Sequence[int]) -> Held:
    """The value over the root of its mean square."""
    power = mean(writer, same(writer, "mul", x, x), axes)
    raised = same(writer, "add", power, number(writer, node.float("epsilon"), x))
    return same(writer, "mul", x, same(writer, "rsqrt", raised))


def _batch_norm(node: Node, writer: Writer) -> Held:
    x, *parameters = writer.operands(node)
    column = (-1, *(1,) * (len(x.shape) - 2))
    scale, bias, mean_, variance = (
        reshaped(writer, held, (held.shape[0], *column[1:])) for held in parameters
    )
    raised = same(writer, "add", variance, number(writer, node.float("epsilon"), x))
    y = same(writer, "mul", same(writer, "sub", x, mean_), same(writer, "rsqrt", raised))
    return same(writer, "add", same(writer, "mul", y, scale), bias)


def _lookup(node: Node, writer: Writer) -> Held:
    x, table = writer.operands(node)
    if x.dtype != "i8" or table.dtype != "i8":
        raise Unwritten("only from i8 to i8")
    return writer.op("tosa.table", [x, table], x.type)


def _rescale(node: Node, writer: Writer) -> Held:
    rounding = {"single": "SINGLE_ROUND", "double": "DOUBLE_ROUND"}.get(node.str("rounding"))
    x, multiplier, shift = writer.operands(node)
    whole = np.iinfo(np.int8)
    every = node.str("dtype") == "i8" and (node.int("low"), node.int("high")) == (
        whole.min,
        whole.max,
    )
    last = node.int("axis") % len(x.shape) == len(x.shape) - 1
    several = multiplier.shape != (1,)
    if rounding is None or not every or (several and not last):
        raise Unwritten(
            "only to all of i8, per value or along the last axis, by TOSA's roundings"
        )
    shifts = writer.graph.weights.get(node.operands[2].index)
    if shifts is None:
        raise Unwritten("only with constant shifts")
    del shift
    operands = [
        x,
        multiplier,
        constant(writer, shifts.astype(np.int8)),
        zero(writer, x.dtype, node.int("x_zero_point")),
        zero(writer, "i8", node.int("zero_point")),
    ]
    attributes = {
        "scale32": "true",
        "rounding_mode": f"#tosa.rounding_mode<{rounding}>",
        "per_channel": str(several).lower(),
        "input_unsigned": "false",
        "output_unsigned": "false",
    }
    return writer.op("tosa.rescale", operands, Tensor(x.shape, "i8"), attributes)


_REDUCTIONS: Mapping[str, str] = {kind: name for name, kind in REDUCTIONS.items()}
WRITERS: dict[str, Write] = {
    **{kind: _same(name) for name, kind in {**SAME, **INTEGER}.items()},
    **{kind: _reduction(name) for kind, name in _REDUCTIONS.items()},
    "nn.arg_max": _argmax,
    "nn.batch_norm": _batch_norm,
    "nn.cast": _cast,
    "nn.clip": _clip,
    "nn.div": _div,
    "nn.elu": _elu,
    "nn.gelu": _gelu,
    "nn.hard_sigmoid": _hard_sigmoid,
    "nn.hard_swish": _hard_swish,
    "nn.is_nan": _is_nan,
    "nn.layer_norm": _layer_norm,
    "nn.leaky_relu": _leaky_relu,
    "nn.less": _swapped("greater"),
    "nn.less_or_equal": _swapped("greater_equal"),
    "nn.log_softmax": _log_softmax,
    "nn.mul": _mul,
    "nn.neg": _same("negate"),
    "nn.reduce_l2": _squares(True),
    "nn.reduce_mean": _reduce_mean,
    "nn.reduce_sum_square": _squares(False),
    "nn.relu": _relu,
    "nn.rms_norm": _rms_norm,
    "nn.silu": _silu,
    "nn.softmax": _softmax,
    "nn.softplus": _softplus,
    "nn.sqrt": _sqrt,
    "qnn.lookup": _lookup,
    "qnn.rescale": _rescale,
}
