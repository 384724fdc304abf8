"""What cannot be compiled is refused in one message that names all of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, chip, digits
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Options
from tetrapla.ir.errors import ModelError, UnsupportedError, some
from tetrapla.ir.graph import Attribute
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.spec import SystolicSpec

CAN = (
    "it can do qnn.conv2d, qnn.matmul, qnn.requantize, qnn.add, qnn.average_pool2d, "
    "qnn.global_average_pool, nn.max_pool2d, nn.relu, nn.reshape, nn.transpose on integers, "
    "and the host any float operator but conv2d and matmul before the first or after the last "
    "of these"
)


def refusal(module: Module, spec: SystolicSpec | None = None) -> str:
    with pytest.raises(UnsupportedError) as refused:
        compile_graph(module.graph, spec or chip(8, 8), "m")
    return str(refused.value)


def test_all_nodes_without_an_instruction_are_named_in_one_message(
    rng: np.random.Generator,
) -> None:
    net = Net(rng, (2, 4, 4))
    op = net.builder.op
    scale = net.builder.weight("s", np.ones(1, np.float32))
    zeros = {"x_zero_point": 0, "w_zero_point": 0}
    first = net.product(net.x, 4, "first")
    for name in ("one", "two"):
        real = op("qnn.dequantize", [first, scale], {"zero_point": 0, "axis": 0})
        real = op("nn.softmax", [real], {"axis": -1}, name=f"softmax_{name}")
        quantize: dict[str, Attribute] = {"zero_point": 0, "axis": 0, "dtype": "i8"}
        first = net.product(op("qnn.quantize", [real, scale], quantize), 4, name)
    both = op("qnn.matmul", [first, net.x], zeros, name="attention")
    assert refusal(net.finish(both)) == (
        "systolic has no instruction for "
        "2 nn.softmax (softmax_one, softmax_two: between integer operators), "
        "1 qnn.matmul (attention: weights that are not constant), "
        "2 qnn.dequantize (dequantize, dequantize_2: between integer operators), "
        "2 qnn.quantize (quantize, quantize_2: between integer operators); " + CAN
    )


def test_of_many_names_the_first_are_listed() -> None:
    names = [f"n{i}" for i in range(8)]
    assert some(names) == "n0, n1, n2, n3, n4, n5 and 2 more"
    assert some(names[:6]) == "n0, n1, n2, n3, n4, n5"


def test_a_float_model_asks_for_quantisation(rng: np.random.Generator) -> None:
    spec = chip(8, 8)
    with pytest.raises(UnsupportedError) as refused:
        TARGET.lower(digits(rng), spec, None, Options(quant="none"))
    assert str(refused.value) == (
        "systolic has no instruction for "
        "2 nn.conv2d (conv1, conv2: on floats; quantise with --quant int8), "
        "1 nn.matmul (fc: on floats; quantise with --quant int8); " + CAN
    )
    with pytest.raises(ModelError) as asked:
        TARGET.lower(digits(rng), spec, None, Options())
    assert str(asked.value) == (
        "systolic must have calibration data to quantise 'digits', not none; "
        "give --calib, --calib-fraction or --data digits"
    )


def test_a_layout_that_cannot_be_read_is_refused(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 4, 3, 5))
    y = net.conv(net.x, 6, (1, 1), "a")
    turned = net.builder.op("nn.transpose", [y], {"perm": (0, 2, 1, 3)}, name="turn")
    z = net.conv(turned, 2, (1, 1), "b")
    assert refusal(net.finish(z)) == (
        "systolic has no instruction for "
        "1 qnn.conv2d (b: channels that are not contiguous in memory); " + CAN
    )


def test_activations_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 4, 8, 8))
    module = net.finish(net.conv(net.x, 4, (1, 1), "a"))
    spec = chip(8, 8, 4096, 4, "memories.unified_buffer=63 B")
    assert refusal(module, spec) == (
        "systolic: the unified buffer must hold one output row of layer 'a' (32 bytes) with "
        "what that reads (32), in multiples of 16 64 bytes, not 63, 1 too few; "
        "set memories.unified_buffer to at least 64 B"
    )
    compile_graph(module.graph, chip(8, 8, 4096, 4, "memories.unified_buffer=64 B"), "m")


def test_a_model_that_does_not_fit_dram_is_refused(rng: np.random.Generator) -> None:
    net = Net(rng, (4, 8))
    module = net.finish(net.product(net.x, 8, "a"))
    # weights 64, descriptor 128, row 16 + 8 x 8 in 64s, then 32 in and 32 out in 64s
    assert refusal(module, chip(8, 8, 4096, 4, "dram.capacity=447 B")) == (
        "systolic: weights, tables, inputs and outputs of 'm' must fit the DRAM of 447 bytes, "
        "not 448 bytes; enlarge dram.capacity"
    )
    compile_graph(module.graph, chip(8, 8, 4096, 4, "dram.capacity=448 B"), "m")
