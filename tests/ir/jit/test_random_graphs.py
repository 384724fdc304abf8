"""Random graphs of mixed operators: the compiled form against the interpreter's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value
from tetrapla.ir.module import Module
from tetrapla.ir.nn.epilogue import ACTIVATIONS

GRAPHS = 12  # compiled together
BATCHES = 26  # 12 * 26 = 312 graphs
Judge = Callable[..., list[str]]  # modules and their inputs; what is wrong

UNARY = (
    *("nn.abs", "nn.ceil", "nn.cos", "nn.erf", "nn.floor", "nn.hard_swish", "nn.neg"),
    *("nn.relu", "nn.round", "nn.sigmoid", "nn.sign", "nn.silu", "nn.sin", "nn.softplus"),
    *("nn.sqrt", "nn.tanh", "nn.exp", "nn.log", "nn.reciprocal"),
)
BINARY = ("nn.add", "nn.sub", "nn.mul", "nn.div", "nn.maximum", "nn.minimum", "nn.pow")
COMPARISONS = ("nn.equal", "nn.less", "nn.less_or_equal", "nn.greater", "nn.greater_or_equal")
FOLDS = (
    *("nn.reduce_l2", "nn.reduce_max", "nn.reduce_mean", "nn.reduce_min"),
    *("nn.reduce_prod", "nn.reduce_sum", "nn.reduce_sum_square"),
)
LARGEST = 400  # elements of a value


class Grower:
    """A graph that grows by one random step after another; each reads what there is."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.build = ModuleBuilder(f"graph{seed}")
        self.values: list[Value] = []
        for i in range(self.number(1, 2)):
            shape = tuple(self.number(1, 5) for _ in range(self.number(1, 4)))
            self.values.append(self.build.input(f"in{i}", shape))

    def number(self, low: int, high: int) -> int:
        """Between two numbers, which may be it."""
        return int(self.rng.integers(low, high + 1))

    def one(self, choices: Sequence[str]) -> str:
        """One of several names."""
        return choices[self.number(0, len(choices) - 1)]

    def value(self, rank: int = 0, least: int = 0) -> Value | None:
        """A float value of exactly that rank, or at least that; the newest more often."""
        fitting = [
            v
            for v in self.values
            if v.dtype == "f32" and len(v.shape) >= least and rank in (0, len(v.shape))
        ]
        if not fitting:
            return None
        return (
            fitting[-1]
            if self.rng.random() < 0.6
            else fitting[self.number(0, len(fitting) - 1)]
        )

    def weight(self, *shape: int) -> Value:
        """A constant of normal numbers."""
        return self.build.weight("w", self.rng.standard_normal(shape).astype(np.float32))

    def add(self, kind: str, *operands: Value, **attributes: Attribute) -> Value:
        """One operator more."""
        made = self.build.op(kind, operands, attributes)
        self.values.append(made)
        return made

    def grown(self) -> Module:
        """Three to nine steps; what nobody reads is an output, with one more."""
        for _ in range(self.number(3, 9)):
            STEPS[self.number(0, len(STEPS) - 1)](self)
        self.build.output("last", self.values[-1])
        self.build.output("other", self.values[self.number(0, len(self.values) - 1)])
        return self.build.finish()


def unary(g: Grower) -> None:
    if (x := g.value()) is not None:
        g.add(g.one(UNARY), x)


def parametric(g: Grower) -> None:
    if (x := g.value()) is None:
        return
    kinds: list[tuple[str, dict[str, Attribute]]] = [
        ("nn.gelu", {"approximate": g.one(("none", "tanh"))}),
        ("nn.elu", {"alpha": 0.7}),
        ("nn.leaky_relu", {"alpha": 0.1}),
        ("nn.hard_sigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("nn.clip", {"low": -0.5, "high": 1.5}),
        ("nn.cast", {"dtype": g.one(("f16", "f64", "i32", "bf16"))}),
    ]
    kind, attributes = kinds[g.number(0, len(kinds) - 1)]
    if attributes.get("dtype") == "i32":  # a float beyond an integer has no value there
        x = g.add("nn.clip", x, low=-1e6, high=1e6)
        x = g.add("nn.where", g.add("nn.equal", x, x), x, g.weight(1))
    made = g.add(kind, x, **attributes)
    if made.dtype != "f32":
        g.add("nn.cast", made, dtype="f32")


def binary(g: Grower) -> None:
    if (x := g.value()) is None:
        return
    sizes = [1 if g.rng.random() < 0.3 else size for size in x.shape]
    g.add(g.one(BINARY), x, g.weight(*sizes[g.number(0, len(sizes)) :]))


def chosen(g: Grower) -> None:
    if (x := g.value()) is None:
        return
    truth = g.add(g.one(COMPARISONS), x, g.weight(*x.shape))
    if g.rng.random() < 0.5:
        truth = g.add("nn.not", truth)
    g.add("nn.where", truth, x, g.weight(1))


def fold(g: Grower) -> None:
    if (x := g.value(least=1)) is None:
        return
    rank = len(x.shape)
    axes = tuple(int(a) for a in g.rng.permutation(rank)[: g.number(1, rank)])
    g.add(g.one(FOLDS), x, axes=axes, keepdims=g.number(0, 1))


def along(g: Grower) -> None:
    if (x := g.value(least=1)) is None:
        return
    axis = g.number(-len(x.shape), len(x.shape) - 1)
    g.add(g.one(("nn.softmax", "nn.log_softmax", "nn.cumulative_sum")), x, axis=axis)


def place(g: Grower) -> None:
    if (x := g.value(least=1)) is not None:
        found = g.add("nn.arg_max", x, axis=g.number(0, len(x.shape) - 1), keepdims=1)
        g.add("nn.cast", found, dtype="f32")


def norm(g: Grower) -> None:
    if (x := g.value(least=1)) is None:
        return
    axis = g.number(0, len(x.shape) - 1)
    shape = x.shape[axis:]
    if g.rng.random() < 0.5:
        g.add("nn.rms_norm", x, g.weight(*shape), axis=axis, epsilon=1e-3)
    else:
        scales = (g.weight(*shape), g.weight(*shape))
        g.add("nn.layer_norm", x, *scales, axis=axis, epsilon=1e-3)


def product(g: Grower) -> None:
    if (x := g.value(least=2)) is None:
        return
    n, activation = g.number(1, 6), g.one(ACTIVATIONS)
    lead = x.shape[:-2] if g.rng.random() < 0.5 else ()
    operands = [g.weight(*lead, x.shape[-1], n), g.weight(n)]
    operands += [g.weight(*x.shape[:-1], n)] if g.rng.random() < 0.5 else []
    g.add("nn.matmul", x, *operands, activation=activation)


def convolution(g: Grower) -> None:
    if (x := g.value(rank=4)) is None:
        return
    _, channels, height, width = x.shape
    groups = channels if g.rng.random() < 0.4 else 1
    kernel = (g.number(1, min(3, height)), g.number(1, min(3, width)))
    g.add(
        "nn.conv2d",
        x,
        g.weight(groups * g.number(1, 2), channels // groups, *kernel),
        strides=(g.number(1, 2), 1),
        pads=tuple(g.number(0, 1) for _ in range(4)),
        dilations=(1, 1),
        groups=groups,
        activation=g.one(ACTIVATIONS),
    )


def pool(g: Grower) -> None:
    if (x := g.value(rank=4)) is None:
        return
    kernel = (g.number(1, min(3, x.shape[2])), g.number(1, min(3, x.shape[3])))
    pads = tuple(g.number(0, size - 1) for size in (*kernel, *kernel))
    window = {"kernel": kernel, "strides": (1, g.number(1, 2)), "pads": pads}
    if g.rng.random() < 0.5:
        g.add("nn.max_pool2d", x, **window, dilations=(1, 1))
    else:
        g.add("nn.average_pool2d", x, **window, count_include_pad=g.number(0, 1))


def move(g: Grower) -> None:
    if (x := g.value(least=1)) is None:
        return
    rank, elements = len(x.shape), x.elements
    match g.number(0, 5):
        case 0:
            g.add("nn.transpose", x, perm=tuple(int(a) for a in g.rng.permutation(rank)))
        case 1:
            half = 2 if elements % 2 == 0 else 1
            g.add("nn.reshape", x, shape=(half, 1, elements // half))
        case 2:
            ends = [(size - 1, -1) if g.rng.random() < 0.5 else (0, 1) for size in x.shape]
            sizes = tuple(g.number(1, size) for size in x.shape)
            starts, steps = zip(*ends, strict=True)
            g.add("nn.slice", x, starts=starts, sizes=sizes, steps=steps)
        case 3 if 2 * elements <= LARGEST:
            g.add("nn.concat", x, x, axis=g.number(-rank, rank - 1))
        case 4 if 3 * elements <= LARGEST:
            g.add("nn.expand", x, shape=(g.number(1, 3), *x.shape))
        case _:
            axis = g.number(0, rank - 1)
            size = x.shape[axis]
            places = g.rng.integers(-size, size, (g.number(1, 4),))
            g.add("nn.gather", x, g.build.weight("at", places), axis=axis)


def rearranged(g: Grower) -> None:
    if (x := g.value(least=2)) is None:
        return
    rank, last = len(x.shape), x.shape[-1]
    match g.number(0, 5):
        case 0 if 4 * x.elements <= LARGEST:
            pads = tuple(g.number(0, 1) for _ in range(2 * rank))
            mode = g.one(("constant", "edge", "wrap"))
            g.add("nn.pad", x, pads=pads, mode=mode, value=0.5)
        case 1:
            g.add("nn.trilu", x, k=g.number(-2, 2), upper=g.number(0, 1))
        case 2:
            form = {"k": g.number(1, last), "axis": -1, "largest": g.number(0, 1)}
            values, places = g.build.ops("nn.top_k", (x,), form)
            g.values += [values, places]
        case 3:
            places = g.build.weight("at", g.rng.integers(-last, last, x.shape))
            g.add("nn.gather_elements", x, places, axis=rank - 1)
        case 4:
            size = x.shape[0]
            places = g.build.weight("at", g.rng.integers(-size, size, (2, 1)))
            updates = g.weight(2, *x.shape[1:])
            g.add("nn.scatter_nd", x, places, updates, reduction=g.one(("none", "add", "max")))
        case _:
            g.add("nn.hardmax", x, axis=g.number(0, rank - 1))


def attention(g: Grower) -> None:
    if (x := g.value(rank=4)) is None:
        return
    n, heads, _, size = x.shape
    keys = g.number(1, 4)
    k, v = g.weight(n, heads, keys, size), g.weight(n, heads, keys, 3)
    g.add(
        "nn.attention",
        *(g.add("nn.clip", x, low=-4.0, high=4.0), k, v),
        scale=0.4,
        causal=g.number(0, 1),
        causal_offset=0,
        masked_rows="zero",
        block=g.number(0, 2),
    )


def quantised(g: Grower) -> None:
    """Down to eight bits, an integer product, and back."""
    if (x := g.value(least=2)) is None:
        return
    dtype, zero = g.one(("i8", "ui8")), g.number(0, 20)
    scale = g.build.weight("s", np.array([0.05], np.float32))
    q = g.add("nn.clip", x, low=-100.0, high=100.0)
    q = g.add("qnn.quantize", q, scale, zero_point=zero, axis=0, dtype=dtype)
    levels = g.rng.integers(-128, 128, (x.shape[-1], g.number(1, 4))).astype(np.int8)
    w = g.build.weight("q", levels)
    total = g.add("qnn.matmul", q, w, x_zero_point=zero, w_zero_point=g.number(-3, 3))
    bounds = {"low": 0, "high": 100, "zero_point": 5}
    y = g.add("qnn.requantize", total, scale, **bounds, axis=0, dtype=dtype)
    g.add("qnn.dequantize", y, scale, zero_point=5, axis=0)


STEPS = (
    *(unary, unary, parametric, binary, binary, chosen, fold, along, place, norm),
    *(product, convolution, pool, move, move, rearranged, rearranged, attention, quantised),
)


def drawn(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    return {
        name: rng.standard_normal(value.shape).astype(DTYPES[value.dtype])
        for name, value in module.inputs.items()
    }


@settings(
    max_examples=BATCHES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seeds=st.lists(st.integers(0, 2**32), min_size=GRAPHS, max_size=GRAPHS, unique=True))
def test_random_graphs_agree_node_by_node(judge: Judge, seeds: list[int]) -> None:
    # LLVM's optimiser is tested with the operators; here it would take half of the time
    modules = [Grower(seed).grown() for seed in seeds]
    rng = np.random.default_rng(seeds[0])
    assert judge(modules, [drawn(module, rng) for module in modules], level=0) == []


def test_the_random_graphs_hold_every_step() -> None:
    kinds = Counter(n.kind for seed in range(250) for n in Grower(seed).grown().graph.nodes)
    assert {*UNARY, *BINARY, *COMPARISONS, *FOLDS} <= set(kinds)
    assert {"nn.conv2d", "nn.matmul", "nn.gather", "nn.concat", "qnn.matmul"} <= set(kinds)
    assert {"nn.attention", "nn.pad", "nn.top_k", "nn.scatter_nd"} <= set(kinds)
