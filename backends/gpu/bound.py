r"""How far a float plan may be from the reference: a bound on each output element.

Running error analysis (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002,
chapters 3 and 4), carried through the module's graph in float64 on the reference's own exact
arithmetic, never on the machine's results. Each value has the exact v and a bound d with
``|machine - v| + |reference - v| <= d``; both sides satisfy their own share of each rule, so
the sum does.

* Storage: fl16(z) is within ``u16 |z| + 2^-25`` of z, u16 = 2^-11 (2^-25: half a subnormal).
  Every arithmetic result is charged for it, also where a fused kernel keeps it in registers.
* Products: with x' = x + dx, w' = w + dw and any order of summation of n terms in float32,
  ``|sum fl(x' w') - sum x w| <= sum |x| dw + dx (|w| + dw) + g (|x| + dx)(|w| + dw)``;
  g = n u / (1 - n u), u = 2^-24, n = K + ceil(K / 16) + 3 for K products, the sums of k tiles
  (at least 16 wide), and the bias. A constant's dw is its actual rounding, known beforehand.
* Maxima, ReLU, reshapes and transposes pass d on; sums add it; means average it.
* Softmax under logits off by t_i <= d_i + max d: ``|dy| <= min(t / 4, y (e^t - 1))``.

The bound of a report is max d / max |reference|, the error's own normalisation. An fp16 value
that may overflow makes it infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf

import numpy as np

from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.ir.op import OPS

U32 = 2.0**-24
U16 = 2.0**-11
SUBNORMAL16 = 2.0**-25
LARGEST16 = 65504.0
# of NumPy's and the GPU's float32 exponential, in units of U32; documented below 3 ulp = 6
EXPONENTIAL = 8
PRODUCTS = ("nn.matmul", "nn.conv2d")
# float results that depend on the order of a sum or on the library's exponential
INEXACT = (*PRODUCTS, "nn.softmax", "nn.average_pool2d", "nn.global_average_pool")
CHUNK = 64  # invocations at a time, which bounds the memory


@dataclass(frozen=True)
class Tracked:
    """Exact values and the bound of both sides' errors, each (invocations or 1, *shape)."""

    v: Array
    d: Array

    @property
    def size(self) -> Array:
        """The largest magnitude that either side can hold."""
        return np.asarray(np.abs(self.v) + self.d)


def error_bounds(
    graph: Graph, number_format: str, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Bounds on |machine - reference| by output name, shape (invocations, *shape), float64.

    Args:
        graph: of the lowered module, with its weights.
        number_format: fp16, or fp32 or int8 (whose float part is float32).
        inputs: (invocations, *shape) by input name.
    """
    count = max(len(array) for array in inputs.values())
    parts: dict[str, list[Array]] = {name: [] for name, _ in graph.outputs}
    for start in range(0, count, CHUNK):
        some = {name: array[start : start + CHUNK] for name, array in inputs.items()}
        for name, bound in _walk(graph, number_format == "fp16", some).items():
            held = len(next(iter(some.values())))
            parts[name].append(np.broadcast_to(bound, (held, *bound.shape[1:])))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _walk(graph: Graph, halves: bool, inputs: Mapping[str, Array]) -> dict[str, Array]:
    # what both sides compute to the same bit stays in its own type and has no bound
    exact: dict[int, Array] = {i: w[None] for i, w in graph.weights.items()}
    known: dict[int, Tracked] = {}

    def operand(node: Node, value: Value, position: int) -> Tracked:
        if value.index in known:
            return known[value.index]
        array = exact[value.index]
        if halves and node.kind in PRODUCTS and position < 2:
            return _rounded(array)
        held = array.astype(np.float64)
        return Tracked(held, np.zeros_like(held))

    with np.errstate(all="ignore"):  # an infinity is a bound too
        for name, value in graph.inputs:
            exact[value.index] = np.asarray(inputs[name])
            if halves and value.dtype == "f32":
                known[value.index] = _rounded(exact[value.index])
        for node in graph.nodes:
            value = node.result
            doubtful = any(v.index in known for v in node.operands)
            if not (doubtful or node.kind in INEXACT or (halves and value.dtype == "f32")):
                exact[value.index] = _evaluated(node, [exact[v.index] for v in node.operands])
                continue
            tracked = [operand(node, v, i) for i, v in enumerate(node.operands)]
            made = RULES[node.kind](node, tracked)
            known[value.index] = _stored(made) if halves and node.kind not in KEPT else made
    return {
        name: known[v.index].d if v.index in known else np.zeros((1, *v.shape))
        for name, v in graph.outputs
    }


def gamma(k: int) -> float:
    """Both sides' relative error of k products and a bias, added in any order and tiling."""
    n = k + ceil(k / 16) + 3
    return 2 * n * U32 / (1 - n * U32)


def _matmul(node: Node, operands: Sequence[Tracked]) -> Tracked:
    k = node.operands[0].shape[-1]
    bias = [Tracked(b.v[:, None], b.d[:, None]) for b in operands[2:]]
    rank = max(t.v.ndim for t in operands[:2])
    a, b = (_widened(t, rank) for t in operands[:2])
    return _linear(node, np.matmul, a, b, bias, k)


def _conv2d(node: Node, operands: Sequence[Tracked]) -> Tracked:
    geometry = {key: node.attributes[key] for key in ("strides", "pads", "dilations", "groups")}
    convolve = OPS["nn.conv2d"].evaluate

    def product(x: Array, w: Array) -> Array:
        if len(w) > 1:
            pairs = zip(np.broadcast_to(x, (len(w), *x.shape[1:])), w, strict=True)
            return np.stack([convolve(i, j, activation="none", **geometry) for i, j in pairs])
        merged = x.reshape(-1, *x.shape[2:])
        y = convolve(merged, w[0], activation="none", **geometry)
        return np.asarray(y.reshape(*x.shape[:2], *y.shape[1:]))

    column = (..., None, None)
    bias = [Tracked(b.v[:, None][column], b.d[:, None][column]) for b in operands[2:]]
    k = int(np.prod(node.operands[1].shape[1:]))
    return _linear(node, product, operands[0], operands[1], bias, k)


def _linear(
    node: Node,
    product: Callable[[Array, Array], Array],
    x: Tracked,
    w: Tracked,
    bias: Sequence[Tracked],
    k: int,
) -> Tracked:
    """A product with its bias and ReLU; `product` is linear in both operands."""
    g = gamma(k)
    v = product(x.v, w.v)
    d = product(np.abs(x.v), w.d + g * w.size) + product(x.d, w.size * (1 + g))
    for term in bias:
        v = v + term.v
        d = d + term.d + g * term.size
    if node.attributes["activation"] == "relu":
        v = np.maximum(v, 0)
    return Tracked(v, np.asarray(d))


def _add(node: Node, operands: Sequence[Tracked]) -> Tracked:
    a, b = (_widened(t, len(node.result.shape) + 1) for t in operands)
    d = a.d + b.d
    return Tracked(a.v + b.v, d + 2 * U32 * (np.abs(a.v + b.v) + d))


def _mul(node: Node, operands: Sequence[Tracked]) -> Tracked:
    a, b = (_widened(t, len(node.result.shape) + 1) for t in operands)
    d = np.abs(a.v) * b.d + a.d * b.size
    return Tracked(a.v * b.v, d + 2 * U32 * a.size * b.size)


def _relu(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    return Tracked(np.maximum(x.v, 0), x.d)


def _softmax(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    axis = node.int("axis") % len(node.result.shape) + 1
    shifted = x.v - x.v.max(axis=axis, keepdims=True)
    power = np.exp(shifted)
    y = power / power.sum(axis=axis, keepdims=True)
    moved = x.d + x.d.max(axis=axis, keepdims=True)
    reach = float(np.max(np.abs(shifted) + moved))
    # the difference, the exponential, the sum and the quotient, of both sides
    rounding = 2 * (reach + EXPONENTIAL + x.v.shape[axis] + 2) * U32
    d = np.minimum(moved / 4, y * np.expm1(np.minimum(moved, 700.0)))
    return Tracked(y, d + np.expm1(rounding * 2) * (y + d) + 2.0**-126)


def _reshape(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    return Tracked(*(a.reshape(len(a), *node.result.shape) for a in (x.v, x.d)))


def _transpose(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    axes = (0, *(axis + 1 for axis in node.ints("perm")))
    return Tracked(x.v.transpose(axes), x.d.transpose(axes))


def _max_pool(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    return Tracked(_merged(node, x.v), _merged(node, x.d))


def _mean(node: Node, operands: Sequence[Tracked]) -> Tracked:
    (x,) = operands
    terms = node.operands[0].shape[2] * node.operands[0].shape[3]
    if node.kind == "nn.average_pool2d":
        terms = int(np.prod(node.ints("kernel")))
    return Tracked(
        _merged(node, x.v), _merged(node, x.d) + gamma(terms) * _merged(node, x.size)
    )


def _batch_norm(node: Node, operands: Sequence[Tracked]) -> Tracked:
    x, *parameters = operands
    column = (1, -1, *(1,) * (len(node.result.shape) - 2))
    scale, bias, mean, variance = (t.v.reshape(column) for t in parameters)
    gain = scale / np.sqrt(variance + node.float("epsilon"))
    # difference, sum with epsilon, root, quotient, product, sum: fewer than gamma(1) counts,
    # on magnitudes that no cancellation shrinks
    size = (x.size + np.abs(mean)) * np.abs(gain) + np.abs(bias)
    return Tracked((x.v - mean) * gain + bias, x.d * np.abs(gain) + gamma(4) * size)


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
    "nn.average_pool2d": _mean,
    "nn.global_average_pool": _mean,
    "nn.batch_norm": _batch_norm,
}
# results that are some operand's element, or 0: stored without another rounding
KEPT = ("nn.relu", "nn.reshape", "nn.transpose", "nn.max_pool2d")


def _rounded(array: Array) -> Tracked:
    """A float32 array that is known, and what float16 makes of it."""
    exact = array.astype(np.float64)
    halved = array.astype(np.float16).astype(np.float64)
    return Tracked(exact, np.abs(halved - exact))


def _stored(x: Tracked) -> Tracked:
    """Charge the rounding to float16; a possible overflow has no bound."""
    d = x.d + U16 * x.size + SUBNORMAL16
    return Tracked(x.v, np.where(x.size > LARGEST16, inf, d))


def _widened(x: Tracked, rank: int) -> Tracked:
    """`x` with axes of 1 behind the invocations, so that shapes broadcast from the right."""
    shape = (len(x.v), *(1,) * (rank - x.v.ndim), *x.v.shape[1:])
    return Tracked(x.v.reshape(shape), x.d.reshape(shape))


def _merged(node: Node, x: Array) -> Array:
    """A node of rank 4 on all invocations at once: they join the images."""
    y = OPS[node.kind].evaluate(x.reshape(-1, *x.shape[2:]), **node.attributes)
    return np.asarray(y.reshape(*x.shape[:2], *y.shape[1:]))


def _evaluated(node: Node, operands: Sequence[Array]) -> Array:
    """A node in its own types, one invocation at a time."""
    count = max(len(array) for array in operands)
    rows = [np.broadcast_to(array, (count, *array.shape[1:])) for array in operands]
    return np.stack(
        [OPS[node.kind].evaluate(*some, **node.attributes) for some in zip(*rows, strict=True)]
    )
