"""Gated arrays: every bit line is a ladder of its own, another for every vector of selects.

With R_s, R_c of a segment of rail and bit line, R = R_s + R_c, voltages d_i across selected
cells x_i g_i, and C_i the current that the bit line carries past row i:

    C_i - C_{i-1} = x_i g_i d_i,    d_{i+1} = d_i + R C_i - R_s I,    C_{-1} = 0, C_{N-1} = I

Swept from row 0 as C_i = p_i d_i + q_i I, where 1 - q_i = (R_c + R_s t_i) / R:

    p_0 = x_0 g_0,  t_0 = 1;   p_{i+1} = p_i / u + x g,  t_{i+1} = t_i / u,  u = 1 + R p_i

The voltage around the loop of row 0 closes it, with a = (R_c + R_s t_{N-1}) / R:

    V / I = R_driver + R_sense + R + (N-1) R_s R_c / R + R_s^2 / R sum t_i t_{i+1} + a^2 / p

Every term is positive, so that no digit is lost however long the ladder is: the shooting
recursion of the same equations loses them as exp(sqrt(R g) N). Two rails are the same with
2x2 matrices (`_Pair`), R = R_s 1 + R_c J, J all ones, currents and voltages by polarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.wires import Solution, Wires, checked, driven

_HELD: Final = 1 << 14  # columns x vectors at once: they stay in the cache


def gated(
    g: Array, selected: Array, volts: float, wires: Wires, g_minus: Array | None = None
) -> Solution:
    """Currents and power of a gated array, exact for every wire resistance.

    Args:
        g: cells, siemens [..., rows, columns].
        selected: [..., vectors, rows]; a row's cells conduct where it is not 0.
        volts: of the supply rails.
        wires: `row_ohm` and `driver_ohm` are a rail's; each bit line has its own.
        g_minus: cells at second rails, at minus `volts` (`gated_interleaved`).

    Raises:
        SpecError: conductances that are negative or not finite, or shapes that do not fit.
    """
    cells = checked(g, g_minus)
    chosen = driven(selected, cells.shape[-2]) != 0
    polarities, rows, columns = cells.shape[-3:]
    lead = np.broadcast_shapes(cells.shape[:-3], chosen.shape[:-2])
    cells = np.broadcast_to(cells, (*lead, *cells.shape[-3:])).reshape(
        -1, polarities, rows, columns
    )
    chosen = np.broadcast_to(chosen, (*lead, *chosen.shape[-2:])).reshape(
        -1, chosen.shape[-2], rows
    )
    ladder = _single if polarities == 1 else _double
    currents = np.empty((*chosen.shape[:2], columns))
    watts = np.empty(chosen.shape[:2])
    step = max(1, _HELD // columns)
    for array, part in enumerate(cells):
        for start in range(0, chosen.shape[1], step):
            some = slice(start, start + step)
            out, drawn = ladder(part, chosen[array, some].T, wires)
            currents[array, some] = volts * out
            watts[array, some] = volts * volts * drawn.sum(axis=-1)
    shape = (*lead, chosen.shape[1])
    return Solution(currents.reshape(*shape, columns), watts.reshape(shape))


def _shares(wires: Wires) -> tuple[float, float, float]:
    total = wires.row_ohm + wires.col_ohm
    if not total:
        return 0.0, 0.0, 1.0
    return total, wires.row_ohm / total, wires.col_ohm / total


def _single(cells: Array, chosen: Array, wires: Wires) -> tuple[Array, Array]:
    """Output and supply currents per volt, [vectors, columns]; the same here."""
    total, rail, bit = _shares(wires)
    rows, columns = cells.shape[-2:]
    ends = wires.row_ohm + wires.col_ohm + wires.driver_ohm + wires.sense_ohm
    ends += (rows - 1) * wires.row_ohm * bit
    p = np.zeros((chosen.shape[1], columns))
    fall, before = np.ones_like(p), np.empty_like(p)
    products, work = np.zeros_like(p), np.empty_like(p)
    for row in range(rows):
        if row and total:
            np.multiply(p, total, out=work)
            work += 1
            np.divide(1, work, out=work)
            p *= work
            before[...] = fall
            fall *= work
            before *= fall
            products += before
        np.multiply(chosen[row, :, None], cells[0, row], out=work)
        p += work
    a = bit + rail * fall
    ohms = (ends + wires.row_ohm * rail * products) * p + a * a
    # nothing selected: p = 0 and no current
    found = p / ohms
    return found, found


class _Pair:
    """The sweep of two rails: P = [[s + y, -y], [-y, z + y]], t 2x2, sum of t_i' R t_{i+1}."""

    def __init__(self, shape: tuple[int, int], wires: Wires) -> None:
        self.rail, self.bit = wires.row_ohm, wires.col_ohm
        self.s, self.z, self.y = (np.zeros(shape) for _ in range(3))
        self.t = [np.ones(shape), np.zeros(shape), np.zeros(shape), np.ones(shape)]
        self.sums = [np.zeros(shape) for _ in range(3)]

    @property
    def determinant(self) -> Array:
        """Of P, a sum of positive terms."""
        return np.asarray(self.s * self.z + self.y * (self.s + self.z))

    def segment(self) -> None:
        """One segment of wire: P <- (1 + P R)^-1 P, t <- (1 + P R)^-1 t."""
        rail, bit, both = self.rail, self.bit, self.rail + self.bit
        d, y, ends = self.determinant, rail * self.y, self.s + self.z
        u = 1 + both * ends + 2 * y + rail * (rail + 2 * bit) * d
        one, two = 1 + both * self.z + y, 1 + both * self.s + y
        turn = one, y - bit * self.s, y - bit * self.z, two
        parts = (self.s, rail), (self.z, rail), (self.y, bit)
        self.s, self.z, self.y = ((part + ohm * d) / u for part, ohm in parts)
        t, new = self.t, [x / u for x in _product(turn, self.t)]
        lost = _product((both, bit, bit, both), new)
        self.sums[0] += t[0] * lost[0] + t[2] * lost[2]
        self.sums[1] += t[0] * lost[1] + t[2] * lost[3]
        self.sums[2] += t[1] * lost[1] + t[3] * lost[3]
        self.t = new


_Four: TypeAlias = Sequence[Array | float]  # a 2x2 matrix, row by row


def _product(a: _Four, b: _Four) -> list[Array]:
    return [
        np.asarray(a[2 * i] * b[j] + a[2 * i + 1] * b[2 + j]) for i in (0, 1) for j in (0, 1)
    ]


def _double(cells: Array, chosen: Array, wires: Wires) -> tuple[Array, Array]:
    """Output and supply currents per volt, [vectors, columns], of rails at +1 V and -1 V.

    I = (B + a P^-1 a')^-1 (1, -1)', with B what wires alone lose: written without P^-1, which
    does not exist where a polarity has nothing selected.
    """
    rows, columns = cells.shape[-2:]
    pair = _Pair((chosen.shape[1], columns), wires)
    for row in range(rows):
        if row:
            pair.segment()
        pair.s = pair.s + chosen[row, :, None] * cells[0, row]
        pair.z = pair.z + chosen[row, :, None] * cells[1, row]
    # R_s R^-1 = 1 - k J and R_c J R^-1 = k J
    k = wires.col_ohm / (wires.row_ohm + 2 * wires.col_ohm) if wires.col_ohm else 0.0
    share = (1 - k, -k, -k, 1 - k)
    t, sums = pair.t, pair.sums
    a = [x + k for x in _product(share, (t[0], t[2], t[1], t[3]))]
    lost = _product(_product(share, (sums[0], sums[1], sums[1], sums[2])), share)
    common = wires.sense_ohm + wires.col_ohm + (rows - 1) * wires.row_ohm * k
    own = wires.row_ohm + wires.driver_ohm + common
    b = (lost[0] + own, lost[1] + common, lost[3] + own)
    # M = a adj(P) a'
    first, second, y, d = pair.s + pair.y, pair.z + pair.y, pair.y, pair.determinant
    m = (
        a[0] * a[0] * second + 2 * a[0] * a[1] * y + a[1] * a[1] * first,
        a[0] * a[2] * second + (a[0] * a[3] + a[1] * a[2]) * y + a[1] * a[3] * first,
        a[2] * a[2] * second + 2 * a[2] * a[3] * y + a[3] * a[3] * first,
    )
    whole = d * (b[0] * b[2] - b[1] * b[1])
    whole += b[2] * m[0] + b[0] * m[2] - 2 * b[1] * m[1] + (a[0] * a[3] - a[1] * a[2]) ** 2
    plus = (d * (b[2] + b[1]) + m[2] + m[1]) / whole
    minus = (d * (b[0] + b[1]) + m[0] + m[1]) / whole
    return plus - minus, plus + minus
