"""Word lines eliminated: what they are, seen from the bit lines alone.

A word line of resistors R with a source at one end and a cell g_k at every node is a
tridiagonal network. Two sweeps give all of its inverse T^-1 from positive terms alone, so that
no digit is lost however small the cells are beside the wires:

    a_k    conductance from node k away from the source, a_{k-1} = b_k / (1 + R b_k)
    b_k    = a_k + g_k
    rho_k  resistance from node k to the source, rho_{k+1} = R + rho_k / (1 + g_k rho_k)

    T^-1[k,k] = rho_k / (1 + rho_k b_k),   T^-1[l,k] = T^-1[l-1,k] / (1 + R b_l) for l > k
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.wires import Wires

_SMALL: Final = 1e-250  # far from where float64 loses digits, 2e-308
_LEAF: Final = 48  # rows below which LAPACK inverts: measured, 32 to 64 are equally fast


@dataclass(frozen=True)
class Lines:
    """All word lines [..., rows] of arrays with cells [..., rows, columns].

    Attributes:
        cells: siemens [..., rows, columns].
        ratios: node voltage over the one before it, beyond the place that drives.
        own: the diagonal of T^-1, ohms.
        kept: 1 - g T^-1[k,k], computed without a difference.
        volts: of the nodes per volt of the source, bit lines grounded.
        admittance: of a line with grounded bit lines, seen by its source, siemens [..., rows].
    """

    cells: Array
    ratios: Array
    own: Array
    kept: Array
    volts: Array
    admittance: Array

    def halves(self) -> Iterator[Array]:
        """Row by row L with K = L + L' = diag(g) - diag(g) T^-1 diag(g), lower triangles.

        Siemens [..., columns, columns]; K is what grounded sources leave between bit lines.
        One buffer is given every time, to be used up before the next row is asked for.
        """
        g, columns = self.cells, self.cells.shape[-1]
        fall = np.cumprod(self.ratios, axis=-1)
        # the product of ratios between two nodes is a quotient, unless it could underflow
        steep = fall[..., -1] < _SMALL
        fall = np.where(steep[..., None], 1.0, fall)
        left, right, own = -g * fall, self.own * g / fall, 0.5 * g * self.kept
        half, lower = np.empty((*g.shape[:-2], columns, columns)), np.tri(columns, k=-1)
        every = np.arange(columns)
        for row in range(g.shape[-2]):
            np.multiply(left[..., row, :, None], right[..., row, None, :], out=half)
            half *= lower
            if steep[..., row].any():
                half[steep[..., row]] = self._products(row)[steep[..., row]]
            half[..., every, every] = own[..., row, :]
            yield half

    def _products(self, row: int) -> Array:
        """Below the diagonal of -diag(g) T^-1 diag(g), however steep the line."""
        g, own, q = (x[..., row, :] for x in (self.cells, self.own, self.ratios))
        found = np.zeros((*g.shape, g.shape[-1]))
        reach = np.zeros(g.shape)
        for k in range(1, g.shape[-1]):
            reach[..., k - 1] = own[..., k - 1] * g[..., k - 1]
            reach[..., :k] *= q[..., k, None]
            found[..., k, :k] = -g[..., k, None] * reach[..., :k]
        return found


def eliminated(cells: Array, wires: Wires) -> Lines:
    """The word lines of cells [..., rows, columns], siemens."""
    r = wires.row_ohm
    # node by node, contiguous: [columns, ..., rows]
    g = np.ascontiguousarray(np.moveaxis(cells, -1, 0))
    away, rho, volts = np.zeros(g.shape), np.empty(g.shape), np.empty(g.shape)
    beyond = np.zeros(g.shape[1:])
    for k in range(len(g) - 1, -1, -1):
        away[k] = beyond
        b = g[k] + beyond
        beyond = b / (1 + r * b)
    b = g + away
    ratios = 1 / (1 + r * b)
    near = np.full(g.shape[1:], r + wires.driver_ohm)
    for k in range(len(g)):
        rho[k] = near
        near = r + near / (1 + g[k] * near)
    volts[0] = 1 / (1 + rho[0] * b[0])
    for k in range(1, len(g)):
        volts[k] = volts[k - 1] * ratios[k]
    admittance = b[0] * volts[0]
    whole = 1 + rho * b
    own, kept = rho / whole, (1 + rho * away) / whole
    ratios, own, kept, volts = (np.moveaxis(x, 0, -1) for x in (ratios, own, kept, volts))
    return Lines(cells, ratios, own, kept, volts, admittance)


def inverse(a: Array) -> Array:
    """Of symmetric, strictly diagonally dominant matrices [..., n, n], by halves.

    Schur complements of such matrices are such, so no pivots are needed; the work is matrix
    products, twice as fast as LAPACK's inverse at n = 128, three times at 256.
    """
    n = a.shape[-1]
    if n <= _LEAF:
        return np.linalg.inv(a)
    h = n // 2
    first = inverse(a[..., :h, :h])
    side = first @ a[..., :h, h:]
    last = inverse(a[..., h:, h:] - np.swapaxes(a[..., :h, h:], -1, -2) @ side)
    cross = side @ last
    found = np.empty_like(a)
    found[..., h:, h:] = last
    found[..., :h, h:] = -cross
    found[..., h:, :h] = -np.swapaxes(cross, -1, -2)
    found[..., :h, :h] = first + cross @ np.swapaxes(side, -1, -2)
    return found
