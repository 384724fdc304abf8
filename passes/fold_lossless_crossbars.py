"""A product on crossbars whose every code is exact becomes one integer product.

    before   %l = crossbar.map(@w)                        after   %p = qnn.matmul(%x, @w.folded)
             %g = crossbar.program(%l, @sigma, @limits)           %y = nn.add(%p, @constant)
             %v = crossbar.dac(%x)
             %i = crossbar.mvm(%g, %v)
             %c = crossbar.adc(%i, @lsb)
             %s = crossbar.shift_add(%c)
             %y = crossbar.combine(%s, @constant)

Let a tile have R rows, levels 0..L (L = 2^cell_bits - 1, times N where N pairs share a column)
and digits 0..D (D = 2^digit_bits - 1), a digit's step 1 V and the converter's step 1. Then:

1. Cells are their targets, whole numbers l[p, r, c] in 0..L: programming without draws is
   clip(l, low, high), and low <= 0, high >= L. Digits are whole numbers d[t, b, r] in 0..D, or
   in -D..D where they have signs. What the DAC cannot drive does not occur: the type of the
   inputs holds no such number.
2. A sum i = sum_r d l is a whole number in 0..R L D; where digits have signs, or a converter
   sees the difference of a pair (l in -L..L), in -R L D..R L D. It is exact in float64: so are
   all of its partial sums, being below 2^53.
3. A code of b bits with R L D <= 2^b - 1 (signed codes: 2^(b-1) - 1) is i itself: i / 1 is
   whole, so no rounding changes it, and clipping does not reach it. For unsigned codes that is
   b >= ceil(log2(R L D + 1)).
4. R L D sum_t sum_p 2^(shift[p] + t digit_bits) is below 2^(sum_bits - 1), so no addition of
   the shift and add leaves its bits. It gives
       s[b, c] = sum_t 2^(t digit_bits) sum_p 2^shift[p] sum_r d[t, b, r] l[p, r, c]
               = sum_r u[b, r] m[r, c]
   with the digits' number u = sum_t 2^(t digit_bits) d (the last plane of two's complement
   counts negatively on both sides) and the cells' number m = sum_p 2^shift[p] l.
5. differential, n_pair: m of a positive column less that of its negative one is w. Combined,
   that is sum_r u w. offset_column: m is w + o, and o in the last column; less that column's
   sum it is sum_r u w again. digital_offset: m is w + o; less o sum_r x it is sum_r u w +
   o sum_r (u - x). Here u - x = h: 2^(code_bits - 1) where inputs are driven by an offset,
   else 0. Altogether
       y[b, c] = sum_r x w + h sum_r w + constant[c], and R o h more for digital_offset.

`qnn.matmul` with weights of 16 bits sums exactly, in 64. With one bit less, a column with all
cells at L and all digits at D reads too low: such a product stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tetrapla.ir.crossbar.converters import code_limits, input_limits
from tetrapla.ir.crossbar.mapping import Layout, largest_sum
from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.quant.dialect import RANGES
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class FoldLosslessCrossbars(Pass):
    """Whole numbers before and after, equal by the proof above: bit exact."""

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _folded)


class _Chain(NamedTuple):
    """The operators of one product."""

    mapped: Node
    dac: Node
    mvm: Node
    adc: Node
    shift_add: Node
    combine: Node
    weights: Array

    @property
    def layout(self) -> Layout:
        return _layout(self.mapped)

    @property
    def largest(self) -> int:
        """The largest sum of a column, R L D."""
        layout = self.layout
        sizes = len(self.weights), layout.cell_bits, self.dac.int("digit_bits"), layout.pairs
        return largest_sum(*sizes)

    @property
    def signed(self) -> bool:
        """Whether sums have signs."""
        return self.dac.str("format") == "sign_magnitude" or bool(self.mvm.int("subtracted"))

    @property
    def moved(self) -> int:
        """What the DAC adds to an input."""
        low, _ = input_limits(self.dac.int("code_bits"), self.dac.str("format"))
        return -low if self.dac.str("format") == "offset" else 0


def _folded(edit: Edit, node: Node) -> Value | None:
    chain = _chain(edit, node) if node.kind == "crossbar.combine" else None
    if chain is None or not (
        _inputs_fit(chain)
        and _codes_are_sums(edit, chain)
        and _sums_are_products(chain)
        and _combines(chain)
    ):
        return None
    x, w = chain.dac.operands[0], chain.weights.astype(np.int16)
    zero = {"x_zero_point": 0, "w_zero_point": 0}
    made = edit.op("qnn.matmul", [x, edit.weight(f"{node.name}.folded", w)], zero)
    made = edit.op("nn.add", [made, node.operands[1]])
    known = chain.moved * w.astype(np.int64).sum(axis=0)
    known += chain.moved * node.int("offset") * len(w)
    if not known.any():
        return made
    return edit.op("nn.add", [made, edit.weight(f"{node.name}.offset", known)])


def _chain(edit: Edit, combine: Node) -> _Chain | None:
    shift_add = edit.maker(combine.operands[0], "crossbar.shift_add")
    adc = None if shift_add is None else edit.maker(shift_add.operands[0], "crossbar.adc")
    mvm = None if adc is None else edit.maker(adc.operands[0], "crossbar.mvm")
    if shift_add is None or adc is None or mvm is None:
        return None
    cells, driven, *noise = mvm.operands
    dac = edit.maker(driven, "crossbar.dac")
    mapped = edit.maker(_targets(edit, cells), "crossbar.map")
    if dac is None or mapped is None or noise:
        return None
    weights = edit.constant(mapped.operands[0])
    if weights is None or not _holds(weights, mapped):
        return None
    return _Chain(mapped, dac, mvm, adc, shift_add, combine, weights)


def _targets(edit: Edit, cells: Value) -> Value:
    """What the cells were programmed to, exactly; themselves where that is not known."""
    node = edit.maker(cells, "crossbar.program")
    if node is None:
        return cells
    target, _, bounds, *drawn = node.operands
    mapped, limits = edit.maker(target, "crossbar.map"), edit.constant(bounds)
    if mapped is None or limits is None or drawn:
        return cells
    top = (1 << mapped.int("cell_bits")) - 1
    return target if limits[0] <= 0 and limits[1] >= top else cells


def _holds(weights: Array, mapped: Node) -> bool:
    """Whether the cells, and the product's weights, hold every weight."""
    low, high = _layout(mapped).limits
    least, most = RANGES["i16"]
    found = int(weights.min(initial=0)), int(weights.max(initial=0))
    return max(low, least) <= found[0] and found[1] <= min(high, most)


def _layout(mapped: Node) -> Layout:
    numbers = (mapped.int(key) for key in ("cell_bits", "slices", "pairs"))
    return Layout(mapped.str("scheme"), *numbers)


def _inputs_fit(chain: _Chain) -> bool:
    """Whether the inputs' type holds only what the DAC can drive, in steps of 1."""
    dtype = chain.dac.operands[0].dtype
    if dtype not in RANGES or chain.dac.float("step_v") != 1:
        return False
    low, high = input_limits(chain.dac.int("code_bits"), chain.dac.str("format"))
    return low <= RANGES[dtype][0] and RANGES[dtype][1] <= high


def _codes_are_sums(edit: Edit, chain: _Chain) -> bool:
    """Whether every code is the sum of its column."""
    lsb = edit.constant(chain.adc.operands[1])
    if lsb is None or not (lsb == 1).all():
        return False
    low, high = code_limits(chain.adc.int("bits"), chain.adc.str("format"))
    return chain.largest <= high and (not chain.signed or -chain.largest >= low)


def _sums_are_products(chain: _Chain) -> bool:
    """Whether shift and add gives the product of the digits' and the cells' numbers."""
    how, layout = chain.shift_add, chain.layout
    digit_bits = chain.dac.int("digit_bits")
    planes = chain.dac.result.shape[0]
    most = chain.largest * sum(1 << shift for shift in layout.shifts)
    most *= sum(1 << t * digit_bits for t in range(planes))
    return (
        how.ints("shifts") == layout.shifts
        and not any(how.ints("negative"))
        and how.int("digit_bits") == digit_bits
        and how.int("signed_inputs") == (chain.dac.str("format") == "twos_complement")
        and how.int("code_bits") == chain.adc.int("bits")
        and how.str("code_format") == chain.adc.str("format")
        and chain.mvm.int("pairs") == layout.pairs
        and most < 1 << how.int("sum_bits") - 1
    )


def _combines(chain: _Chain) -> bool:
    """Whether the columns are combined as they were mapped."""
    node, layout = chain.combine, chain.layout
    outputs, subtracted = node.result.shape[1], bool(chain.mvm.int("subtracted"))
    columns = outputs if subtracted else layout.columns(outputs)
    if node.str("scheme") != layout.scheme or node.operands[0].shape[1] != columns:
        return False
    if layout.offset and subtracted:  # there are no pairs
        return False
    if layout.scheme != "digital_offset":
        return True
    same = node.operands[2].index == chain.dac.operands[0].index
    return same and node.int("offset") == layout.offset
