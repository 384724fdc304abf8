"""Passes reach into the bodies of loops and branches, and weights keep one array a symbol."""

from __future__ import annotations

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Graph
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.bodies_ import within
from tetrapla.passes.eliminate_dead_code import EliminateDeadCode
from tetrapla.passes.fold_constants import FoldConstants


def branch(build: ModuleBuilder, factor: float) -> Graph:
    """y = x * (factor + 1), with the sum left to be folded, and something unused."""
    inner = build.body()
    x = inner.input("x", (2,))
    a = inner.weight("a", np.full(2, factor, np.float32))
    total = inner.op("nn.add", [a, inner.weight("one", np.ones(2, np.float32))], {}, "total")
    inner.op("nn.neg", [x], {}, "unused")
    inner.output("y", inner.op("nn.mul", [x, total]))
    return inner.graph()


def model() -> Module:
    build = ModuleBuilder("branches")
    c, x = build.input("c", (), "i1"), build.input("x", (2,))
    (y,) = build.ops("nn.if", [c, x], {}, "if", [branch(build, 2.0), branch(build, 4.0)])
    build.output("y", y)
    return build.finish()


def test_constants_of_two_bodies_are_folded_apart() -> None:
    module = model()
    made = within(within(module, FoldConstants()), EliminateDeadCode())
    (node,) = made.graph.nodes
    assert [[n.kind for n in body.nodes] for body in node.bodies] == [["nn.mul"], ["nn.mul"]]
    held = [next(iter(body.weights.values()))[0] for body in node.bodies]
    assert held == [3.0, 5.0]
    assert len(made.weights) == 2
    for truth in (True, False):
        given = {"c": np.array(truth), "x": np.array([1.0, -2.0], np.float32)}
        before, after = evaluate(module, given), evaluate(made, given)
        assert np.array_equal(before["y"], after["y"])
    assert Module.parse(made.text(), made.weights).text() == made.text()


def test_a_model_without_bodies_and_a_rewrite_that_does_nothing_give_it_back() -> None:
    module = model()
    assert within(module, lambda body: body) is module
    build = ModuleBuilder("flat")
    build.output("y", build.op("nn.neg", [build.input("x", (2,))]))
    flat = build.finish()
    assert within(flat, FoldConstants()) is flat
