"""Fusions and eliminations one by one: what each rewrites, and what it must leave."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from tests.passes.random_graphs import Draft
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.choose_layout import ChooseLayout
from tetrapla.passes.eliminate_reshapes import EliminateReshapes
from tetrapla.passes.eliminate_transposes import EliminateTransposes
from tetrapla.passes.fold_scales import FoldScales
from tetrapla.passes.fuse_pool import FusePool
from tetrapla.passes.fuse_siblings import FuseSiblings
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.scales_ import PART_ELEMENTS
from tetrapla.passes.slice_gathers import SliceGathers
from tetrapla.passes.tile_attention import TileAttention

Form = Callable[[Draft, Value], Value]
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def made(form: Form, shape: tuple[int, ...], dtype: str = "f32") -> Module:
    draft = Draft(ModuleBuilder("form"), np.random.default_rng(0))
    draft.build.output("y", form(draft, draft.build.input("x", shape, dtype)))
    return draft.build.finish()


def kinds(module: Module) -> list[str]:
    return [node.kind.removeprefix("nn.") for node in module.graph.nodes]


def rewritten(pass_: Pass, module: Module) -> Module:
    """The result, whose values were compared with the operand's."""
    found = pass_(module)
    draw = np.random.default_rng(1)
    inputs: dict[str, Array] = {
        name: draw.standard_normal(value.shape).astype(np.float32)
        for name, value in module.inputs.items()
    }
    after = evaluate(found, inputs)
    for name, before in evaluate(module, inputs).items():
        assert np.abs(before - after[name]).max() <= pass_.max_rel_error * np.abs(before).max()
    return found


def _conv(draft: Draft, x: Value, filters: int, kernel: int, **more: Attribute) -> Value:
    window: dict[str, Attribute] = {"strides": (1, 1), "pads": (0, 0, 0, 0)}
    window |= {"dilations": (1, 1), "groups": 1, "activation": "none", **more}
    w = draft.scaled("w", filters, x.shape[1], kernel, kernel)
    return draft.op("conv2d", x, w, draft.normal("b", filters), **window)


def test_a_chain_between_two_layouts_keeps_the_outer_one() -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = draft.op("transpose", x, perm=LAST)
        y = draft.op("add", draft.normal("bias", 3), y)
        y = draft.op("mul", y, draft.normal("scale", 4, 1, 3))
        y = draft.op("maximum", draft.op("tanh", y), draft.number(0.1))
        return draft.op("transpose", y, perm=FIRST)

    found = rewritten(EliminateTransposes(), made(form, (2, 3, 4, 5)))
    assert kinds(found) == ["add", "mul", "tanh", "maximum"]
    shapes = [
        value.shape for n in found.graph.nodes for value in n.operands if n.kind != "nn.tanh"
    ]
    # [3] and [4, 1, 3] of [N, H, W, C], as they are in [N, C, H, W]
    assert {(1, 3, 1, 1), (1, 3, 4, 1), ()} <= set(shapes)


def test_two_alike_transposes_become_one_behind_their_sum() -> None:
    def form(draft: Draft, x: Value) -> Value:
        a = draft.op("transpose", draft.op("exp", x), perm=LAST)
        return draft.op("add", a, draft.op("transpose", x, perm=LAST))

    found = rewritten(EliminateTransposes(), made(form, (2, 3, 4, 5)))
    assert kinds(found) == ["exp", "add", "transpose"]


@pytest.mark.parametrize(
    ("kind", "attributes", "names"),
    [
        ("slice", {"starts": (0, 1, 0, 2), "sizes": (2, 3, 2, 1), "steps": (1, 1, 2, -1)}, []),
        ("reduce_max", {"axes": (1, -1), "keepdims": 1}, []),
        # [W, C] of [N, H, W, C] are left as [C, W]
        ("reduce_min", {"axes": (0, 1), "keepdims": 0}, ["transpose"]),
        ("reduce_max", {"axes": (0, 3), "keepdims": 0}, []),
    ],
)
def test_a_transpose_sinks_through_what_names_axes(
    kind: str, attributes: dict[str, Attribute], names: list[str]
) -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = draft.op(kind, draft.op("transpose", x, perm=LAST), **attributes)
        return draft.op("transpose", y, perm=FIRST) if len(y.shape) == 4 else y

    found = rewritten(EliminateTransposes(), made(form, (2, 3, 4, 5)))
    assert kinds(found) == [kind, *names]


def test_a_transpose_sinks_through_a_concatenation_of_two() -> None:
    def form(draft: Draft, x: Value) -> Value:
        both = [draft.op("transpose", y, perm=LAST) for y in (x, draft.op("exp", x))]
        return draft.op("transpose", draft.op("concat", *both, axis=-1), perm=FIRST)

    found = rewritten(EliminateTransposes(), made(form, (2, 3, 4, 5)))
    assert kinds(found) == ["exp", "concat"]
    assert found.graph.nodes[1].int("axis") == 1


def test_a_transpose_sinks_on_where_a_shape_that_said_nothing_stood() -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = draft.op("transpose", x, perm=LAST)
        y = draft.op("tanh", draft.op("reshape", y, shape=y.shape))
        return draft.op("transpose", y, perm=FIRST)

    found = rewritten(EliminateTransposes(), made(form, (2, 3, 4, 5)))
    assert kinds(found) == ["tanh"]


def test_a_transpose_of_axes_of_one_is_a_reshape() -> None:
    module = made(lambda draft, x: draft.op("transpose", x, perm=(1, 0, 3, 2)), (1, 3, 4, 1))
    assert kinds(rewritten(EliminateTransposes(), module)) == ["reshape"]


def _read_twice(draft: Draft, x: Value) -> Value:
    y = draft.op("transpose", x, perm=LAST)
    draft.build.output("turned", y)
    return draft.op("relu", y)


def _unlike(draft: Draft, x: Value) -> Value:
    a = draft.op("transpose", x, perm=(0, 1, 3, 2))
    return draft.op("add", a, draft.op("transpose", x, perm=(1, 0, 2, 3)))


def _untransposed(draft: Draft, x: Value) -> Value:
    return draft.op("add", draft.op("transpose", x, perm=(0, 1, 3, 2)), x)


def _rounding(draft: Draft, x: Value) -> Value:
    return draft.op("softmax", draft.op("transpose", x, perm=LAST), axis=-1)


@pytest.mark.parametrize("form", [_read_twice, _unlike, _untransposed, _rounding])
def test_a_transpose_stays_where_sinking_costs_or_rounds(form: Form) -> None:
    module = made(form, (3, 3, 3, 3))
    assert EliminateTransposes()(module) is module


def test_a_chain_of_reshapes_around_a_layer_of_tokens_goes() -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = draft.op("reshape", x, shape=(10, 8))
        y = draft.op("add", draft.normal("b", 8), draft.op("mul", y, draft.number(2.0)))
        y = draft.op("reshape", draft.op("tanh", y), shape=(1, 10, 8))
        return draft.op("reshape", draft.op("expand", y, shape=(1, 10, 8)), shape=x.shape)

    assert kinds(rewritten(EliminateReshapes(), made(form, (2, 5, 8)))) == [
        "mul",
        "add",
        "tanh",
    ]


def test_two_alike_reshapes_become_one_behind_their_sum() -> None:
    def form(draft: Draft, x: Value) -> Value:
        both = [draft.op("reshape", y, shape=(10, 8)) for y in (x, draft.op("exp", x))]
        return draft.op("add", *both)

    found = rewritten(EliminateReshapes(), made(form, (2, 5, 8)))
    assert kinds(found) == ["exp", "add", "reshape"]


@pytest.mark.parametrize("shape", [(16, 5), (5, 16), (2, 8, 5)])
def test_a_reshape_stays_before_a_bias_of_another_axis(shape: tuple[int, ...]) -> None:
    def form(draft: Draft, x: Value) -> Value:
        return draft.op(
            "add", draft.op("reshape", x, shape=shape), draft.normal("b", shape[-1])
        )

    module = made(form, (2, 5, 8))
    assert EliminateReshapes()(module) is module


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
        lambda draft, x: draft.op("mul", _conv(draft, x, 4, 3), draft.normal("s", *shape)),
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
        draft.build.output("z", _conv(draft, x, 3, 3))
        return _conv(draft, x, 4, 3)

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


def _average(draft: Draft, x: Value, kernel: int, stride: int, pad: int = 0) -> Value:
    window: dict[str, Attribute] = {"kernel": (kernel,) * 2, "strides": (stride,) * 2}
    return draft.op("average_pool2d", x, **window, pads=(pad,) * 4, count_include_pad=1)


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "pool", "size", "wide"),
    [
        (3, (1, 1), (1, 1, 1, 1), 2, 8, 4),
        (3, (2, 2), (1, 0, 1, 1), 2, 13, 5),
        (1, (1, 1), (0, 0, 0, 0), 3, 9, 3),
    ],
)
def test_an_average_pool_joins_the_convolution(
    kernel: int,
    strides: tuple[int, int],
    pads: tuple[int, ...],
    pool: int,
    size: int,
    wide: int,
) -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = _conv(draft, x, 4, kernel, strides=strides, pads=pads)
        return _average(draft, y, pool, pool)

    found = rewritten(FusePool(), made(form, (1, 2, size, size)))
    (node,) = found.graph.nodes
    assert node.operands[1].shape == (4, 2, wide, wide)
    assert node.ints("strides") == (strides[0] * pool, strides[1] * pool)


def _padded(draft: Draft, x: Value) -> Value:
    return _average(draft, _conv(draft, x, 4, 3), 3, 3, pad=1)


def _dilated(draft: Draft, x: Value) -> Value:
    return _average(draft, _conv(draft, x, 4, 3, dilations=(2, 2)), 2, 2)


def _activated(draft: Draft, x: Value) -> Value:
    return _average(draft, _conv(draft, x, 4, 3, activation="relu"), 2, 2)


def _more_products(draft: Draft, x: Value) -> Value:
    # 5 x 5 for each output in place of 3 x 3
    return _average(draft, _conv(draft, x, 4, 3), 3, 1)


@pytest.mark.parametrize("form", [_padded, _dilated, _activated, _more_products])
def test_an_average_pool_stays_where_it_is_no_convolution_or_a_dearer_one(form: Form) -> None:
    module = made(form, (1, 2, 10, 10))
    assert FusePool()(module) is module


@pytest.mark.parametrize(("block", "expected"), [(2, 2), (4, 4), (5, 0), (64, 0)])
def test_an_attention_of_few_keys_keeps_the_plain_form(block: int, expected: int) -> None:
    def form(draft: Draft, x: Value) -> Value:
        attributes: dict[str, Attribute] = {"scale": 0.5, "causal": 0, "causal_offset": 0}
        return draft.op("attention", x, x, x, **attributes, masked_rows="nan", block=0)

    found = rewritten(TileAttention(block=block), made(form, (2, 5, 4)))
    assert found.graph.nodes[0].int("block") == expected
    assert TileAttention(block=0)(found).graph.nodes[0].int("block") == 0


def test_a_tile_of_no_keys_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        TileAttention(block=-1)
    assert str(caught.value) == (
        "block must be 0 or more keys, not -1; give 0 for the plain form"
    )


def _mixer(draft: Draft, x: Value) -> Value:
    """Two layers of single pixels on channels-last values, between channels-first ones."""
    y = draft.op("transpose", x, perm=LAST)
    y = draft.op("matmul", y, draft.scaled("w", 3, 6), draft.normal("b", 6), activation="relu")
    y = draft.op("matmul", draft.op("tanh", y), draft.scaled("v", 6, 3), activation="none")
    return draft.op("transpose", y, perm=FIRST)


def _pointwise(draft: Draft, x: Value) -> Value:
    y = draft.op("transpose", x, perm=FIRST)
    y = draft.op("relu", _conv(draft, y, 6, 1))
    y = draft.op("softmax", _conv(draft, y, 4, 1), axis=1)
    y = draft.op("reduce_mean", y, axes=(2, 3), keepdims=1)
    return draft.op("transpose", y, perm=LAST)


@pytest.mark.parametrize(
    ("form", "layout", "expected"),
    [
        (_mixer, "channels_first", ["conv2d", "tanh", "conv2d"]),
        (_mixer, "channels_last", ["transpose", "matmul", "tanh", "matmul", "transpose"]),
        (_pointwise, "channels_last", ["matmul", "relu", "matmul", "softmax", "reduce_mean"]),
    ],
)
def test_layers_of_single_pixels_take_the_layout_around_them(
    form: Form, layout: str, expected: list[str]
) -> None:
    found = rewritten(ChooseLayout(layout=layout), made(form, (2, 3, 4, 5)))
    assert kinds(found) == expected


def test_a_convolution_of_more_than_a_pixel_keeps_its_layout() -> None:
    module = made(
        lambda draft, x: _conv(draft, draft.op("transpose", x, perm=FIRST), 4, 3), (2, 5, 5, 3)
    )
    assert ChooseLayout(layout="channels_last")(module) is module


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        ChooseLayout(layout="nhwc")
    assert (
        str(caught.value) == "layout must be one of channels_first, channels_last, not 'nhwc'"
    )


@pytest.mark.parametrize(
    ("indices", "names", "starts", "steps"),
    [
        (2, ["slice", "reshape"], (0, 2, 0), (1, 1, 1)),
        (-1, ["slice", "reshape"], (0, 4, 0), (1, 1, 1)),
        ([1], ["slice"], (0, 1, 0), (1, 1, 1)),
        ([0, 2, 4], ["slice"], (0, 0, 0), (1, 2, 1)),
        ([3, 2, 1], ["slice"], (0, 3, 0), (1, -1, 1)),
        ([0, -4], ["slice"], (0, 0, 0), (1, 1, 1)),
    ],
)
def test_a_gather_of_even_places_is_a_slice(
    indices: int | list[int], names: list[str], starts: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    def form(draft: Draft, x: Value) -> Value:
        return draft.op("gather", x, draft.build.weight("i", np.array(indices)), axis=1)

    found = rewritten(SliceGathers(), made(form, (2, 5, 3)))
    assert kinds(found) == names
    node = found.graph.nodes[0]
    assert (node.ints("starts"), node.ints("steps")) == (starts, steps)


@pytest.mark.parametrize("indices", [[0, 1, 3], [1, 1], [[0, 1]], [4, 9]])
def test_a_gather_of_other_places_stays(indices: list[int]) -> None:
    def form(draft: Draft, x: Value) -> Value:
        return draft.op("gather", x, draft.build.weight("i", np.array(indices)), axis=-2)

    module = made(form, (2, 5, 3))
    assert SliceGathers()(module) is module


@pytest.mark.parametrize(("seen", "names"), [(False, []), (True, ["relu"])])
def test_a_relu_behind_a_max_pool_joins_the_convolution(seen: bool, names: list[str]) -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = _conv(draft, x, 4, 3)
        window: dict[str, Attribute] = {"kernel": (2, 2), "strides": (2, 2)}
        y = draft.op("max_pool2d", y, **window, pads=(1, 0, 1, 0), dilations=(1, 1))
        if seen:
            draft.build.output("pooled", y)
        return draft.op("relu", y)

    found = rewritten(FusePool(), made(form, (1, 2, 8, 8)))
    assert kinds(found) == ["conv2d", "max_pool2d", *names]
    assert found.graph.nodes[0].str("activation") == ("none" if seen else "relu")
