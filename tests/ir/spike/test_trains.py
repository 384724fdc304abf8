"""Encoders, delays, listed synapses and float weights: numbers by hand, laws, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.op import OPS, Tensor, evaluated, inferred


def test_a_rate_is_spread_evenly() -> None:
    x = np.array([0.25, 0.5, 1, 2, -1], np.float32)
    s = evaluated("spike.encode_rate", [x], {"timesteps": 8, "scale": 1.0})
    # floor(t / 4 + 1 / 2) rises in timesteps 1 and 5 (from 0)
    assert s[:, 0].tolist() == [0, 1, 0, 0, 0, 1, 0, 0]
    assert s[:, 1].tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    assert s.sum(0).tolist() == [2, 4, 8, 8, 0]


def test_a_rate_with_draws_spikes_where_a_draw_is_below_it() -> None:
    x, draws = np.array([0.5], np.float32), np.array([[0], [0.49], [0.5]], np.float32)
    s = evaluated("spike.encode_rate", [x, draws], {"timesteps": 3, "scale": 1.0})
    assert s[:, 0].tolist() == [1, 1, 0]


def test_the_larger_number_spikes_earlier_and_decodes_to_its_time() -> None:
    x = np.array([4, 3, 2, 0, -1], np.float32)
    s = evaluated("spike.encode_latency", [x], {"timesteps": 5, "scale": 4.0})
    assert s.sum(0).tolist() == [1, 1, 1, 0, 0]
    assert evaluated("spike.decode_first", [s], {}).tolist() == [0, 1, 2, 5, 5]


def test_a_change_spikes_with_its_sign_one_threshold_a_timestep() -> None:
    x = np.array([[0.4], [1.2], [1.2], [0], [0], [0]], np.float32)
    s = evaluated("spike.encode_delta", [x], {"threshold": 0.5})
    # the level goes 0, 0.5, 1, 0.5, 0
    assert s[:, 0].tolist() == [0, 1, 1, -1, -1, 0]


def test_every_axon_has_its_own_delay() -> None:
    x = np.arange(1, 9, dtype=np.int8).reshape(4, 2)
    y = evaluated("spike.delay", [x, np.array([1, 9], np.int32)], {})
    assert y.tolist() == [[0, 0], [1, 0], [3, 0], [5, 0]]


def dense(rng: np.random.Generator) -> dict[str, Any]:
    weight = rng.integers(-128, 128, (5, 7)).astype(np.int16)
    source, target = (each.astype(np.int32).ravel() for each in np.indices(weight.shape))
    return {
        "s": (rng.random((6, 2, 5)) < 0.4).astype(np.int8),
        "w": weight,
        "list": [source, target, weight.ravel()],
    }


def test_listed_synapses_are_a_matrix_where_all_are_listed(rng: np.random.Generator) -> None:
    made = dense(rng)
    expected = evaluated("spike.matmul", [made["s"], made["w"]], {"exponent": 2})
    held = {"size": 7, "exponent": 2}
    found = evaluated("spike.sparse", [made["s"], *made["list"]], held)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)
    floats = [made["w"].astype(np.float32)]
    found = evaluated(
        "spike.sparse",
        [made["s"], *made["list"][:2], floats[0].ravel()],
        {"size": 7, "exponent": 0},
    )
    expected = evaluated("spike.matmul", [made["s"], *floats], {"exponent": 0})
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)  # whole numbers: no rounding


def test_a_delay_of_every_synapse_alike_is_a_delay_of_the_axons(
    rng: np.random.Generator,
) -> None:
    made = dense(rng)
    held = {"size": 7, "exponent": 0}
    late = evaluated("spike.delay", [made["s"], np.array(2, np.int32)], {})
    expected = evaluated("spike.sparse", [late, *made["list"]], held)
    delays = np.full(35, 2, np.int32)
    found = evaluated("spike.sparse", [made["s"], *made["list"], delays], held)
    assert np.array_equal(found, expected)
    assert found[2:].any()


def test_synapses_of_one_pair_add_up_each_after_its_delay() -> None:
    s = np.array([[1], [0], [0]], np.int8)
    ends = [np.zeros(3, np.int32)] * 2
    weight, delays = np.array([1, 2, 4], np.int8), np.array([0, 0, 2], np.int32)
    y = evaluated("spike.sparse", [s, *ends, weight, delays], {"size": 1, "exponent": 0})
    assert y[:, 0].tolist() == [3, 0, 4]


def test_float_weights_carry_payloads_through_products_and_windows() -> None:
    s = np.array([[[0.5, 2]]], np.float32)
    w, bias = np.array([[1], [0.25]], np.float32), np.array([1], np.float32)
    y = evaluated("spike.matmul", [s, w, bias], {"exponent": 0})
    assert y.dtype == np.float32
    assert y.tolist() == [[[2]]]
    image = s.reshape(1, 1, 1, 1, 2)
    geometry: dict[str, Any] = {
        "strides": (1, 1),
        "pads": (0, 0, 0, 0),
        "dilations": (1, 1),
        "groups": 1,
        "exponent": 0,
    }
    y = evaluated("spike.conv2d", [image, w.reshape(1, 1, 1, 2), bias], geometry)
    assert y.dtype == np.float32
    assert y.ravel().tolist() == [2]


S = Tensor((4, 2, 5), "i8")


@pytest.mark.parametrize(
    ("kind", "types", "attributes", "message"),
    [
        (
            "spike.matmul",
            [S, Tensor((5, 3), "i32")],
            {"exponent": 0},
            "spike.matmul C3: weights must be i8, i16 or f32, not tensor<5x3xi32>",
        ),
        (
            "spike.matmul",
            [Tensor((4, 2, 5), "f32"), Tensor((5, 3), "i8")],
            {"exponent": 0},
            "spike.matmul C1: the operand must be an i8 spike train of rank 3 or more, "
            "not tensor<4x2x5xf32>",
        ),
        (
            "spike.matmul",
            [S, Tensor((5, 3), "f32")],
            {"exponent": 1},
            "spike.matmul C2: f32 weights have exponent 0, not 1",
        ),
        (
            "spike.matmul",
            [Tensor((4, 2, 2**15), "i8"), Tensor((2**15, 3), "i16")],
            {"exponent": 0},
            "spike.matmul C2: the largest current must fit 31 bits, not 1073741824",
        ),
        (
            "spike.matmul",
            [S, Tensor((5, 3), "f32"), Tensor((3,), "i32")],
            {"exponent": 0},
            "spike.matmul C4: the bias must be f32, not tensor<3xi32>",
        ),
        (
            "spike.delay",
            [Tensor((4, 5), "f64"), Tensor((), "i32")],
            {},
            "spike.delay C1: the operand must be i8, i32 or f32 with a time axis, "
            "not tensor<4x5xf64>",
        ),
        (
            "spike.delay",
            [S, Tensor((4, 2, 5), "i32")],
            {},
            "spike.delay C2: steps must be i32 and broadcast to tensor<2x5xi32>, "
            "not tensor<4x2x5xi32>",
        ),
        (
            "spike.sparse",
            [S, Tensor((3,), "i32"), Tensor((2,), "i32"), Tensor((3,), "i8")],
            {"size": 2, "exponent": 0},
            "spike.sparse C4: target must be tensor<3xi32>, not tensor<2xi32>",
        ),
        (
            "spike.sparse",
            [S, *[Tensor((3,), "i32")] * 2, Tensor((3,), "i8")],
            {"size": 0, "exponent": 0},
            "spike.sparse C5: size must be positive, not 0",
        ),
        (
            "spike.encode_rate",
            [Tensor((2,), "f32"), Tensor((3, 2), "f32")],
            {"timesteps": 4, "scale": 1.0},
            "spike.encode_rate C4: the draws must be tensor<4x2xf32>, not tensor<3x2xf32>",
        ),
        (
            "spike.encode_latency",
            [Tensor((2,), "f32")],
            {"timesteps": 4, "scale": 0.0},
            "spike.encode_latency C3: the scale must not be zero, not 0.0",
        ),
        (
            "spike.encode_delta",
            [Tensor((2,), "f32")],
            {"threshold": 0.0},
            "spike.encode_delta C2: the threshold must be positive and finite, not 0.0",
        ),
        (
            "spike.decode_first",
            [Tensor((2,), "f32")],
            {},
            "spike.decode_first C1: the operand must be an i8 spike train of rank 1 or more, "
            "not tensor<2xf32>",
        ),
    ],
)
def test_a_constraint_that_does_not_hold_is_named(
    kind: str, types: list[Tensor], attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(IRError) as caught:
        inferred(kind, types, attributes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("source", "target", "delay", "message"),
    [
        (0, 0, -1, "a delay must be 0 or more timesteps, not -1; mend it"),
        (
            5,
            0,
            0,
            "spike.sparse: source must count from 0 to 4, not 5; mend the list of synapses",
        ),
        (
            0,
            -1,
            0,
            "spike.sparse: target must count from 0 to 2, not -1; mend the list of synapses",
        ),
    ],
)
def test_a_list_of_synapses_with_wrong_numbers_is_refused(
    source: int, target: int, delay: int, message: str
) -> None:
    numbers = [np.array([each], np.int32) for each in (source, target)]
    operands = [np.zeros((2, 1, 5), np.int8), *numbers, np.ones(1, np.int8)]
    held: dict[str, Any] = {"size": 3, "exponent": 0}
    with pytest.raises(ModelError) as caught:
        OPS["spike.sparse"].evaluate(*operands, np.array([delay], np.int32), **held)
    assert str(caught.value) == message
