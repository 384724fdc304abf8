"""What the benches share: cocotb's names with types, a clock, and words of the machine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import (
    FallingEdge,
    Timer,
)

from tetrapla.simulators.systolic.isa import encode, parse

Dut = Any
Bench = Callable[[Dut], Coroutine[Any, Any, None]]


def bench(function: Bench) -> Any:
    """A cocotb test."""
    return cocotb.test()(function)


async def start(dut: Dut) -> None:
    """All inputs zero and the clock running; the first cycle is after `reset`."""
    for handle in dut:
        if handle._name.endswith("_i"):
            handle.value = 0
    cocotb.start_soon(Clock(dut.clk_i, 10, unit="ns").start())
    await cycle(dut)


async def reset(dut: Dut) -> None:
    """One clock edge with `reset_i`."""
    dut.reset_i.value = 1
    await cycle(dut)
    dut.reset_i.value = 0
    await settle()


async def cycle(dut: Dut) -> None:
    """To the middle of the next cycle, where inputs are set and outputs are looked at."""
    await FallingEdge(dut.clk_i)
    await settle()


async def settle() -> None:
    """Until outputs show what the inputs are."""
    await Timer(1, unit="ns")


def number(handle: Dut) -> int:
    """An unsigned value."""
    return int(handle.value)


def word(line: str) -> int:
    """An instruction in the assembler's words, as its bits."""
    return int.from_bytes(encode(parse(line)), "little")


def packed(values: Sequence[int], bits: int) -> int:
    """Numbers side by side, the first one lowest."""
    return sum((int(v) & (1 << bits) - 1) << bits * n for n, v in enumerate(values))


def unpacked(value: int, bits: int, count: int) -> list[int]:
    """The signed numbers of a packed one."""
    parts = ((value >> bits * n) & ((1 << bits) - 1) for n in range(count))
    return [part - (1 << bits if part >> (bits - 1) else 0) for part in parts]
