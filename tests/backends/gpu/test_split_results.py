"""Operators with more than one result, as operators with one each: no bit moves."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.gpu.bounds.verdict import integer, judged
from tetrapla.backends.gpu.lower import lower
from tetrapla.backends.gpu.split_results import SplitResults
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed
from tetrapla.simulators.spec_ import load_spec


def top_k(dtype: str, shape: tuple[int, ...], k: int, axis: int, largest: int) -> Module:
    build = ModuleBuilder("best")
    x = build.input("x", shape, dtype)
    attributes = {"k": k, "axis": axis, "largest": largest}
    values, places = build.ops("nn.top_k", [x], attributes, "best")
    build.output("values", values)
    build.output("places", places)
    return build.finish()


def on_gpu(module: Module) -> Lowered[Program]:
    return lower(module, load_spec("h100", GpuSpec).spec, None, Options(quant="none"))


@pytest.mark.parametrize("dtype", ["f32", "i8", "i64"])
@pytest.mark.parametrize(
    ("shape", "k", "axis", "largest"),
    [((2, 3, 7), 3, 1, 1), ((2, 9), 9, -1, 0), ((4, 20), 5, 1, 1), ((5,), 1, 0, 0)],
)
def test_the_best_of_a_row_are_the_operators(
    dtype: str, shape: tuple[int, ...], k: int, axis: int, largest: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    module = top_k(dtype, shape, k, axis, largest)
    x: Array = rng.integers(-3, 4, (6, *shape)).astype(DTYPES[dtype])  # with many ties
    if dtype == "f32":
        flat = x.reshape(6, -1)
        flat[0, [1, 3]], flat[1, [0, 4]], flat[2, 2] = np.nan, (np.inf, -np.inf), -0.0
    lowered = on_gpu(module)
    reference = evaluate_many(module, {"x": x})
    held = executed(lowered.program, {"x": x})
    for name, wanted in reference.items():
        assert np.array_equal(held.outputs[name], wanted, equal_nan=dtype == "f32"), name
    assert judged(lowered, {"x": x}, held, reference).mismatches == 0


def test_nothing_of_a_row_times_a_row_is_stored() -> None:
    program = on_gpu(top_k("f32", (4, 1000), 8, 1, 1)).program
    assert max(buffer.elements for buffer in program.buffers) == 4000


def test_a_dynamic_quantisation_is_bit_exact(rng: np.random.Generator) -> None:
    build = ModuleBuilder("dynamic")
    x = build.input("x", (5, 7))
    for i, value in enumerate(build.ops("qnn.dynamic_quantize", [x], {}, "q")):
        build.output(f"y{i}", value)
    module = build.finish()
    inputs = {"x": rng.normal(size=(8, 5, 7)).astype(np.float32)}
    inputs["x"][1] = 0  # no span at all
    inputs["x"][2] = np.abs(inputs["x"][2]) + 1
    lowered = on_gpu(module)
    assert integer(lowered)
    reference = evaluate_many(module, inputs)
    held = executed(lowered.program, inputs)
    verdict = judged(lowered, inputs, held, reference)
    assert (verdict.kind, verdict.mismatches) == ("bit_exact", 0)


def test_a_module_without_such_operators_stays_itself() -> None:
    build = ModuleBuilder("plain")
    build.output("y", build.op("nn.neg", [build.input("x", (2,))], {}))
    module = build.finish()
    assert SplitResults()(module) is module
