"""Rows longer than a kernel holds at once: passes over their lanes, within the same bounds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.gpu.helpers import interpreted
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.generated.expressions import LONGEST, MOST_LANES
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.kernels import Expression
from tetrapla.simulators.gpu.values import executed

LENGTH = LONGEST + 809  # which no pass divides
EXACT = ("arg", "bytes", "most", "wide", "any")


def rows(rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    """Reductions behind one another, of every type that is reduced."""
    build = ModuleBuilder("long")
    x = build.input("x", (2, LENGTH))
    q = build.input("q", (2, LENGTH), "i8")
    w = build.input("w", (2, LENGTH), "i64")
    gain = build.weight("gain", rng.normal(size=LENGTH).astype(np.float32))
    none = build.weight("none", np.array([125], np.int8))
    over = build.op("nn.greater", [q, none], {}, "over")
    along: dict[str, Attribute] = {"axes": (1,), "keepdims": 0}
    made = {
        "softmax": build.op("nn.softmax", [x], {"axis": 1}, "softmax"),
        "norm": build.op("nn.layer_norm", [x, gain], {"axis": -1, "epsilon": 1e-5}, "norm"),
        "lse": build.op("nn.reduce_log_sum_exp", [x], along, "lse"),
        "arg": build.op("nn.arg_max", [x], {"axis": 1, "keepdims": 0}, "arg"),
        "bytes": build.op("nn.reduce_sum", [q], along, "bytes"),
        "most": build.op("nn.reduce_max", [q], along, "most"),
        "wide": build.op("nn.reduce_sum", [w], along, "wide"),
        "any": build.op("nn.reduce_max", [over], along, "any"),
    }
    for name, value in made.items():
        build.output(name, value)
    shape = (2, 2, LENGTH)
    return build.finish(), {
        "x": rng.normal(size=shape).astype(np.float32),
        "q": rng.integers(-128, 128, shape).astype(np.int8),
        "w": rng.integers(-(2**60), 2**60, shape),
    }


@pytest.mark.parametrize("number_format", ["fp16", "fp32"])
def test_a_long_row_is_within_its_bound(number_format: str, rng: np.random.Generator) -> None:
    module, inputs = rows(rng)
    program = plan(module, number_format)
    assert all(isinstance(kernel, Expression) for kernel in program.kernels)
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    verdict = judged(Lowered(module, program), inputs, held, reference)
    assert verdict.passed, verdict


def test_the_emitted_passes_are_within_the_same_bounds(rng: np.random.Generator) -> None:
    module, inputs = rows(rng)
    program = plan(module, "fp32")
    held, reference = interpreted(program, inputs), evaluate_many(module, inputs)
    verdict = judged(Lowered(module, program), inputs, held, reference)
    assert verdict.passed, verdict
    for name in EXACT:
        assert np.array_equal(held.outputs[name], reference[name]), name


def test_a_row_that_no_position_reaches_is_refused() -> None:
    build = ModuleBuilder("endless")
    x = build.input("x", (2, MOST_LANES // 2 + 1))
    build.output("y", build.op("nn.reduce_sum", [x], {"axes": (0, 1), "keepdims": 0}, "sum"))
    with pytest.raises(UnsupportedError) as refused:
        plan(build.finish(), "fp16")
    assert str(refused.value).startswith(
        "gpu has no kernel for nn.reduce_sum over more than 1073741824 elements (1); compute "
    )
