"""Shape arithmetic: what exporters compute from `Shape` and constants is done at import.

Only small arrays are folded (at most 65,536 numbers); a larger constant stays a node or is
refused, so that no file can ask for memory that it does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto

from tetrapla.frontend.names import shown
from tetrapla.frontend.onnx import tensors
from tetrapla.frontend.onnx.node import Constant, OnnxNode, ints_of, normal_axis
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array

MAX_FOLDED = 65_536

Fold: TypeAlias = Callable[[OnnxNode, "list[Array]"], Any]

_INTEGER_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Equal": np.equal,
}


def folded(node: OnnxNode) -> Constant | None:
    """The node's result where it follows from constants and static shapes alone.

    Raises:
        ModelError: the node is illegal, such as an index out of range.
    """
    if node.op in ("Shape", "Size"):
        return _shape(node)
    operands = [operand for operand in node.operands if operand is not None]
    constants = [operand for operand in operands if isinstance(operand, Constant)]
    if len(constants) < len(operands) or not all(constant.known for constant in constants):
        return None
    arrays = [constant.array for constant in constants]
    if sum(array.size for array in arrays) > MAX_FOLDED:
        return None
    if node.op in _INTEGER_ARITHMETIC and len(arrays) == 2:
        if any(array.dtype.kind not in "iub" for array in arrays):
            return None
        result = _arithmetic(node, arrays)
    elif node.op in FOLDS:
        result = FOLDS[node.op](node, arrays)
    else:
        return None
    return Constant(np.asarray(result), node.label)


def _shape(node: OnnxNode) -> Constant:
    shape = node.operand(0).shape
    if node.op == "Size":
        return Constant(np.array(prod(shape), np.int64), node.label)
    start, end = node.int("start", 0), node.int("end", len(shape))
    return Constant(np.array(shape[start:end], np.int64), node.label)


def _arithmetic(node: OnnxNode, arrays: list[Array]) -> Any:
    a, b = arrays
    if a.dtype != b.dtype:
        raise ModelError(f"{node.op} needs one element type, not {a.dtype} and {b.dtype}")
    _check_size(_broadcast(a.shape, b.shape))
    return _INTEGER_ARITHMETIC[node.op](a, b)


def _gather(node: OnnxNode, arrays: list[Array]) -> Any:
    data, indices = arrays
    axis = normal_axis(node.int("axis", 0), data.ndim)
    size = data.shape[axis]
    if indices.dtype.kind not in "iu":
        raise ModelError(f"indices must be integers, not {indices.dtype}")
    if np.any(indices < -size) or np.any(indices >= size):
        raise ModelError(f"an index must lie in {-size}..{size - 1}, not {int(indices.max())}")
    _check_size((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))
    return np.take(data, indices, axis=axis)


def _concat(node: OnnxNode, arrays: list[Array]) -> Any:
    axis = normal_axis(node.int("axis", 0), arrays[0].ndim)
    try:
        return np.concatenate(arrays, axis=axis)
    except ValueError:
        shapes = [list(array.shape) for array in arrays[:4]]
        raise ModelError(f"Concat needs shapes that fit, not {shapes}") from None


def _slice(node: OnnxNode, arrays: list[Array]) -> Any:
    data = arrays[0]
    bounds = [ints_of(node.operand(i), "bounds of a slice") for i in (1, 2)]
    axes_given, steps_given = node.optional(3), node.optional(4)
    count = len(bounds[0])
    axes = ints_of(axes_given, "axes") if axes_given is not None else tuple(range(count))
    steps = ints_of(steps_given, "steps") if steps_given is not None else (1,) * count
    if not len(bounds[1]) == len(axes) == len(steps) == count or 0 in steps:
        raise ModelError("Slice needs as many ends, axes and non-zero steps as starts")
    for start, end, axis, step in zip(*bounds, axes, steps, strict=True):
        place = normal_axis(axis, data.ndim)
        size = data.shape[place]
        stop = None if step < 0 and end < -size else end
        cut = [slice(None)] * data.ndim
        cut[place] = slice(start, stop, step)
        data = data[tuple(cut)]
    return data


def _cast(node: OnnxNode, arrays: list[Array]) -> Any:
    name = tensors.dtype_name(node.int("to", TensorProto.FLOAT), "the target of Cast")
    with np.errstate(all="ignore"):
        return arrays[0].astype(DTYPES[name])


def _constant_of_shape(node: OnnxNode, arrays: list[Array]) -> Any:
    shape = ints_of(node.operand(0), "shape")
    if any(size < 0 for size in shape):
        raise ModelError(f"a shape must not be negative, not {list(shape)}")
    _check_size(shape)
    held = node.attributes.get("value")
    if not isinstance(held, TensorProto):
        return np.zeros(shape, np.float32)
    value = tensors.array(held, None, "the value of ConstantOfShape")
    if value.size != 1:
        raise ModelError(f"the value of ConstantOfShape must be one number, not {value.size}")
    return np.full(shape, value.reshape(())[()], value.dtype)


def _div(node: OnnxNode, arrays: list[Array]) -> Any:
    a, b = arrays
    if a.dtype != b.dtype or a.dtype.kind not in "iuf":
        raise ModelError(f"Div needs one numeric type, not {a.dtype} and {b.dtype}")
    _check_size(_broadcast(a.shape, b.shape))
    if a.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return a / b
    if not np.all(b):
        raise ModelError("Div by an integer of 0 has no result")
    quotient = np.abs(a) // np.abs(b)  # ONNX truncates toward zero
    return (np.sign(a) * np.sign(b) * quotient).astype(a.dtype)


def _where(node: OnnxNode, arrays: list[Array]) -> Any:
    choice, a, b = arrays
    if choice.dtype != np.bool_ or a.dtype != b.dtype:
        raise ModelError("Where needs a boolean choice between values of one type")
    _check_size(_broadcast(_broadcast(choice.shape, a.shape), b.shape))
    return np.where(choice, a, b)


def _expand(node: OnnxNode, arrays: list[Array]) -> Any:
    shape = _broadcast(arrays[0].shape, ints_of(node.operand(1), "shape"))
    _check_size(shape)
    return np.broadcast_to(arrays[0], shape)


def _check_size(shape: tuple[int, ...]) -> None:
    if prod(shape) > MAX_FOLDED:
        raise ModelError(
            f"a folded constant must have at most {MAX_FOLDED} elements, "
            f"not shape {shown(list(shape))}"
        )


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ModelError(
            f"shapes must broadcast, not {shown(list(a))} and {shown(list(b))}"
        ) from None


FOLDS: dict[str, Fold] = {
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "Div": _div,
    "Where": _where,
    "Expand": _expand,
}
FOLDABLE = frozenset({"Shape", "Size", *FOLDS, *_INTEGER_ARITHMETIC})
