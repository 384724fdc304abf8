"""What tests of recognisers share: a module of one form, and what a pass did to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.passes.random_graphs import Draft
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module

Form = Callable[[Draft, Value], Value]
# seeds enough for each choice of a form to fall either way
SEEDS = 24


def module_of(form: Form, shape: tuple[int, ...], seed: int = 0) -> Module:
    draft = Draft(ModuleBuilder("form"), np.random.default_rng(seed))
    draft.build.output("y", form(draft, draft.build.input("x", shape)))
    return draft.build.finish()


def kinds(module: Module) -> list[str]:
    return [node.kind.removeprefix("nn.") for node in module.graph.nodes]


def moved(module: Module, other: Module, seed: int = 0) -> float:
    draw = np.random.default_rng(seed)
    inputs: dict[str, Array] = {
        name: draw.standard_normal(value.shape).astype(np.float32)
        for name, value in module.inputs.items()
    }
    before, after = evaluate(module, inputs)["y"], evaluate(other, inputs)["y"]
    return float(np.abs(before - after).max() / np.abs(before).max())
