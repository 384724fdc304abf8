"""Attention becomes the two products that it is, with the softmax between them.

    before   y = nn.attention(q, k, v)        after   t = nn.transpose(k)
                                                      s = nn.matmul(q, t) * @scale
                                                      m = nn.where(@seen, s, @hidden)
                                                      w = nn.softmax(m)
                                                      y = nn.matmul(w, v)

For a machine that multiplies matrices and has no attention of its own. Query heads that read
one key head are rows of one matrix (grouped queries), a causal mask is a constant, and a query
that sees no key gives what the operator says: NaN, or 0 without a NaN on the way. The last
product has the operator's name; the others are called ``<name>.scores``, ``.scaled``, ``.seen``
and ``.softmax``. The tile of an online softmax is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tetrapla.ir.graph import DTYPES, Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.nn.precision import work_type
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.tile_attention import TileAttention


@dataclass(frozen=True)
class DecomposeAttention(Pass):
    """The plain form keeps every bit where a product sums in one order; a tiled one moves.

    The steps are those of the operator's plain definition, in its types and its order, on
    operands of the same shapes. A tiled form (``block`` above 0) becomes the plain one, which
    `tile-attention` bounds.
    """

    max_rel_error: ClassVar[float] = TileAttention.max_rel_error

    def __call__(self, module: Module) -> Module:
        known = not module.shape_only

        def decomposed(edit: Edit, node: Node) -> Value | None:
            sizes = (v.elements for v in node.operands)
            if node.kind != "nn.attention" or not all(sizes):
                return None
            return _Attention(edit, node, known).decomposed()

        return rewrite(module, decomposed)


class _Attention:
    """One operator and what stands for it."""

    def __init__(self, edit: Edit, node: Node, known: bool) -> None:
        self._edit = edit
        self._node = node
        self._known = known
        self._dtype = node.result.dtype
        self._work = "f64" if self._dtype == "f64" else "f32"
        self._numbers = work_type(DTYPES[self._dtype])
        self._blind = False  # whether a query may see no key

    def decomposed(self) -> Value:
        q, k, v = (self._wide(value) for value in self._node.operands[:3])
        heads, queries = k.shape[-3], q.shape
        scores = self._product(
            self._grouped(q, heads), self._turned(k), (*queries[:-1], k.shape[-2]), "scores"
        )
        scale = np.array(np.float32(self._node.float("scale")), self._numbers)
        if scale != 1:
            scores = self._op("nn.mul", scores, self._weight("scale", scale), name="scaled")
        weights = self._softmax(self._masked(scores))
        shape = (*queries[:-1], v.shape[-1])
        y = self._product(self._grouped(weights, heads), v, shape, "")
        return y if self._work == self._dtype else self._cast(y, self._dtype, "rounded")

    def _product(self, a: Value, b: Value, shape: tuple[int, ...], name: str) -> Value:
        made = self._op("nn.matmul", a, b, name=name, activation="none")
        return made if made.shape == shape else self._op("nn.reshape", made, shape=shape)

    def _grouped(self, x: Value, heads: int) -> Value:
        """[..., Hq, L, n] with the queries that read one key head in one matrix."""
        *lead, hq, rows, n = x.shape
        if hq == heads:
            return x
        return self._op("nn.reshape", x, shape=(*lead, heads, hq // heads * rows, n))

    def _turned(self, k: Value) -> Value:
        rank = len(k.shape)
        perm = (*range(rank - 2), rank - 1, rank - 2)
        return self._op("nn.transpose", k, name="keys", perm=perm)

    def _masked(self, scores: Value) -> Value:
        mask = self._node.operands[3] if len(self._node.operands) > 3 else None
        if mask is not None and mask.dtype != "i1":
            scores = self._op("nn.add", scores, self._wide(mask), name="masked")
            self._blind = True
        elif mask is not None:
            scores = self._shown(mask, scores)
        last = self._node.int("causal_offset")
        queries, keys = scores.shape[-2:]
        if self._node.int("causal") and last < keys - 1:
            seen = np.arange(keys) <= np.arange(queries)[:, None] + last
            scores = self._shown(self._weight("seen", seen), scores)
        return scores

    def _shown(self, seen: Value, scores: Value) -> Value:
        """Minus infinity in place of the scores of keys that are not seen."""
        found = self._edit.constant(seen)
        # two masks, each of which shows some key, may hide all of them together
        self._blind |= found is None or not found.any(axis=-1).all() or self._masks() > 1
        hidden = self._weight("hidden", np.array(-np.inf, self._numbers))
        return self._op("nn.where", seen, scores, hidden, name="seen")

    def _masks(self) -> int:
        return len(self._node.operands) - 3 + self._node.int("causal")

    def _softmax(self, scores: Value) -> Value:
        if not self._blind or self._node.str("masked_rows") != "zero":
            return self._op("nn.softmax", scores, name="softmax", axis=-1)
        axis = len(scores.shape) - 1
        top = self._op("nn.reduce_max", scores, name="top", axes=(axis,), keepdims=1)
        hidden = self._weight("hidden", np.array(-np.inf, self._numbers))
        none = self._op("nn.equal", top, hidden, name="none")
        zero = self._weight("zero", np.zeros((), self._numbers))
        shown = self._op("nn.where", none, zero, scores, name="some")
        weights = self._op("nn.softmax", shown, name="softmax", axis=-1)
        return self._op("nn.where", none, zero, weights, name="zeroed")

    def _wide(self, value: Value) -> Value:
        return value if value.dtype == self._work else self._cast(value, self._work, "wide")

    def _cast(self, value: Value, dtype: str, name: str) -> Value:
        return self._op("nn.cast", value, name=name, dtype=dtype)

    def _op(
        self,
        kind: str,
        *operands: Value,
        name: str = "shape",
        **attributes: int | str | tuple[int, ...],
    ) -> Value:
        label = f"{self._node.name}.{name}" if name else self._node.name
        return self._edit.op(kind, operands, attributes, label)

    def _weight(self, suffix: str, array: Array) -> Value:
        symbol = f"{self._node.name}.{suffix}"
        if self._known:
            return self._edit.weight(symbol, array)
        dtype = "i1" if array.dtype == np.bool_ else self._work
        return self._edit.unknown(symbol, array.shape, dtype)
