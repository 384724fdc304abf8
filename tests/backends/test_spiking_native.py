"""Networks that spike already: float neurons in integers, equal to the interpreter."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.spiking import cross_check, lower
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.nir.flat import flat
from tetrapla.frontend.nir.importer import imported
from tetrapla.frontend.nir.network import Network, Node
from tetrapla.frontend.nir.presets import preset
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Program, SpikingSpec, run

STEPS = 60


@pytest.fixture(scope="module")
def loihi() -> SpikingSpec:
    return load_spec("loihi", SpikingSpec).spec


def node(type_: str, **fields: Any) -> Node:
    """A node; numbers become arrays."""
    held = {k: v if isinstance(v, str) else np.asarray(v) for k, v in fields.items()}
    return Node(type_, held)


def cuba(n: int, **change: float) -> Node:
    values = {"tau_syn": 1e-3, "tau_mem": 2e-3, "r": 20.0, "v_leak": 0.0, "v_threshold": 1.0}
    return node("CubaLIF", **{k: np.full(n, v) for k, v in {**values, **change}.items()})


def recurrent(rng: np.random.Generator) -> Network:
    """A recurrent layer and one behind it."""
    nodes = {
        "in": node("Input", shape=[40]),
        "fc": node("Affine", weight=rng.normal(size=(30, 40)), bias=rng.normal(size=30) / 9),
        "lif": cuba(30),
        "rec": node("Linear", weight=rng.normal(size=(30, 30)) / 2),
        "o": node("Linear", weight=rng.normal(size=(7, 30)) * 2),
        "end": cuba(7, v_leak=0.1, v_reset=-0.2),
        "out": node("Output", shape=[7]),
    }
    edges = "in fc, fc lif, lif rec, rec lif, lif o, o end, end out"
    return Network(nodes, tuple((a, b) for a, b in map(str.split, edges.split(", "))))


def layered(rng: np.random.Generator) -> Network:
    """Convolutions with a pool between them, and a delay."""
    shape, small = (4, 9, 9), (5, 2, 2)
    lif = {"tau": 2.5e-3, "r": 3.0, "v_leak": 0.05, "v_threshold": 0.1}
    nodes = {
        "in": node("Input", shape=[2, 9, 9]),
        "c1": node(
            "Conv2d", weight=rng.normal(size=(4, 2, 3, 3)) / 2, bias=np.ones(4) / 9, padding=1
        ),
        "if": node("IF", r=np.ones(shape), v_threshold=np.ones(shape)),
        "pool": node("SumPool2d", kernel_size=[3, 3], stride=[3, 3], padding=[0, 0]),
        "c2": node("Conv2d", weight=rng.normal(size=(5, 4, 2, 2)) / 2 + 0.1, bias=np.zeros(5)),
        "lif": node("LIF", **{k: np.full(small, v) for k, v in lif.items()}),
        "flat": node("Flatten", start_dim=0, end_dim=-1, input_type=[5, 2, 2]),
        "late": node("Delay", delay=np.full(20, 3e-4)),
        "fc": node("Linear", weight=rng.normal(size=(3, 20)) + 0.2),
        "end": node("IF", r=np.ones(3), v_threshold=np.ones(3)),
        "out": node("Output", shape=[3]),
    }
    names = list(nodes)
    return Network(nodes, tuple(pairwise(names)))


def module(network: Network, rule: str = "euler") -> Module:
    return imported(flat(network), "net", preset(rule), 1e-4, STEPS, 1)


def inputs(m: Module, rng: np.random.Generator) -> dict[str, Array]:
    ((name, value),) = m.inputs.items()
    return {name: (rng.random((3, *value.shape)) < 0.3).astype(np.float32)}


def mismatches(lowered: Lowered[Program], spec: SpikingSpec, x: dict[str, Array]) -> int | None:
    done = run(lowered.program, spec, x, Key(0))
    return cross_check(lowered, spec, x, done, evaluate_many(lowered.module, x)).mismatches


@pytest.mark.parametrize("rule", ["euler", "lava", "zoh", "exponential"])
@pytest.mark.parametrize("net", [recurrent, layered])
def test_the_machine_is_the_interpreter_and_near_the_float_network(
    net: Any, rule: str, loihi: SpikingSpec
) -> None:
    rng = np.random.default_rng(7)
    m = module(net(rng), rule)
    x = inputs(m, rng)
    lowered = lower(m, loihi, x, Options())
    assert mismatches(lowered, loihi, x) == 0
    found = run(lowered.program, loihi, x, Key(0)).outputs["out"]
    exact = evaluate_many(m, x)["out"]
    assert exact.sum() > 50
    assert found.shape == exact.shape
    # 8-bit weights and 12-bit decays move single spikes: nine of ten values are as they were
    assert np.mean(found == exact) > 0.9


@pytest.mark.parametrize("kind", ["LI", "CubaLI"])
def test_a_leaky_integrators_voltage_is_read(kind: str, loihi: SpikingSpec) -> None:
    rng = np.random.default_rng(4)
    end = cuba(7, v_leak=0.25)
    slow = ("tau_syn", "tau_mem") if kind == "CubaLI" else ()
    fields = {k: end.fields[k] for k in (*slow, "r", "v_leak")}
    if kind == "LI":
        fields["tau"] = np.full(7, 2e-3)
    net = recurrent(rng)
    m = module(Network({**net.nodes, "end": Node(kind, fields)}, net.edges))
    x = inputs(m, rng)
    lowered = lower(m, loihi, x, Options())
    assert mismatches(lowered, loihi, x) == 0
    found = run(lowered.program, loihi, x, Key(0)).outputs["out"]
    again = Program.from_dict(json.loads(json.dumps(lowered.program.to_dict())))
    assert np.array_equal(run(again, loihi, x, Key(0)).outputs["out"], found)
    exact = evaluate_many(m, x)["out"]
    assert found.dtype == np.float32
    # single spikes of the layer before come at other times; voltages follow
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.95


def test_what_is_lost_is_said(loihi: SpikingSpec) -> None:
    rng = np.random.default_rng(7)
    m = module(recurrent(rng))
    lowered = lower(m, loihi, inputs(m, rng), Options())
    # rounding is half a step of 1 in 127 where the largest weight uses all 8 bits: 0.39 %
    assert lowered.notes["losses"] == [
        "weights of rec: 8 bits, off by at most 0.39% of the largest",
        "weights of fc: 8 bits, off by at most 0.72% of the largest",
        "layer lif: decay of the current is 0.1001 a timestep, off by at most 0.10%",
        "layer lif: decay of the voltage is 0.050049 a timestep, off by at most 0.10%",
        "weights of o: 8 bits, off by at most 0.64% of the largest",
        "layer end: decay of the current is 0.1001 a timestep, off by at most 0.10%",
        "layer end: decay of the voltage is 0.050049 a timestep, off by at most 0.10%",
    ]


def test_real_inputs_are_counted_in_steps(loihi: SpikingSpec) -> None:
    rng = np.random.default_rng(8)
    m = module(recurrent(rng))
    x = {"in": rng.normal(size=(2, 1, STEPS, 40)).astype(np.float32)}
    lowered = lower(m, loihi, x, Options())
    assert mismatches(lowered, loihi, x) == 0
    step = np.abs(x["in"]).max() / 127
    assert lowered.notes["losses"][0] == (
        "input in holds real numbers: the host sends up to 127 spikes of either sign for each "
        f"in a timestep, of {step:.3g} each"
    )


def test_a_cycle_with_fewer_delays_than_hops_is_refused(loihi: SpikingSpec) -> None:
    o = np.eye(4)
    nodes = {
        "in": node("Input", shape=[4]),
        "a": cuba(4),
        "ab": node("Linear", weight=o),
        "b": cuba(4),
        "ba": node("Linear", weight=o),
        "out": node("Output", shape=[4]),
    }
    edges = ("in a", "a ab", "ab b", "b ba", "ba a", "b out")
    net = Network(nodes, tuple((e.split()[0], e.split()[1]) for e in edges))
    with pytest.raises(UnsupportedError) as refused:
        lower(module(net), loihi, None, Options())
    assert str(refused.value) == (
        "spiking: the cycle a -> b -> a must hold a timestep of delay for each of its hops "
        "(2), not less: a spike takes one from core to core; load it with --discretisation "
        "lava, "
        "or give it a delay"
    )
    late = module(net, "lava")
    x = inputs(late, np.random.default_rng(0))
    assert mismatches(lower(late, loihi, x, Options()), loihi, x) == 0


def test_neurons_that_the_chip_has_not_are_listed(loihi: SpikingSpec) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UnsupportedError) as refused:
        lower(module(layered(rng), "sinabs"), loihi, None, Options())
    assert str(refused.value) == (
        "spiking: the chip's integer neurons cannot do if (spike.if: the chip resets to 0 in "
        "the same timestep, not subtract same; load it with discretisation euler)"
    )


def small(*nodes: Node, shape: list[int]) -> Network:
    """Nodes in a row."""
    held = {"in": node("Input", shape=shape)}
    held |= {f"n{i}": each for i, each in enumerate(nodes)}
    held["out"] = node("Output", shape=[1])
    return Network(held, tuple(pairwise(held)))


def lif(*shape: int) -> Node:
    values = {"tau": 2e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1}
    return node("LIF", **{k: np.full(shape, v) for k, v in values.items()})


def test_shapes_of_all_kinds_run(loihi: SpikingSpec) -> None:
    rng = np.random.default_rng(6)
    conv = node("Conv1d", weight=rng.normal(size=(4, 2, 3)), bias=np.ones(4) / 9, padding=1)
    flatten = node("Flatten", start_dim=0, end_dim=-1, input_type=[4, 16])
    dense = node("Affine", weight=rng.normal(size=(3, 64)), bias=np.ones(3))
    scale = node("Scale", scale=np.linspace(1, 2, 7))
    late = node("Delay", delay=np.linspace(0, 3e-4, 7))
    for net in (
        small(lif(7), shape=[7]),
        small(scale, lif(7), late, lif(7), shape=[7]),
        small(conv, lif(4, 16), flatten, dense, lif(3), shape=[2, 16]),
    ):
        m = module(net)
        x = inputs(m, rng)
        lowered = lower(m, loihi, x, Options())
        assert mismatches(lowered, loihi, x) == 0
        assert run(lowered.program, loihi, x, Key(0)).outputs["out"].sum() > 0


def test_a_network_that_ends_without_neurons_is_refused(loihi: SpikingSpec) -> None:
    dense = node("Linear", weight=np.eye(4))
    with pytest.raises(UnsupportedError) as refused:
        lower(module(small(dense, shape=[4])), loihi, None, Options())
    assert str(refused.value) == (
        "spiking: the chip's integer neurons cannot do transpose_2 (nn.transpose: it takes a "
        "current, not spikes or voltages of neurons)"
    )
    threshold = node("Threshold", threshold=np.ones(4))
    with pytest.raises(UnsupportedError) as refused:
        lower(module(small(dense, threshold, shape=[4])), loihi, None, Options())
    assert str(refused.value) == (
        "spiking: the chip's integer neurons cannot do n1 (nn.greater: no form in integers)"
    )


def test_another_duration_is_refused(loihi: SpikingSpec) -> None:
    m = module(recurrent(np.random.default_rng(0)))
    with pytest.raises(ModelError) as refused:
        lower(m, loihi, None, Options(timesteps=9))
    assert str(refused.value) == (
        "timesteps must be the model's own 60, not 9; its duration is a part of it"
    )


def own(weight: Array) -> Module:
    """A train, weights, a Loihi neuron, as a builder writes them."""
    b = ModuleBuilder("own")
    s = b.input("s", (8, 1, weight.shape[0]), "i8")
    current = b.op("spike.matmul", [s, b.weight("w", weight)], {"exponent": 0}, "fc")
    n = weight.shape[1]
    arrays: list[Array] = [np.zeros((3, 1, n), np.int64)]
    arrays += [np.full(n, v, np.int32) for v in (4095, 100, 50, 0)]
    given = [b.weight(f"n{i}", a) for i, a in enumerate(arrays)]
    words: dict[str, Attribute] = {"policy": "loihi.lava", "exponent": 0, "refractory": 1}
    limits = {"lowest": 1 - 2**23, "highest": 2**23 - 1}
    spikes, _, _ = b.ops("spike.loihi", [current, *given], {**words, **limits}, "n")
    b.output("out", spikes)
    return b.finish()


def test_a_network_of_the_chips_own_neurons_runs_as_it_is(loihi: SpikingSpec) -> None:
    rng = np.random.default_rng(0)
    m = own(rng.integers(-254, 255, (6, 4)).astype(np.int16) // 2 * 2)
    x = {"s": rng.integers(0, 2, (2, 8, 1, 6)).astype(np.int8)}
    lowered = lower(m, loihi, None, Options())
    assert lowered.module is m
    assert mismatches(lowered, loihi, x) == 0


def test_weights_off_the_grid_are_refused(loihi: SpikingSpec) -> None:
    weight = np.array([[250, 3], [-4, 7]], np.int16)
    with pytest.raises(UnsupportedError) as refused:
        lower(own(weight), loihi, None, Options())
    assert str(refused.value) == (
        "spiking: weights of fc must be multiples of 2 in -256..254, 8 bits with sign, not 3 "
        "(and 1 more); the nearest are 2 and 4"
    )
