"""Small modules for what one pass rewrites, and the result with its values compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.passes.random_graphs import Draft
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import Pass

Form = Callable[[Draft, Value], Value]
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def made(form: Form, shape: tuple[int, ...], dtype: str = "f32") -> Module:
    draft = Draft(ModuleBuilder("form"), np.random.default_rng(0))
    draft.build.output("y", form(draft, draft.build.input("x", shape, dtype)))
    return draft.build.finish()


def kinds(module: Module) -> list[str]:
    return [node.kind.removeprefix("nn.") for node in module.graph.nodes]


def rewritten(pass_: Pass, module: Module) -> Module:
    """The result, whose values were compared with the operand's."""
    found = pass_(module)
    draw = np.random.default_rng(1)
    inputs: dict[str, Array] = {
        name: draw.standard_normal(value.shape).astype(np.float32)
        for name, value in module.inputs.items()
    }
    after = evaluate(found, inputs)
    for name, before in evaluate(module, inputs).items():
        assert np.abs(before - after[name]).max() <= pass_.max_rel_error * np.abs(before).max()
    return found


def conv(draft: Draft, x: Value, filters: int, kernel: int, **more: Attribute) -> Value:
    window: dict[str, Attribute] = {"strides": (1, 1), "pads": (0, 0, 0, 0)}
    window |= {"dilations": (1, 1), "groups": 1, "activation": "none", **more}
    w = draft.scaled("w", filters, x.shape[1], kernel, kernel)
    return draft.op("conv2d", x, w, draft.normal("b", filters), **window)
