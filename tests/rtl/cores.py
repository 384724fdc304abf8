"""A LIF core's network, the operations that fill and drive it, and what must come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.spike.loihi import LAVA, Neuron, State, charge, shifted, step
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import Design

HERE = Path(__file__).parent
STOP, EVENT, TICK, WRITE = range(4)
PASS = 7
GROUPS = 4
SIZES = {
    "NEURONS": 1000,  # no power of two: the walk ends inside one
    "AXONS": 1100,
    "SYNAPSES": 8000,
    "GROUPS": GROUPS,
    "SUM_W": 20,
    "LOG_OPERATIONS": 16,
    "LOG_SPIKES": 14,
    "LOG_STATES": 17,
    "LOG_READY": 10,
}
NEURONS, AXONS = SIZES["NEURONS"], SIZES["AXONS"]
MEMORIES = (
    *("operations", "addresses", "words", "ready", "keep"),
    *("taken", "spikes", "states", "counts"),
    *("core.states", "core.sums"),
)
DESIGN = Design("lif_bench", ("lif.sv", HERE / "lif_bench.sv"), SIZES, MEMORIES, quick=True)
COUNT_W = (SIZES["SYNAPSES"] - 1).bit_length() + 1
SILENT_W, STATE_MASK = 48, (1 << 24) - 1


@dataclass(frozen=True)
class Group:
    """Neurons of the same parameters; the bias is each neuron's own mantissa."""

    neuron: Neuron
    exponent: int = 0
    bias_exponent: int = 0

    @property
    def word(self) -> int:
        n = self.neuron
        high = (n.refractory - 1) << 7 | self.bias_exponent << 4 | self.exponent & 15
        word = high << 41 | n.threshold << 24 | n.voltage_decay << 12 | n.current_decay
        return int(word)


IDLE = Group(Neuron(4095, 4095, 2**17 - 1))


@dataclass(frozen=True)
class Network:
    """Of one core; `lists` holds (neurons, weights) by axon."""

    lists: Sequence[tuple[Array, Array]] = ()
    groups: Sequence[Group] = (IDLE,)
    group: Array = field(default_factory=lambda: np.zeros(NEURONS, np.int64))
    bias: Array = field(default_factory=lambda: np.zeros(NEURONS, np.int64))

    def writes(self) -> list[tuple[int, int, int]]:
        """(operation, address, word) of every word of the memories."""
        found, at = [], 0
        for axon, (neurons, weights) in enumerate(self.lists):
            found.append((WRITE, axon, at << COUNT_W | len(neurons)))
            for neuron, weight in zip(neurons.tolist(), weights.tolist(), strict=True):
                found.append((WRITE + 1, at, neuron << 9 | weight & 511))
                at += 1
        for axon in range(len(self.lists), AXONS):
            found.append((WRITE, axon, 0))
        for neuron, (group, bias) in enumerate(zip(self.group, self.bias, strict=True)):
            found.append((WRITE + 2, neuron, int(group) << 13 | int(bias) & 8191))
        return found + [(WRITE + 3, n, group.word) for n, group in enumerate(self.groups)]

    def sums(self, axons: Sequence[int]) -> Array:
        """What a timestep's events add up to."""
        total = np.zeros(NEURONS, np.int64)
        for axon in axons:
            np.add.at(total, *self.lists[axon])
        return total

    def tick(self, state: State, sums: Array) -> Array:
        """The policy's timestep: writes the state, returns the spikes."""
        fired = np.zeros(NEURONS, np.bool_)
        for number, group in enumerate(self.groups):
            own = self.group == number
            part = State(state.u[own], state.v[own], state.waiting[own])
            biased = shifted(self.bias[own], group.bias_exponent)
            n = group.neuron
            neuron = Neuron(n.current_decay, n.voltage_decay, n.threshold, biased, n.refractory)
            fired[own] = step(LAVA, neuron, part, charge(LAVA, sums[own], group.exponent))
            state.u[own], state.v[own], state.waiting[own] = part.u, part.v, part.waiting
        return fired

    def cycles(
        self, operations: Array, ready: Array, fired: Sequence[Array], clears: bool = True
    ) -> tuple[Array, Array]:
        """By the law in lif.sv: when each operation is taken, and when each spike."""
        now, free, ticks = 0, NEURONS if clears else 0, iter(fired)
        taken, sent = [], []
        for operation, address, _ in operations.tolist():
            if operation in (EVENT, TICK):
                now = max(now, free)
            taken.append(now)
            if operation == EVENT:
                free = now + 1 + len(self.lists[address][0])
            elif operation == TICK:
                waits = 0
                for neuron in np.flatnonzero(next(ticks)).tolist():
                    while not ready[(now + neuron + 5 + waits) % len(ready)]:
                        waits += 1
                    sent.append(now + neuron + 5 + waits)
                free = now + NEURONS + 5 + waits
            now += 1
        return np.array(taken), np.array(sent)


@dataclass(frozen=True)
class Played:
    """What the RTL did."""

    cycles: int
    taken: Array
    spikes: Array  # [spikes, 2]: cycle and neuron
    u: Array  # [ticks, neurons], as the other two
    v: Array
    waiting: Array
    error: int


def played(
    model: Model,
    operations: Array,
    ready: Array | None = None,
    start: tuple[State, Array] | None = None,
) -> Played:
    """Run operations [n, 3]; from a state and sums, or from rest."""
    room = 2 ** SIZES["LOG_OPERATIONS"]
    assert len(operations) < room
    padded = np.zeros((room, 3), np.int64)
    padded[: len(operations)] = operations
    model.memory("operations", np.uint8)[:] = padded[:, 0]
    model.memory("addresses", np.uint32)[:] = padded[:, 1]
    model.memory("words", np.uint64)[:] = padded[:, 2].astype(np.uint64)
    model.memory("ready", np.uint8)[:] = 1 if ready is None else ready
    model.memory("keep", np.uint8)[0] = start is not None
    if start is not None:
        put(model, *start)
    model.reset()
    model.run(2**22)
    cycles, spikes, states, error = model.memory("counts", np.uint32).tolist()
    assert spikes <= 2 ** SIZES["LOG_SPIKES"]
    assert states <= 2 ** SIZES["LOG_STATES"]
    sent = model.memory("spikes", np.uint64)[:spikes]
    u, v, waiting = parts(model.memory("states", np.uint64)[:states].reshape(-1, NEURONS))
    taken = model.memory("taken", np.uint32)[: len(operations) + 1].astype(np.int64)
    pairs = np.stack((sent >> 32, sent & 0xFFFFFFFF), axis=1).astype(np.int64)
    return Played(cycles, taken, pairs, u, v, waiting, error)


def put(model: Model, state: State, sums: Array) -> None:
    """Write the core's memories of state."""
    words = state.waiting << SILENT_W | (state.v & STATE_MASK) << 24 | state.u & STATE_MASK
    model.memory("core.states", np.uint64)[:] = words.astype(np.uint64)
    mask = (1 << SIZES["SUM_W"]) - 1
    model.memory("core.sums", np.uint32)[:] = (sums & mask).astype(np.uint32)


def parts(words: Array) -> tuple[Array, Array, Array]:
    """Current, voltage and silent timesteps of words of state."""
    held = words.astype(np.int64)
    u, v = held & STATE_MASK, held >> 24 & STATE_MASK
    u = np.where(u > 2**23, u - 2**24, u)  # 2^23 is a current, -2^23 is none
    return u, np.where(v >= 2**23, v - 2**24, v), held >> SILENT_W


def operations(
    network: Network, timesteps: Sequence[Sequence[int]], pauses: Sequence[int] = (0,)
) -> Array:
    """Fill the core, then the events and the tick of each timestep, with pauses in turn."""
    found, pause = network.writes(), cycle(pauses)
    for axons in timesteps:
        for axon in axons:
            found += [(PASS, 0, 0)] * next(pause) + [(EVENT, axon, 0)]
        found += [(PASS, 0, 0)] * next(pause) + [(TICK, 0, 0)]
    return np.array(found)
