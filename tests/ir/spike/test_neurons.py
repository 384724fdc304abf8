"""Neurons in floats: numbers checkable by hand, laws of the methods, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS, Tensor, inferred

FIRING = {"reset": "to_zero", "reset_time": "same", "compare": "gt", "spikes": "one"}
NEVER = float("inf")


def run(
    kind: str, current: list[float], parameters: list[float], **rule: Any
) -> tuple[list[int], list[float], Array]:
    """Spikes and voltages of one neuron by timestep, and its last state."""
    given = [np.array(each, np.float32) for each in (0, *parameters)]
    made = OPS[kind].evaluate(np.array(current, np.float32)[:, None], *given, **rule)
    s, v, final = made
    return s[:, 0].tolist(), v[:, 0].tolist(), final[:, 0]


@pytest.mark.parametrize(
    ("change", "spikes", "voltages"),
    [
        # thresholds of 2, a current of 1.5: 1.5, 3 -> reset, ...
        ({}, [0, 1, 0, 1], [1.5, 0, 1.5, 0]),
        ({"reset": "subtract"}, [0, 1, 1, 0], [1.5, 1, 0.5, 2]),
        # the third step computes 3 + 1.5, and resets it because the second one fired
        ({"reset_time": "next"}, [0, 1, 0, 0], [1.5, 3, 0, 1.5]),
        ({"reset": "subtract", "reset_time": "next"}, [0, 1, 1, 0], [1.5, 3, 2.5, 2]),
    ],
)
def test_an_integrator_fires_and_resets_by_its_words(
    change: dict[str, str], spikes: list[int], voltages: list[float]
) -> None:
    s, v, _ = run("spike.if", [1.5] * 4, [1, 2], **{**FIRING, **change})
    assert (s, v) == (spikes, voltages)


def test_at_its_threshold_a_neuron_fires_by_ge_alone() -> None:
    for compare, spike in (("gt", 0), ("ge", 1)):
        s, _, _ = run("spike.if", [2], [1, 2], **{**FIRING, "compare": compare})
        assert s == [spike]


def test_many_spikes_are_as_many_thresholds_as_the_voltage_holds() -> None:
    rule = {**FIRING, "reset": "subtract", "spikes": "many"}
    s, v, _ = run("spike.if", [7, 0, 1000], [1, 2], **rule)
    assert s == [3, 0, 127]  # a train holds no more
    assert v == [1, 1, 747]


def test_a_reset_to_a_value_takes_v_reset() -> None:
    s, v, _ = run("spike.if", [3, 3], [1, 2, -1], **{**FIRING, "reset": "to_value"})
    assert (s, v) == ([1, 0], [-1, 2])


@pytest.mark.parametrize(
    ("method", "voltages"),
    [
        # toward 8 from 0 with tau = 2: halves the distance
        ("euler", [4, 6, 7]),
        ("zoh", [8 * (1 - np.exp(-t / 2)) for t in (1, 2, 3)]),
        # 4 comes in each time, and e^-1/2 of what was there stays
        ("exponential", [4, 4 + 4 * np.exp(-0.5), 4 + 4 * np.exp(-0.5) + 4 * np.exp(-1)]),
    ],
)
def test_a_leaky_neuron_approaches_by_its_method(method: str, voltages: list[float]) -> None:
    s, v, _ = run("spike.lif", [4, 4, 4], [2, 2, 0, NEVER], method=method, **FIRING)
    assert s == [0, 0, 0]
    # three steps of at most four roundings each
    assert np.abs(np.array(v) - voltages).max() <= 12 * 2.0**-24 * 8


def test_zoh_does_not_depend_on_how_finely_time_is_cut() -> None:
    coarse = run("spike.lif", [4], [2, 1, 1, NEVER], method="zoh", **FIRING)[1][-1]
    fine = run("spike.lif", [4] * 8, [16, 1, 1, NEVER], method="zoh", **FIRING)[1][-1]
    assert abs(coarse - fine) <= 8 * 4 * 2.0**-24 * 5


def test_eulers_method_comes_closer_by_half_where_timesteps_are_halved() -> None:
    exact = 4 * (1 - np.exp(-1.0))
    errors = [
        abs(
            run("spike.lif", [4.0] * n, [n, 1, 0, NEVER], method="euler", **FIRING)[1][-1]
            - exact
        )
        for n in (64, 128)
    ]
    assert 1.9 < errors[0] / errors[1] < 2.1  # of the first order


def test_a_cuba_neuron_is_two_leaky_ones_in_a_row() -> None:
    current = [3.0, 0, 1, 0, 0, 2]
    for method in ("euler", "zoh", "exponential"):
        i = run("spike.lif", current, [4, 2, 0, NEVER], method=method, **FIRING)[1]
        v = run("spike.lif", i, [8, 5, 1, NEVER], method=method, **FIRING)[1]
        found = run("spike.cuba_lif", current, [4, 8, 5, 1, 2, NEVER], method=method, **FIRING)
        assert found[1] == v
        assert found[2][1] == np.float32(i[-1])


def test_an_adaptive_threshold_rises_with_spikes_and_decays() -> None:
    # a current of 2 into tau = 1 is v = 2; the threshold 1 rises by 2, and decays by half
    rule = {**FIRING, "method": "euler"}
    s, _, final = run("spike.adaptive_lif", [2] * 4, [1, 1, 0, 1, 2, 2], **rule)
    # h before each step's test: 0, 2 / 2 = 1 (2 > 2 is not so), 0.5, (0.5 + 2) / 2 = 1.25
    assert s == [1, 0, 1, 0]
    assert final[1] == 1.25


def test_a_resonator_turns_a_quarter_and_fires_in_its_own_rhythm() -> None:
    quarter = {"method": "exponential", "reset": "none", "compare": "gt"}
    parameters = [NEVER, np.pi / 2, 0.5]
    s, v, _ = run("spike.resonate", [1, 0, 0, 0, 0, 0], parameters, **quarter)
    # the current is at the real part; a quarter later it is the voltage, then turns away
    assert np.allclose(v, [0, 1, 0, -1, 0, 1], rtol=0, atol=6 * 4 * 2.0**-24)
    assert s == [0, 1, 0, 0, 0, 1]
    # pulses a period apart add up; half a period apart they cancel
    high = [NEVER, np.pi / 2, 1.5]
    assert sum(run("spike.resonate", [1, 0, 0, 0, 1, 0], high, **quarter)[0]) == 1
    assert sum(run("spike.resonate", [1, 0, 1, 0, 0, 0], high, **quarter)[0]) == 0


def test_a_resonator_is_reset_to_the_imaginary_axis() -> None:
    given = [np.array(x, np.float32) for x in (0, 2, 1, 0.1, 0.25)]
    rule = {"method": "euler", "reset": "to_value", "compare": "gt"}
    current = np.array([[1], [1]], np.float32)
    s, v, final = OPS["spike.resonate"].evaluate(current, *given, **rule)
    # z = 1; then v = 0.5 * 0 + 1 * 1 > 0.1, and z = 0.25 i
    assert s[:, 0].tolist() == [0, 1]
    assert v[:, 0].tolist() == [0, 0.25]
    assert final[:, 0].tolist() == [0.25, 0]


def test_izhikevichs_regular_spiking_neuron_is_the_papers_program() -> None:
    a, b, c, d, current = 0.02, 0.2, -65.0, 8.0, 10.0
    v, u, expected = -65.0, b * -65.0, []
    for _ in range(300):  # the program of the paper, for one neuron, in float64
        fired = v >= 30
        expected.append(int(fired))
        if fired:
            v, u = c, u + d
        for _ in range(2):
            v += 0.5 * (0.04 * v**2 + 5 * v + 140 - u + current)
        u += a * (b * v - u)
    start = np.array([[-65.0], [b * -65.0]])
    arriving = np.full((300, 1), current)
    given = [np.array(x) for x in (a, b, c, d, 1.0)]
    s, _, _ = OPS["spike.izhikevich"].evaluate(arriving, start, *given, substeps=2)
    assert sum(expected) > 5
    assert s[:-1, 0].tolist() == expected[1:]  # it resets a timestep later


F32 = Tensor((4, 2, 3), "f32")
ONE = Tensor((3,), "f32")
LOIHI: dict[str, Any] = {
    "policy": "loihi.lava",
    "exponent": 0,
    "refractory": 1,
    "lowest": -1,
    "highest": 1,
}


@pytest.mark.parametrize(
    ("kind", "types", "change", "message"),
    [
        (
            "spike.if",
            [Tensor((4, 2), "i32"), ONE, ONE, ONE],
            {},
            "spike.if C1: the current must be f32 [T, ...] with an axis behind T, "
            "not tensor<4x2xi32>",
        ),
        (
            "spike.if",
            [F32, Tensor((2, 2, 3), "f32"), ONE, ONE],
            {},
            "spike.if C2: start must be f32 and broadcast to tensor<1x2x3xf32>, "
            "not tensor<2x2x3xf32>",
        ),
        (
            "spike.if",
            [F32, Tensor((), "f64"), ONE, ONE],
            {},
            "spike.if C2: start must be f32 and broadcast to tensor<1x2x3xf32>, "
            "not tensor<f64>",
        ),
        (
            "spike.if",
            [F32, ONE, ONE, Tensor((5, 2, 3), "f32")],
            {},
            "spike.if C3: v_threshold must be f32 and broadcast to tensor<2x3xf32>, "
            "not tensor<5x2x3xf32>",
        ),
        (
            "spike.if",
            [F32, ONE, ONE, ONE],
            {"compare": "less"},
            "spike.if C4: compare must be one of gt, ge, not 'less'",
        ),
        (
            "spike.if",
            [F32, ONE, ONE, ONE],
            {"reset": "to_value"},
            "spike.if C5: v_reset must be given exactly with reset to_value, not absent with "
            "to_value",
        ),
        (
            "spike.if",
            [F32, ONE, ONE, ONE],
            {"spikes": "many"},
            "spike.if C5: many spikes and reset_time held need reset subtract, not to_zero",
        ),
        (
            "spike.if",
            [F32, ONE, ONE, ONE],
            {"spikes": "many", "reset": "subtract", "reset_time": "next"},
            "spike.if C5: many spikes need reset_time same, not next",
        ),
        (
            "spike.izhikevich",
            [F32, *[ONE] * 6],
            {"substeps": 0},
            "spike.izhikevich C4: substeps must lie in 1..1000, not 0",
        ),
        (
            "spike.loihi",
            [],
            {"policy": "loihi.nengo", "exponent": 1},
            "spike.loihi C5: the exponent must lie in -8..7 for loihi.lava and be 0 for "
            "others, not 1 for loihi.nengo",
        ),
        (
            "spike.loihi",
            [],
            {"refractory": 2},
            "spike.loihi C6: refractory must be 1 for loihi.lava and 1 to 64 for others, "
            "not 2 for loihi.lava",
        ),
        (
            "spike.loihi",
            [],
            {"policy": "loihi.brian2"},
            "spike.loihi C7: lowest and highest must be within 24 bits, 0 between them and for "
            "loihi.brian2 both 0, not -1 and 1 for loihi.brian2",
        ),
    ],
)
def test_a_constraint_that_does_not_hold_is_named(
    kind: str, types: list[Tensor], change: dict[str, Any], message: str
) -> None:
    known: dict[str, dict[str, Any]] = {"spike.if": {**FIRING}, "spike.loihi": LOIHI}
    base = known.get(kind, {})
    i32 = Tensor((3,), "i32")
    given = types or [Tensor((4, 2, 3), "i32"), Tensor((), "i64"), i32, i32, i32, i32]
    with pytest.raises(IRError) as caught:
        inferred(kind, given, {**base, **change})
    assert str(caught.value) == message


def test_a_loihi_parameter_without_bits_is_refused_by_its_value() -> None:
    current = np.zeros((1, 3), np.int32)
    given = [np.array(each, np.int32) for each in (0, [0, 4096, 1], 5, 0)]
    with pytest.raises(ModelError) as caught:
        OPS["spike.loihi"].evaluate(current, np.array(0), *given, **LOIHI)
    assert str(caught.value) == (
        "voltage_decay of a Loihi neuron must be 0 to 4095, not 4096; scale weights and "
        "threshold together, or choose another neuron"
    )
