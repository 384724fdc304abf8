"""What the compiler makes of a float model before it compiles: by format, and with reasons."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import EXACT, KEY, chip, digits, verdict
from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, SpecError, UnsupportedError
from tetrapla.ir.graph import Attribute
from tetrapla.ir.module import Module
from tetrapla.passes.pipeline_ import quantised
from tetrapla.passes.unroll_recurrence import UnrollRecurrence
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.spec import SystolicSpec

PRODUCTS = ("nn.matmul", "nn.conv2d", "qnn.matmul", "qnn.conv2d")
REAL = ("bf16", "fp16")


def having(*formats: str, default: str = "int8") -> SystolicSpec:
    """TPU v1 with a small array of more formats."""
    spec = chip(16, 16)
    there = {**spec.array.formats, **dict.fromkeys(formats, 1)}
    array = spec.array.model_copy(update={"formats": there})
    box = spec.chip.model_copy(update={"default_format": default})
    return spec.model_copy(update={"array": array, "chip": box})


def types(module: Module, spec: SystolicSpec, quant: str | None) -> set[tuple[str, str]]:
    """The element types of the operands of the products that are compiled."""
    lowered = TARGET.lower(module, spec, sampled(module, 0), Options(quant=quant))
    nodes = [n for n in lowered.module.graph.nodes if n.kind in PRODUCTS]
    return {(n.operands[0].dtype, n.operands[1].dtype) for n in nodes}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_of_every_step_is_computed_bit_by_bit(family: str) -> None:
    build, steps = FAMILIES[family]
    module, spec = build(steps, 5), chip(16, 16)
    data = sampled(module, 5)
    lowered = TARGET.lower(module, spec, data, Options())
    result = run(lowered.program, spec, data, KEY)
    assert verdict(lowered, spec, data, result) == EXACT


@pytest.mark.parametrize("quant", ["bf16", "fp16"])
def test_float_products_of_recurrent_layers_are_within_their_bound(quant: str) -> None:
    build, _ = FAMILIES["sequential"]
    module, spec = build(("lstm", "gru"), 5), having(*REAL)
    data = sampled(module, 5)
    lowered = TARGET.lower(module, spec, None, Options(quant=quant))
    found = verdict(lowered, spec, data, run(lowered.program, spec, data, KEY))
    assert found.kind == "tolerance"
    assert found.passed
    assert found.mismatches == 0


def test_each_format_has_its_operands(rng: np.random.Generator) -> None:
    module = digits(rng)
    wide = having(*REAL)
    assert types(module, wide, "int8") == {("i8", "i8")}
    assert types(module, wide, "int4") == {("i8", "i8")}
    assert types(module, wide, "int16") == {("i16", "i8")}
    assert types(module, wide, "bf16") == {("bf16", "bf16")}
    assert types(module, wide, "fp16") == {("f16", "f16")}
    assert types(module, having("int4"), "int4") == {("i8", "i4")}


def test_the_chip_says_which_format_it_is_where_nobody_asks(rng: np.random.Generator) -> None:
    own = having(*REAL, default="bf16")
    assert types(digits(rng), own, None) == {("bf16", "bf16")}


def test_a_convolutional_network_is_quantised_as_for_every_other_machine(
    rng: np.random.Generator,
) -> None:
    module = digits(rng)
    data = sampled(module, 0)
    own = TARGET.lower(module, chip(16, 16), data, Options()).module
    assert own.text() == quantised(module, data, "int8").text()


def test_a_format_that_the_array_lacks_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(UnsupportedError) as refused:
        TARGET.lower(digits(rng), chip(8, 8), None, Options(quant="bf16"))
    assert str(refused.value) == (
        "systolic: --quant must be a format of the array, int8 or int4 or int16, not bf16; "
        "leave --quant out or take another chip"
    )


def test_integers_need_calibration_and_floats_do_not(rng: np.random.Generator) -> None:
    with pytest.raises(ModelError) as refused:
        TARGET.lower(digits(rng), chip(8, 8), None, Options())
    assert str(refused.value) == (
        "systolic must have calibration data to quantise 'digits', not none; give --calib, "
        "--calib-fraction or --data digits"
    )
    spec = having(*REAL)
    assert TARGET.lower(digits(rng), spec, None, Options(quant="bf16")).program.instructions


def endless() -> Module:
    """A loop that data end."""
    build = ModuleBuilder("endless")
    x = build.input("x", (4,))
    condition, body = build.body(), build.body()
    value = condition.input("x", (4,))
    top: dict[str, Attribute] = {"axes": (0,), "keepdims": 0}
    limit = condition.weight("limit", np.array(10, np.float32))
    condition.output(
        "go", condition.op("nn.less", [condition.op("nn.reduce_max", [value], top), limit])
    )
    value = body.input("x", (4,))
    body.output("x", body.op("nn.add", [value, value]))
    bodies = [condition.graph(), body.graph()]
    counts = {"carried": 1, "most": 100}
    build.output("y", build.ops("nn.while", [x], counts, "grow", bodies)[0])
    return build.finish()


def test_a_loop_that_data_end_is_refused_with_the_reason() -> None:
    module = endless()
    with pytest.raises(UnsupportedError) as refused:
        TARGET.lower(module, chip(8, 8), sampled(module, 0), Options())
    assert str(refused.value) == (
        "systolic has no instruction for 1 nn.while (grow: its condition is not constant); "
        "write these layers with what docs/isa.md lists, or take a target that computes them"
    )


def test_a_recurrent_layer_beyond_the_limit_is_refused_with_the_reason() -> None:
    build = ModuleBuilder("long")
    steps = UnrollRecurrence().limit // 32 + 1
    operands = [build.input("x", (steps, 1, 2))]
    operands += [build.weight(n, np.ones((1, 2, 2), np.float32)) for n in ("w", "r")]
    held: dict[str, Attribute] = {"direction": "forward", "activations": "tanh", "clip": 0.0}
    build.output("y", build.ops("nn.rnn", operands, held, "layer")[0])
    module = build.finish()
    with pytest.raises(UnsupportedError) as refused:
        TARGET.lower(module, chip(8, 8), sampled(module, 0, 1), Options())
    assert str(refused.value) == (
        "systolic has no instruction for 1 nn.rnn (layer: its 2049 steps are 65568 operators, "
        "more than 65536); write these layers with what docs/isa.md lists, or take a target "
        "that computes them"
    )


def test_4_bit_weights_that_are_stored_wide_say_so() -> None:
    module, data = FAMILIES["transformer"][0](("linear",), 5), Options(quant="int4")
    inputs = sampled(module, 5)
    assert TARGET.lower(module, having("int4"), inputs, data).warnings == ()
    assert TARGET.lower(module, chip(16, 16), inputs, data).warnings == (
        "4-bit weights take a byte each in DRAM, since array.formats has no int4; "
        "time and energy are those of int8",
    )


def test_a_chip_whose_own_format_is_none_is_refused() -> None:
    module = FAMILIES["transformer"][0](("linear",), 5)
    with pytest.raises(SpecError) as error:
        TARGET.lower(module, having(default="int3"), sampled(module, 5), Options())
    assert str(error.value) == (
        "chip.default_format must be one of int8, int4, int16, bf16, fp16, not 'int3'; "
        "name one or give --quant"
    )
