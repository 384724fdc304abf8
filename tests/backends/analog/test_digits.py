"""The networks of the examples on isaac: exact when ideal, near when noisy, faults seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.analog import TARGET
from tetrapla.backends.analog.check import cross_check
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.onnx import load
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.analog import machine
from tetrapla.simulators.analog.program import Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck
from tetrapla.simulators.spec_ import load_spec

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[2] / "golden" / "analog" / "digits_cnn.txt"


class Digits:
    """A network of the examples, its data, and its program for isaac."""

    def __init__(self, name: str) -> None:
        self.module: Module = load(ROOT / "examples" / f"{name}.onnx")
        data = np.load(ROOT / "tetrapla" / "data" / "digits.npz")
        ((self.input, value),) = self.module.inputs.items()
        x = (data["x"] / 16).astype(np.float32).reshape(-1, *value.shape)
        self.train = {self.input: x[data["train"]]}
        self.test = {self.input: x[data["test"]]}
        self.labels: Array = data["y"][data["test"]]
        self.spec: AnalogSpec = load_spec("isaac", AnalogSpec, ()).spec
        self.lowered: Lowered[Program] = self.lower(self.spec)

    def lower(self, spec: AnalogSpec) -> Lowered[Program]:
        return TARGET.lower(self.module, spec, self.train, Options())

    def share(self, outputs: dict[str, Array]) -> float:
        (logits,) = outputs.values()
        answers = logits.reshape(len(self.labels), -1).argmax(axis=1)
        return float((answers == self.labels).mean())


@pytest.fixture(scope="module")
def cnn() -> Digits:
    return Digits("digits_cnn")


@pytest.fixture(scope="module")
def mlp() -> Digits:
    return Digits("digits_mlp")


def test_the_listing_of_the_cnn_is_the_golden_one(cnn: Digits) -> None:
    assert cnn.lowered.program.text() == GOLDEN.read_text()


@pytest.mark.slow
def test_noise_costs_the_cnn_less_than_a_point_and_a_half(cnn: Digits) -> None:
    reference = evaluate_many(cnn.lowered.module, cnn.test)
    shares = []
    for seed in range(5):
        run = TARGET.run(cnn.lowered.program, cnn.spec, cnn.test, Key(seed))
        found = cross_check(cnn.lowered, cnn.spec, cnn.test, run, reference)
        assert found.kind == "statistical"
        assert found.passed
        shares.append(cnn.share(dict(run.outputs)))
    exact = cnn.share(evaluate_many(cnn.module, cnn.test))
    assert exact - np.mean(shares) <= 0.015
    assert len(set(shares)) > 1


@pytest.mark.slow
def test_the_mlp_passes_over_twenty_seeds_and_loses_little(mlp: Digits) -> None:
    reference = evaluate_many(mlp.lowered.module, mlp.test)
    shares = []
    for seed in range(20):
        run = TARGET.run(mlp.lowered.program, mlp.spec, mlp.test, Key(seed))
        assert cross_check(mlp.lowered, mlp.spec, mlp.test, run, reference).passed
        shares.append(mlp.share(dict(run.outputs)))
    exact = mlp.share(evaluate_many(mlp.module, mlp.test))
    assert exact - np.mean(shares) <= 0.015


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_an_ideal_chip_is_exact_and_its_program_travels_as_json(
    name: str, request: pytest.FixtureRequest
) -> None:
    net: Digits = request.getfixturevalue(name)
    spec = net.spec.ideal()
    lowered = net.lower(spec)
    reference = evaluate_many(lowered.module, net.test)
    run = TARGET.run(lowered.program, spec, net.test, Key(0))
    found = cross_check(lowered, spec, net.test, run, reference)
    assert found == CrossCheck("bit_exact", 0, None, None, True)
    again = Program.from_dict(json.loads(json.dumps(lowered.program.to_dict())))
    assert again.text() == lowered.program.text()
    # every column of every image converted one by one
    converted = machine.run(again, spec, net.test, Key(0), fold=False).outputs
    for output, array in reference.items():
        assert np.array_equal(converted[output], array)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_a_tile_that_the_noisy_machine_drops_is_seen(
    name: str, request: pytest.FixtureRequest
) -> None:
    net: Digits = request.getfixturevalue(name)
    inputs = {net.input: net.test[net.input][:60]}
    reference = evaluate_many(net.lowered.module, inputs)

    def without(layer: Product, tile: int) -> Program:
        kept = tuple(t for n, t in enumerate(layer.tiles) if n != tile)
        program = net.lowered.program
        steps: list[Any] = [
            replace(layer, tiles=kept) if step is layer else step for step in program.steps
        ]
        return replace(program, steps=tuple(steps))

    for layer in net.lowered.program.products:
        # the second tile of conv3 is 16 of 144 rows
        for number in range(len(layer.tiles)):
            run = TARGET.run(without(layer, number), net.spec, inputs, Key(0))
            found = cross_check(net.lowered, net.spec, inputs, run, reference)
            assert not found.passed, f"{layer.name}, tile {number}"
