"""Attention as products: the operator's values, whatever its heads, masks and types."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.recognition import kinds
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.decompose_attention import DecomposeAttention

Inputs = dict[str, Array]
MASKS: tuple[tuple[int, ...], ...] = ((5, 7), (2, 1, 1, 7), (1, 7))


def attributes(**given: Attribute) -> dict[str, Attribute]:
    """Those of a plain attention, but for what is given."""
    plain: dict[str, Attribute] = {"scale": 0.35, "causal": 0, "causal_offset": 0}
    return plain | {"masked_rows": "nan", "block": 0} | given


def module(
    heads: tuple[int, int],
    held: dict[str, Attribute],
    mask: tuple[tuple[int, ...], str] | None,
    dtype: str = "f32",
) -> Module:
    """Queries [2, Hq, 5, 4] on keys [2, Hk, 7, 4] and values [2, Hk, 7, 3]."""
    build, (queries, keys) = ModuleBuilder("attention"), heads
    shapes = {"q": (2, queries, 5, 4), "k": (2, keys, 7, 4), "v": (2, keys, 7, 3)}
    operands = [build.input(name, shape, dtype) for name, shape in shapes.items()]
    if mask is not None:
        operands.append(build.input("mask", *mask))
    build.output("y", build.op("nn.attention", operands, held, "attend"))
    return build.finish()


def inputs(of: Module, rng: np.random.Generator) -> Inputs:
    """Normal numbers; a mask shows two thirds of the keys."""
    found: Inputs = {}
    for name, value in of.inputs.items():
        array = rng.standard_normal(value.shape)
        if value.dtype == "i1":
            found[name] = rng.random(value.shape) < 2 / 3
        else:
            if name == "mask":
                array = np.where(rng.random(value.shape) < 1 / 3, -np.inf, array)
            found[name] = array.astype(DTYPES[value.dtype])
    return found


def distance(of: Module, given: Inputs) -> float:
    """Between both forms, relative to the largest output; NaN must be where it was."""
    made = DecomposeAttention()(of)
    assert not any(node.kind == "nn.attention" for node in made.graph.nodes)
    before, after = evaluate(of, given)["y"], evaluate(made, given)["y"]
    assert np.array_equal(np.isnan(before), np.isnan(after))
    wide = [np.nan_to_num(array.astype(np.float64)) for array in (before, after)]
    return float(np.abs(wide[0] - wide[1]).max() / np.abs(wide[0]).max(initial=1e-30))


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
@pytest.mark.parametrize("heads", [(3, 3), (4, 2), (3, 1)])
@pytest.mark.parametrize("mask", [None, "i1", "float"])
@pytest.mark.parametrize("rows", ["nan", "zero"])
def test_both_forms_give_the_same_values(
    dtype: str, heads: tuple[int, int], mask: str | None, rows: str, rng: np.random.Generator
) -> None:
    # K products in another order are 2 K u apart of the sum of their magnitudes, here at most
    # 7 of scores and of values; a score's error is one of its exponential. A narrow type adds
    # one step of its own where that falls on the other side of a tie
    bound = {"f32": 64 * 2.0**-24, "f64": 64 * 2.0**-53, "f16": 2.0**-10, "bf16": 2.0**-7}
    for shape in MASKS:
        for causal in (0, 1):
            held = attributes(masked_rows=rows, causal=causal, causal_offset=-1)
            typed = None if mask is None else (shape, "i1" if mask == "i1" else dtype)
            of = module(heads, held, typed, dtype)
            assert distance(of, inputs(of, rng)) <= bound[dtype]


@pytest.mark.parametrize("block", [2, 3])
def test_tiles_of_keys_become_the_plain_form(block: int, rng: np.random.Generator) -> None:
    of = module((4, 2), attributes(block=block, causal=1), None)
    assert distance(of, inputs(of, rng)) <= DecomposeAttention.max_rel_error


def test_it_is_two_products_and_what_lies_between() -> None:
    made = DecomposeAttention()(module((2, 2), attributes(causal=1), None))
    assert kinds(made) == ["transpose", "matmul", "mul", "where", "softmax", "matmul"]
    names = [node.name for node in made.graph.nodes]
    assert names == [
        *("attend.keys", "attend.scores", "attend.scaled", "attend.seen", "attend.softmax"),
        "attend",
    ]
    assert DecomposeAttention()(made) is made


def test_a_causal_mask_that_hides_nothing_and_a_scale_of_one_leave_no_operator() -> None:
    # query 0 sees the keys up to 6, which are all
    held = attributes(scale=1.0, causal=1, causal_offset=6)
    made = DecomposeAttention()(module((2, 2), held, None))
    assert kinds(made) == ["transpose", "matmul", "softmax", "matmul"]


def test_rows_that_see_no_key_are_zero_without_a_nan_on_the_way(
    rng: np.random.Generator,
) -> None:
    of = module((2, 2), attributes(masked_rows="zero"), ((5, 7), "i1"))
    given = inputs(of, rng)
    given["mask"] = given["mask"].copy()
    given["mask"][2] = False
    found = evaluate(DecomposeAttention()(of), given, keep="all")
    assert not any(np.isnan(array).any() for array in found.values() if array.dtype.kind == "f")
    assert not found["y"][:, :, 2].any()


def test_a_module_without_weights_has_the_same_operators() -> None:
    build = ModuleBuilder("shapes")
    operands = [build.input(name, (1, 2, 5, 4)) for name in "qkv"]
    y = build.op("nn.attention", operands, attributes(causal=1))
    y = build.op("nn.mul", [y, build.shape_of_weight("gain", (4,), "f32")])
    build.output("y", y)
    made = DecomposeAttention()(build.finish())
    assert made.shape_only
    assert kinds(made) == ["transpose", "matmul", "mul", "where", "softmax", "matmul", "mul"]
