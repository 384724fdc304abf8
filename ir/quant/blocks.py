"""One scale per block of a tensor: groups of weights, MX formats, tiles of two axes."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import ArrayAttr, Operand, Pure, RankedTensorType, Result, StringAttr
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.dialect import (
    NAMES,
    RANGES,
    Quant,
    check_target,
    check_types,
    saturate,
    stored,
)
from tetrapla.ir.quant.scale import centred
from tetrapla.ir.quant.small import E8M0, FORMATS

SCALES = ("f32", "f16", "bf16", E8M0, "f8E4M3FN")
MX_INT8_STEP = 2.0**-6  # OCP MX 1.0, 5.3.4: an INT8 element counts in 64ths
MX_INT8_RANGE = (-127, 127)  # the same: -128 may be left out, so that the range is symmetric


class QuantizeBlocks(Op, dialect=Quant, name="quantize_blocks", traits=[Pure]):
    """``sat(rint(x / s) + z)``, s and z those of the block that the element lies in.

    Block sizes of (1, 32) make groups along the second axis (GPTQ, ONNX's blocked
    QuantizeLinear, MX), of (128, 128) tiles; an axis's own size shares one scale along it, so
    per-tensor and per-axis parameters with zero points are blocks too. The division is
    float32's. A small float rounds x / s to its own grid, ties to even, saturating. Under an
    E8M0 scale i8 counts in steps of s/64 and saturates at -127 and 127 (MXINT8).

    Constraints:
        C1: there is one positive block size per axis of x.
        C2: the scale has one element per block, ceil(size / block) along each axis.
        C3: the result is an integer of 2, 4, 8 or 16 bits, or a small float (not E8M0).
        C4: the zero point has the scale's shape and the result's type, an integer.
        C5: x is float32; the scale is f32, f16, bf16, E8M0 or f8E4M3FN.
        C6: under an E8M0 scale an integer is i8 and has no zero point.
    """

    x: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    blocks: ArrayAttr
    dtype: StringAttr
    zero_point: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor,
        scale: Tensor,
        zero_point: Tensor | None = None,
        *,
        blocks: tuple[int, ...],
        dtype: str,
    ) -> Tensor:
        kind = "qnn.quantize_blocks"
        check_target(f"{kind} C3", (*RANGES, *FORMATS), dtype)
        _check(kind, x, scale, zero_point, blocks, dtype)
        check_types(f"{kind} C5", ("f32",), x)
        return Tensor(x.shape, dtype)

    @staticmethod
    def evaluate(
        x: Array,
        scale: Array,
        zero_point: Array | None = None,
        *,
        blocks: tuple[int, ...],
        dtype: str,
    ) -> Array:
        steps = x / spread(scale.astype(np.float32), x.shape, blocks)
        if _is_mx_int8(scale, dtype):
            low, high = MX_INT8_RANGE
            nearest = np.clip(np.rint(steps / np.float32(MX_INT8_STEP)), low, high)
            return saturate(nearest, dtype)
        if zero_point is None:
            return stored(steps, 0, dtype)
        shift = spread(zero_point.astype(np.float64), x.shape, blocks)
        return stored(steps, shift, dtype)

    example = (
        (Tensor((2, 7), "f32"), Tensor((2, 2), "f32"), Tensor((2, 2), "ui4")),
        {"blocks": (1, 4), "dtype": "ui4"},
    )


class DequantizeBlocks(Op, dialect=Quant, name="dequantize_blocks", traits=[Pure]):
    """``f32(q - z) * s``, s and z those of the block that the element lies in.

    Blocks are those of qnn.quantize_blocks. Under an E8M0 scale i8 counts in steps of s/64
    (MXINT8). What exceeds float32 is an infinity.

    Constraints:
        C1: there is one positive block size per axis of q.
        C2: the scale has one element per block, ceil(size / block) along each axis.
        C3: q is an integer of 2, 4, 8 or 16 bits, or a small float (not E8M0).
        C4: the zero point has the scale's shape and q's type, an integer.
        C5: the scale is f32, f16, bf16, E8M0 or f8E4M3FN.
        C6: under an E8M0 scale an integer is i8 and has no zero point.
    """

    q: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    blocks: ArrayAttr
    zero_point: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        q: Tensor,
        scale: Tensor,
        zero_point: Tensor | None = None,
        *,
        blocks: tuple[int, ...],
    ) -> Tensor:
        kind = "qnn.dequantize_blocks"
        check_types(f"{kind} C3", (*RANGES, *FORMATS), q)
        _check(kind, q, scale, zero_point, blocks, q.dtype)
        return Tensor(q.shape, "f32")

    @staticmethod
    def evaluate(
        q: Array,
        scale: Array,
        zero_point: Array | None = None,
        *,
        blocks: tuple[int, ...],
    ) -> Array:
        steps = centred(q, 0 if zero_point is None else spread(zero_point, q.shape, blocks))
        if _is_mx_int8(scale, NAMES[q.dtype]):
            steps = steps * np.float32(MX_INT8_STEP)  # a power of two: exact
        with np.errstate(over="ignore"):
            return np.asarray(steps * spread(scale.astype(np.float32), q.shape, blocks))

    example = (
        (Tensor((2, 7), "i8"), Tensor((2, 2), "f8E8M0FNU")),
        {"blocks": (1, 4)},
    )


def blocked_shape(shape: tuple[int, ...], blocks: tuple[int, ...]) -> tuple[int, ...]:
    """How many blocks lie along each axis; the last of an axis may be cut short."""
    return tuple(-(-size // block) for size, block in zip(shape, blocks, strict=True))


def check_blocks(constraint: str, x: Tensor, blocks: tuple[int, ...]) -> None:
    """There is one positive block size per axis."""
    require(
        len(blocks) == x.rank and all(block >= 1 for block in blocks),
        f"{constraint}: there must be one positive block size per axis of {x}, not {blocks}",
    )


def spread(parameter: Array, shape: tuple[int, ...], blocks: tuple[int, ...]) -> Array:
    """A parameter per block as one per element (or broadcasting to it)."""
    for axis, (size, block) in enumerate(zip(shape, blocks, strict=True)):
        if parameter.shape[axis] != 1 and block > 1:
            repeated = np.repeat(parameter, block, axis)
            parameter = repeated[(slice(None),) * axis + (slice(size),)]
    return parameter


def _is_mx_int8(scale: Array, dtype: str) -> bool:
    return NAMES[scale.dtype] == E8M0 and dtype == "i8"


def _check(
    kind: str,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None,
    blocks: tuple[int, ...],
    dtype: str,
) -> None:
    check_blocks(f"{kind} C1", x, blocks)
    wanted = blocked_shape(x.shape, blocks)
    require(
        scale.shape == wanted,
        f"{kind} C2: the scale of {x} in blocks of {blocks} must have shape {wanted}, "
        f"not {scale}",
    )
    check_types(f"{kind} C5", SCALES, scale)
    if zero_point is not None:
        require(
            zero_point == Tensor(wanted, dtype) and dtype in RANGES,
            f"{kind} C4: the zero point must be {Tensor(wanted, dtype)} of an integer type, "
            f"not {zero_point}",
        )
    require(
        scale.dtype != E8M0 or dtype in FORMATS or (dtype == "i8" and zero_point is None),
        f"{kind} C6: under an E8M0 scale an integer must be i8 without zero point, not {dtype}",
    )
