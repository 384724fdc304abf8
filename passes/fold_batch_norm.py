"""A batch normalisation moves into the weights of the product or convolution before it.

    before   p = nn.conv2d(x, @w, @b)                after   y = nn.conv2d(x, @w', @b')
             y = nn.batch_norm(p, scale, bias,
                               mean, variance)

With gain = scale / sqrt(variance + epsilon): w' = w gain and b' = (b - mean) gain + bias, per
channel, in float64 and rounded once. Only where nothing else reads p, p is not an output and
has no activation, and every parameter is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tetrapla.ir.graph import Array, Node
from tetrapla.ir.module import Module
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
        new = Rebuild(module)
        done: set[str] = set()
        for node in new.graph.nodes:
            norm = _norm(new, node)
            if norm is not None:
                _fold(new, node, norm)
                done.add(norm.name)
            elif node.name not in done:
                new.copy(node)
        return new.finish()


def _norm(new: Rebuild, node: Node) -> Node | None:
    """The batch normalisation that `node` can take in."""
    # a product's channels are its last axis, batch normalisation's the second: rank 2 only
    product = node.kind == "nn.matmul" and len(node.result.shape) == 2
    if not (product or node.kind == "nn.conv2d") or node.str("activation") != "none":
        return None
    norm = new.only_user(node.result, "nn.batch_norm")
    if norm is None or norm.operands[0].index != node.result.index:
        return None
    parameters = (*node.operands[1:], *norm.operands[1:])
    known = all(value.index in new.graph.weights for value in parameters)
    return norm if known else None


def _fold(new: Rebuild, node: Node, norm: Node) -> None:
    w, *biases = (new.graph.weight(value) for value in node.operands[1:])
    scale, shift, mean, variance = (
        new.graph.weight(value).astype(np.float64) for value in norm.operands[1:]
    )
    # variance + epsilon as the operator computes it; from there on in float64
    epsilon = np.float64(w.dtype.type(norm.float("epsilon")))
    with np.errstate(all="ignore"):
        gain = scale / np.sqrt(variance + epsilon)
        bias = biases[0].astype(np.float64) if biases else np.zeros_like(gain)
        column = (1, -1) if node.kind == "nn.matmul" else (-1, 1, 1, 1)
        weights = _rounded(w * gain.reshape(column), w)
        folded = _rounded((bias - mean) * gain + shift, w)
    symbol = new.graph.constants[node.operands[1].index]
    operands = [
        new.of(node.operands[0]),
        new.builder.weight(f"{symbol}.folded", weights),
        new.builder.weight(f"{node.name}.bias.folded", folded),
    ]
    made = new.builder.op(node.kind, operands, node.attributes, name=node.name)
    new.set(norm.result, made)


def _rounded(array: Array, like: Array) -> Array:
    return np.ascontiguousarray(array.astype(like.dtype))
