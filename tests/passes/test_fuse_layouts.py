"""Transposes, reshapes and layouts: what each pass moves or removes, and what must stay."""

from __future__ import annotations

import pytest

from tests.passes.forms import FIRST, LAST, Form, conv, kinds, made, rewritten
from tests.passes.random_graphs import Draft
from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Attribute, Value
from tetrapla.passes.choose_layout import ChooseLayout
from tetrapla.passes.eliminate_reshapes import EliminateReshapes
from tetrapla.passes.eliminate_transposes import EliminateTransposes


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


def _mixer(draft: Draft, x: Value) -> Value:
    """Two layers of single pixels on channels-last values, between channels-first ones."""
    y = draft.op("transpose", x, perm=LAST)
    y = draft.op("matmul", y, draft.scaled("w", 3, 6), draft.normal("b", 6), activation="relu")
    y = draft.op("matmul", draft.op("tanh", y), draft.scaled("v", 6, 3), activation="none")
    return draft.op("transpose", y, perm=FIRST)


def _pointwise(draft: Draft, x: Value) -> Value:
    y = draft.op("transpose", x, perm=FIRST)
    y = draft.op("relu", conv(draft, y, 6, 1))
    y = draft.op("softmax", conv(draft, y, 4, 1), axis=1)
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
        lambda draft, x: conv(draft, draft.op("transpose", x, perm=FIRST), 4, 3), (2, 5, 5, 3)
    )
    assert ChooseLayout(layout="channels_last")(module) is module


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        ChooseLayout(layout="nhwc")
    assert (
        str(caught.value) == "layout must be one of channels_first, channels_last, not 'nhwc'"
    )
