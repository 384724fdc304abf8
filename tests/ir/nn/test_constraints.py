"""A broken constraint of an `nn` operator says which, in one sentence."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.nn.binary import Binary
from tetrapla.ir.nn.reduce import ArgExtreme, Reduction
from tetrapla.ir.nn.unary import Unary
from tetrapla.ir.op import OPS, Op, Tensor, inferred

import_module("tetrapla.ir.dialects")  # fills OPS


class Case(NamedTuple):
    kind: str
    types: tuple[Tensor, ...]
    attributes: dict[str, Any]
    message: str


def _tensor(text: str) -> Tensor:
    *sizes, dtype = text.split("x") if text[0].isdigit() else [text]
    return Tensor(tuple(map(int, sizes)), dtype)


def _case(line: str) -> Case:
    kind, types, changes, message = (part.strip() for part in line.split("|"))
    usual, attributes = OPS[kind].example or ((), {})
    given = tuple(map(_tensor, types.split())) or usual
    own = ast.literal_eval(changes) if changes else {}
    return Case(kind, given, {**attributes, **own}, f"{kind} {message}")


LINES = Path(__file__).with_name("constraints.txt").read_text().splitlines()
CASES = [_case(line) for line in LINES if not line.startswith("#")]
UNARY = [kind for kind, op in OPS.items() if issubclass(op, Unary)]
BINARY = [kind for kind, op in OPS.items() if issubclass(op, Binary)]
REDUCTIONS = [kind for kind, op in OPS.items() if issubclass(op, Reduction)]
EXTREMES = [kind for kind, op in OPS.items() if issubclass(op, ArgExtreme)]


def _refusal(kind: str, types: list[Tensor], **attributes: Any) -> str:
    with pytest.raises(IRError) as caught:
        inferred(kind, types, attributes)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=[case.message[:60] for case in CASES])
def test_a_broken_constraint_says_which(case: Case) -> None:
    assert _refusal(case.kind, list(case.types), **case.attributes) == case.message


def test_the_builder_says_where() -> None:
    build = ModuleBuilder("m")
    value = build.input("x", (2,), "i8")
    with pytest.raises(IRError) as caught:
        build.op("nn.exp", [value], {}, name="layer1")
    assert str(caught.value) == ("layer1: nn.exp C1: elements must be floats, not tensor<2xi8>")


def test_a_missing_operand_is_counted() -> None:
    assert _refusal("nn.concat", [], axis=0) == "nn.concat takes 2 to 2 operands, not 0"


@pytest.mark.parametrize("kind", UNARY)
def test_a_function_of_one_number_names_its_types(kind: str) -> None:
    message = _refusal(kind, [Tensor((2,), "i1")])
    assert message.startswith(f"{kind} C1: elements must be ")
    assert message.endswith(", not tensor<2xi1>")


@pytest.mark.parametrize("kind", BINARY)
def test_a_function_of_two_numbers_checks_all(kind: str) -> None:
    dtype = "i1" if kind in ("nn.and", "nn.or", "nn.xor") else "i32"
    dtype = "f32" if kind in ("nn.div", "nn.pow") else dtype
    two, three = Tensor((2,), dtype), Tensor((3,), dtype)
    assert _refusal(kind, [two, three]) == (
        f"{kind} C1: shapes must broadcast, not {two} and {three}"
    )
    other, odd = Tensor((2,), "f8E5M2"), Tensor((2,), "i4")
    assert _refusal(kind, [two, other]) == (
        f"{kind} C2: element types must be equal, not {two} and {other}"
    )
    message = _refusal(kind, [odd, odd])
    assert message.startswith(f"{kind} C3: elements must be ")
    assert message.endswith(", not tensor<2xi4>")


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_a_reduction_checks_all(kind: str) -> None:
    x = Tensor((2, 3), "f32")
    assert _refusal(kind, [x], axes=(2,), keepdims=1) == f"{kind} C1: {x} has no axis 2"
    assert _refusal(kind, [x], axes=(1, -1), keepdims=1) == (
        f"{kind} C1: axes of {x} must differ, not (1, -1)"
    )
    assert _refusal(kind, [x], axes=(1,), keepdims=2) == (
        f"{kind} C2: keepdims must be 0 or 1, not 2"
    )
    odd = Tensor((2, 3), "i4")
    assert _refusal(kind, [odd], axes=(1,), keepdims=1).startswith(f"{kind} C3: elements")
    empty = Tensor((2, 0), "f32")
    if kind == "nn.reduce_mean":
        assert _refusal(kind, [empty], axes=(1,), keepdims=1) == (
            f"{kind} C4: reduced axes must not be empty, not (1,) of {empty}"
        )
    else:
        assert inferred(kind, [empty], {"axes": (1,), "keepdims": 0}) == (Tensor((2,), "f32"),)


@pytest.mark.parametrize("kind", EXTREMES)
def test_a_place_of_an_extreme_checks_all(kind: str) -> None:
    x, empty = Tensor((2, 3), "f32"), Tensor((2, 0), "f32")
    truths = Tensor((2, 3), "i1")
    assert _refusal(kind, [x], axis=2, keepdims=1) == f"{kind} C1: {x} has no axis 2"
    assert _refusal(kind, [x], axis=0, keepdims=3) == (
        f"{kind} C2: keepdims must be 0 or 1, not 3"
    )
    assert _refusal(kind, [truths], axis=0, keepdims=1) == (
        f"{kind} C3: elements must be numbers, not {truths}"
    )
    assert _refusal(kind, [empty], axis=1, keepdims=1) == (
        f"{kind} C4: axis 1 of {empty} must not be empty, not 0"
    )


def _numbers(op: type[Op]) -> set[int]:
    """The constraints that the docstring lists."""
    texts = [base.__doc__ or "" for base in op.__mro__]
    _, _, listed = next(t for t in texts if "Constraints" in t).partition("Constraints")
    found: set[int] = set()
    for line in re.findall(r"^ +(C[^:]*):", listed, re.MULTILINE):
        numbers = [int(number) for number in re.findall(r"C(\d+)", line)]
        found |= set(range(numbers[0], numbers[-1] + 1)) if " to " in line else set(numbers)
    return found


def test_every_constraint_of_every_operator_is_here() -> None:
    bodies = {"nn.scan", "nn.while", "nn.if", "nn.weight"}
    general = {*UNARY, *BINARY, *REDUCTIONS, *EXTREMES, *bodies}
    missing: list[str] = []
    for kind, op in OPS.items():
        if kind.startswith("nn.") and kind not in general:
            said = [case.message for case in CASES if case.kind == kind]
            missing += [
                f"{kind} C{number}"
                for number in sorted(_numbers(op))
                if not any(message.startswith(f"{kind} C{number}:") for message in said)
            ]
    assert missing == []
