"""Attention as one kernel: the scores of a tile of queries stay in registers.

The online softmax of M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax",
2018, algorithm 3, with the values summed along the way as in T. Dao et al., "FlashAttention",
NeurIPS 2022, algorithm 1. A program instance holds a tile of queries of one head and goes
through the keys tile by tile; what it has summed is relative to the largest score so far, and
is scaled down where a larger one comes. Tiles that a causal mask hides from all of its queries
are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.gpu.formats import is_float, multiplied
from tetrapla.simulators.gpu.kernels import Kernel


@dataclass(frozen=True)
class Strided:
    """A tensor [*lead, heads, rows, columns] in a buffer: an offset, and a stride per axis."""

    buffer: str
    offset: int
    strides: tuple[int, ...]

    def at(self, lead: Array, head: Array, row: Array, column: Array) -> Array:
        """Offsets [instances, heads, rows, columns].

        Args:
            lead: coordinates of the leading axes, [axes, instances].
            head: numbers of heads.
            row: numbers of rows.
            column: numbers of columns.
        """
        *outer, by_head, by_row, by_column = self.strides
        start = np.full(lead.shape[1], self.offset, np.int64)
        for coordinate, stride in zip(lead, outer, strict=True):
            start += coordinate * stride
        plane = start[:, None] + head * by_head
        inner = row[:, None] * by_row + column * by_column
        found: Array = plane[:, :, None, None] + inner
        return found


@dataclass(frozen=True)
class FusedAttention(Kernel):
    """``softmax(scale q kT + mask) v`` of every head, ``q[*lead, heads, rows, columns]``.

    Keys and values lie in one or more segments, one behind another (a cache, and what is new);
    head h reads key head ``h // (heads / key_heads)``. Query i sees the keys up to
    ``i + last_key`` where that is given. A query that sees no key gives `masked_rows`, nan or
    zero. `operand` is the type that enters the multipliers: the softmax's powers, too.

    Attributes:
        buffers, offsets, strides: of q, of y, then of k and v of every segment, then of the
            mask where there is one; the strides of all tensors one behind another.
        segments: how many keys each segment has.
        masked: whether there is a mask: truths, or numbers that are added.
        tile_rows, tile_keys: of a program instance.
    """

    operand: str
    buffers: tuple[str, ...]
    offsets: tuple[int, ...]
    strides: tuple[int, ...]
    lead: tuple[int, ...]
    heads: int
    key_heads: int
    rows: int
    columns: int
    value_columns: int
    segments: tuple[int, ...]
    masked: bool
    scale: float
    last_key: int | None
    masked_rows: str
    tile_rows: int
    tile_keys: int

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.buffers[0], *self.buffers[2:])))

    @property
    def q(self) -> Strided:
        """The queries."""
        return self._tensor(0)

    @property
    def y(self) -> Strided:
        """The result; its buffer is the kernel's output."""
        return self._tensor(1)

    @property
    def mask(self) -> Strided | None:
        """Laid against [*lead, heads, rows, keys]; strides are 0 where it is repeated."""
        return self._tensor(len(self.buffers) - 1) if self.masked else None

    def key(self, segment: int) -> Strided:
        """The keys of a segment."""
        return self._tensor(2 + 2 * segment)

    def value(self, segment: int) -> Strided:
        """The values of a segment."""
        return self._tensor(3 + 2 * segment)

    @property
    def roles(self) -> dict[str, str]:
        """By buffer, what it is."""
        several = len(self.segments) > 1
        pairs = [
            f"{name}_{segment}" if several else name
            for segment in range(len(self.segments))
            for name in "kv"
        ]
        names = ["q", "y", *pairs, *(["mask"] if self.masked else [])]
        found: dict[str, str] = {}
        for buffer, name in zip(self.buffers, names, strict=True):
            if name != "y":
                found.setdefault(buffer, name)
        return found

    @property
    def keys(self) -> int:
        """In all segments."""
        return sum(self.segments)

    @property
    def instances(self) -> int:
        """Independent attentions of all heads."""
        return int(np.prod(self.lead, dtype=np.int64))

    @property
    def grid(self) -> tuple[int, int, int]:
        """Program instances: tiles of queries, heads, instances."""
        return -(-self.rows // self.tile_rows), self.heads, self.instances

    def seen(self, first: int, segment: int) -> int:
        """How many keys of a segment some query of the tile from `first` on may see."""
        count = self.segments[segment]
        if self.last_key is None:
            return count
        last = min(first + self.tile_rows, self.rows) - 1 + self.last_key
        return max(0, min(count, last + 1 - sum(self.segments[:segment])))

    @property
    def pairs(self) -> int:
        """Queries times the keys that their tiles look at, of all heads."""
        places = range(len(self.segments))
        tiles = range(0, self.rows, self.tile_rows)
        seen = sum(
            min(self.tile_rows, self.rows - first) * self.seen(first, segment)
            for first in tiles
            for segment in places
        )
        return seen * self.heads * self.instances

    @property
    def macs(self) -> int:
        return self.pairs * (self.columns + self.value_columns)

    def _tensor(self, number: int) -> Strided:
        rank = len(self.lead) + 3
        own = self.strides[number * rank : (number + 1) * rank]
        return Strided(self.buffers[number], self.offsets[number], own)


def attended(kernel: FusedAttention, flat: Mapping[str, Array]) -> Array:
    """What the kernel stores, (invocations, elements), float32.

    Args:
        kernel: the attention.
        flat: buffers by name, (invocations or 1, elements).
    """
    count = max(len(flat[name]) for name in kernel.sources)
    lead = np.indices(kernel.lead).reshape(len(kernel.lead), kernel.instances)
    head, column = np.arange(kernel.heads), np.arange(kernel.value_columns)
    elements = kernel.instances * kernel.heads * kernel.rows * kernel.value_columns
    y = np.full((count, elements), np.nan, np.float32)
    for first in range(0, kernel.rows, kernel.tile_rows):
        row = np.arange(first, min(kernel.rows, first + kernel.tile_rows))
        total, mixed = _tile(kernel, flat, lead, row)
        nothing = np.float32(0 if kernel.masked_rows == "zero" else np.nan)
        made = np.where(total == 0, nothing, mixed / total)
        y[:, kernel.y.at(lead, head, row, column)] = made
    return y


def _tile(
    kernel: FusedAttention, flat: Mapping[str, Array], lead: Array, row: Array
) -> tuple[Array, Array]:
    """Sums of powers and of mixed values of a tile of queries, in all heads and instances."""
    head = np.arange(kernel.heads)
    q = _operand(kernel, flat, kernel.q, (lead, head, row, np.arange(kernel.columns)))
    top = np.full((*q.shape[:-1], 1), -np.inf, np.float32)
    total, mixed = np.zeros_like(top), np.float32(0)
    for segment, key in _tiles(kernel, int(row[0])):
        s = _scores(kernel, flat, q, lead, row, segment, key)
        higher = np.maximum(top, s.max(axis=-1, keepdims=True))
        origin = np.where(higher == -np.inf, np.float32(0), higher)
        shrink, power = np.exp(top - origin), np.exp(s - origin)
        total = total * shrink + power.sum(axis=-1, keepdims=True)
        own = head // (kernel.heads // kernel.key_heads)
        at = lead, own, key, np.arange(kernel.value_columns)
        v = _operand(kernel, flat, kernel.value(segment), at)
        mixed = mixed * shrink + np.matmul(multiplied(power, kernel.operand), v)
        top = higher
    return total, np.asarray(mixed)


def _tiles(kernel: FusedAttention, first: int) -> Iterator[tuple[int, Array]]:
    """The tiles of keys that the queries from `first` on go through: segment, and numbers."""
    for segment in range(len(kernel.segments)):
        seen = kernel.seen(first, segment)
        for start in range(0, seen, kernel.tile_keys):
            stop = min(start + kernel.tile_keys, kernel.segments[segment])
            yield segment, np.arange(start, stop)


def _scores(
    kernel: FusedAttention,
    flat: Mapping[str, Array],
    q: Array,
    lead: Array,
    row: Array,
    segment: int,
    key: Array,
) -> Array:
    """The scaled and masked scores [invocations, instances, heads, rows, keys]."""
    head = np.arange(kernel.heads)
    own = head // (kernel.heads // kernel.key_heads)
    at = lead, own, key, np.arange(kernel.columns)
    k = _operand(kernel, flat, kernel.key(segment), at)
    s = np.matmul(q, k.swapaxes(-1, -2)) * np.float32(kernel.scale)
    place = key + sum(kernel.segments[:segment])
    hidden = np.float32(-np.inf)
    if kernel.mask is not None:
        mask = flat[kernel.mask.buffer][:, kernel.mask.at(lead, head, row, place)]
        added = is_float(mask.dtype)
        s = s + mask.astype(np.float32) if added else np.where(mask, s, hidden)
    if kernel.last_key is not None:
        s = np.where(place <= row[:, None] + kernel.last_key, s, hidden)
    return np.asarray(s, np.float32)


def _operand(
    kernel: FusedAttention,
    flat: Mapping[str, Array],
    tensor: Strided,
    at: tuple[Array, Array, Array, Array],
) -> Array:
    return multiplied(flat[tensor.buffer][:, tensor.at(*at)], kernel.operand)
