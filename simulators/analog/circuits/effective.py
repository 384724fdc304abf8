"""The effective matrix: a linear wired array is one matrix, whatever its inputs.

    G (cells, siemens) + wires  ->  G_eff with I = V G_eff, and Y with P = V' Y V

Bit lines are walked from their open end, with all of them cut between two rows. What is behind
the cut is an admittance S [columns, columns] and a Norton current H' V. A row adds its word
line (`lines`), a segment of resistance R is a step

    S, H  <-  (I + R S)^-1 S,  H (I + R S)^-1

and after the last segment, with the sense resistance, H is G_eff. Nothing is a difference of
large terms: the result agrees with nodal analysis to some 1e-14 of the largest current. Cost:
rows x columns^3; an array with more columns than rows is walked along its word lines, which is
the same by reciprocity.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.lines import eliminated, inverse
from tetrapla.simulators.analog.circuits.wires import Wires, checked

_CACHE_BYTES: Final = 1 << 28  # of kept matrices: 2,048 arrays of 128x128; assumed enough


def effective(g: Array, wires: Wires, g_minus: Array | None = None) -> Array:
    """Effective matrix, siemens [..., rows, columns], read-only: currents = volts @ it.

    Kept by content, so that asking again for the same programmed state costs a hash.

    Args:
        g: cells, siemens [..., rows, columns]; 0 is no device.
        wires: of a word line per row, driven at column 0.
        g_minus: cells at second word lines, which carry the negated inputs (`interleaved`).

    Raises:
        SpecError: a conductance that is negative or not finite, or unequal shapes.
    """
    return _kept("effective", g, wires, g_minus)


def admittance(g: Array, wires: Wires, g_minus: Array | None = None) -> Array:
    """Input admittance Y, siemens [..., rows, rows], read-only; sources deliver V' Y V watts.

    The same arguments, errors and cache as `effective`.
    """
    return _kept("admittance", g, wires, g_minus)


def power(admittances: Array, volts: Array) -> Array:
    """Watts [..., vectors] that the sources deliver under volts [..., vectors, rows]."""
    return np.asarray(((volts @ admittances) * volts).sum(axis=-1))


def solve(g: Array, wires: Wires, g_minus: Array | None = None) -> Array:
    """`effective` computed anew, for states that are not asked for twice."""
    cells = checked(g, g_minus)
    if wires.ideal:
        return _signed(cells)
    if cells.shape[-3] == 1 and cells.shape[-1] > cells.shape[-2]:
        return _mirror(_walk(_mirror(cells), wires.mirrored).transfer)
    return _walk(cells, wires).transfer


def _input_admittance(cells: Array, wires: Wires) -> Array:
    if cells.shape[-3] == 1 and cells.shape[-1] >= cells.shape[-2]:
        # the mirrored array's outputs are the inputs
        return np.asarray(_walk(_mirror(cells), wires.mirrored).output[..., ::-1, ::-1])
    found = _walk(cells, wires, inputs=True).input
    assert found is not None
    return found


@dataclass(frozen=True)
class _Ports:
    """A walked array: currents between its ports, siemens."""

    transfer: Array
    output: Array
    input: Array | None


def _walk(cells: Array, wires: Wires, *, inputs: bool = False) -> _Ports:
    *lead, polarities, rows, columns = cells.shape
    lines = eliminated(cells, wires)
    signs = np.array((1.0, -1.0)[:polarities])[:, None, None]
    # S above H: both are multiplied by one matrix, into the other buffer
    both = np.zeros((*lead, columns + rows, columns))
    both[..., columns:, :] = (cells * lines.volts * signs).sum(axis=-3)
    other = both.copy()
    seen = np.zeros((*lead, rows, rows)) if inputs else None
    if seen is not None:
        every = np.arange(rows)
        seen[..., every, every] = lines.admittance.sum(axis=-2)
    diagonal = np.arange(columns)
    for row, half in enumerate(lines.halves()):
        behind = both[..., :columns, :]
        behind *= 0.5
        behind += half[..., 0, :, :] if polarities == 1 else half.sum(axis=-3)
        # S is symmetric but for rounding, which must not grow over the rows
        behind += np.swapaxes(behind, -1, -2)
        ohm = wires.col_ohm + (wires.sense_ohm if row == rows - 1 else 0.0)
        if ohm:
            step = ohm * behind
            step[..., diagonal, diagonal] += 1
            used, after = (x[..., : columns + row + 1, :] for x in (both, other))
            np.matmul(used, inverse(step), out=after)
            if seen is not None:
                before = np.swapaxes(used[..., columns:, :], -1, -2)
                seen[..., : row + 1, : row + 1] -= ohm * (after[..., columns:, :] @ before)
            both, other = other, both
    return _Ports(both[..., columns:, :].copy(), both[..., :columns, :].copy(), seen)


def _mirror(x: Array) -> Array:
    """Rows and columns exchanged, both from the other end."""
    return np.asarray(np.swapaxes(x, -1, -2)[..., ::-1, ::-1])


def _signed(cells: Array) -> Array:
    if cells.shape[-3] == 1:
        return np.array(cells[..., 0, :, :])
    return np.asarray(cells[..., 0, :, :] - cells[..., 1, :, :])


class Cache:
    """Matrices by the content of what made them; the least recently used one goes first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._entries: OrderedDict[bytes, Array] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes) -> Array | None:
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: bytes, value: Array) -> None:
        value.setflags(write=False)
        with self._lock:
            if key in self._entries or value.nbytes > self._limit_bytes:
                return
            self._entries[key] = value
            self._held_bytes += value.nbytes
            while self._held_bytes > self._limit_bytes:
                self._held_bytes -= self._entries.popitem(last=False)[1].nbytes


_cache = Cache(_CACHE_BYTES)


def _kept(what: str, g: Array, wires: Wires, g_minus: Array | None) -> Array:
    cells = checked(g, g_minus)
    content = blake2b(f"{what} {cells.shape} {wires}".encode(), digest_size=32)
    content.update(cells.tobytes())
    key = content.digest()
    found = _cache.get(key)
    if found is None:
        if what == "effective":
            found = solve(g, wires, g_minus)
        else:
            found = _input_admittance(cells, wires)
        _cache.put(key, found)
    return found
