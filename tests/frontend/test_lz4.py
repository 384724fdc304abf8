"""LZ4 frames: literals, matches and blocks by hand; what is broken or too large."""

from __future__ import annotations

import struct

import pytest

from tetrapla.frontend.lz4 import FrameError, decompressed


def frame(*blocks: bytes, plain: bool = False) -> bytes:
    """An LZ4 frame; the header's checksum is any byte."""
    parts = [struct.pack("<I", len(each) | plain << 31) + each for each in blocks]
    return struct.pack("<IBBB", 0x184D2204, 0x40, 0x40, 0) + b"".join(parts) + bytes(4)


def literals(data: bytes) -> bytes:
    """A block of one sequence without a match."""
    count = len(data)
    if count < 15:
        return bytes([count << 4]) + data
    more = count - 15
    return b"\xf0" + b"\xff" * (more // 255) + bytes([more % 255]) + data


def test_a_match_repeats_what_was_written() -> None:
    # "abc" and 9 bytes from 3 behind, then "x": it writes on what it just wrote
    block = bytes([3 << 4 | 5]) + b"abc" + b"\x03\x00" + bytes([1 << 4]) + b"x"
    assert decompressed(frame(block), 99) == b"abcabcabcabcx"
    # a match may reach into the block before, and a length may go on: 15 + 255 + 2 + 4
    long = b"\x0f\x03\x00\xff\x02" + bytes([1 << 4]) + b"y"
    assert decompressed(frame(literals(b"abc"), long), 999) == b"abc" * 93 + b"y"
    assert decompressed(frame(b"abc", b"d", plain=True), 4) == b"abcd"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"abcdefgh", "it does not start as one"),
        (frame(b"abc")[:-5], "it ends within a block"),
        (frame(b"\x50ab"), "a block ends within its literals"),
        (frame(b"\x10a\x02\x00"), "a match points before the start"),
        (frame(b"\x10a\x00\x00"), "a match points before the start"),
        (frame(b"\x10a\x01"), "a block ends within a match"),
        (frame(b"\xf0\xff"), "a block ends within a length"),
        (frame(b"\x1fa\x01\x00" + b"\xff" * 400 + b"\x00"), "it holds more than 1000 bytes"),
        (frame(b"a" * 1001, plain=True), "it holds more than 1000 bytes"),
        (b"\x04\x22\x4d\x18\x41\x40\x00", "it has another version or a dictionary"),
    ],
)
def test_a_frame_that_is_broken_or_too_large_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FrameError) as caught:
        decompressed(data, 1000)
    assert str(caught.value) == message
