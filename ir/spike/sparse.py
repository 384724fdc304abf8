"""Synapses that are listed one by one, and delays."""

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.dialect import broadcast
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.spike.dialect import (
    Spike,
    check_fan_in,
    current_type,
    macs_by_spikes,
)


class Delay(Op, dialect=Spike, name="delay", traits=[Pure]):
    """What comes in, later: ``y[t, ...] = x[t - steps[...], ...]``, zero before the first.

    Steps count timesteps, one number for each axon or one for all.

    Constraints:
        C1: x has a time axis, and its elements are i8, i32 or f32.
        C2: the steps are i32 and broadcast to x's shape without T.
    """

    x: Operand[RankedTensorType]
    steps: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(x: Tensor, steps: Tensor) -> Tensor:
        kind = "spike.delay"
        require(
            x.rank >= 1 and x.dtype in ("i8", "i32", "f32"),
            f"{kind} C1: the operand must be i8, i32 or f32 with a time axis, not {x}",
        )
        frame = Tensor(x.shape[1:], "i32")
        require(
            steps.dtype == "i32" and broadcast(kind, frame, steps) == frame.shape,
            f"{kind} C2: steps must be i32 and broadcast to {frame}, not {steps}",
        )
        return x

    @staticmethod
    def evaluate(x: Array, steps: Array) -> Array:
        _check_delays(steps)
        y = np.zeros_like(x)
        each = np.broadcast_to(steps, x.shape[1:])
        for delay in (d for d in np.unique(each) if d < len(x)):
            y[delay:] = np.where(each == delay, x[: len(x) - delay], y[delay:])
        return y

    example = (Tensor((4, 2, 3), "i8"), Tensor((3,), "i32")), {}


class Sparse(Op, dialect=Spike, name="sparse", traits=[Pure]):
    """Synapses by list: synapse e goes from source[e] to target[e] with w[e], after delay[e].

    ``y[t, ..., n] = sum over e with target[e] = n of w[e] s[t - delay[e], ..., source[e]]``,
    times ``2**exponent`` where weights are integers. Synapses of one pair add up. Sums of
    floats are made in float64, by delay and then in the order of the list, and rounded once.

    Constraints:
        C1: s is a spike train of rank 2 or more: i8, or f32 where the weights are.
        C2: the exponent is 0 to 7 and the largest current fits 31 bits; floats have 0.
        C3: w is i8, i16 or f32 of shape (e,).
        C4: source, target and delay are i32 of shape (e,).
        C5: size, the number of targets, is positive.
    """

    s: Operand[RankedTensorType]
    source: Operand[RankedTensorType]
    target: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    size: IntegerAttr
    exponent: IntegerAttr
    delay: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        s: Tensor,
        source: Tensor,
        target: Tensor,
        w: Tensor,
        delay: Tensor | None = None,
        *,
        size: int,
        exponent: int,
    ) -> Tensor:
        kind = "spike.sparse"
        dtype = current_type(kind, s, w, 2)
        check_fan_in(kind, w.shape[0] if w.rank else 1, exponent, w.dtype)
        require(w.rank == 1, f"{kind} C3: weights must be of shape (e,), not {w}")
        for name, each in (("source", source), ("target", target), ("delay", delay)):
            require(
                each is None or each == Tensor(w.shape, "i32"),
                f"{kind} C4: {name} must be {Tensor(w.shape, 'i32')}, not {each}",
            )
        require(size > 0, f"{kind} C5: size must be positive, not {size}")
        return Tensor((*s.shape[:-1], size), dtype)

    @staticmethod
    def evaluate(
        s: Array,
        source: Array,
        target: Array,
        w: Array,
        delay: Array | None = None,
        *,
        size: int,
        exponent: int,
    ) -> Array:
        _check_ends("source", source, s.shape[-1])
        _check_ends("target", target, size)
        late = np.zeros(len(w), np.int32) if delay is None else delay
        _check_delays(late)
        total = np.zeros((*s.shape[:-1], size))
        # whole numbers below 2**53 add up exactly in any order; C2 keeps them below 2**31
        for steps in (d for d in np.unique(late) if d < len(s)):
            chosen = late == steps
            weight, ends = w[chosen].astype(np.float64), target[chosen]
            for at in np.ndindex(len(s) - steps, *s.shape[1:-1]):
                heard = s[at][source[chosen]].astype(np.float64)
                row = np.bincount(ends, heard * weight, size)
                total[at[0] + steps, *at[1:]] += row
        if w.dtype.kind == "f":
            return total.astype(w.dtype)
        return np.asarray(total.astype(np.int32) << exponent)

    macs = staticmethod(macs_by_spikes)
    example = (
        (
            Tensor((4, 2, 10), "i8"),
            *(Tensor((5,), "i32") for _ in range(2)),
            Tensor((5,), "i16"),
            Tensor((5,), "i32"),
        ),
        {"size": 9, "exponent": 1},
    )


def _check_delays(steps: Array) -> None:
    if steps.size and steps.min() < 0:
        raise ModelError(f"a delay must be 0 or more timesteps, not {steps.min()}; mend it")


def _check_ends(name: str, ends: Array, size: int) -> None:
    wrong = ends[(ends < 0) | (ends >= size)]
    if wrong.size:
        raise ModelError(
            f"spike.sparse: {name} must count from 0 to {size - 1}, not {wrong[0]}; mend the "
            "list of synapses"
        )
