"""The float operators against ONNX Runtime: equal where the result is exact, else in ulp.

Ours is within 0.51 ulp of the real function (float64 inside, one rounding); a test says so
against float64. ONNX Runtime's kernels state no error, so its distance is bounded by
``8 * 2**-23 * max(|y|, 1)``: their float32 polynomials lose bits where a result cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.op import OPS

import_module("tetrapla.ir.dialects")  # fills OPS

EPSILON = float(np.finfo(np.float32).eps)
EDGES = [0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1.0, -1.0, np.inf, -np.inf, np.nan]


def _runtime(op_type: str, operands: list[Array], **attributes: Any) -> Array:
    names = [f"x{i}" for i in range(len(operands))]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in zip(names, operands, strict=True)
    ]
    node = helper.make_node(op_type, names, ["y"], **attributes)
    output = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([node], "one", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, dict(zip(names, operands, strict=True)))
    return np.asarray(result)


def _ours(kind: str, operands: list[Array], **attributes: Any) -> Array:
    with np.errstate(all="ignore"):
        made = OPS[kind].evaluate(*operands, **attributes)
    assert isinstance(made, np.ndarray)
    return made


def _numbers(rng: np.random.Generator) -> Array:
    drawn = np.concatenate([rng.normal(0, 3, 50_000), rng.normal(0, 40, 10_000), EDGES])
    return drawn.astype(np.float32)


def _close(ours: Array, theirs: Array) -> None:
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    # assumed: ONNX Runtime states no error of its kernels; ours are within 0.51 ulp
    bound = 8 * EPSILON * np.maximum(np.abs(ours), 1)
    with np.errstate(invalid="ignore"):
        near = (np.abs(ours - theirs) <= bound) | (ours == theirs)
    both_nan = np.isnan(ours) & np.isnan(theirs)
    assert np.count_nonzero(~(near | both_nan)) == 0


@pytest.mark.parametrize(
    "op_type", ["Abs", "Neg", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal"]
)
def test_exact_functions_are_equal(op_type: str, rng: np.random.Generator) -> None:
    x = _numbers(rng)
    ours = _ours(f"nn.{op_type.lower()}", [x])
    assert np.array_equal(ours, _runtime(op_type, [x]), equal_nan=True)


def test_sign_is_equal_but_keeps_nan(rng: np.random.Generator) -> None:
    x = _numbers(rng)
    ours = _ours("nn.sign", [x])
    known = ~np.isnan(x)
    assert np.array_equal(ours[known], _runtime("Sign", [x])[known])
    assert np.isnan(ours[~known]).all()


@pytest.mark.parametrize(
    ("kind", "op_type"),
    [
        ("exp", "Exp"),
        ("log", "Log"),
        ("sin", "Sin"),
        ("cos", "Cos"),
        ("tanh", "Tanh"),
        ("erf", "Erf"),
        ("sigmoid", "Sigmoid"),
        ("softplus", "Softplus"),
        ("hard_swish", "HardSwish"),
    ],
)
def test_functions_are_near(kind: str, op_type: str, rng: np.random.Generator) -> None:
    x = _numbers(rng)
    x = x[np.isfinite(x)]
    _close(_ours(f"nn.{kind}", [x]), _runtime(op_type, [x]))


@pytest.mark.parametrize(
    ("kind", "op_type", "attributes"),
    [
        ("gelu", "Gelu", {"approximate": "none"}),
        ("gelu", "Gelu", {"approximate": "tanh"}),
        ("elu", "Elu", {"alpha": 0.3}),
        ("leaky_relu", "LeakyRelu", {"alpha": 0.3}),
        ("hard_sigmoid", "HardSigmoid", {"alpha": 0.2, "beta": 0.4}),
    ],
)
def test_activations_are_near(
    kind: str, op_type: str, attributes: dict[str, Any], rng: np.random.Generator
) -> None:
    x = _numbers(rng)
    x = x[np.isfinite(x)]
    _close(_ours(f"nn.{kind}", [x], **attributes), _runtime(op_type, [x], **attributes))


def test_clip_is_equal(rng: np.random.Generator) -> None:
    x = _numbers(rng)
    theirs = _runtime("Clip", [x, np.array(-0.1, np.float32), np.array(6, np.float32)])
    assert np.array_equal(_ours("nn.clip", [x], low=-0.1, high=6.0), theirs, equal_nan=True)


REAL: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "log": math.log,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "erf": math.erf,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
}


@pytest.mark.parametrize("kind", sorted(REAL))
def test_a_function_is_within_051_ulp(kind: str, rng: np.random.Generator) -> None:
    x = np.abs(rng.normal(0, 3, 10_000)).astype(np.float32)
    real = np.array([REAL[kind](float(number)) for number in x])
    off = np.abs(_ours(f"nn.{kind}", [x]).astype(np.float64) - real)
    assert (off <= 0.51 * np.spacing(np.abs(real).astype(np.float32))).all()


def test_erf_is_within_4_ulp_of_the_standard_library() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20_001), np.geomspace(1e-300, 6, 5_000)])
    known = np.array([math.erf(number) for number in x])
    # the series itself, its last addition, and the product round: 3 half ulps and a margin
    assert (np.abs(_ours("nn.erf", [x]) - known) <= 4 * np.spacing(np.abs(known))).all()


@pytest.mark.parametrize(
    ("kind", "op_type"),
    [
        ("sub", "Sub"),
        ("minimum", "Min"),
        ("maximum", "Max"),
        ("equal", "Equal"),
        ("less", "Less"),
        ("less_or_equal", "LessOrEqual"),
        ("greater", "Greater"),
        ("greater_or_equal", "GreaterOrEqual"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_functions_of_two_are_equal(
    kind: str, op_type: str, dtype: type[Any], rng: np.random.Generator
) -> None:
    _same_on_ties_and_edges(kind, op_type, dtype, rng)


def test_division_of_floats_is_equal(rng: np.random.Generator) -> None:
    _same_on_ties_and_edges("div", "Div", np.float32, rng)


def _same_on_ties_and_edges(
    kind: str, op_type: str, dtype: type[Any], rng: np.random.Generator
) -> None:
    a = rng.integers(-3, 4, (40, 1, 50)).astype(dtype)  # few values: many ties
    b = rng.integers(-3, 4, (30, 50)).astype(dtype)
    if dtype is np.float32:
        a[:, 0, :12], b[:12, 0] = EDGES, EDGES
    ours = _ours(f"nn.{kind}", [a, b])
    assert np.array_equal(ours, _runtime(op_type, [a, b]), equal_nan=dtype is np.float32)


def test_pow_is_near(rng: np.random.Generator) -> None:
    a = rng.uniform(0.1, 3, (100, 50)).astype(np.float32)
    b = rng.uniform(-2, 2, 50).astype(np.float32)
    _close(_ours("nn.pow", [a, b]), _runtime("Pow", [a, b]))
    two = np.array([2], np.float32)
    _close(_ours("nn.pow", [-a, two]), _runtime("Pow", [-a, two]))


def test_logic_and_choice_are_equal(rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 2, (30, 1)) == 1, rng.integers(0, 2, 20) == 1
    assert np.array_equal(_ours("nn.and", [a, b]), _runtime("And", [a, b]))
    assert np.array_equal(_ours("nn.or", [a, b]), _runtime("Or", [a, b]))
    assert np.array_equal(_ours("nn.not", [a]), _runtime("Not", [a]))
    x, y = rng.normal(size=20).astype(np.float32), np.array(-np.inf, np.float32)
    assert np.array_equal(_ours("nn.where", [a, x, y]), _runtime("Where", [a, x, y]))


def _reduced(op_type: str, x: Array, axes: tuple[int, ...], keepdims: int) -> Array:
    listed = np.array(axes, np.int64)
    return _runtime(op_type, [x, listed], keepdims=keepdims, noop_with_empty_axes=1)


@pytest.mark.parametrize("axes", [(0,), (-1, 1), (2, 0, 1)])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(axes: tuple[int, ...], keepdims: int, rng: np.random.Generator) -> None:
    x = rng.uniform(0.5, 1.5, (7, 8, 9)).astype(np.float32)
    whole = rng.integers(-9, 9, (7, 8, 9)).astype(np.int32)
    own: dict[str, Any] = {"axes": axes, "keepdims": keepdims}
    for kind in ("max", "min"):
        op_type = f"Reduce{kind.capitalize()}"
        for array in (x, whole):
            theirs = _reduced(op_type, array, axes, keepdims)
            assert np.array_equal(_ours(f"nn.reduce_{kind}", [array], **own), theirs)
    ours = _ours("nn.reduce_sum", [whole], **own)
    assert np.array_equal(ours, _reduced("ReduceSum", whole, axes, keepdims))
    # theirs sums n positive float32 in some order: at most n roundings of the result
    named = {"sum": "Sum", "mean": "Mean", "prod": "Prod", "sum_square": "SumSquare"}
    for kind, stem in {**named, "l2": "L2"}.items():
        ours = _ours(f"nn.reduce_{kind}", [x], **own)
        theirs = _reduced(f"Reduce{stem}", x, axes, keepdims)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert (np.abs(ours - theirs) <= x.size * EPSILON * np.abs(ours)).all()


def test_reducing_no_axis_keeps_each_number(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4)).astype(np.float32)
    assert np.array_equal(_ours("nn.reduce_sum", [x], axes=(), keepdims=0), x)
    assert np.array_equal(_reduced("ReduceSum", x, (), 0), x)


def test_arg_max_takes_the_first_of_equals(rng: np.random.Generator) -> None:
    x = rng.integers(0, 4, (50, 30)).astype(np.float32)
    for axis in (0, -1):
        theirs = _runtime("ArgMax", [x], axis=axis, keepdims=1)
        ours = _ours("nn.arg_max", [x], axis=axis, keepdims=1)
        assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist())


def test_cumulative_sum(rng: np.random.Generator) -> None:
    x = rng.uniform(0, 1, (5, 40)).astype(np.float32)
    whole = rng.integers(-9, 9, (5, 40)).astype(np.int64)
    for axis in (0, -1):
        place = np.array(axis, np.int64)
        ours = _ours("nn.cumulative_sum", [whole], axis=axis)
        assert np.array_equal(ours, _runtime("CumSum", [whole, place]))
        # positive numbers: at most one rounding for each of the 40 sums
        ours, theirs = (
            _ours("nn.cumulative_sum", [x], axis=axis),
            _runtime("CumSum", [x, place]),
        )
        assert (np.abs(ours - theirs) <= 40 * EPSILON * ours).all()


def test_norms_are_near(rng: np.random.Generator) -> None:
    x = rng.normal(1, 2, (4, 6, 5, 8)).astype(np.float32)
    scale, bias = (rng.normal(size=(5, 8)).astype(np.float32) for _ in range(2))
    own: dict[str, Any] = {"axis": -2, "epsilon": 1e-5}
    operands = [x, scale, bias]
    theirs = _runtime("LayerNormalization", operands, **own)
    assert np.abs(_ours("nn.layer_norm", operands, **own) - theirs).max() <= _norm_bound(x, 40)
    theirs = _runtime("LayerNormalization", operands[:2], **own)
    ours = _ours("nn.layer_norm", operands[:2], **own)
    assert np.abs(ours - theirs).max() <= _norm_bound(x, 40)
    channels = [x, *(rng.normal(size=6).astype(np.float32) for _ in range(2))]
    theirs = _runtime("GroupNormalization", channels, num_groups=3, epsilon=1e-5)
    ours = _ours("nn.group_norm", channels, groups=3, epsilon=1e-5)
    assert np.abs(ours - theirs).max() <= _norm_bound(x, 80)
    theirs = _runtime("InstanceNormalization", channels, epsilon=1e-5)
    ours = _ours("nn.group_norm", channels, groups=6, epsilon=1e-5)
    assert np.abs(ours - theirs).max() <= _norm_bound(x, 40)
    power = np.mean(x.astype(np.float64) ** 2, axis=(2, 3), keepdims=True)
    by_hand = x / np.sqrt(power + float(np.float32(1e-5))) * scale
    assert np.abs(_ours("nn.rms_norm", [x, scale], **own) - by_hand).max() <= 8 * EPSILON


def _norm_bound(x: Array, n: int) -> float:
    # n float32 roundings in the sums, of numbers of this size; scale stays below 4
    return 4 * n * EPSILON * float(np.abs(x).max())


def test_log_softmax_is_near(rng: np.random.Generator) -> None:
    x = rng.normal(0, 10, (50, 30)).astype(np.float32)
    for axis in (0, -1):
        ours = _ours("nn.log_softmax", [x], axis=axis)
        _close(ours, _runtime("LogSoftmax", [x], axis=axis))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_is_equal(axis: int, rng: np.random.Generator) -> None:
    shapes = [[3, 4, 5] for _ in range(4)]
    for i, shape in enumerate(shapes):
        shape[axis] = i  # the first is empty
    operands = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    ours = operands[0]
    for operand in operands[1:]:
        ours = _ours("nn.concat", [ours, operand], axis=axis)
    assert np.array_equal(ours, _runtime("Concat", operands, axis=axis))


def test_slice_is_equal(rng: np.random.Generator) -> None:
    x = rng.integers(-9, 9, (7, 8, 9)).astype(np.int8)
    bounds = ([-1, 2, 0], [-8, 100, 4], [0, 1, 2], [-2, 3, 1])  # starts, ends, axes, steps
    theirs = _runtime("Slice", [x, *(np.array(numbers, np.int64) for numbers in bounds)])
    ours = _ours("nn.slice", [x], starts=(6, 2, 0), sizes=(4, 2, 4), steps=(-2, 3, 1))
    assert np.array_equal(ours, theirs)


def test_expand_is_equal(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 1)).astype(np.float32)
    theirs = _runtime("Expand", [x, np.array([2, 3, 4], np.int64)])
    assert np.array_equal(_ours("nn.expand", [x], shape=(2, 3, 4)), theirs)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_gather_is_equal(axis: int, dtype: type[Any], rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 5, 6)).astype(np.float32)
    indices = rng.integers(-4, 4, (2, 3)).astype(dtype)
    ours = _ours("nn.gather", [x, indices], axis=axis)
    assert np.array_equal(ours, _runtime("Gather", [x, indices], axis=axis))


def test_gather_refuses_an_index_outside() -> None:
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(ModelError) as caught:
        _ours("nn.gather", [x, np.array([1, -5])], axis=0)
    assert str(caught.value) == "nn.gather indices must lie in -4..3, not -5"


@pytest.mark.parametrize("dtype", ["f64", "f16", "i8", "ui8", "i32", "i64", "i1"])
def test_cast_is_equal(dtype: str, rng: np.random.Generator) -> None:
    low = 0 if dtype == "ui8" else -100
    x = np.concatenate([rng.uniform(low, 100, 1000), [0.5, 1.5, 2.0]]).astype(np.float32)
    theirs = _runtime("Cast", [x], to=helper.np_dtype_to_tensor_dtype(DTYPES[dtype]))
    ours = _ours("nn.cast", [x], dtype=dtype)
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)
