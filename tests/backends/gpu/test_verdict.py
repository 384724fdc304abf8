"""What the verdict on a float plan makes of ties, of memory, and of many invocations."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.gpu.bounds import verdict
from tetrapla.backends.gpu.bounds.bound import error_bounds
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.lower import lower, plan, planned
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu import values
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed
from tetrapla.simulators.spec_ import load_spec


def spikes() -> Module:
    """Which exponentials are over 3."""
    build = ModuleBuilder("ties")
    three = build.weight("three", np.array([3.0], np.float32))
    h = build.op("nn.exp", [build.input("x", (1000,))], {}, "exp")
    over = build.op("nn.greater", [h, three], {}, "over")
    build.output("y", build.op("nn.cast", [over], {"dtype": "f32"}, "spike"))
    return build.finish()


@pytest.mark.parametrize(("tied", "passed"), [(5, True), (20, False)])
def test_a_few_comparisons_may_come_out_either_way(tied: int, passed: bool) -> None:
    module = spikes()
    x = np.linspace(-2, 0.5, 1000, dtype=np.float32)
    x[:tied] = np.log(3.0)  # whose exponential is 3 but for its rounding
    inputs = {"x": x[None]}
    program = plan(module, "fp32")
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    found = judged(Lowered(module, program), inputs, held, reference)
    assert (found.mismatches, found.passed) == (0, passed)


@pytest.mark.parametrize("step", [1.0, 2.0**-3, 2.0**-11])
def test_a_sum_of_few_whole_steps_has_no_error(step: float, rng: np.random.Generator) -> None:
    build = ModuleBuilder("threshold")
    w = build.weight("w", rng.integers(-4, 5, (64, 8)).astype(np.float32))
    level = build.weight("level", np.array([2 * step], np.float32))
    h = build.op("nn.matmul", [build.input("x", (16, 64)), w], {"activation": "none"}, "sum")
    over = build.op("nn.greater_or_equal", [h, level], {}, "over")
    build.output("y", build.op("nn.cast", [over], {"dtype": "f32"}, "fires"))
    module = build.finish()
    inputs = {"x": (rng.integers(-2, 3, (2, 16, 64)) * step).astype(np.float32)}
    program = plan(module, "fp32")
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    found = judged(Lowered(module, program), inputs, held, reference)
    # many sums are the level itself; of steps below 2^-10 the analysis does not know it
    assert (found.mismatches, found.passed) == (0, step > 2**-10)
    assert step < 2**-10 or found.bound == 0


@pytest.mark.parametrize(("last", "kind"), [("image", "tolerance"), ("logits", "bit_exact")])
def test_an_int8_plan_that_stores_integers_alone_is_bit_exact(
    last: str, kind: str, rng: np.random.Generator
) -> None:
    """A sigmoid is computed in floats, but is quantised before anything is stored."""
    build = ModuleBuilder("net")
    w = build.weight("w", rng.normal(size=(16, 8)).astype(np.float32))
    product = {"activation": "none"}
    h = build.op("nn.matmul", [build.input("image", (4, 16)), w], product, "fc")
    h = build.op("nn.sigmoid", [h], {}, "sigmoid")
    if last == "logits":
        v = build.weight("v", rng.normal(size=(8, 5)).astype(np.float32))
        h = build.op("nn.matmul", [h, v], product, "logits")
    build.output("y", h)
    inputs = {"image": rng.random((3, 4, 16)).astype(np.float32)}
    spec = load_spec("t4", GpuSpec).spec
    lowered = lower(build.finish(), spec, inputs, Options(quant="int8"))
    assert not verdict.integer(lowered)
    held = executed(lowered.program, inputs)
    reference = evaluate_many(lowered.module, inputs)
    found = judged(lowered, inputs, held, reference)
    assert (found.kind, found.mismatches, found.passed) == (kind, 0, True)
    held.outputs["y"][0, 0, 0] += 1
    wrong = judged(lowered, inputs, held, reference)
    assert (wrong.kind, bool(wrong.mismatches), wrong.passed) == ("tolerance", True, False)


def deep(rng: np.random.Generator) -> tuple[Module, dict[str, np.ndarray]]:
    build = ModuleBuilder("deep")
    h = build.input("x", (8, 16))
    for i in range(3):
        w = build.weight(f"w{i}", rng.normal(size=(16, 16)).astype(np.float32) / 4)
        h = build.op("nn.matmul", [h, w], {"activation": "none"}, f"fc{i}")
        h = build.op("nn.tanh", [h], {}, f"tanh{i}")
    build.output("y", h)
    return build.finish(), {"x": rng.normal(size=(16, 8, 16)).astype(np.float32)}


def test_the_invocations_may_be_analysed_apart(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = deep(rng)
    program = plan(module, "fp16")
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    assert len(held.probed) == 16
    lowered = Lowered(module, program)
    together = judged(lowered, inputs, held, reference)
    monkeypatch.setattr(verdict, "MOST_ELEMENTS", 1)
    assert judged(lowered, inputs, held, reference) == together
    broken = {name: array.copy() for name, array in held.stored.items()}
    port = program.outputs[0].buffer
    broken[port][13, 5] += 0.1  # of one invocation alone
    wrong = values.Held(held.outputs, held.probed, broken)
    assert judged(lowered, inputs, wrong, reference).mismatches


def test_of_a_large_program_fewer_invocations_are_probed(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = deep(rng)
    program = plan(module, "fp16")
    kept = sum(b.elements for b in program.buffers if b.role != "weight")
    monkeypatch.setattr(values, "MOST_PROBED", 3 * kept)
    assert executed(program, inputs).probed == (0, 7, 15)
    monkeypatch.setattr(values, "MOST_PROBED", 1)
    held = executed(program, inputs)
    assert held.probed == (0,)
    lowered = Lowered(module, program)
    found = judged(lowered, inputs, held, evaluate_many(module, inputs))
    assert found.passed, found


@pytest.mark.parametrize("number_format", ["fp16", "fp32"])
def test_a_constant_output_is_what_its_buffer_holds(number_format: str) -> None:
    build = ModuleBuilder("constant")
    x = build.input("x", (2, 3))
    w = build.weight("w", np.linspace(0.1, 1, 9, dtype=np.float32).reshape(3, 3))
    build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}, "fc"))
    build.output("c", build.weight("c", np.array([0.1, 0.2], np.float32)))
    module = build.finish()
    inputs = {"x": np.ones((3, 2, 3), np.float32)}
    program = plan(module, number_format)
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    lowered = Lowered(module, program)
    assert judged(lowered, inputs, held, reference).passed
    wrong = values.Held({**held.outputs, "c": held.outputs["c"] + 1}, held.probed, held.stored)
    assert judged(lowered, inputs, wrong, reference).mismatches == 6


@pytest.mark.parametrize("masked", [-np.inf, np.finfo(np.float32).min, -1e4])
def test_a_mask_so_low_that_nothing_is_left_does_not_widen_a_bound(
    masked: float, rng: np.random.Generator
) -> None:
    build = ModuleBuilder("mask")
    x = build.input("x", (2, 8, 8))
    mask = build.weight("mask", np.triu(np.full((8, 8), masked, np.float32), 1))
    h = build.op("nn.add", [x, mask], {}, "masked")
    build.output("y", build.op("nn.softmax", [h], {"axis": 2}, "softmax"))
    module = build.finish()
    _, layout = planned(module, "fp32")
    inputs = {"x": rng.normal(size=(3, 2, 8, 8)).astype(np.float32)}
    bound = error_bounds(module.graph, layout, inputs)["y"]
    assert bound.max() < 1e-5  # some tens of roundings, each of 2^-24
    exact = evaluate_many(module, inputs)["y"]
    assert (bound[exact == 0] < 1e-30).all()
