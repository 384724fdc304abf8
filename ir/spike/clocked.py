"""Neurons of TrueNorth and SpiNNaker: chips whose timesteps are a clock's milliseconds."""

from types import MappingProxyType

import numpy as np

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result, StringAttr
from tetrapla.ir.op import Tensor, require
from tetrapla.ir.spike.dialect import Spike
from tetrapla.ir.spike.membrane import Membrane

# of TrueNorth's potential, 20 bits with sign; of s16.15: 15 bits behind the point, 32 in all
_POTENTIAL_LIMIT = 2**19 - 1
_FRACTION_BITS = 15
_ACCUM_LIMIT = 2**31 - 1


class TrueNorth(Membrane, dialect=Spike, name="truenorth", traits=[Pure]):
    """TrueNorth's neuron without its random parts, in integers of 20 bits.

    ``new = saturate(v + current[t] + leak)``; it fires where ``new >= threshold``, and v is
    then 0 (to_zero), ``new - threshold`` (subtract) or new (none), but never below ``-floor``.

    That sums saturate is assumed, and so are the 20 bits: no source that was read says either.
    Results and constraints are spike.loihi's, with one state, and a reset of the three above.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    leak: Operand[RankedTensorType]
    threshold: Operand[RankedTensorType]
    floor: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    reset: StringAttr

    types = ("i32", "i64", "i32")
    words = MappingProxyType({"reset": ("to_zero", "subtract", "none")})

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        leak: Array,
        threshold: Array,
        floor: Array,
        reset: str,
    ) -> Array:
        (v,) = state
        new = np.clip(v + current + leak, -_POTENTIAL_LIMIT, _POTENTIAL_LIMIT)
        fired: Array = new >= threshold
        left = {"to_zero": 0, "subtract": new - threshold, "none": new}[reset]
        v[...] = np.maximum(np.where(fired, left, new), -floor.astype(np.int64))
        return fired

    example = (
        (
            Tensor((4, 2, 3), "i32"),
            Tensor((), "i64"),
            *(Tensor((3,), "i32") for _ in range(3)),
        ),
        {"reset": "subtract"},
    )


class SpiNNaker(Membrane, dialect=Spike, name="spinnaker", traits=[Pure]):
    """A leaky neuron in the fixed point of SpiNNaker's cores; states v, timesteps of silence.

    All numbers count 2^-15 (s16.15, ISO/IEC TR 18037's accum), and a product is rounded back to
    it: toward zero, to the nearest or down, which is each kernel's own choice::

        drive = current[t] r + v_rest
        v = drive - decay (drive - v)              decay = exp(-dt / tau)
        fires where v >= v_threshold, then v = v_reset for `refractory` timesteps

    The rule is that of the software's leaky neuron as it is commonly described, and saturation
    at 32 bits is assumed: neither was held against a chip's trace.

    Constraints:
        C1 to C4: spike.loihi's, with two states, and a rounding of the three above.
        C5: refractory is 0 or more.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    decay: Operand[RankedTensorType]
    r: Operand[RankedTensorType]
    v_rest: Operand[RankedTensorType]
    v_threshold: Operand[RankedTensorType]
    v_reset: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    rounding: StringAttr
    refractory: IntegerAttr

    states = 2
    types = ("i32", "i64", "i32")
    words = MappingProxyType({"rounding": ("toward_zero", "nearest", "floor")})

    @classmethod
    def infer(
        cls, current: Tensor, start: Tensor, *given: Tensor, **attributes: int | str
    ) -> tuple[Tensor, Tensor, Tensor]:
        made = super().infer(current, start, *given, **attributes)
        silence = attributes["refractory"]
        if not isinstance(silence, int):
            raise IRError(f"spike.spinnaker: refractory must be a whole number, not {silence}")
        require(
            silence >= 0, f"spike.spinnaker C5: refractory must be 0 or more, not {silence}"
        )
        return made

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        decay: Array,
        r: Array,
        v_rest: Array,
        v_threshold: Array,
        v_reset: Array,
        rounding: str,
        refractory: int,
    ) -> Array:
        v, waiting = state
        drive = _saturated(_product(current, r, rounding) + v_rest)
        away = _saturated(drive - v)
        new = _saturated(drive - _product(decay, away, rounding))
        silent = waiting > 0
        fired: Array = (new >= v_threshold) & ~silent
        v[...] = np.where(silent, v, np.where(fired, v_reset, new))
        waiting[...] = np.where(fired, refractory, np.maximum(waiting - 1, 0))
        return fired

    example = (
        (
            Tensor((4, 2, 3), "i32"),
            Tensor((), "i64"),
            *(Tensor((3,), "i32") for _ in range(5)),
        ),
        {"rounding": "toward_zero", "refractory": 1},
    )


def _product(a: Array, b: Array, rounding: str) -> Array:
    """The product of two numbers of 2^-15, in them."""
    whole = a.astype(np.int64) * b.astype(np.int64)
    if rounding == "floor":
        return whole >> _FRACTION_BITS
    if rounding == "nearest":
        return (whole + (1 << (_FRACTION_BITS - 1))) >> _FRACTION_BITS
    toward_zero: Array = np.sign(whole) * (np.abs(whole) >> _FRACTION_BITS)
    return toward_zero


def _saturated(values: Array) -> Array:
    held: Array = np.clip(values, -_ACCUM_LIMIT - 1, _ACCUM_LIMIT)
    return held
