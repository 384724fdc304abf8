"""A batch normalisation moves into the weights of the product or convolution before it.

    before   p = nn.conv2d(x, @w, @b)                after   y = nn.conv2d(x, @w', @b')
             y = nn.batch_norm(p, scale, bias,
                               mean, variance)

With gain = scale / sqrt(variance + epsilon): w' = w gain and b' = (b - mean) gain + bias, per
channel, in float64 and rounded once; several normalisations in a row are folded at once. Only
where nothing else reads p, p is not an output and has no residual or activation, and every
parameter is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tetrapla.ir.graph import Node
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import has_residual
from tetrapla.passes.bodies_ import within
from tetrapla.passes.match_ import REAL
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """The sum of products is formed from other, equally rounded weights.

    Either form of one layer is within (K + 4) u of the exact value, relative to the sum of the
    magnitudes of its terms (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
    section 3.1; u = 2^-24). They differ by at most twice that, 5.5e-4 at K = 4608 (512 channels
    of 3 x 3); cancellation makes an output smaller than its terms, which rounding does not
    reach in practice: it grows as sqrt(K).
    """

    max_rel_error: ClassVar[float] = 2 * (4608 + 4) * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return _once(within(module, _once))


def _once(module: Module) -> Module:
    new = Rebuild(module)
    done: set[str] = set()
    for node in new.graph.nodes:
        norms = _norms(new, node)
        if norms:
            _fold(new, node, norms)
            done.update(norm.name for norm in norms)
        elif node.name not in done:
            new.copy(node)
    return new.finish()


def _norms(new: Rebuild, node: Node) -> list[Node]:
    """The batch normalisations in a row that `node` can take in."""
    found: list[Node] = []
    # a product's channels are its last axis, batch normalisation's the second: rank 2 only
    product = node.kind == "nn.matmul" and len(node.result.shape) == 2
    if not (product or node.kind == "nn.conv2d") or node.str("activation") != "none":
        return found
    # the bound is derived for float32
    if node.result.dtype not in REAL or has_residual(node) or not _known(new, node):
        return found
    value = node.result
    while norm := new.only_user(value, "nn.batch_norm"):
        if norm.operands[0].index != value.index or not _known(new, norm):
            break
        found.append(norm)
        value = norm.result
    return found


def _known(new: Rebuild, node: Node) -> bool:
    return all(value.index in new.graph.weights for value in node.operands[1:])


def _fold(new: Rebuild, node: Node, norms: list[Node]) -> None:
    w, *biases = (new.graph.weight(value) for value in node.operands[1:])
    column = (1, -1) if node.kind == "nn.matmul" else (-1, 1, 1, 1)
    channels = node.result.shape[1]
    weights = w.astype(np.float64)
    bias = biases[0].astype(np.float64) if biases else np.zeros(channels)
    with np.errstate(all="ignore"):
        for norm in norms:
            scale, shift, mean, variance = (
                new.graph.weight(value).astype(np.float64) for value in norm.operands[1:]
            )
            # variance + epsilon as the operator computes it; from there on in float64
            epsilon = np.float64(w.dtype.type(norm.float("epsilon")))
            gain = scale / np.sqrt(variance + epsilon)
            weights = weights * gain.reshape(column)
            bias = (bias - mean) * gain + shift
        arrays = [np.ascontiguousarray(array.astype(w.dtype)) for array in (weights, bias)]
    symbol = new.graph.constants[node.operands[1].index]
    operands = [
        new.of(node.operands[0]),
        new.builder.weight(f"{symbol}.folded", arrays[0]),
        new.builder.weight(f"{node.name}.bias.folded", arrays[1]),
    ]
    made = new.builder.op(node.kind, operands, node.attributes, name=node.name)
    new.set(norms[-1].result, made)
