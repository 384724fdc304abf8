"""A user's PDL text: it is a pass, and every mistake is one sentence."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import numpy as np
import pytest

from tests.passes.small_modules import chain, kinds, module
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.passes import pdl_
from tetrapla.passes.apply_pdl import ApplyPdl
from tetrapla.passes.pass_ import run
from tetrapla.passes.text_ import parse

# a product and a sum become a product with a bias: an operand that may be absent is spelled out
BIAS = """
pdl.pattern @bias : benefit(1) {
  %type = pdl.type
  %x = pdl.operand
  %w = pdl.operand
  %b = pdl.operand
  %none = pdl.attribute = "none"
  %layer = pdl.attribute
  %product = pdl.operation "nn.matmul"(%x, %w : !pdl.value, !pdl.value)
      {"activation" = %none, "layer" = %layer} -> (%type : !pdl.type)
  %between = pdl.result 0 of %product
  %root = pdl.operation "nn.add"(%between, %b : !pdl.value, !pdl.value) -> (%type : !pdl.type)
  pdl.rewrite %root {
    %segments = pdl.attribute = array<i32: 1, 1, 1, 0>
    %made = pdl.operation "nn.matmul"(%x, %w, %b : !pdl.value, !pdl.value, !pdl.value)
        {"activation" = %none, "layer" = %layer, "operandSegmentSizes" = %segments}
        -> (%type : !pdl.type)
    pdl.replace %root with %made
  }
}
"""


def product_and_sum(build: ModuleBuilder, x: Value) -> Value:
    """A product without a bias, then a sum."""
    w = build.weight("w", np.eye(3, 4, dtype=np.float32))
    product = build.op("nn.matmul", [x, w], {"activation": "none"}, name="product")
    return build.op("nn.add", [product, build.weight("b", np.ones(4, np.float32))])


def test_a_users_pdl_file_is_a_pass(tmp_path: Path) -> None:
    path = tmp_path / "bias.pdl"
    path.write_text(BIAS, "utf-8")
    found = run(module(product_and_sum), parse(f'apply-pdl{{file="{path}"}}'))
    (node,) = found.graph.nodes
    assert (node.kind, node.name, len(node.operands)) == ("nn.matmul", "product", 3)
    x: Array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(evaluate(found, {"x": x})["y"], x @ np.eye(3, 4) + 1)


def test_pdl_text_lives_as_long_as_its_rules() -> None:
    rules = pdl_.rules(BIAS)
    for _ in range(3):
        gc.collect()
        assert kinds(pdl_.rewritten(module(product_and_sum), rules)) == ["matmul"]


def test_rules_that_cannot_match_cost_nothing() -> None:
    given_ = module(chain(("nn.exp", {})))
    assert pdl_.rewritten(given_, pdl_.rules(BIAS)) is given_


TWICE = """pdl.pattern @twice : benefit(1) {
  %type = pdl.type
  %x = pdl.operand
  %root = pdl.operation "nn.exp"(%x : !pdl.value) -> (%type : !pdl.type)
  pdl.rewrite %root {
    %made = pdl.operation "nn.exp"(%x : !pdl.value) -> (%type : !pdl.type)
    pdl.replace %root with %made
  }
}"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "garbage",
            "1:1: custom op 'garbage' is unknown (tried 'builtin.garbage' as well); "
            "PDL text must be MLIR",
        ),
        ("func.func private @f()", "PDL text must hold patterns alone, not func.func"),
        (
            TWICE.replace('made = pdl.operation "nn.exp"', 'made = pdl.operation "nn.expp"'),
            "there is no operator 'nn.expp'; did you mean 'nn.exp'?",
        ),
        (
            TWICE.replace(
                "  pdl.rewrite",
                '  pdl.apply_native_constraint "full"(%x : !pdl.value)\n  pdl.rewrite',
            ),
            "a PDL pattern must call no function but 'filled', not 'full'",
        ),
        (
            re.sub(r"\{\n    %made.*\n.*\n  \}", 'with "made"', TWICE),
            "a PDL pattern must call no function but 'filled', not 'made'",
        ),
        (TWICE, "PDL patterns must come to an end; let none undo what another does"),
        (
            TWICE.replace('made = pdl.operation "nn.exp"', 'made = pdl.operation "nn.softmax"'),
            "exp: nn.softmax must have the attributes ['axis']; missing: ['axis'], unknown: []",
        ),
    ],
)
def test_wrong_pdl_text_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pdl"
    path.write_text(text, "utf-8")
    with pytest.raises(IRError) as caught:
        run(module(chain(("nn.exp", {}))), [ApplyPdl(str(path))])
    gap = "" if message[0].isdigit() else " "
    assert str(caught.value) == f"apply-pdl: {path}:{gap}{message}"


def test_a_missing_pdl_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.pdl"
    with pytest.raises(ModelError) as caught:
        run(module(chain(("nn.exp", {}))), [ApplyPdl(str(path))])
    assert str(caught.value) == (
        f"apply-pdl: file must be a file of PDL text, not '{path}'; name one that exists"
    )


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (2**20 + 1,), (3, 2**20)])
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_filled_compares_every_bit(shape: tuple[int, ...], dtype: str) -> None:
    array = np.ones(shape, dtype)
    assert pdl_.filled(array, 1.0)
    assert pdl_.filled(array.T, 1.0)
    array[(-1,) * len(shape)] = 0
    assert not pdl_.filled(array, 1.0)
    assert not pdl_.filled(array.T, 1.0)
    assert not pdl_.filled(np.zeros((0, *shape), dtype), 0.0)


def test_filled_tells_the_zeros_apart() -> None:
    zeros = np.zeros(3, np.float32)
    assert pdl_.filled(zeros, 0.0)
    assert not pdl_.filled(zeros, -0.0)
    assert pdl_.filled(-zeros, -0.0)
