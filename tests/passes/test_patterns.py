"""Patterns in Python and in PDL: equal modules, every bit kept, every mistake in a sentence."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes import pattern_, pdl_, rules_pdl_
from tetrapla.passes.apply_pdl import ApplyPdl
from tetrapla.passes.canonicalize import Canonicalize
from tetrapla.passes.edit_ import Edit
from tetrapla.passes.eliminate_dead_code import EliminateDeadCode
from tetrapla.passes.pass_ import run
from tetrapla.passes.pattern_ import Pattern, pattern
from tetrapla.passes.text_ import parse

Made = Callable[[ModuleBuilder, Value], Value]


def module(made: Made, shape: Sequence[int] = (2, 3), dtype: str = "f32") -> Module:
    """A module of what `made` builds on one input."""
    build = ModuleBuilder("small")
    build.output("y", made(build, build.input("x", shape, dtype)))
    return build.finish()


def kinds(found: Module) -> list[str]:
    return [node.kind.split(".")[-1] for node in found.graph.nodes]


def chain(*steps: tuple[str, dict[str, Attribute]]) -> Made:
    """Operators of one operand, one after another."""

    def made(build: ModuleBuilder, x: Value) -> Value:
        for kind, attributes in steps:
            x = build.op(kind, [x], attributes)
        return x

    return made


def binary(kind: str, number: float, *shape: int) -> Made:
    """An operator on x and a constant full of a number."""

    def made(build: ModuleBuilder, x: Value) -> Value:
        array = np.full(shape, number, np.float32)
        return build.op(kind, [x, build.weight("w", array)])

    return made


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
UNARY = ("abs", "ceil", "floor", "relu", "round", "sign", "neg", "neg", "neg", "exp")
BINARY = ("add", "sub", "mul", "div")
NUMBERS = (0.0, -0.0, 1.0, 2.0)
MOVES: tuple[tuple[str, dict[str, Attribute]], ...] = (
    ("nn.transpose", {"perm": (1, 0)}),
    ("nn.transpose", {"perm": (0, 1)}),
    ("nn.cast", {"dtype": "f32"}),
    ("nn.slice", {"starts": (2, 0), "sizes": (3, 3), "steps": (-1, 1)}),
    ("nn.slice", {"starts": (0, 0), "sizes": (3, 3), "steps": (1, 1)}),
    ("nn.expand", {"shape": (3, 3)}),
    ("nn.reshape", {"shape": (3, 3)}),
)


def random_module(seed: int, count: int, moves: bool) -> Module:
    """A graph of 3x3 values of the operators that the rules look at, no dead ones."""
    draw = np.random.default_rng(seed)
    build = ModuleBuilder("random")
    values = [build.input("x", (3, 3)), build.input("z", (3, 3))]
    for _ in range(count):
        x, other = (values[draw.integers(max(0, len(values) - 3), len(values))] for _ in "ab")
        match int(draw.integers(3 + moves)):
            case 0:
                values.append(build.op(f"nn.{draw.choice(UNARY)}", [x]))
            case 1:
                values.append(build.op(f"nn.{draw.choice(BINARY)}", [x, other]))
            case 2:
                shape = [(), (1,), (3, 1), (3, 3)][draw.integers(4)]
                w = build.weight("w", np.full(shape, draw.choice(NUMBERS), np.float32))
                values.append(build.op(f"nn.{draw.choice(BINARY)}", [x, w]))
            case _:
                kind, attributes = MOVES[draw.integers(len(MOVES))]
                values.append(build.op(kind, [x], attributes))
    build.output("y", values[-1])
    build.output("before", values[-2])
    return EliminateDeadCode()(build.finish())


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


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 14))
def test_canonicalize_keeps_every_bit(seed: int, count: int) -> None:
    given_ = random_module(seed, count, moves=True)
    found = Canonicalize()(given_)
    special = [0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 1e-40, 3e38]
    draw = np.random.default_rng(seed)
    inputs = {name: draw.choice(special, (3, 3)).astype(np.float32) for name in "xz"}
    wanted = evaluate(given_, inputs)
    for name, array in evaluate(found, inputs).items():
        np.testing.assert_array_equal(array, wanted[name])
        known = ~np.isnan(array)
        assert (np.signbit(array) == np.signbit(wanted[name]))[known].all()
    assert Canonicalize()(found) is found


RESHAPED: tuple[str, dict[str, Attribute]] = ("nn.reshape", {"shape": (6,)})


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (chain(("nn.relu", {}), ("nn.relu", {}), ("nn.relu", {})), ["relu"]),
        (chain(("nn.neg", {}), ("nn.neg", {}), ("nn.exp", {})), ["exp"]),
        (chain(("nn.neg", {}), ("nn.neg", {}), ("nn.neg", {})), ["neg"]),
        (chain(("nn.exp", {}), ("nn.exp", {})), ["exp", "exp"]),
        (binary("nn.mul", 1.0, 3), []),
        (binary("nn.div", 1.0), []),
        (binary("nn.sub", 0.0, 2, 3), []),
        (binary("nn.add", -0.0, 3), []),
        # -0 + 0 is 0, and 0 - (-0) is 0 while -0 - (-0) is 0 too
        (binary("nn.add", 0.0, 3), ["add"]),
        (binary("nn.sub", -0.0, 3), ["sub"]),
        (binary("nn.mul", 2.0, 3), ["mul"]),
        # the product has another shape than x
        (binary("nn.mul", 1.0, 4, 1, 3), ["mul"]),
        (
            chain(("nn.transpose", {"perm": (1, 0)}), ("nn.transpose", {"perm": (1, 0)})),
            [],
        ),
        (
            chain(("nn.reshape", {"shape": (6,)}), ("nn.reshape", {"shape": (3, 2)})),
            ["reshape"],
        ),
        (chain(("nn.reshape", {"shape": (6,)}), ("nn.reshape", {"shape": (2, 3)})), []),
        (chain(("nn.expand", {"shape": (2, 3)})), []),
        (chain(("nn.cast", {"dtype": "f32"})), []),
        # a narrower type between loses digits
        (chain(("nn.cast", {"dtype": "f16"}), ("nn.cast", {"dtype": "f32"})), ["cast", "cast"]),
        (chain(("nn.slice", {"starts": (0, 0), "sizes": (2, 3), "steps": (1, 1)})), []),
    ],
)
def test_a_rule_does_what_it_says(made: Made, expected: list[str]) -> None:
    assert kinds(Canonicalize()(module(made))) == expected


def test_three_transposes_are_the_composed_one() -> None:
    perms: list[dict[str, Attribute]] = [
        {"perm": perm} for perm in [(1, 2, 0), (0, 2, 1), (2, 1, 0)]
    ]
    made = chain(*(("nn.transpose", perm) for perm in perms))
    found = Canonicalize()(module(made, (2, 3, 4)))
    # axes of x after each: 1 2 0, then 1 0 2, then 2 0 1
    (node,) = found.graph.nodes
    assert node.attributes == {"perm": (2, 0, 1)}


def test_a_slice_of_a_slice_is_one() -> None:
    first: dict[str, Attribute] = {"starts": (9,), "sizes": (5,), "steps": (-2,)}
    second: dict[str, Attribute] = {"starts": (1,), "sizes": (2,), "steps": (2,)}
    found = Canonicalize()(module(chain(("nn.slice", first), ("nn.slice", second)), (10,)))
    (node,) = found.graph.nodes
    # 9 7 5 3 1, of which 7 and 3
    assert node.attributes == {"starts": (7,), "sizes": (2,), "steps": (-4,)}


def requantised(scale: float, second: float, dtype: str = "i8") -> Made:
    """Integers made real and integer again."""

    def made(build: ModuleBuilder, q: Value) -> Value:
        common: dict[str, Attribute] = {"zero_point": 3, "axis": 0}
        scales = [build.weight("s", np.array([s], np.float32)) for s in (scale, second)]
        x = build.op("qnn.dequantize", [q, scales[0]], common)
        return build.op("qnn.quantize", [x, scales[1]], {**common, "dtype": dtype})

    return made


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (requantised(0.1, 0.1), []),
        (requantised(0.1, 0.2), ["dequantize", "quantize"]),
        (requantised(0.1, 0.1, "ui8"), ["dequantize", "quantize"]),
        # 127 * 3e38 is infinite
        (requantised(3e38, 3e38), ["dequantize", "quantize"]),
    ],
)
def test_integers_that_come_back_stay(made: Made, expected: list[str]) -> None:
    assert kinds(Canonicalize()(module(made, (4,), "i8"))) == expected


def test_every_int8_comes_back() -> None:
    given_ = module(requantised(0.1, 0.1), (256,), "i8")
    q: Array = np.arange(-128, 128, dtype=np.int8)
    assert np.array_equal(evaluate(given_, {"x": q})["y"], q)


def test_a_model_without_its_weights_is_rewritten_by_what_its_shapes_say() -> None:
    build = ModuleBuilder("shapes")
    x = build.op("nn.neg", [build.op("nn.neg", [build.input("x", (2, 3))])])
    ones = build.shape_of_weight("ones", (3,), "f32")
    build.output("y", build.op("nn.mul", [x, ones]))
    assert kinds(Canonicalize()(build.finish())) == ["mul"]


def test_the_weights_that_nothing_names_any_more_go() -> None:
    given_ = module(binary("nn.mul", 1.0, 3))
    assert not Canonicalize()(given_).weights
    assert list(given_.weights) == ["w"]


def test_a_rewrite_in_a_body_is_one_of_the_module() -> None:
    build = ModuleBuilder("loop")
    inner = build.body()
    carried, row = inner.input("h", (3,)), inner.input("x", (3,))
    twice = inner.op("nn.neg", [inner.op("nn.neg", [row])])
    swapped = inner.op("nn.cast", [inner.op("nn.add", [carried, twice])], {"dtype": "f32"})
    inner.output("h", swapped)
    inner.output("y", swapped)
    operands = [build.input("h", (3,)), build.input("x", (4, 3))]
    trips: dict[str, Attribute] = {"carried": 1, "scanned": 1, "trips": 4}
    last, rows = build.ops("nn.scan", operands, trips, "scan", [inner.graph()])
    build.output("last", last)
    build.output("rows", rows)
    given_ = build.finish()
    (node,) = Canonicalize()(given_).graph.nodes
    assert [inside.kind for inside in node.bodies[0].nodes] == ["nn.add"]


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
        ([no_such_operand], "pattern no-such-operand: nn.matmul takes 2 to 3 operands, not 1"),
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
    %segments = pdl.attribute = array<i32: 1, 1, 1>
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
            "PDL text must be MLIR, not loc(\"-\":1:1): custom op 'garbage' is unknown (tried "
            "'builtin.garbage' as well)",
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
            "exp: nn.softmax takes the attributes ['axis']; differing: ['axis']",
        ),
    ],
)
def test_wrong_pdl_text_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pdl"
    path.write_text(text, "utf-8")
    with pytest.raises(IRError) as caught:
        run(module(chain(("nn.exp", {}))), [ApplyPdl(str(path))])
    assert str(caught.value) == f"apply-pdl: {path}: {message}"


def test_a_missing_pdl_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.pdl"
    with pytest.raises(ModelError) as caught:
        run(module(chain(("nn.exp", {}))), [ApplyPdl(str(path))])
    assert str(caught.value) == (
        f"apply-pdl: file must be a file of PDL text, not '{path}'; name one that exists"
    )


@pytest.mark.parametrize("count", [1, 2**16, 2**16 + 1])
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_filled_compares_every_bit(count: int, dtype: str) -> None:
    array = np.ones(count, dtype)
    assert pdl_.filled(array, 1.0)
    array[-1] = 0
    assert not pdl_.filled(array, 1.0)
    assert not pdl_.filled(np.zeros(0, dtype), 1.0)
