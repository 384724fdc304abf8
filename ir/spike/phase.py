"""Integrate a whole phase, then fire: numbers as spikes, layer by layer, without loss.

A layer listens for T timesteps and then, while the next layer listens, tells a level from 0 to
L. Nothing is lost between layers, since no neuron fires before it has heard everything::

    code     L            spikes of level n in the T timesteps          weight of timestep t
    count    T            the first n of them                           1
    binary   2^T - 1      the bits of n, the highest first              2^(T - 1 - t)
    first    T            one, in timestep T - n; none for n = 0        T - t
    graded   given, T = 1 one spike that carries n                      1

A membrane applies the weights as it goes: it adds (count, graded), doubles before it adds
(binary), or adds a current that keeps what arrived (first). Sources: count is the sequential
mode of quantisation-clip-floor-shift networks (Bu et al. 2022); binary is radix coding; first
is time-to-first-spike; graded spikes are Loihi 2's.
"""

from collections.abc import Iterator

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    ArrayAttr,
    FloatAttr,
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

CODES = ("count", "binary", "first", "graded")
MOST_BITS = 15  # of a binary level
MOST_GRADED = 127  # a train is i8


def most_levels(code: str, timesteps: int) -> int:
    """L of a code; of graded the largest."""
    if code == "binary":
        return int(2**timesteps) - 1
    return MOST_GRADED if code == "graded" else timesteps


def written(level: Array, timesteps: int, code: str) -> Array:
    """The spikes i8 [T, ...] of levels [...]."""
    t = np.arange(timesteps).reshape(-1, *(1,) * level.ndim)
    match code:
        case "count":
            spikes: Array = t < level
        case "binary":
            spikes = level >> (timesteps - 1 - t) & 1
        case "first":
            spikes = (t == timesteps - level) & (level > 0)
        case _:
            spikes = level[None]
    return spikes.astype(np.int8)


def charges(arriving: Array, code: str, limit: int) -> Iterator[tuple[Array, int]]:
    """The charge i64 [...] behind each current or spike of [T, ...], and how many met it.

    The membrane is clamped to +-limit in every timestep, and so is the current of "first".
    """
    v = np.zeros(arriving.shape[1:], np.int64)
    slope = np.zeros_like(v)
    for now in arriving:
        met = 0
        if code == "first":
            slope += now
            met = _clamp(slope, limit)
        v = 2 * v + now if code == "binary" else v + (slope if code == "first" else now)
        met += _clamp(v, limit)
        yield v, met


def gathered(arriving: Array, code: str, limit: int) -> Array:
    """The charge i64 [...] of a whole phase [T, ...]."""
    charge = np.zeros(arriving.shape[1:], np.int64)
    for now, _ in charges(arriving, code, limit):
        charge = now
    return charge


def told(charge: Array, start: Array, theta: Array, levels: int, limit: int) -> Array:
    """The level i64 [...] of a charge: ``clamp(floor((charge + start) / theta), 0, L)``."""
    v = np.clip(charge + start, -limit, limit)
    level: Array = np.clip(v // np.maximum(theta, 1), 0, levels)
    return level


def _clamp(v: Array, limit: int) -> int:
    over = int(np.count_nonzero(np.abs(v) > limit))
    if over:
        np.clip(v, -limit, limit, out=v)
    return over


class EncodePhase(Op, dialect=Spike, name="encode_phase", traits=[Pure]):
    """A number as a level, in the spikes of a code: ``clamp(rne(x / scale), 0, levels)``.

    A negative scale encodes the negative part. Codes are count, binary, first and graded.

    Constraints:
        C1: the operand is f32.
        C2: the code is one of the above, and levels are its L; of graded 1 to 127.
        C3: there is at least one timestep; one for graded, at most 15 for binary.
        C4: the scale is not zero.
    """

    x: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    timesteps: IntegerAttr
    scale: FloatAttr
    code: StringAttr
    levels: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, timesteps: int, scale: float, code: str, levels: int) -> Tensor:
        kind = "spike.encode_phase"
        require(x.dtype == "f32", f"{kind} C1: the operand must be f32, not {x}")
        _check_code(kind, code, timesteps, levels)
        require(scale != 0, f"{kind} C4: the scale must not be zero, not {scale}")
        return Tensor((timesteps, *x.shape), "i8")

    @staticmethod
    def evaluate(x: Array, *, timesteps: int, scale: float, code: str, levels: int) -> Array:
        return written(encoded(x, scale, levels), timesteps, code)

    example = (
        (Tensor((2, 3), "f32"),),
        {"timesteps": 4, "scale": 0.125, "code": "binary", "levels": 15},
    )


class Phase(Op, dialect=Spike, name="phase", traits=[Pure]):
    """Neurons that gather a phase of T timesteps and then tell a level in the next phase.

    The charge is the sum of the currents, each times the weight of its timestep; the membrane
    is clamped to ``+-(2**(state_bits - 1) - 1)`` in every timestep. Then
    ``level = clamp(floor((charge + start) / theta), 0, levels)``; the result is its spikes, in
    timesteps of the next phase. With codes and levels as in spike.encode_phase this is a ReLU
    of `levels` steps.

    Constraints:
        C1: the current is i32 [T, ...].
        C2: start and theta are i32 and broadcast to the current's shape without T.
        C3: code, levels and T are as in spike.encode_phase.
        C4: the state has 2 to 31 bits.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    theta: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    code: StringAttr
    levels: IntegerAttr
    state_bits: IntegerAttr

    @staticmethod
    def infer(
        current: Tensor,
        start: Tensor,
        theta: Tensor,
        *,
        code: str,
        levels: int,
        state_bits: int,
    ) -> Tensor:
        kind = "spike.phase"
        require(
            current.dtype == "i32" and current.rank >= 1,
            f"{kind} C1: the current must be i32 with a time axis, not {current}",
        )
        frame = Tensor(current.shape[1:], "i32")
        for name, each in (("start", start), ("theta", theta)):
            require(
                each.dtype == "i32" and broadcast(kind, frame, each) == frame.shape,
                f"{kind} C2: {name} must be i32 and broadcast to {frame}, not {each}",
            )
        _check_code(kind, code, current.shape[0], levels)
        require(
            2 <= state_bits <= 31, f"{kind} C4: state_bits must be 2 to 31, not {state_bits}"
        )
        return Tensor(current.shape, "i8")

    @staticmethod
    def evaluate(
        current: Array, start: Array, theta: Array, *, code: str, levels: int, state_bits: int
    ) -> Array:
        limit = 2 ** (state_bits - 1) - 1
        charge = gathered(current, code, limit)
        return written(told(charge, start, theta, levels, limit), len(current), code)

    example = (
        (Tensor((4, 2, 3), "i32"), Tensor((3,), "i32"), Tensor((3,), "i32")),
        {"code": "first", "levels": 4, "state_bits": 18},
    )


class DecodePhase(Op, dialect=Spike, name="decode_phase", traits=[Pure]):
    """What a phase said, as a number: ``f32(level) * scale``.

    Spikes (i8) give the level that they stand for; a current (i32) gives the charge of a
    membrane that gathers it and never fires, clamped as in spike.phase, plus start.

    Constraints:
        C1: the operand is a train or an i32 current with a time axis.
        C2: start is there for a current alone; it is i32 and broadcasts to it without T.
        C3: the code is one of spike.encode_phase's.
        C4: the state has 2 to 31 bits.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    code: StringAttr
    scale: FloatAttr
    state_bits: IntegerAttr
    start: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor, start: Tensor | None = None, *, code: str, scale: float, state_bits: int
    ) -> Tensor:
        del scale
        kind = "spike.decode_phase"
        require(
            x.dtype in ("i8", "i32") and x.rank >= 1,
            f"{kind} C1: the operand must be a train or a current, not {x}",
        )
        frame = Tensor(x.shape[1:], "i32")
        require(
            start is None
            or (
                x.dtype == start.dtype == "i32" and broadcast(kind, frame, start) == frame.shape
            ),
            f"{kind} C2: start must be i32, broadcast to {frame} and belong to a current, "
            f"not {start}",
        )
        require(
            code in CODES, f"{kind} C3: code must be one of {', '.join(CODES)}, not {code!r}"
        )
        require(
            2 <= state_bits <= 31, f"{kind} C4: state_bits must be 2 to 31, not {state_bits}"
        )
        return Tensor(frame.shape, "f32")

    @staticmethod
    def evaluate(
        x: Array, start: Array | None = None, *, code: str, scale: float, state_bits: int
    ) -> Array:
        limit = 2 ** (state_bits - 1) - 1
        charge = gathered(x, code, limit)
        if start is not None:
            charge = np.clip(charge + start, -limit, limit)
        return np.asarray(charge.astype(np.float32) * np.float32(scale))

    example = (
        (Tensor((4, 2, 3), "i32"), Tensor((3,), "i32")),
        {"code": "binary", "scale": 0.5, "state_bits": 24},
    )


class MaxBinary2d(Op, dialect=Spike, name="max_binary2d", traits=[Pure]):
    """The largest number of each window, of binary levels, bit by bit.

    The highest bit comes first, so an input that lacks a bit which the largest has is out; in
    every timestep the result is whether one that is still in fires. Padding never fires.

    Constraints:
        C1: the operand is an i8 spike train [T, N, C, H, W].
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
        kind = "spike.max_binary2d"
        check_train(kind, x, 5)
        require(
            x.rank == 5 and len(kernel) == 2,
            f"{kind} C1: the operand must be [T, N, C, H, W], not {x}",
        )
        down, across = window_shape(kind, x.shape[3:], kernel, strides, pads, dilations)
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
        frames = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
        seen = windows(frames, kernel, strides, pads, dilations) != 0
        seen = seen.reshape(*x.shape[:2], *seen.shape[1:])
        left = np.ones(seen.shape[1:], np.bool_)
        train = np.zeros(seen.shape[:-2], np.int8)
        for t, bits in enumerate(seen):
            most = (bits & left).any(axis=(-2, -1))
            left &= bits == most[..., None, None]
            train[t] = most
        return train

    example = (
        (Tensor((3, 1, 2, 5, 6), "i8"),),
        {"kernel": (2, 3), "strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 2)},
    )


def encoded(x: Array, scale: float, levels: int) -> Array:
    """The levels i64 of numbers."""
    level: Array = np.clip(np.rint(x / np.float32(scale)), 0, levels).astype(np.int64)
    return level


def _check_code(kind: str, code: str, timesteps: int, levels: int) -> None:
    most = {"graded": 1, "binary": MOST_BITS}.get(code, 2**31 - 1)
    # first, because the levels of a binary code are as many digits as there are timesteps
    require(
        1 <= timesteps <= most,
        f"{kind} C3: there must be 1 to {most} timesteps with {code}, not {timesteps}",
    )
    require(
        code in CODES
        and (
            1 <= levels <= MOST_GRADED
            if code == "graded"
            else levels == most_levels(code, timesteps)
        ),
        f"{kind} C2: the code must be one of {', '.join(CODES)} with the levels that it has in "
        f"{timesteps} timesteps, not {code!r} with {levels}",
    )
