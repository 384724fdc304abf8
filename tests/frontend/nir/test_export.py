"""Modules as NIR graphs: imported again they are the same, and losses are told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tetrapla.frontend.nir.export import exported
from tetrapla.frontend.nir.flat import flat
from tetrapla.frontend.nir.importer import imported
from tetrapla.frontend.nir.network import Network, Node
from tetrapla.frontend.nir.presets import preset
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module

DT_S, STEPS = 1e-4, 20


def node(type_: str, **fields: Any) -> Node:
    return Node(type_, {k: np.asarray(v) for k, v in fields.items()})


def network(rng: np.random.Generator) -> Network:
    """Every node that has a form of its own, with a fan-in."""
    ms, one = np.full(3, 2e-4), np.ones(3)
    leaky = {"r": one, "v_leak": 0 * one}
    nodes = {
        "in": node("Input", shape=[2, 4, 4]),
        "conv": node("Conv2d", weight=rng.normal(size=(1, 2, 2, 2)), bias=[0.5], padding=1),
        "flat": node("Flatten", start_dim=0),
        "fc": node("Affine", weight=abs(rng.normal(size=(3, 25))), bias=one),
        "lif": node("LIF", tau=ms, v_threshold=one / 8, v_reset=[0, 0.05, 0], **leaky),
        "delay": node("Delay", delay=[0, 1e-4, 5e-4]),
        "scale": node("Scale", scale=[1, 2, 3]),
        "if": node("IF", r=one, v_threshold=one / 8),
        "lin": node("Linear", weight=abs(rng.normal(size=(3, 3)))),
        "cuba": node("CubaLIF", tau_syn=ms, tau_mem=2 * ms, v_threshold=one / 8, **leaky),
        "threshold": node("Threshold", threshold=one / 8),
        "i": node("I", r=one),
        "li": node("LI", tau=ms, **leaky),
        "cubali": node("CubaLI", tau_syn=ms, tau_mem=ms, **leaky),
        "out": node("Output"),
    }
    names = list(nodes)
    edges = [*pairwise(names), ("fc", "scale")]
    return Network(nodes, tuple(edges))


def again(module: Module, rule: str) -> tuple[Module, tuple[str, ...]]:
    made = exported(module, DT_S)
    return imported(flat(made.network), "net", preset(rule), DT_S, STEPS, 2), made.losses


@pytest.mark.parametrize("rule", ["norse", "nengo", "exponential"])
def test_what_is_exported_and_imported_is_the_same(rule: str, rng: np.random.Generator) -> None:
    first = imported(flat(network(rng)), "net", preset(rule), DT_S, STEPS, 2)
    made = exported(first, DT_S)
    word = str(made.network.metadata["tetrapla.discretisation"])
    assert preset(word) == preset(rule)
    assert float(np.asarray(made.network.metadata["tetrapla.dt_s"])) == DT_S
    second, losses = again(first, rule)
    third, _ = again(second, rule)
    assert losses == ()
    types = [each.type for each in made.network.nodes.values() if isinstance(each, Node)]
    assert sorted(types) == sorted(
        each.type for each in network(rng).nodes.values() if isinstance(each, Node)
    )
    assert second.text() == third.text()
    x = {"in": (rng.random((2, STEPS, 2, 4, 4)) < 0.5).astype(np.float32)}
    found = [evaluate(module, x)["out"] for module in (first, second)]
    assert found[0].any()
    assert np.array_equal(found[0], found[1])


def test_what_nir_has_no_words_for_is_told(rng: np.random.Generator) -> None:
    first = imported(flat(network(rng)), "net", preset("sinabs"), DT_S, STEPS, 2)
    made = exported(first, DT_S)
    assert made.losses == tuple(
        f"{name}: {word} has no form in NIR"
        for name in ("lif", "if", "cuba")
        for word in ("reset subtract", "spikes many")
    )
    # our own metadata say it all the same
    assert preset(str(made.network.metadata["tetrapla.discretisation"])) == preset("sinabs")


def test_all_operators_without_a_node_are_listed() -> None:
    build = ModuleBuilder("m")
    x = build.input("x", (1, 4, 3))
    y = build.op("nn.exp", [x], {}, "first")
    weights = build.weight("w", np.ones((3, 3), np.int8))
    s = build.input("s", (1, 4, 3), "i8")
    build.output("y", build.op("nn.relu", [y], {}, "behind"))
    build.output("z", build.op("spike.matmul", [s, weights], {"exponent": 0}, "second"))
    with pytest.raises(UnsupportedError) as caught:
        exported(build.finish(), DT_S)
    assert str(caught.value) == (
        "nir: a graph cannot hold first (nn.exp: no node does that), second (spike.matmul: its "
        "weights are integers)"
    )
