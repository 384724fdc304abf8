"""Recordings of event cameras: read, and counted in time bins.

======================  =================================================================
file                    what is read
======================  =================================================================
``.npz``                arrays x, y, t (microseconds) and p (polarity; above 0 is on)
``.aedat`` 2.0          DVS128 and DAVIS of jAER, by the header's AEChip
``.aedat`` 3.1          polarity events of packets in format RAW
``.aedat4`` 4.0         event packets, uncompressed or LZ4
======================  =================================================================

Sources: iniVation, "AEDAT File Formats", docs.inivation.com; addresses of 2.0 are jAER's.
The origin is the upper left: what 2.0 counts from below is turned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tetrapla.frontend.aedat import MARK, load_2, load_3
from tetrapla.frontend.aedat4 import load_4
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.npz import Npz

MOST_BYTES: Final = 1 << 30  # of a file, assumed: about an hour of a busy camera
MOST_CELLS: Final = 1 << 28  # of bins, assumed: 1 GiB of float32
MOST_US: Final = 1 << 35  # of a recording, assumed: 9 hours; times bins it has 63 bits
_KEYS: Final = ("x", "y", "t", "p")


@dataclass(frozen=True)
class Events:
    """Events in the order of time.

    Attributes:
        x, y: column and row, i32 [n].
        t: microseconds, i64 [n].
        on: polarity, bool [n]: brighter.
        size: rows and columns of the camera; None where the file does not say.
    """

    x: Array
    y: Array
    t: Array
    on: Array
    size: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.t)


def load(path: str | Path) -> Events:
    """Read a recording.

    Raises:
        ModelError: the file is missing, too large, broken, or of another kind.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{path}: no such file; give the path of a recording")
    if file.stat().st_size > MOST_BYTES:
        raise ModelError(
            f"{path}: a recording must have at most {MOST_BYTES} bytes, not "
            f"{file.stat().st_size}; cut it into parts"
        )
    if file.suffix == ".npz":
        return _in_order(str(path), *_arrays(file))
    with file.open("rb") as stream:
        start = stream.read(len(MARK) + 3)
        readers = {b"2.0": load_2, b"3.1": load_3, b"4.0": load_4}
        version = start[len(MARK) :]
        if not start.startswith(MARK) or version not in readers:
            raise ModelError(
                f"{path}: a recording must be an .npz of x, y, t and p, or AEDAT 2.0, 3.1 or "
                f"4.0, not one that starts with {start!r}; convert it"
            )
        stream.seek(0)
        return _in_order(str(path), *readers[version](str(path), stream.read()))


def binned(
    events: Events,
    timesteps: int,
    shape: tuple[int, int] | None = None,
    *,
    bin_us: int | None = None,
) -> Array:
    """Count events, f32 [timesteps, 2, rows, columns]: off, then on.

    Args:
        events: at least one.
        timesteps: how many bins.
        shape: rows and columns; a larger camera is divided into fields of equal size. None:
            the camera's own.
        bin_us: of one bin, from the first event on; what comes later is left out. None: the
            whole recording in bins of equal length.

    Raises:
        ModelError: no events, no size, or more cells than memory should hold.
    """
    if timesteps < 1 or (bin_us is not None and bin_us < 1):
        raise ModelError(
            "events must be counted in 1 or more bins of 1 us or more, not "
            f"{timesteps} of {bin_us}; choose others"
        )
    if not len(events):
        raise ModelError("a recording must have events to be counted, not none; give another")
    size = events.size or (int(events.y.max()) + 1, int(events.x.max()) + 1)
    rows, columns = shape or size
    if rows > size[0] or columns > size[1] or min(rows, columns) < 1:
        raise ModelError(
            f"events of {size[0]} rows and {size[1]} columns must be counted in as many or "
            f"fewer fields, not {rows} x {columns}; choose a smaller shape"
        )
    if timesteps * 2 * rows * columns > MOST_CELLS:
        raise ModelError(
            f"bins must have at most {MOST_CELLS} cells, not {timesteps} x 2 x {rows} x "
            f"{columns}; take fewer timesteps or a smaller shape"
        )
    passed = events.t - events.t[0]
    if bin_us is None:
        bins = passed * timesteps // (int(passed[-1]) + 1)
    else:
        bins = passed // bin_us
    kept = bins < timesteps
    place = bins[kept] * 2 + events.on[kept]
    place = place * rows + events.y[kept].astype(np.int64) * rows // size[0]
    place = place * columns + events.x[kept].astype(np.int64) * columns // size[1]
    counts = np.bincount(place, minlength=timesteps * 2 * rows * columns)
    return counts.astype(np.float32).reshape(timesteps, 2, rows, columns)


def holds_events(names: Mapping[str, object]) -> bool:
    """Whether arrays of these names are events, not samples with labels."""
    return set(_KEYS) <= set(names)


def _arrays(path: Path) -> tuple[Array, Array, Array, Array, None]:
    held = Npz(path, "events", "write it with numpy.savez(path, x=..., y=..., t=..., p=...)")
    lacking = [key for key in _KEYS if key not in held]
    if lacking:
        raise ModelError(
            f"{path}: events must have the arrays x, y, t and p, not lack "
            f"{', '.join(lacking)}; write them with numpy.savez"
        )
    x, y, t, p = (held[key] for key in _KEYS)
    shapes = {array.shape for array in (x, y, t, p)}
    if len(shapes) != 1 or x.ndim != 1:
        raise ModelError(
            f"{path}: x, y, t and p must be lists of one length, not of the shapes "
            f"{[list(a.shape) for a in (x, y, t, p)]}; give one entry per event"
        )
    for key, array in (("x", x), ("y", y), ("t", t)):
        if array.dtype.kind not in "iu":
            raise ModelError(
                f"{path}: {key} must be whole numbers, not {array.dtype}; t is in microseconds"
            )
    return x, y, t.astype(np.int64), p > 0, None


def _in_order(
    path: str, x: Array, y: Array, t: Array, on: Array, size: tuple[int, int] | None
) -> Events:
    """Sorted by time, and every event on the camera."""
    rows, columns = size or (1 << 15, 1 << 15)
    wrong = np.flatnonzero((x < 0) | (x >= columns) | (y < 0) | (y >= rows))
    if wrong.size:
        at = wrong[0]
        raise ModelError(
            f"{path}: an event must lie in {rows} rows and {columns} columns, not in row "
            f"{y[at]} and column {x[at]} as number {at} does; the file is broken"
        )
    if len(t) and (int(t.min()) < 0 or int(t.max()) - int(t.min()) > MOST_US):
        raise ModelError(
            f"{path}: times must be 0 us or later and within {MOST_US} us of each other, not "
            f"{t.min()} to {t.max()} us; cut the recording into parts"
        )
    if (t[1:] < t[:-1]).any():
        order = np.argsort(t, kind="stable")
        x, y, t, on = x[order], y[order], t[order], on[order]
    return Events(x.astype(np.int32), y.astype(np.int32), t, on, size)
