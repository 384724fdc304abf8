"""From currents to spikes."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    ArrayAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.dialect import broadcast
from tetrapla.ir.nn.linear import window_shape, windows
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.spike.dialect import Spike, check_train


class Neuron(Op, dialect=Spike, name="neuron", traits=[Pure]):
    """Integrate and fire, without leak; every quantity is an integer.

    ``v[-1] = theta // 2`` (initial "half") or 0; in every timestep, with
    ``limit = 2**(state_bits - 1) - 1``::

        v = clamp(v + current[t], -limit, limit)      # saturates, never wraps
        s[t] = v >= theta   (compare "ge")  or  v > theta   ("gt")
        v = v - theta where s[t]   (reset "subtract")  or  0   ("zero")

    Constraints:
        C1: the current is i32 [T, ...].
        C2: theta is i32 and broadcasts to the current's shape without T.
        C3: initial, reset and compare are one of the words above.
        C4: the state has 2 to 31 bits.
    """

    current: Operand[RankedTensorType]
    theta: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    initial: StringAttr
    reset: StringAttr
    compare: StringAttr
    state_bits: IntegerAttr

    @staticmethod
    def infer(
        current: Tensor,
        theta: Tensor,
        *,
        initial: str,
        reset: str,
        compare: str,
        state_bits: int,
    ) -> Tensor:
        kind = "spike.neuron"
        require(
            current.dtype == "i32" and current.rank >= 1,
            f"{kind} C1: the current must be i32 with a time axis, not {current}",
        )
        frame = Tensor(current.shape[1:], "i32")
        require(
            theta.dtype == "i32" and broadcast(kind, frame, theta) == frame.shape,
            f"{kind} C2: theta must be i32 and broadcast to {frame}, not {theta}",
        )
        for word, known in (
            (initial, ("half", "zero")),
            (reset, ("subtract", "zero")),
            (compare, ("ge", "gt")),
        ):
            require(
                word in known, f"{kind} C3: must be one of {', '.join(known)}, not {word!r}"
            )
        require(
            2 <= state_bits <= 31, f"{kind} C4: state_bits must be 2 to 31, not {state_bits}"
        )
        return Tensor(current.shape, "i8")

    @staticmethod
    def evaluate(
        current: Array, theta: Array, *, initial: str, reset: str, compare: str, state_bits: int
    ) -> Array:
        limit = 2 ** (state_bits - 1) - 1
        threshold = np.broadcast_to(theta, current.shape[1:]).astype(np.int64)
        v = threshold // 2 if initial == "half" else np.zeros_like(threshold)
        spikes = np.empty(current.shape, np.int8)
        for t, arriving in enumerate(current):
            v = np.clip(v + arriving, -limit, limit)
            fired = v >= threshold if compare == "ge" else v > threshold
            v = np.where(fired, v - threshold if reset == "subtract" else 0, v)
            spikes[t] = fired
        return spikes

    example = (
        (Tensor((4, 2, 3), "i32"), Tensor((3,), "i32")),
        {"initial": "half", "reset": "subtract", "compare": "ge", "state_bits": 18},
    )


class MaxPool2d(Op, dialect=Spike, name="max_pool2d", traits=[Pure]):
    """Spiking maximum: each window's output keeps up with its most active input.

    After every timestep it has fired as often as the one that fired most; padding never fires.

    Constraints:
        C1: s is an i8 spike train [T, N, C, H, W].
        C2: the windows are as nn.max_pool2d's.
    """

    x: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    kernel: ArrayAttr
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> Tensor:
        check_train("spike.max_pool2d", x, 5)
        require(
            x.rank == 5 and len(kernel) == 2,
            f"spike.max_pool2d C1: the operand must be [T, N, C, H, W], not {x}",
        )
        down, across = window_shape(
            "spike.max_pool2d", x.shape[3:], kernel, strides, pads, dilations
        )
        return Tensor((*x.shape[:3], down, across), "i8")

    @staticmethod
    def evaluate(
        x: Array,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> Array:
        counts = np.cumsum(x, axis=0, dtype=np.int32)
        frames = counts.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
        most = windows(frames, kernel, strides, pads, dilations).max(axis=(4, 5))
        most = most.reshape(*x.shape[:2], *most.shape[1:])
        return np.asarray(np.diff(most, axis=0, prepend=0).astype(np.int8))

    example = (
        (Tensor((3, 1, 2, 5, 6), "i8"),),
        {"kernel": (2, 3), "strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 2)},
    )
