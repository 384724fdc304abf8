"""Every operator: `infer` agrees with `evaluate`, operands stay untouched, text round-trips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Op, Tensor

WITH_EXAMPLE = sorted(kind for kind, op in OPS.items() if op.example is not None)


def _module(kind: str) -> Module:
    types, attributes = OPS[kind].example or ((), {})
    build = ModuleBuilder(kind)
    values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
    for i, result in enumerate(build.ops(kind, values, attributes)):
        build.output(f"y{i}", result)
    return build.finish()


def _inputs(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    # positive values are legal for every operand (a scale, a variance, a spike count)
    return {
        name: rng.integers(1, 9, value.shape).astype(DTYPES[value.dtype])
        for name, value in module.inputs.items()
    }


def broken(op: type[Op], types: tuple[Tensor, ...], attributes: dict[str, Any]) -> list[str]:
    """What an operator does that none may: the generic check, so that it can be tested."""
    rng = np.random.default_rng(0)
    operands = [rng.integers(1, 9, t.shape).astype(DTYPES[t.dtype]) for t in types]
    before = [operand.copy() for operand in operands]
    expected = op.infer(*types, **attributes)
    made = op.evaluate(*operands, **attributes)
    listed = (expected,) if isinstance(expected, Tensor) else expected
    results = made if isinstance(made, tuple) else (made,)
    faults: list[str] = []
    if not all(np.array_equal(a, b) for a, b in zip(before, operands, strict=True)):
        faults.append("writes into an operand")
    for type_, result in zip(listed, results, strict=True):
        if (result.shape, result.dtype) != (type_.shape, DTYPES[type_.dtype]):
            faults.append(f"infers {type_}, computes {result.dtype}{result.shape}")
    return faults


def test_every_operator_but_weights_and_those_with_bodies_has_an_example() -> None:
    bodies = {"nn.scan", "nn.while", "nn.if"}
    assert set(OPS) - set(WITH_EXAMPLE) == {"nn.weight", *bodies}


@pytest.mark.parametrize("kind", WITH_EXAMPLE)
def test_infer_agrees_with_evaluate_and_operands_stay_untouched(kind: str) -> None:
    types, attributes = OPS[kind].example or ((), {})
    assert broken(OPS[kind], types, attributes) == []


def test_an_operator_that_writes_its_operand_is_caught() -> None:
    class Faulty:
        @staticmethod
        def infer(x: Tensor) -> Tensor:
            return x

        @staticmethod
        def evaluate(x: Array) -> Array:
            x += 1
            return x

    faults = broken(Faulty, (Tensor((2, 3), "f32"),), {})  # type: ignore[arg-type]
    assert faults == ["writes into an operand"]


def test_an_operator_whose_infer_lies_is_caught() -> None:
    class Faulty:
        @staticmethod
        def infer(x: Tensor) -> Tensor:
            return Tensor((7,), "f32")

        @staticmethod
        def evaluate(x: Array) -> Array:
            return x.copy()

    faults = broken(Faulty, (Tensor((2,), "f32"),), {})  # type: ignore[arg-type]
    assert faults == ["infers tensor<7xf32>, computes float32(2,)"]


@pytest.mark.parametrize("kind", WITH_EXAMPLE)
def test_text_round_trips_and_computes_the_same(kind: str, rng: np.random.Generator) -> None:
    module = _module(kind)
    again = Module.parse(module.text(), module.weights, module.name)
    assert again.text() == module.text()
    inputs = _inputs(module, rng)
    ours, theirs = evaluate(module, inputs), evaluate(again, inputs)
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.tobytes() == theirs[name].tobytes()


@pytest.mark.parametrize("kind", WITH_EXAMPLE)
def test_another_result_type_is_refused(kind: str) -> None:
    module = _module(kind)
    types = [Tensor(value.shape, value.dtype) for value in module.outputs.values()]
    good, lied = (
        [str(type_) for type_ in types],
        [str(Tensor((*type_.shape, 7), type_.dtype)) for type_ in types],
    )
    # the result types stand behind the last arrow but the return's: swap them everywhere behind
    # the operator's own operands
    operands = f"({', '.join(str(Tensor(v.shape, v.dtype)) for v in module.inputs.values())})"
    text = module.text()
    arrow = f"{operands} -> {_results(good)}"
    assert text.count(arrow) == 2  # of the function and of the operator
    text = text.replace(arrow, f"{operands} -> {_results(lied)}")
    text = text.replace(f": ({', '.join(good)}) -> ()", f": ({', '.join(lied)}) -> ()")
    with pytest.raises(IRError) as caught:
        Module.parse(text, module.weights)
    column = 10 if len(good) == 1 else 12  # behind "    %0 = " or "    %0:2 = "
    message = f"{kind} C0: the result must be {', '.join(good)}, not {', '.join(lied)}"
    assert str(caught.value) == f"4:{column}: {message}"


def _results(types: list[str]) -> str:
    return types[0] if len(types) == 1 else f"({', '.join(types)})"


def _conv(**changes: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "strides": (1, 1),
        "pads": (0, 0, 0, 0),
        "dilations": (1, 1),
        "groups": 1,
        "activation": "none",
    }
    return attributes | changes


IMAGE, FILTERS = Tensor((1, 2, 4, 4), "f32"), Tensor((3, 2, 3, 3), "f32")
CASES: list[tuple[str, tuple[Tensor, ...], dict[str, Any], str]] = [
    (
        "nn.matmul",
        (Tensor((4, 8), "f32"), Tensor((9, 3), "f32")),
        {"activation": "none"},
        "nn.matmul C2: inner dimensions differ in tensor<4x8xf32> @ tensor<9x3xf32>",
    ),
    (
        "nn.matmul",
        (Tensor((4, 8), "f32"), Tensor((8, 3), "f32"), Tensor((4,), "f32")),
        {"activation": "none"},
        "nn.matmul C4: the bias must have shape (3,), not tensor<4xf32>",
    ),
    (
        "nn.conv2d",
        (IMAGE, FILTERS),
        _conv(strides=(0, 1)),
        "nn.conv2d C4: strides and dilations must be two positive numbers, "
        "not (0, 1) and (1, 1)",
    ),
    (
        "nn.conv2d",
        (IMAGE, FILTERS),
        _conv(groups=0),
        "nn.conv2d C3: groups must be at least 1 and divide 3 filters, not 0",
    ),
    (
        "nn.conv2d",
        (IMAGE, FILTERS),
        _conv(dilations=(3, 3)),
        "nn.conv2d C5: a dilated kernel of 7 must fit the padded input of 4",
    ),
    (
        "nn.conv2d",
        (IMAGE, FILTERS),
        _conv(activation="elu"),
        "nn.conv2d C7: the activation must be one of none, relu, relu6, gelu, gelu_tanh, "
        "hard_swish, sigmoid, silu, tanh, not 'elu'",
    ),
    (
        "nn.conv2d",
        (IMAGE,),
        _conv(),
        "nn.conv2d takes 2 to 4 operands, not 1",
    ),
    (
        "nn.reshape",
        (IMAGE,),
        {"shape": (5, 5)},
        "nn.reshape C2: tensor<1x2x4x4xf32> has 32 elements, shape (5, 5) has 25",
    ),
    (
        "nn.transpose",
        (IMAGE,),
        {"perm": (0, 1, 2, 2)},
        "nn.transpose C1: perm must hold each axis of tensor<1x2x4x4xf32> once, "
        "not (0, 1, 2, 2)",
    ),
    (
        "nn.expand",
        (IMAGE,),
        {"shape": (2**40, 2, 4, 4)},
        "nn.expand makes tensor<1099511627776x2x4x4xf32>, which is over 2147483648 elements",
    ),
    ("nn.nothing", (IMAGE,), {}, "there is no operator 'nn.nothing'"),
]


@pytest.mark.parametrize(("kind", "types", "attributes", "message"), CASES)
def test_a_broken_constraint_says_which(
    kind: str, types: tuple[Tensor, ...], attributes: dict[str, Any], message: str
) -> None:
    build = ModuleBuilder("m")
    values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
    with pytest.raises(IRError) as caught:
        build.op(kind, values, attributes, name="layer1")
    assert str(caught.value) == f"layer1: {message}"
