"""Neurons as programs: the dialect's neurons bit for bit, each instruction, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ir.spike.programs import ADAPTIVE, IZHIKEVICH, LIF, LOIHI
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS, Tensor, inferred

LAVA: dict[str, Any] = {
    "policy": "loihi.lava",
    "exponent": 0,
    "refractory": 1,
    "lowest": 1 - 2**23,
    "highest": 2**23 - 1,
}
FIRING = {"reset_time": "same", "spikes": "one", "method": "euler"}
BUILT_IN: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "spike.lif": (LIF, 4, 1, {**FIRING, "reset": "to_zero", "compare": "gt"}),
    "spike.adaptive_lif": (ADAPTIVE, 6, 2, {**FIRING, "reset": "subtract", "compare": "ge"}),
    "spike.izhikevich": (IZHIKEVICH, 5, 2, {"substeps": 2}),
}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(BUILT_IN)), st.integers(0, 2**31))
def test_a_neuron_of_floats_written_as_a_program_is_the_neuron(kind: str, seed: int) -> None:
    code, count, states, rule = BUILT_IN[kind]
    rng = np.random.default_rng(seed)
    parameters: list[Array] = [rng.uniform(0.5, 3, 7).astype(np.float32) for _ in range(count)]
    current, start = 4 * rng.normal(size=(40, 2, 7)), np.zeros((states, 1, 1))
    if kind == "spike.izhikevich":  # the paper's ranges
        usual = (0.02, 0.2, -65.0, 6.0, 1.0)
        scales = np.array(usual, np.float32)
        parameters = [x * p / 2 for x, p in zip(scales, parameters, strict=True)]
        current, start = current + 12, np.array([[[-65.0]], [[-13.0]]])
    operands = [current.astype(np.float32), start.astype(np.float32)]
    expected = OPS[kind].evaluate(*operands, *parameters, **rule)
    found = OPS["spike.program"].evaluate(*operands, *parameters, code=code)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()


def test_the_neurons_fire_where_they_are_compared() -> None:
    for kind, (_, count, states, rule) in BUILT_IN.items():
        parameters = [np.full(1, 1, np.float32)] * count
        current = np.full((40, 1, 1), 100, np.float32)
        start = np.zeros((states, 1, 1), np.float32)
        assert OPS[kind].evaluate(current, start, *parameters, **rule)[0].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_loihis_neuron_is_a_program_of_integers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tops = (4096, 4096, 60, 90)
    parameters = [rng.integers(0, top, 5).astype(np.int32) for top in tops]
    current = rng.integers(-(2**16), 2**18, (60, 3, 5)).astype(np.int32)  # wraps and saturates
    start = np.zeros((2, 1, 1), np.int64)
    s, v, final = OPS["spike.program"].evaluate(current, start, *parameters, code=LOIHI)
    start = np.zeros((3, 1, 1), np.int64)
    expected = OPS["spike.loihi"].evaluate(current, start, *parameters, **LAVA)
    assert expected[0].any()
    assert np.array_equal(s, expected[0])
    assert np.array_equal(v, expected[1])
    assert np.array_equal(final, expected[2][:2])


def one(code: str, current: Array) -> list[int]:
    """Voltages of one neuron whose state is v, from 0."""
    dtype = np.int64 if current.dtype == np.int32 else np.float32
    made = OPS["spike.program"].evaluate(
        current[:, None, None], np.zeros((1, 1, 1), dtype), code=code
    )
    found: list[int] = made[1][:, 0, 0].tolist()
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("v = add current 3", [10, -4]),
        ("v = sub current 3", [4, -10]),
        ("v = mul current 3", [21, -21]),
        ("v = min current 3", [3, -7]),
        ("v = max current 3", [7, 3]),
        ("v = gt current 7", [0, 0]),
        ("v = ge current 7", [1, 0]),
        ("v = select current 1 2", [1, 1]),
        ("v = select 0 current 2", [2, 2]),
        ("v = shift current 3", [56, -56]),
        ("v = shift current -1", [3, -4]),  # down
        ("v = decay current 2048", [3, -3]),  # toward zero
    ],
)
def test_instructions_of_integers_by_hand(line: str, expected: list[int]) -> None:
    code = f"states v\n{line}\nspike = gt v 1000"
    assert one(code, np.array([7, -7], np.int32)) == expected


def test_a_spike_is_a_number_up_to_127_and_states_keep_their_last_value() -> None:
    code = "states v\nspike = add v current\nv = add v 1\nv = add v 1"
    current = np.array([3, -9, 500, 1], np.int32)[:, None, None]
    s, v, _ = OPS["spike.program"].evaluate(current, np.zeros((1, 1, 1), np.int64), code=code)
    assert s.ravel().tolist() == [3, 0, 127, 7]
    assert v.ravel().tolist() == [2, 4, 6, 8]
    with np.errstate(invalid="ignore"):
        odd = np.array([np.nan, np.inf], np.float32)[:, None, None]
        s, _, _ = OPS["spike.program"].evaluate(odd, np.zeros((1, 1, 1), np.float32), code=code)
    assert s.ravel().tolist() == [0, 127]


INTS = Tensor((4, 2, 3), "i32")
FLOATS = Tensor((4, 2, 3), "f32")


@pytest.mark.parametrize(
    ("current", "code", "message"),
    [
        (FLOATS, "spike = gt current 1", "C4: a line of states must name at least one, not "
         "none; begin 'states v'"),
        (FLOATS, "states v\nv = add v current", "C4: a line must set spike, not none; end with "
         "'spike = gt v theta'"),
        (FLOATS, "states v\nspike = shift v 1", "C4: line 2, 'spike = shift v 1', must use an "
         "instruction for floats, add, sub, mul, min, max, gt, ge, select, div, not 'shift'"),
        (INTS, "states v\nspike = dif v 1", "C4: line 2, 'spike = dif v 1', must use an "
         "instruction for integers, add, sub, mul, min, max, gt, ge, select, shift, decay, not "
         "'dif'"),
        (INTS, "states v\nspike = gt v 0.5", "C4: line 2, 'spike = gt v 0.5', must take an "
         "integer or what is set above, not '0.5'"),
        (FLOATS, "states v\nspike = gt w 1", "C4: line 2, 'spike = gt w 1', must take a number "
         "or what is set above, not 'w'"),
        (FLOATS, "states v\nspike = gt v", "C4: line 2, 'spike = gt v', must have 2 operands, "
         "not 1"),
        (FLOATS, "states v\nspike > 1", "C4: line 2, 'spike > 1', must be 'name = op "
         "operands', states or parameters"),
        (FLOATS, "states v\nparameters v\nspike = gt v 1", "C4: line 2, 'parameters v', must "
         "name each thing once, not 'v' again"),
        (FLOATS, "states V\nspike = gt v 1", "C4: line 1, 'states V', must list names of small "
         "letters and digits, not 'V'"),
        (FLOATS, "states v\ncurrent = add v 1\nspike = gt v 1", "C4: line 2, 'current = add v "
         "1', must not set 'current', which arrives; take another name"),
        (INTS, "states v\nspike = shift v 64", "C4: line 2, 'spike = shift v 64', must shift "
         "by a literal in -63..63, not '64'"),
        (INTS, "states v\nspike = gt v 9223372036854775808", "C4: line 2, 'spike = gt v "
         "9223372036854775808', must take a number of 64 bits, not '9223372036854775808'"),
        (FLOATS, "states v\n" + "v = add v 1\n" * 64 + "spike = gt v 1", "C4: there must be at "
         "most 64 instructions, not 65"),
        (FLOATS, "states v\nparameters tau\nspike = gt v tau", "C5: there must be 1 parameters "
         "(tau), not 0"),
        (Tensor((4, 2, 3), "i8"), "states v\nspike = gt v 1", "C1: the current must be i32 "
         "[T, ...] with an axis behind T, not tensor<4x2x3xi8>"),
    ],
)  # fmt: skip
def test_a_program_that_is_none_is_refused(current: Tensor, code: str, message: str) -> None:
    start = Tensor((), "i64" if current.dtype == "i32" else "f32")
    with pytest.raises(IRError) as refused:
        inferred("spike.program", [current, start], {"code": code})
    assert str(refused.value) == f"spike.program {message}"
