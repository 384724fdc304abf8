"""Scales into products and siblings into one: what each pass rewrites, and what must stay."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tests.passes.forms import Form, conv, kinds, made, rewritten
from tests.passes.random_graphs import Draft
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Value
from tetrapla.passes.fold_scales import FoldScales
from tetrapla.passes.fuse_siblings import FuseSiblings
from tetrapla.passes.scales_ import PART_ELEMENTS


def test_scales_before_and_behind_a_product_move_into_its_weights() -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = draft.op("div", draft.op("mul", x, draft.number(3.0)), draft.number(1.5))
        y = draft.op(
            "matmul",
            y,
            draft.build.weight("w", np.eye(4, dtype=np.float32)),
            draft.build.weight("b", np.ones(4, np.float32)),
            activation="none",
        )
        scale = np.array([1, 2, 3, 4], np.float32)
        return draft.op("mul", draft.build.weight("scale", scale), y)

    found = rewritten(FoldScales(), made(form, (2, 4)))
    (node,) = found.graph.nodes
    # 3 / 1.5 = 2 before, 1 to 4 behind
    assert found.graph.weight(node.operands[1]).tolist() == np.diag([2, 4, 6, 8]).tolist()
    assert found.graph.weight(node.operands[2]).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(("shape", "names"), [((4, 1, 1), []), ((3, 1), ["mul"]), ((), [])])
def test_a_scale_of_the_filters_moves_into_a_convolution(
    shape: tuple[int, ...], names: list[str]
) -> None:
    module = made(
        lambda draft, x: draft.op("mul", conv(draft, x, 4, 3), draft.normal("s", *shape)),
        (1, 2, 5, 5),
    )
    assert kinds(rewritten(FoldScales(), module)) == ["conv2d", *names]


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (2.0, 3.0, ["mul"]),
        (1e30, 1e30, ["mul", "mul"]),  # above 3.4e38
        (1e-30, 1e-30, ["mul", "mul"]),  # below 1.2e-38, where digits are lost
        (0.0, 3.0, ["mul"]),
    ],
)
def test_two_scales_become_one_unless_it_leaves_the_range(
    first: float, second: float, names: list[str]
) -> None:
    def form(draft: Draft, x: Value) -> Value:
        return draft.op("mul", draft.number(second), draft.op("mul", x, draft.number(first)))

    assert kinds(FoldScales()(made(form, (2, 4)))) == names


def test_a_weight_that_is_scaled_is_worked_on_in_parts() -> None:
    rows, columns = 2**11, 2**12  # 32 MiB of float32, 8 parts

    def form(draft: Draft, x: Value) -> Value:
        w = draft.build.weight("w", np.ones((rows, columns), np.float32))
        y = draft.op("matmul", draft.op("mul", x, draft.number(3.0)), w, activation="none")
        return draft.op(
            "mul", y, draft.build.weight("s", np.arange(1, columns + 1, dtype="f4"))
        )

    module = made(form, (1, rows))
    tracemalloc.start()
    try:
        found = FoldScales()(module)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (node,) = found.graph.nodes
    w = found.graph.weight(node.operands[1])
    assert np.array_equal(w[[0, -1]], [3 * np.arange(1, columns + 1)] * 2)
    # either result, and of a part its float64, the product, and copies for the checks
    assert held < 2 * w.nbytes + 8 * PART_ELEMENTS * 8


def test_a_scaled_value_that_others_read_stays() -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = draft.op("matmul", x, draft.scaled("w", 4, 4), activation="none")
        draft.build.output("product", y)
        return draft.op("mul", y, draft.number(2.0))

    module = made(form, (2, 4))
    assert FoldScales()(module) is module


def test_siblings_with_and_without_a_bias_become_one_product() -> None:
    def form(draft: Draft, x: Value) -> Value:
        q = draft.layer("q", "matmul", x, draft.scaled("wq", 4, 6), activation="none")
        k = draft.layer(
            "k", "matmul", x, draft.scaled("wk", 4, 2), draft.normal("bk", 2), activation="none"
        )
        draft.build.output("k", k)
        return q

    found = rewritten(FuseSiblings(), made(form, (3, 5, 4)))
    assert [node.name for node in found.graph.nodes] == ["q.siblings", "q", "k"]
    product, _, k = found.graph.nodes
    assert product.operands[1].shape == (4, 8)
    assert found.graph.weight(product.operands[2])[:6].tolist() == [0] * 6
    assert (k.ints("starts"), k.ints("sizes")) == ((0, 0, 6), (3, 5, 2))


def test_sibling_convolutions_become_one() -> None:
    def form(draft: Draft, x: Value) -> Value:
        draft.build.output("z", conv(draft, x, 3, 3))
        return conv(draft, x, 4, 3)

    found = rewritten(FuseSiblings(), made(form, (1, 2, 5, 5)))
    assert kinds(found) == ["conv2d", "slice", "slice"]
    assert found.graph.nodes[0].result.shape == (1, 7, 3, 3)


def _other_activation(draft: Draft, x: Value) -> Value:
    weights = [draft.scaled("w", 4, 4) for _ in range(2)]
    one = draft.op("matmul", x, weights[0], activation="relu")
    return draft.op("add", one, draft.op("matmul", x, weights[1], activation="none"))


def _other_input(draft: Draft, x: Value) -> Value:
    y = draft.op("matmul", x, draft.scaled("w", 4, 4), activation="none")
    return draft.op("matmul", y, draft.scaled("w", 4, 4), activation="none")


def _computed_weight(draft: Draft, x: Value) -> Value:
    turned = draft.op("transpose", x, perm=(1, 0))
    y = draft.op("matmul", x, turned, activation="none")
    other = draft.op("exp", turned)
    return draft.op("add", y, draft.op("matmul", x, other, activation="none"))


def _batched_weight(draft: Draft, x: Value) -> Value:
    both = [draft.op("matmul", x, draft.normal("w", 2, 4, 4), activation="none") for _ in "ab"]
    return draft.op("add", *both)


FORMS = [_other_activation, _other_input, _computed_weight, _batched_weight]


@pytest.mark.parametrize("form", FORMS)
def test_products_that_are_no_siblings_stay(form: Form) -> None:
    module = made(form, (4, 4))
    assert FuseSiblings()(module) is module


def test_siblings_of_a_shape_only_module_are_joined_without_values() -> None:
    build = ModuleBuilder("shapes")
    x = build.input("x", (2, 4))
    for i in range(2):
        w = build.shape_of_weight(f"w{i}", (4, 3), "f32")
        build.output(f"y{i}", build.op("nn.matmul", [x, w], {"activation": "none"}))
    found = FuseSiblings()(build.finish())
    assert (kinds(found), found.shape_only) == (["matmul", "slice", "slice"], True)
