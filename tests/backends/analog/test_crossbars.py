"""A program as operators of the dialect: the reference's integers, and the chip's counts."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tests.backends.analog.conftest import KEY, chip, compiled
from tests.ir.crossbar.chains import Chain, inputs_of, module_of, product
from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.backends.analog import TARGET
from tetrapla.backends.analog.crossbars import converter_bits, crossbars, left_out
from tetrapla.backends.target_ import Lowered
from tetrapla.emit import Wishes, emitted
from tetrapla.frontend.onnx import load
from tetrapla.ir import irdl
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.crossbar.dialect import actions
from tetrapla.ir.crossbar.mapping import Layout
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate, evaluate_many
from tetrapla.ir.module import Module
from tetrapla.passes.fold_lossless_crossbars import FoldLosslessCrossbars
from tetrapla.simulators.analog import machine, timing
from tetrapla.simulators.analog.program import Program

DATA = Path(tetrapla.__file__).parent / "data"
TOOL = "mlir-opt-22"
MAPPINGS = (
    ("mapping.weights=differential",),
    ("mapping.weights=differential", "adc.sign=signed"),
    ("mapping.weights=n_pair", "mapping.pairs=3"),
    ("mapping.weights=n_pair", "mapping.pairs=2", "adc.sign=signed"),
    ("mapping.weights=offset_column",),
    ("mapping.weights=digital_offset",),
)
# units that a product's operators stand for; the machine counts the rest beside them
COUNTED = ("dac.convert", "crossbar.read", "adc.convert", "shift_add.op")
STEPS = ("map", "program", "dac", "mvm", "adc", "shift_add", "combine")


def network(
    rng: np.random.Generator, dtype: str, groups: int, **window: tuple[int, ...]
) -> Module:
    """Filters in groups, requantised, then a matrix; i8 or ui8 activations."""
    low = -128 if dtype == "i8" else 0
    b = ModuleBuilder("net")
    x = b.input("x", (2, 6, 7, 5), dtype)
    same: dict[str, Attribute] = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    attributes: dict[str, Attribute] = {**same, **window, "groups": groups}
    w = b.weight("w", rng.integers(-127, 128, (12, 6 // groups, 3, 2)).astype(np.int8))
    bias = b.weight("b", rng.integers(-999, 999, 12).astype(np.int32))
    points: dict[str, Attribute] = {"x_zero_point": low + 9, "w_zero_point": 0}
    acc = b.op("qnn.conv2d", [x, w, bias], {**attributes, **points}, "conv")
    scale = b.weight("s", rng.uniform(1e-3, 4e-3, 12).astype(np.float32))
    form: dict[str, Attribute] = {"zero_point": low + 5, "low": low, "high": low + 255}
    y = b.op("qnn.requantize", [acc, scale], {**form, "dtype": dtype, "axis": 1}, "q")
    flat = b.op("nn.reshape", [y], {"shape": (2, y.elements // 2)}, "flat")
    v = b.weight("v", rng.integers(-127, 128, (flat.shape[1], 7)).astype(np.int8))
    out = b.op("qnn.matmul", [flat, v], {"x_zero_point": low + 5, "w_zero_point": 0}, "fc")
    b.output("y", out)
    b.output("acc", acc)
    return b.finish()


def batch(rng: np.random.Generator, module: Module, count: int) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, value in module.inputs.items():
        low, dtype = (-128, np.int8) if value.dtype == "i8" else (0, np.uint8)
        found[name] = rng.integers(low, low + 256, (count, *value.shape)).astype(dtype)
    return found


def agrees(lowered: Lowered[Program], data: dict[str, Array]) -> Module:
    """The module on crossbars, after it was held against the reference's."""
    made = crossbars(lowered.module, lowered.program)
    reference, found = evaluate_many(lowered.module, data), evaluate_many(made, data)
    assert found.keys() == reference.keys()
    for name, array in reference.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    kinds = Counter(node.kind for node in made.graph.nodes)
    tiles = sum(len(step.tiles) for step in lowered.program.products)
    assert {f"crossbar.{step}": kinds[f"crossbar.{step}"] for step in STEPS} == {
        f"crossbar.{step}": tiles for step in STEPS
    }
    left = {step.op for step in lowered.program.products} & set(kinds)
    assert not left or len(lowered.program.products) < _products(lowered.module)
    return made


def _products(module: Module) -> int:
    return sum(node.kind in ("qnn.matmul", "qnn.conv2d") for node in module.graph.nodes)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_a_digits_network_on_crossbars_is_the_reference(
    name: str, mapping: tuple[str, ...], rng: np.random.Generator
) -> None:
    model = load(DATA / f"{name}.onnx")
    data = {
        key: rng.random((6, *value.shape), np.float32) for key, value in model.inputs.items()
    }
    lowered = compiled(model, chip(128, 128, *mapping), data)
    agrees(lowered, data)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("dtype", ["i8", "ui8"])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_grouped_and_depthwise_filters_are_the_reference(
    groups: int, dtype: str, mapping: tuple[str, ...], rng: np.random.Generator
) -> None:
    module = network(rng, dtype, groups)
    spec = chip(32, 48, *mapping)  # several tiles each way
    lowered = compiled(module, spec, None)
    agrees(lowered, batch(rng, module, 2))


@pytest.mark.parametrize(
    "window",
    [
        {"strides": (2, 1), "pads": (0, 1, 2, 0)},
        {"dilations": (2, 3), "pads": (2, 2, 1, 3)},
        {"pads": (0, 0, 0, 0), "strides": (3, 2)},
    ],
)
@pytest.mark.parametrize(
    "bits", [("array.cell=1 bit", "dac.bits=3 bit"), ("array.cell=3 bit", "dac.bits=8 bit")]
)
def test_windows_and_widths_are_the_reference(
    window: dict[str, tuple[int, ...]], bits: tuple[str, ...], rng: np.random.Generator
) -> None:
    module = network(rng, "i8", 2, **window)
    lowered = compiled(module, chip(32, 64, *bits), None)
    agrees(lowered, batch(rng, module, 2))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_product_of_a_model_of_every_step_is_on_crossbars(family: str) -> None:
    build, steps = FAMILIES[family]
    module = build(steps, 5)
    data = {name: array[:2] for name, array in sampled(module, 5).items()}
    agrees(compiled(module, chip(32, 32), data), data)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_units_act_as_often_as_in_the_machine(
    mapping: tuple[str, ...], rng: np.random.Generator
) -> None:
    spec = chip(32, 48, *mapping)
    lowered = compiled(network(rng, "i8", 2), spec, None)
    made = crossbars(lowered.module, lowered.program)
    found = actions(made.graph.nodes)
    layers = {layer.name: layer for layer in timing.timed(lowered.program, spec, {}).layers}
    steps = [layers[step.name].actions for step in lowered.program.products]
    if mapping == MAPPINGS[-1]:  # the sums of inputs, one for each tile, are the machine's not
        found["shift_add.op"] -= sum(
            node.operands[2].elements
            for node in made.graph.nodes
            if node.kind == "crossbar.combine"
        )
    for unit in COUNTED:
        assert found[unit] == sum(int(step[unit]) for step in steps), unit


@pytest.mark.parametrize("bits", [3, 5, 7])
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_converters_of_few_bits_lose_the_same_in_the_machine(
    mapping: tuple[str, ...], bits: int, rng: np.random.Generator
) -> None:
    chosen = ("adc.range=full", f"adc.bits={bits} bit", "device.model=exact")
    spec = chip(64, 64, *mapping, *chosen, "device.read_noise=0")
    weights = rng.integers(-127, 128, (48, 3)).astype(np.int8)
    build = ModuleBuilder("one")
    x = build.input("x", (5, 48), "i8")
    held = [x, build.weight("w", weights), build.weight("b", 7 + np.arange(3, dtype=np.int32))]
    build.output("y", build.op("qnn.matmul", held, {"x_zero_point": 0, "w_zero_point": 0}))
    (step,) = compiled(build.finish(), spec, None).program.products
    (tile,) = step.tiles
    (adc_shift,) = set(tile.adc_shifts)
    layout = Layout(spec.mapping.weights, spec.array.cell_bits, step.slices, spec.mapping.pairs)
    own: dict[str, Any] = {
        "subtracted": spec.adc.sign == "signed",
        "lsb": float(1 << adc_shift),
    }
    plain = Chain(layout, weights, 5, **own)
    shifts = tuple(shift + adc_shift for shift in layout.shifts)
    changes = {"shift_add": {"shifts": shifts}}
    chain = replace(plain, missing_bits=plain.bits - bits, changes=changes)
    given = inputs_of(chain, rng)
    meant = evaluate(module_of(chain), {"x": given})["y"]
    found = machine.product(step, spec, given[None], KEY, fold=False)
    assert adc_shift > 0
    assert (meant != product(given, chain)).any()  # some are lost
    np.testing.assert_array_equal(found[0], meant)


def test_the_pass_folds_every_tile_of_a_network_away(rng: np.random.Generator) -> None:
    module = network(rng, "i8", 6)
    lowered = compiled(module, chip(32, 48), None)
    made = crossbars(lowered.module, lowered.program)
    folded = FoldLosslessCrossbars()(made)
    assert not [node for node in folded.graph.nodes if node.kind.startswith("crossbar.")]
    data = batch(rng, module, 2)
    before, after = evaluate_many(made, data), evaluate_many(folded, data)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_bits_of_converters_by_hand(rng: np.random.Generator) -> None:
    lowered = compiled(network(rng, "i8", 1), chip(32, 48), None)
    # 32 rows of 2-bit cells and 1-bit digits: 96 < 2^7; a sign; two pairs: 192 < 2^8
    assert converter_bits(lowered.program) == 7
    for mapping, bits in ((MAPPINGS[1], 8), (MAPPINGS[3], 9)):
        other = compiled(network(rng, "i8", 1), chip(32, 48, *mapping), None)
        assert converter_bits(other.program) == bits


def test_what_is_left_out_is_said(rng: np.random.Generator) -> None:
    lowered = compiled(network(rng, "i8", 1), chip(32, 48), None)
    program = lowered.program
    assert left_out(program) == ""
    first = program.products[0]
    many = replace(first, tiles=first.tiles[:1] * 4097)
    wide = replace(first, tiles=(replace(first.tiles[0], row_start=0, row_stop=2**20),))
    cases = (
        (
            replace(program, shape_only=True),
            "crossbar.mlir is left out: the weights are not known",
        ),
        (
            replace(program, steps=(many,)),
            "crossbar.mlir is left out: it is written of 4096 tiles, not 4097",
        ),
        # 2^20 rows of 8-bit cells and 8-bit digits: 20 bits and 2 x 8, less what 255^2 lacks
        (
            replace(program, steps=(wide,), cell_bits=8, dac_bits=8),
            "crossbar.mlir is left out: its converters have 31 bits, not the 36 that tell "
            "every sum apart",
        ),
    )
    for changed, reason in cases:
        assert left_out(changed) == reason
        other = replace(lowered, program=changed)
        assert TARGET.modules(other, chip(32, 48)) == {}
        assert TARGET.ahead(other, chip(32, 48), {}, None).notes == (reason,)


def files(rng: np.random.Generator) -> tuple[Module, dict[str, str | bytes], dict[str, Array]]:
    model = load(DATA / "digits_mlp.onnx")
    data = {
        key: rng.random((4, *value.shape), np.float32) for key, value in model.inputs.items()
    }
    executable = tetrapla.compile(model, "isaac", data)
    return executable.lowered.module, emitted(executable, Wishes())[0], data


def test_compile_writes_what_the_interpreter_reads(rng: np.random.Generator) -> None:
    module, written, data = files(rng)
    text, archive = written["crossbar.mlir"], written["crossbar.npz"]
    assert isinstance(text, str)
    assert isinstance(archive, bytes)
    again = Module.parse(text, dict(np.load(io.BytesIO(archive))), "again")
    reference, found = evaluate_many(module, data), evaluate_many(again, data)
    assert all(np.array_equal(reference[name], found[name]) for name in reference)


@pytest.mark.skipif(
    shutil.which(TOOL) is None,
    reason=f"{TOOL} is not on the path: `.ci/mlir-opt-22 FOLDER` puts it into FOLDER/bin",
)
def test_a_foreign_tool_reads_the_dialect(tmp_path: Path, rng: np.random.Generator) -> None:
    text = files(rng)[1]["crossbar.mlir"]
    assert isinstance(text, str)
    (tmp_path / "tetrapla.irdl").write_text(irdl.text(), "utf-8")
    command = [TOOL, "--irdl-file=tetrapla.irdl", "--mlir-print-op-generic", "-"]

    def read(given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, input=given, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = read(text)
    assert done.returncode == 0, done.stderr
    assert Module.parse(done.stdout, {}).text() == text.strip() + "\n"
    broken = read(text.replace('"crossbar.adc"', '"crossbar.abc"', 1))
    assert broken.returncode == 1
    assert "unregistered operation 'crossbar.abc'" in broken.stderr
