"""Event cameras: files of every version, written here from the formats' descriptions."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tetrapla.frontend import events
from tetrapla.frontend.events import Events, binned, load
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

# column, row from above, microseconds, polarity
FEW = [(3, 5, 100, 1), (0, 0, 250, 0), (127, 127, 250, 1), (64, 1, 1099, 0)]


def rows(found: Events) -> list[tuple[int, ...]]:
    parts = (found.x, found.y, found.t, found.on.astype(int))
    return [tuple(each) for each in np.stack(parts, axis=1).tolist()]


def refused(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {message}"


def aedat2(chip: str, words: list[tuple[int, int]]) -> bytes:
    head = f"#!AER-DAT2.0\r\n# Timestamps tick is 1 us\r\n# AEChip: {chip}\r\n".encode()
    return head + b"".join(struct.pack(">Ii", *pair) for pair in words)


def dvs128(x: int, y: int, t: int, on: int) -> tuple[int, int]:
    return (127 - y) << 8 | x << 1 | on, t


def davis240(x: int, y: int, t: int, on: int) -> tuple[int, int]:
    return (179 - y) << 22 | x << 12 | on << 11, t


def packet3(
    each: list[tuple[int, int, int, int]], kind: int = 1, over: int = 0, bad: int = 0
) -> bytes:
    body = b"".join(
        struct.pack("<Ii", x << 17 | y << 2 | on << 1 | (i >= bad), t)
        for i, (x, y, t, on) in enumerate(each)
    )
    count = len(each)
    return struct.pack("<hhiiiiii", kind, 0, 8, 4, over, count, count, count - bad) + body


def aedat3(*packets: bytes, form: str = "RAW", source: str = "DVS128") -> bytes:
    head = f"#!AER-DAT3.1\r\n#Format: {form}\r\n#Source 0: {source}\r\n#!END-HEADER\r\n"
    return head.encode() + b"".join(packets)


def table(fields: list[bytes | None]) -> tuple[bytes, list[int]]:
    """A FlatBuffer's vtable and table; where each field lies behind the vtable's start."""
    inline, offsets = b"", list[int]()
    for field in fields:
        offsets.append(4 + len(inline) if field is not None else 0)
        inline += field or b""
    head = struct.pack("<HH", 4 + 2 * len(fields), 4 + len(inline))
    vtable = head + b"".join(struct.pack("<H", offset) for offset in offsets)
    whole = vtable + struct.pack("<i", len(vtable)) + inline
    return whole, [len(vtable) + offset for offset in offsets]


def header4(
    compression: int = 0, end: int = -1, size: tuple[int, int] | None = (128, 128)
) -> bytes:
    about = "<dv><node name='0'><attr key='typeIdentifier'>EVTS</attr>"
    if size:
        about += f'<attr key="sizeX">{size[1]}</attr><attr key="sizeY">{size[0]}</attr>'
    text = (about + "</node></dv>").encode()
    fields: list[bytes | None] = [
        struct.pack("<i", compression) if compression else None,  # defaults are left out
        struct.pack("<q", end) if end != -1 else None,
        struct.pack("<I", 0),
    ]
    body, places = table(fields)
    # the text's field points to what stands behind the table
    pointer = struct.pack("<I", len(body) - places[2])
    body = body[: places[2]] + pointer + body[places[2] + 4 :]
    vtable = 4 + 2 * len(fields)
    whole = struct.pack("<I", 8 + vtable) + b"IOHE" + body + struct.pack("<I", len(text)) + text
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(whole)) + whole


def events4(each: list[tuple[int, int, int, int]], name: bytes = b"EVTS") -> bytes:
    held = b"".join(struct.pack("<qhhBxxx", t, x, y, on) for x, y, t, on in each)
    body, (place,) = table([struct.pack("<I", 0)])
    pointer = struct.pack("<I", len(body) - place)
    body = body[:place] + pointer + struct.pack("<I", len(each)) + held
    whole = struct.pack("<I", 4 + 4 + 6) + name + body  # the root is behind 6 bytes of vtable
    return struct.pack("<I", len(whole)) + whole


def packet4(body: bytes, stream: int = 0) -> bytes:
    return struct.pack("<ii", stream, len(body)) + body


def frame(data: bytes) -> bytes:
    """An LZ4 frame of one block, which is one sequence of 15 or more literals."""
    more = len(data) - 15
    block = b"\xf0" + b"\xff" * (more // 255) + bytes([more % 255]) + data
    start = struct.pack("<IBBBI", 0x184D2204, 0x40, 0x40, 0, len(block))
    return start + block + bytes(4)


def test_dvs128_and_davis_of_version_2(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    # a word of the pin, which is no event
    words = [dvs128(*each) for each in FEW] + [(1 << 15, 2000)]
    path.write_bytes(aedat2("ch.unizh.ini.jaer.chip.retina.DVS128", words))
    assert rows(load(path)) == FEW
    assert load(path).size == (128, 128)
    # of frames (bit 31) and of the inertial sensor (bit 10) nothing is read
    words = [davis240(*each) for each in FEW] + [(1 << 31, 2000), (1 << 10, 2000)]
    path.write_bytes(aedat2("eu.seebetter.ini.chips.davis.DAVIS240C", words))
    assert rows(load(path)) == FEW
    assert load(path).size == (180, 240)


def test_a_clock_of_version_2_that_wraps_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    words = [dvs128(1, 1, 2**31 - 1, 1), dvs128(2, 2, -(2**31), 1), dvs128(3, 3, -1, 0)]
    words += [dvs128(4, 4, 0, 0)]
    path.write_bytes(aedat2("DVS128", words))
    assert np.diff(load(path).t).tolist() == [1, 2**31 - 1, 1]


def test_packets_of_version_3(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    frames = packet3(FEW[:2], kind=2)
    # the first event of the last packet is marked as not valid
    data = aedat3(packet3(FEW[:2]), frames, packet3([FEW[0], *FEW[2:]], over=1, bad=1))
    path.write_bytes(data)
    late = [(x, y, t + 2**31, on) for x, y, t, on in FEW[2:]]
    assert rows(load(path)) == [*FEW[:2], *late]
    assert load(path).size == (128, 128)
    path.write_bytes(aedat3(packet3(FEW), source="Camera"))
    assert load(path).size is None


@pytest.mark.parametrize("packed", [False, True])
def test_packets_of_version_4(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a.aedat4"
    bodies = [events4(FEW[:1]), events4(FEW[1:], b"FRME"), events4(FEW[1:])]
    if packed:
        bodies = [frame(each) for each in bodies]
    data = header4(int(packed)) + b"".join(map(packet4, bodies))
    path.write_bytes(data)
    assert rows(load(path)) == FEW
    assert load(path).size == (128, 128)
    # what is behind the packets is a table; a header that names its place is longer
    data = header4(int(packed), 1) + b"".join(map(packet4, bodies))
    path.write_bytes(header4(int(packed), len(data)) + b"".join(map(packet4, bodies)) + b"abc")
    assert rows(load(path)) == FEW


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    x, y, t, p = (np.array(each) for each in zip(*reversed(FEW), strict=True))
    np.savez(path, x=x, y=y, t=t, p=2 * p - 1)
    # times are put in order; of equal ones the first stays first
    assert rows(load(path)) == [FEW[0], FEW[2], FEW[1], FEW[3]]
    assert load(path).size is None


def test_events_are_counted_in_bins_of_time_and_fields() -> None:
    x, y, t, on = (np.array(each) for each in zip(*FEW, strict=True))
    held = Events(x, y, t, on > 0, (128, 128))
    found = binned(held, 4, (2, 2))
    # 1000 us from the first to behind the last: 250 us each
    where: Array = np.argwhere(found)
    assert where.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 1], [3, 0, 0, 1]]
    assert found.sum() == 4
    assert found.dtype == np.float32
    # bins of a fixed length leave out what comes later, here the last event
    assert binned(held, 2, bin_us=100).shape == (2, 2, 128, 128)
    assert binned(held, 2, bin_us=100).sum(axis=(1, 2, 3)).tolist() == [1, 2]
    assert binned(held, 3, bin_us=500).sum(axis=(1, 2, 3)).tolist() == [3, 1, 0]


def test_events_that_cannot_be_counted_are_refused() -> None:
    x = np.array([3])
    held = Events(x, x, x, x > 0, (4, 6))

    def fails(message: str, *how: object, **named: object) -> None:
        with pytest.raises(ModelError) as caught:
            binned(*how, **named)  # type: ignore[arg-type]
        assert str(caught.value) == message

    fails(
        "events of 4 rows and 6 columns must be counted in as many or fewer fields, not 5 x 6; "
        "choose a smaller shape",
        *(held, 1, (5, 6)),
    )
    fails(
        "bins must have at most 268435456 cells, not 6000000 x 2 x 4 x 6; take fewer timesteps "
        "or a smaller shape",
        *(held, 6000000),
    )
    fails(
        "events must be counted in 1 or more bins of 1 us or more, not 0 of None; choose "
        "others",
        *(held, 0),
    )
    fails(
        "events must be counted in 1 or more bins of 1 us or more, not 1 of 0; choose others",
        *(held, 1),
        bin_us=0,
    )
    none = Events(x[:0], x[:0], x[:0], x[:0] > 0, (4, 6))
    fails("a recording must have events to be counted, not none; give another", none, 1)


def test_broken_files_of_version_2_and_3_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    refused(
        path,
        b"GIF89a, a picture",
        "a recording must be an .npz of x, y, t and p, or AEDAT 2.0, 3.1 or 4.0, not one that "
        "starts with b'GIF89a, a pi'; convert it",
    )
    refused(
        path,
        aedat2("Cochlea", []),
        "the header of AEDAT 2.0 must name its AEChip, one of dvs128, davis240, davis346, "
        "davis640, not Cochlea; convert the file to AEDAT 4",
    )
    refused(
        path,
        aedat2("DVS128", [dvs128(*FEW[0])])[:-3],
        "events must take 8 bytes each, not leave 5 behind the last; the file is cut off",
    )
    refused(
        path,
        b"#!AER-DAT3.1\r\n#Format: RAW\r\n",
        "the header of AEDAT 3.1 must end with #!END-HEADER, but does not; the file is broken",
    )
    refused(
        path,
        aedat3(form="Serial-TS"),
        "packets of AEDAT 3.1 must be in format RAW, not Serial-TS; export the file without "
        "compression",
    )
    refused(
        path,
        aedat3(packet3(FEW))[:-1],
        "a packet of 4 events of 8 bytes must be in the file, which has 31 left; the file is "
        "cut off",
    )
    refused(
        path,
        aedat3(b"abc"),
        "a packet must have a header of 28 bytes, not 3; the file is cut off",
    )
    refused(
        path,
        aedat3(packet3([(3, 200, 0, 1)])),
        "an event must lie in 128 rows and 128 columns, not in row 200 and column 3 as number "
        "0 does; the file is broken",
    )


def test_broken_files_of_version_4_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    whole = header4() + packet4(events4(FEW))
    cut = "every packet of AEDAT 4.0 must be whole, but the file ends within one; it is cut off"
    refused(path, whole[:-1], cut)
    refused(path, whole + b"abc", cut)
    refused(
        path,
        header4(3),
        "packets of AEDAT 4.0 must be compressed by NONE or LZ4, not ZSTD; export the file "
        "from DV with another compression",
    )
    refused(
        path,
        header4(1) + packet4(b"no frame"),
        "a packet must be an LZ4 frame, but it does not start as one; the file is broken, or "
        "export it in parts",
    )
    broken = (
        "a FlatBuffer of AEDAT 4.0 must point into itself, but does not; the file is broken"
    )
    body = events4(FEW)
    for place in (4, 22, 26):
        far = body[:place] + b"\xff\xff\xff\x7f" + body[place + 4 :]
        refused(path, header4() + packet4(far), broken)


def test_no_cut_and_no_flipped_byte_of_a_file_ends_in_anything_but_a_sentence(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "a.aedat"
    wholes = [
        aedat2("DVS128", [dvs128(*each) for each in FEW]),
        aedat3(packet3(FEW)),
        header4(1) + packet4(frame(events4(FEW))),
    ]
    for whole in wholes:
        for _ in range(150):
            data = bytearray(whole[: rng.integers(12, len(whole) + 1)])
            for at in rng.integers(12, len(data) + 1, 3):
                data[min(at, len(data) - 1)] = rng.integers(256)
            path.write_bytes(data)
            with suppress(ModelError):  # any other exception fails
                assert len(load(path)) <= 2 * len(FEW)


def test_arrays_that_are_no_events_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"

    def fails(message: str, **arrays: object) -> None:
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(ModelError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {message}"

    one = [1]
    fails(
        "events must have the arrays x, y, t and p, not lack t, p; write them with numpy.savez",
        x=one,
        y=one,
    )
    fails(
        "x, y, t and p must be lists of one length, not of the shapes [[1], [2], [1], [1]]; "
        "give one entry per event",
        **{"x": one, "y": [1, 2], "t": one, "p": one},
    )
    fails(
        "t must be whole numbers, not float64; t is in microseconds",
        **{"x": one, "y": one, "t": [0.5], "p": one},
    )
    fails(
        "times must be 0 us or later and within 34359738368 us of each other, not 0 to "
        "34359738369 us; cut the recording into parts",
        **{"x": [1, 1], "y": [1, 1], "t": [0, 2**35 + 1], "p": [1, 1]},
    )
    fails(
        "an event must lie in 32768 rows and 32768 columns, not in row 1 and column -1 as "
        "number 0 does; the file is broken",
        **{"x": [-1], "y": one, "t": one, "p": one},
    )


def test_a_file_that_is_missing_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.aedat"
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: no such file; give the path of a recording"
    monkeypatch.setattr(events, "MOST_BYTES", 10)
    refused(
        path,
        aedat3(),
        "a recording must have at most 10 bytes, not 61; cut it into parts",
    )
