"""A region of a Relax graph as a module: composite by composite, call by call.

A bias that a pattern matched behind a product or convolution goes into it, as in a module
that is read from ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.frontend.onnx.node import Constant, Operand, Refusal, Scope
from tetrapla.frontend.relax.calls import (
    Call,
    Composite,
    Const,
    Listed,
    Numbers,
    Ref,
    Region,
    Type,
    Unknown,
)
from tetrapla.frontend.relax.calls import Operand as Told
from tetrapla.frontend.relax.operators import OPERATORS
from tetrapla.frontend.relax.reading import Asked
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, ModelError, UnsupportedError
from tetrapla.ir.graph import DTYPES
from tetrapla.ir.module import Module

_BIASED = ("nn.conv1d", "nn.conv2d", "nn.conv2d_transpose", "matmul")


def input_name(position: int) -> str:
    """What a region's input is called in its module."""
    return f"in{position}"


def output_name(position: int) -> str:
    """What a region's output is called in its module."""
    return f"out{position}"


def module_of(region: Region) -> Module:
    """The module that computes what the region does.

    Raises:
        UnsupportedError: a call cannot be translated; `refusal` told so before.
        IRError: a constraint does not hold.
    """
    builder = ModuleBuilder(region.name)
    scope = Scope(builder, shape_only=False)
    known: dict[int, Operand] = {}
    for position, each in enumerate(region.inputs):
        made = builder.input(input_name(position), each.type.shape, dtype_of(each.type))
        known[each.index] = made
    try:
        for composite in region.composites:
            _compose(composite, scope, known)
    except Refusal as error:
        raise UnsupportedError(f"region {region.name}: {error}") from None
    for position, told in enumerate(region.outputs):
        assert isinstance(told, Ref), "a region's outputs are tensors"
        builder.output(output_name(position), scope.value(known[told.index]))
    return builder.finish()


def refusal(call: Call) -> str | None:
    """Why a call cannot be translated; None where it can."""
    scope = Scope(ModuleBuilder("call"), shape_only=False)
    known: dict[int, Operand] = {}
    if not all(map(_finite, call.operands)):
        return "a constant operand is infinite or NaN, which no machine computes with"
    try:
        for ref in refs(call.operands):
            if ref.index not in known:
                made = scope.builder.input(f"in{ref.index}", ref.type.shape, dtype_of(ref.type))
                known[ref.index] = made
        _translate(call, scope, known)
    except (Refusal, IRError, ModelError) as error:
        return str(error) or "it has no counterpart here"
    return None


def dtype_of(told: Type) -> str:
    """The IR's name of an element type.

    Raises:
        Refusal: the IR has none.
    """
    for name, dtype in DTYPES.items():
        if dtype.name == told.dtype:
            return name
    raise Refusal(f"elements of {told.dtype} have no type here")


def _finite(told: Told) -> bool:
    array = told.array if isinstance(told, Const) else np.zeros(())
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def refs(operands: Sequence[Told]) -> list[Ref]:
    """The values among operands, those in tuples too."""
    found: list[Ref] = []
    for each in operands:
        if isinstance(each, Listed):
            found += refs(each.items)
        elif isinstance(each, Ref):
            found.append(each)
    return found


def _compose(composite: Composite, scope: Scope, known: dict[int, Operand]) -> None:
    calls = list(composite.calls)
    while calls:
        call = calls.pop(0)
        joined = _joined(call, calls[0]) if calls else None
        if joined is not None:
            del calls[0]
        _translate(joined or call, scope, known)


def _joined(call: Call, behind: Call) -> Call | None:
    """Two calls that are one operator here: a product with its bias, a clip by two limits."""
    bias = _bias(call, behind)
    if bias is not None:
        return Call(call.op, (*call.operands, bias), behind.results, call.attributes)
    (made, *more), limits = call.results, (call.operands[-1], behind.operands[-1])
    clips = (call.op, behind.op) == ("maximum", "minimum") and not more
    if clips and behind.operands[0] == made and all(map(_scalar, limits)):
        return Call("clip", (call.operands[0], *limits), behind.results)
    return None


def _scalar(told: Told) -> bool:
    return isinstance(told, Const) and told.array.size == 1


def _bias(call: Call, behind: Call) -> Const | None:
    """The constant of one number per channel that the next call adds, if it does."""
    (made, *more) = call.results
    if call.op not in _BIASED or behind.op != "add" or more or not isinstance(made, Ref):
        return None
    left, right = behind.operands
    constant = right if left == made else left
    if not isinstance(constant, Const) or made not in (left, right):
        return None
    shape = made.type.shape
    axis = len(shape) - 1 if call.op == "matmul" else 1
    if call.op == "matmul" and len(shape) != 2:
        return None  # ONNX's Gemm, which has the bias, is of matrices
    held = constant.array.shape
    wanted = tuple(size if i == axis else 1 for i, size in enumerate(shape))
    full = (1,) * (len(shape) - len(held)) + held
    return Const(constant.array.reshape(-1)) if full == wanted else None


def _translate(call: Call, scope: Scope, known: dict[int, Operand]) -> None:
    translate = OPERATORS.get(call.op)
    if translate is None:
        raise Refusal("it has no counterpart here")
    label = scope.names.fresh(call.op.removeprefix("nn."))
    operands = [_operand(each, i, label, known) for i, each in enumerate(call.operands)]
    made = translate(Asked(call, tuple(operands), label), scope)
    results = made if isinstance(made, tuple) else (made,)
    for told, result in zip(call.results, results, strict=False):
        if isinstance(told, Unknown):
            raise Refusal(f"its result is {told.what}")
        if (result.shape, DTYPES[result.dtype].name) != (told.type.shape, told.type.dtype):
            raise Refusal(
                f"its result is {told.type.dtype} of shape {list(told.type.shape)} in TVM and "
                f"{DTYPES[result.dtype].name} of shape {list(result.shape)} here"
            )
        known[told.index] = result


def _operand(
    told: Told, position: int, label: str, known: dict[int, Operand]
) -> Operand | tuple[Operand, ...] | None:
    """An operand as the translators take it; a tuple's items in a tuple."""
    name = {1: f"{label}_weight", 2: f"{label}_bias"}.get(position, f"{label}_{position}")
    match told:
        case Ref(index):
            return known[index]
        case Const(array):
            if array.dtype not in DTYPES.values():
                raise Refusal(f"elements of {array.dtype} have no type here")
            return Constant(array, name)
        case Numbers(values):
            return Constant(np.asarray(values), name)
        case Listed(items):
            found = [_operand(each, i, f"{label}_{i}", known) for i, each in enumerate(items)]
            return tuple(each for each in found if not isinstance(each, tuple | None))
        case Unknown(what):
            raise Refusal(f"an operand is {what}")
