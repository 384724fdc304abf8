"""Canonicalisation: each rule does what it says, and every bit stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.small_modules import Made, binary, chain, kinds, module, random_module
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.passes.canonicalize import Canonicalize


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
