"""The planner's parts, each against what is counted out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tetrapla.backends.systolic.array.slots import Slots
from tetrapla.backends.systolic.hazards import Dispatcher, region, stretch
from tetrapla.backends.systolic.memory.room import Room
from tetrapla.backends.systolic.memory.windows import Grid, Part
from tetrapla.simulators.systolic.addresses import outside_and_address
from tetrapla.simulators.systolic.tables import Descriptor


def window(rng: np.random.Generator) -> tuple[Descriptor, int]:
    """A random window over a random image, and how many pixels it makes."""
    images, height, width, channels = (int(n) for n in rng.integers(1, [4, 9, 9, 4]))
    kernel_h, kernel_w = (int(rng.integers(1, min(3, n) + 1)) for n in (height, width))
    pad_top, pad_left, down, right = (int(n) for n in rng.integers(0, 2, 4))
    stride_y, stride_x, dilation_y, dilation_x = (int(n) for n in rng.integers(1, 3, 4))
    reach_y, reach_x = (kernel_h - 1) * dilation_y, (kernel_w - 1) * dilation_x
    out_h = (height + pad_top + down - reach_y - 1) // stride_y + 1
    out_w = (width + pad_left + right - reach_x - 1) // stride_x + 1
    found = Descriptor(
        base=int(rng.integers(0, 50)),
        channels=channels,
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        height=height,
        width=width,
        out_h=max(out_h, 1),
        out_w=max(out_w, 1),
        stride_y=stride_y,
        stride_x=stride_x,
        dilation_y=dilation_y,
        dilation_x=dilation_x,
        pad_top=pad_top,
        pad_left=pad_left,
        image_stride=height * width * channels,
        row_stride=width * channels,
        pixel_stride=channels,
    )
    return found, images * found.out_h * found.out_w


def read(d: Descriptor, first: int, end: int) -> np.ndarray:
    """The address of every tap of pixels `first` up to `end`, -1 in the padding."""
    outside, address = outside_and_address(d, first, end - first, 0, d.taps * d.channels)
    return address if outside is None else np.where(outside, -1, address)


@pytest.mark.parametrize("seed", range(60))
def test_strips_read_what_the_whole_reads_and_nothing_outside_their_bytes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d, pixels = window(rng)
    rows = Grid.of(d, pixels)
    most = int(rng.integers(1, rows.rows + 1))
    ends = rows.strips(most)
    assert [end for _, end in ends] == [first for first, _ in ends[1:]] + [rows.rows]
    assert max(end - first for first, end in ends) <= most
    for first, end in ends:
        part = Part.of(d, rows, first, end)
        start = d.base + part.skipped_bytes
        own = part.descriptor(d, start)
        count = (end - first) * rows.pixels
        found = read(own, 0, count)
        wanted = read(d, first * rows.pixels, end * rows.pixels)
        assert np.array_equal(np.where(found < 0, -1, found + start), wanted)
        assert found.max(initial=0) < part.span_bytes + d.channels


def test_a_strip_lies_in_one_image_or_holds_whole_images() -> None:
    d = Descriptor(0, 1, height=6, width=2, out_h=6, out_w=2)
    rows = Grid.of(d, 4 * 6 * 2)
    assert rows == Grid(4, 6, 2, across=False)
    assert rows.strips(4) == [(6 * n + a, 6 * n + a + 3) for n in range(4) for a in (0, 3)]
    assert rows.strips(17) == [(0, 12), (12, 24)]
    assert rows.strips(24) == [(0, 24)]


def test_rows_of_a_matrix_are_cut_across() -> None:
    d = Descriptor(10, 8, width=7, out_w=7, pixel_stride=8)
    rows = Grid.of(d, 7)
    assert rows == Grid(1, 7, 1, across=True)
    assert rows.strips(3) == [(0, 2), (2, 4), (4, 7)]
    part = Part.of(d, rows, 4, 7)
    assert part.descriptor(d, 42) == replace(d, base=0, width=3, out_w=3)
    assert part.span_bytes == 16


def test_first_fit_takes_the_first_stretch_that_is_free_in_multiples_of_16() -> None:
    room = Room(100, [(16, 20), (64, 8)])
    assert room.place(16) == 0
    assert room.copy().place(17) == 80  # 48 .. 65 would meet the second
    assert room.place(16) == 48
    assert room.place(21) is None
    assert room.place(20) == 80
    assert room.end_bytes == 100
    assert Room(100, [(40, 8)]).gap_bytes == 52
    assert Room(100, [(40, 8)]).place(20, last=True) == 80
    assert Room(100, [(40, 8)]).place_all([20, 30], last=True) == [80, 48]
    assert Room(32).place_all([8, 16]) == [0, 16]
    assert Room(31).place_all([8, 16]) is None


def fewest_loads(count: int, sequence: list[int]) -> int:
    """Loads of the best choice of slots, over all choices."""
    states: dict[frozenset[int], int] = {frozenset(): 0}
    for tile in sequence:
        following: dict[frozenset[int], int] = {}
        for held, loads in states.items():
            if tile in held:
                options = [(held, loads)]
            elif len(held) < count:
                options = [(held | {tile}, loads + 1)]
            else:
                options = [((held - {gone}) | {tile}, loads + 1) for gone in held]
            for state, cost in options:
                following[state] = min(cost, following.get(state, cost))
        states = following
    return min(states.values())


@pytest.mark.parametrize("seed", range(30))
def test_weight_slots_load_as_rarely_as_any_choice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 5))
    sequence = [int(n) for n in rng.integers(0, 6, 14)]
    slots = Slots(count, sequence)
    held: dict[int, int] = {}
    loads = 0
    for place, tile in enumerate(sequence):
        slot, present = slots.take(place, place)
        assert present == (held.get(slot) == tile)
        loads += not present
        held[slot] = tile
        assert slots.of(place) == slot
    assert loads == fewest_loads(count, sequence)


def test_an_instruction_waits_for_the_bytes_it_shares_and_no_others() -> None:
    dispatcher = Dispatcher()
    send = dispatcher.send
    send("LDA", {"ub": 0, "bytes": 64}, writes=[stretch(0, 64)])
    send("LDA", {"ub": 64, "bytes": 64}, writes=[stretch(64, 64)])
    send("VE", {}, reads=[stretch(0, 64)], writes=[stretch(128, 32)])  # the first LDA only
    send("VE", {}, reads=[stretch(63, 2)], writes=[stretch(160, 32)])  # the second too
    send("LDA", {}, writes=[stretch(32, 16)])  # both VE read below 64: the first is enough
    send("LDA", {}, writes=[stretch(64, 16)])  # read by the second VE
    send("ST", {}, reads=[stretch(192, 16)])  # nobody's
    waits = [dict(i.waits) for i in dispatcher.instructions]
    assert waits == [{}, {}, {"DMA": 1}, {"DMA": 0}, {"VE": 1}, {"VE": 0}, {}]


def test_a_load_does_not_overtake_the_store_of_what_it_overwrites() -> None:
    dispatcher = Dispatcher()
    dispatcher.send("ST", {}, reads=[stretch(0, 64)], writes=[region(512, 64)])
    dispatcher.send("LDA", {}, writes=[stretch(64, 64)])
    dispatcher.send("LDA", {}, writes=[stretch(63, 1)])
    assert [dict(i.waits) for i in dispatcher.instructions] == [{}, {}, {"DMA": 1}]


def test_what_was_stored_is_loaded_after_it_has_arrived() -> None:
    dispatcher = Dispatcher()
    dispatcher.send("ST", {}, writes=[region(512, 64)])
    dispatcher.send("LDA", {}, reads=[region(0, 512)])
    dispatcher.send("LDA", {}, reads=[region(575, 1)])
    assert [dict(i.waits) for i in dispatcher.instructions] == [{}, {}, {"DMA": 1}]


@pytest.mark.parametrize("seed", range(10))
def test_intervals_are_as_exact_as_bytes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dispatcher = Dispatcher()
    engines = {"LDA": "DMA", "VE": "VE", "RQ": "RQ"}
    sent = dict.fromkeys(engines.values(), 0)
    retired = dict.fromkeys(engines.values(), 0)
    writers: list[dict[str, int]] = [{} for _ in range(64)]
    readers: list[dict[str, int]] = [{} for _ in range(64)]
    for _ in range(300):
        op = ("LDA", "VE", "RQ")[rng.integers(3)]
        engine = engines[op]
        (a, b), (c, e) = (sorted(rng.choice(65, 2, replace=False)) for _ in range(2))
        needed: dict[str, int] = {}
        for byte in range(a, b):
            for other, number in writers[byte].items():
                needed[other] = max(number, needed.get(other, -1))
        for byte in range(c, e):
            for other, number in writers[byte].items():
                if other != engine:
                    needed[other] = max(number, needed.get(other, -1))
            for other, number in readers[byte].items():
                if other != engine or engine == "DMA":
                    needed[other] = max(number, needed.get(other, -1))
        # a wait that is not written down must have been fulfilled by an earlier one
        dispatcher.send(op, {}, [stretch(a, b - a)], [stretch(c, e - c)])
        waits = dispatcher.instructions[-1].waits
        for other, allowed in waits.items():
            assert other in needed
            assert sent[other] - allowed > retired[other]
            retired[other] = sent[other] - allowed
        assert all(number < retired[other] for other, number in needed.items())
        for byte in range(a, b):
            readers[byte][engine] = sent[engine]
        for byte in range(c, e):
            writers[byte] = {engine: sent[engine]}
            readers[byte] = {}
        sent[engine] += 1
