"""AEDAT 4.0: events of iniVation's DV, packets of FlatBuffers.

Behind the version come a length and that many bytes of an IOHeader (compression, where the
table of packets starts, a text about the streams), then packets: stream, length, and a body
that, decompressed, starts with its length, the place of its root, and a name: EVTS for events.
An event has 16 bytes: t (i64, microseconds), x and y (i16), polarity, and padding.

Source: iniVation, "AEDAT 4.0", docs.inivation.com. Every place is checked before it is read.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NoReturn

import numpy as np

from tetrapla.frontend.aedat import Parts
from tetrapla.frontend.lz4 import FrameError, decompressed
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

MOST_UNPACKED: Final = 1 << 30  # of all packets, assumed: 67 million events
_START: Final = 14  # behind "#!AER-DAT4.0\r\n"
_EVENT: Final = np.dtype(
    {
        "names": ["t", "x", "y", "on"],
        "formats": ["<i8", "<i2", "<i2", "u1"],
        "offsets": [0, 8, 10, 12],
        "itemsize": 16,
    }
)
_COMPRESSIONS: Final = ("NONE", "LZ4", "LZ4_HIGH", "ZSTD", "ZSTD_HIGH")


class _Buffer:
    """A FlatBuffer, read place by place."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path, self._data = path, data

    def number(self, form: str, at: int) -> int:
        """One little-endian number."""
        size = struct.calcsize(form)
        if not 0 <= at <= len(self._data) - size:
            self.refuse()
        (found,) = struct.unpack_from("<" + form, self._data, at)
        return int(found)

    def field(self, table: int, number: int) -> int:
        """Where a table has a field; 0 where it has its default."""
        fields = table - self.number("i", table)
        if 4 + 2 * number >= self.number("H", fields):
            return 0
        offset = self.number("H", fields + 4 + 2 * number)
        return table + offset if offset else 0

    def vector(self, at: int, each: int) -> bytes:
        """The bytes of a vector, or of a text, that a field points to."""
        start = at + self.number("I", at)
        count = self.number("I", start)
        end = start + 4 + count * each
        if end > len(self._data):
            self.refuse()
        return self._data[start + 4 : end]

    def refuse(self) -> NoReturn:
        """Say that a place is not in the file."""
        raise ModelError(
            f"{self._path}: a FlatBuffer of AEDAT 4.0 must point into itself, but does not; "
            "the file is broken"
        )


def load_4(path: str, data: bytes) -> Parts:
    """Events of AEDAT 4.0: x, y, t, on, size.

    Raises:
        ModelError: a broken file, ZSTD, or more events than memory should hold.
    """
    whole = _Buffer(path, data)
    length = whole.number("I", _START)
    at = _START + 4 + length
    if at > len(data):
        _cut_off(path)
    header = _Buffer(path, data[_START + 4 : at])
    table = header.number("I", 0)
    kind, place, text = (header.field(table, n) for n in range(3))
    compression = header.number("i", kind) if kind else 0
    end = header.number("q", place) if place else -1
    about = header.vector(text, 1).decode("utf-8", "replace") if text else ""
    if compression not in range(3):
        known = compression in range(len(_COMPRESSIONS))
        name = _COMPRESSIONS[compression] if known else str(compression)
        raise ModelError(
            f"{path}: packets of AEDAT 4.0 must be compressed by NONE or LZ4, not {name}; "
            "export the file from DV with another compression"
        )
    parts = _packets(path, data[at : end if at <= end <= len(data) else None], compression > 0)
    found = np.concatenate([np.zeros(0, _EVENT), *parts])
    return found["x"], found["y"], found["t"].astype(np.int64), found["on"] > 0, _size(about)


def _packets(path: str, data: bytes, packed: bool) -> list[Array]:
    """Events of every packet of events."""
    found: list[Array] = []
    at, left = 0, MOST_UNPACKED
    while at < len(data):
        if len(data) - at < 8:
            _cut_off(path)
        _, length = struct.unpack_from("<iI", data, at)
        body = data[at + 8 : at + 8 + length]
        if len(body) < length:
            _cut_off(path)
        at += 8 + length
        if packed:
            try:
                body = decompressed(body, left)
            except FrameError as error:
                raise ModelError(
                    f"{path}: a packet must be an LZ4 frame, but {error}; the file is broken, "
                    "or export it in parts"
                ) from None
        left -= len(body)
        if body[8:12] == b"EVTS":
            found.append(_events(path, body))
    return found


def _events(path: str, body: bytes) -> Array:
    buffer = _Buffer(path, body)
    elements = buffer.field(4 + buffer.number("I", 4), 0)
    held = buffer.vector(elements, _EVENT.itemsize) if elements else b""
    return np.frombuffer(held, _EVENT)


def _size(about: str) -> tuple[int, int] | None:
    """Rows and columns that the text says of its stream of events."""
    events = about.partition("EVTS")[2]
    sides = [re.search(rf'key="size{axis}"[^>]*>\s*(\d{{1,5}})\s*<', events) for axis in "YX"]
    if sides[0] is None or sides[1] is None:
        return None
    return int(sides[0][1]), int(sides[1][1])


def _cut_off(path: str) -> NoReturn:
    raise ModelError(
        f"{path}: every packet of AEDAT 4.0 must be whole, but the file ends within one; it is "
        "cut off"
    )
