"""Networks on machines too small for them: the same values, legal, and no more memory."""

from __future__ import annotations

from collections import Counter
from math import prod

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY, Net, check, chip, lower, verdict
from tests.backends.systolic.test_waits import hazard
from tests.test_random_networks import network
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec


def random_net(rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    """Convolutions, depthwise too, residual sums, pools and a product, with side outputs."""
    n, c, h, w = (int(size) for size in rng.integers([1, 1, 4, 4], [4, 5, 13, 13]))
    net = Net(rng, (n, c, h, w), ("i8", "ui8")[rng.integers(2)])
    x, kept = net.conv(net.x, 4, (1, 1), "first"), []
    for number in range(int(rng.integers(1, 6))):
        x = _layer(net, x, number)
        if rng.random() < 0.2:
            kept.append(x)
    if rng.random() < 0.5:
        shape = (n, x.elements // n)
        flat = net.builder.op("nn.reshape", [x], {"shape": shape}, name="flat")
        x = net.product(flat, int(rng.integers(1, 30)), "fc")
    return net.finish(*kept, *([x] if x not in kept else [])), net.inputs(2)


def _layer(net: Net, x: Value, number: int) -> Value:
    rng, op = net.rng, net.builder.op
    _, channels, h, w = x.shape
    kind = rng.integers(5)
    if kind == 0 and min(h, w) > 1:
        pool = {"strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 1)}
        return op("nn.max_pool2d", [x], {**pool, "kernel": (2, 2)}, name=f"pool{number}")
    if kind == 1:
        side = net.conv(x, channels, (1, 1), f"side{number}")
        scales = {"a_scale": 0.5, "b_scale": 0.25, "y_scale": 0.75}
        zeros = {"a_zero_point": 5, "b_zero_point": 5, "y_zero_point": 3}
        return op("qnn.add", [x, side], {**scales, **zeros}, name=f"add{number}")
    depthwise, stride, pad = rng.random() < 0.3, *(int(n) for n in rng.integers([1, 0], [3, 2]))
    filters = channels if depthwise else int(rng.integers(1, 20))
    kernel = min(h, int(rng.integers(1, 4))), min(w, int(rng.integers(1, 4)))
    return net.conv(
        x,
        filters,
        kernel,
        f"conv{number}",
        groups=channels if depthwise else 1,
        strides=(stride, stride),
        pads=(pad, pad, pad, int(rng.integers(0, 2))),
    )


def small_chip(rng: np.random.Generator, buffer_bytes: int) -> SystolicSpec:
    rows, cols = (int(n) for n in rng.integers(1, 17, 2))
    rows, cols = min(rows, buffer_bytes // 2), min(cols, buffer_bytes // 2)
    accumulators, tiles = int(rng.integers(1, 64)), int(rng.integers(1, 6))
    buffer = f"memories.unified_buffer={buffer_bytes} B"
    return chip(rows, cols, accumulators, tiles, buffer)


@pytest.mark.parametrize("seed", range(40))
def test_values_do_not_depend_on_the_unified_buffer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    module, inputs = random_net(rng)
    size = int(rng.integers(200, 3000))
    spec = small_chip(rng, size)
    try:
        _, program = check(module, spec, inputs)  # legal, bit-exact, MACs conserved
    except UnsupportedError as error:
        size = int(str(error).split()[-2])  # what would do, as the refusal says
        spec = small_chip(rng, size)
        _, program = check(module, spec, inputs)
    assert program.unified_buffer_bytes <= size
    assert hazard(program, spec) == ""


@pytest.mark.parametrize("seed", range(12))
def test_float_networks_run_on_small_machines(seed: int) -> None:
    module = network(seed)
    rng = np.random.default_rng(seed)
    ((name, value),) = module.inputs.items()
    data = {name: rng.normal(size=(4, *value.shape)).astype(np.float32)}
    spec = chip(8, 8, 16, 2, "memories.unified_buffer=768 B")
    lowered = TARGET.lower(module, spec, data, Options())
    assert lowered.program.unified_buffer_bytes <= 768
    result = run(lowered.program, spec, data, KEY)
    assert verdict(lowered, spec, data, result).passed


def moved(program: Program) -> Counter[str]:
    """Bytes by instruction and link."""
    found: Counter[str] = Counter()
    for i in program.instructions:
        if i.op in ("LDA", "ST"):
            found[f"{i.op} {'host' if i['host'] else 'dram'}"] += i["bytes"]
        elif i.op == "LDW":
            found["LDW"] += i["rows"] * i["cols"]
        elif i.op == "CFG":
            found["CFG"] += i["bytes"]
    return found


def traffic(module: Module, buffer_bytes: int) -> Counter[str]:
    size = f"memories.unified_buffer={buffer_bytes} B"
    return moved(lower(module, chip(8, 8, 4096, 256, size)).program)


@pytest.mark.parametrize("seed", range(15))
def test_a_large_buffer_moves_what_must_be_moved_and_a_smaller_one_never_less(
    seed: int,
) -> None:
    rng = np.random.default_rng(100 + seed)
    module, _ = random_net(rng)
    graph = module.graph
    large = traffic(module, 2**24)
    assert large["LDA host"] == sum(prod(v.shape) for _, v in graph.inputs)
    assert large["ST host"] == sum(prod(v.shape) for _, v in graph.outputs)
    assert large["LDA dram"] == large["ST dram"] == 0
    # each tile once: the groups that share one bring the zeros beside them
    packed = any(n.kind == "qnn.conv2d" and n.int("groups") > 1 for n in graph.nodes)
    weights = sum(
        graph.weight(n.operands[1]).size for n in graph.nodes if "w_zero_point" in n.attributes
    )
    assert large["LDW"] >= weights if packed else large["LDW"] == weights
    for size in (2**13, 2**11, 2**10, 800):
        try:
            small = traffic(module, size)
        except UnsupportedError:
            break
        assert all(small[kind] >= large[kind] for kind in large)


def test_a_value_that_is_only_read_again_is_stored_once() -> None:
    rng = np.random.default_rng(0)
    net = Net(rng, (1, 4, 8, 8))
    first = x = net.conv(net.x, 4, (1, 1), "first")  # 256 bytes
    scales = {"a_scale": 0.5, "b_scale": 0.25, "y_scale": 0.75}
    zeros = {"a_zero_point": 5, "b_zero_point": 5, "y_zero_point": 3}
    for name in ("one", "two"):
        x = net.conv(x, 12, (1, 1), f"{name}.wide")  # 768 bytes
        x = net.conv(x, 4, (1, 1), f"{name}.narrow")
        x = net.builder.op("qnn.add", [first, x], {**scales, **zeros}, name=name)
    module = net.finish(x)
    # 'first' leaves while the wide values are there, and comes back for both sums
    program = check(module, chip(8, 8, 64, 64, "memories.unified_buffer=1024 B"), net.inputs())[
        1
    ]
    assert moved(program)["ST dram"] == 256
    assert moved(program)["LDA dram"] == 2 * 256
    assert moved(lower(module, chip(8, 8, 64, 64)).program)["LDA dram"] == 0
