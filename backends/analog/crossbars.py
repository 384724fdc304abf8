"""A program's products as operators of the dialect `crossbar`: what the chip means, exactly.

    before   %y = qnn.matmul(%x, @w, @b)      after   %l = crossbar.map(@fc.tile0)
                                                      %g = crossbar.program(%l, ...)
                                                      %v = crossbar.dac(%x)
                                                      %i = crossbar.mvm(%g, %v)
                                                      %c = crossbar.adc(%i, @fc.lsb)
                                                      %s = crossbar.shift_add(%c)
                                                      %y = crossbar.combine(%s, @fc.constant0)

and so for every tile; what several tiles give of an output is added. A convolution's windows
are slices of the padded image, one for each tap. Cells are exact, and converters have the bits
that tell every sum of their tile apart, so the interpreter gives the integers of the reference:
this is what the mapping means, with every non-ideality off. Copies of a layer are one here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.crossbar.mapping import Layout, largest_sum, lossless_bits
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.module import Module
from tetrapla.passes.rebuild_ import Rebuild
from tetrapla.simulators.analog.program import Product, Program, Tile, Window

WIDEST: Final = 31  # bits of a code in the dialect
MOST_TILES: Final = 4096  # assumed: they make 8 MB of text, which few will read
_INPUT_BITS: Final = 8


def crossbars(module: Module, program: Program) -> Module:
    """The module with every product of its program on crossbars.

    Args:
        module: what the program was compiled from, `Lowered.module`.
        program: whose products are those of the module's nodes that make the same values.

    Raises:
        IRError: a converter would need more than `WIDEST` bits.
    """
    products = {product.result: product for product in program.products}
    new = Rebuild(module)
    for node in new.graph.nodes:
        product = products.get(node.results[0].index) if node.results else None
        if product is None:
            new.copy(node)
        else:
            emitter = _Emitter(new.builder, product, program)
            new.set(node.result, emitter.result(new.of(node.operands[0]), node.result))
    return new.finish()


def converter_bits(program: Program) -> int:
    """Bits with which every converter tells every sum apart."""
    most = max((t.rows for step in program.products for t in step.tiles), default=0)
    bits = lossless_bits(most, program.cell_bits, program.dac_bits, program.pairs)
    return bits + program.signed


def left_out(program: Program) -> str:
    """Why `compile` does not write a program's `crossbars`; nothing where it does."""
    if program.shape_only:
        return "crossbar.mlir is left out: the weights are not known"
    tiles = sum(len(step.tiles) for step in program.products)
    if tiles > MOST_TILES:
        return f"crossbar.mlir is left out: it is written of {MOST_TILES} tiles, not {tiles}"
    bits = converter_bits(program)
    if bits > WIDEST:
        return (
            f"crossbar.mlir is left out: its converters have {WIDEST} bits, not the {bits} "
            "that tell every sum apart"
        )
    return ""


class _Emitter:
    """Writes one product."""

    def __init__(self, builder: ModuleBuilder, product: Product, program: Program) -> None:
        self._builder = builder
        self._product = product
        self._dac_bits = program.dac_bits
        self._signed = program.signed
        self._layout = Layout(program.weights, program.cell_bits, product.slices, program.pairs)

    def result(self, x: Value, wanted: Value) -> Value:
        """The accumulators, in the shape and type of the operator's result."""
        product = self._product
        rows, shape = self._driven(x, wanted.shape)
        sums = self._outputs(rows)
        sums = self._op("nn.cast", [sums], {"dtype": wanted.dtype}, "wrapped")
        full = (*shape, len(product.bias))
        if product.window is None:
            return self._op("nn.reshape", [sums], {"shape": full}, "")
        sums = self._op("nn.reshape", [sums], {"shape": full}, "places")
        return self._op("nn.transpose", [sums], {"perm": (0, 3, 1, 2)}, "")

    def _driven(self, x: Value, wanted: tuple[int, ...]) -> tuple[Value, tuple[int, ...]]:
        """What drives the rows, [vectors, rows], and the vectors' own axes."""
        window, rows = self._product.window, self._product.rows
        if window is None:
            flat = (x.elements // rows, rows)
            return self._op("nn.reshape", [x], {"shape": flat}, "vectors"), wanted[:-1]
        images, (high, wide) = x.shape[0], wanted[2:]
        padded = self._padded(x, window)
        taps = self._taps(padded, window, (high, wide))
        # a row of the matrix reads channel c, then line and column of the kernel
        moved = self._op("nn.transpose", [taps], {"perm": (0, 3, 4, 1, 2)}, "windows")
        flat = (images * high * wide, rows)
        driven = self._op("nn.reshape", [moved], {"shape": flat}, "vectors")
        return driven, (images, high, wide)

    def _padded(self, x: Value, window: Window) -> Value:
        top, left, bottom, right = window.pads
        if not any(window.pads):
            return x
        pads = (0, 0, top, left, 0, 0, bottom, right)
        fill = float(self._product.x_zero_point)
        attributes: dict[str, Attribute] = {"pads": pads, "mode": "constant", "value": fill}
        return self._op("nn.pad", [x], attributes, "padded")

    def _taps(self, x: Value, window: Window, places: tuple[int, int]) -> Value:
        """What every tap of the kernel sees, [images, channels, taps, high, wide]."""
        images, channels = x.shape[:2]
        found: Value | None = None
        for line in range(window.kernel[0]):
            for column in range(window.kernel[1]):
                starts = line * window.dilations[0], column * window.dilations[1]
                cut: dict[str, Attribute] = {
                    "starts": (0, 0, *starts),
                    "sizes": (images, channels, *places),
                    "steps": (1, 1, *window.strides),
                }
                seen = self._op("nn.slice", [x], cut, "tap")
                shape = (images, channels, 1, *places)
                seen = self._op("nn.reshape", [seen], {"shape": shape}, "tap")
                if found is None:
                    found = seen
                else:
                    found = self._op("nn.concat", [found, seen], {"axis": 2}, "taps")
        assert found is not None, "a kernel has a tap"
        return found

    def _outputs(self, rows: Value) -> Value:
        """Sums of all tiles, i64 [vectors, outputs]."""
        inputs: dict[tuple[int, int], Value] = {}
        columns: dict[tuple[int, int], Value] = {}
        for number, tile in enumerate(self._product.tiles):
            span = tile.row_start, tile.row_stop
            if span not in inputs:
                inputs[span] = self._inputs(rows, tile)
            place = tile.col_start, tile.col_stop
            first = place not in columns
            made = self._tile(number, inputs[span], self._constant(tile, first))
            if not first:
                made = self._op("nn.add", [columns[place], made], {}, "partial")
            columns[place] = made
        found, *others = (columns[place] for place in sorted(columns))
        for other in others:
            found = self._op("nn.concat", [found, other], {"axis": 1}, "outputs")
        return found

    def _inputs(self, rows: Value, tile: Tile) -> Value:
        if tile.rows == rows.shape[1]:
            return rows
        cut: dict[str, Attribute] = {
            "starts": (0, tile.row_start),
            "sizes": (rows.shape[0], tile.rows),
            "steps": (1, 1),
        }
        return self._op("nn.slice", [rows], cut, "inputs")

    def _tile(self, number: int, rows: Value, constant: Array) -> Value:
        """What a tile, which has DACs of its own, gives of its outputs."""
        tile = self._product.tiles[number]
        cells, driven = self._cells(number, tile), self._voltages(rows)
        read: dict[str, Attribute] = {
            "pairs": self._layout.pairs,
            "subtracted": int(self._signed),
        }
        current = self._op("crossbar.mvm", [cells, driven], read, "mvm")
        summed = self._summed(current, tile.rows)
        how: dict[str, Attribute] = {"scheme": self._layout.scheme, "offset": 0}
        operands = [summed, self._weight(f"constant{number}", constant)]
        if self._layout.scheme == "digital_offset":
            how["offset"] = self._layout.offset
            operands.append(rows)
        return self._op("crossbar.combine", operands, how, "combine")

    def _voltages(self, rows: Value) -> Value:
        attributes: dict[str, Attribute] = {
            "code_bits": _INPUT_BITS,
            "digit_bits": self._dac_bits,
            "format": "offset" if self._product.x_low else "unsigned",
            "step_v": 1.0,
        }
        return self._op("crossbar.dac", [rows], attributes, "dac")

    def _cells(self, number: int, tile: Tile) -> Value:
        layout, part = self._layout, self._product.part(tile)
        mapped: dict[str, Attribute] = {
            "scheme": layout.scheme,
            "cell_bits": layout.cell_bits,
            "slices": layout.slices,
            "pairs": layout.pairs,
        }
        weights = self._weight(f"tile{number}", np.ascontiguousarray(part))
        levels = self._op("crossbar.map", [weights], mapped, "map")
        exact = self._weight("sigma", np.zeros(1))
        limits = self._weight("levels", np.array([0.0, layout.top]))
        return self._op("crossbar.program", [levels, exact, limits], {}, "program")

    def _summed(self, current: Value, rows: int) -> Value:
        """Codes with a step of one unit, and what they count together."""
        layout, digits = self._layout, current.shape[0]
        sizes = rows, layout.cell_bits, self._dac_bits, layout.pairs
        bits = lossless_bits(*sizes) + self._signed
        form = "signed" if self._signed else "unsigned"
        converted: dict[str, Attribute] = {
            "bits": bits,
            "format": form,
            "rounding": "half_even",
        }
        lsb = self._weight("lsb", np.array(1.0))
        codes = self._op("crossbar.adc", [current, lsb], converted, "adc")
        # no sum is larger than all of its terms at their largest
        most = largest_sum(*sizes) * sum(1 << shift for shift in layout.shifts)
        most *= sum(1 << t * self._dac_bits for t in range(digits))
        counted: Mapping[str, Attribute] = {
            "shifts": layout.shifts,
            "negative": (0,) * layout.slices,
            "digit_bits": self._dac_bits,
            "signed_inputs": 0,
            "code_bits": bits,
            "code_format": form,
            "sum_bits": most.bit_length() + 1,
            "overflow": "saturate",
        }
        return self._op("crossbar.shift_add", [codes], counted, "shift_add")

    def _constant(self, tile: Tile, first: bool) -> Array:
        """What a tile's outputs have on top, i64 [outputs]: known beforehand.

        ``sum (x - z) w = sum u w - (z - x_low) sum w`` for u = x - x_low. The first tile of an
        output has its bias and all of its weights' sum. A digital offset takes the sum of x
        where the tile was driven by u.
        """
        product, columns = self._product, slice(tile.col_start, tile.col_stop)
        found = np.zeros(tile.outputs, np.int64)
        if first:
            moved = product.x_zero_point - product.x_low
            sums = product.matrix[:, columns].astype(np.int64).sum(axis=0)
            found += product.bias[columns] - moved * sums
        if self._layout.scheme == "digital_offset":
            found += self._layout.offset * product.x_low * tile.rows
        return found

    def _op(
        self,
        kind: str,
        operands: list[Value],
        attributes: Mapping[str, Attribute],
        suffix: str,
    ) -> Value:
        name = f"{self._product.name}.{suffix}" if suffix else self._product.name
        return self._builder.op(kind, operands, attributes, name)

    def _weight(self, suffix: str, array: Array) -> Value:
        return self._builder.weight(f"{self._product.name}.{suffix}", array)
