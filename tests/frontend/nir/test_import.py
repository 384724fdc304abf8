"""What NIR graphs become: each platform's rule, every node type, cycles, borders, refusals."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tetrapla.frontend.nir.flat import flat
from tetrapla.frontend.nir.importer import Imported, imported
from tetrapla.frontend.nir.network import Network, Node
from tetrapla.frontend.nir.presets import PRESETS, preset
from tetrapla.ir.errors import ModelError, RegistryError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate
from tetrapla.validation import GOLDEN

TRACES = GOLDEN / "neuro" / "nir_presets.npz"
DT_S = 1e-4


def node(type_: str, **fields: Any) -> Node:
    """A node; numbers become arrays."""
    held = {k: v if isinstance(v, str) else np.asarray(v) for k, v in fields.items()}
    return Node(type_, held)


def chain(*nodes: Node, shape: list[int]) -> Network:
    """An input of that shape, the nodes in a row, an output."""
    held = {"in": node("Input", shape=shape)}
    held |= {f"n{i}": each for i, each in enumerate(nodes)}
    held["out"] = node("Output", shape=[1])
    names = list(held)
    return Network(held, tuple(pairwise(names)))


def module(
    network: Network, timesteps: int, rule: str = "euler", *, dt_s: float = 1.0, batch: int = 1
) -> Imported:
    return imported(flat(network), "net", preset(rule), dt_s, timesteps, batch)


def ran(network: Network, x: Array, rule: str = "euler", *, dt_s: float = 1.0) -> Array:
    """The output 'out' of an input [T, ...]."""
    made = module(network, len(x), rule, dt_s=dt_s)
    return np.asarray(evaluate(made, {"in": x[None].astype(np.float32)})["out"][0])


@pytest.fixture
def golden() -> Mapping[str, Array]:
    with np.load(TRACES) as held:
        return {name: held[name] for name in held.files}


def lif(**change: float) -> Node:
    fields = {"tau": 2.5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1, **change}
    return node("LIF", **fields)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("norse", "norse_s"), ("snntorch", "snntorch_lif_s"), ("sinabs", "sinabs_s")],
)
def test_a_preset_is_the_platforms_rule(
    rule: str, expected: str, golden: Mapping[str, Array]
) -> None:
    network = chain(node("Affine", weight=golden["W"], bias=golden["b"]), lif(), shape=[6])
    assert np.array_equal(ran(network, golden["S_in"], rule, dt_s=DT_S), golden[expected])


def test_snntorchs_cuba_lif_is_reproduced(golden: Mapping[str, Array]) -> None:
    cuba = {"tau_syn": 1.2e-3, "tau_mem": 4e-3, "r": 40.0, "v_leak": 0.0, "v_threshold": 4.0}
    network = chain(
        node("Affine", weight=golden["W"], bias=golden["b"]), node("CubaLIF", **cuba), shape=[6]
    )
    found = ran(network, golden["S_in"], "snntorch", dt_s=DT_S)
    assert np.array_equal(found, golden["snntorch_cubalif_s"])


def test_lava_is_eulers_method_with_a_current_one_timestep_late(
    golden: Mapping[str, Array],
) -> None:
    network = chain(node("Linear", weight=golden["W"]), lif(), shape=[6])
    euler, lava = (ran(network, golden["S_in"], r, dt_s=DT_S) for r in ("euler", "lava"))
    assert euler.any()
    assert np.array_equal(lava[1:], euler[:-1])
    assert not lava[0].any()


def test_every_preset_imports_every_neuron() -> None:
    cuba = {"tau_syn": 2, "tau_mem": 3, "r": 1, "v_leak": 0}
    neurons = [
        node("I", r=1),
        node("LI", tau=2, r=1, v_leak=0),
        node("CubaLI", **cuba),
        node("IF", r=1, v_threshold=1, v_reset=0.5),
        node("LIF", tau=2, r=1, v_leak=0.5, v_threshold=1, v_reset=-1),
        node("CubaLIF", **cuba, w_in=2, v_threshold=1),
    ]
    for rule in PRESETS:
        found = ran(chain(*neurons, shape=[3]), np.full((20, 3), 2.0), rule)
        assert found.shape == (20, 3)
        assert found.dtype == np.int8


def test_neurons_without_a_threshold_give_their_voltage() -> None:
    x = np.array([[1.0], [2], [4]])
    assert ran(chain(node("I", r=3), shape=[1]), x)[:, 0].tolist() == [3, 9, 21]
    # halves the distance to v_leak + r x = 1 + 3 x: 4, 7, 13
    found = ran(chain(node("LI", tau=2, r=3, v_leak=1), shape=[1]), x)
    assert found[:, 0].tolist() == [2, 4.5, 8.75]
    cuba = node("CubaLI", tau_syn=1, tau_mem=2, r=3, v_leak=1, w_in=2)
    # the synapse passes 2 x on: 1 + 6 x = 7, 13, 25
    assert ran(chain(cuba, shape=[1]), x)[:, 0].tolist() == [3.5, 8.25, 16.625]


def test_a_missing_v_reset_is_zero_and_another_value_is_taken() -> None:
    x = np.full((3, 1), 3.0)
    for reset, spikes in ((None, [1, 1, 1]), (-4, [1, 0, 0])):
        own = {} if reset is None else {"v_reset": reset}
        found = ran(chain(node("IF", r=1, v_threshold=2, **own), shape=[1]), x)
        assert found[:, 0].tolist() == spikes


def test_linear_nodes_compute_what_their_names_say() -> None:
    x = np.arange(1, 33, dtype=np.float32).reshape(1, 2, 4, 4)
    sums = ran(chain(node("SumPool2d", kernel_size=[2, 2]), shape=[2, 4, 4]), x)
    assert sums[0, 0].tolist() == [[14, 22], [46, 54]]  # 1 + 2 + 5 + 6
    pool = node("AvgPool2d", kernel_size=2, stride=1, padding=0)
    means = ran(chain(pool, shape=[2, 4, 4]), x)
    assert means[0, 0, 0].tolist() == [3.5, 4.5, 5.5]
    scale = node("Scale", scale=np.array([2, 3]).reshape(2, 1, 1))
    assert np.array_equal(ran(chain(scale, shape=[2, 4, 4]), x)[0, 1], x[0, 1] * 3)
    threshold = ran(chain(node("Threshold", threshold=16), shape=[2, 4, 4]), x)
    assert threshold.dtype == np.int8
    assert threshold.sum() == 16  # 17 to 32: strictly above
    flatten = node("Flatten", start_dim=0, end_dim=-1, input_type=[2, 4, 4])
    assert np.array_equal(ran(chain(flatten, shape=[2, 4, 4]), x)[0], x.ravel())
    later = ran(chain(node("Delay", delay=[0, 2e-4]), shape=[2]), np.eye(4)[:, :2], dt_s=DT_S)
    assert later.tolist() == [[1, 0], [0, 0], [0, 0], [0, 1]]


def test_convolutions_pad_as_they_say() -> None:
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    weight = np.array([[[1, 10]]])
    for padding, expected in (
        ("valid", [21, 32, 43, 54]),
        ("same", [21, 32, 43, 54, 5]),  # the odd zero behind, as PyTorch
        (1, [10, 21, 32, 43, 54, 5]),
    ):
        conv = node("Conv1d", weight=weight, padding=padding, bias=[0])
        assert ran(chain(conv, shape=[1, 5]), x)[0, 0].tolist() == expected
    image = np.arange(1, 9, dtype=np.float32).reshape(1, 2, 2, 2)
    conv = node(
        "Conv2d",
        weight=np.ones((2, 1, 2, 2)),
        bias=[0, 100],
        stride=[1, 1],
        padding=[0, 1],
        dilation=1,
        groups=2,
        input_shape=[2, 2],
    )
    found = ran(chain(conv, shape=[2, 2, 2]), image)
    assert found[0].tolist() == [[[4, 10, 6]], [[112, 126, 114]]]


def looped(weight: Array, recurrent: Array, bias: Array) -> Network:
    nodes = {
        "in": node("Input", shape=[weight.shape[1]]),
        "fc": node("Linear", weight=weight),
        "cell": lif(),
        "back": node("Affine", weight=recurrent, bias=bias),
        "out": node("Output", shape=[len(weight)]),
    }
    edges = [("in", "fc"), ("fc", "cell"), ("cell", "back"), ("back", "cell"), ("cell", "out")]
    return Network(nodes, tuple(edges))


@pytest.mark.parametrize("rule", ["euler", "lava"])
def test_a_cycle_takes_a_timestep_and_its_bias_acts_at_once(
    rule: str, golden: Mapping[str, Array], rng: np.random.Generator
) -> None:
    recurrent = rng.normal(0, 0.3, (8, 8)).astype(np.float32)
    network = looped(golden["W"], recurrent, golden["b"])
    found = ran(network, golden["S_in"], rule, dt_s=DT_S)
    current = golden["S_in"] @ golden["W"].T.astype(np.float64)
    if rule == "lava":
        current = np.vstack((np.zeros((1, 8)), current[:-1]))
    v, s, expected = np.zeros(8), np.zeros(8), []
    for arriving in current:
        v = v + (arriving + recurrent @ s + golden["b"] - v) / 25
        s = (v > 0.1).astype(np.float64)
        v = np.where(s > 0, 0, v)
        expected.append(s)
    assert found.sum() > 100
    assert np.array_equal(found, np.array(expected))


def test_a_cycle_over_two_populations_is_late_where_it_closes() -> None:
    wire = {"weight": np.ones((1, 1))}
    nodes = {
        "in": node("Input", shape=[1]),
        "a": node("IF", r=1, v_threshold=0.5),
        "ab": node("Linear", **wire),
        "b": node("IF", r=1, v_threshold=0.5),
        "ba": node("Linear", **wire),
        "out": node("Output", shape=[1]),
    }
    names = ["in", "a", "ab", "b", "out"]
    edges = (*pairwise(names), ("b", "ba"), ("ba", "a"))
    pulse = np.array([[1.0], [0], [0], [0], [0]])
    # b answers in the same timestep, and a hears b one later
    assert ran(Network(nodes, edges), pulse)[:, 0].tolist() == [1, 1, 1, 1, 1]
    # every hop takes one: in -> a -> b is 2 timesteps, and b -> a -> b as well
    assert ran(Network(nodes, edges), pulse, "lava")[:, 0].tolist() == [0, 0, 1, 0, 1]


def test_inner_graphs_are_laid_out_and_edges_count_once() -> None:
    inner = chain(node("Scale", scale=2.0), shape=[2])
    names = ["in", "part", "out"]
    nodes: dict[str, Node | Network] = {
        "in": node("Input", shape=[2]),
        "part": inner,
        "out": node("Output", shape=[2]),
    }
    edges = [*pairwise(names)] * 2
    made = module(Network(nodes, tuple(edges)), 1)
    found = evaluate(made, {"in": np.ones((1, 1, 2), np.float32)})
    assert found["out"].ravel().tolist() == [2, 2]


def test_borders_that_a_file_lacks_are_added() -> None:
    network = Network({"fc": node("Linear", weight=[[1.0, 2]])}, ())
    made = module(network, 1)
    assert [*made.inputs] == ["fc.input"]
    found = evaluate(made, {"fc.input": np.ones((1, 1, 2), np.float32)})
    assert found["fc.output"].ravel().tolist() == [3]


def test_batches_are_side_by_side(golden: Mapping[str, Array]) -> None:
    network = looped(golden["W"], np.eye(8, dtype=np.float32), golden["b"])
    x = golden["S_in"][:50].astype(np.float32)
    made = module(network, 50, dt_s=DT_S, batch=2)
    found = evaluate(made, {"in": np.stack((x, x[::-1]))})["out"]
    alone = [ran(network, each, dt_s=DT_S) for each in (x, x[::-1])]
    assert np.array_equal(found, np.stack(alone))


def dangling() -> Network:
    nodes = {"in": node("Input", shape=[1]), "lif1": lif(), "out": node("Output")}
    return Network(nodes, (("in", "lif"), ("lif", "out")))


def test_an_edge_to_the_wrong_name_is_mended_on_request() -> None:
    with pytest.raises(ModelError) as caught:
        flat(dangling())
    assert str(caught.value) == (
        "nir: node 'lif' is named by an edge but does not exist, and 'lif1' has no edge; "
        "--repair (repair=True) takes the one for the other, or write the edges again"
    )
    assert [*flat(dangling(), repair=True).nodes] == ["in", "lif", "out"]


def fails(network: Network, **options: Any) -> str:
    with pytest.raises((ModelError, UnsupportedError)) as caught:
        module(network, 2, **options)
    return str(caught.value)


def test_all_unknown_nodes_are_listed() -> None:
    network = chain(node("Foo"), node("LI", tau=1, r=1, v_leak=0), node("Bar"), shape=[1])
    assert fails(network) == (
        "nir: nodes n0 (Foo), n2 (Bar) have no spiking form; known are Affine, AvgPool2d, "
        "Conv1d, Conv2d, CubaLI, CubaLIF, Delay, Flatten, I, IF, Input, LI, LIF, Linear, "
        "Output, Scale, SumPool2d, Threshold, NIRGraph"
    )


def test_wrong_fields_are_named_with_their_node() -> None:
    assert fails(chain(node("LIF", tau=1, r=1), shape=[1])) == (
        "nir: node 'n0' (LIF) must have v_leak, v_threshold, not lack it; write it again"
    )
    assert fails(chain(lif(tau=0), shape=[1])) == (
        "nir: node 'n0': tau must be positive, not 0; times are in s"
    )
    assert fails(chain(node("Delay", delay=-1.0), shape=[1])) == (
        "nir: node 'n0': a delay must be 0 s or more, not -1; mend it"
    )
    assert fails(chain(node("Flatten", start_dim=2), shape=[1, 2])) == (
        "nir: node 'n0': start_dim and end_dim must be axes of [1, 2] in order, not 2 and 1"
    )
    assert fails(chain(lif(), shape=[0])) == (
        "nir: shape of node 'in' must be positive, not [0]"
    )
    assert fails(Network({"s": node("Scale", scale=1)}, ())) == (
        "nir: node 's' (Scale) must be fed by an Input, not by nothing: it does not say its "
        "shape; add an Input and an edge"
    )


def test_a_cycle_that_nothing_delays_is_refused() -> None:
    network = looped(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1))
    nodes = {**network.nodes, "cell": node("Scale", scale=1)}
    assert fails(Network(nodes, network.edges)) == (
        "nir: the cycle cell -> back -> cell must hold a neuron on every way round, not none: "
        "nothing in it takes a timestep; put a neuron in, or cut an edge"
    )
    nodes = {**network.nodes, "back": node("Delay", delay=1)}
    assert fails(Network(nodes, network.edges)) == (
        "nir: Delay 'back' must not be in a cycle, whose closing edges take a timestep each; "
        "move it out of the cycle"
    )


def test_an_unknown_discretisation_names_the_known_ones() -> None:
    with pytest.raises(RegistryError) as caught:
        preset("eular")
    assert str(caught.value) == (
        "no discretisation 'eular'; did you mean 'euler'?; there are: euler, zoh, exponential, "
        "norse, snntorch, spinnaker2, lava, nengo, sinabs, rockpool, spyx"
    )
