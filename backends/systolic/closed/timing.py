"""How long a network takes: a recurrence over its layers, for all designs at once.

The machine's dispatcher is in order, so a layer begins when the results of the one before are
written. Its array works for `Tiles.busy` cycles unless the weights come more slowly: DRAM reads
as many tiles ahead as there are slots, beside this layer and the ones before it, and each
takes a latency that the slots must hide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.backends.systolic.closed.network import Network, PassShape, ProductShape
from tetrapla.backends.systolic.closed.tiles import Designs, Floats, Tiles, tiles_of
from tetrapla.backends.systolic.trials import MOST_INSTRUCTIONS, SHARES, TILES

_AT_ONCE = 2  # tiles that are loaded before the input
_SENT = 4  # cycles from the last result to the next layer's first instruction
_VECTOR = 4  # likewise beside the work of an instruction of the vector unit


def chosen(network: Network, designs: Designs) -> Designs:
    """The designs with the tiles and sums that the compiler's trials would use.

    Short programs are made for several sizes of both memories, and the fastest is kept
    (`trials.py`).
    """
    accumulators, tiles = designs.accumulators.copy(), designs.tiles.copy()
    short = np.flatnonzero(_instructions(network, designs) <= MOST_INSTRUCTIONS)
    if not short.size:
        return designs
    mask = np.zeros(len(tiles), np.bool_)
    mask[short] = True
    part = designs.only(mask)
    best = cycles(network, part)
    for count in TILES:
        tried = part.using(part.accumulators, np.minimum(designs.tiles[short], count))
        allowed = (count >= 2) & (count < designs.tiles[short])
        best, part = _better(network, part, tried, allowed, best)
    for share in SHARES:
        fewer = np.floor(designs.accumulators[short] / share)
        allowed = fewer >= 2 * (part.rows + part.cols)
        best, part = _better(network, part, part.using(fewer, part.tiles), allowed, best)
    accumulators[short], tiles[short] = part.accumulators, part.tiles
    return designs.using(accumulators, tiles)


def _better(
    network: Network, now: Designs, tried: Designs, allowed: np.ndarray, best: Floats
) -> tuple[Floats, Designs]:
    """The faster of two, design by design; the present one where the other is not allowed."""
    if not allowed.any():
        return best, now
    found = np.full(len(best), np.inf)
    found[allowed] = cycles(network, tried.only(allowed))
    faster = found < best
    sums = np.where(faster, tried.accumulators, now.accumulators)
    return np.where(faster, found, best), now.using(
        sums, np.where(faster, tried.tiles, now.tiles)
    )


def cycles(network: Network, designs: Designs) -> Floats:
    """Cycles of one invocation, with the tiles and sums that the designs have."""
    made = {s: tiles_of(s, designs) for s in network.stages if isinstance(s, ProductShape)}
    products = [made[s] for s in network.stages if isinstance(s, ProductShape)]
    rows, cols, ahead = designs.rows, designs.cols, designs.ahead
    latency, filled = designs.latency_cycles, rows + cols
    now = designs.host_latency_cycles + network.arriving_bytes * designs.host_byte_cycles + 2
    early = _coming(products, 0, np.minimum(_AT_ONCE, ahead))
    read = _coming(products, 0, ahead + 1)  # cycles of all tiles up to those ahead
    loaded = np.minimum(early, now) + read - early  # when they are there
    before, number = np.zeros(len(rows)), 0
    for shape in network.stages:
        if isinstance(shape, PassShape):
            now = now + _issued(shape, designs) + _VECTOR
            continue
        tiles = products[number]
        number += 1
        before = before + tiles.load_cycles
        total = before + _coming(products, number, ahead + 1)
        each = tiles.load_cycles / tiles.shifts
        following = _one(products, number)
        start = np.maximum(now + 1, loaded - ahead * each + latency + rows + 1)
        fed = start + _busy(tiles, designs)
        beside = np.maximum(loaded, start) + total - read
        loaded, read = np.maximum(beside, fed - tiles.last + following), total
        fed = np.maximum(fed, loaded - 2 * following + tiles.last)
        width = sum(shape.results)
        left = np.maximum(fed + filled, loaded - following) + tiles.last * width
        written = tiles.across * (shape.rows * width)
        now = np.maximum(left, start + tiles.part + filled + written) + _SENT
    leaving = network.leaving_bytes * designs.host_byte_cycles
    return np.ceil(np.maximum(now, loaded) + leaving + designs.host_latency_cycles + 2)


def _issued(shape: PassShape, designs: Designs) -> Floats:
    """Cycles of the vector unit."""
    issued: Floats = shape.rows * shape.pixels * np.ceil(shape.channels / designs.lanes)
    return issued


def _busy(tiles: Tiles, designs: Designs) -> Floats:
    """Cycles of the array, where a slot is filled again after a latency that others hide."""
    each = tiles.load_cycles / tiles.loads + designs.latency_cycles + 3
    slow = np.where(tiles.loads > designs.ahead, tiles.loads * each / designs.ahead, 0.0)
    return np.maximum(tiles.busy, slow)


def _coming(products: Sequence[Tiles], first: int, count: Floats) -> Floats:
    """Cycles that DRAM takes for so many tiles from a product's first on."""
    left, total = count.astype(np.float64), np.zeros(len(count))
    for tiles in products[first:]:
        taken = np.minimum(left, tiles.shifts)
        total += taken * (tiles.load_cycles / tiles.shifts)
        left = left - taken
        if not left.any():
            break
    return total


def _one(products: Sequence[Tiles], number: int) -> Floats | float:
    """Cycles that DRAM takes for a tile of a product; none behind the last one."""
    if number == len(products):
        return 0.0
    return products[number].load_cycles / products[number].shifts


def _instructions(network: Network, designs: Designs) -> Floats:
    """About how many instructions the program has."""
    total = np.full(len(designs.rows), 4.0)
    made: dict[ProductShape, Floats] = {}
    for shape in network.stages:
        if isinstance(shape, PassShape):
            total += 4
            continue
        if shape not in made:
            tiles, epilogues = tiles_of(shape, designs), len(shape.results)
            multiplied = tiles.across * tiles.down * tiles.passes
            requantized = epilogues * tiles.across * (tiles.passes + 1)
            made[shape] = multiplied + tiles.shifts + tiles.loads + requantized + 2
        total += made[shape]
    return total
