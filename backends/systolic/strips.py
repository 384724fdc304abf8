"""A stage in strips: what a strip reads and writes, and the stage of it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from tetrapla.backends.systolic.layout import Buffer, Moving, Placed
from tetrapla.backends.systolic.products import Product
from tetrapla.backends.systolic.stages import Pass
from tetrapla.backends.systolic.tiling import Block
from tetrapla.backends.systolic.windows import Grid, Part
from tetrapla.ir.graph import DTYPES
from tetrapla.simulators.systolic.tables import Descriptor

Stage: TypeAlias = Product | Pass


@dataclass(frozen=True)
class Piece:
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


class Cut(Protocol):
    """One way to cut a stage into strips of `rows` rows in all."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        ...

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First row and end of each strip of at most `most` rows."""
        ...

    def pieces(self, first: int, end: int) -> tuple[list[Piece], list[Piece]]:
        """What the rows read and write, one piece for each buffer."""
        ...

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The stage of the rows alone."""
        ...


def cuts(stage: Stage) -> list[Cut]:
    """The ways to cut a stage; the first leaves it whole."""
    return [Uncut(stage), *([_Rows(stage)] if _grid(stage).rows > 1 else [])]


def reads(stage: Stage) -> tuple[Buffer, ...]:
    """What a stage reads, each once."""
    return tuple(dict.fromkeys(place.buffer for place in stage.sources))


def writes(stage: Stage) -> tuple[Buffer, ...]:
    """What a stage writes, each once."""
    return tuple(dict.fromkeys(place.buffer for place in targets(stage)))


def targets(stage: Stage) -> tuple[Placed, ...]:
    """Where a stage's results go."""
    return stage.targets if isinstance(stage, Product) else (stage.target,)


def scratch(stage: Stage) -> tuple[Buffer, ...]:
    """What a stage fills for itself, from DRAM, and reads."""
    moving = stage.moving if isinstance(stage, Product) else None
    return () if moving is None else (moving.buffer,)


@dataclass(frozen=True)
class Uncut:
    """A stage as one row."""

    stage: Stage

    @property
    def rows(self) -> int:
        """The whole."""
        return 1

    def strips(self, most: int) -> list[tuple[int, int]]:
        """One."""
        del most
        return [(0, 1)]

    def pieces(self, first: int, end: int) -> tuple[list[Piece], list[Piece]]:
        """All of all buffers."""
        del first, end
        read = [Piece(b, 0, b.size_bytes) for b in reads(self.stage)]
        return read, [Piece(b, 0, b.size_bytes) for b in writes(self.stage)]

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The same with its buffers where they lie now."""
        del first, end
        return _moved(self.stage, where)


@dataclass(frozen=True)
class _Rows:
    """A window operator or product in rows of its result."""

    stage: Product | Pass

    @property
    def rows(self) -> int:
        return _grid(self.stage).rows

    def strips(self, most: int) -> list[tuple[int, int]]:
        return _grid(self.stage).strips(most)

    def pieces(self, first: int, end: int) -> tuple[list[Piece], list[Piece]]:
        stage, rows = self.stage, _grid(self.stage)
        read = []
        for source, low, high in _readings(stage):
            part = Part.of(low, rows, first, end)
            start = low.base + part.skipped_bytes
            last = high.channels * DTYPES[source.dtype].itemsize
            stop = high.base + part.skipped_bytes + part.span_bytes + last
            read.append(Piece(source.buffer, start, stop))
        known = {piece.buffer for piece in read}
        read += [Piece(b, 0, b.size_bytes) for b in reads(stage) if b not in known]
        made = [
            Piece(
                target.buffer,
                first * rows.pixels * stride,
                (end * rows.pixels - 1) * stride + last,
            )
            for target, stride, last in _writings(stage)
        ]
        return _joined(read), _joined(made)

    def part(self, first: int, end: int, where: Where) -> Stage:
        stage, rows = self.stage, _grid(self.stage)
        outputs = (end - first) * rows.pixels
        moved = _moved(stage, where)

        def taken(source: Placed, d: Descriptor) -> Descriptor:
            return Part.of(d, rows, first, end).descriptor(d, where[source.buffer][1])

        if isinstance(stage, Product):
            assert isinstance(moved, Product), "of one kind"
            pairs = zip(moved.blocks, stage.blocks, strict=True)
            blocks = [
                replace(to, descriptor=taken(stage.source, block.descriptor))
                for to, block in pairs
            ]
            macs = stage.macs * outputs // stage.rows
            return replace(moved, macs=macs, rows=outputs, blocks=blocks)
        assert isinstance(moved, Pass), "of one kind"
        windows = zip(stage.sources, stage.descriptors, strict=True)
        return replace(
            moved, rows=outputs, descriptors=tuple(taken(*window) for window in windows)
        )


def _readings(stage: Product | Pass) -> list[tuple[Placed, Descriptor, Descriptor]]:
    """Operands, each with its windows of lowest and highest base: else they are alike."""
    if isinstance(stage, Pass):
        return [(s, d, d) for s, d in zip(stage.sources, stage.descriptors, strict=True)]
    windows = sorted((b.descriptor for b in stage.blocks), key=lambda d: d.base)
    return [(stage.source, windows[0], windows[-1])]


def _grid(stage: Product | Pass) -> Grid:
    d = stage.blocks[0].descriptor if isinstance(stage, Product) else stage.descriptors[0]
    return Grid.of(d, stage.rows)


def _writings(stage: Product | Pass) -> list[tuple[Placed, int, int]]:
    """Where results go; bytes from one pixel to the next, and to the end of a pixel."""
    if isinstance(stage, Pass):
        width = stage.descriptors[0].channels * DTYPES[stage.target.dtype].itemsize
        return [(stage.target, width, width)]
    end = max(block.start + block.shape[1] for block in stage.blocks)
    return [(e.target, e.table.stride, (e.offset + end) * e.width) for e in stage.epilogues]


def _moved(stage: Stage, where: Where) -> Stage:
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
    sources = tuple(at(source) for source in stage.sources)
    return replace(stage, sources=sources, target=at(stage.target))


def _operand_at(block: Block, at: Callable[[Placed], Placed]) -> Block:
    weights = block.weights
    if not isinstance(weights, Moving):
        return block
    return replace(block, weights=replace(weights, source=at(weights.source)))


def _joined(found: Sequence[Piece]) -> list[Piece]:
    spans: dict[Buffer, Piece] = {}
    for piece in found:
        held = spans.get(piece.buffer, piece)
        low, high = min(held.start, piece.start), max(held.end, piece.end)
        spans[piece.buffer] = Piece(piece.buffer, low, high)
    return list(spans.values())
