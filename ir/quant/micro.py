"""Formats whose blocks choose their own scale: OCP MX and NVIDIA's NVFP4."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result, StringAttr
from tetrapla.ir.nn.check import one_axis
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.blocks import (
    DequantizeBlocks,
    QuantizeBlocks,
    blocked_shape,
    spread,
)
from tetrapla.ir.quant.dialect import Quant, check_target, check_types
from tetrapla.ir.quant.small import E8M0, FORMATS, to_exponent, to_small

MX_ELEMENTS = ("f8E4M3FN", "f8E5M2", "f6E2M3FN", "f6E3M2FN", "f4E2M1FN", "i8")
SCALE_TYPE, ELEMENT_TYPE = "f8E4M3FN", "f4E2M1FN"  # of NVFP4
TENSOR_SCALE_SHAPES = ((), (1,))


class MxQuantize(Op, dialect=Quant, name="mx_quantize", traits=[Pure]):
    """Quantise to an MX format: blocks along one axis share a power of two.

    The scale is 2^(floor(log2 max |x|) - e_max) of each block, e_max the exponent of the
    element's largest binade (0 for i8), within E8M0's range; the elements are those of
    qnn.quantize_blocks. Source: OCP Microscaling Formats 1.0 (2023), section 6.3. Where that
    leaves a choice: a block of zeros has the least scale, 2^-127, and one with an infinity or
    a NaN has scale NaN (its elements are not to be read).

    Constraints:
        C1: the axis exists.
        C2: the block size is positive (MX has 32); the last block of the axis may be shorter.
        C3: the elements are f8E4M3FN, f8E5M2, f6E2M3FN, f6E3M2FN, f4E2M1FN or i8.
        C4: x is float32.
    """

    x: Operand[RankedTensorType]
    q: Result[RankedTensorType]
    scale: Result[RankedTensorType]
    axis: IntegerAttr
    block_size: IntegerAttr
    dtype: StringAttr

    @staticmethod
    def infer(x: Tensor, *, axis: int, block_size: int, dtype: str) -> tuple[Tensor, ...]:
        kind = "qnn.mx_quantize"
        shape = _scale_shape(kind, x, axis, block_size)
        check_target(f"{kind} C3", MX_ELEMENTS, dtype)
        check_types(f"{kind} C4", ("f32",), x)
        return Tensor(x.shape, dtype), Tensor(shape, E8M0)

    @staticmethod
    def evaluate(x: Array, *, axis: int, block_size: int, dtype: str) -> tuple[Array, ...]:
        blocks = along_axis(x.ndim, axis, block_size)
        largest = block_maxima(x, axis, block_size)
        e_max = FORMATS[dtype].e_max if dtype in FORMATS else 0
        odd = ~np.isfinite(largest)
        # a zero's exponent is far below the range; float64 keeps every float32's exact
        known = np.where(odd | (largest == 0), 2.0**-200, largest.astype(np.float64))
        scale = to_exponent(np.frexp(known)[1] - 1 - e_max, odd)
        return QuantizeBlocks.evaluate(x, scale, blocks=blocks, dtype=dtype), scale

    example = (Tensor((2, 7), "f32"),), {"axis": -1, "block_size": 4, "dtype": "f6E3M2FN"}


class Nvfp4Quantize(Op, dialect=Quant, name="nvfp4_quantize", traits=[Pure]):
    """Quantise to f4E2M1FN with an f8E4M3FN scale per block under one float32 scale.

    A block's scale is max |x| / 6 / tensor_scale as f8E4M3FN, its elements
    x / (scale * tensor_scale), each saturating to nearest even, steps in float32; a block
    whose scale is 0 has elements 0. Source: NVIDIA, "Pretraining Large Language Models with
    NVFP4" (arXiv 2509.25149, 2025), with divisions for its reciprocals. The
    tensor scale that uses the whole range is `nvfp4_tensor_scale`.

    Constraints:
        C1: the axis exists.
        C2: the block size is positive (NVFP4 has 16); the last block may be shorter.
        C3: x is float32, and the tensor scale f32 of shape () or (1,).
    """

    x: Operand[RankedTensorType]
    tensor_scale: Operand[RankedTensorType]
    q: Result[RankedTensorType]
    scale: Result[RankedTensorType]
    axis: IntegerAttr
    block_size: IntegerAttr

    @staticmethod
    def infer(
        x: Tensor, tensor_scale: Tensor, *, axis: int, block_size: int
    ) -> tuple[Tensor, ...]:
        kind = "qnn.nvfp4_quantize"
        shape = _scale_shape(kind, x, axis, block_size)
        check_types(f"{kind} C3", ("f32",), x)
        _check_tensor_scale(f"{kind} C3", tensor_scale)
        return Tensor(x.shape, ELEMENT_TYPE), Tensor(shape, SCALE_TYPE)

    @staticmethod
    def evaluate(
        x: Array, tensor_scale: Array, *, axis: int, block_size: int
    ) -> tuple[Array, ...]:
        blocks = along_axis(x.ndim, axis, block_size)
        whole = tensor_scale.reshape(())
        largest = np.float32(FORMATS[ELEMENT_TYPE].largest)
        scale = to_small(block_maxima(x, axis, block_size) / largest / whole, SCALE_TYPE)
        step = scale.astype(np.float32) * whole
        divisor = spread(np.where(step == 0, np.float32(np.inf), step), x.shape, blocks)
        return to_small(x / divisor, ELEMENT_TYPE), scale

    example = (
        (Tensor((2, 7), "f32"), Tensor((1,), "f32")),
        {"axis": -1, "block_size": 4},
    )


class Nvfp4Dequantize(Op, dialect=Quant, name="nvfp4_dequantize", traits=[Pure]):
    """``(q * scale) * tensor_scale`` in float32; the first product is exact.

    Constraints:
        C1: the axis exists.
        C2: the block size is positive, and the scale has one element per block.
        C3: q is f4E2M1FN, the scale f8E4M3FN, the tensor scale f32 of shape () or (1,).
    """

    q: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    tensor_scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr
    block_size: IntegerAttr

    @staticmethod
    def infer(
        q: Tensor, scale: Tensor, tensor_scale: Tensor, *, axis: int, block_size: int
    ) -> Tensor:
        kind = "qnn.nvfp4_dequantize"
        wanted = Tensor(_scale_shape(kind, q, axis, block_size), SCALE_TYPE)
        require(
            scale.shape == wanted.shape, f"{kind} C2: the scale must be {wanted}, not {scale}"
        )
        check_types(f"{kind} C3", (ELEMENT_TYPE,), q)
        check_types(f"{kind} C3", (SCALE_TYPE,), scale)
        _check_tensor_scale(f"{kind} C3", tensor_scale)
        return Tensor(q.shape, "f32")

    @staticmethod
    def evaluate(
        q: Array, scale: Array, tensor_scale: Array, *, axis: int, block_size: int
    ) -> Array:
        blocks = along_axis(q.ndim, axis, block_size)
        steps = DequantizeBlocks.evaluate(q, scale, blocks=blocks)
        return np.asarray(steps * tensor_scale.reshape(()))

    example = (
        (Tensor((2, 7), "f4E2M1FN"), Tensor((2, 2), "f8E4M3FN"), Tensor((), "f32")),
        {"axis": 1, "block_size": 4},
    )


def nvfp4_tensor_scale(x: Array) -> np.float32:
    """The tensor scale under which the largest |x| has the largest block scale; 1 for zeros.

    max |x| / (448 * 6), both formats' maxima (the paper above).
    """
    full = np.float32(FORMATS[SCALE_TYPE].largest * FORMATS[ELEMENT_TYPE].largest)
    largest = np.float32(np.abs(x).max(initial=0))
    return np.float32(1) if largest == 0 else np.float32(largest / full)


def along_axis(rank: int, axis: int, block_size: int) -> tuple[int, ...]:
    """Block sizes that cut one axis alone."""
    return tuple(block_size if at == axis % rank else 1 for at in range(rank))


def block_maxima(x: Array, axis: int, block_size: int) -> Array:
    """The largest magnitude of every block along an axis; NaN where there is one."""
    starts = np.arange(0, x.shape[axis], block_size)
    return (
        np.asarray(np.maximum.reduceat(np.abs(x), starts, axis)) if starts.size else np.abs(x)
    )


def _scale_shape(kind: str, x: Tensor, axis: int, block_size: int) -> tuple[int, ...]:
    one_axis(f"{kind} C1", axis, x)
    require(block_size >= 1, f"{kind} C2: the block size must be positive, not {block_size}")
    return blocked_shape(x.shape, along_axis(x.rank, axis, block_size))


def _check_tensor_scale(constraint: str, scale: Tensor) -> None:
    require(
        scale.dtype == "f32" and scale.shape in TENSOR_SCALE_SHAPES,
        f"{constraint}: the tensor scale must be f32 of shape () or (1,), not {scale}",
    )
