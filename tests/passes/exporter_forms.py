"""What exporters write in place of one operator: each function draws one of the forms."""

from __future__ import annotations

from math import pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from tetrapla.ir.graph import Attribute, Value

if TYPE_CHECKING:
    from tests.passes.random_graphs import Draft

NORMS = ("div", "reciprocal", "one over", "power", "inverse first")


def _square(draft: Draft, x: Value) -> Value:
    if draft.draw.integers(2):
        return draft.op("mul", x, x)
    return draft.op("pow", x, draft.number(2.0))


def _divided(draft: Draft, x: Value, power: Value) -> Value:
    """``x / sqrt(power + epsilon)`` in one of its forms."""
    sum_ = draft.op("add", power, draft.number(1e-5))
    match draft.pick(NORMS):
        case "div":
            return draft.op("div", x, draft.op("sqrt", sum_))
        case "reciprocal":
            return draft.op("mul", x, draft.op("reciprocal", draft.op("sqrt", sum_)))
        case "one over":
            root = draft.op("sqrt", sum_)
            return draft.op("mul", draft.op("div", draft.number(1.0), root), x)
        case "power":
            return draft.op("mul", x, draft.op("pow", sum_, draft.number(-0.5)))
        case _:
            return draft.op("mul", x, draft.op("sqrt", draft.op("reciprocal", sum_)))


def _mean(draft: Draft, x: Value) -> Value:
    """Over the last axis of three, which stays or is put back by a reshape."""
    if draft.draw.integers(2):
        return draft.op("reduce_mean", x, axes=(-1,), keepdims=1)
    dropped = draft.op("reduce_mean", x, axes=(2,), keepdims=0)
    return draft.op("reshape", dropped, shape=(*x.shape[:2], 1))


def _scaled_first(draft: Draft, x: Value) -> Value:
    """``scale * x``, where the scale stands before the quotient."""
    shape = (8,) if draft.draw.integers(2) else (1, 1, 8)
    return draft.op("mul", *[draft.normal("scale", *shape), x][:: draft.draw.choice([1, -1])])


def layer_norm(draft: Draft, x: Value) -> Value:
    """A layer normalisation over the last axis, with or without parameters."""

    def centred() -> Value:
        mean = _mean(draft, x)
        if draft.draw.integers(2):
            return draft.op("sub", x, mean)
        return draft.op("add", x, draft.op("mul", mean, draft.number(-1.0)))

    d = centred()
    other = centred() if draft.draw.integers(2) else d
    power = _mean(draft, _square(draft, other))
    place = draft.pick(("none", "first", "last"))
    y = _divided(draft, _scaled_first(draft, d) if place == "first" else d, power)
    if place == "last":
        y = draft.op("mul", y, draft.normal("scale", 8))
    if draft.draw.integers(2):
        y = draft.op("add", draft.normal("bias", 1, 1, 8), y)
    return y


def rms_norm(draft: Draft, x: Value) -> Value:
    """A root-mean-square normalisation over the last axis."""
    power = _mean(draft, _square(draft, x))
    place = draft.pick(("none", "first", "last"))
    y = _divided(draft, _scaled_first(draft, x) if place == "first" else x, power)
    return draft.op("mul", draft.normal("scale", 8), y) if place == "last" else y


def group_norm(draft: Draft, x: Value) -> Value:
    """Two groups of channels, normalised as the instances of a reshaped value."""
    rows = draft.op("reshape", x, shape=(1, 2, x.elements // 2))
    one = draft.build.weight("one", np.ones(2, np.float32))
    zero = draft.build.weight("zero", np.zeros(2, np.float32))
    if draft.draw.integers(2):
        y = draft.op("group_norm", rows, one, zero, groups=2, epsilon=1e-5)
    else:
        y = draft.op("instance_norm", rows, one, zero, epsilon=1e-5)
    y = draft.op("reshape", y, shape=x.shape)
    y = draft.op("mul", y, draft.normal("scale", x.shape[1], 1, 1))
    return draft.op("add", y, draft.normal("bias", x.shape[1], 1, 1))


def silu(draft: Draft, x: Value) -> Value:
    """A product with the sigmoid, or the quotient by one more than the exponential."""
    if draft.draw.integers(2):
        return draft.op("mul", *[draft.op("sigmoid", x), x][:: draft.draw.choice([1, -1])])
    power = draft.op("exp", draft.op("neg", x))
    return draft.op("div", x, draft.op("add", power, draft.number(1.0)))


def gelu(draft: Draft, x: Value) -> Value:
    """The error function's form in three associations, or the cubic in tanh in two."""
    match draft.pick(("torch", "scaled", "quotient", "cube", "power")):
        case "torch":
            t = draft.op("erf", draft.op("div", x, draft.number(sqrt(2))))
            y = draft.op("mul", x, draft.op("add", t, draft.number(1.0)))
            return draft.op("mul", y, draft.number(0.5))
        case "scaled":
            t = draft.op("erf", draft.op("mul", x, draft.number(sqrt(0.5))))
            half = draft.op("mul", draft.number(0.5), x)
            return draft.op("mul", half, draft.op("add", draft.number(1.0), t))
        case "quotient":
            t = draft.op("erf", draft.op("mul", x, draft.number(sqrt(0.5))))
            y = draft.op("add", x, draft.op("mul", x, t))
            return draft.op("div", y, draft.number(2.0))
        case "cube":
            cube = draft.op("mul", draft.op("mul", x, x), x)
        case _:
            cube = draft.op("pow", x, draft.number(3.0))
    z = draft.op("add", x, draft.op("mul", cube, draft.number(0.044715)))
    t = draft.op("tanh", draft.op("mul", z, draft.number(sqrt(2 / pi))))
    half = draft.op("mul", x, draft.number(0.5))
    return draft.op("mul", half, draft.op("add", t, draft.number(1.0)))


def attention(draft: Draft, x: Value) -> Value:
    """Two heads of width 4 over [2, 5, 8], perhaps with one head of keys; a residual."""
    grouped = bool(draft.draw.integers(2))
    q = _heads(draft, x, 2)
    k, v = (_heads(draft, x, 1 if grouped else 2) for _ in range(2))
    if grouped:
        k, v = _repeated(draft, k), _repeated(draft, v)
    scores = _scores(draft, q, k)
    weights = draft.op("softmax", _masked(draft, scores), axis=-1)
    if draft.draw.integers(2):
        same = draft.op("equal", weights, weights)
        weights = draft.op("where", draft.op("not", same), draft.number(0.0), weights)
    y = draft.layer("mixture", "matmul", weights, v, activation="none")
    y = draft.op("reshape", draft.op("transpose", y, perm=(0, 2, 1, 3)), shape=(2, 5, 8))
    return draft.op("add", y, x)


def _heads(draft: Draft, x: Value, heads: int) -> Value:
    y = draft.op("matmul", x, draft.scaled("w", 8, 4 * heads), activation="none")
    y = draft.op("reshape", y, shape=(2, 5, heads, 4))
    return draft.op("transpose", y, perm=(0, 2, 1, 3))


def _repeated(draft: Draft, x: Value) -> Value:
    y = draft.op("reshape", x, shape=(2, 1, 1, 5, 4))
    y = draft.op("expand", y, shape=(2, 1, 2, 5, 4))
    return draft.op("reshape", y, shape=(2, 2, 5, 4))


def _scores(draft: Draft, q: Value, k: Value) -> Value:
    if draft.draw.integers(2):
        keys = draft.op("transpose", k, perm=(0, 1, 3, 2))
    else:
        keys = draft.op("transpose", draft.op("reshape", k, shape=(4, 5, 4)), perm=(0, 2, 1))
        keys = draft.op("reshape", keys, shape=(2, 2, 4, 5))
    match draft.pick(("both", "product", "quotient", "none")):
        case "both":
            q, keys = (draft.op("mul", y, draft.number(sqrt(0.5))) for y in (q, keys))
            return draft.op("matmul", q, keys, activation="none")
        case "product":
            scores = draft.op("matmul", q, keys, activation="none")
            return draft.op("mul", scores, draft.number(0.5))
        case "quotient":
            scores = draft.op("matmul", q, keys, activation="none")
            return draft.op("div", scores, draft.number(2.0))
        case _:
            return draft.op("matmul", q, keys, activation="none")


def _masked(draft: Draft, scores: Value) -> Value:
    seen = np.tril(np.ones((5, 5), bool))
    lowest = float(np.finfo(np.float32).min)
    match draft.pick(("none", "causal", "causal choice", "added", "chosen")):
        case "causal":
            array = np.where(seen, 0, lowest).astype(np.float32)[None, None]
            return draft.op("add", scores, draft.build.weight("causal", array))
        case "causal choice":
            seen_ = draft.build.weight("seen", seen)
            return draft.op("where", seen_, scores, draft.number(lowest))
        case "added":
            return draft.op("add", scores, draft.normal("added", 2, 1, 5, 5))
        case "chosen":
            hidden = draft.op("greater", draft.normal("score", 2, 1, 1, 5), draft.number(0.5))
            return draft.op("where", hidden, draft.number(lowest), scores)
        case _:
            return scores


def lrn(draft: Draft, x: Value) -> Value:
    """A normalisation over three channels around, as PyTorch's."""
    n, c, h, w = x.shape
    square = draft.op("reshape", _square(draft, x), shape=(n, 1, c, h, w))
    pads = (0, 0, 1, 0, 0, 0, 0, 1, 0, 0)
    square = draft.op("pad", square, pads=pads, mode="constant", value=0.0)
    window: dict[str, Attribute] = {"kernel": (3, 1, 1), "strides": (1, 1, 1)}
    window |= {"pads": (0,) * 6, "dilations": (1, 1, 1), "overhang": (0, 0, 0)}
    mean = draft.op("average_pool3d", square, **window, count_include_pad=1)
    mean = draft.op("mul", draft.op("reshape", mean, shape=x.shape), draft.number(0.3))
    power = draft.op("pow", draft.op("add", mean, draft.number(2.0)), draft.number(0.75))
    return draft.op("div", x, power)


def hard_swish(draft: Draft, x: Value) -> Value:
    """A product with the hard sigmoid, or with a clip and a sixth in one of three places."""
    if draft.draw.integers(2):
        line = draft.op("hard_sigmoid", x, alpha=1 / 6, beta=0.5)
        return draft.op("mul", *[line, x][:: draft.draw.choice([1, -1])])
    line = draft.op("clip", draft.op("add", x, draft.number(3.0)), low=0.0, high=6.0)
    match draft.pick(("behind", "line", "factor")):
        case "behind":
            return draft.op("div", draft.op("mul", x, line), draft.number(6.0))
        case "line":
            return draft.op("mul", x, draft.op("div", line, draft.number(6.0)))
        case _:
            return draft.op("mul", draft.op("mul", x, draft.number(1 / 6)), line)
