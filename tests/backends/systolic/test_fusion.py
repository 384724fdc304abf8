"""Short element-wise instructions become one routine; long ones stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import EXACT, KEY, Net, check, chip, verdict
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.vector.fusion import fused
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.spec import SystolicSpec

NUMBERS = {"a_scale": 0.5, "b_scale": 0.25, "y_scale": 0.75}
ZEROS = {"a_zero_point": 5, "b_zero_point": -3, "y_zero_point": 1}


def chain(shape: tuple[int, ...], count: int, seed: int = 0) -> tuple[Net, Module]:
    """A product, then so many sums with its operand, each with a table of its own after it."""
    net = Net(np.random.default_rng(seed), shape)
    x = net.product(net.x, shape[-1], "product")
    for number in range(count):
        x = _gate(net, x, number)
    return net, net.finish(x)


def _gate(net: Net, x: Value, number: int) -> Value:
    y = net.builder.op("qnn.add", [x, net.x], {**NUMBERS, **ZEROS}, name=f"add{number}")
    table = net.builder.weight(
        f"table{number}", net.rng.integers(-128, 128, 256).astype(np.int8)
    )
    return net.builder.op("qnn.lookup", [y, table], {}, name=f"lookup{number}")


def names(module: Module, machine: Machine) -> set[str]:
    """The nodes that become steps of a routine."""

    def alone(node: Node) -> bool:
        return node.kind in ("qnn.matmul", "qnn.conv2d", "qnn.add", "qnn.lookup")

    def joined(node: Node) -> bool:
        return node.kind == "qnn.requantize"

    return set(fused(module.graph, module.graph.nodes, machine, alone, joined))


def test_a_chain_is_fused_where_its_steps_take_less_than_its_tables() -> None:
    # TPU v1: DRAM answers after 70 cycles, and brings 34 GB / 700 M = 48.57 bytes a cycle
    machine = Machine.of(chip(8, 8, 64, 4, "vector.lanes=8"))
    # 16 elements, 2 rows of lanes. Instructions: 2 for the first, whose tables come beside the
    # product, then a lookup, 70 + (128 + 256) / 48.57 = 77.9. Steps: 2 x 3 and 2 x 2 cycles.
    assert names(chain((2, 8), 1)[1], machine) == {"add0", "lookup0"}
    # 160 elements, 20 rows of lanes: 20 + 77.9 < 20 x 3 + 20 x 2
    assert names(chain((20, 8), 1)[1], machine) == set()
    # with three more, 20 + 77.9 + 3 (75.3 + 77.9) > 4 x 100
    assert len(names(chain((20, 8), 4)[1], machine)) == 8


def test_a_gated_image_of_few_channels_is_a_routine_and_of_many_instructions() -> None:
    # 64 pixels: 64 cycles of a sum, and of a lookup the 70 + 384 / 48.57 of its table. As steps
    # 2 channels are 16 rows of 8 lanes, 16 x (3 + 2); 4 channels 32 x (3 + 2) > 64 + 77.9
    machine = Machine.of(chip(8, 8, 64, 4, "vector.lanes=8"))
    assert image_names(2, machine, gated=True) == {"add", "lookup"}
    assert image_names(4, machine, gated=True) == set()


def test_a_sum_alone_stays_an_instruction() -> None:
    machine = Machine.of(chip(8, 8, 64, 4, "vector.lanes=8"))
    assert image_names(2, machine, gated=False) == set()  # 64 cycles; 16 x 3 as a routine


def image_names(channels: int, machine: Machine, gated: bool) -> set[str]:
    """Of a sum of 8 x 8 pixels behind a convolution, with a table behind it or none."""
    net = Net(np.random.default_rng(0), (1, channels, 8, 8))
    x = net.conv(net.x, channels, (1, 1), "conv")
    y = net.builder.op("qnn.add", [x, net.x], {**NUMBERS, **ZEROS}, name="add")
    if gated:
        table = net.builder.weight("table", net.rng.integers(-128, 128, 256).astype(np.int8))
        y = net.builder.op("qnn.lookup", [y, table], {}, name="lookup")
    return names(net.finish(net.conv(y, 2, (1, 1), "last")), machine)


@pytest.mark.parametrize("seed", range(10))
def test_a_fused_chain_behind_a_product_computes_the_same_and_never_later(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    # of so many taps that the product takes longer than the tables
    rows, width, count = (int(n) for n in rng.integers([1, 64, 1], [6, 90, 5]))
    net, module = chain((rows, width), count, seed)
    spec = chip(8, 8, 64, 4, f"vector.lanes={int(rng.integers(1, 17))}")
    inputs = net.inputs()
    cycles = check(module, spec, inputs)[0].cycles

    def none(*_: object) -> frozenset[str]:
        return frozenset()

    monkeypatch.setattr("tetrapla.backends.systolic.stages.fused", none)
    assert cycles <= check(module, spec, inputs)[0].cycles


@pytest.mark.parametrize("kind", ["nn.rnn", "nn.gru", "nn.lstm"])
def test_a_recurrent_layer_in_int8_is_never_slower_than_in_int16(kind: str) -> None:
    module, inputs = recurrent(kind)
    spec = load_spec("tpu-v1", SystolicSpec, ()).spec
    cycles = {}
    for quant in ("int8", "int16"):
        lowered = TARGET.lower(module, spec, inputs, Options(quant=quant))
        result = run(lowered.program, spec, inputs, KEY)
        assert verdict(lowered, spec, inputs, result) == EXACT
        cycles[quant] = result.cycles
    assert cycles["int8"] <= cycles["int16"]


def recurrent(kind: str) -> tuple[Module, dict[str, Array]]:
    """Eight steps of 20 inputs and 70 states, and what they are given."""
    rng, gates = np.random.default_rng(0), {"nn.rnn": 1, "nn.gru": 3, "nn.lstm": 4}[kind]
    builder = ModuleBuilder("layer")
    x = builder.input("x", (8, 1, 20))
    w, r = (
        builder.weight(name, (rng.standard_normal((1, gates * 70, n)) * 0.2).astype(np.float32))
        for name, n in (("w", 20), ("r", 70))
    )
    functions = {"nn.rnn": "tanh", "nn.gru": "sigmoid,tanh", "nn.lstm": "sigmoid,tanh,tanh"}
    flags: dict[str, str] = {"nn.gru": "linear_before_reset", "nn.lstm": "input_forget"}
    held: dict[str, Attribute] = {"direction": "forward", "activations": functions[kind]}
    held |= {"clip": 0.0} | ({flags[kind]: 0} if kind in flags else {})
    y, *_ = builder.ops(kind, [x, w, r], held, "layer")
    builder.output("y", y)
    data = rng.standard_normal((2, 8, 1, 20)).astype(np.float32)
    return builder.finish(), {"x": data}
