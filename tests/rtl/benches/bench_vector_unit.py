"""All pixels of a window, then the next channels, then the next row."""

from __future__ import annotations

import numpy as np

from tests.rtl.benches.signals import (
    Dut,
    bench,
    cycle,
    number,
    packed,
    reset,
    settle,
    start,
    unpacked,
    word,
)
from tetrapla.simulators.systolic.tables import Descriptor

LANES, CHANNELS, SIDE, RESULT = 4, 6, 4, 512
MAX, COPY = 0, 7


def window(kernel: int) -> Descriptor:
    """Over a dense image of SIDE x SIDE pixels, stride of the kernel, signed."""
    out = SIDE // kernel
    return Descriptor(
        base=16,
        channels=CHANNELS,
        kernel_h=kernel,
        kernel_w=kernel,
        height=SIDE,
        width=SIDE,
        out_h=out,
        out_w=out,
        stride_y=kernel,
        stride_x=kernel,
        image_stride=SIDE * SIDE * CHANNELS,
        row_stride=SIDE * CHANNELS,
        pixel_stride=CHANNELS,
        low=-128,
        high=127,
    )


async def played(dut: Dut, func: int, kernel: int) -> tuple[list[int], bytearray]:
    """In which cycles from the first issue on results were written, and the memory."""
    await start(dut)
    image = np.random.default_rng(4).integers(0, 256, SIDE * SIDE * CHANNELS, np.uint8)
    memory = bytearray(1024)
    memory[16 : 16 + len(image)] = image.tobytes()
    dut.descriptors_i.value = int.from_bytes(window(kernel).pack(), "little")
    await reset(dut)
    rows = (SIDE // kernel) ** 2
    assert number(dut.accept_o)
    dut.word_i.value = word(f"VE func={func} a=0 ub={RESULT} len={rows}")
    dut.send_i.value = 1
    await cycle(dut)
    dut.send_i.value = 0
    await settle()
    written: list[int] = []
    issues, t, quiet, ended = 0, 0, 0, False
    while quiet < 4:
        busy = number(dut.read_o)
        at = number(dut.a_o)
        issues += busy
        ended |= bool(number(dut.last_o))
        assert bool(number(dut.accept_o)) == (ended or not busy)
        if number(dut.write_o):
            written.append(t)
            count, place = number(dut.count_o), number(dut.ub_o)
            values = unpacked(number(dut.data_o), 8, LANES)[:count]
            memory[place : place + count] = bytes(v & 255 for v in values)
        await cycle(dut)
        if busy:  # what was asked for is there in the next cycle
            dut.a_i.value = packed(memory[at : at + LANES], 8)
        await settle()
        quiet = 0 if busy else quiet + 1
        t += 1
    assert issues == rows * kernel**2 * -(-CHANNELS // LANES)
    return written, memory


@bench
async def a_maximum_takes_a_cycle_for_each_pixel_and_group_of_lanes(dut: Dut) -> None:
    written, memory = await played(dut, MAX, 2)
    # the last pixel of a window is issued in cycle 3 of 4, and written two cycles later
    assert written == [4 * n + 3 + 2 for n in range(4 * 2)]
    image = np.frombuffer(memory, np.int8)[16:][: SIDE * SIDE * CHANNELS]
    blocks = image.reshape(2, 2, 2, 2, CHANNELS).max(axis=(1, 3))
    assert bytes(memory[RESULT:][: blocks.size]) == blocks.tobytes()


@bench
async def a_copy_writes_in_every_cycle(dut: Dut) -> None:
    written, memory = await played(dut, COPY, 1)
    assert written == [n + 2 for n in range(SIDE * SIDE * 2)]
    size = SIDE * SIDE * CHANNELS
    assert memory[RESULT : RESULT + size] == memory[16 : 16 + size]
