"""How far a compiled operator may lie from the interpreter's, and the judge that holds it.

Each node is judged by itself: the compiled model gives the result of every node, and the
interpreter computes the node again from the compiled operands. So a bound never has to pass
through a later operator, of which many (a comparison, a rounding, an index) have none; and
since every step of a run is one that the interpreter allows, the whole run is. That the model
compiled with its own outputs alone computes the same bits is held besides.

Integers, truths, moved values and single float operations must be equal. What sums in another
order or calls the C library has an entry in BOUNDS: the error of both evaluations together
before the last rounding. That rounding adds at most one unit in the last place of the result:
two numbers d apart round to neighbours no more than d + 1 unit apart.

Sources. Sums: N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, 3.1 and
4.2: n terms in any order are within (n - 1) u sum |x| / (1 - (n - 1) u). Functions: MLIR's
polynomial approximations are passes that the pipeline does not run; math ends in the C library,
whose manual (glibc 2.39, 19.7) lists at most 4 units in the last place for those used. NumPy's
vectorised forms have at most 4 (numpy pull request 19478), float32 exp 2.52 (13134), and its
erf is the project's own, a Taylor series with fewer than 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.graph import Array, Node
from tetrapla.ir.jit import jit_all
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.ir.unfuse import is_narrow

Bound = Callable[[Node, Sequence[Array], Array], Any]

# bits of the significand, and the exponent of the smallest normal number
FORMATS = {"f64": (53, -1022), "f32": (24, -126), "f16": (11, -14), "bf16": (8, -126)}
LIBM = 4  # units in the last place, of either side
U64 = 2.0**-53
SLACK = 1.01  # for 1 / (1 - n u) and products of roundings: n u stays below 0.01 here


def last_place(x: Array, dtype: str) -> Array:
    """A unit in the last place of each number."""
    digits, least = FORMATS[dtype]
    _, exponent = np.frexp(np.where(np.isfinite(x), x, 0))
    return np.asarray(np.ldexp(1.0, np.maximum(exponent - 1, least) - (digits - 1)))


def unit(dtype: str) -> float:
    """Half of the distance between 1 and the next number of the type that sums are made in."""
    return U64 if dtype == "f64" else 2.0**-24


def relative(units: float) -> Bound:
    """Both sides within so many units of float64's last place, each at most 2 u."""
    return lambda node, operands, y: 2 * units * 2 * U64 * np.abs(y)


def of_operand(units: float) -> Bound:
    """The same, of the operand's magnitude: the value may be a small difference."""
    return lambda node, operands, y: 2 * units * 2 * U64 * np.abs(operands[0])


def magnitudes(node: Node, operands: Sequence[Array], **changes: Any) -> Array:
    """The operator on the magnitudes of its operands, in float64."""
    attributes: dict[str, Any] = {**node.attributes, **changes}
    found = OPS[node.kind].evaluate(*map(np.abs, operands), **attributes)
    assert isinstance(found, np.ndarray)
    return found


def product(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """K products and sums and a bias: (K + 1) u of the sum of magnitudes, on both sides.

    Before a residual both sides round the sum to the result's type, and before an activation
    what they have then; no activation is steeper than hard_swish, 1.5 at 3 (gelu: 1.13).
    """
    a, b, *_ = operands
    changes = {"activation": "none"} if "activation" in node.attributes else {}
    terms = a.shape[-1] if node.kind == "nn.matmul" else b.size  # each weight at most once
    total = magnitudes(node, operands, **changes)
    bound = 2 * SLACK * (terms + 1) * unit(node.result.dtype) * total
    if node.result.dtype in FORMATS and not is_narrow(node):
        bound = 1.5 * (bound + 2 * last_place(total, node.result.dtype))
        bound = bound + of_operand(LIBM)(node, [total], y)
    return bound


def mean(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """n - 1 sums and a division."""
    (x,) = operands
    window = node.ints("kernel") if "kernel" in node.attributes else x.shape[2:]
    return 2 * SLACK * prod(window) * unit(node.result.dtype) * magnitudes(node, operands)


def fold(units: int = 0) -> Bound:
    """n terms in float64, and so many roundings more in each or at the end."""

    def bound(node: Node, operands: Sequence[Array], y: Array) -> Any:
        (x,) = operands
        n = prod(x.shape[axis] for axis in node.ints("axes"))
        return 2 * SLACK * (n + units) * U64 * magnitudes(node, operands)

    return bound


def power_mean(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """n powers (4 units) summed, and a root of them: error / p, and 4 units more."""
    terms = prod(node.ints("kernel"))
    return 2 * SLACK * (4 * LIBM + terms) * U64 * np.abs(y)


def log_sum_exp(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """n exponentials summed within (8 + n) u, a logarithm of 4 units, and a sum."""
    (x,) = operands
    n = prod(x.shape[axis] for axis in node.ints("axes"))
    size = 1 + np.log(n) + np.abs(y) + np.abs(magnitudes(node, operands))
    return 2 * SLACK * (4 * LIBM + n + 2) * U64 * size


def attention(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """A score is off by e = (D + 3) u (|q| |k| scale + |mask|), its share by e^(2 e) - 1.

    To that come the exponentials, the sum of S shares, the quotient, and the mixture of S; the
    tiled form rescales by another exponential per tile, at most S.
    """
    q, k, v, *mask = (np.where(np.isfinite(each), each, 0) for each in operands)
    u, terms = unit(node.result.dtype), k.shape[-2]
    reach = np.abs(q).sum(-1).max() * np.abs(k).max() * abs(node.float("scale"))
    largest = reach + sum(np.abs(each).max() for each in mask if each.dtype != np.bool_)
    off = np.expm1(4 * SLACK * (q.shape[-1] + 3) * u * largest)
    tiles = terms if node.int("block") else 0
    own = 2 * SLACK * (4 * LIBM + 2 * terms + 1 + (4 * LIBM + 3) * tiles) * u
    return (off + own) * np.abs(v).max()


def recurrent(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """How far the states may drift apart, step by step.

    An activation stays within 1 and has a slope of at most 1, those of the gates of GRU and
    LSTM (sigmoid) of 1/4. A sum of K terms of size S is off by 2 (K u S + 4 LIBM u), to which
    a state off by h adds R h, R the largest row of |r|, and a cell off by c adds P c through a
    peephole. Products add their factors' errors, each times the other's size; a cell grows by
    at most 1 a step.
    """
    x, w, r, *more = operands
    u, steps = unit(node.results[0].dtype), x.shape[0]
    states = [each for each in more if each.ndim == 3]
    size = max([1.0, *(float(np.abs(each).max()) for each in states)])
    wide, row = float(np.abs(w).sum(-1).max()), float(np.abs(r).sum(-1).max())
    flat = {each.shape[1]: float(np.abs(each).max()) for each in more if each.ndim == 2}
    peep = flat.pop(3 * r.shape[2], 0.0)
    bias = sum(flat.values())
    cell = size + steps
    terms = x.shape[2] + r.shape[2] + 6
    largest = float(np.abs(x).max()) * wide + size * row + 2 * bias + peep * cell
    own = 2 * SLACK * (terms * largest + 4 * LIBM) * u
    h = c = 0.0
    for _ in range(steps):
        gate = (own + row * h + peep * c) / (1 if node.kind == "nn.rnn" else 4) + own
        match node.kind:
            case "nn.rnn":
                h = gate
            case "nn.gru":  # reset times state (or times a product with it), the mixture
                new = own + row * (h + gate * size) + gate * bias
                h = gate * (1 + size) + new + h + 8 * u * (1 + size)
            case _:
                c = c + gate * (cell + 2) + 8 * u * (cell + 1)
                h = gate + peep * c + c + own
    return np.full(y.shape, max(h, c))


def softmax(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """Two exponentials (each 4 units, 8 u), K - 1 sums, a division; a subnormal has no u."""
    (x,) = operands
    u = unit(node.result.dtype)
    tiny = np.finfo(np.float64 if u == U64 else np.float32).tiny
    terms = x.shape[node.int("axis")]
    return 2 * SLACK * (2 * 2 * LIBM + terms) * u * np.abs(y) + tiny


def log_softmax(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """The logarithm of a sum within (8 + K) u, itself 4 units; and two differences."""
    (x,) = operands
    terms = x.shape[node.int("axis")]
    top = np.abs(x - x.max(axis=node.int("axis"), keepdims=True))
    size = 1 + top + np.abs(y)
    return 2 * SLACK * (2 * LIBM + terms + 2 * LIBM + 2) * U64 * size


def normal(node: Node, operands: Sequence[Array], y: Array) -> Any:
    """``c / s * scale + bias``, s the root of epsilon and the mean square of c.

    With A the largest magnitude of n: c is off by d = (n + 2) u A, s by d + (n + 4) u s, so
    c / s by d / s (1 + |c / s|) + (n + 6) u |c / s|; scale and bias add 3 u of their terms.
    RMS norm has d = 0.
    """
    x, scale, *bias = operands
    grouped, axes = grouping(node, x)
    n = prod(grouped.shape[axis] for axis in axes)
    about_zero = node.kind == "nn.rms_norm"
    centre = 0.0 if about_zero else grouped.mean(axis=axes, keepdims=True)
    c = grouped - centre
    s = np.sqrt((c * c).mean(axis=axes, keepdims=True) + np.float32(node.float("epsilon")))
    largest = np.abs(grouped).max(axis=axes, keepdims=True)
    d = 0.0 if about_zero else (n + 2) * U64 * largest
    ratio = np.abs(c / s)
    off = (d / s * (1 + ratio) + (n + 6) * U64 * ratio).reshape(x.shape)
    if node.kind in ("nn.group_norm", "nn.instance_norm"):
        column = (-1, *(1,) * (x.ndim - 2))
        scale, *bias = (each.reshape(column) for each in (scale, *bias))
    terms = np.abs(ratio.reshape(x.shape) * scale) + sum(np.abs(each) for each in bias)
    return 2 * SLACK * (np.abs(scale) * off + 3 * U64 * terms)


def grouping(node: Node, x: Array) -> tuple[Array, tuple[int, ...]]:
    """The operand and the axes that are normalised together."""
    if node.kind == "nn.group_norm":
        return x.reshape(x.shape[0], node.int("groups"), -1), (2,)
    if node.kind == "nn.instance_norm":
        return x, tuple(range(2, x.ndim))
    return x, tuple(range(node.int("axis") % x.ndim, x.ndim))


LIBRARY = (
    *("nn.acos", "nn.acosh", "nn.asin", "nn.asinh", "nn.atan", "nn.atanh", "nn.cos", "nn.cosh"),
    *("nn.erf", "nn.exp", "nn.log", "nn.pow", "nn.sin", "nn.sinh", "nn.tan", "nn.tanh"),
)
BOUNDS: Mapping[str, Bound] = {
    **dict.fromkeys(LIBRARY, relative(LIBM)),
    # exp, a sum, a quotient, and for silu a product
    **dict.fromkeys(("nn.sigmoid", "nn.silu"), relative(LIBM + 3)),
    "nn.softplus": relative(2 * LIBM + 1),  # exp, log1p, a sum of one sign
    "nn.mish": relative(3 * LIBM + 2),  # softplus, tanh (which enlarges nothing), a product
    # expm1 and products; celu's quotient is off by u, by which expm1 is off at most as much
    **dict.fromkeys(("nn.elu", "nn.selu", "nn.celu"), relative(LIBM + 3)),
    "nn.lrn": relative(LIBM + 8),  # a power of at most one, of a sum of a few squares
    # 1 + erf(z) may cancel: z is off by 2 u and |z erf'(z)| < 0.5; then two products. For
    # tanh's z, a cube by pow and six roundings
    "nn.gelu": of_operand(2 * LIBM + 6),
    **dict.fromkeys(("nn.matmul", "nn.conv2d", "nn.conv3d"), product),
    **dict.fromkeys(("nn.conv_transpose2d", "nn.conv_transpose3d"), product),
    **dict.fromkeys(("nn.average_pool2d", "nn.average_pool3d"), mean),
    "nn.global_average_pool": mean,
    "nn.lp_pool2d": power_mean,
    "nn.attention": attention,
    **dict.fromkeys(("nn.rnn", "nn.gru", "nn.lstm"), recurrent),
    "nn.reduce_l1": fold(),
    "nn.reduce_log_sum_exp": log_sum_exp,
    "nn.reduce_sum": fold(),
    "nn.reduce_mean": fold(1),
    "nn.reduce_prod": fold(),
    "nn.reduce_sum_square": fold(1),
    "nn.reduce_l2": fold(2),
    "nn.softmax": softmax,
    "nn.log_softmax": log_softmax,
    "nn.layer_norm": normal,
    "nn.rms_norm": normal,
    "nn.group_norm": normal,
    "nn.instance_norm": normal,
}


def allowed(node: Node, operands: Sequence[Array], found: Array, expected: Array) -> Array:
    """How far the compiled result of a node may lie from the interpreter's."""
    if node.kind not in BOUNDS or node.results[0].dtype not in FORMATS:
        return np.zeros(expected.shape)
    larger = np.maximum(np.abs(found), np.abs(expected))
    wide = [x.astype(np.float64) if x.dtype != np.bool_ else x for x in operands]
    error = np.asarray(BOUNDS[node.kind](node, wide, larger))
    return error + last_place(larger, node.results[0].dtype)


def tapped(module: Module) -> Module:
    """The same model with the result of every node as an output, too."""
    results = (
        (f"node{i}_{j}", value)
        for i, node in enumerate(module.graph.nodes)
        for j, value in enumerate(node.results)
    )
    outputs = (*module.graph.outputs, *results)
    return Module.from_graph(replace(module.graph, outputs=outputs), f"{module.name}_tapped")


def inexact(node: Node, operands: Sequence[Array], found: Sequence[Array]) -> list[str]:
    """The results of a node too far from what the interpreter makes of its operands."""
    with np.errstate(all="ignore"):
        made = OPS[node.kind].evaluate(*operands, **node.attributes)
        expected = made if isinstance(made, tuple) else (made,)
        faults: list[str] = []
        for got, wanted in zip(found, expected, strict=True):
            assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
            a, b = (x if x.dtype.kind in "biu" else x.astype(np.float64) for x in (got, wanted))
            same = (a == b) | ((a != a) & (b != b))
            if not same.all():
                same |= np.abs(a.astype(np.float64) - b) <= allowed(node, operands, a, b)
            if not same.all():
                faults.append(f"{node.kind}: {a[~same][:3]} for {b[~same][:3]}")
    return faults


def judged(
    modules: Sequence[Module], inputs: Sequence[Mapping[str, Array]], level: int = 2
) -> list[str]:
    """What is wrong with the compiled forms of models, which are compiled together."""
    taps = [tapped(module) for module in modules]
    calls = jit_all([*modules, *taps], level)
    faults: list[str] = []
    for module, tap, given, plain, every in zip(
        modules, taps, inputs, calls, calls[len(modules) :], strict=False
    ):
        found = every(given)
        for name, array in plain(given).items():
            if array.tobytes() != found[name].tobytes():
                faults.append(f"{module.name}: {name} is another without the taps")
        values = {v.index: given[name] for name, v in tap.graph.inputs} | dict(
            tap.graph.weights
        )
        for i, node in enumerate(tap.graph.nodes):
            results = [found[f"node{i}_{j}"] for j in range(len(node.results))]
            faults += inexact(node, [values[v.index] for v in node.operands], results)
            values |= zip((v.index for v in node.results), results, strict=True)
    return faults


@pytest.fixture
def judge() -> Callable[..., list[str]]:
    """What is wrong with the compiled forms of models for these inputs."""
    return judged


@pytest.fixture
def judge_node() -> Callable[[Node, Sequence[Array], Sequence[Array]], list[str]]:
    """What is wrong with the results of a node for these operands."""
    return inexact
