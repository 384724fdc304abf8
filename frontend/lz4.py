"""LZ4 frames, decompressed: what files of event cameras are packed with.

Written from the formats' descriptions, "LZ4 Frame Format" 1.6 and "LZ4 Block Format", which
github.com/lz4/lz4 holds. Checksums are passed over, dictionaries refused.
"""

from __future__ import annotations

import struct
from typing import Final

_MAGIC: Final = 0x184D2204
_LEAST_MATCH: Final = 4


class FrameError(ValueError):
    """What is wrong with a frame, as the end of a sentence."""


def decompressed(data: bytes, limit: int) -> bytes:
    """The content of one frame of at most `limit` bytes.

    Raises:
        FrameError: not a frame, or not a whole one, or a longer one.
    """
    if len(data) < 7 or struct.unpack_from("<I", data)[0] != _MAGIC:
        raise FrameError("it does not start as one")
    flags = data[4]
    if flags >> 6 != 1 or flags & 1:
        raise FrameError("it has another version or a dictionary")
    blocks_checked, has_size = flags & 0x10, flags & 0x08
    at = 7 + (8 if has_size else 0)
    out = bytearray()
    while True:
        if at + 4 > len(data):
            raise FrameError("it ends within a block")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if not length:
            return bytes(out)
        size = length & 0x7FFFFFFF
        if at + size > len(data):
            raise FrameError("it ends within a block")
        block = data[at : at + size]
        at += size + (4 if blocks_checked else 0)
        if length >> 31:  # as it is
            _bounded(len(out) + size, limit)
            out += block
        else:
            _block(block, out, limit)


def _block(data: bytes, out: bytearray, limit: int) -> None:
    """Sequences of literals and matches; matches may reach into earlier blocks."""
    at = 0
    while at < len(data):
        token = data[at]
        count, at = _length(data, at + 1, token >> 4)
        if at + count > len(data):
            raise FrameError("a block ends within its literals")
        _bounded(len(out) + count, limit)
        out += data[at : at + count]
        at += count
        if at == len(data):  # the last sequence has no match
            return
        if at + 2 > len(data):
            raise FrameError("a block ends within a match")
        back = data[at] | data[at + 1] << 8
        count, at = _length(data, at + 2, token & 15)
        count += _LEAST_MATCH
        if not 0 < back <= len(out):
            raise FrameError("a match points before the start")
        _bounded(len(out) + count, limit)
        start = len(out) - back
        chunk = bytes(out[start : start + count])
        if back < count:  # it repeats what it writes
            chunk *= -(-count // back)
        out += chunk[:count]


def _length(data: bytes, at: int, start: int) -> tuple[int, int]:
    """A length of 15 goes on in bytes, as long as they are 255."""
    total = start
    while start == 15:
        if at >= len(data):
            raise FrameError("a block ends within a length")
        total += data[at]
        at += 1
        if data[at - 1] != 255:
            break
    return total, at


def _bounded(size: int, limit: int) -> None:
    if size > limit:
        raise FrameError(f"it holds more than {limit} bytes")
