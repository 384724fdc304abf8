"""Small modules of a few operators, by hand or drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Attribute, Value
from tetrapla.ir.module import Module
from tetrapla.passes.eliminate_dead_code import EliminateDeadCode

Made = Callable[[ModuleBuilder, Value], Value]


def module(made: Made, shape: Sequence[int] = (2, 3), dtype: str = "f32") -> Module:
    """A module of what `made` builds on one input."""
    build = ModuleBuilder("small")
    build.output("y", made(build, build.input("x", shape, dtype)))
    return build.finish()


def kinds(found: Module) -> list[str]:
    return [node.kind.split(".")[-1] for node in found.graph.nodes]


def chain(*steps: tuple[str, dict[str, Attribute]]) -> Made:
    """Operators of one operand, one after another."""

    def made(build: ModuleBuilder, x: Value) -> Value:
        for kind, attributes in steps:
            x = build.op(kind, [x], attributes)
        return x

    return made


def binary(kind: str, number: float, *shape: int) -> Made:
    """An operator on x and a constant full of a number."""

    def made(build: ModuleBuilder, x: Value) -> Value:
        array = np.full(shape, number, np.float32)
        return build.op(kind, [x, build.weight("w", array)])

    return made


UNARY = ("abs", "ceil", "floor", "relu", "round", "sign", "neg", "neg", "neg", "exp")
BINARY = ("add", "sub", "mul", "div")
NUMBERS = (0.0, -0.0, 1.0, 2.0)
MOVES: tuple[tuple[str, dict[str, Attribute]], ...] = (
    ("nn.transpose", {"perm": (1, 0)}),
    ("nn.transpose", {"perm": (0, 1)}),
    ("nn.cast", {"dtype": "f32"}),
    ("nn.slice", {"starts": (2, 0), "sizes": (3, 3), "steps": (-1, 1)}),
    ("nn.slice", {"starts": (0, 0), "sizes": (3, 3), "steps": (1, 1)}),
    ("nn.expand", {"shape": (3, 3)}),
    ("nn.reshape", {"shape": (3, 3)}),
)


def random_module(seed: int, count: int, moves: bool) -> Module:
    """A graph of 3x3 values of the operators that the rules look at, no dead ones."""
    draw = np.random.default_rng(seed)
    build = ModuleBuilder("random")
    values = [build.input("x", (3, 3)), build.input("z", (3, 3))]
    for _ in range(count):
        x, other = (values[draw.integers(max(0, len(values) - 3), len(values))] for _ in "ab")
        match int(draw.integers(3 + moves)):
            case 0:
                values.append(build.op(f"nn.{draw.choice(UNARY)}", [x]))
            case 1:
                values.append(build.op(f"nn.{draw.choice(BINARY)}", [x, other]))
            case 2:
                shape = [(), (1,), (3, 1), (3, 3)][draw.integers(4)]
                w = build.weight("w", np.full(shape, draw.choice(NUMBERS), np.float32))
                values.append(build.op(f"nn.{draw.choice(BINARY)}", [x, w]))
            case _:
                kind, attributes = MOVES[draw.integers(len(MOVES))]
                values.append(build.op(kind, [x], attributes))
    build.output("y", values[-1])
    build.output("before", values[-2])
    return EliminateDeadCode()(build.finish())
