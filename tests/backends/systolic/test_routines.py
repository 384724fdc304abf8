"""Routines of the vector unit: their time and actions by hand, their text, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic.lanes import step_cycles
from tetrapla.simulators.systolic.routines import (
    Routine,
    Step,
    check,
    counts,
    execute,
    issue_cycles,
    routine_dict,
    routine_of,
)
from tetrapla.simulators.systolic.views import Place

# int8 [2, 3] at 0, under scale 0.5 and zero point 1, through exp to float32 at 8
ROUTINE = Routine(
    "exp",
    (Place(0, 0, "i8", (2, 3)),),
    (Place(3, 8, "f32", (3, 2), (("transpose", (1, 0)),)),),
    (
        Step("qnn.dequantize", "d", (0, 1), (2,), 6, {"zero_point": 1, "axis": 0}),
        Step("nn.exp", "exp", (2,), (3,), 6),
    ),
    {1: np.array([0.5], np.float32)},
)


def test_a_routine_computes_on_the_buffer_of_every_invocation() -> None:
    buffer = np.zeros((2, 32), np.int8)
    buffer[:, :6] = [[1, 3, 5, 1, 1, 1], [-1, 1, 1, 1, 1, 3]]
    execute(buffer, ROUTINE)
    found = buffer[:, 8:].copy().view(np.float32).reshape(2, 3, 2).transpose(0, 2, 1)
    powers = np.array([[[0, 1, 2], [0, 0, 0]], [[-1, 0, 0], [0, 0, 1]]], np.float32)
    np.testing.assert_array_equal(found, np.exp(powers.astype(np.float64)).astype(np.float32))


def test_its_time_is_that_of_its_steps() -> None:
    assert issue_cycles(ROUTINE, 4) == 2 * 1 + 2 * 8  # ceil(6 / 4) x (1, then 8)
    assert issue_cycles(ROUTINE, 256) == 1 + 8
    assert issue_cycles(replace(ROUTINE, steps=()), 256) == 1


def test_a_sort_takes_the_stages_of_a_bitonic_network() -> None:
    assert step_cycles("nn.top_k", 8, 8) == 6  # 3 levels: 1 + 2 + 3 stages
    assert step_cycles("nn.top_k", 9, 4) == 3 * 10  # 4 levels, three rows of lanes each
    assert step_cycles("nn.top_k", 1, 4) == 1


def test_its_actions() -> None:
    assert counts(ROUTINE) == {
        "vector.op": 6,
        "vector.function": 6,
        "unified_buffer.read_byte": 6,
        "unified_buffer.write_byte": 24,
    }


def test_a_slice_counts_as_its_own_elements() -> None:
    whole = Place(0, 0, "i8", (2, 3), (("slice", (0, 1, 2, 3, 1, 1)),))
    assert whole.traffic_bytes == 6
    assert whole.value_bytes == 4
    np.testing.assert_array_equal(whole.positions(), [[1, 2], [4, 5]])


def test_it_round_trips_through_json() -> None:
    again = routine_of(json.loads(json.dumps(routine_dict(ROUTINE))))
    assert replace(again, immediates={}) == replace(ROUTINE, immediates={})
    assert again.immediates.keys() == {1}
    np.testing.assert_array_equal(again.immediates[1], ROUTINE.immediates[1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            replace(ROUTINE, steps=(Step("nn.matmul", "m", (0, 0), (3,), 6),)),
            "routine 'exp': an operator must be one of the vector unit's, not nn.matmul; "
            "compile it again",
        ),
        (
            replace(ROUTINE, immediates={}),
            "routine 'exp': reads value 1, which no step before it makes; compile it again",
        ),
        (
            replace(ROUTINE, results=(replace(ROUTINE.results[0], value=9),)),
            "routine 'exp': reads value 9, which no step before it makes; compile it again",
        ),
        (
            replace(ROUTINE, results=(replace(ROUTINE.results[0], address=9),)),
            "routine 'exp': ub end must be at most 32, not 33; compile it again",
        ),
    ],
)
def test_what_the_machine_cannot_run_is_refused(changed: Routine, message: str) -> None:
    check(ROUTINE, 32)
    with pytest.raises(ModelError) as refused:
        check(changed, 32)
    assert str(refused.value) == message
