"""Whole models on crossbars: what goes onto arrays, what the periphery does, and exactly so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.backends.analog.conftest import EXACT, KEY, chip, compiled, verdict
from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.backends.analog.lower import uncalibrated
from tetrapla.frontend.builder import Builder, Tensor
from tetrapla.frontend.builder import functions as nn
from tetrapla.frontend.builder.layers import Layers
from tetrapla.frontend.zoo.network import SMALL as ZOO
from tetrapla.frontend.zoo.network import networks
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.module import Module
from tetrapla.ir.op import macs
from tetrapla.samples import drawn
from tetrapla.simulators.analog import machine
from tetrapla.simulators.analog.program import Digital, Program

SMALL = chip(32, 32).ideal()
NOISY = chip(32, 32)
# thousands of steps each; the cells of gru are read back for every step
LONG = ("bidirectional-lstm", "boltzmann-machine", "gru", "lif-mlp", "lstm", "ntm-copy")
Write = Callable[[Layers, Tensor], Tensor]


def mlp(n: Layers, x: Tensor) -> Tensor:
    return n.linear(nn.tanh(n.linear(nn.reshape(x, (2, 192)), 20)), 10)


def cnn(n: Layers, x: Tensor) -> Tensor:
    y = nn.relu(n.conv2d(x, 6, 3, pads=1, dilations=1))
    return n.linear(nn.reshape(nn.max_pool2d(y, 2), (2, 96)), 10)


def mobile(n: Layers, x: Tensor) -> Tensor:
    y = nn.relu(n.batch_norm(n.conv2d(x, 8, 3, strides=2, pads=1)))
    y = nn.relu(n.batch_norm(n.conv2d(y, 8, 3, pads=1, groups=8)))
    y = n.conv2d(y, 12, 1)
    gate = nn.sigmoid(n.conv2d(nn.global_average_pool(y), 12, 1))
    return n.linear(nn.reshape(nn.global_average_pool(y * gate), (2, 12)), 5)


def grouped(n: Layers, x: Tensor) -> Tensor:
    y = n.conv2d(nn.concat([x, x * 0.5], axis=1), 8, 3, groups=2, dilations=2)
    return n.conv2d(y, 12, 2, groups=4, strides=(2, 1))


def unet(n: Layers, x: Tensor) -> Tensor:
    fine = nn.relu(n.conv2d(x, 4, 3, pads=1))
    coarse = nn.relu(n.conv2d(nn.max_pool2d(fine, 2), 8, 3, pads=1))
    up = n.conv_transpose2d(coarse, 4, 2, strides=2)
    return n.conv2d(nn.concat([fine, up], axis=1), 2, 1)


def attention(n: Layers, x: Tensor) -> Tensor:
    tokens = nn.reshape(x, (2, 12, 16))
    heads = [
        nn.transpose(nn.reshape(n.linear(tokens, 16), (2, 12, 2, 8)), (0, 2, 1, 3))
        for _ in range(3)
    ]
    mixed = nn.transpose(nn.attention(*heads), (0, 2, 1, 3))
    y = n.layer_norm(tokens + n.linear(nn.reshape(mixed, (2, 12, 16)), 16))
    return y + n.linear(nn.gelu(n.linear(y, 32)), 16)


def signal(n: Layers, x: Tensor) -> Tensor:
    rows = nn.reshape(x, (2, 3, 64))
    w = n.parameter((5, 3, 7), "w", gain=2.0)
    return nn.conv1d(rows, w, strides=2, dilations=2)


def volume(n: Layers, x: Tensor) -> Tensor:
    w = n.parameter((4, 3, 2, 3, 2), "w", gain=2.0)
    return nn.conv3d(nn.reshape(x, (2, 3, 4, 4, 4)), w, pads=1)


MODELS: dict[str, Write] = {
    each.__name__: each for each in (mlp, cnn, mobile, grouped, unet, attention, signal, volume)
}


def built(write: Write, *, values: bool = True) -> Module:
    """The network on two images of 3 x 8 x 8."""
    b = Builder("model")
    b.output("y", write(Layers(b, values=values), b.input("x", (2, 3, 8, 8))))
    return b.build()


def units(program: Program) -> Counter[str]:
    return Counter(step.unit for step in program.steps if isinstance(step, Digital))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_of_every_step_is_computed_bit_by_bit(family: str) -> None:
    build, steps = FAMILIES[family]
    module = build(steps, 5)
    data = sampled(module, 5)
    lowered = compiled(module, SMALL, data)
    check, _ = verdict(lowered, SMALL, data)
    assert check == EXACT
    assert lowered.program.products


@pytest.mark.parametrize("name", MODELS)
def test_a_network_is_exact_folded_and_column_by_column(name: str) -> None:
    module = built(MODELS[name])
    data = sampled(module, 1, 3)
    lowered = compiled(module, SMALL, data)
    check, run = verdict(lowered, SMALL, data)
    assert check == EXACT
    converted = machine.run(lowered.program, SMALL, data, KEY, fold=False)
    assert np.array_equal(converted.outputs["y"], run.outputs["y"])
    # every product of weights is on arrays
    assert not [n for n in lowered.module.graph.nodes if n.kind in ("nn.matmul", "nn.conv2d")]


@pytest.mark.parametrize("name", ["mobile", "unet", "attention"])
def test_a_noisy_network_is_as_its_spec_says(name: str) -> None:
    module = built(MODELS[name])
    data = sampled(module, 1, 3)
    check, _ = verdict(compiled(module, NOISY, data), NOISY, data)
    assert check.kind == "statistical"
    assert check.passed, check


def recurrent(seed: int, steps: int = 5) -> Module:
    """An LSTM of 6 units over some steps of 4 numbers, and a layer behind it."""
    draw = np.random.default_rng(seed)
    b = Builder("recurrent")
    x = b.input("x", (steps, 2, 4))
    w, r = (draw.normal(size=(1, 24, size)) / 2 for size in (4, 6))
    y, _, _ = nn.lstm(x, w.astype(np.float32), r.astype(np.float32), name="cell")
    head = draw.normal(size=(6, 3)).astype(np.float32)
    b.output("y", nn.matmul(nn.reshape(y, (steps, 2, 6)), head, name="head"))
    return b.build()


def test_the_steps_of_a_recurrent_layer_take_turns_on_the_same_arrays() -> None:
    module = recurrent(3)
    data = sampled(module, 3, 4)
    lowered = compiled(module, NOISY, data)
    turns = [step for step in lowered.program.products if "step" in step.name]
    # of five steps the first has a state of zeros, whose product is known
    assert [step.name for step in turns] == [f"cell/step.{n}/product" for n in (1, 2, 3, 4)]
    assert len({step.number for step in turns}) == 1
    # two rows in each, read one step after the other
    assert [step.first_read for step in turns] == [0, 2, 4, 6]
    assert len({step.tiles for step in turns}) == 1
    numbers = {step.number: len(step.tiles) for step in lowered.program.products}
    assert lowered.program.arrays == sum(numbers.values())
    check, _ = verdict(lowered, NOISY, data)
    assert check.passed, check
    # the same cells are read again, but noise of reads does not repeat
    x = np.zeros((1, 2, 6), np.int8) + 50
    alike = [replace(step, x_zero_point=0) for step in turns[:2]]
    first, second = (machine.product(step, NOISY, x, KEY) for step in alike)
    assert not np.array_equal(first, second)
    quiet = chip(32, 32, "device.read_noise=0")
    first, second = (machine.product(step, quiet, x, KEY) for step in alike)
    assert np.array_equal(first, second)


def stack(draw: np.random.Generator, x: tuple[int, ...], w: tuple[int, ...]) -> Module:
    b = ModuleBuilder("stack")
    weights = b.weight("w", draw.integers(-127, 128, w).astype(np.int8))
    bias = b.weight("b", draw.integers(-999, 999, w[-1]).astype(np.int32))
    points: dict[str, Attribute] = {"x_zero_point": 7, "w_zero_point": 0}
    b.output("y", b.op("qnn.matmul", [b.input("x", x, "i8"), weights, bias], points, "heads"))
    return b.finish()


def bytes_of(draw: np.random.Generator, module: Module) -> dict[str, Array]:
    return {
        name: draw.integers(-128, 128, (3, *value.shape)).astype(np.int8)
        for name, value in module.inputs.items()
    }


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((3, 4, 5), (3, 5, 6)),
        ((2, 3, 4, 5), (3, 5, 6)),
        ((2, 3, 4, 5), (2, 1, 5, 6)),
        ((1, 4, 5), (3, 5, 6)),
        ((4, 5), (2, 3, 5, 6)),
        ((2, 4, 5), (1, 5, 6)),
    ],
)
def test_a_stack_of_matrices_lies_on_arrays(
    rng: np.random.Generator, x: tuple[int, ...], w: tuple[int, ...]
) -> None:
    module = stack(rng, x, w)
    lowered = compiled(module, SMALL, None)
    assert [step.name for step in lowered.program.products] == ["heads"]
    check, _ = verdict(lowered, SMALL, bytes_of(rng, module))
    assert check == EXACT


def test_a_constant_on_the_left_lies_on_arrays(rng: np.random.Generator) -> None:
    b = ModuleBuilder("graph")
    edges = b.weight("edges", rng.integers(-127, 128, (9, 7)).astype(np.int8))
    points: dict[str, Attribute] = {"x_zero_point": 3, "w_zero_point": -5}
    x = b.input("x", (2, 7, 4), "i8")
    b.output("y", b.op("qnn.matmul", [edges, x], points, "neighbours"))
    module = b.finish()
    lowered = compiled(module, SMALL, None)
    (step,) = lowered.program.products
    assert (step.name, step.rows, step.matrix.shape[1]) == ("neighbours", 7, 9)
    assert verdict(lowered, SMALL, bytes_of(rng, module))[0] == EXACT


def test_products_of_two_activations_are_the_peripherys(rng: np.random.Generator) -> None:
    b = ModuleBuilder("net")
    x, other, z = b.input("x", (3, 4), "i8"), b.input("o", (4, 5), "i8"), b.input("z", (2, 2))
    points: dict[str, Attribute] = {"x_zero_point": 0, "w_zero_point": 2}
    b.output("a", b.op("qnn.matmul", [x, other], points, "scores"))
    b.output("b", b.op("nn.matmul", [z, z], {"activation": "none"}, "mix"))
    module = b.finish()
    lowered = compiled(module, SMALL, None)
    scores, mix = lowered.program.steps
    assert isinstance(scores, Digital)
    assert isinstance(mix, Digital)
    # 3 x 4 x 5 products; 12 and 20 bytes read, 15 sums of 4 bytes written
    assert (scores.unit, scores.macs, scores.traffic_bytes) == ("mac", 60, 12 + 20 + 60)
    # a multiply-accumulate of floats is one operation, and so is a result's first sum
    assert (mix.unit, mix.macs, mix.elements) == ("vector", 8, 8 + 4)
    assert lowered.warnings[:2] == (
        "the periphery computes 1 operators on floats (1 nn.matmul): one vector.op for each "
        "addition, product or function",
        "the periphery computes 1 products that no array holds (1 qnn.matmul; of two computed "
        "matrices, or not of 8 bits), 60 MACs",
    )


def test_the_peripherys_work_by_hand() -> None:
    b = ModuleBuilder("net")
    x = b.input("x", (1, 4, 6))
    scale = b.weight("s", np.ones(1, np.float32))
    form: dict[str, Attribute] = {"zero_point": 0, "axis": 0, "dtype": "i8"}
    turned = b.op("nn.transpose", [x], {"perm": (0, 2, 1)}, "outside")
    q = b.op("qnn.quantize", [turned, scale], form, "in")
    back = b.op("nn.transpose", [q], {"perm": (0, 2, 1)}, "turn")
    plain: dict[str, Attribute] = {"zero_point": 0, "axis": 0}
    real = b.op("qnn.dequantize", [back, scale], plain, "real")
    soft = b.op("nn.softmax", [real], {"axis": -1}, "soft")
    again = b.op("qnn.quantize", [soft, scale], form, "again")
    b.output("y", b.op("qnn.dequantize", [again, scale], plain, "out"))
    program = uncalibrated(b.finish(), SMALL)
    found = {
        step.name: (step.unit, step.elements, step.traffic_bytes)
        for step in program.steps
        if isinstance(step, Digital)
    }
    assert found == {
        "outside": ("move", 0, 0),  # the host lays its floats out as they are wanted
        "in": ("host", 0, 0),
        "turn": ("move", 24, 24 + 24),
        "real": ("requantize", 24, 24 + 4 + 96),  # a byte and the scale read, floats written
        "soft": ("vector", 5 * 24, 96 + 96),
        "again": ("requantize", 24, 96 + 4 + 24),
        "out": ("host", 0, 0),
    }


def test_a_loop_that_values_end_is_refused_by_name() -> None:
    module = networks()["hopfield"].module()
    with pytest.raises(UnsupportedError) as refused:
        compiled(module, SMALL, drawn(module, 0, 1).calibration)
    assert str(refused.value) == (
        "analog: every node must be a product with constant weights or a digital step, not "
        "1 x nn.while (its condition is not constant): while"
    )


def test_a_model_that_is_too_large_says_how_many_tiles_would_do() -> None:
    spec = chip(32, 32, "array.tiles=2", "array.arrays_per_unit=2", "array.units_per_tile=2")
    module = built(mlp, values=False)
    with pytest.raises(UnsupportedError) as refused:
        compiled(module, spec, None)
    # 192 x 20: 6 rows of tiles by 5; 20 x 10: 1 by 3; four arrays a tile
    assert str(refused.value) == (
        "isaac: the model must fit its 8 crossbars, not need 33; use a smaller model or --set "
        "array.tiles=9"
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_shapes_alone_takes_the_same_time(name: str) -> None:
    full, shapes = built(MODELS[name]), built(MODELS[name], values=False)
    assert shapes.shape_only
    data = sampled(full, 1)
    known, unknown = compiled(full, NOISY, data), compiled(shapes, NOISY, None)
    found = machine.run(unknown.program, NOISY, {}, KEY)
    assert found.outputs == {}
    assert unknown.program.arrays == known.program.arrays
    assert units(unknown.program) == units(known.program)
    ran = machine.run(known.program, NOISY, data, KEY)
    assert found.cycles == ran.cycles
    assert [layer.macs for layer in found.layers] == [layer.macs for layer in ran.layers]


@pytest.mark.parametrize("values", [True, False])
def test_a_program_reads_back_from_its_json(values: bool) -> None:
    module = built(mobile, values=values)
    program = compiled(module, NOISY, sampled(module, 1) if values else None).program
    read = Program.from_dict(json.loads(json.dumps(program.to_dict())))
    assert read.text() == program.text()
    assert read.to_dict() == program.to_dict()
    data = sampled(module, 2) if values else {}
    one, two = (machine.run(each, NOISY, data, KEY) for each in (program, read))
    assert one.cycles == two.cycles
    for name, array in one.outputs.items():
        assert np.array_equal(two.outputs[name], array)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in ZOO if n not in LONG])
def test_a_small_network_of_the_zoo_is_computed_bit_by_bit(name: str) -> None:
    module = networks()[name].module()
    samples = drawn(module, 0, 1)
    spec = chip(128, 128).ideal()
    lowered = compiled(module, spec, samples.calibration)
    few = {key: array[:1] for key, array in samples.inputs.items()}
    assert verdict(lowered, spec, few)[0] == EXACT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left"),
    [
        # scores and values of 12 layers: 128 x 128 x 768 each
        ("bert-base", 12 * 2 * 128 * 128 * 768),
        ("convnext-tiny", 0),
        ("densenet121", 0),
        ("gat", 0),
        ("mobilenet-v2", 0),
        ("unet", 0),
        ("wavenet", 0),
    ],
)
def test_a_large_network_is_timed_by_its_shapes(name: str, left: int) -> None:
    """All products but `left` multiply-accumulates are on arrays."""
    module = networks()[name].draft(1, values=False).builder.build()
    spec = chip(128, 128, "array.tiles=2000")
    lowered = compiled(module, spec, None)
    program = lowered.program
    run = machine.run(program, spec, {}, KEY)
    assert run.outputs == {}
    done = sum(layer.macs for layer in run.layers)
    assert done == macs(lowered.module.graph.nodes)
    assert sum(step.macs for step in program.products) == done - left
    # 2,048 weights of 8 cells fill an array
    weights = {step.number: step.matrix.size for step in program.products}
    assert program.arrays >= sum(weights.values()) / 2048
