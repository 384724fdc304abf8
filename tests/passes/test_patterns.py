"""Patterns in Python and in PDL give equal modules; a wrong pattern is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.small_modules import chain, kinds, module, random_module
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes import pattern_, pdl_, rules_pdl_
from tetrapla.passes.edit_ import Edit
from tetrapla.passes.pattern_ import Pattern, pattern

# the twins of the PDL text, by which the two forms are compared


@pattern(*(f"nn.{kind}" for kind in rules_pdl_.TWICE_IS_ONCE))
def twice_is_once(edit: Edit, node: Node) -> Value | None:
    inner = edit.maker(node.operands[0], node.kind)
    return None if inner is None else inner.result


@pattern(*(f"nn.{kind}" for kind in rules_pdl_.TWICE_IS_NEVER))
def twice_is_never(edit: Edit, node: Node) -> Value | None:
    inner = edit.maker(node.operands[0], node.kind)
    return None if inner is None else inner.operands[0]


@pattern(*(f"nn.{kind}" for kind, _ in rules_pdl_.NEUTRAL))
def neutral(edit: Edit, node: Node) -> Value | None:
    x, w = node.operands
    array = edit.constant(w)
    number = float(dict(rules_pdl_.NEUTRAL)[node.kind.removeprefix("nn.")])
    if array is None or x.shape != node.result.shape or not pdl_.filled(array, number):
        return None
    return x


@pattern(*(f"nn.{kind}" for kind, _ in rules_pdl_.SIGNS))
def signs(edit: Edit, node: Node) -> Value | None:
    x, y = node.operands
    inner = edit.maker(y, "nn.neg")
    other = dict(rules_pdl_.SIGNS)[node.kind.removeprefix("nn.")]
    return None if inner is None else edit.op(f"nn.{other}", [x, inner.operands[0]])


TWINS: tuple[Pattern, ...] = (twice_is_once, twice_is_never, neutral, signs)


def unnamed(found: Module) -> str:
    """The text without the layers' names: which of two equal layers stays is up to the form."""
    return re.sub(r'layer = "[^"]*"', "", re.sub(r"@\w+", "@w", found.text()))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 14))
def test_both_forms_give_equal_modules(seed: int, count: int) -> None:
    given_ = random_module(seed, count, moves=False)
    python = pattern_.rewritten(given_, TWINS)
    pdl = pdl_.rewritten(given_, pdl_.rules(rules_pdl_.text()))
    assert unnamed(python) == unnamed(pdl)
    assert [a.tobytes() for a in python.weights.values()] == [
        a.tobytes() for a in pdl.weights.values()
    ]


def test_both_forms_keep_the_layers_names() -> None:
    def made(build: ModuleBuilder, x: Value) -> Value:
        negative = build.op("nn.neg", [build.op("nn.exp", [x], name="power")])
        return build.op("nn.relu", [build.op("nn.add", [x, negative], name="sum")], name="last")

    given_ = module(made)
    python = pattern_.rewritten(given_, TWINS)
    pdl = pdl_.rewritten(given_, pdl_.rules(rules_pdl_.text()))
    assert python.text() == pdl.text()
    assert [node.name for node in pdl.graph.nodes] == ["power", "sum", "last"]
    assert kinds(pdl) == ["exp", "sub", "relu"]


@pattern("nn.exp")
def to_another_type(edit: Edit, node: Node) -> Value | None:
    return edit.op("nn.cast", node.operands, {"dtype": "f16"})


@pattern("nn.exp")
def no_such_operand(edit: Edit, node: Node) -> Value | None:
    return edit.op("nn.matmul", node.operands, {"activation": "none"})


@pattern("nn.exp")
def for_ever(edit: Edit, node: Node) -> Value | None:
    return edit.op("nn.exp", node.operands)


@pattern("nn.exp")
def to_log(edit: Edit, node: Node) -> Value | None:
    return edit.op("nn.log", node.operands)


@pattern("nn.log")
def to_exp(edit: Edit, node: Node) -> Value | None:
    return edit.op("nn.exp", node.operands)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            [to_another_type],
            "pattern to-another-type: exp must stay tensor<2x3xf32>, "
            "not become tensor<2x3xf16>",
        ),
        ([no_such_operand], "pattern no-such-operand: nn.matmul takes 2 to 4 operands, not 1"),
        (
            [for_ever],
            "pattern for-ever: must come to an end, not match exp again and again; let it not "
            "match what another pattern or it itself makes",
        ),
        (
            [to_log, to_exp],
            "pattern to-log: must come to an end, not match exp again and again; let it not "
            "match what another pattern or it itself makes",
        ),
    ],
)
def test_a_wrong_pattern_is_refused(patterns: list[Pattern], message: str) -> None:
    with pytest.raises(IRError) as caught:
        pattern_.rewritten(module(chain(("nn.exp", {}))), patterns)
    assert str(caught.value) == message
