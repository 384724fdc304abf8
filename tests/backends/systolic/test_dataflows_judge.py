"""Compiled products in the judge, which steps every PE: cycles, values and waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.backends.systolic.conftest import KEY
from tests.backends.systolic.designs import ALL, DATAFLOWS, Products, design
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.every_cycle.machine import every_cycle
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule

QUICK = settings(max_examples=40, deadline=None, derandomize=True, phases=[Phase.generate])
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def designs(draw: st.DrawFn) -> SystolicSpec:
    units = draw(st.integers(1, 3))
    dataflow = draw(st.sampled_from(DATAFLOWS))
    sparse = dataflow == "weight_stationary" and draw(st.booleans())
    spec = design(
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 20)),
        units * draw(st.integers(1, 4)),
        units=units,
        dataflow=dataflow,
        sparsity="2:4" if sparse else "none",
    )
    near = {"latency_s": draw(st.sampled_from([0.0, 1e-8]))}
    dram, host = spec.dram.model_copy(update=near), spec.host.model_copy(update=near)
    return spec.model_copy(update={"dram": dram, "host": host})


def agree(module: Module, spec: SystolicSpec, inputs: dict[str, Array]) -> None:
    """Judge and machine: one invocation, every dispatch and every bit."""
    program = compile_graph(module.graph, spec, "m")
    start = len(program.constants)
    region = np.zeros(program.dram_bytes - start, np.int8)
    for port in program.to_device:
        part = region[port.address - start :][: port.traffic_bytes].view(DTYPES[port.dtype])
        part[port.positions()] = inputs["x"][0]
    trace = every_cycle(program, spec, region.tobytes())
    result = run(program, spec, inputs, KEY)
    assert trace.cycles == result.cycles
    assert trace.dispatch == schedule(program, spec).dispatch
    for (name, _), found in zip(program.outputs, _outputs(program, trace.dram), strict=True):
        assert found.tobytes() == np.ascontiguousarray(result.outputs[name][0]).tobytes()


def _outputs(program: Program, dram: Array) -> list[Array]:
    found = []
    for port in program.from_device:
        part = dram[port.address : port.address + port.traffic_bytes]
        found.append(part.view(DTYPES[port.dtype])[port.positions()])
    return found


@QUICK
@given(seeds, st.sampled_from(sorted(ALL)), designs(), st.tuples(*[st.integers(1, 12)] * 4))
def test_chains_of_products_agree_every_cycle(
    rng: np.random.Generator, form: str, spec: SystolicSpec, sizes: tuple[int, ...]
) -> None:
    m, k, n, last = sizes
    net = Products(rng, form, (m, k))
    y = net.matmul(net.matmul(net.x, n, "a"), last, "b")
    agree(net.finish(y), spec, net.inputs(1))


@QUICK
@given(st.data(), seeds, st.sampled_from(sorted(ALL)), designs())
def test_convolutions_agree_every_cycle(
    data: st.DataObject, rng: np.random.Generator, form: str, spec: SystolicSpec
) -> None:
    groups, per_group, share = data.draw(st.tuples(*[st.integers(1, 2)] * 3))
    kernel = data.draw(st.tuples(*[st.integers(1, 3)] * 2))
    net = Products(rng, form, (1, groups * per_group, 4, 3))
    own: dict[str, Any] = {"groups": groups, "pads": (1, 0, 1, 1)}
    y = net.conv(net.x, groups * share, kernel, "a", **own)
    agree(net.finish(y), spec, net.inputs(1))


@pytest.mark.parametrize("form", ["bf16", "fp16"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_weights_of_two_bytes_from_the_buffer_agree_every_cycle(
    rng: np.random.Generator, form: str, dataflow: str
) -> None:
    net = Products(rng, form, (5, 6))
    q, k = net.matmul(net.x, 7, "q"), net.matmul(net.x, 7, "k")
    k = net.builder.op("nn.transpose", [k], {"perm": (1, 0)}, name="kt")
    y = net.builder.op("nn.matmul", [q, k], {"activation": "none"}, name="scores")
    agree(net.finish(y), design(4, 3, tiles=6, dataflow=dataflow, units=2), net.inputs(1))


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("zero", [0, -300])
def test_products_of_two_computed_operands_of_16_bits_agree_every_cycle(
    rng: np.random.Generator, zero: int, dataflow: str
) -> None:
    net = Products(rng, "int16", (5, 6))
    q, k = net.matmul(net.x, 7, "q"), net.matmul(net.x, 7, "k")
    k = net.builder.op("nn.transpose", [k], {"perm": (1, 0)}, name="kt")
    zeros: dict[str, Attribute] = {"x_zero_point": zero, "w_zero_point": zero}
    y = net.builder.op("qnn.matmul", [q, k], zeros, name="scores")
    agree(net.finish(y), design(4, 3, tiles=6, dataflow=dataflow, units=2), net.inputs(1))
