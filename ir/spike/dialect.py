"""The dialect itself.

A spike train is one i8 tensor [T, ...] of zeros and ones; a synaptic current is one i32
tensor [T, ...]. All arithmetic between `spike.encode` and `spike.decode` is in integers, so
a machine can be held to it bit by bit. Spikes act in the timestep in which they are sent;
a chip with one step of transport delay shows each layer one step later, same values.
"""

from collections.abc import Sequence

from tetrapla.ir.graph import Value
from tetrapla.ir.mlir import Dialect
from tetrapla.ir.op import Tensor, require


class Spike(Dialect, name="spike"):
    """Spike trains, synapses and integrate-and-fire neurons."""


# the widest weight is 8 bits with sign, the current is held in 32 bits
WEIGHT_LIMIT = 128
CURRENT_LIMIT = 2**31 - 1


def macs_by_spikes(operands: Sequence[Value], result: Value) -> None:
    """A synapse works when a spike comes: its count depends on the values."""
    del operands, result


def check_train(kind: str, x: Tensor, rank: int) -> None:
    """C1: the operand is a spike train of at least `rank` axes."""
    require(
        x.dtype == "i8" and x.rank >= rank,
        f"{kind} C1: the operand must be an i8 spike train of rank {rank} or more, not {x}",
    )


def check_fan_in(kind: str, fan_in: int, exponent: int) -> None:
    """C2: the weight exponent is 0 to 7 and the largest current fits 32 bits."""
    require(0 <= exponent <= 7, f"{kind} C2: the exponent must be 0 to 7, not {exponent}")
    largest = (fan_in * WEIGHT_LIMIT) << exponent
    require(
        largest <= CURRENT_LIMIT // 2,
        f"{kind} C2: the largest current must fit 31 bits, not {largest}",
    )
