"""Channels rearranged into blocks of pixels, and back."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.work import Moves
from tetrapla.ir.op import Tensor, require

MODES = ("DCR", "CRD")


class DepthToSpace(Moves, dialect=Nn, name="depth_to_space", traits=[Pure]):
    """x[N,C,H,W] to [N, C / b², H b, W b]: each pixel's channels become a block of b by b.

    In mode DCR the block's place is the slower part of the channel, in CRD the faster one (the
    pixel shuffle of W. Shi et al., CVPR 2016).

    Constraints:
        C1: x has rank 4.
        C2: blocksize is at least 1 and its square divides the channels.
        C3: mode is DCR or CRD.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    blocksize: IntegerAttr
    mode: StringAttr

    @staticmethod
    def infer(x: Tensor, *, blocksize: int, mode: str) -> Tensor:
        kind, b = "nn.depth_to_space", blocksize
        require(x.rank == 4, f"{kind} C1: the operand needs rank 4, not {x}")
        n, c, h, w = x.shape
        require(
            b >= 1 and c % b**2 == 0,
            f"{kind} C2: blocksize must be at least 1, its square dividing {c} channels, "
            f"not {b}",
        )
        _check_mode(kind, mode)
        return Tensor((n, c // b**2, h * b, w * b), x.dtype)

    @staticmethod
    def evaluate(x: Array, *, blocksize: int, mode: str) -> Array:
        (n, c, h, w), b = x.shape, blocksize
        depth = c // b**2
        if mode == "DCR":
            blocks = x.reshape(n, b, b, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            blocks = x.reshape(n, depth, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return np.ascontiguousarray(blocks).reshape(n, depth, h * b, w * b)

    example = (Tensor((1, 8, 2, 3), "f32"),), {"blocksize": 2, "mode": "DCR"}


class SpaceToDepth(Moves, dialect=Nn, name="space_to_depth", traits=[Pure]):
    """x[N,C,H,W] to [N, C b², H / b, W / b], the inverse of nn.depth_to_space.

    Constraints:
        C1: x has rank 4.
        C2: blocksize is at least 1 and divides height and width.
        C3: mode is DCR or CRD.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    blocksize: IntegerAttr
    mode: StringAttr

    @staticmethod
    def infer(x: Tensor, *, blocksize: int, mode: str) -> Tensor:
        kind, b = "nn.space_to_depth", blocksize
        require(x.rank == 4, f"{kind} C1: the operand needs rank 4, not {x}")
        n, c, h, w = x.shape
        require(
            b >= 1 and h % b == 0 and w % b == 0,
            f"{kind} C2: blocksize must be at least 1 and divide {h} by {w} pixels, not {b}",
        )
        _check_mode(kind, mode)
        return Tensor((n, c * b**2, h // b, w // b), x.dtype)

    @staticmethod
    def evaluate(x: Array, *, blocksize: int, mode: str) -> Array:
        (n, c, h, w), b = x.shape, blocksize
        blocks = x.reshape(n, c, h // b, b, w // b, b)
        order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
        moved = np.ascontiguousarray(blocks.transpose(order))
        return moved.reshape(n, c * b**2, h // b, w // b)

    example = (Tensor((1, 2, 4, 6), "f32"),), {"blocksize": 2, "mode": "CRD"}


def _check_mode(kind: str, mode: str) -> None:
    require(mode in MODES, f"{kind} C3: mode must be {' or '.join(MODES)}, not {mode!r}")
