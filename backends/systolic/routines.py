"""Stages that no single instruction does: routines of the vector unit, and gathers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tetrapla.backends.systolic.layout import Placed
from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.routines import Place, Routine, Step


@dataclass(frozen=True)
class RoutineStage:
    """One VX.

    Attributes:
        operands, results: the routine's numbers of what it reads and writes, and where.
        immediates: constants of one element, by number.
        rows: of how many equal slices of all operands and results along their outermost axis
            in memory each could be computed by itself; 1 where it cannot be cut.
    """

    name: str
    op: str
    steps: tuple[Step, ...]
    operands: tuple[tuple[int, Placed], ...]
    results: tuple[tuple[int, Placed], ...]
    immediates: Mapping[int, Array] = field(default_factory=dict[int, Array], repr=False)
    rows: int = 1

    @property
    def sources(self) -> tuple[Placed, ...]:
        """What it reads."""
        return tuple(placed for _, placed in self.operands)

    @property
    def targets(self) -> tuple[Placed, ...]:
        """What it writes."""
        return tuple(placed for _, placed in self.results)

    def routine(self) -> Routine:
        """What the machine runs, once its buffers have addresses."""
        return Routine(
            self.name,
            tuple(_place(*each) for each in self.operands),
            tuple(_place(*each) for each in self.results),
            self.steps,
            self.immediates,
        )


@dataclass(frozen=True)
class GatherStage:
    """One GTH: rows of a constant table that stays in DRAM.

    Attributes:
        table: of shape (rows, elements of a row); zeros where the module is shape-only.
        indices: of i32 or i64, dense.
        target: dense, a row for each index.
    """

    name: str
    op: str
    table: Array = field(repr=False)
    indices: Placed
    target: Placed

    @property
    def sources(self) -> tuple[Placed, ...]:
        """What it reads of the unified buffer."""
        return (self.indices,)

    @property
    def targets(self) -> tuple[Placed, ...]:
        """What it writes."""
        return (self.target,)


def _place(value: int, placed: Placed) -> Place:
    return Place(value, placed.buffer.address, placed.dtype, placed.physical, placed.view)
