"""Number formats: every chip with every format, what rounds where, and how far that may be."""

from __future__ import annotations

import json
import py_compile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.backends.gpu.helpers import interpreted, needs_triton
from tetrapla.backends.gpu import TARGET
from tetrapla.backends.gpu.bounds.rules import ROUNDINGS
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.formats import FLOATS
from tetrapla.backends.gpu.lower import lower, plan
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu import formats, values
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import price
from tetrapla.simulators.spec_ import chips, family_of, load_spec

CHIPS = [name for name in chips() if family_of(name) == "gpu"]


def layers(rng: np.random.Generator, batch: int = 5) -> Module:
    """Products with a bias, a ReLU, a GELU and a softmax; a convolution before them."""
    build = ModuleBuilder("layers")

    def weight(name: str, *shape: int) -> Value:
        fan = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        return build.weight(name, (rng.normal(size=shape) / fan**0.5).astype(np.float32))

    x = build.input("x", (batch, 3, 6, 6))
    geometry: dict[str, Attribute] = {
        "strides": (1, 1),
        "pads": (1, 1, 1, 1),
        "dilations": (1, 1),
        "groups": 1,
    }
    conv = [x, weight("c", 8, 3, 3, 3), weight("cb", 8)]
    y = build.op("nn.conv2d", conv, {**geometry, "activation": "relu"}, "conv")
    y = build.op("nn.reshape", [y], {"shape": (batch, 288)}, "flat")
    y = build.op("nn.matmul", [y, weight("w1", 288, 70), weight("b1", 70)], RELU, "fc1")
    y = build.op("nn.gelu", [y], {"approximate": "none"}, "gelu")
    y = build.op("nn.matmul", [y, weight("w2", 70, 20)], NONE, "fc2")
    build.output("y", build.op("nn.softmax", [y], {"axis": 1}, "softmax"))
    return build.finish()


RELU: dict[str, Attribute] = {"activation": "relu"}
NONE: dict[str, Attribute] = {"activation": "none"}


def images(rng: np.random.Generator, batch: int = 5) -> dict[str, Array]:
    return {"x": rng.normal(size=(3, batch, 3, 6, 6)).astype(np.float32)}


def h100() -> GpuSpec:
    return load_spec("h100", GpuSpec).spec


def compiled(rng: np.random.Generator, quant: str) -> tuple[Lowered[Program], dict[str, Array]]:
    module, inputs = layers(rng), images(rng)
    return lower(module, h100(), inputs, Options(quant=quant)), inputs


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("quant", FLOATS)
def test_every_chip_runs_every_format_or_refuses_it_by_name(
    chip: str, quant: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    spec = load_spec(chip, GpuSpec).spec
    module, inputs = layers(rng), images(rng)
    if quant not in spec.formats or (chip, quant) == ("mi300x", "fp8"):
        with pytest.raises(UnsupportedError) as refused:
            lower(module, spec, inputs, Options(quant=quant))
        assert str(refused.value).startswith(f"{chip} must be given ")
        assert str(refused.value).endswith("; choose another --quant or chip")
        return
    lowered = lower(module, spec, inputs, Options(quant=quant))
    assert lowered.program.format == quant
    run = TARGET.run(lowered.program, spec, inputs, Key(0))
    verdict = TARGET.cross_check(
        lowered, spec, inputs, run, evaluate_many(lowered.module, inputs)
    )
    assert verdict is not None
    assert verdict.passed, verdict
    assert run.time_s > 0
    for layer in run.layers:
        assert price(layer.actions, spec.prices).total_pj is not None
    files = TARGET.sources(lowered.program)
    kernels = files["kernels.py"]
    path = tmp_path / "kernels.py"
    path.write_text(kernels if isinstance(kernels, str) else kernels.decode(), encoding="utf-8")
    py_compile.compile(str(path), doraise=True)
    assert Program.from_dict(json.loads(json.dumps(lowered.program.to_dict()))) == (
        lowered.program
    )


@pytest.mark.parametrize(
    ("chip", "quant", "said"),
    [
        (
            "a100",
            "fp8",
            "a100 must be given a format that it multiplies, fp32, tf32, fp16, bf16, int8, not "
            "fp8; choose another --quant or chip",
        ),
        (
            "t4",
            "bf16",
            "t4 must be given a format that it multiplies, fp32, fp16, int8, not bf16; choose "
            "another --quant or chip",
        ),
        (
            "mi300x",
            "fp8",
            "mi300x must be given 8-bit floats that it multiplies, E4M3FNUZ, not the E4M3FN of "
            "a plan in fp8; choose another --quant or chip",
        ),
    ],
)
def test_a_format_that_a_chip_lacks_is_refused(
    chip: str, quant: str, said: str, rng: np.random.Generator
) -> None:
    # before calibration data is asked for
    with pytest.raises(UnsupportedError) as refused:
        lower(layers(rng), load_spec(chip, GpuSpec).spec, None, Options(quant=quant))
    assert str(refused.value) == said


def test_fp8_needs_calibration(rng: np.random.Generator) -> None:
    with pytest.raises(ModelError) as refused:
        lower(layers(rng), h100(), None, Options(quant="fp8"))
    assert str(refused.value) == (
        "model 'layers' must have calibration data for fp8, not none; give --calib F.npz, or "
        "--quant none"
    )


@needs_triton
@pytest.mark.parametrize("quant", ["tf32", "bf16", "fp8"])
def test_emitted_kernels_round_as_the_plan_does(quant: str, rng: np.random.Generator) -> None:
    lowered, inputs = compiled(rng, quant)
    held = interpreted(lowered.program, inputs)
    verdict = judged(lowered, inputs, held, evaluate_many(lowered.module, inputs))
    assert verdict.passed, verdict
    # what a kernel rounds to bits it rounds alike: the inputs to the bit, all within a few
    mine = executed(lowered.program, inputs)
    for name, stored in mine.stored.items():
        found = held.stored[name].astype(np.float32)
        if name == "x":
            assert np.array_equal(stored.astype(np.float32), found)
        same = np.mean(stored.astype(np.float32) == found)
        assert same > 0.5 or stored.dtype == np.float32, (name, same)


def test_products_of_8_bit_floats_have_scales_behind_them(rng: np.random.Generator) -> None:
    lowered, _ = compiled(rng, "fp8")
    made = {k.name: [type(step).__name__ for step in k.steps] for k in lowered.program.kernels}
    # quantisations are part of the kernel before; that of the input is one of its own
    assert made == {
        "x.f8E4M3FN": [],
        "conv": ["Scale", "Bias", "Relu", "Apply"],
        "fc1": ["Scale", "Bias", "Relu", "Apply"],
        "fc2": ["Scale"],
        "softmax": [],
    }
    held = {b.name: b.dtype for b in lowered.program.buffers}
    assert {held[n] for k in lowered.program.kernels if k.macs for n in k.sources} == {
        "f8E4M3FN"
    }


def test_tf32_rounds_to_ten_bits_away_from_zero_at_ties() -> None:
    unit, largest, tiny = 2.0**-10, (2 - 2.0**-10) * 2.0**127, 2.0**-136
    # 3.4015e38 is nearer to the largest, 3.40116e38, than to 2^128; 3.4028e38 is not
    given = [1 + unit / 2, -1 - unit / 2, 1 + 0.49 * unit, 3.4015e38, 3.4028e38, -np.inf, tiny]
    wanted = [1 + unit, -1 - unit, 1.0, largest, np.inf, -np.inf, tiny]
    made = formats.to_tf32(np.array([*given, np.nan], np.float32))
    assert np.array_equal(made, np.array([*wanted, np.nan], np.float32), equal_nan=True)


@pytest.mark.parametrize("name", ROUNDINGS)
def test_a_rounding_stays_within_its_bound(name: str, rng: np.random.Generator) -> None:
    to = ROUNDINGS[name]
    low = -20 if name == "f16" else -140
    z = (rng.normal(size=4000) * 2.0 ** rng.integers(low, 15, 4000)).astype(np.float32)
    away = np.abs(to(z) - z.astype(np.float64))
    bound = to.unit * np.abs(z.astype(np.float64)) + to.tiny
    assert (away <= bound).all()
    # and no bound is twice too wide
    assert (away > bound / 2).any()


@pytest.mark.parametrize("quant", ["tf32", "bf16", "fp8"])
def test_numbers_that_are_cut_off_are_caught(
    quant: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered, inputs = compiled(rng, quant)
    bits = {"tf32": 13, "bf16": 16, "fp8": 20}[quant] + 1  # one too many
    real = formats.multiplied

    def cut(x: Array, operand: str) -> Array:
        taken = np.ascontiguousarray(real(x, operand))
        return (taken.view(np.int32) & np.int32(-(1 << bits))).view(np.float32)

    monkeypatch.setattr(values, "multiplied", cut)
    held = executed(lowered.program, inputs)
    assert not judged(lowered, inputs, held, evaluate_many(lowered.module, inputs)).passed


def test_narrower_formats_are_quicker_and_cheaper(rng: np.random.Generator) -> None:
    build = ModuleBuilder("large")
    x = build.input("x", (4096, 4096))
    w = build.weight("w", np.zeros((4096, 4096), np.float32))
    build.output("y", build.op("nn.matmul", [x, w], NONE, "fc"))
    module, some = build.finish(), {"x": rng.normal(size=(1, 4096, 4096)).astype(np.float32)}
    found: dict[str, tuple[float, float]] = {}
    for quant in ("tf32", "bf16", "fp8"):
        program = lower(module, h100(), some, Options(quant=quant)).program
        run = TARGET.run(program, h100(), {}, Key(0))
        (layer,) = (each for each in run.layers if each.macs)
        found[quant] = run.time_s, layer.actions[f"flop.{quant}"]
    # 2 n^3, and rates of 495, 989 and 1979 TFLOP/s
    assert {flops for _, flops in found.values()} == {2 * 4096**3}
    assert found["tf32"][0] > 1.5 * found["bf16"][0] > 1.8 * found["fp8"][0]


def test_a_format_without_a_price_leaves_the_total_open(rng: np.random.Generator) -> None:
    lowered, _ = compiled(rng, "bf16")
    spec = h100()
    prices = {name: value for name, value in spec.prices.items()} | {"flop.bf16": None}
    run = TARGET.run(lowered.program, spec, {}, Key(0))
    totals = [price(layer.actions, prices).total_pj for layer in run.layers if layer.macs]
    assert totals == [None] * 3


def test_a_sum_beside_a_tie_may_be_rounded_to_either_side(rng: np.random.Generator) -> None:
    """8-bit floats of a float sum: a step is allowed where a tie is near, and nowhere else."""
    build = ModuleBuilder("ties")
    x = build.input("x", (1, 64))
    w = build.weight("w", rng.normal(size=(64, 512)).astype(np.float32))
    scale = build.weight("scale", np.array([0.5], np.float32))
    y = build.op("nn.matmul", [x, w], NONE, "fc")
    attributes: dict[str, Attribute] = {"zero_point": 0, "axis": 0, "dtype": "f8E4M3FN"}
    q = build.op("qnn.quantize", [y, scale], attributes, "q")
    attributes = {"zero_point": 0, "axis": 0}
    build.output("y", build.op("qnn.dequantize", [q, scale], attributes, "y"))
    module = build.finish()
    inputs = {"x": rng.normal(size=(4, 1, 64)).astype(np.float32)}
    lowered = Lowered(module, plan(module, "fp8"))
    held, reference = executed(lowered.program, inputs), evaluate_many(module, inputs)
    assert judged(lowered, inputs, held, reference).passed
    (name,) = (b.name for b in lowered.program.buffers if b.role == "output")
    stored = {n: array.copy() for n, array in held.stored.items()}
    # the next number up
    stored[name][0, 0] *= 1.125
    outputs = {"y": held.outputs["y"].copy()}
    outputs["y"][0, 0, 0] *= np.float32(1.125)
    verdict = judged(lowered, inputs, replace(held, outputs=outputs, stored=stored), reference)
    assert (verdict.mismatches, verdict.passed) == (1, False)
