"""The waits of a compiled program cover every hazard, in time and not only in order.

The same is held by the every-cycle judge; this check is coarser (an instruction has its
operands from dispatch to retirement) and quick, so it also goes over large arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, chip, lower
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.timing import schedule

ARRAYS = [(8, 8, 64, 4), (16, 4, 64, 2), (5, 12, 7, 1), (9, 6, 1, 3), (256, 256, 4096, 4)]


@dataclass(frozen=True)
class Access:
    """One instruction's use of `count` places of a memory from `start` on."""

    memory: str
    start: int
    count: int
    writes: bool


class Accesses:
    """What each instruction touches, told from its operands alone."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.descriptors: dict[int, Descriptor] = {}
        self.rows: dict[int, RequantizeRow] = {}

    def of(self, i: Instruction) -> Iterator[Access]:
        part = self.program.constants[i["dram"] : i["dram"] + i["bytes"]]
        match i.op:
            case "LDW":
                yield Access("slot", i["slot"], 1, True)
            case "LW":
                yield Access("slot", i["slot"], 1, False)
                yield Access("shadow", 0, 1, True)
            case "LDA" | "ST":
                yield Access("buffer", i["ub"], i["bytes"], i.op == "LDA")
            case "CFG":
                if i["kind"] == 0:
                    self.descriptors[i["index"]] = Descriptor.unpack(part)
                else:
                    self.rows[i["index"]] = RequantizeRow.unpack(part)
                yield Access(("descriptor", "row")[i["kind"]], i["index"], 1, True)
            case "MM":
                yield Access("descriptor", i["desc"], 1, False)
                yield from self._read(self.descriptors[i["desc"]], i)
                yield Access("accumulator", i["acc"], i["len"], True)
                if i["swap"]:
                    yield Access("shadow", 0, 1, False)
            case "RQ":
                yield Access("row", i["table"], 1, False)
                yield Access("accumulator", i["acc"], i["len"], False)
                last = i["cols"] * (4 if i["raw"] else 1)
                stride = self.rows[i["table"]].stride
                yield Access("buffer", i["ub"], stride * (i["len"] - 1) + last, True)
            case "VE":
                for index in {i["a"], i["b"]} if i["func"] == 3 else {i["a"]}:
                    yield Access("descriptor", index, 1, False)
                    yield from self._read(self.descriptors[index], i)
                channels = self.descriptors[i["a"]].channels
                yield Access("buffer", i["ub"], i["len"] * channels, True)
            case _:
                pass  # the dispatcher's own touch nothing

    def _read(self, d: Descriptor, i: Instruction) -> Iterator[Access]:
        images = (i["row"] + i["len"] - 1) // (d.out_h * d.out_w)
        last = (d.height - 1) * d.row_stride + (d.width - 1) * d.pixel_stride + d.channels
        yield Access("buffer", d.base, images * d.image_stride + last, False)


def hazard(program: Program, spec: SystolicSpec) -> str:
    """The first touch of what another engine has not finished with, or nothing."""
    events, accesses = schedule(program, spec).events, Accesses(program)
    touched: dict[str, list[tuple[int, Access]]] = {}
    for number, instruction in enumerate(program.instructions):
        now = events[number].dispatch
        for access in accesses.of(instruction):
            flying = touched.get(access.memory, [])
            flying = [item for item in flying if events[item[0]].retire >= now]
            for earlier, other in flying:
                before = program.instructions[earlier]
                if _conflict(access, other) and not _ordered(
                    before, instruction, access, other
                ):
                    return (
                        f"{number} {instruction.op} touches {access} of {before.op} too early"
                    )
            touched[access.memory] = [*flying, (number, access)]
    return ""


def _conflict(one: Access, other: Access) -> bool:
    apart = one.start + one.count <= other.start or other.start + other.count <= one.start
    return not apart and (one.writes or other.writes)


def _ordered(before: Instruction, after: Instruction, access: Access, other: Access) -> bool:
    """An engine keeps its own order, but what it wrote arrives late, and what DMA stores leaves
    late; LW follows the wave that took the shadow weights.
    """
    late = before.engine == "DMA" and not other.writes
    same = before.engine == after.engine and (
        access.memory != "buffer" or (access.writes and not late)
    )
    return same or (before.op == "MM" and access.memory == "shadow")


def network(rng: np.random.Generator) -> Module:
    net = Net(rng, (1, 2, 7, 6))
    op = net.builder.op
    a = net.conv(net.x, 6, (3, 3), "a", pads=(1, 1, 1, 1))
    b = net.conv(a, 6, (3, 3), "b", pads=(1, 1, 1, 1), groups=6)
    scales = {"a_scale": 0.5, "b_scale": 0.25, "y_scale": 0.75}
    zeros = {"a_zero_point": 5, "b_zero_point": 5, "y_zero_point": 3}
    y = op("qnn.add", [a, b], {**scales, **zeros}, name="add")
    y = op("nn.relu", [y], name="relu")
    y = op("nn.reshape", [y], {"shape": (1, y.elements)}, name="flat")
    return net.finish(net.product(y, 20, "fc"), b)


@pytest.mark.parametrize("array", ARRAYS)
def test_nobody_touches_what_another_engine_has_not_finished_with(
    rng: np.random.Generator, array: tuple[int, int, int, int]
) -> None:
    spec = chip(*array)
    assert hazard(lower(network(rng), spec).program, spec) == ""


def test_each_wait_that_is_dropped_and_matters_is_a_hazard(rng: np.random.Generator) -> None:
    spec = chip(8, 8, 64)
    program = lower(network(rng), spec).program
    plan, steps = schedule(program, spec), program.instructions
    dropped = 0
    for n, step in enumerate(steps):
        if step.engine is None or not step.waits:
            continue  # MARK and SYNC touch nothing
        bare = (*steps[:n], replace(step, waits={}), *steps[n + 1 :])
        broken = replace(program, instructions=bare)
        if schedule(broken, spec).events[n].dispatch < plan.events[n].dispatch:
            dropped += 1
            assert "too early" in hazard(broken, spec), (n, step)
    assert dropped > 20
