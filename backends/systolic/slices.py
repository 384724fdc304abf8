"""A routine in slices: rows that do not depend on each other may be computed in parts.

`RoutineStage` says which: every value that has the rows is cut into equal shares of its
buffer, and what is broadcast (a scale, gamma and beta) is read whole by each slice.
"""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.backends.systolic.layout import Placed
from tetrapla.backends.systolic.pieces import Piece, Pieces, Where, joined, moved
from tetrapla.backends.systolic.routines import RoutineStage
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.windows import even


def sliced(stage: RoutineStage) -> list[Slices]:
    """The way to cut a routine, if there is one."""
    return [Slices(stage)] if stage.rows > 1 else []


@dataclass(frozen=True)
class Slices:
    """A routine in parts of its rows."""

    stage: RoutineStage

    @property
    def rows(self) -> int:
        """How many."""
        return self.stage.rows

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First row and end of each slice."""
        return even(self.rows, most)

    def pieces(self, first: int, end: int) -> Pieces:
        """Equal shares of what is cut, and all of the rest."""
        read = [self._piece(*each, first, end) for each in self.stage.operands]
        made = [self._piece(*each, first, end) for each in self.stage.results]
        return joined(read), joined(made)

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The routine of the rows alone."""
        return moved(self.stage.part(first, end), where)

    def _piece(self, number: int, place: Placed, first: int, end: int) -> Piece:
        if number not in self.stage.cut:
            return Piece(place.buffer, 0, place.buffer.size_bytes)
        each = place.buffer.size_bytes // self.rows
        return Piece(place.buffer, first * each, end * each)
