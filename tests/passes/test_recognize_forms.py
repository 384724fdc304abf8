"""Recognisers one by one: each form that exporters write, and what must not be taken for it."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest

from tests.passes import exporter_forms
from tests.passes.random_graphs import Draft
from tests.passes.recognition import SEEDS, Form, kinds, module_of, moved
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Value
from tetrapla.ir.interpret import evaluate
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.recognize_attention import RecognizeAttention
from tetrapla.passes.recognize_gelu import RecognizeGelu
from tetrapla.passes.recognize_group_norm import RecognizeGroupNorm
from tetrapla.passes.recognize_hard_swish import RecognizeHardSwish
from tetrapla.passes.recognize_layer_norm import RecognizeLayerNorm
from tetrapla.passes.recognize_lrn import RecognizeLrn
from tetrapla.passes.recognize_pool import RecognizePool
from tetrapla.passes.recognize_rms_norm import RecognizeRmsNorm
from tetrapla.passes.recognize_silu import RecognizeSilu


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(
    ("pass_", "form", "shape", "kind"),
    [
        (RecognizeLayerNorm(), exporter_forms.layer_norm, (2, 5, 8), "layer_norm"),
        (RecognizeRmsNorm(), exporter_forms.rms_norm, (2, 5, 8), "rms_norm"),
        (RecognizeGelu(), exporter_forms.gelu, (2, 5, 8), "gelu"),
        (RecognizeSilu(), exporter_forms.silu, (2, 5, 8), "silu"),
        (RecognizeGroupNorm(), exporter_forms.group_norm, (1, 4, 3, 5), "group_norm"),
        (RecognizeHardSwish(), exporter_forms.hard_swish, (2, 5, 8), "hard_swish"),
        (RecognizeLrn(), exporter_forms.lrn, (2, 5, 3, 4), "lrn"),
    ],
)
def test_every_form_becomes_the_one_operator(
    pass_: Pass, form: Form, shape: tuple[int, ...], kind: str, seed: int
) -> None:
    module = module_of(form, shape, seed)
    found = pass_(module)
    assert kinds(found) == [kind]
    assert moved(module, found) <= pass_.max_rel_error


@pytest.mark.parametrize("seed", range(2 * SEEDS))
def test_every_form_of_attention_becomes_the_one_operator(seed: int) -> None:
    module = module_of(exporter_forms.attention, (2, 5, 8), seed)
    found = RecognizeAttention()(module)
    names = kinds(found)
    assert names.count("attention") == 1
    assert not {"softmax", "expand", "mul", "div", "equal"} & set(names)
    assert moved(module, found) <= RecognizeAttention.max_rel_error


def test_the_forms_of_attention_are_masked_grouped_and_causal_in_turn() -> None:
    heads, causal, rows, masks = set[int](), set[int](), set[str](), set[str]()
    for seed in range(2 * SEEDS):
        found = RecognizeAttention()(module_of(exporter_forms.attention, (2, 5, 8), seed))
        (node,) = (n for n in found.graph.nodes if n.kind == "nn.attention")
        heads.add(node.operands[1].shape[1])
        causal.add(node.int("causal"))
        rows.add(node.str("masked_rows"))
        masks |= {value.dtype for value in node.operands[3:]}
    assert (heads, causal, rows, masks) == ({1, 2}, {0, 1}, {"nan", "zero"}, {"f32"})


def _attention(
    draft: Draft, x: Value, mask: Callable[[Value], Value], turned: bool = False
) -> Value:
    """Of [2, 4, 4] on itself, with a mask between the products."""
    keys = draft.op("transpose", x, perm=(0, 2, 1))
    scores = mask(draft.op("matmul", x, keys, activation="none"))
    weights = draft.op("softmax", scores, axis=2)
    if not turned:
        return draft.op("matmul", weights, x, activation="none")
    turned_ = draft.op("transpose", weights, perm=(0, 2, 1))
    return draft.op("matmul", x, turned_, activation="none")


def test_an_attention_of_columns_is_recognised_between_transposes() -> None:
    module = module_of(lambda draft, x: _attention(draft, x, lambda s: s, True), (2, 4, 4))
    found = RecognizeAttention()(module)
    assert kinds(found) == ["transpose", "attention", "transpose"]
    assert moved(module, found) <= RecognizeAttention.max_rel_error


@pytest.mark.parametrize("seen_first", [True, False])
def test_a_choice_of_minus_infinity_is_a_mask_of_truths(seen_first: bool) -> None:
    seen = np.array([[1, 0, 0, 1]] * 4, bool)

    def form(draft: Draft, x: Value) -> Value:
        given = draft.build.weight("seen", seen if seen_first else ~seen)
        hidden = draft.number(-np.inf)

        def mask(scores: Value) -> Value:
            either = (scores, hidden) if seen_first else (hidden, scores)
            return draft.op("where", given, *either)

        return _attention(draft, x, mask)

    module = module_of(form, (2, 4, 4))
    found = RecognizeAttention()(module)
    (node,) = found.graph.nodes
    assert node.operands[3].dtype == "i1"
    assert found.graph.weight(node.operands[3]).tolist() == seen.tolist()
    assert moved(module, found) <= RecognizeAttention.max_rel_error


@pytest.mark.parametrize(
    ("last", "causal", "operands"),
    [
        (0, 1, 3),
        (2, 1, 3),
        (3, 0, 3),  # every key is seen: no mask at all
        (-1, 0, 4),  # query 0 sees nothing: NaN by minus infinity, which stays a mask
    ],
)
def test_a_constant_causal_mask_is_an_attribute(last: int, causal: int, operands: int) -> None:
    seen = np.arange(4) <= np.arange(4)[:, None] + last
    array = np.where(seen, 0, -np.inf).astype(np.float32)

    def form(draft: Draft, x: Value) -> Value:
        mask = draft.build.weight("mask", array)
        return _attention(draft, x, lambda scores: draft.op("add", mask, scores))

    (node,) = RecognizeAttention()(module_of(form, (2, 4, 4))).graph.nodes
    assert (node.int("causal"), len(node.operands)) == (causal, operands)
    assert node.int("causal_offset") == (last if causal else 0)


def test_a_mask_that_hides_by_a_moderate_number_stays_an_added_mask() -> None:
    def form(draft: Draft, x: Value) -> Value:
        array = np.where(np.tri(4, dtype=bool), 0, -1e4).astype(np.float32)
        mask = draft.build.weight("mask", array)
        return _attention(draft, x, lambda scores: draft.op("add", scores, mask))

    (node,) = RecognizeAttention()(module_of(form, (2, 4, 4))).graph.nodes
    assert (node.int("causal"), len(node.operands)) == (0, 4)


def test_two_masks_are_added_and_one_that_is_causal_is_the_attribute() -> None:
    def form(draft: Draft, x: Value) -> Value:
        array = np.where(np.tri(4, dtype=bool), 0, -np.inf).astype(np.float32)
        masks = [draft.normal("a", 4, 4), draft.build.weight("causal", array)]
        masks.append(draft.normal("b", 2, 1, 4))

        def mask(scores: Value) -> Value:
            for each in masks:
                scores = draft.op("add", scores, each)
            return scores

        return _attention(draft, x, mask)

    module = module_of(form, (2, 4, 4))
    found = RecognizeAttention()(module)
    assert kinds(found) == ["add", "attention"]
    assert found.graph.nodes[1].int("causal") == 1
    assert moved(module, found) <= RecognizeAttention.max_rel_error


def _seen_weights(draft: Draft, x: Value) -> Value:
    keys = draft.op("transpose", x, perm=(0, 2, 1))
    weights = draft.op("softmax", draft.op("matmul", x, keys, activation="none"), axis=-1)
    draft.build.output("weights", weights)
    return draft.op("matmul", weights, x, activation="none")


def _other_axis(draft: Draft, x: Value) -> Value:
    keys = draft.op("transpose", x, perm=(0, 2, 1))
    weights = draft.op("softmax", draft.op("matmul", x, keys, activation="none"), axis=1)
    return draft.op("matmul", weights, x, activation="none")


def _scaled_mask(draft: Draft, x: Value) -> Value:
    def mask(scores: Value) -> Value:
        masked = draft.op("add", scores, draft.normal("mask", 4, 4))
        return draft.op("mul", masked, draft.number(0.5))

    return _attention(draft, x, mask)


def _broadcast_keys(draft: Draft, x: Value) -> Value:
    scores = draft.op("matmul", x, draft.normal("keys", 4, 6), activation="none")
    weights = draft.op("softmax", scores, axis=2)
    return draft.op("matmul", weights, draft.normal("values", 6, 4), activation="none")


@pytest.mark.parametrize("form", [_seen_weights, _other_axis, _scaled_mask, _broadcast_keys])
def test_what_only_looks_like_attention_stays(form: Form) -> None:
    module = module_of(form, (2, 4, 4))
    assert RecognizeAttention()(module) is module


def test_a_softmax_of_sums_of_sums_is_read_once_for_each() -> None:
    build = ModuleBuilder("sums")
    x, v = build.input("x", (2, 4, 4)), build.input("v", (2, 4, 4))
    for _ in range(64):  # to follow every way to x would take 2^64 steps
        x = build.op("nn.add", [x, x])
    p = build.op("nn.softmax", [x], {"axis": -1})
    build.output("y", build.op("nn.matmul", [p, v], {"activation": "none"}))
    module = build.finish()
    assert RecognizeAttention()(module) is module


def _erf(draft: Draft, x: Value, inner: float, outer: float) -> Value:
    t = draft.op("erf", draft.op("mul", x, draft.number(inner)))
    y = draft.op("mul", x, draft.op("add", t, draft.number(1.0)))
    return draft.op("mul", y, draft.number(outer))


@pytest.mark.parametrize(
    ("inner", "outer", "taken"),
    [
        (sqrt(0.5), 0.5, True),
        (sqrt(0.5) * (1 + 2.0**-21), 0.5, True),
        (sqrt(0.5) * (1 + 2.0**-18), 0.5, False),
        (0.7, 0.5, False),
        (sqrt(0.5), 0.25, False),
    ],
)
def test_a_gelu_needs_its_constants(inner: float, outer: float, taken: bool) -> None:
    module = module_of(lambda draft, x: _erf(draft, x, inner, outer), (2, 8))
    assert (kinds(RecognizeGelu()(module)) == ["gelu"]) == taken


def test_an_error_function_of_another_value_is_no_gelu() -> None:
    def form(draft: Draft, x: Value) -> Value:
        t = draft.op("erf", draft.op("mul", draft.op("exp", x), draft.number(sqrt(0.5))))
        y = draft.op("mul", x, draft.op("add", t, draft.number(1.0)))
        return draft.op("mul", y, draft.number(0.5))

    module = module_of(form, (2, 8))
    assert RecognizeGelu()(module) is module


@pytest.mark.parametrize(
    ("slope", "middle", "taken"), [(1 / 6, 0.5, True), (0.2, 0.5, False), (1 / 6, 0.4, False)]
)
def test_a_hard_swish_needs_its_line(slope: float, middle: float, taken: bool) -> None:
    module = module_of(
        lambda draft, x: draft.op(
            "mul", x, draft.op("hard_sigmoid", x, alpha=slope, beta=middle)
        ),
        (2, 8),
    )
    assert (kinds(RecognizeHardSwish()(module)) == ["hard_swish"]) == taken


@pytest.mark.parametrize("plus", [1.0, 2.0])
def test_a_quotient_is_a_silu_with_one_alone(plus: float) -> None:
    def form(draft: Draft, x: Value) -> Value:
        power = draft.op("exp", draft.op("neg", x))
        return draft.op("div", x, draft.op("add", power, draft.number(plus)))

    assert (kinds(RecognizeSilu()(module_of(form, (2, 8)))) == ["silu"]) == (plus == 1.0)


def test_a_sigmoid_of_another_value_is_no_silu() -> None:
    module = module_of(
        lambda draft, x: draft.op("mul", x, draft.op("sigmoid", draft.op("neg", x))), (2, 8)
    )
    assert RecognizeSilu()(module) is module


@pytest.mark.parametrize(("keep", "names"), [(1, []), (0, ["reshape"])])
def test_a_mean_over_height_and_width_is_a_pool(keep: int, names: list[str]) -> None:
    module = module_of(
        lambda draft, x: draft.op("reduce_mean", x, axes=(-1, 2), keepdims=keep), (2, 3, 4, 5)
    )
    found = RecognizePool()(module)
    assert kinds(found) == ["global_average_pool", *names]
    assert moved(module, found) <= RecognizePool.max_rel_error


@pytest.mark.parametrize(("axes", "shape"), [((1, 2), (2, 3, 4, 5)), ((2, 3), (2, 3, 4, 5, 6))])
def test_a_mean_over_other_axes_is_no_pool(
    axes: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    module = module_of(
        lambda draft, x: draft.op("reduce_mean", x, axes=axes, keepdims=1), shape
    )
    assert RecognizePool()(module) is module


def test_a_group_normalisation_takes_a_scale_of_its_channels_only() -> None:
    def form(draft: Draft, x: Value) -> Value:
        rows = draft.op("reshape", x, shape=(1, 2, 30))
        one = draft.build.weight("one", np.ones(2, np.float32))
        zero = draft.build.weight("zero", np.zeros(2, np.float32))
        y = draft.op("group_norm", rows, one, zero, groups=2, epsilon=1e-5)
        y = draft.op("reshape", y, shape=x.shape)
        return draft.op("mul", y, draft.normal("scale", 1, 3, 5))

    assert kinds(RecognizeGroupNorm()(module_of(form, (1, 4, 3, 5)))) == ["group_norm", "mul"]


@pytest.mark.parametrize("guarded", [True, False])
def test_rows_that_see_nothing_stay_nan_or_zero(guarded: bool) -> None:
    seen = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0]], bool)

    def form(draft: Draft, x: Value) -> Value:
        added = np.where(seen, 0, -np.inf).astype(np.float32)
        keys = draft.op("transpose", x, perm=(0, 2, 1))
        scores = draft.op("matmul", x, keys, activation="none")
        scores = draft.op("add", scores, draft.build.weight("mask", added))
        weights = draft.op("softmax", scores, axis=2)
        if guarded:
            nothing = draft.op("is_nan", weights)
            weights = draft.op("where", nothing, draft.number(0.0), weights)
        return draft.op("matmul", weights, x, activation="none")

    module = module_of(form, (2, 4, 4))
    found = RecognizeAttention()(module)
    assert kinds(found) == ["attention"]
    draw = np.random.default_rng(0)
    inputs = {"x": draw.standard_normal((2, 4, 4)).astype(np.float32)}
    before, after = evaluate(module, inputs)["y"], evaluate(found, inputs)["y"]
    hidden = after[:, 1]
    assert bool((hidden == 0).all() if guarded else np.isnan(hidden).all())
    largest = np.nanmax(np.abs(before))
    bound = RecognizeAttention.max_rel_error * largest
    assert np.allclose(before, after, rtol=0, atol=bound, equal_nan=True)


def test_a_guard_by_another_number_stays() -> None:
    def form(draft: Draft, x: Value) -> Value:
        keys = draft.op("transpose", x, perm=(0, 2, 1))
        weights = draft.op("softmax", draft.op("matmul", x, keys, activation="none"), axis=2)
        nothing = draft.op("is_nan", weights)
        weights = draft.op("where", nothing, draft.number(1.0), weights)
        return draft.op("matmul", weights, x, activation="none")

    module = module_of(form, (2, 4, 4))
    assert RecognizeAttention()(module) is module


def _joined_heads(draft: Draft, x: Value, late: bool) -> Value:
    """Two images of two heads, as four in the products; masks on both forms of the scores.

    The softmax is over the four (as older libraries have it) or over two by two (`late`).
    """
    keys = draft.op("transpose", x, perm=(0, 2, 1))
    scores = draft.op("mul", draft.op("matmul", x, keys, activation="none"), draft.number(0.5))
    slopes = draft.build.weight("slopes", draft.draw.standard_normal((4, 1, 5)).astype("f4"))
    scores = draft.op("reshape", draft.op("add", slopes, scores), shape=(2, 2, 5, 5))
    scores = draft.op("add", scores, draft.normal("mask", 2, 1, 5, 5))
    array = np.where(np.tri(5, dtype=bool), 0, -np.inf).astype(np.float32)
    scores = draft.op("add", scores, draft.build.weight("causal", array))
    if not late:
        scores = draft.op("reshape", scores, shape=(4, 5, 5))
        return draft.op("matmul", draft.op("softmax", scores, axis=-1), x, activation="none")
    values = draft.op("reshape", x, shape=(2, 2, 5, 8))
    return draft.op("matmul", draft.op("softmax", scores, axis=-1), values, activation="none")


@pytest.mark.parametrize(("late", "names"), [(False, ["reshape"]), (True, [])])
def test_heads_that_are_joined_in_the_products_are_taken_apart(
    late: bool, names: list[str]
) -> None:
    module = module_of(lambda draft, x: _joined_heads(draft, x, late), (4, 5, 8))
    found = RecognizeAttention()(module)
    (node,) = (n for n in found.graph.nodes if n.kind == "nn.attention")
    assert [value.shape for value in node.operands[:2]] == [(2, 2, 5, 8)] * 2
    assert (node.int("causal"), node.float("scale")) == (1, 0.5)
    # the slopes and the mask are added to one another, each in two by two heads
    assert kinds(found)[-2 - len(names) :] == ["add", "attention", *names]
    assert not {"softmax", "matmul"} & set(kinds(found))
    assert moved(module, found) <= RecognizeAttention.max_rel_error


def test_a_mask_along_some_of_the_joined_heads_stays() -> None:
    def form(draft: Draft, x: Value) -> Value:
        keys = draft.op("transpose", x, perm=(0, 2, 1))
        scores = draft.op("matmul", x, keys, activation="none")
        scores = draft.op("reshape", scores, shape=(2, 2, 5, 5))
        scores = draft.op("add", scores, draft.normal("mask", 2, 1, 5, 5))
        scores = draft.op("reshape", scores, shape=(1, 4, 5, 5))
        y = draft.op("reshape", x, shape=(1, 4, 5, 8))
        return draft.op("matmul", draft.op("softmax", scores, axis=-1), y, activation="none")

    module = module_of(form, (4, 5, 8))
    assert RecognizeAttention()(module) is module
