"""In order, one a cycle, and not before what a word waits for."""

from __future__ import annotations

from collections.abc import Sequence

from tests.rtl.benches.signals import (
    Dut,
    bench,
    cycle,
    number,
    packed,
    reset,
    settle,
    start,
    word,
)
from tetrapla.simulators.systolic.isa import ENGINES

COUNT_BITS = 20


async def loaded(dut: Dut, lines: Sequence[str]) -> None:
    """The machine before its first instruction: all engines accept, none is busy."""
    await start(dut)
    for at, line in enumerate(lines):
        dut.words[at].value = word(line)
    dut.accept_i.value = 2 ** len(ENGINES) - 1
    dut.known_i.value = 1
    await settle()
    await reset(dut)


async def finished(dut: Dut, most: int = 40) -> None:
    for _ in range(most):
        if number(dut.done_o):
            return
        await cycle(dut)
    raise AssertionError(f"must end within {most} cycles")


def dispatched(dut: Dut, count: int) -> list[int]:
    return [number(dut.dispatched[n]) for n in range(count)]


@bench
async def one_instruction_goes_in_each_cycle(dut: Dut) -> None:
    await loaded(dut, ["MARK id=3", "NOP", "LW", "NOP", "MARK id=9", "HALT"])
    await finished(dut)
    assert dispatched(dut, 6) == [0, 1, 2, 3, 4, 5]
    assert number(dut.marks[0]) == 3 << 40 | 0
    assert number(dut.marks[1]) == 9 << 40 | 4


@bench
async def an_instruction_is_sent_once_to_its_engine_and_when_that_accepts(dut: Dut) -> None:
    lines = {"LW": "LW", "MM len=1 lanes=1": "MM", "RQ len=1 cols=1": "RQ"}
    lines |= {"VE len=1": "VE", "LDA bytes=1": "DMA"}
    await loaded(dut, [*lines, "HALT"])
    sent: list[int] = []
    for _ in range(3 * len(lines)):
        held = len(sent) % 3 != 2  # the engines accept in every third cycle
        dut.accept_i.value = 0 if held else 2 ** len(ENGINES) - 1
        await settle()
        sent.append(number(dut.send_o))
        await cycle(dut)
    wanted = [1 << ENGINES.index(engine) for engine in lines.values()]
    assert [s for s in sent if s] == wanted
    assert sent[2::3] == wanted


@bench
async def a_wait_lets_through_what_it_allows(dut: Dut) -> None:
    lines = [f"SYNC wait={engine}:{allowed}" for engine in ENGINES for allowed in (0, 1, 6)]
    await loaded(dut, [*lines, "HALT"])
    for at, line in enumerate(lines):
        engine, allowed = line.split("=")[1].split(":")
        place = ENGINES.index(engine)
        for outstanding in (int(allowed) + 2, int(allowed) + 1):
            others = [0 if n == place else 9 for n in range(len(ENGINES))]
            others[place] = outstanding
            dut.outstanding_i.value = packed(others, COUNT_BITS)
            await cycle(dut)
            assert number(dut.at) == at, line
        dut.outstanding_i.value = packed([int(allowed)] * len(ENGINES), COUNT_BITS)
        await cycle(dut)
        assert number(dut.at) == at + 1, line


@bench
async def halt_waits_for_every_engine(dut: Dut) -> None:
    await loaded(dut, ["HALT"])
    for place in range(len(ENGINES)):
        await reset(dut)
        dut.outstanding_i.value = 1 << COUNT_BITS * place
        for _ in range(3):
            await cycle(dut)
            assert not number(dut.done_o)
        dut.outstanding_i.value = 0
        await cycle(dut)
        assert number(dut.done_o)
        assert dispatched(dut, 1) == [3]


@bench
async def an_illegal_word_stops_it_with_its_number(dut: Dut) -> None:
    await loaded(dut, ["NOP", "NOP", "HALT"])
    dut.words[1].value = 13  # no such opcode
    await finished(dut)
    assert (number(dut.status[0]), number(dut.status[1])) == (1, 1)
    dut.words[1].value = word("NOP")
    await reset(dut)
    dut.known_i.value = 0
    await finished(dut)
    assert (number(dut.status[0]), number(dut.status[1])) == (2, 0)
