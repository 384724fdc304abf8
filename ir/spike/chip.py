"""The integer neuron of Loihi as an operator; its arithmetic is `tetrapla.ir.spike.loihi`."""

from types import MappingProxyType

import numpy as np

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result, StringAttr
from tetrapla.ir.op import Tensor, require
from tetrapla.ir.spike.dialect import Spike
from tetrapla.ir.spike.loihi import (
    BRIAN2,
    FRACTION_BITS,
    LAVA,
    POLICIES,
    STATE_LIMIT,
    Neuron,
    State,
    charge,
    step,
)
from tetrapla.ir.spike.membrane import Membrane


class Loihi(Membrane, dialect=Spike, name="loihi", traits=[Pure]):
    """Loihi's current-based LIF neuron, in integers; states v, u and the timesteps of silence.

    The current counts weights; 64 of v are one of it. Decays are of 4096. Public models of the
    chip round and overflow differently, so the policy says whose arithmetic it is, bit by bit::

        loihi.lava    current[t] << exponent (or >>) of the sum; u wraps in 24 bits, v saturates
        loihi.brian2  the exponent is in the weights; u and v neither wrap nor saturate
        loihi.nengo   as before, but the sum wraps in 22 bits, u in 24; v saturates

        u = u (4096 - current_decay - 1) / 4096, toward zero, + 64 current[t]
        v = saturate(v (4096 - voltage_decay) / 4096, toward zero, + u + bias)
        fires where v > 64 threshold, and v = 0; so it stays for refractory - 1 timesteps

    Results: the spikes, v behind every timestep, and the last state.

    Constraints:
        C1: the current is i32 [T, ...] with an axis behind T.
        C2: start is i64 and broadcasts to [3, ...].
        C3: parameters are i32 and broadcast to [...].
        C4: the policy is one of the above.
        C5: the exponent lies in -8..7, and is 0 but for loihi.lava.
        C6: refractory lies in 1..64, and is 1 for loihi.lava, whose model has none.
        C7: ``-2^23 < lowest <= 0 <= highest < 2^23``; both are 0 for loihi.brian2, whose v has
            no limits.
    """

    current: Operand[RankedTensorType]
    start: Operand[RankedTensorType]
    current_decay: Operand[RankedTensorType]
    voltage_decay: Operand[RankedTensorType]
    threshold: Operand[RankedTensorType]
    bias: Operand[RankedTensorType]
    s: Result[RankedTensorType]
    v: Result[RankedTensorType]
    final: Result[RankedTensorType]
    policy: StringAttr
    exponent: IntegerAttr
    refractory: IntegerAttr
    lowest: IntegerAttr
    highest: IntegerAttr

    states = 3
    types = ("i32", "i64", "i32")
    words = MappingProxyType({"policy": tuple(POLICIES)})

    @classmethod
    def infer(
        cls, current: Tensor, start: Tensor, *given: Tensor, **attributes: int | str
    ) -> tuple[Tensor, Tensor, Tensor]:
        made = super().infer(current, start, *given, **attributes)
        _check(**attributes)
        return made

    @staticmethod
    def step(
        state: Array,
        current: Array,
        *,
        current_decay: Array,
        voltage_decay: Array,
        threshold: Array,
        bias: Array,
        policy: str,
        exponent: int,
        refractory: int,
        lowest: int,
        highest: int,
    ) -> Array:
        rule = POLICIES[policy]
        free = rule is BRIAN2
        neuron = Neuron(
            current_decay.astype(np.int64),
            voltage_decay.astype(np.int64),
            threshold.astype(np.int64),
            bias.astype(np.int64),
            refractory,
            None if free else lowest,
            None if free else highest,
        )
        v, u, waiting = state
        sums = current.astype(np.int64)
        if rule is not LAVA:  # their charges are whole: weights come in 64ths
            sums = sums << FRACTION_BITS
        return step(rule, neuron, State(u, v, waiting), charge(rule, sums, exponent))

    example = (
        (
            Tensor((4, 2, 3), "i32"),
            Tensor((), "i64"),
            *(Tensor((3,), "i32") for _ in range(4)),
        ),
        {
            "policy": "loihi.lava",
            "exponent": 2,
            "refractory": 1,
            "lowest": 1 - STATE_LIMIT,
            "highest": STATE_LIMIT - 1,
        },
    )


def _check(
    policy: int | str,
    exponent: int | str,
    refractory: int | str,
    lowest: int | str,
    highest: int | str,
) -> None:
    kind, numbers = "spike.loihi", (exponent, refractory, lowest, highest)
    if not all(isinstance(each, int) for each in numbers):
        raise IRError(f"{kind} must have whole numbers, not {numbers}")
    shift, silence, low, high = map(int, numbers)
    lava = policy == LAVA.name
    require(
        -8 <= shift <= 7 and (lava or shift == 0),
        f"{kind} C5: the exponent must lie in -8..7 for loihi.lava and be 0 for others, "
        f"not {shift} for {policy}",
    )
    require(
        1 <= silence <= 64 and (not lava or silence == 1),
        f"{kind} C6: refractory must be 1 for loihi.lava and 1 to 64 for others, "
        f"not {silence} for {policy}",
    )
    limited = -STATE_LIMIT < low <= 0 <= high < STATE_LIMIT
    require(
        limited and (policy != BRIAN2.name or low == high),
        f"{kind} C7: lowest and highest must be within 24 bits, 0 between them and for "
        f"loihi.brian2 both 0, not {low} and {high} for {policy}",
    )
