"""Every operator that the GPU claims, alone: the plan and the emitted kernel agree with it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.gpu.helpers import interpreted
from tetrapla.backends.gpu.bounds.verdict import integer, judged
from tetrapla.backends.gpu.heads import HEADS
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.plan import VIEWS
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Tensor
from tetrapla.ir.unfuse import unfused
from tetrapla.simulators.gpu.values import executed

KINDS = sorted({*HEADS, *VIEWS})
PER_CHANNEL = ("qnn.quantize", "qnn.dequantize", "qnn.requantize")


def random_array(rng: np.random.Generator, tensor: Tensor, positive: bool) -> Array:
    dtype = DTYPES[tensor.dtype]
    if tensor.dtype == "i32":
        return rng.integers(-40_000, 40_000, tensor.shape, dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, tensor.shape, dtype, endpoint=True)
    drawn = rng.uniform(0.002, 1, tensor.shape) if positive else rng.normal(size=tensor.shape)
    return drawn.astype(np.float32)


def alone(kind: str, rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    """A module of the operator's own example, its parameters as weights; and 3 inputs."""
    example = OPS[kind].example
    assert example is not None
    types, attributes = example
    builder = ModuleBuilder(kind.replace(".", "_"))
    moving = 2 if kind in ("nn.add", "nn.mul", "qnn.add") else 1
    operands, inputs = [], {}
    for i, tensor in enumerate(types):
        if i < moving:
            operands.append(builder.input(f"x{i}", tensor.shape, tensor.dtype))
            inputs[f"x{i}"] = np.stack([random_array(rng, tensor, False) for _ in range(3)])
        else:
            positive = kind in PER_CHANNEL or (kind == "nn.batch_norm" and i == 4)
            array = random_array(rng, tensor, positive)
            operands.append(builder.weight(f"w{i}", array))
    builder.output("y", builder.op(kind, operands, attributes, "layer"))
    # a product's example has more in its epilogue than the plan takes
    return unfused(builder.finish()), inputs


@pytest.mark.parametrize("number_format", ["fp16", "fp32"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_plan_computes_what_the_operator_means(
    kind: str, number_format: str, rng: np.random.Generator
) -> None:
    module, inputs = alone(kind, rng)
    used = "int8" if kind.startswith("qnn.") else number_format
    program = plan(module, used)
    reference = evaluate_many(module, inputs)
    lowered = Lowered(module, program)
    verdict = judged(lowered, inputs, executed(program, inputs), reference)
    assert verdict.passed, verdict
    assert integer(lowered) == kind.startswith("qnn.")
    if verdict.bound is not None:
        assert verdict.bound < 0.05, verdict


@pytest.mark.parametrize("kind", KINDS)
def test_the_emitted_kernel_computes_what_the_operator_means(
    kind: str, rng: np.random.Generator
) -> None:
    module, inputs = alone(kind, rng)
    program = plan(module, "int8" if kind.startswith("qnn.") else "fp16")
    held = interpreted(program, inputs)
    verdict = judged(Lowered(module, program), inputs, held, evaluate_many(module, inputs))
    assert verdict.passed, verdict
