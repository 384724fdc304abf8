"""A stage in strips: what a strip reads and writes, and the stage of it alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.layout import Placed
from tetrapla.backends.systolic.memory.batches import Matrices
from tetrapla.backends.systolic.memory.channels import Channels
from tetrapla.backends.systolic.memory.pieces import (
    Cut,
    Piece,
    Pieces,
    Where,
    around,
    joined,
    moved,
    reads,
    writes,
)
from tetrapla.backends.systolic.memory.slices import Slices
from tetrapla.backends.systolic.memory.windows import Grid, Part
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.vector.operators import Pass
from tetrapla.backends.systolic.vector.routines import GatherStage, RoutineStage
from tetrapla.ir.graph import DTYPES
from tetrapla.simulators.systolic.tables import Descriptor


def cuts(stage: Stage, machine: Machine) -> list[Cut]:
    """The ways to cut a stage; the first leaves it whole.

    Args:
        stage: to be cut.
        machine: whose tiles and slots say how channels are cut.
    """
    found: list[Cut] = [Uncut(stage)]
    if isinstance(stage, GatherStage):
        return found
    if isinstance(stage, RoutineStage):
        return [*found, *_worth(Slices(stage))]
    if isinstance(stage, Product) and any(block.at is not None for block in stage.blocks):
        found.append(Matrices(stage))
    found += _worth(_Rows(stage))
    if isinstance(stage, Product):
        found += Channels.of(stage, found[-1], machine)
    return found


def _worth(cut: Cut) -> list[Cut]:
    """The cut, where it has strips or leaves some of what its buffers hold."""
    if cut.rows > 1:
        return [cut]
    pieces = around(cut.pieces(0, cut.rows))
    return [cut] if any(p.bytes < p.buffer.size_bytes for p in pieces) else []


@dataclass(frozen=True)
class Uncut:
    """A stage as one row."""

    stage: Stage

    @property
    def groups(self) -> int:
        """One."""
        return 1

    @property
    def rows(self) -> int:
        """The whole."""
        return 1

    def strips(self, most: int) -> list[tuple[int, int]]:
        """One."""
        del most
        return [(0, 1)]

    def pieces(self, first: int, end: int) -> Pieces:
        """All of all buffers."""
        del first, end
        read = [Piece(b, 0, b.size_bytes) for b in reads(self.stage)]
        return read, [Piece(b, 0, b.size_bytes) for b in writes(self.stage)]

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The same with its buffers where they lie now."""
        del first, end
        return moved(self.stage, where)


@dataclass(frozen=True)
class _Rows:
    """A window operator or product in rows of its result."""

    stage: Product | Pass

    @property
    def groups(self) -> int:
        """One."""
        return 1

    @property
    def rows(self) -> int:
        return _grid(self.stage).rows

    def strips(self, most: int) -> list[tuple[int, int]]:
        return _grid(self.stage).strips(most)

    def pieces(self, first: int, end: int) -> Pieces:
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
        made = []
        for target, stride, begin, finish in _writings(stage):
            start = first * rows.pixels * stride + begin // stride * stride
            stop = (end * rows.pixels - 1) * stride + finish
            made.append(Piece(target.buffer, start, stop))
        return joined(read), joined(made)

    def part(self, first: int, end: int, where: Where) -> Stage:
        stage, rows = self.stage, _grid(self.stage)
        outputs = (end - first) * rows.pixels
        there = moved(stage, where)
        assert isinstance(there, Product | Pass), "moving changes no kind"

        above = [
            first * rows.pixels * stride + begin - where[target.buffer][1]
            for target, stride, begin, _ in _writings(stage)
        ]

        def taken(source: Placed, d: Descriptor) -> Descriptor:
            return Part.of(d, rows, first, end).descriptor(d, where[source.buffer][1])

        if isinstance(stage, Product):
            assert isinstance(there, Product), "of one kind"
            pairs = zip(there.blocks, stage.blocks, strict=True)
            blocks = [
                replace(to, descriptor=taken(stage.source, block.descriptor))
                for to, block in pairs
            ]
            macs = stage.macs * outputs // stage.rows
            epilogues = [
                replace(e, offset=skipped // e.width)
                for e, skipped in zip(there.epilogues, above, strict=True)
            ]
            return replace(there, macs=macs, rows=outputs, blocks=blocks, epilogues=epilogues)
        assert isinstance(there, Pass), "of one kind"
        windows = zip(stage.sources, stage.descriptors, strict=False)  # then come constants
        return replace(
            there,
            rows=outputs,
            descriptors=tuple(taken(*window) for window in windows),
            offset=above[0],
            macs=stage.macs * outputs // stage.rows,
        )


def _readings(stage: Product | Pass) -> list[tuple[Placed, Descriptor, Descriptor]]:
    """Operands, each with its windows of lowest and highest base: else they are alike."""
    if isinstance(stage, Pass):
        pairs = zip(stage.sources, stage.descriptors, strict=False)  # then come constants
        return [(source, d, d) for source, d in pairs]
    windows = sorted((b.descriptor for b in stage.blocks), key=lambda d: d.base)
    return [(stage.source, windows[0], windows[-1])]


def _grid(stage: Product | Pass) -> Grid:
    d = stage.blocks[0].descriptor if isinstance(stage, Product) else stage.descriptors[0]
    return Grid.of(d, stage.rows)


def _writings(stage: Product | Pass) -> list[tuple[Placed, int, int, int]]:
    """Where results go; bytes from one pixel to the next; first byte and end of the first."""
    if isinstance(stage, Pass):
        width = stage.descriptors[0].channels * DTYPES[stage.target.dtype].itemsize
        stride = stage.descriptors[0].out_stride or width
        return [(stage.target, stride, stage.offset, stage.offset + width)]
    end = max(block.start + block.shape[1] for block in stage.blocks)
    return [
        (e.target, e.table.stride, e.offset * e.width, (e.offset + end) * e.width)
        for e in stage.epilogues
    ]
