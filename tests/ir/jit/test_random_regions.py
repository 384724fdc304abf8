"""Random loops and branches, nested: the compiled form equals the interpreter's bit for bit.

Bodies hold integers, moved values and single float operations alone, which are equal for equal
operands (see conftest: no entry in BOUNDS); so by induction over nodes, rounds and nesting
whole loops are equal, however often they run, and no error has to pass through a condition.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array, Graph, Node, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.jit import jit_all
from tetrapla.ir.module import Module

MODELS = 10  # compiled together
BATCHES = 12  # 120 models
TYPES: list[tuple[tuple[int, ...], str]] = [
    *(((), "f32"), ((3,), "f32"), ((2, 3), "f32"), ((), "i64"), ((2, 3), "i32")),
]
UNARY = ("nn.neg", "nn.abs", "nn.relu", "nn.sign")
BINARY = ("nn.add", "nn.sub", "nn.mul", "nn.maximum", "nn.minimum")
MOST_NESTED = 2


class Grower:
    """A graph that grows by one random step after another, within a builder."""

    def __init__(self, rng: np.random.Generator, build: ModuleBuilder, depth: int = 0) -> None:
        self.rng, self.build, self.depth = rng, build, depth
        self.values: list[Value] = []

    def below(self, count: int) -> int:
        """A number from 0 on."""
        return int(self.rng.integers(count))

    def value(self, shape: tuple[int, ...], dtype: str) -> Value:
        """One of this type, the newest more often; a new weight where there is none."""
        found = [v for v in self.values if (v.shape, v.dtype) == (shape, dtype)]
        if not found or self.rng.random() < 0.1:
            numbers = self.rng.integers(-4, 5, shape) / (4 if dtype == "f32" else 1)
            return self.build.weight("w", np.asarray(numbers).astype(DTYPES[dtype]))
        return found[-1 if self.rng.random() < 0.5 else self.below(len(found))]

    def any(self) -> Value:
        """A value of one of the types."""
        return self.value(*TYPES[self.below(len(TYPES))])

    def truth(self) -> Value:
        """Of two single numbers."""
        dtype = ("f32", "i64")[self.below(2)]
        pair = [self.value((), dtype), self.value((), dtype)]
        return self.build.op(("nn.less", "nn.greater_or_equal")[self.below(2)], pair)

    def grown(self, steps: int) -> None:
        """So many steps more, of which some are regions while there is depth left."""
        plain = (self.unary, self.binary, self.binary, self.chosen, self.moved)
        regions = (self.branch, self.scan, self.loop) if self.depth < MOST_NESTED else ()
        for _ in range(steps):
            choices = regions if regions and self.rng.random() < 0.45 else plain
            choices[self.below(len(choices))]()

    def unary(self) -> None:
        self.values.append(self.build.op(UNARY[self.below(len(UNARY))], [self.any()]))

    def binary(self) -> None:
        x = self.any()
        pair = [x, self.value(x.shape, x.dtype)]
        self.values.append(self.build.op(BINARY[self.below(len(BINARY))], pair))

    def chosen(self) -> None:
        x = self.any()
        pair = [x, self.value(x.shape, x.dtype)]
        self.values.append(self.build.op("nn.where", [self.truth(), *pair]))

    def moved(self) -> None:
        x = self.value((2, 3), ("f32", "i32")[self.below(2)])
        y = self.build.op("nn.reshape", [x], {"shape": (3, 2)})
        self.values.append(self.build.op("nn.transpose", [y], {"perm": (1, 0)}))

    def body(self, types: list[tuple[tuple[int, ...], str]]) -> Grower:
        """A body of these arguments, grown."""
        inner = Grower(self.rng, self.build.body(), self.depth + 1)
        for i, (shape, dtype) in enumerate(types):
            inner.values.append(inner.build.input(f"a{i}", shape, dtype))
        inner.grown(1 + self.below(4))
        return inner

    def given(self, results: list[Value]) -> Graph:
        """The graph of a body that gives these."""
        for i, value in enumerate(results):
            self.build.output(f"r{i}", value)
        return self.build.graph()

    def branch(self) -> None:
        captured = [self.any() for _ in range(self.below(3))]
        types = [TYPES[self.below(len(TYPES))] for _ in range(1 + self.below(3))]
        inner = [self.body(typed(captured)) for _ in range(2)]
        bodies = [each.given([each.value(*type_) for type_ in types]) for each in inner]
        self.values += self.build.ops("nn.if", [self.truth(), *captured], {}, "if", bodies)

    def scan(self) -> None:
        states = [self.any() for _ in range(self.below(4))]
        trips = (1, 2, 3)[self.below(3)]
        kinds = [type_ for type_ in TYPES if type_[0][:1] == (trips,)] or TYPES[:1]
        count = 0 if trips == 1 else self.below(3)  # no type has rows of one
        sequences = [self.value(*kinds[self.below(len(kinds))]) for _ in range(count)]
        captured = [self.any() for _ in range(self.below(3))]
        slices = [(v.shape[1:], v.dtype) for v in sequences]
        inner = self.body([*typed(states), *slices, *typed(captured)])
        results = [inner.value(*type_) for type_ in typed(states)]
        rows = [inner.any() for _ in range(1 + self.below(2))]
        attributes = {"carried": len(states), "scanned": len(sequences), "trips": trips}
        operands = [*states, *sequences, *captured]
        body = inner.given([*results, *rows])
        self.values += self.build.ops("nn.scan", operands, attributes, "scan", [body])

    def loop(self) -> None:
        states = [self.any() for _ in range(1 + self.below(3))]
        captured = [self.any() for _ in range(self.below(3))]
        types = typed([*states, *captured])
        asked, inner = self.body(types), self.body(types)
        condition = asked.given([asked.truth()])
        step = inner.given([inner.value(*type_) for type_ in typed(states)])
        attributes = {"carried": len(states), "most": self.below(6)}
        bodies = [condition, step]
        self.values += self.build.ops(
            "nn.while", [*states, *captured], attributes, "while", bodies
        )


def typed(values: list[Value]) -> list[tuple[tuple[int, ...], str]]:
    return [(v.shape, v.dtype) for v in values]


def grown(seed: int) -> Module:
    """Two regions at least; every value is an output."""
    rng = np.random.default_rng(seed)
    g = Grower(rng, ModuleBuilder(f"model{seed}"))
    for i, (shape, dtype) in enumerate(TYPES):
        g.values.append(g.build.input(f"x{i}", shape, dtype))
    g.grown(2)
    (g.branch, g.scan, g.loop)[seed % 3]()
    g.grown(2)
    (g.scan, g.loop, g.branch)[seed % 3]()
    for i, value in enumerate(g.values):
        g.build.output(f"y{i}", value)
    return g.build.finish()


def drawn(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    return {
        name: np.asarray(rng.integers(-20, 21, v.shape) / 4).astype(DTYPES[v.dtype])
        for name, v in module.inputs.items()
    }


def nested(module: Module) -> list[Node]:
    return [node for graph in module.graph.nested() for node in graph.nodes]


@settings(max_examples=BATCHES, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**32), min_size=MODELS, max_size=MODELS, unique=True),
)
def test_random_regions_agree_bit_for_bit(seeds: list[int]) -> None:
    modules = [grown(seed) for seed in seeds]
    rng = np.random.default_rng(seeds[0])
    for module, call in zip(modules, jit_all(modules, level=0), strict=True):
        for _ in range(3):  # different ways through the branches
            inputs = drawn(module, rng)
            expected, found = evaluate(module, inputs), call(inputs)
            for name, array in expected.items():
                assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
                exact = array.dtype.kind != "f"
                assert np.array_equal(found[name], array, equal_nan=not exact), name


def test_the_random_models_hold_every_region_in_every_other() -> None:
    modules = [grown(seed) for seed in range(60)]
    kinds = Counter(node.kind for module in modules for node in nested(module))
    assert {*UNARY, *BINARY, "nn.where", "nn.transpose"} <= set(kinds)
    regions = {"nn.if", "nn.scan", "nn.while"}
    pairs = {
        (node.kind, inner.kind)
        for module in modules
        for node in nested(module)
        for body in node.bodies
        for inner in body.nodes
    }
    assert {(a, b) for a in regions for b in regions} <= pairs
