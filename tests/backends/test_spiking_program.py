"""Programmed neurons on chips: the machine is the interpreter, others refuse them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ir.spike.programs import IZHIKEVICH, LIF, LOIHI
from tetrapla.backends.spiking import cross_check, lower
from tetrapla.backends.target_ import Options
from tetrapla.frontend.builder import Builder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Population, SpikingSpec, run
from tetrapla.simulators.spiking.cells import cells

STEPS = 20


def network(code: str = LOIHI) -> Module:
    """Spikes into a layer of programmed neurons, whose spikes feed another one."""
    rng = np.random.default_rng(0)
    b = Builder("net")
    x = b.input("x", (STEPS, 1, 6), "i8")
    given = [rng.integers(0, top, 9).astype(np.int32) for top in (3000, 900, 40, 5)]
    start = np.zeros((2, 1, 9), np.int64)
    for name in ("first", "second"):
        w = rng.integers(-20, 60, (x.shape[-1], 9)).astype(np.int8)
        current = b.op("spike.matmul", [x, w], {"exponent": 0}, f"{name}.synapses")
        x, _, _ = b.ops("spike.program", [current, start, *given], {"code": code}, name)
    b.output("s", x)
    return b.build()


def spikes() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {"x": (rng.random((5, STEPS, 1, 6)) < 0.4).astype(np.int8)}


@pytest.mark.parametrize("name", ["loihi2", "spinnaker", "spinnaker2"])
def test_chips_of_programmed_neurons_have_the_interpreters_spikes(name: str) -> None:
    spec = load_spec(name, SpikingSpec).spec
    lowered = lower(network(), spec, spikes(), Options())
    done = run(lowered.program, spec, spikes(), Key(0))
    expected = evaluate_many(lowered.module, spikes())
    assert cross_check(lowered, spec, spikes(), done, expected).mismatches == 0
    assert done.outputs["s"].sum() > 20


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("loihi", "spike.neuron, spike.loihi"),
        ("truenorth", "spike.neuron, spike.truenorth"),
        ("speck", "spike.neuron"),
        ("akida", "spike.neuron"),
    ],
)
def test_other_chips_refuse_them(name: str, own: str) -> None:
    spec = load_spec(name, SpikingSpec).spec
    with pytest.raises(UnsupportedError) as refused:
        lower(network(), spec, spikes(), Options())
    assert str(refused.value) == (
        f"spiking: neurons on {name} must be {own}, not first = spike.program, second = "
        "spike.program; use a chip whose neurons are programmed: --target loihi2 or spinnaker"
    )


def test_a_program_of_floats_is_refused_on_chips_of_integers() -> None:
    b = Builder("net")
    x = b.input("x", (STEPS, 1, 6))
    given = [np.ones(6, np.float32)] * 4
    held: list[Any] = [x, np.zeros((1, 1, 6), np.float32), *given]
    s, _, _ = b.ops("spike.program", held, {"code": LIF}, "cell")
    b.output("s", s)
    with pytest.raises(UnsupportedError) as refused:
        lower(b.build(), load_spec("loihi2", SpikingSpec).spec, {}, Options())
    assert str(refused.value) == (
        "spiking: the chip's integer neurons cannot do cell (spike.program: no form in "
        "integers; write its code in integers)"
    )


@pytest.mark.parametrize("code", [LIF, IZHIKEVICH])
def test_the_engines_neurons_are_the_operators(code: str) -> None:
    rng = np.random.default_rng(2)
    count, states = (4, 1) if code == LIF else (5, 2)
    given = {f"p{i}": rng.uniform(0.5, 2, 7).astype(np.float32) for i in range(count)}
    start = np.zeros((states, 7), np.float32)
    p = Population(
        *("cell", "o", "spike.program", (7,), 0, (), np.zeros(1, np.float32), np.zeros(1)),
        parameters={"start": start, **given},
        words={"code": code},
    )
    current = (9 * rng.normal(size=(STEPS, 3, 7))).astype(np.float32)
    held = cells(p, np.zeros((3, 7), np.bool_), None, voltage=True)
    halves = [held.advance(part) for part in (current[:7], current[7:])]
    operands = [current, start[:, None], *given.values()]
    s, v, _ = OPS["spike.program"].evaluate(*operands, code=code)
    assert np.array_equal(np.concatenate([each.train for each in halves]), s)
    found = np.concatenate([each.voltage for each in halves])
    assert found.tobytes() == v.tobytes()
