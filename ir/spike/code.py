"""Between numbers and spikes: the chip's borders."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import FloatAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.spike.dialect import Spike


class Encode(Op, dialect=Spike, name="encode", traits=[Pure]):
    """Constant input current: ``y[t] = clamp(rne(x / scale), 0, high)`` for every t.

    A negative scale encodes the negative part.

    Constraints:
        C1: the operand is f32.
        C2: there is at least one timestep.
        C3: the scale is not zero.
        C4: high is positive.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    timesteps: IntegerAttr
    scale: FloatAttr
    high: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, timesteps: int, scale: float, high: int) -> Tensor:
        require(x.dtype == "f32", f"spike.encode C1: the operand must be f32, not {x}")
        require(
            timesteps >= 1, f"spike.encode C2: timesteps must be 1 or more, not {timesteps}"
        )
        require(scale != 0, f"spike.encode C3: the scale must not be zero, not {scale}")
        require(high > 0, f"spike.encode C4: high must be positive, not {high}")
        return Tensor((timesteps, *x.shape), "i32")

    @staticmethod
    def evaluate(x: Array, *, timesteps: int, scale: float, high: int) -> Array:
        level = np.rint(x / np.float32(scale))
        current = np.clip(level, 0, high).astype(np.int32)
        return np.repeat(current[None], timesteps, axis=0)

    example = (
        (Tensor((1, 2, 3), "f32"),),
        {"timesteps": 4, "scale": 0.25, "high": 8},
    )


class Decode(Op, dialect=Spike, name="decode", traits=[Pure]):
    """What was gathered over all timesteps, as a number: ``y = f32(v) * scale``.

    A current (i32) charges a membrane that never fires, v clamped to
    ``+-(2**(state_bits - 1) - 1)`` in every step; a spike train (i8) is counted.

    Constraints:
        C1: the operand is an i32 current or an i8 spike train with a time axis.
        C2: the state has 2 to 31 bits.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    scale: FloatAttr
    state_bits: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, scale: float, state_bits: int) -> Tensor:
        require(
            x.dtype in ("i8", "i32") and x.rank >= 1,
            f"spike.decode C1: the operand must be a current or a spike train, not {x}",
        )
        require(
            2 <= state_bits <= 31,
            f"spike.decode C2: the state must have 2 to 31 bits, not {state_bits}",
        )
        return Tensor(x.shape[1:], "f32")

    @staticmethod
    def evaluate(x: Array, *, scale: float, state_bits: int) -> Array:
        limit = 2 ** (state_bits - 1) - 1
        v = np.zeros(x.shape[1:], np.int64)
        for step in x:
            v = np.clip(v + step, -limit, limit)
        return np.asarray(v.astype(np.float32) * np.float32(scale))

    example = (Tensor((4, 2, 3), "i32"),), {"scale": 0.5, "state_bits": 18}
