"""Outputs re-estimated on calibration inputs: drift is made up for, and nothing else moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.analog import TARGET
from tetrapla.backends.analog.check import cross_check
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.simulators.analog import machine, reestimation
from tetrapla.simulators.analog.program import Program
from tetrapla.simulators.analog.reestimation import Affine, Statistics
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck
from tetrapla.simulators.spec_ import load_spec

ROOT = Path(__file__).parents[3]
PCM = ("device.model=pcm_like", "device.g_max=25 uS", "device.time=1000000 s")
OUTPUTS = "recovery.outputs=reestimated"


class Digits:
    """A network of the examples on a chip of PCM."""

    def __init__(self, name: str, *overrides: str) -> None:
        module = load(ROOT / "examples" / f"{name}.onnx")
        data = np.load(ROOT / "tetrapla" / "data" / "digits.npz")
        ((self.input, value),) = module.inputs.items()
        x = (data["x"] / 16).astype(np.float32).reshape(-1, *value.shape)
        self.train = {self.input: x[data["train"]]}
        self.test = {self.input: x[data["test"]][:150]}
        self.labels: Array = data["y"][data["test"]][:150]
        self.spec: AnalogSpec = load_spec("isaac", AnalogSpec, overrides).spec
        self.lowered: Lowered[Program] = TARGET.lower(module, self.spec, self.train, Options())

    def run(self, seed: int = 0, chunk: int | None = None) -> machine.AnalogRun:
        program = self.lowered.program
        return machine.run(program, self.spec, self.test, Key(seed), chunk=chunk)

    def share(self, seed: int) -> float:
        (scores,) = self.run(seed).outputs.values()
        answers = scores.reshape(len(self.labels), -1).argmax(axis=1)
        return float((answers == self.labels).mean())

    def judged(self, run: machine.AnalogRun) -> CrossCheck:
        reference = evaluate_many(self.lowered.module, self.test)
        return cross_check(self.lowered, self.spec, self.test, run, reference)


@cache
def mlp(*overrides: str) -> Digits:
    return Digits("digits_mlp", *overrides)


def test_the_cnn_answers_again_after_twelve_days_of_drift() -> None:
    # 16 % right without, 87 % with; chance is 10 %
    drifted, mended = Digits("digits_cnn", *PCM), Digits("digits_cnn", *PCM, OUTPUTS)
    for seed in range(2):
        assert mended.share(seed) >= drifted.share(seed) + 0.5
    assert mended.judged(mended.run()).passed


def test_the_mlp_gains_beside_references_that_follow_the_drift() -> None:
    column = "recovery.drift=column"
    for seed in range(3):
        followed, both = mlp(*PCM, column).share(seed), mlp(*PCM, column, OUTPUTS).share(seed)
        assert both >= followed - 0.02
        assert mlp(*PCM, OUTPUTS).share(seed) >= mlp(*PCM).share(seed) + 0.2


def test_statistics_of_the_trial_are_those_of_the_exact_network() -> None:
    net = mlp(*PCM, OUTPUTS)
    run = net.run()
    trial, wanted = run.trial, net.lowered.program.trial
    assert trial is not None
    assert wanted is not None
    for name, found in trial.accumulators.items():
        goal = wanted.wanted[name]
        moved = found * run.affines[name].gain + run.affines[name].offset
        assert np.allclose(moved.reshape(-1, goal.mean.size).mean(axis=0), goal.mean)
        alive = (goal.sd > 0) & (found.reshape(-1, goal.mean.size).std(axis=0) > 0)
        assert np.allclose(moved.reshape(-1, goal.sd.size).std(axis=0)[alive], goal.sd[alive])
    # calibration inputs alone: each is one of the training part
    given = {row.tobytes() for row in net.train[net.input]}
    assert wanted.invocations == 256
    assert all(row.tobytes() in given for row in wanted.inputs[net.input])


def test_without_a_cause_it_is_the_identity_bit_by_bit() -> None:
    ideal = Digits("digits_mlp", OUTPUTS)
    spec = ideal.spec.ideal()
    lowered = TARGET.lower(
        load(ROOT / "examples/digits_mlp.onnx"), spec, ideal.train, Options()
    )
    run = machine.run(lowered.program, spec, ideal.test, Key(0))
    reference = evaluate_many(lowered.module, ideal.test)
    assert run.affines == {}
    assert all(np.array_equal(run.outputs[name], one) for name, one in reference.items())
    found = cross_check(lowered, spec, ideal.test, run, reference)
    assert found == CrossCheck("bit_exact", 0, None, None, True)
    # a trial in which every product is exact finds gains of 1 and offsets of 0
    rng = np.random.default_rng(0)
    sums = rng.integers(-(2**20), 2**20, (7, 3, 5)).astype(np.int32)
    own = reestimation.statistics(sums, -1)
    same = reestimation.affine(own, own)
    assert same.gain.tolist() == [1.0] * 5
    assert same.offset.tolist() == [0.0] * 5
    assert same.applied(sums, -1) is sums


def test_gains_and_offsets_by_hand() -> None:
    # outputs 0, 2, 4 and 1, 1, 1: mean 2, sd sqrt(8 / 3); the second never changes
    sums = np.array([[0, 1], [2, 1], [4, 1]], np.int32)
    own = reestimation.statistics(sums, 1)
    made = reestimation.affine(own, Statistics(np.array([7.0, 3.0]), own.sd * [2, 1]))
    assert made.gain.tolist() == [2.0, 1.0]
    assert made.offset.tolist() == [3.0, 2.0]
    assert made.applied(sums, 1).tolist() == [[3, 3], [7, 3], [11, 3]]
    # halves go to the even number, and sums stay within 32 bits
    half = Affine(np.array([0.5]), np.zeros(1)).applied(np.array([[1], [3]], np.int32), 1)
    assert half.tolist() == [[0], [2]]
    top = np.array([[2**31 - 1]], np.int32)
    assert Affine(np.array([2.0]), np.zeros(1)).applied(top, 1).tolist() == [[2**31 - 1]]


def test_chips_differ_and_chunks_do_not() -> None:
    net = mlp(*PCM, OUTPUTS)
    one, same, other = net.run(0), net.run(0, chunk=999), net.run(1)
    (name,) = one.outputs
    assert np.array_equal(one.outputs[name], same.outputs[name])
    first = next(iter(one.affines))
    assert np.array_equal(one.affines[first].gain, same.affines[first].gain)
    assert not np.array_equal(one.affines[first].gain, other.affines[first].gain)
    # the second half of the inputs on its own, as a part of the same run
    program, half = net.lowered.program, {net.input: net.test[net.input][70:]}
    part = machine.run(program, net.spec, half, Key(0, read=70))
    assert np.array_equal(part.outputs[name], one.outputs[name][70:])


def test_a_program_carries_its_trial() -> None:
    net = mlp(*PCM, OUTPUTS)
    again = Program.from_dict(json.loads(json.dumps(net.lowered.program.to_dict())))
    found = machine.run(again, net.spec, net.test, Key(3)).outputs
    for name, array in machine.run(
        net.lowered.program, net.spec, net.test, Key(3)
    ).outputs.items():
        assert np.array_equal(found[name], array)
    assert "trial" not in mlp(*PCM).lowered.program.to_dict()


def off_by_a_little(context: pytest.MonkeyPatch) -> None:
    """Gains that are 1 % off."""
    right = reestimation.affine

    def affine(found: Statistics, wanted: Statistics) -> Affine:
        made = right(found, wanted)
        return replace(made, gain=made.gain * 1.01)

    context.setattr(reestimation, "affine", affine)


def forgotten(context: pytest.MonkeyPatch) -> None:
    """Gains that are found, and not used."""

    def applied(own: Affine, accumulators: Array, axis: int) -> Array:
        del own, axis
        return accumulators

    context.setattr(Affine, "applied", applied)


def quiet_trial(context: pytest.MonkeyPatch) -> None:
    """A trial that reads exact sums."""
    right: Callable[..., Array] = machine.product

    def product(step: Any, spec: AnalogSpec, x: Array, key: Key, **how: Any) -> Array:
        exact = spec.ideal() if key.read == reestimation.FIRST_READ else spec
        return right(step, exact, x, key, **how | {"kept": None})

    context.setattr(machine, "product", product)


@pytest.mark.parametrize("planted", [off_by_a_little, forgotten, quiet_trial])
def test_a_wrong_re_estimation_is_seen(planted: Callable[[pytest.MonkeyPatch], None]) -> None:
    net = mlp(*PCM, OUTPUTS)
    with pytest.MonkeyPatch.context() as context:
        planted(context)
        run = net.run()
    assert not net.judged(run).passed


def test_a_run_without_its_trial_is_seen() -> None:
    net = mlp(*PCM, OUTPUTS)
    run = machine.run(replace(net.lowered.program, trial=None), net.spec, net.test, Key(0))
    assert not net.judged(run).passed
    assert not net.judged(replace(net.run(), trial=None)).passed


def test_test_reads_are_told_beside_the_energy() -> None:
    # one tile of 3 rows and 2 outputs of 8-bit weights, on 1-bit DACs: 8 digits
    b = ModuleBuilder("net")
    x = b.input("x", (1, 3), "i8")
    v = b.weight("v", np.array([[100, 50], [-100, 1], [3, 4]], np.int8))
    points: dict[str, Attribute] = {"x_zero_point": 0, "w_zero_point": 0}
    b.output("y", b.op("qnn.matmul", [x, v], points, "fc"))
    module, data = b.finish(), {"x": np.eye(3, dtype=np.int8)[:, None] * 9}
    free = [
        f"cost.{name}=0 pJ" for name in ("adc.convert", "crossbar.read", "sample_hold.read")
    ]

    def said(*overrides: str, calibration: dict[str, Array] | None = None) -> list[str]:
        spec = load_spec("isaac", AnalogSpec, overrides).spec
        lowered = TARGET.lower(module, spec, calibration, Options())
        run = machine.run(lowered.program, spec, data, Key(0))
        every = (*lowered.warnings, *run.warnings)
        return [text for text in every if "recovery: " in text or "re-estimated" in text]

    # 3 rows, 64 reads each, at two times; each drives one DAC, at 2 pJ here
    assert said("recovery.drift=global", *free, "cost.dac.convert=2 pJ") == [
        "recovery: 384 test reads of arrays, 768 pJ, once per chip; the energy of an inference "
        "is without them"
    ]
    # 3 rows with all cells low, and all cells high
    stuck = ("recovery.rows=permuted", "faults.stuck_low=0.1", *free)
    assert said(*stuck, "cost.dac.convert=null") == [
        "recovery: 6 test reads of arrays, energy unknown, once per chip; the energy of an "
        "inference is without them"
    ]
    # three invocations of one position, 8 digits each; three DACs a read
    (found,) = said(OUTPUTS, *free, "cost.dac.convert=2 pJ", calibration=data)
    assert found.startswith("recovery: 24 test reads of arrays, ")
    assert said(OUTPUTS) == ["outputs are not re-estimated: no calibration data"]
    assert said() == []
