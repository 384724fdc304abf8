"""What the comparison looks at, without the RTL: a second Python machine stands for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, chip, lower
from tetrapla.simulators.rtl.compare import memories_of
from tetrapla.simulators.rtl.lockstep import Lockstep
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.written import Written, written
from tetrapla.simulators.systolic.machine import started
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import Schedule, schedule
from tetrapla.simulators.systolic.values import State, step

SPEC = chip(4, 4, 64, 4, "vector.lanes=4")


class Twin:
    """Looks as a model does; what it holds is computed when it is dispatched."""

    def __init__(self, program: Program, plan: Schedule, state: State) -> None:
        self._program, self._plan, self._state = program, plan, state
        self._cycles: Sequence[int] = ()
        self._look: Callable[[int], None] | None = None

    def watch(self, cycles: Sequence[int], look: Callable[[int], None]) -> None:
        self._cycles, self._look = cycles, look

    def run(self, spoil: Callable[[int], None]) -> None:
        done = 0
        assert self._look is not None
        for cycle in self._cycles:
            # an instruction that goes later has written nothing by then
            while done < len(self._plan.dispatch) and self._plan.dispatch[done] <= cycle - 2:
                step(self._state, self._program.instructions[done])
                done += 1
            spoil(cycle)
            self._look(cycle)
            spoil(cycle)


def network(rng: np.random.Generator) -> tuple[Program, dict[str, np.ndarray]]:
    net = Net(rng, (1, 5, 8, 8))
    x = net.conv(net.x, 9, (3, 3), "a", pads=(1, 1, 1, 1))
    y = net.conv(x, 9, (3, 3), "b", strides=(2, 2))
    inputs = {name: x[:1] for name, x in net.inputs(1).items()}
    return lower(net.finish(y), SPEC).program, inputs


def looked(
    program: Program, spec: SystolicSpec, inputs: dict[str, np.ndarray], byte: int, at: int
) -> Lockstep:
    """Run two Python machines; one byte is wrong while the comparison looks in one cycle."""
    plan = schedule(program, spec)
    one, other = (started(program, inputs)[0] for _ in range(2))
    probe, twin = Lockstep(program, plan, one), Twin(program, plan, other)
    held = memories_of(other)
    assert np.shares_memory(held.buffer, other.buffer)

    def spoil(cycle: int) -> None:
        if cycle == at:
            held.buffer[byte] ^= 1

    probe.attach(cast("Model", twin), held)
    twin.run(spoil)
    return probe


def test_a_byte_that_is_wrong_for_a_moment_is_found(rng: np.random.Generator) -> None:
    program, inputs = network(rng)
    plan = schedule(program, SPEC)
    number = next(n for n, i in enumerate(program.instructions) if i.op == "RQ")
    address = program.instructions[number]["ub"]
    probe = looked(program, SPEC, inputs, address, plan.retire[number] + 2)
    buffer = [n for n, i in enumerate(program.instructions) if i.op in ("RQ", "LDA")]
    assert [probe.differing[n] for n in buffer] == [int(n == number) for n in buffer]


def test_every_result_is_looked_at_and_only_partial_sums_are_left_out(
    rng: np.random.Generator,
) -> None:
    program, inputs = network(rng)
    probe = looked(program, SPEC, inputs, 0, -1)
    memories = dict.fromkeys(("buffer", "dram"), True)
    for number, (instruction, parts) in enumerate(
        zip(program.instructions, written(program), strict=True)
    ):
        if any(part.memory in memories for part in parts):
            assert probe.compared[number] == sum(p.positions.size for p in parts), instruction
    # of the sums those that RQ reads: 8 x 8 pixels and then 3 x 3, of 9 channels in 3 tiles
    sums = sum(probe.compared[n] for n, i in enumerate(program.instructions) if i.op == "MM")
    assert sums >= (64 + 9) * 9
    # DRAM is a copy in this test, so that stores differ; nothing else does
    stores = {n for n, i in enumerate(program.instructions) if i.op == "ST"}
    assert {n for n, count in enumerate(probe.differing) if count} <= stores


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (Written("buffer", slice(0, 8)), Written("buffer", slice(7, 9)), True),
        (Written("buffer", slice(0, 8)), Written("buffer", slice(8, 9)), False),
        (Written("buffer", slice(0, 8)), Written("dram", slice(0, 8)), False),
        # two parts of a concatenation, row by row
        (Written("buffer", np.array([0, 1, 4, 5])), Written("buffer", np.array([2, 3])), False),
        (Written("buffer", np.array([0, 1, 4, 5])), Written("buffer", slice(3, 5)), True),
    ],
)
def test_what_two_instructions_have_in_common(one: Written, other: Written, meet: bool) -> None:
    assert one.meets(other) is meet
    assert other.meets(one) is meet
