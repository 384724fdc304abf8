"""What a routine of the vector unit counts, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.simulators.systolic.routines import Routine, Step, counts
from tetrapla.simulators.systolic.views import Place

A, B = Place(0, 0, "f32", (2, 3)), Place(1, 64, "f32", (2, 3))
ROW = Place(1, 64, "f32", (3,))


def step(kind: str, operands: tuple[int, ...], result: int, elements: int = 6) -> Step:
    return Step(f"nn.{kind}", kind, operands, (result,), elements)


@pytest.mark.parametrize(
    ("places", "steps", "operations", "functions"),
    [
        ((A,), (step("relu", (0,), 2),), 6, 0),
        ((A, B), (step("add", (0, 1), 2),), 12, 0),
        # a row of three beside six
        ((A, ROW), (step("add", (0, 1), 2),), 9, 0),
        # a value with itself; a scalar of the routine's own (9) is free
        ((A,), (step("mul", (0, 0), 2),), 12, 0),
        ((A,), (step("mul", (0, 9), 2),), 6, 0),
        # what a step made is an operand of the next
        ((A, B), (step("add", (0, 1), 2), step("mul", (2, 0), 3)), 24, 0),
        ((A, B), (step("add", (0, 1), 2), step("tanh", (2,), 3)), 12, 6),
        # windows that overlap: 24 taps of six elements
        ((A,), (step("max_pool2d", (0,), 2, 24),), 24, 0),
    ],
)
def test_operand_elements_are_operations_and_functions_stand_apart(
    places: tuple[Place, ...], steps: tuple[Step, ...], operations: int, functions: int
) -> None:
    result = Place(steps[-1].results[0], 128, "f32", (2, 3))
    found = counts(Routine("r", places, (result,), steps, {9: np.array([2], np.float32)}))
    assert found == {
        "vector.op": operations,
        "vector.function": functions,
        "unified_buffer.read_byte": sum(4 * place.elements for place in places),
        "unified_buffer.write_byte": 24,
    }
