"""Formats, sparse tiles, units, dataflows and the vector unit's functions, each by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic.counts import counted
from tetrapla.simulators.systolic.formats import tile_bytes
from tetrapla.simulators.systolic.isa import parse
from tetrapla.simulators.systolic.program import Gather, Layer, Program
from tetrapla.simulators.systolic.routines import Routine, Step
from tetrapla.simulators.systolic.sparse import tile_of
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.values import State, execute
from tetrapla.simulators.systolic.views import Place

UB = 512


def row(stride: int, count: int = 8, **own: Any) -> RequantizeRow:
    """A row that leaves whole numbers alone."""
    made = RequantizeRow(
        stride, 0, -128, 127, False, np.zeros(count, np.int32), np.ones(count, np.float32)
    )
    return replace(made, **own)


class Hand:
    """A program written by hand: constants by name, and the lines that use them."""

    def __init__(self, *lines: str, **own: Any) -> None:
        self.lines, self.own = lines, own
        self.image = b""
        self.at: dict[str, int] = {}

    def put(self, name: str, data: bytes | Array) -> Hand:
        """Add a constant; `{name}` in a line is its address."""
        self.at[name] = len(self.image)
        self.image += data if isinstance(data, bytes) else data.tobytes()
        return self

    def program(self) -> Program:
        """The program."""
        parts: dict[str, Any] = {
            "rows": 4,
            "cols": 4,
            "weight_slots": 4,
            "accumulator_rows": 8,
            **self.own,
        }
        lines = ("MARK", *self.lines, "HALT")
        return Program(
            name="by hand",
            unified_buffer_bytes=UB,
            dram_bytes=len(self.image) + 64,
            instructions=tuple(parse(line.format(**self.at)) for line in lines),
            constants=self.image,
            layers=(Layer("all", "test", 0),),
            packed={},
            inputs=(),
            outputs=(),
            to_device=(),
            from_device=(),
            **parts,
        )

    def buffer(self, first: int, count: int, dtype: str = "i8") -> list[Any]:
        """What lies in the unified buffer at the end."""
        program = self.program()
        state = State(program, 1)
        execute(program, state)
        data = state.buffer[0, first : first + count * DTYPES[dtype].itemsize]
        found: list[Any] = data.copy().view(DTYPES[dtype]).tolist()
        return found


def dense(pixels: int, channels: int, width: int = 1, **own: Any) -> bytes:
    """A descriptor of pixels one after another."""
    made = Descriptor(0, channels, width=pixels, out_w=pixels, pixel_stride=channels * width)
    return replace(made, **own).pack()


def product(
    x: Array, w: Array, fmt: int, stored: int, result: str = "raw=1", **own: Any
) -> Hand:
    """X (m, k) by w (k, n), results from byte 256 on."""
    (m, k), (_, n) = x.shape, w.shape
    width = x.dtype.itemsize
    lines = (
        f"LDA dram={{x}} bytes={x.nbytes}",
        "CFG dram={d} bytes=128",
        "CFG dram={r} kind=1 bytes=80",
        f"LDW dram={{w}} rows={k} cols={n} fmt={stored}",
        "LW",
        f"MM len={m} lanes={k} swap=1 fmt={fmt}",
        f"RQ len={m} cols={n} ub=256 {result}",
    )
    hand = Hand(*lines).put("d", dense(m, k, width))
    table = row(8 * n if fmt in (1, 2) else 4 * n, **own)
    return hand.put("r", table.pack()).put("x", x).put("w", w)


def test_int16_sums_do_not_wrap_at_32_bits() -> None:
    x = np.full((1, 4), -32768, np.int16)
    w = np.full((4, 1), -32768, np.int16)
    assert product(x, w, fmt=2, stored=1).buffer(256, 1, "i64") == [4 * 2**30]  # 2^32
    w8 = np.array([[127], [-128], [1], [0]], np.int8)
    assert product(x, w8, fmt=1, stored=0).buffer(256, 1, "i64") == [-32768 * (127 - 128 + 1)]


@pytest.mark.parametrize(("fmt", "dtype"), [(3, "bf16"), (4, "f16")])
def test_float_sums_are_rounded_after_each_tap_in_order(fmt: int, dtype: str) -> None:
    # float32 has 24 bits: 2^24 + 1 is 2^24 again, while (1 + 1) + 2^24 would be 2^24 + 2
    w = np.ones((4, 2), DTYPES[dtype])
    big = DTYPES[dtype].type(2**12)
    x = np.array([[2**12, 1, 1, 0], [1, 1, 2**12, 0]]).astype(DTYPES[dtype])
    w[0, 0] = w[2, 1] = big
    found = product(x, w, fmt, fmt).buffer(256, 4, "f32")
    assert found[0] == 2**24  # 2^12 2^12, then 1, then 1
    assert found[3] == 2**24 + 2  # 1, 1, then 2^12 2^12
    assert found[1:3] == [2**12 + 1 + 2**12, 1 * 2**12 + 1 + 2**12]


def test_int4_weights_lie_two_in_a_byte_low_nibble_first() -> None:
    # 3 columns are 2 bytes a row: 1, -2, 7; -8, 0, 3
    data = np.array([0xE1, 0x07, 0x08, 0x03], np.uint8).view(np.int8)
    assert tile_bytes(2, 3, fmt=2) == 4
    assert tile_of(data, 2, 3, 2, sparse=False).values.tolist() == [[1, -2, 7], [-8, 0, 3]]


def test_a_sparse_tile_keeps_two_of_four_taps() -> None:
    # rows 0 and 1 belong to taps 0..3, row 2 to taps 4..7
    values = np.array([[5, -6], [7, 8], [9, 1]], np.int8)
    positions = [[0, 1], [3, 2], [2, 0]]
    flat = [p for part in positions for p in part]
    packed = bytes(
        [flat[0] | flat[1] << 2 | flat[2] << 4 | flat[3] << 6, flat[4] | flat[5] << 2]
    )
    data = np.frombuffer(values.tobytes() + packed, np.int8)
    assert tile_bytes(3, 2, sparse=True) == 6 + 2
    wanted = np.zeros((8, 2), np.int64)
    wanted[0, 0], wanted[1, 1], wanted[3, 0], wanted[2, 1] = 5, -6, 7, 8
    wanted[6, 0], wanted[4, 1] = 9, 1
    assert np.array_equal(tile_of(data, 3, 2, 0, sparse=True).dense, wanted)


def sparse_hand() -> Hand:
    x = np.arange(1, 9, dtype=np.int8)
    w = bytes([5, 7, 9, 1]) + bytes([0 | 3 << 2 | 2 << 4 | 0 << 6])  # rows 4, 1 column
    lines = (
        "LDA dram={x} bytes=8",
        "CFG dram={d} bytes=128",
        "CFG dram={r} kind=1 bytes=80",
        "LDW dram={w} rows=4 cols=1 sparse=1",
        "LW",
        "MM len=1 lanes=8 swap=1",
        "RQ len=1 cols=1 ub=256 raw=1",
    )
    hand = Hand(*lines).put("d", dense(1, 8)).put("r", row(4).pack())
    return hand.put("x", x).put("w", w)


def test_a_sparse_product_takes_twice_the_taps() -> None:
    # taps 0, 3, 6, 4 hold 1, 4, 7, 5
    assert sparse_hand().buffer(256, 1, "i32") == [5 * 1 + 7 * 4 + 9 * 7 + 1 * 5]
    (layer,) = counted(sparse_hand().program())
    assert layer.actions["mac.int8"] == 4  # what the PEs did
    assert layer.actions["mac.idle"] == 16 - 4
    assert layer.macs == 8  # what the model asked for
    assert layer.actions["dram.read_byte"] == 128 + 80 + 8 + 5
    assert layer.actions["weight_memory.write_byte"] == 5


def test_gated_zeros_are_counted_apart() -> None:
    x, w = np.ones((3, 4), np.int8), np.array([[1, 0], [0, 0], [2, 3], [0, 4]], np.int8)
    program = product(x, w, 0, 0).program()
    (plain,), (gated,) = counted(program), counted(program, gate_zeros=True)
    assert "mac.zero" not in plain.actions
    assert (plain.actions["mac.int8"], gated.actions["mac.int8"]) == (3 * 8, 3 * 4)
    assert gated.actions["mac.zero"] == 3 * 4
    assert plain.macs == gated.macs == 24


def test_rows_are_split_over_units_or_each_has_its_columns() -> None:
    x = np.array([[1, 2], [3, 4], [5, 6]], np.int8)
    one, two = np.array([[1, 0], [0, 1]], np.int8), np.array([[1, 1], [1, -1]], np.int8)
    lines = (
        "LDA dram={x} bytes=6",
        "CFG dram={d} bytes=128",
        "CFG dram={r} kind=1 bytes=80",
        "LDW dram={a} rows=2 cols=2",
        "LDW dram={b} slot=1 rows=2 cols=2",
        "LW spread=1",
        "MM len=3 lanes=2 swap=1 spread=1",
        "RQ len=3 cols=4 ub=256 spread=1",
        "LW slot=1",
        "MM len=3 lanes=2 swap=1",
        "RQ len=3 cols=2 ub=300",
    )
    hand = Hand(*lines, rows=2, cols=2, units=2).put("d", dense(3, 2)).put("r", row(4).pack())
    hand.put("x", x).put("a", one).put("b", two)
    assert hand.buffer(256, 12) == [1, 2, 3, -1, 3, 4, 7, -1, 5, 6, 11, -1]
    found = hand.buffer(300, 12)
    assert [found[n] for n in (0, 1, 4, 5, 8, 9)] == [3, -1, 7, -1, 11, -1]
    (layer,) = counted(hand.program())
    assert layer.actions["mac.int8"] == 3 * 2 * 4 + 3 * 2 * 2
    # 3 rows in both units of 4 PEs, then 2 rows in each: the last one of unit 1 is empty
    assert layer.actions["mac.idle"] == (3 * 8 - 24) + (2 * 8 - 12)


def test_outputs_stay_until_they_drain() -> None:
    x, w = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int8), np.array([[1], [10]], np.int8)
    lines = (
        "LDA dram={x} bytes=8",
        "CFG dram={d} bytes=128",
        "CFG dram={r} kind=1 bytes=80",
        "LDW dram={w} rows=2 cols=1",
        "LW",
        "MM len=2 lanes=2 swap=1",
        "MM len=2 lanes=2 k=2 accumulate=1 drain=1",
        "RQ len=2 cols=1 ub=256 raw=1",
    )
    hand = Hand(*lines, dataflow="output_stationary").put("d", dense(2, 4))
    hand.put("r", row(4).pack()).put("x", x).put("w", w)
    assert hand.buffer(256, 2, "i32") == [1 + 20 + 3 + 40, 5 + 60 + 7 + 80]
    (layer,) = counted(hand.program())
    assert layer.actions["accumulator.write_byte"] == 2 * 4  # only once
    assert layer.actions["accumulator.add"] == 0


def test_weights_from_the_buffer_and_a_transposed_result() -> None:
    # y^T = W^T X^T: the stationary operand is X^T from the buffer, the moving rows are W^T's
    x, w = np.array([[1, 2], [3, 4], [5, 6]], np.int8), np.array([[1, -1], [2, 0]], np.int8)
    bias = np.array([100, 7, 0, 0, 0, 0, 0, 0], np.int32)
    lines = (
        "LDA dram={x} bytes=6",
        "LDA dram={w} ub=32 bytes=4",
        "CFG dram={d} bytes=128",
        "CFG dram={e} index=1 bytes=128",
        "CFG dram={r} kind=1 bytes=80",
        "LUW desc=0 rows=2 cols=3 transpose=1",
        "LW",
        "MM desc=1 len=2 lanes=2 swap=1",
        "RQ len=2 cols=3 ub=256 transposed=1",
    )
    hand = Hand(*lines).put("d", dense(3, 2)).put("e", dense(2, 2, base=32))
    hand.put("r", row(2, bias=bias).pack()).put("x", x).put("w", w.T.copy())
    wanted = x.astype(np.int64) @ w + [100, 7]
    assert hand.buffer(256, 6) == wanted.reshape(-1).tolist()


@pytest.mark.parametrize(
    ("func", "wanted"),
    [
        (5, [1 * 2 + 3 * 4, 2 * 3 + 4 * 5]),  # two pixels, weights 2 3 / 4 5
        (6, [2, 3]),
        (7, [1, 2]),
    ],
)
def test_depthwise_lookup_and_copy(func: int, wanted: list[int]) -> None:
    kernel = 2 if func == 5 else 1
    d = Descriptor(
        0, 2, kernel_w=kernel, width=2, out_w=1, pixel_stride=2, weights=32, out_stride=5
    )
    lines = (
        "LDA dram={x} bytes=4",
        "LDA dram={w} ub=32 bytes=256",
        "CFG dram={d} bytes=128",
        "CFG dram={r} kind=1 bytes=80",
        f"VE func={func} len=2 ub=300",
    )
    x = np.array([1, 2, 3, 4], np.int8)
    table = np.arange(1, 257).astype(np.uint8)  # the entry of n is n + 1
    if func == 5:
        table[:4] = [2, 3, 4, 5]
    hand = Hand(*lines).put("d", replace(d, image_stride=0).pack()).put("r", row(2).pack())
    found = hand.put("x", x).put("w", table).buffer(300, 7)
    assert found[:2] == found[5:7] == wanted  # two images at the same place, 5 bytes apart
    (layer,) = counted(hand.program())
    assert layer.macs == (8 if func == 5 else 0)
    assert layer.actions["vector.op"] == 2 * 2 * kernel


def test_a_gather_takes_the_nearest_row() -> None:
    indices = np.array([1, -5, 9], np.int32)
    hand = Hand("LDA dram={i} ub=8 bytes=12", "GTH routine=0").put("i", indices)
    hand.put("t", bytes([10, 11, 20, 21, 30, 31]))
    hand.own["gathers"] = (Gather(hand.at["t"], 2, 3, 8, "i32", 3, 256),)
    assert hand.buffer(256, 6) == [20, 21, 10, 11, 30, 31]
    (layer,) = counted(hand.program())
    assert layer.actions["dram.read_byte"] == 12 + 6
    assert layer.actions["unified_buffer.read_byte"] == 12


def test_a_routine_reads_and_writes_the_buffer() -> None:
    steps = (Step("nn.neg", "n", (0,), (1,), 3),)
    routine = Routine("r", (Place(0, 8, "i8", (3,)),), (Place(1, 256, "i8", (3,)),), steps)
    hand = Hand("LDA dram={x} ub=8 bytes=3", "VX routine=0", routines=(routine,))
    assert hand.put("x", bytes([1, 2, 3])).buffer(256, 3) == [-1, -2, -3]


def test_a_float_result_is_clamped_where_the_row_says_so() -> None:
    x, w = np.array([[2, -3]], np.int8), np.eye(2, dtype=np.int8)
    half = np.full(8, 0.5, np.float32)
    for clamped, wanted in ((False, [1.0, -1.5]), (True, [1.0, 0.0])):
        own = {"scale": half, "low": 0, "high": 6, "clamped": clamped}
        assert product(x, w, 0, 0, "fmt=5", **own).buffer(256, 2, "f32") == wanted
