"""A float model's weights as one chip would hold them, for training with a chip's errors.

Every constant matrix is rounded to 8 bits by output, cut onto the chip's arrays, programmed and
left to drift, and read back with one draw of the noise of reads: the cells are those of a
simulation (`cells.programmed`), faults, wires and recovery included. What is left out: the
range and the rounding of converters, and what arrays do that are not one matrix (gated ones
with wires, cells that are not linear).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tetrapla.backends.analog.tiles import slices, tiles
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Node
from tetrapla.ir.module import Module
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.cells import Cells, programmed
from tetrapla.simulators.analog.mapping import Columns, columns
from tetrapla.simulators.analog.program import Product
from tetrapla.simulators.analog.spec import INPUT_BITS, AnalogSpec
from tetrapla.simulators.random_ import Key

_TOP: Final = 127  # of a signed byte


@dataclass(frozen=True)
class Matrix:
    """A weight that lies on arrays.

    Attributes:
        symbol: its name in the module.
        number: of its arrays, for the random numbers.
        filters: whether it is that of a convolution, [outputs, ...], else [rows, outputs].
        groups: of a convolution.
    """

    symbol: str
    number: int
    filters: bool
    groups: int

    def rows(self, weight: Array) -> Array:
        """The weight as [rows of a group, outputs]."""
        return weight.reshape(len(weight), -1).T if self.filters else weight

    def back(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """[rows of a group, outputs] in the weight's shape."""
        return (rows.T if self.filters else rows).reshape(shape)


@dataclass(frozen=True)
class Chips:
    """Chips of one kind, each with its own errors, that a model's weights are put onto.

    Attributes:
        spec: the kind.
        matrices: the model's.
    """

    spec: AnalogSpec
    matrices: tuple[Matrix, ...] = field(default_factory=tuple)

    def held(self, weights: Mapping[str, Array], key: Key) -> dict[str, Array]:
        """The matrices' weights as the chip of a key holds them, by symbol."""
        return {
            each.symbol: self._one(each, weights[each.symbol], key) for each in self.matrices
        }

    def _one(self, matrix: Matrix, weight: Array, key: Key) -> Array:
        rows = matrix.rows(weight).astype(np.float64)
        largest = np.abs(rows).max(axis=0, initial=0)
        scale = np.where(largest > 0, largest, 1.0) / _TOP
        product = product_of(np.rint(rows / scale).astype(np.int16), matrix, self.spec)
        found = on_arrays(product, self.spec, key) * scale
        return matrix.back(found, weight.shape).astype(weight.dtype)


def chips(module: Module, spec: AnalogSpec) -> Chips:
    """What a float module puts onto chips of a kind: products with constant matrices.

    Raises:
        UnsupportedError: it has none.
    """
    found = tuple(_matrices(module))
    if not found:
        raise UnsupportedError(
            f"{spec.name}: model '{module.name}' must have a product or a convolution with "
            "constant weights to be trained for arrays, not none"
        )
    return Chips(spec, found)


def on_arrays(product: Product, spec: AnalogSpec, key: Key) -> Array:
    """The matrix that a chip's arrays stand for, f64 [rows of a group, outputs]."""
    rows, outputs = product.matrix.shape
    total = np.zeros((rows * product.groups, outputs))
    for number, tile in enumerate(product.tiles):
        held, made = programmed(product, number, spec, key), columns(product, tile, spec)
        levels = held.levels.astype(np.float64)
        if held.read_sd is not None:
            address = key.at(layer=product.number, tile=number)
            levels = levels + _read(held, made, spec, address)
        weights = made.totals(levels / made.lsb()) - made.digital_offset
        area = slice(tile.row_start, tile.row_stop), slice(tile.col_start, tile.col_stop)
        order = np.arange(tile.rows) if held.order is None else held.order
        found = np.empty((tile.rows, tile.outputs))
        found[order] = weights
        total[area] += found
    if product.groups == 1:
        return total
    # each output's own rows: what lies between groups multiplies inputs of others
    group = np.arange(outputs) // (outputs // product.groups)
    place = group[None, :] * rows + np.arange(rows)[:, None]
    return np.take_along_axis(total, place, axis=0)


def _read(held: Cells, made: Columns, spec: AnalogSpec, address: Key) -> Array:
    """One draw of what reads add, in levels [rows, conversions]."""
    assert held.read_sd is not None
    sd = held.read_sd if held.gain is None else held.read_sd * held.gain
    variance = made.spread(sd * sd)
    if held.reference is not None:
        variance = variance * held.reference.scale**2
    z = noise.of_cells(address, noise.READ, variance.shape)
    return np.asarray(np.sqrt(variance * read_share(spec)) * z)


def read_share(spec: AnalogSpec) -> float:
    """Of a read's variance, what is left where every digit is a read of its own.

    An input u = sum_t B^t d_t adds sum_t B^2t d_t^2 s^2, a weight that is off adds u^2 s^2:
    their quotient for even digits.
    """
    base = 1 << spec.dac.bits
    places = float(base) ** np.arange(spec.digits)
    mean, square = (base - 1) / 2, (base - 1) * (2 * base - 1) / 6
    whole = (places**2).sum() * (square - mean**2) + (places.sum() * mean) ** 2
    return float((places**2).sum() * square / whole)


def _matrices(module: Module) -> Iterator[Matrix]:
    graph, seen = module.graph, set[str]()
    for node in graph.nodes:
        if not _on_arrays(node) or not graph.is_weight(node.operands[1]):
            continue
        symbol = graph.constants[node.operands[1].index]
        if symbol not in seen and symbol in module.weights:
            groups = node.int("groups") if node.kind == "nn.conv2d" else 1
            yield Matrix(symbol, len(seen), node.kind == "nn.conv2d", groups)
            seen.add(symbol)


def _on_arrays(node: Node) -> bool:
    if node.kind == "nn.conv2d":
        return True
    return node.kind == "nn.matmul" and len(node.operands[1].shape) == 2


def product_of(matrix: Array, of: Matrix, spec: AnalogSpec) -> Product:
    """A product of a matrix alone, as the machine programs it."""
    rows, outputs = matrix.shape
    count = slices(matrix, spec)
    return Product(
        name=of.symbol,
        op="qnn.conv2d" if of.filters else "qnn.matmul",
        number=of.number,
        operand=0,
        result=1,
        x_zero_point=0,
        x_low=-(1 << INPUT_BITS - 1),
        matrix=matrix,
        bias=np.zeros(outputs, np.int64),
        window=None,
        slices=count,
        tiles=tiles(rows * of.groups, outputs, of.groups, count, spec),
        macs=rows * outputs,
        groups=of.groups,
    )
