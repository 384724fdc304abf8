"""Loihi's integer neuron: what one timestep does to current, voltage and spikes, by policy.

Public models of the chip differ, so none of them is called Loihi here: a `Policy` says what
each does where they differ. All quantities are integers. With
``kept(x, decay) = sign(x) (|x| (4096 - decay) >> 12)``, which rounds toward zero::

    u = overflow(kept(u, current_decay + 1) + charge)
    v = clip(kept(v, voltage_decay) + u + bias, lowest, highest)
    v = 0 while refractory
    spike where v > 64 threshold, and v = 0 there

======================  ==================  =================  ==================
                        LAVA                BRIAN2             NENGO
======================  ==================  =================  ==================
weight off its grid     down; "inh": up     toward zero        given as it counts
weight exponent         of the sum, floor   of each synapse    given as it counts
sum of a timestep       any                 any                wraps in 22 bits
current                 wraps, 24 bits      any                wraps, 24 bits
bias                    to the voltage      none               to u, which wraps
voltage                 clips               any                clips
======================  ==================  =================  ==================

Sources: Lava 0.10.0, processes Dense and LIF, fixed-point models; Brian2Loihi 0.5.2;
nengo-loihi 1.1.0, the emulator. Each policy equals its tool bit by bit on the traces of
`tetrapla validate spiking`. A refractory period is Brian2Loihi's and nengo-loihi's; Lava's
model has none, which is a period of 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

Sign = Literal["mixed", "exc", "inh"]

STATE_LIMIT: Final = 2**23  # of |u| and |v|: 24 bits with sign
FRACTION_BITS: Final = 6  # of current and voltage, below a weight's last bit
_SYNAPSE_LIMIT: Final = 2**21 - 2**FRACTION_BITS  # Brian2Loihi: of one synapse's charge


@dataclass(frozen=True)
class Policy:
    """What a model does where the models differ.

    Attributes:
        name: of the policy.
        grid: rounding of a weight between the values that its bits can hold; "floor" is of
            the magnitude where all weights are inhibitory.
        exponent: of what the weight exponent multiplies; "given": weights come multiplied.
        sum_bits: in which a timestep's charge wraps; None: it does not.
        current: "keep"; "wrap" to -2^23..2^23-1; "wrap_low" to -2^23+1..2^23.
        bias: what it is added to.
    """

    name: str
    grid: Literal["floor", "truncate", "given"]
    exponent: Literal["sum", "synapse", "given"]
    sum_bits: int | None
    current: Literal["keep", "wrap", "wrap_low"]
    bias: Literal["voltage", "current"]


LAVA: Final = Policy("loihi.lava", "floor", "sum", None, "wrap_low", "voltage")
BRIAN2: Final = Policy("loihi.brian2", "truncate", "synapse", None, "keep", "voltage")
NENGO: Final = Policy("loihi.nengo", "given", "given", 22, "wrap", "current")
POLICIES: Final = MappingProxyType({each.name: each for each in (LAVA, BRIAN2, NENGO)})


@dataclass(frozen=True)
class Neuron:
    """Parameters of a group; the chip's widths are what is legal.

    Decays, threshold and bias are one number, or integer arrays that broadcast to the neurons.

    Attributes:
        current_decay: 0 to 4095; 4095 keeps nothing, and 0 keeps 4095 of 4096.
        voltage_decay: 0 to 4095; 0 keeps everything.
        threshold: mantissa, 0 to 2^17 - 1; the voltage must be above 64 times it.
        bias: mantissa (13 bits) << exponent.
        refractory: 1 to 64; timesteps from a spike to the next that is possible.
        lowest, highest: what the voltage clips to; None: it does not.

    Raises:
        ModelError: a number that the chip has no bits for.
    """

    current_decay: Array | int
    voltage_decay: Array | int
    threshold: Array | int
    bias: Array | int = 0
    refractory: int = 1
    lowest: int | None = 1 - STATE_LIMIT
    highest: int | None = STATE_LIMIT - 1

    def __post_init__(self) -> None:
        for name, least, most in (
            ("current_decay", 0, 4095),
            ("voltage_decay", 0, 4095),
            ("threshold", 0, 2**17 - 1),
            ("refractory", 1, 64),
        ):
            given = np.asarray(getattr(self, name))
            wrong = given[(given < least) | (given > most)]
            if wrong.size:
                raise ModelError(
                    f"{name} of a Loihi neuron must be {least} to {most}, not {wrong[0]}; "
                    "scale weights and threshold together, or choose another neuron"
                )


@dataclass(frozen=True)
class State:
    """Of a group of neurons, i64 arrays of one shape; `step` writes them."""

    u: Array
    v: Array
    waiting: Array = field(repr=False)  # timesteps in which a neuron stays silent

    @staticmethod
    def zeros(*shape: int) -> State:
        """At rest."""
        return State(*(np.zeros(shape, np.int64) for _ in range(3)))


def mantissas(policy: Policy, weights: Array, bits: int, sign: Sign) -> Array:
    """Weights as the synapses hold them, i64.

    Args:
        policy: LAVA or BRIAN2; NENGO's weights are given as they count.
        weights: integers; LAVA clips them to -256..255, 0..255 or -255..0 by `sign`.
        bits: 1 to 8 of each weight; a sign takes one of them in "mixed".
        sign: of all weights of a group.
    """
    drop = 8 - bits + (sign == "mixed")
    w = weights.astype(np.int64)
    if policy.grid == "given":
        return w
    held: Array = np.clip(w, -256 if sign == "mixed" else 0, 255) >> drop << drop
    if policy.grid == "truncate":
        held = np.sign(w) * (np.abs(w) >> drop << drop)
    elif sign == "inh":
        held = -(np.clip(-w, 0, 255) >> drop << drop)
    return held


def per_spike(policy: Policy, held: Array, exponent: int) -> Array:
    """What a spike adds to the sum of a timestep, by synapse, for `mantissas`."""
    if policy.exponent != "synapse":
        return held
    full = shifted(held, exponent) << FRACTION_BITS
    clipped: Array = np.clip(full, -_SYNAPSE_LIMIT, _SYNAPSE_LIMIT)
    return clipped


def charge(policy: Policy, sums: Array, exponent: int) -> Array:
    """What the sums of a timestep add to the current."""
    full = sums.astype(np.int64)
    if policy.exponent == "sum":
        full = shifted(full, exponent) << FRACTION_BITS
    return full if policy.sum_bits is None else _wrapped(full, policy.sum_bits)


def step(policy: Policy, neuron: Neuron, state: State, charged: Array) -> Array:
    """One timestep: write `state`, return the spikes (bool).

    Args:
        policy: what happens where models differ.
        neuron: the group's parameters.
        state: the group's, of any shape (..., neurons).
        charged: of that shape, from `charge`.
    """
    u = _current(policy, kept(state.u, neuron.current_decay + 1) + charged)
    added = u + neuron.bias
    if policy.bias == "current":
        added = _current(policy, added)  # the current that stays has no bias
    v = kept(state.v, neuron.voltage_decay) + added
    if neuron.lowest is not None or neuron.highest is not None:
        v = np.clip(v, neuron.lowest, neuron.highest)
    v[state.waiting > 0] = 0
    fired: Array = v > neuron.threshold << FRACTION_BITS
    v[fired] = 0
    state.u[...] = u
    state.v[...] = v
    state.waiting[...] = np.maximum(np.where(fired, neuron.refractory, state.waiting) - 1, 0)
    return fired


def shifted(x: Array, exponent: int) -> Array:
    """``x 2^exponent``, rounded down: weights, sums of weights, the mantissa of a bias."""
    return x << exponent if exponent > 0 else x >> -exponent


def kept(x: Array, decay: Array | int) -> Array:
    """What a decay of `decay` / 4096 leaves, rounded toward zero."""
    left: Array = np.sign(x) * (np.abs(x) * (4096 - decay) >> 12)
    return left


def _current(policy: Policy, u: Array) -> Array:
    if policy.current == "keep":
        return u
    return _wrapped(u, 24, int(policy.current == "wrap_low"))


def _wrapped(x: Array, bits: int, low: int = 0) -> Array:
    """Into 2^bits values from `low` - 2^(bits - 1).

    Lava adds or subtracts 2^24 once, which is the same below 1.5 x 2^24; beyond, its state
    leaves the 24 bits that it says it has.
    """
    least = low - (1 << bits - 1)
    wrapped: Array = (x - least) % (1 << bits) + least
    return wrapped
