r"""How far fused attention may be from its exact result.

With scores s exact and s' as the machine has them, ``|s' - s| <= t``, and w the exact softmax:

* The scores: as a product's elements (`rules`), then a product with the scale and a sum with
  the mask, u = 2^-24 each, which is 0 for a score of minus infinity.
* The softmax of any s' in ``s - t .. s + t`` lies between those where s_j is lowest and all
  others highest, and the reverse. What is hidden by a large negative number stays hidden by
  that, whatever its own error.
* A power: the difference, its product with log2 e and the constant round by 3 u of the
  difference, the exponential by 8 u (`rules`); beyond 105, exp is below 2^-126 and so is the
  machine's. It is scaled down once a tile of keys at most, by powers of differences that add up
  to no more than the range of the scores, so that 105 covers them too; each time by an
  exponential and a product, 9 u. The sum of S powers is within S u in any order; the quotient
  is within 4 u (a GPU's quick division). All are factors of w; tiles are not told apart.
* The powers enter the second product in its type: for float16 within 2^-11 w, or 2^-25 of the
  running maximum's power, whose sum is at least 1; the sum does not round them.
* The second product and its rescaled sum: (S + 2 tiles + 2) u of ``sum w |v|``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.backends.gpu.bounds.rules import (
    EXPONENTIAL,
    U32,
    Rounding,
    Tracked,
    gamma,
    tracked,
)
from tetrapla.ir.graph import Array, Node

SMALLEST = 105.0  # exp(-105) is below half of float32's smallest number
LEAST_TILE = 16  # keys; so many tiles at most
TINY = 2.0**-126


def attention(node: Node, operands: Sequence[Tracked], entered: Rounding | None) -> Tracked:
    """The rule of nn.attention; `entered`: what its products round their operands to.

    A row that sees nothing has what the operator gives it, without an error.
    """
    v = operands[2]
    s, t = _scores(node, operands)
    w, moved = _softmax(s, t)
    keys = s.shape[-1]
    factor = float(np.expm1(1.01 * U32 * _roundings(keys)))
    # a sum of powers is within the same factor, and the quotient of both
    spread = (w + moved) * 2 * factor / (1 - factor) + TINY
    if entered is not None:
        wide = w + moved
        spread = spread + entered.unit * wide + np.minimum(entered.tiny, wide)
    d = moved + spread
    g = (keys + 2 * -(-keys // LEAST_TILE) + 2) * U32 / (1 - keys * 2 * U32)
    y = _mixed(w, v.v)
    size = np.abs(v.v) + v.d
    away = _mixed(d, size) + g * _mixed(w + d, size)
    if v.d.any():
        away = away + _mixed(w, v.d)
    blind = np.isneginf(s).all(axis=-1, keepdims=True)
    nothing = 0.0 if node.str("masked_rows") == "zero" else np.nan
    return tracked(np.where(blind, nothing, y), np.where(blind, 0.0, away))


def _roundings(keys: int) -> float:
    """Of a power on its way into the sum, in units of u."""
    tiles = -(-keys // LEAST_TILE)
    return 2 * 3 * SMALLEST + EXPONENTIAL + (EXPONENTIAL + 1) * tiles + keys + 6


def _scores(node: Node, operands: Sequence[Tracked]) -> tuple[Array, Array]:
    """Exact scaled and masked scores, and bounds on the machine's."""
    q, k = (Tracked(x.v, x.d, x.n) for x in operands[:2])
    columns = q.v.shape[-1]
    g, scale = gamma(columns), abs(float(np.float32(node.float("scale"))))
    s = _product(q.v, k.v) * float(np.float32(node.float("scale")))
    size = _product(q.size, k.size) * scale
    t = (g + U32) * size
    for held, other in ((q, k), (k, q)):
        if held.d.any():
            pair = (held.d, other.size) if held is q else (other.size, held.d)
            t = t + _product(*pair) * scale
    if len(operands) > 3:
        s, t = _masked(node, operands[3], s, t)
    if node.int("causal"):
        rows, keys = s.shape[-2:]
        late = np.arange(keys) > np.arange(rows)[:, None] + node.int("causal_offset")
        s, t = np.where(late, -np.inf, s), np.where(late, 0.0, t)
    return s, np.where(np.isneginf(s), 0.0, t)


def _masked(node: Node, mask: Tracked, s: Array, t: Array) -> tuple[Array, Array]:
    more = s.ndim - mask.v.ndim
    shape = (len(mask.v), *(1,) * more, *mask.v.shape[1:])
    m, d = mask.v.reshape(shape), mask.d.reshape(shape)
    if node.operands[3].dtype == "i1":
        # a truth that is in doubt may show or hide a key
        return np.where(m != 0, s, -np.inf), np.where(d > 0, np.inf, t)
    with np.errstate(all="ignore"):
        made = s + m
        rounded = np.where(np.isfinite(made), U32 * (np.abs(made) + t + d), 0.0)
        return made, t + d + rounded


def _softmax(s: Array, t: Array) -> tuple[Array, Array]:
    """Exact weights, and how far those of scores within `t` of `s` may be."""
    with np.errstate(all="ignore"):
        top = s.max(axis=-1, keepdims=True)
        top = np.where(np.isneginf(top), 0.0, top)
        power = np.exp(s - top)
        total = power.sum(axis=-1, keepdims=True)
        w = np.where(total == 0, 0.0, power / np.where(total == 0, 1.0, total))
        # relative to an origin that keeps all of them finite
        origin = (s + t).max(axis=-1, keepdims=True)
        origin = np.where(np.isfinite(origin), origin, 0.0)
        high, low = np.exp(s + t - origin), np.exp(s - t - origin)
        highs, lows = (x.sum(axis=-1, keepdims=True) for x in (high, low))
        most = high / (lows - low + high)
        least = low / (highs - high + low)
        moved = np.maximum(most - w, w - least)
        # also where an infinity leaves no number, and the analysis' own rounding
        moved = np.where(np.isnan(moved), 1.0, moved)
        moved = np.where(np.isneginf(s) & (t == 0), 0.0, np.clip(moved, 0.0, 1.0))
    return w, np.where(t > 0, moved + (s.shape[-1] + 8) * 2.0**-52, moved)


def _product(q: Array, k: Array) -> Array:
    """``q kT`` of every head, of [n, ..., Hq, L, D] and [n, ..., Hk, S, D]."""
    return np.asarray(np.matmul(q, _spread(k, q.shape[-3]).swapaxes(-1, -2)))


def _mixed(w: Array, v: Array) -> Array:
    return np.asarray(np.matmul(w, _spread(v, w.shape[-3])))


def _spread(x: Array, heads: int) -> Array:
    """Key heads repeated for the queries that read them."""
    return np.repeat(x, heads // x.shape[-3], axis=-3)
