"""Quotients, remainders and shifts of integers: every edge as the operators have it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tetrapla.backends.gpu.lower import plan
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.simulators.gpu.values import executed

CASES: list[tuple[str, dict[str, Attribute]]] = [
    ("nn.idiv", {}),
    ("nn.mod", {"fmod": 0}),
    ("nn.mod", {"fmod": 1}),
    ("nn.shift_left", {}),
    ("nn.shift_right", {}),
]


@pytest.mark.parametrize("dtype", ["i8", "ui8", "i32", "i64"])
@pytest.mark.parametrize(("kind", "attributes"), CASES)
def test_the_edges_of_a_type_are_the_operators(
    kind: str, attributes: dict[str, Attribute], dtype: str
) -> None:
    held = DTYPES[dtype]
    info = np.iinfo(held.name)
    near = [info.min, info.min + 1, info.max - 1, info.max, 0, 1, 2, 3, 5, 7, 8, 31, 64]
    values = np.array([*near, *(-n for n in near[5:] if info.min < 0)], held)
    pairs = np.array([*product(values, values)], held)
    build = ModuleBuilder("whole")
    operands = [build.input(name, (len(pairs),), dtype) for name in "ab"]
    build.output("y", build.op(kind, operands, attributes))
    module = build.finish()
    inputs = {"a": pairs[None, :, 0], "b": pairs[None, :, 1]}
    wanted = evaluate_many(module, inputs)["y"]
    found = executed(plan(module, "fp32"), inputs).outputs["y"]
    wrong = np.flatnonzero(found[0] != wanted[0])
    assert not len(wrong), (pairs[wrong[:4]], found[0][wrong[:4]], wanted[0][wrong[:4]])


def test_a_remainder_of_floats_is_refused() -> None:
    build = ModuleBuilder("floats")
    operands = [build.input(name, (2,)) for name in "ab"]
    build.output("y", build.op("nn.mod", operands, {"fmod": 1}))
    with pytest.raises(UnsupportedError) as refused:
        plan(build.finish(), "fp32")
    assert str(refused.value) == (
        "gpu has no kernel for nn.mod of floats (1); compute the whole model on the host with "
        "`tetrapla run`, or replace what is listed"
    )
