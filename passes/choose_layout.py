"""Layers between two transposes of images work in the layout around them.

    before   a = nn.transpose(x) {perm = (0, 2, 3, 1)}      after   y = nn.conv2d(x, @w')
             b = nn.matmul(a, @w)                                   (w' = w transposed, 1 x 1)
             y = nn.transpose(b) {perm = (0, 3, 1, 2)}

A product of channels is a convolution by windows of one pixel: with `channels_first` a product
behind a transpose to [N, H, W, C] becomes such a convolution before it, with `channels_last`
such a convolution behind a transpose to [N, C, H, W] becomes a product before it. Transposes
sink through reductions and softmaxes too, and as in `eliminate-transposes`. What to choose is
docs/decisions/0007-layout.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import has_residual
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import REAL
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rules_ import transposes
from tetrapla.passes.sinking_ import EXACT, reduced, sunk, turned

LAYOUTS = ("channels_first", "channels_last")
# [N, C, H, W] to [N, H, W, C], and back
TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
WINDOW: dict[str, Attribute] = {
    "strides": (1, 1),
    "pads": (0, 0, 0, 0),
    "dilations": (1, 1),
    "groups": 1,
}


@dataclass(frozen=True)
class ChooseLayout(Pass):
    """The same sums, which a machine may form in another order.

    Any two orders of a sum of K products are within 2 K u of one another, relative to the sum
    of the terms' magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
    section 3.1; u = 2^-24): 5.5e-4 at K = 4608, for products, means and softmaxes alike.

    Attributes:
        layout: channels_first or channels_last.
    """

    max_rel_error: ClassVar[float] = 2 * 4608 * 2.0**-24

    layout: str = "channels_first"

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise SpecError(f"layout must be one of {', '.join(LAYOUTS)}, not {self.layout!r}")

    def __call__(self, module: Module) -> Module:
        pixel = _convolution if self.layout == "channels_first" else _product
        return rewrite(module, transposes, *EXACT, pixel, _summed, _softmax)


def _convolution(edit: Edit, node: Node) -> Value | None:
    """A product of channels-last values as a convolution of channels-first ones."""
    if node.kind != "nn.matmul" or node.result.dtype not in REAL or has_residual(node):
        return None
    x, w, *bias = node.operands
    found = turned(edit, x)
    if found is None or found[1] != TO_LAST or len(w.shape) != 2 or not edit.is_constant(w):
        return None

    def filters(array: Array) -> Array:
        return array.T.reshape(*w.shape[::-1], 1, 1)

    windows = edit.derived("filters", w, (*w.shape[::-1], 1, 1), filters)
    attributes = {**WINDOW, "activation": node.str("activation")}
    made = edit.op("nn.conv2d", [found[0], windows, *bias], attributes)
    return edit.op("nn.transpose", [made], {"perm": TO_LAST}, f"{node.name}.turned")


def _product(edit: Edit, node: Node) -> Value | None:
    """A convolution of single pixels of channels-first values as a product of channels-last."""
    if node.kind != "nn.conv2d" or node.result.dtype not in REAL or has_residual(node):
        return None
    x, w, *bias = node.operands
    found = turned(edit, x)
    pixels = w.shape[2:] == (1, 1) and edit.is_constant(w)
    still = all(node.attributes[key] == WINDOW[key] for key in ("strides", "pads", "groups"))
    if found is None or found[1] != TO_FIRST or not pixels or not still:
        return None
    shape = (w.shape[1], w.shape[0])
    matrix = edit.derived("matrix", w, shape, lambda array: array.reshape(shape[::-1]).T)
    attributes: dict[str, Attribute] = {"activation": node.str("activation")}
    made = edit.op("nn.matmul", [found[0], matrix, *bias], attributes)
    return edit.op("nn.transpose", [made], {"perm": TO_FIRST}, f"{node.name}.turned")


def _summed(edit: Edit, node: Node) -> Value | None:
    if not node.kind.startswith("nn.reduce_") or node.result.dtype not in REAL:
        return None
    return reduced(edit, node)


def _softmax(edit: Edit, node: Node) -> Value | None:
    if node.kind not in ("nn.softmax", "nn.log_softmax") or node.result.dtype not in REAL:
        return None
    found = turned(edit, node.operands[0])
    if found is None:
        return None
    x, perm = found
    return sunk(edit, node, [x], perm, {"axis": perm[node.int("axis") % len(perm)]})
