"""The dialect itself.

A spike train is one i8 tensor [T, ...] of zeros and ones (a neuron of many spikes: counts);
a synaptic current is one i32 or f32 tensor [T, ...]. In a converted network all arithmetic
between `spike.encode` and `spike.decode` is in integers, so a machine can be held to it bit by
bit; with f32 weights the same synapses feed neurons in floats. Spikes act in the timestep in
which they are sent, `spike.delay` makes it a later one; a chip with one step of transport
delay shows each layer of a network without loops one step later, same values.
"""

from collections.abc import Sequence

from tetrapla.ir.graph import Value
from tetrapla.ir.mlir import Dialect
from tetrapla.ir.op import Tensor, require


class Spike(Dialect, name="spike"):
    """Spike trains, synapses and neurons."""


# the largest magnitude of a weight, by its type
WEIGHT_LIMITS = {"i8": 2**7, "i16": 2**15}
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


def current_type(kind: str, s: Tensor, w: Tensor, rank: int) -> str:
    """The type of what spikes make through weights: C1 of the spikes, C3 of the weights."""
    require(
        w.dtype in (*WEIGHT_LIMITS, "f32"),
        f"{kind} C3: weights must be i8, i16 or f32, not {w}",
    )
    if s.dtype == w.dtype == "f32":  # spikes with a payload
        s = Tensor(s.shape, "i8")
    check_train(kind, s, rank)
    return "f32" if w.dtype == "f32" else "i32"


def check_fan_in(kind: str, fan_in: int, exponent: int, dtype: str = "i8") -> None:
    """C2: the weight exponent is 0 to 7 and the largest current fits 32 bits; floats have 0."""
    require(0 <= exponent <= 7, f"{kind} C2: the exponent must be 0 to 7, not {exponent}")
    if dtype == "f32":
        require(exponent == 0, f"{kind} C2: f32 weights have exponent 0, not {exponent}")
        return
    largest = (fan_in * WEIGHT_LIMITS[dtype]) << exponent
    require(
        largest <= CURRENT_LIMIT // 2,
        f"{kind} C2: the largest current must fit 31 bits, not {largest}",
    )


def check_bias(kind: str, bias: Tensor | None, dtype: str) -> None:
    """C4: a bias has the current's type."""
    require(
        bias is None or bias.dtype == dtype,
        f"{kind} C4: the bias must be {dtype}, not {bias}",
    )
