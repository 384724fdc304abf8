"""The check of float networks: what it passes, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY
from tests.backends.systolic.designs import Products, design
from tetrapla.backends.systolic import check
from tetrapla.backends.systolic.check import WIDEST, cross_check
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.report import CrossCheck, Run
from tetrapla.simulators.systolic import machine
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program

SPEC = design(8, 8)


def judged(
    module: Module, inputs: dict[str, Array], changed: dict[str, Array] | None = None
) -> tuple[CrossCheck, Run]:
    """A run, with some of its outputs changed behind its back."""
    lowered = Lowered(module, compile_graph(module.graph, SPEC, module.name))
    result = run(lowered.program, SPEC, inputs, KEY)
    shown = replace(result, outputs={**result.outputs, **(changed or {})})
    return cross_check(lowered, SPEC, inputs, shown, evaluate_many(module, inputs)), result


def network(rng: np.random.Generator, form: str, depth: int = 3) -> tuple[Products, Module]:
    net = Products(rng, form, (3, 30))
    y = net.x
    for number in range(depth):
        shape = (30, 30)  # so small that nothing overflows on the way
        weights = None if not net.real else net.numbers(shape, net.weight_dtype) / 6
        y = net.matmul(y, 30, f"fc{number}", weights)
    return net, net.finish(y)


@pytest.mark.parametrize("form", ["bf16", "fp16"])
def test_the_bound_does_not_grow_with_depth(rng: np.random.Generator, form: str) -> None:
    # half an ulp of the result's type and 31 roundings of float32, of the largest result
    half_ulp = {"bf16": 2.0**-8, "fp16": 2.0**-11}[form]
    for depth in (1, 4, 12):
        net, module = network(rng, form, depth)
        found, _ = judged(module, net.inputs())
        assert found.passed
        assert found.kind == "tolerance"
        assert found.mismatches == 0
        assert found.bound is not None
        assert found.bound <= 2 * half_ulp + 62 * 2.0**-24 * 30 < WIDEST


def test_an_output_that_was_changed_is_found(rng: np.random.Generator) -> None:
    net, module = network(rng, "bf16")
    inputs = net.inputs()
    clean, result = judged(module, inputs)
    assert clean.passed
    (name,) = result.outputs
    wrong = np.array(result.outputs[name])
    wrong.flat[5] += 1
    found, _ = judged(module, inputs, {name: wrong})
    assert (found.mismatches, found.passed) == (1, False)


def test_a_machine_whose_sums_are_a_little_off_is_found(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, module = network(rng, "fp16")
    inputs = net.inputs()
    outputs = machine.outputs

    def broken(program: Program, given: dict[str, Array]) -> dict[str, Array]:
        made = outputs(program, given)
        return {key: array + np.float16(1 / 64) for key, array in made.items()}

    monkeypatch.setattr(check, "outputs", broken)
    found, _ = judged(module, inputs)
    assert not found.passed
    assert found.mismatches is not None
    assert found.mismatches > 3 * 2 * 3 * 30 // 2  # most elements of three layers


def test_one_step_of_the_format_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    # a sum of one product is exact, so the numbers beside it are outside
    module, outputs = product(np.eye(4)), machine.outputs
    inputs = {"x": np.array([[[1.0, 2.0, -3.0, 1.5]]]).astype(DTYPES["bf16"])}
    assert judged(module, inputs)[0].passed

    def stepped(program: Program, given: dict[str, Array]) -> dict[str, Array]:
        made = outputs(program, given)
        return {
            key: (array.view(np.int16) + 1).view(array.dtype) for key, array in made.items()
        }

    monkeypatch.setattr(check, "outputs", stepped)
    found, _ = judged(module, inputs)
    assert found.mismatches == 4 + 4  # the products, and the outputs that do not follow


def test_an_integer_network_is_held_bit_by_bit(rng: np.random.Generator) -> None:
    net, module = network(rng, "int16")
    inputs = net.inputs()
    clean, result = judged(module, inputs)
    assert clean == CrossCheck("bit_exact", 0, None, None, True)
    (name,) = result.outputs
    wrong = np.array(result.outputs[name])
    wrong.flat[:3] ^= 1
    found, _ = judged(module, inputs, {name: wrong})
    assert found == CrossCheck("bit_exact", 3, None, None, False)


def test_a_sum_that_overflows_says_nothing() -> None:
    module = product(np.full((4, 3), 1e38))
    found, _ = judged(module, {"x": np.full((1, 1, 4), 1e30, DTYPES["bf16"])})
    assert (found.passed, found.bound) == (False, None)


def product(weights: Array) -> Module:
    """A product of bfloat16 alone."""
    b = ModuleBuilder("m")
    x, w = b.input("x", (1, 4), "bf16"), b.weight("w", weights.astype(DTYPES["bf16"]))
    b.output("y", b.op("nn.matmul", [x, w], {"activation": "none"}, name="fc"))
    return b.finish()
