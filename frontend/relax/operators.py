"""The table of translators: a Relax operator's name to the function for it.

Nearly all are ONNX's operators under other names, so they are translated by the functions for
ONNX's own; a row of `PLAIN` says no more than the name there.
"""

from __future__ import annotations

import numpy as np

from tetrapla.frontend.onnx.node import Constant, Operand, Refusal, Scope
from tetrapla.frontend.relax.calls import Ref
from tetrapla.frontend.relax.reading import Asked, Translate
from tetrapla.frontend.relax.windows import WINDOWS
from tetrapla.frontend.torch_export.as_onnx import onnx_op, onnx_ops
from tetrapla.ir.graph import DTYPES

PLAIN = {
    "abs": "Abs", "add": "Add", "ceil": "Ceil", "cos": "Cos", "divide": "Div",
    "equal": "Equal", "erf": "Erf", "exp": "Exp", "floor": "Floor", "greater": "Greater",
    "greater_equal": "GreaterOrEqual", "less": "Less", "less_equal": "LessOrEqual",
    "log": "Log", "logical_and": "And", "logical_not": "Not", "logical_or": "Or",
    "logical_xor": "Xor", "maximum": "Max", "minimum": "Min", "multiply": "Mul",
    "negative": "Neg", "nn.gelu": "Gelu", "nn.relu": "Relu", "nn.selu": "Selu",
    "power": "Pow", "round": "Round", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin",
    "sqrt": "Sqrt", "subtract": "Sub", "tanh": "Tanh", "where": "Where",
    "broadcast_to": "Expand", "reshape": "Reshape", "nn.silu": "Swish",
}  # fmt: skip

REDUCED = {
    "max": "ReduceMax", "mean": "ReduceMean", "min": "ReduceMin", "prod": "ReduceProd",
    "sum": "ReduceSum",
}  # fmt: skip


def _plain(name: str) -> Translate:
    def translate(asked: Asked, scope: Scope) -> Operand:
        operands = [asked.tensor(i) for i in range(len(asked.operands))]
        return onnx_op(name, operands, {}, scope, asked.label)

    return translate


def _reduced(name: str) -> Translate:
    def translate(asked: Asked, scope: Scope) -> Operand:
        axes = asked.ints("axis")
        given = None if axes is None else _numbers(axes, f"{asked.label}_axes")
        keep = {"keepdims": asked.int("keepdims")}
        return onnx_op(name, [asked.tensor(0), given], keep, scope, asked.label)

    return translate


def _matmul(asked: Asked, scope: Scope) -> Operand:
    asked.must_be("out_dtype", None, "")
    operands = [asked.tensor(0), asked.tensor(1), asked.optional(2)]
    name = "MatMul" if operands[2] is None else "Gemm"
    return onnx_op(name, operands, {}, scope, asked.label)


def _gelu_tanh(asked: Asked, scope: Scope) -> Operand:
    return onnx_op("Gelu", [asked.tensor(0)], {"approximate": "tanh"}, scope, asked.label)


def _leaky_relu(asked: Asked, scope: Scope) -> Operand:
    alpha = {"alpha": asked.float("alpha")}
    return onnx_op("LeakyRelu", [asked.tensor(0)], alpha, scope, asked.label)


def _clip(asked: Asked, scope: Scope) -> Operand:
    x = asked.tensor(0)
    limits: list[Operand | None] = []
    for i in (1, 2):
        limit = asked.tensor(i)
        if not isinstance(limit, Constant):
            raise Refusal("its limits are computed")
        limits.append(Constant(limit.array.reshape(()).astype(DTYPES[x.dtype]), limit.symbol))
    return onnx_op("Clip", [x, *limits], {}, scope, asked.label)


def _rsqrt(asked: Asked, scope: Scope) -> Operand:
    root = onnx_op("Sqrt", [asked.tensor(0)], {}, scope, f"{asked.label}_root")
    return onnx_op("Reciprocal", [root], {}, scope, asked.label)


def _square(asked: Asked, scope: Scope) -> Operand:
    x = asked.tensor(0)
    return onnx_op("Mul", [x, x], {}, scope, asked.label)


def _softmax(name: str) -> Translate:
    def translate(asked: Asked, scope: Scope) -> Operand:
        axis = {"axis": asked.int("axis")}
        return onnx_op(name, [asked.tensor(0)], axis, scope, asked.label)

    return translate


def _dropout(asked: Asked, scope: Scope) -> tuple[Operand, ...]:
    del scope
    return (asked.tensor(0),)  # a network that is run drops nothing


def _transposed(asked: Asked, scope: Scope) -> Operand:
    x = asked.tensor(0)
    axes = asked.ints("axes") or tuple(reversed(range(len(x.shape))))
    perm = tuple(axis % len(x.shape) for axis in axes)
    return onnx_op("Transpose", [x], {"perm": perm}, scope, asked.label)


def _flattened(asked: Asked, scope: Scope) -> Operand:
    return scope.reshape(asked.tensor(0), _shape(asked), asked.label)


def _concat(asked: Asked, scope: Scope) -> Operand:
    axis = {"axis": asked.int("axis")}
    return onnx_op("Concat", asked.listed(0), axis, scope, asked.label)


def _split(asked: Asked, scope: Scope) -> tuple[Operand, ...]:
    x, axis = asked.tensor(0), asked.int("axis")
    parts = [each.type.shape[axis] for each in asked.call.results if isinstance(each, Ref)]
    wanted = (True,) * len(parts)
    given = [x, _numbers(parts, f"{asked.label}_sizes")]
    made = onnx_ops("Split", given, {"axis": axis}, scope, asked.label, wanted)
    return tuple(each for each in made if each is not None)


def _sliced(asked: Asked, scope: Scope) -> Operand:
    x, axes, starts, ends = (asked.operands[i] for i in range(4))
    steps = asked.operands[4] if len(asked.operands) > 4 else None
    given = [_list_of(each, asked.label) for each in (starts, ends, axes, steps)]
    assert not isinstance(x, tuple)
    return onnx_op("Slice", [x, *given], {}, scope, asked.label)


def _list_of(told: Operand | tuple[Operand, ...] | None, label: str) -> Constant | None:
    """Numbers among the operands as the one list that ONNX takes."""
    if told is None:
        return None
    items = told if isinstance(told, tuple) else (told,)
    arrays = [each.array.reshape(-1) for each in items if isinstance(each, Constant)]
    if len(arrays) < len(items):
        raise Refusal("a bound is computed")
    return Constant(np.concatenate(arrays).astype(np.int64), f"{label}_bound")


def _taken(asked: Asked, scope: Scope) -> Operand:
    axis = {"axis": asked.int("axis")}
    return onnx_op("Gather", [asked.tensor(0), asked.tensor(1)], axis, scope, asked.label)


def _padded(asked: Asked, scope: Scope) -> Operand:
    asked.must_be("pad_mode", "constant", "reflect", "edge")
    x, widths = asked.tensor(0), asked.some("pad_width")
    pads = _numbers((*widths[::2], *widths[1::2]), f"{asked.label}_pads")
    fill = np.asarray(asked.float("pad_value"), DTYPES[x.dtype])
    given = [x, pads, Constant(fill, f"{asked.label}_fill")]
    mode = {"mode": str(asked.call.attributes["pad_mode"])}
    return onnx_op("Pad", given, mode, scope, asked.label)


def _batch_norm(asked: Asked, scope: Scope) -> Operand:
    asked.must_be("axis", 1)
    for key in ("center", "scale"):
        asked.must_be(key, 1)
    asked.must_be("training", 0)
    held = {"epsilon": asked.float("epsilon")}
    given = [asked.tensor(i) for i in range(5)]
    return onnx_op("BatchNormalization", given, held, scope, asked.label)


def _layer_norm(asked: Asked, scope: Scope) -> Operand:
    x, axes = asked.tensor(0), asked.some("axes")
    rank = len(x.shape)
    first = min(axis % rank for axis in axes)
    if sorted(axis % rank for axis in axes) != list(range(first, rank)):
        raise Refusal("only over the last axes")
    held = {"axis": first, "epsilon": asked.float("epsilon")}
    given = [x, asked.tensor(1), asked.tensor(2)]
    return onnx_op("LayerNormalization", given, held, scope, asked.label)


def _shape(asked: Asked) -> tuple[int, ...]:
    """The shape that TVM says the result has."""
    (result,) = asked.call.results
    if not isinstance(result, Ref):
        raise Refusal("its result has no static shape")
    return result.type.shape


def _numbers(values: tuple[int, ...] | list[int], symbol: str) -> Constant:
    return Constant(np.asarray(values, np.int64), symbol)


OPERATORS: dict[str, Translate] = {
    **{relax: _plain(name) for relax, name in PLAIN.items()},
    **{relax: _reduced(name) for relax, name in REDUCED.items()},
    **WINDOWS,
    "clip": _clip,
    "concat": _concat,
    "expand_dims": _flattened,
    "flatten": _flattened,
    "matmul": _matmul,
    "nn.batch_flatten": _flattened,
    "nn.batch_norm": _batch_norm,
    "nn.dropout": _dropout,
    "nn.gelu_tanh": _gelu_tanh,
    "nn.layer_norm": _layer_norm,
    "nn.leakyrelu": _leaky_relu,
    "nn.log_softmax": _softmax("LogSoftmax"),
    "nn.pad": _padded,
    "nn.softmax": _softmax("Softmax"),
    "permute_dims": _transposed,
    "reshape": _flattened,
    "rsqrt": _rsqrt,
    "split": _split,
    "square": _square,
    "squeeze": _flattened,
    "strided_slice": _sliced,
    "take": _taken,
}
