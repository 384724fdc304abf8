"""A routine in slices, where its rows are computed each by itself."""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.backends.systolic.layout import Placed
from tetrapla.backends.systolic.memory.pieces import Piece, Pieces, Where, joined, moved
from tetrapla.backends.systolic.memory.windows import even
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.vector.routines import RoutineStage


@dataclass(frozen=True)
class Slices:
    """A routine in equal shares of what is cut; the rest each slice reads whole."""

    stage: RoutineStage

    @property
    def groups(self) -> int:
        """One."""
        return 1

    @property
    def rows(self) -> int:
        """How many."""
        return self.stage.rows

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First row and end of each slice."""
        return even(self.rows, most)

    def pieces(self, first: int, end: int) -> Pieces:
        """What the rows read and write."""
        read = [self._piece(*each, first, end) for each in self.stage.operands]
        made = [self._piece(*each, first, end) for each in self.stage.results]
        return joined(read), joined(made)

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The routine of the rows alone."""
        return moved(self.stage.part(first, end), where)

    def _piece(self, number: int, place: Placed, first: int, end: int) -> Piece:
        return Piece(place.buffer, *self.stage.span(number, place, first, end))
