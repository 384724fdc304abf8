"""Products in every number format, on every dataflow, any number of arrays and sparse chips."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.backends.systolic.designs import ALL, DATAFLOWS, Products, design, held
from tetrapla.backends.systolic.array.formats import why_not
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Value
from tetrapla.simulators.systolic.timing import schedule

# an example that fails is small already
QUICK = settings(max_examples=80, deadline=None, derandomize=True, phases=[Phase.generate])

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
formats = st.sampled_from(sorted(ALL))


@st.composite
def designs(draw: st.DrawFn) -> Any:
    """Small arrays, memories that are often too small for what is asked of them."""
    units = draw(st.integers(1, 3))
    dataflow = draw(st.sampled_from(DATAFLOWS))
    sparse = dataflow == "weight_stationary" and draw(st.booleans())
    return design(
        draw(st.integers(1, 9)),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 40)),
        units * draw(st.integers(1, 4)),
        units=units,
        dataflow=dataflow,
        sparsity="2:4" if sparse else "none",
    )


@QUICK
@given(seeds, formats, designs(), st.tuples(*[st.integers(1, 20)] * 4))
def test_random_matrix_products_are_right(
    rng: np.random.Generator, form: str, spec: Any, sizes: tuple[int, ...]
) -> None:
    m, k, n, last = sizes
    net = Products(rng, form, (m, k))
    held(net.finish(net.matmul(net.matmul(net.x, n, "a"), last, "b")), spec, net.inputs())


@QUICK
@given(st.data(), seeds, formats, designs())
def test_random_convolutions_are_right(
    data: st.DataObject, rng: np.random.Generator, form: str, spec: Any
) -> None:
    batch, groups, per_group, share = data.draw(st.tuples(*[st.integers(1, 3)] * 4))
    kernel, strides = data.draw(st.tuples(*[st.tuples(*[st.integers(1, 3)] * 2)] * 2))
    pads = data.draw(st.tuples(*[st.integers(0, k - 1) for k in (*kernel, *kernel)]))
    net = Products(rng, form, (batch, groups * per_group, 5, 4))
    own = {"strides": strides, "pads": pads, "groups": groups}
    held(net.finish(net.conv(net.x, groups * share, kernel, "a", **own)), spec, net.inputs())


@pytest.mark.parametrize("dataflow", DATAFLOWS[:2])
def test_wide_operands_take_two_and_four_times_the_cycles(
    rng: np.random.Generator, dataflow: str
) -> None:
    # TPU v1: half speed where one operand has 16 bits, a quarter where both have
    found = {}
    for form in ("int8", "int16x8", "int16"):
        net = Products(rng, form, (64, 64))
        module = net.finish(net.matmul(net.x, 64, "a"))
        spec = design(8, 8, accumulators=512, tiles=64, dataflow=dataflow)
        program = compile_graph(module.graph, spec, "m")
        events = schedule(program, spec).events
        pairs = zip(events, program.instructions, strict=True)
        found[form] = sum(e.free - e.dispatch for e, i in pairs if i.op == "MM")
    assert found == {"int8": 64 * 8 * 8, "int16x8": 2 * 64 * 8 * 8, "int16": 4 * 64 * 8 * 8}


def test_weights_of_four_bits_are_half_the_traffic(rng: np.random.Generator) -> None:
    stored = {}
    for form in ("int8", "int4"):
        net = Products(rng, form, (4, 64))
        result, _ = held(net.finish(net.matmul(net.x, 48, "a")), design(8, 8), net.inputs())
        stored[form] = sum(row.actions["weight_memory.write_byte"] for row in result.layers)
        assert all(row.actions.get("mac.int4", 0) == 0 for row in result.layers)
    assert stored == {"int8": 64 * 48, "int4": 64 * 48}  # a slot holds int8
    bytes_of = {form: _dram_read(rng, form) for form in ("int8", "int4")}
    assert bytes_of["int8"] - bytes_of["int4"] == 64 * 48 // 2


def _dram_read(rng: np.random.Generator, form: str) -> float:
    net = Products(rng, form, (4, 64))
    result, _ = held(net.finish(net.matmul(net.x, 48, "a")), design(8, 8), net.inputs())
    return sum(row.actions["dram.read_byte"] for row in result.layers)


def test_weights_of_four_bits_are_held_in_eight_where_a_chip_has_no_other(
    rng: np.random.Generator,
) -> None:
    net = Products(rng, "int4", (4, 20))
    module = net.finish(net.matmul(net.x, 9, "a"))
    _, program = held(module, design(8, 8, formats={"int8": 1}), net.inputs())
    assert {step["fmt"] for step in program.instructions if step.op == "LDW"} == {0}


def test_weights_of_eight_bits_are_widened_where_a_chip_has_int16_alone(
    rng: np.random.Generator,
) -> None:
    net = Products(rng, "int16x8", (4, 20))
    module = net.finish(net.matmul(net.x, 9, "a"))
    result, _ = held(module, design(8, 8, formats={"int16": 4}), net.inputs())
    assert sum(row.actions["mac.int16"] for row in result.layers) == 4 * 20 * 9


@pytest.mark.parametrize(
    ("form", "there", "reason"),
    [
        ("int8", {"bf16": 1}, "i8 x i8 takes an array with int8, not one of bf16"),
        ("int16x8", {"int8": 1}, "i16 x i8 takes an array with int16x8, not one of int8"),
        (
            "int16",
            {"int8": 1, "int16x8": 2},
            "i16 x i16 takes an array with int16, not one of int8, int16x8",
        ),
        ("bf16", {"int8": 1}, "bf16 x bf16 takes an array with bf16, not one of int8"),
        (
            "fp16",
            {"bf16": 1, "int8": 1},
            "f16 x f16 takes an array with fp16, not one of bf16, int8",
        ),
    ],
)
def test_a_format_that_the_array_lacks_is_named(
    rng: np.random.Generator, form: str, there: dict[str, int], reason: str
) -> None:
    net = Products(rng, form, (4, 8))
    module = net.finish(net.matmul(net.x, 9, "fc"))
    node = next(node for node in module.graph.nodes if node.name == "fc")
    assert why_not(module.graph, node, there) == reason
    with pytest.raises(UnsupportedError, match=re.escape(f"{node.kind} (fc: {reason})")):
        compile_graph(module.graph, design(8, 8, formats=there), "m")


def test_a_float_product_with_another_activation_is_refused() -> None:
    b = ModuleBuilder("m")
    x, w = b.input("x", (2, 3), "bf16"), b.weight("w", np.zeros((3, 4), DTYPES["bf16"]))
    b.output("y", b.op("nn.matmul", [x, w], {"activation": "gelu"}, name="fc"))
    module = b.finish()
    (node,) = module.graph.nodes
    assert why_not(module.graph, node, ALL) == "the activation gelu inside a product"


def test_a_bias_beyond_the_table_is_refused() -> None:
    b = ModuleBuilder("m")
    x, w = b.input("x", (2, 3), "i16"), b.weight("w", np.ones((3, 1), np.int8))
    bias = b.weight("bias", np.array([2**31], np.int64))
    zeros = {"x_zero_point": 0, "w_zero_point": 0}
    b.output("y", b.op("qnn.matmul", [x, w, bias], zeros, name="fc"))
    with pytest.raises(UnsupportedError, match="a bias of 2147483648 steps, more than the"):
        compile_graph(b.finish().graph, design(4, 4), "m")


@pytest.mark.parametrize("form", ["bf16", "fp16"])
def test_relu_of_floats_has_no_upper_limit(form: str) -> None:
    dtype = {"bf16": "bf16", "fp16": "f16"}[form]
    b = ModuleBuilder("m")
    x, w = b.input("x", (1, 2), dtype), b.weight("w", np.eye(2).astype(DTYPES[dtype]))
    for activation in ("none", "relu", "relu6"):
        y = b.op("nn.matmul", [x, w], {"activation": activation}, name=activation)
        b.output(activation, y)
    inputs = {"x": np.array([[[49152.0, -49152.0]]]).astype(DTYPES[dtype])}
    result, _ = held(b.finish(), design(4, 4), inputs)
    found = {name: array.astype(float).tolist() for name, array in result.outputs.items()}
    assert found == {
        "none": [[[49152.0, -49152.0]]],
        "relu": [[[49152.0, 0.0]]],
        "relu6": [[[6.0, 0.0]]],
    }


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("form", ["bf16", "fp16"])
@pytest.mark.parametrize("units", [1, 3])
def test_attention_in_floats_is_right(
    rng: np.random.Generator, form: str, dataflow: str, units: int
) -> None:
    # 2 heads of 5 numbers, 7 tokens: both operands of both products are computed
    net = Products(rng, form, (7, 6))
    b, none = net.builder, {"activation": "none"}

    def heads(name: str, perm: tuple[int, ...]) -> Value:
        y = b.op(
            "nn.reshape", [net.matmul(net.x, 10, name)], {"shape": (7, 2, 5)}, name=f"{name}r"
        )
        return b.op("nn.transpose", [y], {"perm": perm}, name=f"{name}t")

    q, k, v = heads("q", (1, 0, 2)), heads("k", (1, 2, 0)), heads("v", (1, 0, 2))
    scores = b.op("nn.matmul", [q, k], {"activation": "relu6"}, name="scores")
    batch = net.weight("w", net.numbers((2, 5, 4), net.weight_dtype))
    y = b.op(
        "nn.matmul", [b.op("nn.matmul", [scores, v], none, name="y"), batch], none, name="z"
    )
    spec = design(4, 3, tiles=12, dataflow=dataflow, units=units)
    held(net.finish(scores, y), spec, net.inputs())
