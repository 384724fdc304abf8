"""Between numbers and spikes by rate, latency and change; `code` has constant currents."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import FloatAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.spike.dialect import Spike, check_train


class EncodeRate(Op, dialect=Spike, name="encode_rate", traits=[Pure]):
    """As many spikes as the number is large: at the rate ``p = clamp(x / scale, 0, 1)``.

    With draws, uniform numbers in [0, 1) that the caller made: ``s[t] = draws[t] < p``.
    Without, evenly spread: behind timestep t there were ``floor((t + 1) p + 1 / 2)`` spikes.

    Constraints:
        C1: the operand is f32.
        C2: there is at least one timestep.
        C3: the scale is not zero.
        C4: the draws are f32 [timesteps, ...].
    """

    x: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    timesteps: IntegerAttr
    scale: FloatAttr
    draws: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor, draws: Tensor | None = None, *, timesteps: int, scale: float
    ) -> Tensor:
        train = _train("spike.encode_rate", x, timesteps, scale)
        expected = Tensor(train.shape, "f32")
        require(
            draws in (None, expected),
            f"spike.encode_rate C4: the draws must be {expected}, not {draws}",
        )
        return train

    @staticmethod
    def evaluate(
        x: Array, draws: Array | None = None, *, timesteps: int, scale: float
    ) -> Array:
        rate = _share(x, scale)
        if draws is not None:
            return np.asarray((draws < rate).astype(np.int8))
        ends = np.arange(timesteps + 1).reshape(-1, *(1,) * x.ndim)
        return np.asarray(np.diff(np.floor(ends * rate + 0.5), axis=0).astype(np.int8))

    example = (
        (Tensor((2, 3), "f32"), Tensor((4, 2, 3), "f32")),
        {"timesteps": 4, "scale": 8.0},
    )


class EncodeLatency(Op, dialect=Spike, name="encode_latency", traits=[Pure]):
    """One spike, the earlier the larger the number is.

    ``p = clamp(x / scale, 0, 1)`` spikes in timestep ``rne((1 - p) (timesteps - 1))``, and not
    at all where p is 0.

    Constraints:
        C1: the operand is f32.
        C2: there is at least one timestep.
        C3: the scale is not zero.
    """

    x: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    timesteps: IntegerAttr
    scale: FloatAttr

    @staticmethod
    def infer(x: Tensor, *, timesteps: int, scale: float) -> Tensor:
        return _train("spike.encode_latency", x, timesteps, scale)

    @staticmethod
    def evaluate(x: Array, *, timesteps: int, scale: float) -> Array:
        p = _share(x, scale)
        time = np.rint((1 - p) * (timesteps - 1))
        steps = np.arange(timesteps).reshape(-1, *(1,) * x.ndim)
        return np.asarray(((steps == time) & (p > 0)).astype(np.int8))

    example = (Tensor((2, 3), "f32"),), {"timesteps": 4, "scale": 8.0}


class EncodeDelta(Op, dialect=Spike, name="encode_delta", traits=[Pure]):
    """A spike where a signal has moved by a threshold since the last one; its sign is the way.

    ``level`` starts at 0; in every timestep ``s[t] = sign(x[t] - level)`` where the distance is
    at least the threshold, else 0, and ``level = level + s[t] threshold``: one threshold a
    timestep, as an event camera's pixel.

    Constraints:
        C1: the operand is f32 [T, ...].
        C2: the threshold is positive and finite.
    """

    x: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    threshold: FloatAttr

    @staticmethod
    def infer(x: Tensor, *, threshold: float) -> Tensor:
        kind = "spike.encode_delta"
        require(
            x.dtype == "f32" and x.rank >= 1,
            f"{kind} C1: the operand must be f32 with a time axis, not {x}",
        )
        require(
            0 < threshold < float("inf"),
            f"{kind} C2: the threshold must be positive and finite, not {threshold}",
        )
        return Tensor(x.shape, "i8")

    @staticmethod
    def evaluate(x: Array, *, threshold: float) -> Array:
        level = np.zeros(x.shape[1:], x.dtype)
        train = np.zeros(x.shape, np.int8)
        with np.errstate(all="ignore"):  # infinity and NaN are values
            for t, now in enumerate(x):
                moved = now - level
                far = np.abs(moved) >= threshold
                train[t] = np.where(far, np.where(moved > 0, 1, -1), 0)
                level = level + train[t] * x.dtype.type(threshold)
        return train

    example = (Tensor((4, 2, 3), "f32"),), {"threshold": 0.5}


class DecodeFirst(Op, dialect=Spike, name="decode_first", traits=[Pure]):
    """When each axon spikes first, in timesteps from 0; T where it never does.

    Constraints:
        C1: the operand is an i8 spike train.
    """

    s: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(s: Tensor) -> Tensor:
        check_train("spike.decode_first", s, 1)
        return Tensor(s.shape[1:], "f32")

    @staticmethod
    def evaluate(s: Array) -> Array:
        spiked = np.concatenate([s != 0, np.ones((1, *s.shape[1:]), np.bool_)])
        return np.asarray(np.argmax(spiked, axis=0).astype(np.float32))

    example = (Tensor((4, 2, 3), "i8"),), {}


def _train(kind: str, x: Tensor, timesteps: int, scale: float) -> Tensor:
    require(x.dtype == "f32", f"{kind} C1: the operand must be f32, not {x}")
    require(timesteps >= 1, f"{kind} C2: timesteps must be 1 or more, not {timesteps}")
    require(scale != 0, f"{kind} C3: the scale must not be zero, not {scale}")
    return Tensor((timesteps, *x.shape), "i8")


def _share(x: Array, scale: float) -> Array:
    """``clamp(x / scale, 0, 1)`` in float64; 0 of what is no number."""
    with np.errstate(all="ignore"):
        share = np.clip(x.astype(np.float64) / scale, 0, 1)
    return np.where(np.isnan(share), 0, share)
