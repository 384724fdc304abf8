"""Neurons of TrueNorth and SpiNNaker, timestep by timestep by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS, Tensor, inferred


def ran(
    kind: str, current: list[int], own: dict[str, int], **words: Any
) -> tuple[Array, Array]:
    """Spikes and voltages of one neuron from rest."""
    op: Any = OPS[kind]
    parameters = [np.array([n], np.int32) for n in own.values()]
    train = np.array(current, np.int32).reshape(-1, 1)
    s, v, _ = op.evaluate(train, np.array(0, np.int64), *parameters, **words)
    return s[:, 0], v[:, 0]


@pytest.mark.parametrize(
    ("reset", "spikes", "voltages"),
    [
        # a leak of -1 and a threshold of 10: 7, 13 fires, ...
        ("to_zero", [0, 1, 0, 0], [6, 0, -3, 1]),
        ("subtract", [0, 1, 0, 0], [6, 2, -3, 1]),
        ("none", [0, 1, 0, 0], [6, 12, -3, 1]),
    ],
)
def test_truenorth_by_hand(reset: str, spikes: list[int], voltages: list[int]) -> None:
    own = {"leak": -1, "threshold": 10, "floor": 3}
    s, v = ran("spike.truenorth", [7, 7, -50, 5], own, reset=reset)
    assert s.tolist() == spikes
    assert v.tolist() == voltages


def test_truenorths_potential_has_20_bits() -> None:
    own = {"leak": 0, "threshold": 2**20, "floor": 2**20}
    _, v = ran("spike.truenorth", [2**19, -(2**21)], own, reset="none")
    assert v.tolist() == [2**19 - 1, -(2**19 - 1)]


def lif(current: list[int], rounding: str, **changes: int) -> tuple[Array, Array]:
    one = 2**15
    own = {
        "decay": one // 2,
        "r": one,
        "v_rest": 0,
        "v_threshold": 100,
        "v_reset": -7,
    } | changes
    words = {"rounding": rounding, "refractory": own.pop("refractory", 0)}
    return ran("spike.spinnaker", current, own, **words)


@pytest.mark.parametrize(
    ("rounding", "voltages"),
    [
        # half of 5 is 2.5; v = drive - half of (drive - v), and the same of -5
        ("toward_zero", [5 - 2, -5 - -4]),
        ("nearest", [5 - 3, -5 - -3]),
        ("floor", [5 - 2, -5 - -4]),
    ],
)
def test_spinnakers_product_is_rounded_by_name(rounding: str, voltages: list[int]) -> None:
    _, v = lif([5, -5], rounding)
    assert v.tolist() == voltages


def test_toward_zero_and_down_differ_below_zero() -> None:
    assert lif([-5], "toward_zero")[1].tolist() == [-5 - -2]
    assert lif([-5], "floor")[1].tolist() == [-5 - -3]


def test_spinnaker_is_silent_after_a_spike() -> None:
    s, v = lif([400, 400, 400, 400], "nearest", refractory=2)
    assert s.tolist() == [1, 0, 0, 1]
    assert v.tolist() == [-7, -7, -7, -7]


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5))
def test_spinnakers_voltage_has_32_bits(current: list[int]) -> None:
    _, v = lif(current, "floor", r=2**31 - 1, v_rest=2**31 - 1, v_threshold=2**31 - 1)
    assert np.all((v >= -(2**31)) & (v < 2**31))


def test_a_negative_silence_is_refused() -> None:
    frame = [Tensor((3, 1), "i32"), Tensor((), "i64"), *[Tensor((1,), "i32")] * 5]
    with pytest.raises(IRError) as refused:
        inferred("spike.spinnaker", frame, {"rounding": "floor", "refractory": -1})
    assert str(refused.value) == "spike.spinnaker C5: refractory must be 0 or more, not -1"
