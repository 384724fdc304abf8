"""Short element-wise instructions become one routine; long ones stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, check, chip
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.vector.fusion import fused
from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module

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
        return node.kind in ("qnn.matmul", "qnn.add", "qnn.lookup")

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
