"""Bandwidth is exact in fractions of bytes a cycle, latency is the link's."""

from __future__ import annotations

from tests.rtl.benches.signals import Dut, bench, cycle, number, reset, settle, start, word

# cost, pay, latency, beat of DRAM, with 3 bytes in 2 cycles, and of the host, with 5 a cycle
LINKS = (2, 3, 17, 2, 1, 5, 40, 5)


async def linked(dut: Dut) -> None:
    await start(dut)
    for n, value in enumerate(LINKS):
        dut.links[n].value = value
    await settle()
    await reset(dut)


async def sent(dut: Dut, line: str) -> None:
    """In this cycle; the next one is the first of the transfer."""
    dut.word_i.value = word(line)
    dut.send_i.value = 1
    await cycle(dut)
    dut.send_i.value = 0
    await settle()


async def moved(dut: Dut) -> tuple[int, int]:
    """Cycles and bytes of the transfer that runs, up to its last cycle."""
    cycles = total = 0
    while True:
        cycles += 1
        total += number(dut.count_o)
        if number(dut.last_o):
            return cycles, total
        assert not number(dut.accept_o)
        await cycle(dut)


@bench
async def a_transfer_takes_its_bytes_times_the_links_pace(dut: Dut) -> None:
    await linked(dut)
    for count in (1, 2, 3, 4, 5, 30, 31, 32):
        for host, pay, cost in ((0, 3, 2), (1, 5, 1)):
            await sent(dut, f"LDA dram={100 + count} ub=7 bytes={count} host={host}")
            assert number(dut.load_o)
            assert number(dut.dram_o) == 100 + count
            assert number(dut.ub_o) == 7
            assert number(dut.latency_o) == LINKS[4 * host + 2]
            assert await moved(dut) == (-(-count * cost // pay), count)
            await cycle(dut)
            assert not number(dut.load_o)


@bench
async def transfers_follow_each_other_without_a_gap(dut: Dut) -> None:
    await linked(dut)
    assert number(dut.accept_o)
    await sent(dut, "ST dram=64 ub=8 bytes=9")
    for _ in range(3):
        assert number(dut.store_o)
        assert await moved(dut) == (6, 9)
        assert number(dut.accept_o)
        await sent(dut, "ST dram=64 ub=8 bytes=9")


@bench
async def a_tile_has_its_rows_times_columns_and_int4_half_of_them(dut: Dut) -> None:
    await linked(dut)
    for fmt, size in ((0, 3 * 5), (2, 3 * 3)):
        await sent(dut, f"LDW dram=0 slot=2 rows=3 cols=5 fmt={fmt}")
        assert number(dut.tile_o)
        assert number(dut.first_o)
        assert (number(dut.entry_o), number(dut.cols_o)) == (2, 5)
        assert await moved(dut) == (-(-size * 2 // 3), size)
        await cycle(dut)
