"""Products of two computed operands of 16 bits, and inputs that stay in any format."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.designs import Products, design, held
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program

SHAPES = {"a": (3, 5, 11), "b": (3, 11, 7)}


def product(
    dtypes: tuple[str, str], zeros: tuple[int, int], turned: bool = False
) -> tuple[Module, dict[str, tuple[int, ...]]]:
    """A batch of products of inputs, of which the second may come transposed."""
    build = ModuleBuilder("net")
    shapes = dict(SHAPES)
    if turned:
        shapes["b"] = (3, 7, 11)
    a = build.input("a", shapes["a"], dtypes[0])
    b = build.input("b", shapes["b"], dtypes[1])
    if turned:
        b = build.op("nn.transpose", [b], {"perm": (0, 2, 1)}, name="turned")
    held_zeros = {"x_zero_point": zeros[0], "w_zero_point": zeros[1]}
    build.output("y", build.op("qnn.matmul", [a, b], held_zeros, name="product"))
    return build.finish(), shapes


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    info = np.iinfo(DTYPES[dtype])
    return rng.integers(info.min, info.max + 1, (2, *shape)).astype(DTYPES[dtype])


def steps(program: Program, op: str) -> list[Instruction]:
    return [step for step in program.instructions if step.op == op]


@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("zeros", [(0, 0), (5, 0), (0, -100), (-700, 127), (3, 1000)])
@pytest.mark.parametrize(("dtypes", "fmt"), [(("i16", "i16"), 2), (("i16", "i8"), 1)])
def test_operands_of_16_bits_are_both_computed(
    rng: np.random.Generator,
    dtypes: tuple[str, str],
    fmt: int,
    zeros: tuple[int, int],
    turned: bool,
    dataflow: str,
) -> None:
    if dtypes[1] == "i8" and zeros[1] == 1000:
        zeros = zeros[0], -128
    module, shapes = product(dtypes, zeros, turned)
    inputs = {n: numbers(rng, shapes[n], d) for n, d in zip("ab", dtypes, strict=True)}
    _, program = held(module, design(4, 4, dataflow=dataflow), inputs)
    assert {step["fmt"] for step in steps(program, "MM")} == {fmt}
    assert {step["fmt"] for step in steps(program, "LUW")} == {fmt - 1}


def test_a_zero_point_of_16_bits_that_no_bytes_add_up_to_is_refused() -> None:
    module, _ = product(("i16", "i16"), (0, 10007))
    with pytest.raises(UnsupportedError) as refused:
        compile_graph(module.graph, design(4, 4), "m")
    assert str(refused.value) == (
        "systolic has no instruction for 1 qnn.matmul (product: a zero point of 10007 that "
        "does not divide into steps of int8: quantise with zero points of 0); write these "
        "layers with what docs/isa.md lists, or take a target that computes them"
    )


def test_operands_of_16_bits_need_an_array_that_multiplies_them() -> None:
    module, _ = product(("i16", "i16"), (0, 0))
    with pytest.raises(UnsupportedError) as refused:
        compile_graph(module.graph, design(4, 4, formats={"int8": 1, "int16x8": 2}), "m")
    assert str(refused.value) == (
        "systolic has no instruction for 1 qnn.matmul (product: i16 x i16 takes an array with "
        "int16, not one of int8, int16x8); write these layers with what docs/isa.md lists, or "
        "take a target that computes them"
    )


@pytest.mark.parametrize(
    ("form", "fmt"), [("int8", 0), ("int4", 0), ("int16", 1), ("bf16", 3), ("fp16", 4)]
)
def test_inputs_stay_in_the_array_in_every_format_whose_operands_are_alike(
    rng: np.random.Generator, form: str, fmt: int
) -> None:
    net = Products(rng, form, (6, 9))
    module = net.finish(net.matmul(net.x, 7, "a"))
    _, program = held(module, design(4, 4, dataflow="input_stationary"), net.inputs())
    assert {step["fmt"] for step in steps(program, "LUW")} == {fmt}
    assert {step["transposed"] for step in steps(program, "RQ")} == {1}


def test_weights_stay_where_the_operands_have_two_types(rng: np.random.Generator) -> None:
    net = Products(rng, "int16x8", (6, 9))
    module = net.finish(net.matmul(net.x, 7, "a"))
    _, program = held(module, design(4, 4, dataflow="input_stationary"), net.inputs())
    assert not steps(program, "LUW")
