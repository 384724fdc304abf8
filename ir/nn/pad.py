"""Padding and cropping of every axis."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    ArrayAttr,
    FloatAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.work import Moves
from tetrapla.ir.op import Tensor, require

MODES = ("constant", "reflect", "edge", "wrap")


class Pad(Moves, dialect=Nn, name="pad", traits=[Pure]):
    """Values added around x; a negative pad cuts values off, and is applied first.

    ``constant`` adds `value` (a float32, towards zero to integers), ``edge`` repeats the last
    value, ``reflect`` mirrors without repeating the edge, ``wrap`` goes on at the other end.

    Constraints:
        C1: pads has one number per axis for its begin, then one per axis for its end.
        C2: mode is constant, reflect, edge or wrap.
        C3: negative pads leave at least nothing of each axis.
        C4: what is repeated is not empty; reflect adds less than the size to each side.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    pads: ArrayAttr
    mode: StringAttr
    value: FloatAttr

    @staticmethod
    def infer(x: Tensor, *, pads: tuple[int, ...], mode: str, value: float) -> Tensor:
        kind = "nn.pad"
        require(
            len(pads) == 2 * x.rank, f"{kind} C1: {x} takes {2 * x.rank} pads, not {len(pads)}"
        )
        require(
            mode in MODES, f"{kind} C2: mode must be one of {', '.join(MODES)}, not {mode!r}"
        )
        sizes: list[int] = []
        for axis, size in enumerate(x.shape):
            before, behind = pads[axis], pads[x.rank + axis]
            left = size + min(before, 0) + min(behind, 0)
            require(
                left >= 0,
                f"{kind} C3: axis {axis} of {x} must keep 0 values or more, not {left}",
            )
            most = max(before, behind, 0)
            enough = most < left if mode == "reflect" else left > 0
            require(
                mode == "constant" or most == 0 or enough,
                f"{kind} C4: {mode} pads of axis {axis} must come from its {left} values, "
                f"not {most}",
            )
            sizes.append(size + before + behind)
        return Tensor(tuple(sizes), x.dtype)

    @staticmethod
    def evaluate(x: Array, *, pads: tuple[int, ...], mode: str, value: float) -> Array:
        rank = x.ndim
        cut = tuple(
            slice(max(-pads[i], 0), x.shape[i] + min(pads[rank + i], 0)) for i in range(rank)
        )
        x = x[cut]
        before = [max(pads[i], 0) for i in range(rank)]
        behind = [max(pads[rank + i], 0) for i in range(rank)]
        if mode == "constant":
            sizes = [b + n + e for b, n, e in zip(before, x.shape, behind, strict=True)]
            y = np.full(sizes, np.array(value, np.float32).astype(x.dtype), x.dtype)
            y[tuple(slice(b, b + n) for b, n in zip(before, x.shape, strict=True))] = x
            return y
        for axis, size in enumerate(x.shape):
            if before[axis] or behind[axis]:
                places = np.arange(-before[axis], size + behind[axis])
                x = x.take(_source(places, size, mode), axis=axis)
        return np.array(x)

    example = (
        (Tensor((3, 4), "f32"),),
        {"pads": (1, -1, 0, 2), "mode": "reflect", "value": 0.0},
    )


def _source(places: Array, size: int, mode: str) -> Array:
    match mode:
        case "edge":
            return np.clip(places, 0, size - 1)
        case "wrap":
            return np.asarray(places % size)
        case _:
            return np.asarray(size - 1 - np.abs(size - 1 - np.abs(places)))
