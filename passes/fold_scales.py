"""Products and quotients by constants become one product, or part of a weight.

    before   a = nn.mul(x, @c)                after   y = nn.matmul(x, @w')   (w' = c d w / e)
             b = nn.matmul(a, @w)
             y = nn.div(nn.mul(b, @d), @e)

A quotient by a constant becomes a product with its reciprocal; two products with constants
become one. A product with one number before a matrix product or convolution moves into its
weights, and so does one behind it that varies along the outputs alone, into the bias as well.
All constants are computed in float64 and rounded once; what would overflow or underflow stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tetrapla.ir.graph import DTYPES, Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import has_residual
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import REAL, either, number
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.scales_ import PART_ELEMENTS

# which axis of the result, counted from the end, the outputs run along
CHANNELS = {"nn.matmul": 1, "nn.conv2d": 3}


@dataclass(frozen=True)
class FoldScales(Pass):
    """Roundings move from values to constants.

    Either form of a scaled layer is within (K + 4) u of the exact value, relative to the sum of
    the magnitudes of its terms (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
    section 3.1; u = 2^-24): one rounding per product and sum, one of each constant, one per
    scale. They differ by twice that at most, 5.5e-4 at K = 4608, as for `fold-batch-norm`. A
    value between two scales is assumed not to overflow.
    """

    max_rel_error: ClassVar[float] = 2 * (4608 + 4) * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _quotient, _two, _before, _behind)


def _quotient(edit: Edit, node: Node) -> Value | None:
    """``x / c`` is ``x (1 / c)``."""
    if node.kind != "nn.div" or node.result.dtype not in REAL:
        return None
    x, c = node.operands
    array = edit.constant(c)
    if array is None or edit.is_constant(x):
        return None
    with np.errstate(all="ignore"):
        inverse = _rounded(1 / array.astype(np.float64), array.dtype)
    return None if inverse is None else _times(edit, x, inverse, f"{node.name}.scale")


def _two(edit: Edit, node: Node) -> Value | None:
    """``(x c) d`` is ``x (c d)``."""
    outer = _scale(edit, node)
    inner = None if outer is None else edit.maker(outer[0], "nn.mul")
    held = None if inner is None else _scale(edit, inner)
    if outer is None or held is None:
        return None
    wide = held[1].astype(np.float64) * outer[1].astype(np.float64)
    scale = _rounded(wide, outer[1].dtype)
    if scale is None or np.broadcast_shapes(held[0].shape, scale.shape) != node.result.shape:
        return None
    return _times(edit, held[0], scale, f"{node.name}.scale")


def _before(edit: Edit, node: Node) -> Value | None:
    """``(x c) w`` is ``x (c w)`` for one number c."""
    if node.kind not in CHANNELS or node.result.dtype not in REAL:
        return None
    maker = edit.maker(node.operands[0], "nn.mul")
    found = None if maker is None else _scale(edit, maker)
    w = edit.constant(node.operands[1])
    if found is None or w is None or found[0].shape != node.operands[0].shape:
        return None
    factor = number(edit, _other(maker, found[0]))
    if factor is None:
        return None
    scaled = _scaled(w, np.full((1,) * w.ndim, factor))
    if scaled is None:
        return None
    weight = edit.weight(f"{node.name}.scaled", scaled)
    return edit.op(node.kind, [found[0], weight, *node.operands[2:]], node.attributes)


def _behind(edit: Edit, node: Node) -> Value | None:
    """``(x w + b) c`` is ``x (c w) + c b`` for one number, or one per output."""
    found = _scale(edit, node)
    product = None if found is None else edit.maker(found[0], *CHANNELS)
    if found is None or product is None or edit.readers(found[0]) != 1:
        return None
    plain = product.str("activation") == "none" and not has_residual(product)
    if not plain or found[0].shape != node.result.shape:
        return None
    outputs = found[0].shape[-CHANNELS[product.kind]]
    factors = _per_output(found[1], CHANNELS[product.kind], outputs)
    held = [edit.constant(value) for value in product.operands[1:]]
    arrays = [array for array in held if array is not None]
    if factors is None or len(arrays) < len(held):
        return None
    operands = [product.operands[0]]
    for array in arrays:
        # filters run along the first axis, columns and biases along the last
        first = product.kind == "nn.conv2d"
        column = (-1, *(1,) * (array.ndim - 1)) if first else (*(1,) * (array.ndim - 1), -1)
        scaled = _scaled(array, factors.reshape(column))
        if scaled is None:
            return None
        operands.append(edit.weight(f"{product.name}.scaled", scaled))
    return edit.op(product.kind, operands, product.attributes, product.name)


def _scale(edit: Edit, node: Node) -> tuple[Value, Array] | None:
    """The computed value and the constant of a product."""
    if node.kind != "nn.mul" or node.result.dtype not in REAL:
        return None
    for x, c in either(node):
        array = edit.constant(c)
        if array is not None and not edit.is_constant(x):
            return x, array
    return None


def _per_output(scale: Array, axis: int, outputs: int) -> Array | None:
    """The factor of every output, if they vary along no other axis."""
    place = scale.ndim - axis
    if any(size != 1 for i, size in enumerate(scale.shape) if i != place):
        return None
    return np.broadcast_to(scale.reshape(-1).astype(np.float64), (outputs,))


def _scaled(array: Array, factors: Array) -> Array | None:
    """The array times factors of its rank (float64), a part of it at a time; see `_rounded`."""
    made = np.empty(array.shape, array.dtype)
    rows = max(1, PART_ELEMENTS * len(array) // max(1, array.size))
    for start in range(0, len(array), rows):
        part = slice(start, start + rows)
        by = factors[part] if len(factors) > 1 else factors
        rounded = _rounded(array[part].astype(np.float64) * by, array.dtype)
        if rounded is None:
            return None
        made[part] = rounded
    return made


def _rounded(wide: Array, dtype: np.dtype[Any]) -> Array | None:
    """The constant in its type, unless a number leaves the type's normal range."""
    with np.errstate(all="ignore"):
        array = wide.astype(dtype)
    limits = np.finfo(dtype)
    sizes = np.abs(array[wide != 0])
    fits = np.isfinite(array).all() and bool((sizes >= limits.tiny).all())
    return array if fits else None


def _times(edit: Edit, x: Value, scale: Array, symbol: str) -> Value:
    assert scale.dtype == DTYPES[x.dtype]
    return edit.op("nn.mul", [x, edit.weight(symbol, scale)])


def _other(node: Node | None, value: Value) -> Value:
    assert node is not None
    a, b = node.operands
    return b if a.index == value.index else a
