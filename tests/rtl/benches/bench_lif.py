"""What may move when and what must wait, from the ports alone.

An axon reaches the first neurons. The weight of neuron n is 2 n + 1, above a threshold of 0,
and nothing is kept: the neurons that an event reaches spike in the next tick, and in no other.
"""

from __future__ import annotations

import random

from tests.rtl.benches.signals import Dut, bench, cycle, number, reset, settle, start

NEURONS = 6
FAN_OUT = (0, 1, 2, 3, 5, 6)  # by axon
COUNT_BITS = 6  # of a list's count, for 32 synapses
KEEPS_NOTHING = 4095 << 12 | 4095  # both decays; exponents, threshold and period - 1 are 0


class Core:
    """The core in one clock: each cycle it may take a spike, and one that waits must stay."""

    def __init__(self, dut: Dut, chance: float = 1.0) -> None:
        self.spikes: list[int] = []
        self.waits = 0
        self._dut, self._chance, self._dice = dut, chance, random.Random(1)
        self._waiting: int | None = None

    async def cycle(self) -> None:
        """Look at this cycle's spike, then go to the next cycle."""
        self._dut.spike_ready_i.value = int(self._dice.random() < self._chance)
        await settle()
        valid, neuron = bool(self._dut.spike_valid_o.value), number(self._dut.spike_neuron_o)
        assert self._waiting is None or (valid and neuron == self._waiting)
        self._waiting = None
        if valid and self._dut.spike_ready_i.value:
            self.spikes.append(neuron)
        elif valid:
            self._waiting = neuron
            self.waits += 1
        await cycle(self._dut)

    async def taken(self, name: str) -> int:
        """Offer until the core takes it; the cycles that this waited."""
        waited = 0
        valid, ready = (
            getattr(self._dut, f"{name}_valid_i"),
            getattr(self._dut, f"{name}_ready_o"),
        )
        valid.value = 1
        await settle()
        while not ready.value:
            await self.cycle()
            waited += 1
        await self.cycle()
        valid.value = 0
        await settle()
        return waited

    async def event(self, axon: int) -> int:
        self._dut.event_axon_i.value = axon
        return await self.taken("event")

    async def write(self, memory: int, address: int, word: int) -> None:
        self._dut.write_i.value = 1
        self._dut.write_memory_i.value = memory
        self._dut.write_address_i.value = address
        self._dut.write_data_i.value = word
        await self.cycle()
        self._dut.write_i.value = 0


async def filled(dut: Dut, chance: float = 1.0) -> Core:
    """A core with its memories written and its state cleared."""
    await start(dut)
    await reset(dut)
    core = Core(dut, chance)
    at = 0
    for axon, fan_out in enumerate(FAN_OUT):
        await core.write(0, axon, at << COUNT_BITS | fan_out)
        for neuron in range(fan_out):
            await core.write(1, at, neuron << 9 | 2 * neuron + 1)
            at += 1
    for neuron in range(NEURONS):
        await core.write(2, neuron, 0)
    await core.write(3, 0, KEEPS_NOTHING)
    return core


@bench
async def an_event_is_followed_one_and_its_fan_out_later(dut: Dut) -> None:
    core = await filled(dut)
    for axon, fan_out in enumerate(FAN_OUT):
        assert await core.event(axon) == 0
        assert await core.event(0) == fan_out
    assert number(dut.error_o) == 0


@bench
async def a_tick_waits_for_the_event_beside_it(dut: Dut) -> None:
    core = await filled(dut)
    dut.tick_valid_i.value = 1
    await core.event(3)
    assert not dut.tick_ready_o.value
    assert await core.taken("tick") == 3
    await core.event(0)  # when the tick has ended
    assert core.spikes == [0, 1, 2]


@bench
async def spikes_wait_for_their_receiver_and_the_tick_for_them(dut: Dut) -> None:
    core, dice = await filled(dut, 0.3), random.Random(2)
    for _ in range(40):
        axons = [dice.randrange(len(FAN_OUT)) for _ in range(dice.randrange(3))]
        for axon in axons:
            for _ in range(dice.randrange(4)):
                await core.cycle()
            await core.event(axon)
        await core.taken("tick")
        waits, first = core.waits, len(core.spikes)
        # axon 0 reaches nobody: it only asks when the core is ready
        assert 1 + await core.event(0) == NEURONS + 5 + core.waits - waits
        reached = max((FAN_OUT[axon] for axon in axons), default=0)
        assert core.spikes[first:] == list(range(reached))
    assert core.waits > 40


@bench
async def a_reset_ends_a_walk_and_clears_the_sums(dut: Dut) -> None:
    core = await filled(dut)
    await core.event(5)
    await core.cycle()
    await reset(dut)
    assert await core.event(0) == NEURONS
    await core.taken("tick")
    await core.event(0)
    assert core.spikes == []
