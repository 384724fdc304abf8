"""What cannot be compiled is refused in one message that names all of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, check, chip, digits
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Options
from tetrapla.ir.errors import ModelError, UnsupportedError, some
from tetrapla.ir.graph import Attribute
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.spec import SystolicSpec

CAN = "write these layers with what docs/isa.md lists, or take a target that computes them"


def refusal(module: Module, spec: SystolicSpec | None = None) -> str:
    with pytest.raises(UnsupportedError) as refused:
        compile_graph(module.graph, spec or chip(8, 8), "m")
    return str(refused.value)


def test_all_nodes_without_an_instruction_are_named_in_one_message(
    rng: np.random.Generator,
) -> None:
    net = Net(rng, (4, 4, 4))
    op = net.builder.op
    scale = net.builder.weight("s", np.ones(1, np.float32))
    y = net.product(net.x, 4, "first")
    for name in ("one", "two"):
        real = op("qnn.dequantize", [y, scale], {"zero_point": 0, "axis": 0})
        real = op("nn.determinant", [real], {}, name=f"determinant_{name}")
        real = op("nn.expand", [real], {"shape": (4, 4, 4)})
        quantize: dict[str, Attribute] = {"zero_point": 0, "axis": 0, "dtype": "i8"}
        y = net.product(op("qnn.quantize", [real, scale], quantize), 4, name)
    conv: dict[str, Attribute] = {"strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1)}
    conv |= {"groups": 1, "x_zero_point": 0, "w_zero_point": 0}
    image = op("nn.reshape", [y], {"shape": (4, 4, 2, 2)})
    both = op("qnn.conv2d", [image, image], conv, name="moving")
    assert refusal(net.finish(both)) == (
        "systolic has no instruction for "
        "1 qnn.conv2d (moving: weights that are not constant), "
        "2 nn.determinant (determinant_one, determinant_two: between operators of the "
        "accelerator); " + CAN
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
        "2 nn.conv2d (conv1, conv2: on floats; give --quant a number format of the array), "
        "1 nn.matmul (fc: on floats; give --quant a number format of the array); " + CAN
    )
    with pytest.raises(ModelError) as asked:
        TARGET.lower(digits(rng), spec, None, Options())
    assert str(asked.value) == (
        "systolic must have calibration data to quantise 'digits', not none; "
        "give --calib, --calib-fraction or --data digits"
    )


def test_a_layout_that_cannot_be_read_is_copied(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 4, 3, 5))
    y = net.conv(net.x, 6, (1, 1), "a")
    turned = net.builder.op("nn.transpose", [y], {"perm": (0, 2, 1, 3)}, name="turn")
    z = net.conv(turned, 2, (1, 1), "b")
    _, program = check(net.finish(z), chip(8, 8), net.inputs())
    names = [layer.op for layer in program.layers]
    assert names == ["load", "qnn.conv2d", "copy", "qnn.conv2d", "store"]


def test_activations_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 4, 8, 8))
    module = net.finish(net.conv(net.x, 4, (1, 1), "a"))
    spec = chip(8, 8, 4096, 4, "memories.unified_buffer=63 B")
    assert refusal(module, spec) == (
        "systolic: the unified buffer must hold one row of the result of layer 'a' with "
        "what it reads, 64 bytes, not 63, 1 too few; "
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


def test_zero_points_that_are_computed_are_refused(rng: np.random.Generator) -> None:
    net = Net(rng, (4, 8))
    operands = [net.x, net.weights((8, 3), "w"), net.builder.input("zero", (), "i8")]
    net.builder.output("y", net.builder.op("qnn.matmul_integer", operands, {}, name="dynamic"))
    assert refusal(net.builder.finish()) == (
        "systolic has no instruction for "
        "1 qnn.matmul_integer (dynamic: zero points that are operands); " + CAN
    )
