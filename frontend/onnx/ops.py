"""ONNX operators in the terms of `nn`: one function per operator, in one table.

A function gets a checked node and returns the operand that stands for its first output. It
raises `Refusal` for a use that the IR cannot express, and `ModelError` for an illegal one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod

import numpy as np
from onnx import TensorProto

from tetrapla.frontend.onnx import tensors
from tetrapla.frontend.onnx.node import (
    Constant,
    OnnxNode,
    Operand,
    Refusal,
    Scope,
    Translate,
    array_of,
    as_constant,
    ints_of,
    normal_axis,
)
from tetrapla.frontend.onnx.window import average_window, convolution, max_window
from tetrapla.ir.errors import ModelError

OPERATORS: dict[str, Translate] = {}


def translates(op: str) -> Callable[[Translate], Translate]:
    """Enter a function in the table under an ONNX operator's name."""

    def enter(function: Translate) -> Translate:
        OPERATORS[op] = function
        return function

    return enter


@translates("Conv")
def _conv(node: OnnxNode, scope: Scope) -> Operand:
    x, w = node.operand(0), node.operand(1)
    attributes = convolution(node, x, w)
    return scope.op(
        "nn.conv2d",
        [x, w, node.optional(2)],
        {**attributes, "activation": "none"},
        node.label,
    )


@translates("MaxPool")
def _max_pool(node: OnnxNode, scope: Scope) -> Operand:
    if node.extra_outputs:
        raise Refusal("only without its output of indices")
    x = node.operand(0)
    return scope.op("nn.max_pool2d", [x], max_window(node, x), node.label)


@translates("AveragePool")
def _average_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    return scope.op("nn.average_pool2d", [x], average_window(node, x), node.label)


@translates("GlobalAveragePool")
def _global_average_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    if len(x.shape) != 4:
        raise Refusal("only on values of rank 4 (N, C, H, W)")
    return scope.op("nn.global_average_pool", [x], {}, node.label)


@translates("ReduceMean")
def _reduce_mean(node: OnnxNode, scope: Scope) -> Operand:
    x, rank = node.operand(0), len(node.operand(0).shape)
    given = node.optional(1)
    axes = ints_of(given, "axes") if given is not None else node.all_ints("axes") or ()
    if not axes and node.int("noop_with_empty_axes", 0):
        return x
    if rank != 4 or sorted(normal_axis(axis, rank) for axis in axes) != [2, 3]:
        raise Refusal("only over height and width of a value of rank 4")
    pooled = scope.op("nn.global_average_pool", [x], {}, node.label)
    if node.int("keepdims", 1):
        return pooled
    return scope.reshape(pooled, x.shape[:2], f"{node.label}_flatten")


@translates("Gemm")
def _gemm(node: OnnxNode, scope: Scope) -> Operand:
    a, b, c = node.operand(0), node.operand(1), node.optional(2)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ModelError(f"Gemm needs matrices, not shapes {list(a.shape)} and {list(b.shape)}")
    a = _transposed(a, scope, f"{node.label}_a") if node.int("transA", 0) else a
    b = _transposed(b, scope, f"{node.label}_b") if node.int("transB", 0) else b
    b = _scaled(b, node.float("alpha", 1.0), scope, f"{node.label}_alpha")
    if c is None:
        return scope.op("nn.matmul", [a, b], {"activation": "none"}, node.label)
    c = _scaled(c, node.float("beta", 1.0), scope, f"{node.label}_beta")
    columns = b.shape[1]
    if c.shape in ((columns,), (1, columns)):
        bias = scope.reshape(c, (columns,), f"{node.label}_bias")
        return scope.op("nn.matmul", [a, b, bias], {"activation": "none"}, node.label)
    product = scope.op("nn.matmul", [a, b], {"activation": "none"}, node.label)
    added = scope.op("nn.add", [product, c], {}, f"{node.label}_add")
    if added.shape != product.shape:
        raise ModelError(f"Gemm's C of shape {list(c.shape)} must broadcast to {product.shape}")
    return added


def _transposed(x: Operand, scope: Scope, name: str) -> Operand:
    if isinstance(x, Constant):
        return x.made(lambda array: np.ascontiguousarray(array.T) if x.known else array.T)
    return scope.op("nn.transpose", [x], {"perm": (1, 0)}, name)


def _scaled(x: Operand, factor: float, scope: Scope, name: str) -> Operand:
    if factor == 1.0:
        return x
    if isinstance(x, Constant):
        return x.made(lambda array: array * array.dtype.type(factor)) if x.known else x
    return scope.op("nn.mul", [x, as_constant(factor, x, name)], {}, name)


@translates("MatMul")
def _matmul(node: OnnxNode, scope: Scope) -> Operand:
    a, b = node.operand(0), node.operand(1)
    if not a.shape or not b.shape:
        raise ModelError("MatMul needs values of rank 1 or more, not a scalar")
    left = a if len(a.shape) > 1 else scope.reshape(a, (1, *a.shape), f"{node.label}_a")
    right = b if len(b.shape) > 1 else scope.reshape(b, (*b.shape, 1), f"{node.label}_b")
    product = scope.op("nn.matmul", [left, right], {"activation": "none"}, node.label)
    shape = list(product.shape)
    if len(b.shape) == 1:
        del shape[-1]
    if len(a.shape) == 1:
        del shape[len(shape) - (1 if len(b.shape) == 1 else 2)]
    return scope.reshape(product, shape, f"{node.label}_flatten")


@translates("Add")
def _add(node: OnnxNode, scope: Scope) -> Operand:
    return scope.op("nn.add", [node.operand(0), node.operand(1)], {}, node.label)


@translates("Sum")
def _sum(node: OnnxNode, scope: Scope) -> Operand:
    total = node.operand(0)
    for index in range(1, len(node.operands)):
        name = node.label if index == 1 else f"{node.label}_{index}"
        total = scope.op("nn.add", [total, node.operand(index)], {}, name)
    return total


@translates("Mul")
def _mul(node: OnnxNode, scope: Scope) -> Operand:
    return scope.op("nn.mul", [node.operand(0), node.operand(1)], {}, node.label)


@translates("Sub")
def _sub(node: OnnxNode, scope: Scope) -> Operand:
    # a - b == a + (-1 b) exactly: negation does not round
    b = node.operand(1)
    if b.dtype[0] != "f":
        raise Refusal("only on floats")
    negative = _scaled(b, -1.0, scope, f"{node.label}_negated")
    return scope.op("nn.add", [node.operand(0), negative], {}, node.label)


@translates("Neg")
def _neg(node: OnnxNode, scope: Scope) -> Operand:
    if node.operand(0).dtype[0] != "f":
        raise Refusal("only on floats")
    return _scaled(node.operand(0), -1.0, scope, node.label)


@translates("Relu")
def _relu(node: OnnxNode, scope: Scope) -> Operand:
    return scope.op("nn.relu", [node.operand(0)], {}, node.label)


@translates("Clip")
def _clip(node: OnnxNode, scope: Scope) -> Operand:
    bounds: list[float] = []
    for index, default in ((1, -inf), (2, inf)):
        given = node.optional(index)
        values = np.array([default]) if given is None else array_of(given, "bounds").reshape(-1)
        if values.size != 1:
            raise ModelError(f"a bound of Clip must be one number, not {values.size}")
        bounds.append(float(values[0]))
    if bounds == [-inf, inf]:
        return node.operand(0)
    x = node.operand(0)
    largest = float(np.finfo(np.float32).max) if x.dtype == "f32" else inf
    if x.dtype[0] != "f" or bounds[0] != 0 or bounds[1] < largest:
        raise Refusal("only with the bounds (0, infinity), which is a ReLU")
    return scope.op("nn.relu", [x], {}, node.label)


@translates("Softmax")
def _softmax(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    axis = normal_axis(node.int("axis", -1), len(x.shape))
    return scope.op("nn.softmax", [x], {"axis": axis}, node.label)


@translates("BatchNormalization")
def _batch_normalization(node: OnnxNode, scope: Scope) -> Operand:
    if node.int("training_mode", 0) or node.extra_outputs:
        raise Refusal("only in inference mode")
    operands = [node.operand(index) for index in range(5)]
    epsilon = node.float("epsilon", 1e-5)
    return scope.op("nn.batch_norm", operands, {"epsilon": epsilon}, node.label)


@translates("Flatten")
def _flatten(node: OnnxNode, scope: Scope) -> Operand:
    x, axis = node.operand(0), node.int("axis", 1)
    rank = len(x.shape)
    if not -rank <= axis <= rank:
        raise ModelError(f"axis must lie in {-rank}..{rank}, not {axis}")
    axis = axis + rank if axis < 0 else axis
    return scope.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])), node.label)


@translates("Reshape")
def _reshape(node: OnnxNode, scope: Scope) -> Operand:
    x, shape = node.operand(0), list(ints_of(node.operand(1), "shape"))
    if shape.count(-1) > 1 or any(size < -1 for size in shape):
        raise ModelError(f"a shape must hold at most one -1 and no other negative, not {shape}")
    if not node.int("allowzero", 0):
        if any(size == 0 and i >= len(x.shape) for i, size in enumerate(shape)):
            raise ModelError(f"a 0 in the shape {shape} copies an axis that the value lacks")
        shape = [x.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    if -1 in shape:
        rest = prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = prod(x.shape) // rest if rest else 0
    if prod(shape) != prod(x.shape):
        raise ModelError(
            f"Reshape must keep the {prod(x.shape)} elements of shape {list(x.shape)}, "
            f"not make shape {shape}"
        )
    return scope.reshape(x, shape, node.label)


@translates("Squeeze")
def _squeeze(node: OnnxNode, scope: Scope) -> Operand:
    x, given = node.operand(0), node.optional(1)
    rank = len(x.shape)
    if given is None:
        axes = {axis for axis in range(rank) if x.shape[axis] == 1}
    else:
        axes = {normal_axis(axis, rank) for axis in ints_of(given, "axes")}
    wrong = [axis for axis in axes if x.shape[axis] != 1]
    if wrong:
        raise ModelError(f"Squeeze removes axes of size 1, not axis {wrong[0]} of {x.shape}")
    kept = [size for axis, size in enumerate(x.shape) if axis not in axes]
    return scope.reshape(x, kept, node.label)


@translates("Unsqueeze")
def _unsqueeze(node: OnnxNode, scope: Scope) -> Operand:
    x, axes = node.operand(0), ints_of(node.operand(1), "axes")
    rank = len(x.shape) + len(axes)
    places = {normal_axis(axis, rank) for axis in axes}
    if len(places) != len(axes):
        raise ModelError(f"axes must differ, not {list(axes)}")
    sizes = iter(x.shape)
    shape = [1 if axis in places else next(sizes) for axis in range(rank)]
    return scope.reshape(x, shape, node.label)


@translates("Transpose")
def _transpose(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    perm = node.all_ints("perm")
    perm = tuple(range(len(x.shape)))[::-1] if perm is None else perm
    if sorted(perm) != list(range(len(x.shape))):
        raise ModelError(f"perm must hold each axis of {list(x.shape)} once, not {list(perm)}")
    if isinstance(x, Constant):
        return x.made(lambda array: array.transpose(perm))
    return scope.op("nn.transpose", [x], {"perm": perm}, node.label)


@translates("Identity")
def _identity(node: OnnxNode, scope: Scope) -> Operand:
    return node.operand(0)


@translates("Dropout")
def _dropout(node: OnnxNode, scope: Scope) -> Operand:
    training = node.optional(2)
    if node.extra_outputs or (
        training is not None and bool(array_of(training, "training_mode").any())
    ):
        raise Refusal("only in inference mode")
    return node.operand(0)


@translates("Constant")
def _constant(node: OnnxNode, scope: Scope) -> Operand:
    if len(node.attributes) != 1:
        raise ModelError(f"Constant takes one attribute, not {len(node.attributes)}")
    ((key, held),) = node.attributes.items()
    if isinstance(held, TensorProto):
        return Constant(tensors.array(held, None, "the constant"), node.label)
    if key in ("value_int", "value_ints"):
        return Constant(np.array(held, np.int64), node.label)
    if key in ("value_float", "value_floats"):
        return Constant(np.array(held, np.float32), node.label)
    raise Refusal("only with numbers")
