"""What a network does on each design, by action: what `counts.py` of the simulator counts."""

from __future__ import annotations

import numpy as np

from tetrapla.backends.systolic.closed.network import Network, PassShape, ProductShape, Shape
from tetrapla.backends.systolic.closed.tiles import Designs, Floats, tiles_of


def actions(network: Network, designs: Designs) -> dict[str, Floats]:
    """Counts of one invocation by action, an entry for each design."""
    total: dict[str, Floats] = {}
    count = len(designs.rows)
    made: dict[Shape, dict[str, Floats | float]] = {}
    moved = network.arriving_bytes, network.leaving_bytes
    found: list[dict[str, Floats | float]] = [
        {
            "host_link.byte": float(sum(moved)),
            "unified_buffer.write_byte": float(moved[0]),
            "unified_buffer.read_byte": float(moved[1]),
        }
    ]
    for shape in network.stages:
        if shape not in made:
            made[shape] = _counts(shape, designs)
        found.append(made[shape])
    for each in found:
        for name, number in each.items():
            if name not in total:
                total[name] = np.zeros(count)
            total[name] += number
    return total


def _counts(shape: Shape, designs: Designs) -> dict[str, Floats | float]:
    return _product(shape, designs) if isinstance(shape, ProductShape) else _pass(shape)


def _product(shape: ProductShape, designs: Designs) -> dict[str, Floats | float]:
    tiles, rows, cols = tiles_of(shape, designs), designs.rows, designs.cols
    results = shape.rows * shape.columns
    useful, weights = results * shape.taps, shape.taps * shape.columns
    fed = tiles.across * tiles.down * shape.rows
    rounds = np.where(tiles.down == 1, 1.0, tiles.passes)
    added, epilogues = results * (tiles.down - 1), len(shape.results)
    slots = tiles.weight_bytes * (shape.element_bytes / shape.stored_bytes)
    return {
        f"mac.{shape.format}": float(useful),
        "mac.idle": fed * rows * cols - useful,
        "array.shift_byte": tiles.shifts * cols * rows * (rows + 1) / 2 * shape.element_bytes,
        "weight_memory.write_byte": slots,
        "weight_memory.read_byte": weights * rounds * shape.element_bytes,
        "dram.read_byte": tiles.weight_bytes + tiles.table_bytes,
        "unified_buffer.read_byte": tiles.across
        * (shape.rows * shape.taps * shape.moved_bytes),
        "unified_buffer.write_byte": float(results * sum(shape.results)),
        "accumulator.write_byte": shape.sum_bytes * results * tiles.down,
        "accumulator.read_byte": shape.sum_bytes * (added + results * epilogues),
        "accumulator.add": added,
        "requantize.op": float(results * epilogues),
    }


def _pass(shape: PassShape) -> dict[str, Floats | float]:
    made = shape.rows * shape.channels
    return {
        "vector.op": float(made * shape.operands),
        "unified_buffer.read_byte": float(made * shape.operands),
        "unified_buffer.write_byte": float(made),
        "dram.read_byte": float(shape.table_bytes),
    }
