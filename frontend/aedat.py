"""AEDAT 2.0 and 3.1: events of iniVation's cameras, as jAER and cAER write them.

2.0 is pairs of big-endian words, an address and microseconds; where an address has which
coordinate depends on the chip that the header names. 3.1 is little-endian packets, a header of
28 bytes and events of 8: validity, polarity, 15 bits of y and of x, and microseconds.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

MARK: Final = b"#!AER-DAT"
_END: Final = b"#!END-HEADER"
_POLARITY: Final = 1  # the type of packets of polarity events
_PACKET: Final = struct.Struct("<hhiiiiii")
_TIME_BITS: Final = 31  # microseconds before the overflow counter takes one more
# rows and columns, by the name of a chip
_SIZES: Final = {
    "dvs128": (128, 128),
    "davis240": (180, 240),
    "davis346": (260, 346),
    "davis640": (480, 640),
}

Parts: TypeAlias = tuple[Array, Array, Array, Array, tuple[int, int] | None]


class _Layout(NamedTuple):
    """Where an address of 2.0 has its fields: lowest bit and bits; `other`: no such event."""

    x: tuple[int, int]
    y: tuple[int, int]
    polarity: int
    other: int


_DVS128 = _Layout((1, 7), (8, 7), 0, 1 << 15)
_DAVIS = _Layout((12, 10), (22, 9), 11, 1 << 31 | 1 << 10)


def load_2(path: str, data: bytes) -> Parts:
    """Events of AEDAT 2.0: x, y, t, on, size.

    Raises:
        ModelError: a chip that is not known, or half an event.
    """
    header, body = _divided(data)
    size = _size(header)
    if size is None:
        raise ModelError(
            f"{path}: the header of AEDAT 2.0 must name its AEChip, one of "
            f"{', '.join(_SIZES)}, not {_chip(header) or 'none'}; convert the file to AEDAT 4"
        )
    _whole(path, len(body), 8)
    words = np.frombuffer(body, ">u4").reshape(-1, 2)
    layout = _DVS128 if size == _SIZES["dvs128"] else _DAVIS
    words = words[words[:, 0] & layout.other == 0]
    address = words[:, 0].astype(np.int64)
    x, y = (address >> low & (1 << bits) - 1 for low, bits in (layout.x, layout.y))
    # signed, and unrolled where it wraps
    ticks = words[:, 1].astype(np.int64)
    wrapped = np.cumsum(np.diff(ticks, prepend=ticks[:1]) < -(1 << _TIME_BITS))
    t = ticks + (wrapped << 32)
    return x, size[0] - 1 - y, t, (address >> layout.polarity & 1) > 0, size


def load_3(path: str, data: bytes) -> Parts:
    """Events of AEDAT 3.1: x, y, t, on, size.

    Raises:
        ModelError: another format than RAW, no end of the header, or a broken packet.
    """
    end = data.find(_END)
    if end < 0:
        raise ModelError(
            f"{path}: the header of AEDAT 3.1 must end with {_END.decode()}, but does not; the "
            "file is broken"
        )
    start = data.find(b"\n", end) + 1 or len(data)
    header = data[:end].decode("latin-1")
    form = re.search(r"#Format:\s*([\w-]+)", header)
    if form is not None and form[1] != "RAW":
        raise ModelError(
            f"{path}: packets of AEDAT 3.1 must be in format RAW, not {form[1]}; export the "
            "file without compression"
        )
    parts = [np.zeros((0, 2), np.int64)]
    view = memoryview(data)
    while start < len(data):
        found, start = _packet(path, view, start)
        if found is not None:
            parts.append(found)
    words, t = np.concatenate(parts).T
    kept = words & 1 > 0  # valid
    words, t = words[kept], t[kept]
    return words >> 17, words >> 2 & 0x7FFF, t, words >> 1 & 1 > 0, _size(header)


def _packet(path: str, data: memoryview, start: int) -> tuple[Array | None, int]:
    """A packet's words and times [n, 2], None where it holds others; where the next starts."""
    if len(data) - start < _PACKET.size:
        raise ModelError(
            f"{path}: a packet must have a header of {_PACKET.size} bytes, not "
            f"{len(data) - start}; the file is cut off"
        )
    kind, _, each, _, overflow, _, count, _ = _PACKET.unpack_from(data, start)
    start += _PACKET.size
    if each < 0 or count < 0 or each * count > len(data) - start:
        raise ModelError(
            f"{path}: a packet of {count} events of {each} bytes must be in the file, which "
            f"has {len(data) - start} left; the file is cut off"
        )
    end = start + each * count
    if kind != _POLARITY:
        return None, end
    if each != 8:
        raise ModelError(
            f"{path}: a polarity event must have 8 bytes, not {each}; the file is broken"
        )
    found = np.frombuffer(data[start:end], "<u4").reshape(-1, 2).astype(np.int64)
    found[:, 1] += overflow << _TIME_BITS
    return found, end


def _divided(data: bytes) -> tuple[str, bytes]:
    """The lines that start with '#', and the rest."""
    at = 0
    while data[at : at + 1] == b"#":
        end = data.find(b"\n", at)
        if end < 0:
            at = len(data)
            break
        at = end + 1
    return data[:at].decode("latin-1"), data[at:]


def _chip(header: str) -> str:
    found = re.search(r"AEChip:\s*(\S+)", header)
    return found[1] if found else ""


def _size(header: str) -> tuple[int, int] | None:
    """Of the chip that a header names as AEChip or as its source."""
    source = re.search(r"#Source \d+:\s*(\S+)", header)
    name = (_chip(header) or (source[1] if source else "")).rpartition(".")[2].lower()
    for known, size in _SIZES.items():
        if name.startswith(known):
            return size
    return None


def _whole(path: str, size: int, each: int) -> None:
    if size % each:
        raise ModelError(
            f"{path}: events must take {each} bytes each, not leave {size % each} behind the "
            "last; the file is cut off"
        )
