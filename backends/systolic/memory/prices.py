"""What a stage in strips costs, in bytes at the pace of DRAM.

Traffic that it causes: what its strips load and store, halos of windows, access descriptors,
weights that are read again for every strip where the weight memory does not hold them. To
that come the cycles of the work, which short strips make longer, and those in which nothing
works beside a transfer.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.layout import Buffer, Moving
from tetrapla.backends.systolic.memory.channels import Channels
from tetrapla.backends.systolic.memory.splits import CutList, Split
from tetrapla.backends.systolic.memory.strips import Uncut
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.vector.routines import GatherStage, RoutineStage
from tetrapla.simulators.systolic.tables import DESCRIPTOR_BYTES


@dataclass(frozen=True)
class Prices:
    """The prices of one stage.

    Attributes:
        lanes: of the vector unit.
        leaving: buffers that the host gets in the end: stored once anyway.
        updated: results that hold something already.
    """

    stage: Stage
    machine: Machine
    lanes: int
    leaving: Set[Buffer]
    updated: Set[Buffer]

    def of(self, split: Split) -> int:
        """Of one way to cut it."""
        strips, total = split.strips, 0
        for buffer in split.streams:
            loaded = strips.changed_bytes if buffer in self.updated else strips.read_bytes
            total += loaded[buffer]
            total += 0 if buffer in self.leaving else strips.made_bytes[buffer]
        blocks = len(self.stage.blocks) if isinstance(self.stage, Product) else 1
        total += len(strips.ends) * blocks * DESCRIPTOR_BYTES
        work_bytes = self._work_bytes(split)
        total += self._weights_bytes(split) + work_bytes
        return total + min(_alone_bytes(split), work_bytes)

    def least(self) -> int:
        """The work and the weights, which no way to cut it makes fewer."""
        whole = Uncut(self.stage)
        split = Split(whole, CutList(whole).of(1), {}, 0)
        return self._work_bytes(split) + self._weights_bytes(split)

    def _work_bytes(self, split: Split) -> int:
        """How long the array or the vector unit is busy, about."""
        stage, machine = self.stage, self.machine
        if isinstance(stage, Product):
            least = machine.rows + 2  # a shorter strip waits for the next weights
            tiles = sum(_tiles(block.shape, machine) for block in stage.blocks)
            rows = (stage.rows * (end - a) // split.cut.rows for a, end in split.strips.ends)
            cycles = tiles * sum(max(count, least) for count in rows) // split.cut.groups
        elif isinstance(stage, RoutineStage | GatherStage):
            cycles = stage.cycles(self.lanes)
        else:
            d = stage.descriptors[0]
            cycles = stage.rows * d.taps * -(-d.channels // self.lanes)
        return int(cycles / machine.byte_cycles)

    def _weights_bytes(self, split: Split) -> int:
        """Weights read from DRAM; each strip of rows goes over all tiles, or a group's."""
        stage, machine = self.stage, self.machine
        if not isinstance(stage, Product) or stage.moving is not None:
            return 0
        tiles, all_bytes = 0, 0
        for block in stage.blocks:
            if not isinstance(block.weights, Moving):
                taps, channels = block.shape
                tiles += _tiles(block.shape, machine)
                all_bytes += taps * channels * block.weights.itemsize
        if isinstance(split.cut, Channels) and split.cut.outside:
            tiles = -(-tiles // split.cut.groups)  # of a group: that is what must be kept
        # of a cycle of tiles all slots but one keep theirs, that one serves all the others
        slots = machine.weight_tiles
        again = max(0, tiles - (slots if tiles <= slots else slots - 1))
        return all_bytes + (len(split.strips.ends) // split.cut.groups - 1) * (
            all_bytes * again // max(tiles, 1)
        )


def _alone_bytes(split: Split) -> int:
    """What moves while nothing works, because a strip has no second place."""
    places, strips = split.streams, split.strips
    if len(strips.ends) == 1 or any(len(each) > 1 for each in places.values()):
        return 0
    return sum(strips.side_bytes[buffer] for buffer in places)


def _tiles(shape: tuple[int, int], machine: Machine) -> int:
    return -(-shape[0] // machine.rows) * -(-shape[1] // machine.cols)
