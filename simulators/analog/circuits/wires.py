"""What connects the cells of an array: wire resistances, topologies, and their limits.

Every array here is a grid of conductances [rows, columns], siemens: rows are inputs (word
lines), columns outputs (bit lines). A bit line has a cell per row; its last row's end goes
through one more segment and the sense resistance to 0 V, its other end is open.

    input_source       each word line starts at its source, runs past column 0, 1, ... and ends
                       open; a cell joins word line and bit line
    interleaved        two word lines per row, at +V and -V, with a cell each at every bit line
    gated              a supply rail beside each bit line, entered at row 0 and open at the last
                       row; a cell joins rail and bit line where its row is selected
    gated_interleaved  two such rails, at +V and -V, with a cell each
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Literal, TypeAlias, get_args

import numpy as np

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array

Topology: TypeAlias = Literal["input_source", "interleaved", "gated", "gated_interleaved"]
TOPOLOGIES: tuple[Topology, ...] = get_args(Topology)


@dataclass(frozen=True)
class Wires:
    """Resistances, ohms; 0 is an ideal wire.

    Attributes:
        row_ohm: one segment of a word line (or of a supply rail), before every cell.
        col_ohm: one segment of a bit line, after every cell.
        driver_ohm: in series with each source.
        sense_ohm: in series with each output.
    """

    row_ohm: float = 0.0
    col_ohm: float = 0.0
    driver_ohm: float = 0.0
    sense_ohm: float = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (isfinite(value) and value >= 0):
                raise SpecError(
                    f"{entry.name} must be finite and 0 or more ohms, not {value}; "
                    "0 is an ideal wire, and a broken one is a fault"
                )

    @property
    def ideal(self) -> bool:
        """Whether nothing is lost: every current is conductance times voltage."""
        return not (self.row_ohm or self.col_ohm or self.driver_ohm or self.sense_ohm)

    @property
    def mirrored(self) -> Wires:
        """Those of the same network with sources and outputs exchanged."""
        return Wires(self.col_ohm, self.row_ohm, self.sense_ohm, self.driver_ohm)


@dataclass(frozen=True)
class Solution:
    """What an array does with a batch of vectors, float64.

    Attributes:
        currents: amperes out of the bit lines, [..., vectors, columns].
        watts: what all sources deliver, [..., vectors].
    """

    currents: Array
    watts: Array


def checked(g: Array, g_minus: Array | None = None) -> Array:
    """Cells as float64 [..., polarities, rows, columns]: one polarity, or two with `g_minus`.

    Raises:
        SpecError: a conductance that is negative or not finite, fewer than two axes, no row
            or column, or two polarities of unequal shape.
    """
    plus = np.asarray(g, np.float64)
    if plus.ndim < 2 or 0 in plus.shape:
        raise SpecError(
            f"conductances must have rows and columns, not the shape {plus.shape}; "
            "give [..., rows, columns]"
        )
    if g_minus is None:
        both = plus[..., None, :, :]
    else:
        minus = np.asarray(g_minus, np.float64)
        if minus.shape != plus.shape:
            raise SpecError(
                f"conductances of both polarities must have one shape, not {plus.shape} and "
                f"{minus.shape}; give the absent cells as 0"
            )
        both = np.stack((plus, minus), axis=-3)
    wrong = ~(np.isfinite(both) & (both >= 0))
    if wrong.any():
        raise SpecError(
            f"conductances must be finite and 0 or more siemens, not {both[wrong][0]}; "
            "0 is no device"
        )
    return both


def driven(volts: Array, rows: int) -> Array:
    """Inputs as float64 [..., vectors, rows].

    Raises:
        SpecError: other than two axes at the end, another number of rows, or a value that is
            not finite.
    """
    given = np.asarray(volts, np.float64)
    if given.ndim < 2 or given.shape[-1] != rows:
        raise SpecError(
            f"inputs must be [..., vectors, {rows}], a value per row, not of the shape "
            f"{given.shape}; reshape them"
        )
    if not np.isfinite(given).all():
        raise SpecError("inputs must be finite, not NaN or infinite; check what computed them")
    return given
