"""Places of cores on the mesh: simulated annealing of packets times hops, from a given start.

Cores that share a tile meet without a hop, so two kinds of change are tried: two slots change
their cores, or two tiles change all of theirs. Only as many tiles are used as the cores need:
a barrier takes longer with more. Kirkpatrick, Gelatt, Vecchi, Science 220 (1983); numbers are
drawn by address, so a seed always gives the same places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key, uniforms
from tetrapla.simulators.spiking.spec import SpikingSpec

PLACES = 0x504C  # the purpose of the draws

# assumed: more changes found no better place in networks of 2 to 128 cores
_CHANGES, _PER_CORE, _MOST = 24_000, 200, 60_000
_STARTS = 8  # annealings that share the changes, of few cores; of many one has all
_FEW = 16  # cores
_AGREED = 3  # annealings in which nothing better was found, after which there is no other
_COOLED = 0.01  # the last temperature, as a share of the first
_HOTTEST = 0.7  # the first, as a share of what a random change costs


def hops(packets: Array, tiles: Array, spec: SpikingSpec) -> int:
    """Links that the packets cross, XY.

    Args:
        packets: int64 [n, n], from row to column.
        tiles: int64 [n], each one's tile.
        spec: with the mesh.
    """
    x, y = np.divmod(tiles, spec.mesh.tiles_y)
    apart = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    return int((packets * apart).sum())


def places(packets: Array, spec: SpikingSpec, key: Key) -> Array:
    """Core numbers for the cores, int64 [cores]; never more hops than in their order.

    Args:
        packets: int64 [cores + 1, cores + 1] from core to core; last the host, in tile 0.
        spec: with the mesh.
        key: of the draws.
    """
    cores = len(packets) - 1
    board = _Board(packets, spec)
    if board.cost:
        _anneal(board, key.at(purpose=PLACES))
    return board.numbers(cores)


class _Board:
    """Cores, free slots and the host on tiles; `cost` counts hops.

    Plain lists: a change looks at few numbers, one by one.
    """

    def __init__(self, packets: Array, spec: SpikingSpec) -> None:
        cores, self.each = len(packets) - 1, spec.mesh.cores_per_tile
        self.tiles, self._rows = spec.mesh.tiles_x * spec.mesh.tiles_y, spec.mesh.tiles_y
        self.slots = -(-cores // self.each) * self.each
        # free slots have no traffic; the host is behind them and never moves
        both = packets + packets.T
        np.fill_diagonal(both, 0)
        self._near: list[list[tuple[int, int]]] = [[] for _ in range(self.slots + 1)]
        for a, b in zip(*(each.tolist() for each in np.nonzero(both)), strict=True):
            ends = [each if each < cores else self.slots for each in (a, b)]
            self._near[ends[0]].append((ends[1], int(both[a, b])))
        self.tile = [*(slot // self.each for slot in range(self.slots)), 0]
        order = np.append(np.arange(cores) // self.each, 0)
        self.cost = hops(packets, order, spec)
        self._first = list(self.tile), self.cost
        self._best = self._first

    @property
    def least(self) -> int:
        """The lowest cost so far."""
        return self._best[1]

    def proposed(self, row: Sequence[float]) -> dict[int, int]:
        """A change from numbers in (0, 1): new tiles of the slots that move."""
        a = int(row[1] * self.slots)
        if row[0] < 0.5 and self.each > 1:
            b = int(row[2] * self.slots)
            return {a: self.tile[b], b: self.tile[a]}
        here = self.tile[a]
        there = self._around(self.tile[int(row[2] * (self.slots + 1))], row)
        other = {here: there, there: here}
        return {i: other[t] for i, t in enumerate(self.tile[:-1]) if t in other}

    def _around(self, tile: int, row: Sequence[float]) -> int:
        """A tile at most two steps each way from one that is used: far ones are empty."""
        x, y = divmod(tile, self._rows)
        columns = self.tiles // self._rows
        x = min(max(x + int(5 * row[4]) - 2, 0), columns - 1)
        y = min(max(y + int(5 * row[5]) - 2, 0), self._rows - 1)
        return x * self._rows + y

    def change(self, moved: Mapping[int, int]) -> int:
        """What a change adds to the cost."""
        outside = inside = 0
        for item, to in moved.items():
            here = self.tile[item]
            for other, packets in self._near[item]:
                was = self.tile[other]
                if other in moved:  # this pair is met twice
                    longer = self._apart(to, moved[other]) - self._apart(here, was)
                    inside += packets * longer
                else:
                    longer = self._apart(to, was) - self._apart(here, was)
                    outside += packets * longer
        return outside + inside // 2

    def take(self, moved: Mapping[int, int], change: int) -> None:
        """Make a change."""
        for item, to in moved.items():
            self.tile[item] = to
        self.cost += change
        if self.cost < self._best[1]:
            self._best = list(self.tile), self.cost

    def restart(self) -> None:
        """Go back to the order of the cores."""
        self.tile, self.cost = list(self._first[0]), self._first[1]

    def numbers(self, cores: int) -> Array:
        """By core the number of its best place: ascending within a tile."""
        tiles = np.array(self._best[0][:cores])
        found = np.empty(cores, np.int64)
        for tile in np.unique(tiles):
            here = np.flatnonzero(tiles == tile)
            found[here] = tile * self.each + np.arange(len(here))
        return found

    def _apart(self, a: int, b: int) -> int:
        rows = self._rows
        return abs(a // rows - b // rows) + abs(a % rows - b % rows)


def _anneal(board: _Board, key: Key) -> None:
    starts = _STARTS if board.slots <= _FEW else 1
    count = min(max(_CHANGES, _PER_CORE * board.slots), _MOST) // starts
    agreed = 0
    for start in range(starts):
        before = board.least
        draws: list[list[float]] = uniforms(key.at(read=start), (count, 6)).tolist()
        board.restart()
        costs = [abs(board.change(board.proposed(row))) for row in draws[:50]]
        heat = max(1.0, _HOTTEST * sum(costs) / len(costs))
        cooling = _COOLED ** (1 / count)
        for row in draws:
            moved = board.proposed(row)
            change = board.change(moved)
            if change <= -heat * log(row[3]):
                board.take(moved, change)
            heat *= cooling
        agreed = 0 if board.least < before else agreed + 1
        if agreed == _AGREED:
            break
