"""Upper bounds on the spectral norms of linear layers: how much a layer can stretch an error.

A convolution with zero padding, stride and dilation is a circular convolution on a torus that
holds the whole linear result, then cropped and subsampled, which stretches nothing. On the
torus the Fourier transform makes one small matrix per frequency, whose singular values are the
operator's (H. Sedghi, V. Gupta, P. M. Long, "The Singular Values of Convolutional Layers",
ICLR 2019). Where that is too much work, Schur's bound holds: the square root of the largest
absolute row sum times the largest absolute column sum.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from tetrapla.ir.graph import Array, Graph, Node

# floats that a transform may hold, and operations that its decompositions may take
MOST_ELEMENTS, MOST_WORK = 4_000_000, 2_000_000_000
SLACK = 1 + 1e-9  # covers the float64 rounding of the decompositions


def operator_norms(graph: Graph, rounded: Callable[[Array], Array]) -> dict[str, float]:
    """By name, the norm of each product with a constant matrix or filters, `rounded`."""
    found: dict[str, float] = {}
    for node in graph.nodes:
        if node.kind not in ("nn.matmul", "nn.conv2d") or not graph.is_weight(node.operands[1]):
            continue
        w = rounded(graph.weight(node.operands[1]))
        if node.kind == "nn.conv2d":
            found[node.name] = conv_norm(w, node)
        elif w.ndim == 2:
            found[node.name] = matrix_norm(w)
    return found


def matrix_norm(w: Array) -> float:
    """At least the largest singular value of w[k, n]."""
    if w.size * min(w.shape) > MOST_WORK:
        return _schur(w.T)
    return float(np.linalg.norm(w, 2)) * SLACK


def conv_norm(w: Array, node: Node) -> float:
    """At least the norm of a convolution with w[O, C/groups, kh, kw], over all images."""
    groups, dilations = node.int("groups"), node.ints("dilations")
    extents = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    size = node.operands[0].shape[2:]
    torus = (size[0] + extents[0] - 1, size[1] + extents[1] - 1)
    per = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    elements = prod(per.shape[:3]) * prod(torus)
    if elements > MOST_ELEMENTS or elements * min(per.shape[1:3]) > MOST_WORK:
        return max(_schur(group) for group in per)
    taps = np.zeros((*per.shape[:3], *torus))
    taps[..., : extents[0] : dilations[0], : extents[1] : dilations[1]] = per
    matrices = np.moveaxis(np.fft.rfft2(taps), (1, 2), (-2, -1))
    return float(np.linalg.norm(matrices, 2, axis=(-2, -1)).max(initial=0)) * SLACK


def _schur(w: Array) -> float:
    """Schur's bound of w[outputs, inputs, taps...], each output a row of the operator."""
    size = np.abs(w)
    rows = size.sum(axis=tuple(range(1, w.ndim)))
    columns = size.sum(axis=(0, *range(2, w.ndim)))
    return float(np.sqrt(rows.max(initial=0) * columns.max(initial=0)))
