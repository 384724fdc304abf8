"""The rules of the error analysis in `bound`: what each operator does to values and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Node
from tetrapla.ir.op import evaluated
from tetrapla.simulators.gpu.formats import multiplied

U32 = 2.0**-24
U16 = 2.0**-11
SUBNORMAL16 = 2.0**-25
LARGEST16 = 65504.0
TINY = 2.0**-126  # below, results lose their relative accuracy
# of NumPy's and the GPU's float32 exponential, in units of U32; documented below 3 ulp = 6
EXPONENTIAL = 8


@dataclass(frozen=True)
class Rounding:
    """To a narrower float: z comes out within ``unit |z| + tiny``.

    Attributes:
        operand: the format, as `simulators.gpu.formats` has it.
        unit: 2^-p of p significant bits.
        tiny: half of the smallest number.
        largest: finite number; what is beyond may become an infinity.
    """

    operand: str
    unit: float
    tiny: float
    largest: float

    def __call__(self, z: Array) -> Array:
        """Numbers of float32, rounded; in float64."""
        return multiplied(z.astype(np.float32), self.operand).astype(np.float64)


# 11, 8 and 11 significant bits; exponents down to -14 (float16) and -126
ROUNDINGS: Mapping[str, Rounding] = {
    "f16": Rounding("f16", U16, SUBNORMAL16, LARGEST16),
    "bf16": Rounding("bf16", 2.0**-8, 2.0**-134, (2 - 2.0**-7) * 2.0**127),
    "tf32": Rounding("tf32", 2.0**-11, 2.0**-137, (2 - 2.0**-10) * 2.0**127),
}


@dataclass(frozen=True)
class Tracked:
    """Exact values of one side, and bounds on the errors that its arithmetic adds.

    Attributes:
        v: exact values, (invocations or 1, *shape).
        d: bound on each element's errors, as `v`.
        n: bound on the Euclidean norm of an invocation's errors, (invocations or 1,).
        sigma: of a constant in a product, the operator norm of the product; else infinite.
        chain: of a product's second operand, how many products are summed before their sum
            joins the accumulator; 0 where the order is not known.
        more: of a product's second operand, roundings of a term beside those of the sum.
    """

    v: Array
    d: Array
    n: Array
    sigma: float = inf
    chain: int = 0
    more: int = 0

    @property
    def size(self) -> Array:
        """The largest magnitude that the side can hold."""
        return np.asarray(np.abs(self.v) + self.d)


def tracked(v: Array, d: Array, n: Array | None = None) -> Tracked:
    """`n` is the elements' own norm where nothing better is known."""
    own = norm(d)
    return Tracked(v, d, own if n is None else np.minimum(own, n))


def norm(d: Array) -> Array:
    """The Euclidean norm of each invocation."""
    return np.asarray(np.sqrt(np.square(d).sum(axis=tuple(range(1, d.ndim)))))


def along(n: Array, like: Array) -> Array:
    """One number per invocation, laid against an array of values."""
    return n.reshape(len(n), *(1,) * (like.ndim - 1))


def stored(x: Tracked, to: Rounding) -> Tracked:
    """Charge a rounding; a possible overflow has no bound.

    An element without an error is rounded itself.
    """
    known = x.d == 0
    fresh = np.where(known, 0.0, to.unit * x.size + to.tiny)
    v = np.where(known, to(x.v), x.v)
    # an infinity that is known is held
    d = np.where((x.size > to.largest) & ~(known & np.isinf(v)), inf, x.d + fresh)
    return tracked(v, d, np.where(np.isfinite(norm(d)), x.n + norm(fresh), inf))


def rectified(v: Array, d: Array) -> tuple[Array, Array]:
    """ReLU: what stays below 0 has no error left."""
    return np.maximum(v, 0), np.where(v < 0, np.maximum(v + d, 0), d)


def gamma(k: int, chain: int = 0, more: int = 0) -> float:
    """The relative error of k products and a bias, added in float32.

    In any order and tiling, or in sums of at least 16 and at most `chain` products each: what
    counts is how many roundings one product goes through, and `more` besides.
    """
    n = min(k, chain or k) + ceil(k / 16) + 3 + more
    return n * U32 / (1 - n * U32)


def _matmul(node: Node, operands: Sequence[Tracked]) -> Tracked:
    k = node.operands[0].shape[-1]
    rank = max(t.v.ndim for t in operands[:2])
    a, b = (_widened(t, rank) for t in operands[:2])

    # of the columns of b, which make one output each
    def lengths() -> Array:
        return np.asarray(np.sqrt(np.square(b.size).sum(axis=-2, keepdims=True)))

    return _linear(node, np.matmul, a, b, operands[2:], lengths, k)


def _conv2d(node: Node, operands: Sequence[Tracked]) -> Tracked:
    geometry = {key: node.attributes[key] for key in ("strides", "pads", "dilations", "groups")}
    attributes: dict[str, Attribute] = {**geometry, "activation": "none"}

    def convolve(x: Array, w: Array) -> Array:
        return evaluated("nn.conv2d", [x, w], attributes)

    def product(x: Array, w: Array) -> Array:
        if len(w) > 1:
            pairs = zip(np.broadcast_to(x, (len(w), *x.shape[1:])), w, strict=True)
            return np.stack([convolve(i, j) for i, j in pairs])
        merged = x.reshape(-1, *x.shape[2:])
        y = convolve(merged, w[0])
        return np.asarray(y.reshape(*x.shape[:2], *y.shape[1:]))

    x, w = operands[:2]
    bias = [Tracked(b.v[..., None, None], b.d[..., None, None], b.n) for b in operands[2:]]

    def lengths() -> Array:
        own = np.sqrt(np.square(w.size).sum(axis=(2, 3, 4)))
        return np.asarray(own[:, None, :, None, None])

    return _linear(node, product, x, w, bias, lengths, int(np.prod(w.v.shape[2:])))


def _linear(
    node: Node,
    product: Callable[[Array, Array], Array],
    x: Tracked,
    w: Tracked,
    bias: Sequence[Tracked],
    lengths: Callable[[], Array],
    k: int,
) -> Tracked:
    """A product with its bias and ReLU; `product` is linear in both operands."""
    g = gamma(k, w.chain, w.more)
    v = product(x.v, w.v)
    fresh = g * product(x.size, w.size)
    if w.d.any():
        fresh = fresh + product(np.abs(x.v), w.d)
    for term in bias:
        v = v + term.v
        fresh = fresh + term.d + g * term.size
    # what is a whole number of steps, few enough for float32, is added without an error
    if not w.more:
        fresh = np.where(fresh < g * 2**24 * _step([x, w], bias), 0.0, fresh)
    handed_on = product(x.d, w.size) if x.d.any() else np.zeros_like(v)
    n = None
    if w.sigma < inf:
        n = norm(fresh) + w.sigma * x.n
        # each output's error is a row of the weights times part of the errors (Cauchy, Schwarz)
        handed_on = np.minimum(handed_on, lengths() * along(x.n, v))
    d = np.asarray(fresh + handed_on)
    if node.attributes["activation"] == "relu":
        v, d = rectified(v, d)
    return tracked(v, d, n)


def _step(factors: Sequence[Tracked], terms: Sequence[Tracked]) -> float:
    """A step of which every product and term is a whole multiple; 0 where there is none.

    Operands with errors have none.
    """
    if any(t.d.any() for t in (*factors, *terms)):
        return 0.0
    of_products = float(np.prod([_grid(t.v) for t in factors]))
    return min([of_products, *(_grid(t.v) for t in terms)])


def _grid(v: Array) -> float:
    """A power of two, from 1 down to 2^-10, of which all are multiples; 0 where none is."""
    for step in (1.0, 2.0**-5, 2.0**-10):
        few = v.reshape(-1)[:256] / step
        if np.array_equal(few, np.rint(few)):
            scaled = v / step
            if np.array_equal(scaled, np.rint(scaled)):
                return step
    return 0.0


def _add(node: Node, operands: Sequence[Tracked]) -> Tracked:
    a, b = (_widened(t, len(node.result.shape) + 1) for t in operands)
    d = a.d + b.d
    fresh = U32 * (_finite(a.v + b.v) + d)
    same = a.v.shape[1:] == b.v.shape[1:]  # a broadcast error counts more than once
    return tracked(a.v + b.v, d + fresh, a.n + b.n + norm(fresh) if same else None)


def _mul(node: Node, operands: Sequence[Tracked]) -> Tracked:
    a, b = (_widened(t, len(node.result.shape) + 1) for t in operands)
    d = np.abs(a.v) * b.d + a.d * b.size
    return tracked(a.v * b.v, d + U32 * a.size * b.size)


def _relu(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    return tracked(*rectified(x.v, x.d), x.n)


def _softmax(node: Node, operands: Sequence[Tracked]) -> Tracked:
    """Each power between those of ``x - t`` and ``x + t``, over the sum of the others'.

    t is the error of x, the difference's rounding and the exponential's. What is masked, by an
    infinity or by a number so low that its error is large too, has a power of 0 all the same.
    """
    (x,) = operands
    axis = node.int("axis") % len(node.result.shape) + 1
    shifted = x.v - x.v.max(axis=axis, keepdims=True)
    power = np.exp(shifted)
    y = power / power.sum(axis=axis, keepdims=True)
    # the machine's largest is one of those that may be
    own = np.where(shifted == 0, x.d, 0).max(axis=axis, keepdims=True)
    top = np.where(shifted + x.d >= -own, x.d, 0).max(axis=axis, keepdims=True)
    t = x.d + U32 * (_finite(shifted) + x.d + top + EXPONENTIAL)
    low, high = (np.exp(shifted + side * t) for side in (-1, 1))
    least, most = (each.sum(axis=axis, keepdims=True) for each in (low, high))
    # the terms of the sum are its own
    up = high / np.maximum(least - low + high, TINY)
    down = low / (most - high + low)
    moved = np.clip(np.maximum(up - y, y - down), 0, 1)
    # where an error leaves no number; what is none without one has none
    moved = np.where(np.isnan(y), 0.0, np.where(np.isnan(moved), 1.0, moved))
    rounding = np.expm1(2 * U32 * (x.v.shape[axis] + 2))  # of the sum and the quotient
    return tracked(y, moved + rounding * (y + moved) + TINY)


def _reshape(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    v, d = (a.reshape(len(a), *node.result.shape) for a in (x.v, x.d))
    return tracked(v, d, x.n)


def _transpose(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    axes = (0, *(axis + 1 for axis in node.ints("perm")))
    return tracked(x.v.transpose(axes), x.d.transpose(axes), x.n)


def _max_pool(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    return tracked(_merged(node, x.v), _merged(node, x.d), x.n * _overlap(node))


def _average_pool(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    fresh = gamma(int(np.prod(node.ints("kernel")))) * _merged(node, x.size)
    # a mean is at most the norm of its window
    n = x.n * _overlap(node) + norm(fresh)
    return tracked(_merged(node, x.v), _merged(node, x.d) + fresh, n)


def _global_average_pool(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    pixels = int(np.prod(x.v.shape[-2:]))
    fresh = gamma(pixels) * _merged(node, x.size)
    n = x.n / np.sqrt(pixels) + norm(fresh)
    return tracked(_merged(node, x.v), _merged(node, x.d) + fresh, n)


def _overlap(node: Node) -> float:
    """How much pooling can stretch: the root of how many windows an element lies in."""
    kernel, strides = node.ints("kernel"), node.ints("strides")
    dilations = node.ints("dilations") if "dilations" in node.attributes else (1, 1)
    shares = [
        min(k, ceil(((k - 1) * d + 1) / s))
        for k, s, d in zip(kernel, strides, dilations, strict=True)
    ]
    return float(np.sqrt(np.prod(shares)))


def _batch_norm(node: Node, operands: Sequence[Tracked]) -> Tracked:
    x, *parameters = operands
    column = (-1, *(1,) * (len(node.result.shape) - 2))
    scale, bias, mean, variance = (t.v.reshape(len(t.v), 1, *column) for t in parameters)
    gain = scale / np.sqrt(variance + node.float("epsilon"))
    # difference, sum with epsilon, root, quotient, product, sum: fewer than gamma(1) counts,
    # on magnitudes that no cancellation shrinks
    size = (x.size + np.abs(mean)) * np.abs(gain) + np.abs(bias)
    fresh = gamma(4) * size
    n = x.n * np.abs(gain).max() + norm(fresh)
    if any(t.d.any() for t in parameters):  # computed ones, which no exporter writes
        return tracked((x.v - mean) * gain + bias, np.full(size.shape, inf))
    return tracked((x.v - mean) * gain + bias, x.d * np.abs(gain) + fresh, n)


def _finite(v: Array) -> Array:
    """Magnitudes; 0 for an infinity, which a mask adds and nothing rounds."""
    return np.where(np.isfinite(v), np.abs(v), 0.0)


Rule = Callable[[Node, Sequence[Tracked]], Tracked]
RULES: Mapping[str, Rule] = {
    "nn.matmul": _matmul,
    "nn.conv2d": _conv2d,
    "nn.add": _add,
    "nn.mul": _mul,
    "nn.relu": _relu,
    "nn.softmax": _softmax,
    "nn.reshape": _reshape,
    "nn.transpose": _transpose,
    "nn.max_pool2d": _max_pool,
    "nn.average_pool2d": _average_pool,
    "nn.global_average_pool": _global_average_pool,
    "nn.batch_norm": _batch_norm,
}


def _widened(x: Tracked, rank: int) -> Tracked:
    """`x` with axes of 1 behind the invocations, so that shapes broadcast from the right."""
    shape = (len(x.v), *(1,) * (rank - x.v.ndim), *x.v.shape[1:])
    return replace(x, v=x.v.reshape(shape), d=x.d.reshape(shape))


def _merged(node: Node, x: Array) -> Array:
    """A node of rank 4 on all invocations at once: they join the images."""
    y = evaluated(node.kind, [x.reshape(-1, *x.shape[2:])], node.attributes)
    return np.asarray(y.reshape(*x.shape[:2], *y.shape[1:]))
