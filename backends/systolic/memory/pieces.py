"""Bytes of buffers that a strip of a stage reads and writes, and stages in other places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeAlias

from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.array.tiling import Block
from tetrapla.backends.systolic.layout import Buffer, Moving, Placed
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.vector.routines import GatherStage, RoutineStage


class Piece(NamedTuple):
    """Bytes `start` up to `end` of a buffer."""

    buffer: Buffer
    start: int
    end: int

    @property
    def bytes(self) -> int:
        """How many."""
        return self.end - self.start


Where: TypeAlias = Mapping[Buffer, tuple[Buffer, int]]
"""By buffer, what stands for it, and which of its bytes that begins with."""


Pieces: TypeAlias = tuple[list[Piece], list[Piece]]
"""What is read, and what is written, a piece for each buffer."""


class Cut(Protocol):
    """One way to cut a stage into strips of `rows` rows in all."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        ...

    @property
    def groups(self) -> int:
        """How many parts of the weights go over the same rows, one after another."""
        ...

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First row and end of each strip of at most `most` rows."""
        ...

    def pieces(self, first: int, end: int) -> Pieces:
        """What the rows read and write, one piece for each buffer."""
        ...

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The stage of the rows alone."""
        ...


def reads(stage: Stage) -> tuple[Buffer, ...]:
    """What a stage reads, each once."""
    return tuple(dict.fromkeys(place.buffer for place in stage.sources))


def writes(stage: Stage) -> tuple[Buffer, ...]:
    """What a stage writes, each once."""
    return tuple(dict.fromkeys(place.buffer for place in stage.targets))


def moved(stage: Stage, where: Where) -> Stage:
    """The stage with other buffers."""

    def at(place: Placed) -> Placed:
        return replace(place, buffer=where[place.buffer][0])

    if isinstance(stage, Product):
        return replace(
            stage,
            source=at(stage.source),
            moving=stage.moving and at(stage.moving),
            blocks=[_operand_at(block, at) for block in stage.blocks],
            epilogues=[replace(e, target=at(e.target)) for e in stage.epilogues],
        )
    if isinstance(stage, RoutineStage):
        operands, results = (
            tuple((number, at(place)) for number, place in places)
            for places in (stage.operands, stage.results)
        )
        return replace(stage, operands=operands, results=results)
    if isinstance(stage, GatherStage):
        return replace(stage, indices=at(stage.indices), target=at(stage.target))
    sources = tuple(at(source) for source in stage.sources)
    return replace(stage, sources=sources, target=at(stage.target))


def _operand_at(block: Block, at: Callable[[Placed], Placed]) -> Block:
    weights = block.weights
    if not isinstance(weights, Moving):
        return block
    return replace(block, weights=replace(weights, source=at(weights.source)))


def joined(found: Sequence[Piece]) -> list[Piece]:
    """One piece for each buffer, around all of its own."""
    if len({id(piece.buffer) for piece in found}) == len(found):
        return list(found)
    spans: dict[Buffer, Piece] = {}
    for piece in found:
        held = spans.get(piece.buffer, piece)
        low, high = min(held.start, piece.start), max(held.end, piece.end)
        spans[piece.buffer] = Piece(piece.buffer, low, high)
    return list(spans.values())


def around(pieces: Pieces) -> list[Piece]:
    """A piece of each buffer, around what a strip reads and writes of it."""
    return joined([*pieces[0], *pieces[1]])


def is_loaded(buffer: Buffer, read: Sequence[Piece], updated: Set[Buffer]) -> bool:
    """Whether a strip needs what a buffer holds: to read it, or to keep it between writes."""
    return buffer in updated or any(piece.buffer is buffer for piece in read)
