"""The smallest weights become zero: the smallest overall, or two of each four in a row.

before   @w = [4, -1, 2, 3, ...]             after   @w = [4, 0, 0, 3, ...]    {pattern = 2:4}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tetrapla.ir.errors import ModelError, RegistryError, nearest
from tetrapla.ir.graph import Array, Node
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

PATTERNS = ("magnitude", "2:4")
FOUR, KEPT = 4, 2


@dataclass(frozen=True)
class Prune(Pass):
    """Pruning of convolutions and products by magnitude, without training.

    It chooses new values on purpose, so it admits no bound; a network must be trained on
    afterwards to be of use (2:4 takes 9 to 88 points of the digits' accuracy as it is).

    Args:
        pattern: "magnitude": the smallest of each layer's weights; "2:4": of each four
            consecutive along the summed axis the two largest stay, the earlier of equals, as
            NVIDIA's sparse tensor cores want them (Mishra et al., "Accelerating sparse deep
            neural networks", 2021). A last group of fewer than four keeps two at most.
        sparsity_frac: of "magnitude", the share that becomes zero, rounded down.
    """

    max_rel_error: ClassVar[float] = float("inf")
    pattern: str = "2:4"
    sparsity_frac: float = 0.5

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise RegistryError(
                f"no pattern '{self.pattern}'{nearest(self.pattern, PATTERNS)}; "
                f"there are: {', '.join(PATTERNS)}"
            )
        if not 0 <= self.sparsity_frac <= 1:
            raise ModelError(f"sparsity_frac must lie in 0..1, not {self.sparsity_frac}")

    def __call__(self, module: Module) -> Module:
        if module.shape_only:
            return module
        new = Rebuild(module)
        for node in new.graph.nodes:
            kept = self._kept(new, node)
            if kept is None:
                new.copy(node)
                continue
            x, w, *bias = node.operands
            weights = new.builder.weight(new.graph.constants[w.index], kept)
            operands = [new.of(x), weights, *map(new.of, bias)]
            made = new.builder.op(node.kind, operands, node.attributes, name=node.name)
            new.set(node.result, made)
        return new.finish()

    def _kept(self, new: Rebuild, node: Node) -> Array | None:
        """The layer's weights with zeros; None where nothing changes."""
        if node.kind not in ("nn.conv2d", "nn.matmul") or node.result.dtype != "f32":
            return None
        if not new.graph.is_weight(node.operands[1]):
            return None
        weights = new.graph.weight(node.operands[1])
        if self.pattern == "2:4":
            mask = two_of_four(weights, 1 if node.kind == "nn.conv2d" else weights.ndim - 2)
        else:
            mask = _largest(weights, self.sparsity_frac)
        if (mask | (weights == 0)).all():
            return None
        return np.where(mask, weights, np.float32(0))


def two_of_four(weights: Array, axis: int) -> NDArray[np.bool_]:
    """Where the two largest magnitudes of each four along an axis are."""
    sizes = np.moveaxis(np.abs(weights), axis, -1)
    length = sizes.shape[-1]
    margin = [(0, 0)] * (sizes.ndim - 1) + [(0, -length % FOUR)]
    # what fills up the last group is smaller than any weight
    quads = np.pad(sizes, margin, constant_values=-1).reshape(*sizes.shape[:-1], -1, FOUR)
    order = np.argsort(-quads, axis=-1, kind="stable")
    mask = np.zeros(quads.shape, np.bool_)
    np.put_along_axis(mask, order[..., :KEPT], True, axis=-1)
    flat = mask.reshape(*sizes.shape[:-1], -1)[..., :length]
    return np.moveaxis(flat, -1, axis)


def _largest(weights: Array, sparsity_frac: float) -> NDArray[np.bool_]:
    dropped = int(weights.size * sparsity_frac)
    mask = np.ones(weights.size, np.bool_)
    mask[np.argsort(np.abs(weights), axis=None, kind="stable")[:dropped]] = False
    return mask.reshape(weights.shape)
