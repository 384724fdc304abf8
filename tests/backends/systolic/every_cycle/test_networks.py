"""Compiled networks in the judge: cycles, values, and the waits behind both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.systolic.conftest import KEY, Net, chip, lower
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic import timing
from tetrapla.simulators.systolic.every_cycle.machine import Trace, every_cycle
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
sides = st.integers(2, 8)
speeds = st.sampled_from(["0.7 GB/s", "2 GB/s", "34 GB/s"])  # 1, 2.86 and 48.6 bytes a cycle


@st.composite
def chips(draw: st.DrawFn) -> SystolicSpec:
    memories = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    settings_ = (
        f"dram.bandwidth={draw(speeds)}",
        f"dram.latency={draw(st.integers(0, 20)) * 10} ns",
        "host.latency=100 ns",
        f"vector.lanes={draw(st.integers(1, 4))}",
    )
    return chip(draw(sides), draw(sides), *memories, *settings_)


def judged(program: Program, spec: SystolicSpec, x: Array) -> tuple[Trace, list[Array]]:
    """Run one invocation through the judge: what happened, and the outputs."""
    start = len(program.constants)
    region = np.zeros(program.dram_bytes - start, np.int8)
    (port,) = program.to_device
    region[port.address - start + port.positions()] = x
    trace = every_cycle(program, spec, region.tobytes())
    found = [trace.dram[p.address + p.positions()] for p in program.from_device]
    types = [DTYPES[p.dtype] for p in program.from_device]
    return trace, [v.view(dtype) for v, dtype in zip(found, types, strict=True)]


def agree(module: Module, spec: SystolicSpec, inputs: dict[str, Array]) -> None:
    """Judge, machine and reference: one invocation, every cycle and every value."""
    lowered = lower(module, spec)
    program = lowered.program
    result = run(program, spec, inputs, KEY)
    trace, found = judged(program, spec, inputs["x"][0])
    assert trace.cycles == result.cycles
    assert trace.dispatch == schedule(program, spec).dispatch
    reference = evaluate_many(lowered.module, inputs)
    for (name, _), values in zip(program.outputs, found, strict=True):
        assert np.array_equal(values, reference[name][0])
        assert np.array_equal(values, result.outputs[name][0])


SOME = settings(max_examples=80, deadline=None, derandomize=True)
shapes = st.tuples(st.integers(1, 12), st.integers(1, 20), st.integers(1, 12))


@SOME
@given(chips(), seeds, shapes)
def test_matrix_products_agree_every_cycle(
    spec: SystolicSpec, rng: np.random.Generator, shape: tuple[int, int, int]
) -> None:
    m, k, n = shape
    net = Net(rng, (m, k))
    agree(net.finish(net.product(net.x, n, "a")), spec, net.inputs(1))


@SOME
@given(chips(), seeds, st.sampled_from([(1, 1), (2, 1), (2, 2)]), st.booleans())
def test_small_networks_agree_every_cycle(
    spec: SystolicSpec, rng: np.random.Generator, groups: tuple[int, int], unsigned: bool
) -> None:
    count, share = groups
    net = Net(rng, (1, 2 * count, 4, 3), "ui8" if unsigned else "i8")
    own = {"groups": count, "pads": (1, 0, 0, 1), "strides": (1, 2)}
    y = net.conv(net.x, 2 * count * share, (2, 3), "a", **own)
    pool = {"kernel": (2, 1), "strides": (2, 1), "pads": (0, 0, 1, 0), "dilations": (1, 1)}
    y = net.builder.op("nn.relu", [net.builder.op("nn.max_pool2d", [y], pool)])
    y = net.builder.op("nn.reshape", [y], {"shape": (1, y.elements)})
    agree(net.finish(net.product(y, 3, "b")), spec, net.inputs(1))


def test_an_off_by_one_in_the_recurrence_is_caught(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net(rng, (4, 6))
    module, spec = net.finish(net.product(net.x, 5, "a")), chip(4, 4)
    agree(module, spec, net.inputs(1))
    monkeypatch.setattr(timing, "_PIPELINE", 3)
    with pytest.raises(AssertionError):
        agree(module, spec, net.inputs(1))


def test_a_missing_wait_changes_values(rng: np.random.Generator) -> None:
    """Some waits are longer than needed: rows follow each other through MM and RQ in order."""
    net = Net(rng, (1, 3, 5, 5))
    module = net.finish(net.conv(net.conv(net.x, 6, (2, 2), "a"), 3, (3, 3), "b"))
    spec, inputs = chip(4, 4, 64, 4, "dram.latency=10 ns"), net.inputs(1)
    program = lower(module, spec).program
    plan, steps = schedule(program, spec), program.instructions
    (wanted,) = judged(program, spec, inputs["x"][0])[1]
    caught: list[str] = []
    harmless: list[str] = []
    for n, step in enumerate(steps):
        broken = replace(
            program, instructions=(*steps[:n], replace(step, waits={}), *steps[n + 1 :])
        )
        sooner = schedule(broken, spec).dispatch[n] < plan.dispatch[n]
        if step.engine is None or not sooner:
            continue
        try:
            (found,) = judged(broken, spec, inputs["x"][0])[1]
        except KeyError:  # a descriptor that has not arrived
            found = ~wanted
        (harmless if np.array_equal(found, wanted) else caught).append(step.op)
    assert {"LW", "MM", "RQ"} <= set(caught)
    assert len(caught) > 4 * len(harmless)
