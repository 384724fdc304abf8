"""Convolutions of other forms become nn.conv2d, or a product where the filters are computed.

    before   y = nn.conv_transpose2d(x, @w)       after   a = nn.conv2d(x, @w.phases)
                 {strides = (2, 2)}                       y = nn.slice(pixels shuffled of a)

A transposed convolution of stride s is s x s convolutions, each of which gives one phase of
the pixels (W. Shi et al., "Is the deconvolution layer the same as a convolutional layer?",
arXiv:1609.07009, 2016): their filters stand behind one another, and the phases are interleaved
by moves. No zero is inserted and no product made that is not needed, but where the stride does
not divide the kernel. A convolution of three axes has the taps of its depth as channels and
its depths in the batch. One with filters that are computed is a product of its windows, as a
machine without such filters has no other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.nn.epilogue import FUNCTIONS
from tetrapla.ir.unfuse import has_residual
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class DecomposeConvolutions(Pass):
    """The same products, which are summed in another order, with zeros of other phases.

    Any two orders of a sum of K products are within 2 K u of one another, relative to the sum
    of the terms' magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
    section 3.1; u = 2^-24): 5.5e-4 at K = 4608.
    """

    max_rel_error: ClassVar[float] = 2 * 4608 * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _decomposed)


def _decomposed(edit: Edit, node: Node) -> Value | None:
    if not all(value.elements for value in (*node.operands, *node.results)):
        return None
    made = edit.is_constant(node.operands[1]) if len(node.operands) > 1 else False
    match node.kind:
        case "nn.conv_transpose2d" | "nn.conv_transpose3d" if made:
            return _Transposed(edit, node).convolution()
        case "nn.conv3d" if made:
            return _of_depth(edit, node)
        case "nn.conv2d" if not made and not has_residual(node):
            return _of_windows(edit, node)
        case _:
            return None


class _Transposed:
    """A transposed convolution of n axes as one convolution and a shuffle of pixels."""

    def __init__(self, edit: Edit, node: Node) -> None:
        self._edit = edit
        self._node = node
        self._strides = node.ints("strides")
        self._dilations = node.ints("dilations")
        self._n = n = len(self._strides)
        self._kernel = node.operands[1].shape[2:]
        extent = [(k - 1) * d + 1 for k, d in zip(self._kernel, self._dilations, strict=True)]
        # inputs that one output sees on each axis, less one
        self._more = [(e - 1) // s for e, s in zip(extent, self._strides, strict=True)]
        begins, out = node.ints("pads")[:n], node.result.shape[2:]
        sizes = node.operands[0].shape[2:]
        self._begin, self._end, self._offset = list[int](), list[int](), list[int]()
        for axis, s in enumerate(self._strides):
            more, start = self._more[axis], begins[axis]
            pad = max(0, more - start // s)
            last = (start + out[axis] - 1) // s
            self._begin.append(pad)
            self._end.append(max(0, last - (sizes[axis] - 1)))
            self._offset.append(start - s * (more - pad))

    def convolution(self) -> Value:
        edit, node = self._edit, self._node
        x, w, *bias = node.operands
        phases, groups = prod(self._strides), node.int("groups")
        kernel = tuple(more + 1 for more in self._more)
        shape = (w.shape[1] * groups * phases, w.shape[0] // groups, *kernel)
        operands = [x, edit.derived("phases", w, shape, self._filters)]
        for b in bias:
            rows = (b.shape[0] * phases,)
            if edit.is_constant(b):
                operands.append(edit.derived("phases", b, rows, lambda a: np.repeat(a, phases)))
            else:
                operands.append(_repeated(edit, b, phases))
        attributes: dict[str, Attribute] = {
            "strides": (1,) * self._n,
            "pads": (*self._begin, *self._end),
            "dilations": (1,) * self._n,
            "groups": groups,
        }
        if self._n == 2:
            attributes["activation"] = "none"
        made = edit.op("nn.conv2d" if self._n == 2 else "nn.conv3d", operands, attributes)
        return self._cut(self._shuffled(made))

    def _filters(self, w: Array) -> Array:
        """[O s..., C / groups, J + 1...]: those of an output's phases behind one another."""
        n, groups, strides = self._n, self._node.int("groups"), self._strides
        steps = [more + 1 for more in self._more]
        spread = np.zeros(
            (*w.shape[:2], *(s * j for s, j in zip(strides, steps, strict=True))), w.dtype
        )
        taps = zip(self._kernel, self._dilations, strict=True)
        places = tuple(slice(0, (k - 1) * d + 1, d) for k, d in taps)
        spread[(slice(None), slice(None), *places)] = w
        # place s j + p of an axis is tap j of phase p, and a correlation runs backwards
        pairs = [size for pair in zip(steps, strides, strict=True) for size in pair]
        held = spread.reshape(groups, w.shape[0] // groups, w.shape[1], *pairs)
        held = np.flip(held, axis=tuple(range(3, 3 + 2 * n, 2)))
        order = (0, 2, *range(4, 4 + 2 * n, 2), 1, *range(3, 3 + 2 * n, 2))
        filters = groups * w.shape[1] * prod(strides)
        made = held.transpose(order).reshape(filters, w.shape[0] // groups, *steps)
        return np.ascontiguousarray(made)

    def _shuffled(self, y: Value) -> Value:
        """[N, O s..., M...] as [N, O, M s...]."""
        if prod(self._strides) == 1:
            return y
        n, (batch, channels, *sizes) = self._n, y.shape
        filters = channels // prod(self._strides)
        split = (batch, filters, *self._strides, *sizes)
        perm = (0, 1, *(axis for i in range(n) for axis in (2 + n + i, 2 + i)))
        whole = tuple(m * s for m, s in zip(sizes, self._strides, strict=True))
        name = self._node.name
        y = self._edit.op("nn.reshape", [y], {"shape": split}, f"{name}.phases")
        y = self._edit.op("nn.transpose", [y], {"perm": perm}, f"{name}.shuffled")
        return self._edit.op(
            "nn.reshape", [y], {"shape": (batch, filters, *whole)}, f"{name}.pixels"
        )

    def _cut(self, y: Value) -> Value:
        if y.shape == self._node.result.shape:
            return y
        attributes: dict[str, Attribute] = {
            "starts": (0, 0, *self._offset),
            "sizes": self._node.result.shape,
            "steps": (1,) * (self._n + 2),
        }
        return self._edit.op("nn.slice", [y], attributes, f"{self._node.name}.cut")


def _repeated(edit: Edit, bias: Value, times: int) -> Value:
    wide: dict[str, Attribute] = {"shape": (bias.shape[0], times)}
    column = edit.op("nn.reshape", [bias], {"shape": (bias.shape[0], 1)})
    made = edit.op("nn.expand", [column], wide)
    return edit.op("nn.reshape", [made], {"shape": (bias.shape[0] * times,)})


def _of_depth(edit: Edit, node: Node) -> Value:
    """A convolution over three axes: depth taps are channels, depths lie in the batch."""
    x, w, *bias = node.operands
    (stride, *strides), (step, *dilations) = node.ints("strides"), node.ints("dilations")
    front, *first, back, top, left = node.ints("pads")
    pads = (*first, top, left)
    batch, channels, _, height, width = x.shape
    depth, taps = node.result.shape[2], w.shape[2]
    if front or back:
        margin = (0, 0, front, 0, 0, 0, 0, back, 0, 0)
        held: dict[str, Attribute] = {"pads": margin, "mode": "constant", "value": 0.0}
        x = edit.op("nn.pad", [x], held, f"{node.name}.padded")
    sizes = (batch, channels, depth, height, width)
    rows = [_cut_depth(edit, node, x, (tap * step, stride), sizes) for tap in range(taps)]
    x = _joined(edit, rows, 2, f"{node.name}.taps")
    x = edit.op("nn.transpose", [x], {"perm": (0, 3, 1, 2, 4, 5)}, f"{node.name}.depths")
    flat = (batch * depth, channels * taps, height, width)
    x = edit.op("nn.reshape", [x], {"shape": flat}, f"{node.name}.depths")
    shape = (w.shape[0], w.shape[1] * taps, *w.shape[3:])
    filters = edit.derived("depth", w, shape, lambda array: array.reshape(shape))
    attributes: dict[str, Attribute] = {
        "strides": tuple(strides),
        "pads": pads,
        "dilations": tuple(dilations),
        "groups": node.int("groups"),
        "activation": "none",
    }
    y = edit.op("nn.conv2d", [x, filters, *bias], attributes)
    split = (batch, depth, *y.shape[1:])
    y = edit.op("nn.reshape", [y], {"shape": split}, f"{node.name}.volume")
    return edit.op("nn.transpose", [y], {"perm": (0, 2, 1, 3, 4)}, f"{node.name}.volume")


def _cut_depth(
    edit: Edit, node: Node, x: Value, places: tuple[int, int], sizes: tuple[int, ...]
) -> Value:
    """What one tap of the depth sees, [N, C, 1, D, H, W]."""
    start, stride = places
    held: dict[str, Attribute] = {
        "starts": (0, 0, start, 0, 0),
        "sizes": sizes,
        "steps": (1, 1, stride, 1, 1),
    }
    cut = edit.op("nn.slice", [x], held, f"{node.name}.tap")
    lead = (*sizes[:2], 1, *sizes[2:])
    return edit.op("nn.reshape", [cut], {"shape": lead}, f"{node.name}.tap")


def _of_windows(edit: Edit, node: Node) -> Value:
    """A convolution with computed filters: the windows times the filters, by group."""
    x, w, *bias = node.operands
    groups, (filters, per, *kernel) = node.int("groups"), w.shape
    batch, channels = x.shape[:2]
    places, name = node.result.shape[2:], node.name
    taps = _joined(edit, _windows(edit, node), 2, f"{name}.taps")
    split = (batch, groups, channels // groups * prod(kernel), prod(places))
    columns = edit.op("nn.reshape", [taps], {"shape": split}, f"{name}.columns")
    perm: dict[str, Attribute] = {"perm": (0, 1, 3, 2)}
    rows = edit.op("nn.transpose", [columns], perm, f"{name}.rows")
    shape: dict[str, Attribute] = {"shape": (1, groups, filters // groups, per * prod(kernel))}
    held = edit.op("nn.reshape", [w], shape, f"{name}.filters")
    held = edit.op("nn.transpose", [held], perm, f"{name}.filters")
    y = edit.op("nn.matmul", [rows, held], {"activation": "none"})
    y = edit.op("nn.transpose", [y], perm, f"{name}.channels")
    y = edit.op("nn.reshape", [y], {"shape": node.result.shape}, f"{name}.pixels")
    for b in bias:
        column = edit.op("nn.reshape", [b], {"shape": (filters, 1, 1)}, f"{name}.bias")
        y = edit.op("nn.add", [y, column], {}, f"{name}.biased")
    if node.str("activation") == "none":
        return y
    kind, attributes = FUNCTIONS[node.str("activation")]
    return edit.op(kind, [y], attributes, f"{name}.{node.str('activation')}")


def _windows(edit: Edit, node: Node) -> list[Value]:
    """What each tap sees, [N, C, 1, positions]."""
    x, name = node.operands[0], node.name
    strides, dilations = node.ints("strides"), node.ints("dilations")
    top, left, bottom, right = node.ints("pads")
    if any(node.ints("pads")):
        margin = (0, 0, top, left, 0, 0, bottom, right)
        held: dict[str, Attribute] = {"pads": margin, "mode": "constant", "value": 0.0}
        x = edit.op("nn.pad", [x], held, f"{name}.padded")
    lead, out = x.shape[:2], node.result.shape[2:]
    found: list[Value] = []
    for place in np.ndindex(*node.operands[1].shape[2:]):
        starts = tuple(i * d for i, d in zip(place, dilations, strict=True))
        attributes: dict[str, Attribute] = {
            "starts": (0, 0, *starts),
            "sizes": (*lead, *out),
            "steps": (1, 1, *strides),
        }
        cut = edit.op("nn.slice", [x], attributes, f"{name}.tap")
        shape = (*lead, 1, prod(out))
        found.append(edit.op("nn.reshape", [cut], {"shape": shape}, f"{name}.tap"))
    return found


def _joined(edit: Edit, parts: Sequence[Value], axis: int, name: str) -> Value:
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    both = [_joined(edit, half, axis, name) for half in (parts[:middle], parts[middle:])]
    return edit.op("nn.concat", both, {"axis": axis}, name)
