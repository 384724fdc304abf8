"""Normalisations: each form that exporters write, and what must not be taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.random_graphs import Draft
from tests.passes.recognition import Form, kinds, module_of, moved
from tetrapla.ir.graph import Value
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.recognize_layer_norm import RecognizeLayerNorm
from tetrapla.passes.recognize_rms_norm import RecognizeRmsNorm


def _centred(draft: Draft, x: Value, axes: tuple[int, ...]) -> Value:
    return draft.op("sub", x, draft.op("reduce_mean", x, axes=axes, keepdims=1))


def _deviation(draft: Draft, d: Value, axes: tuple[int, ...], epsilon: float = 1e-5) -> Value:
    power = draft.op("reduce_mean", draft.op("mul", d, d), axes=axes, keepdims=1)
    return draft.op("sqrt", draft.op("add", power, draft.number(epsilon)))


def _over_rows(draft: Draft, x: Value) -> Value:
    d = _centred(draft, x, (1,))
    return draft.op("div", d, _deviation(draft, d, (1,)))


def _two_axes(draft: Draft, x: Value) -> Value:
    d = _centred(draft, x, (2,))
    return draft.op("div", d, _deviation(draft, d, (1, 2)))


def _of_another(draft: Draft, x: Value) -> Value:
    d, other = _centred(draft, x, (2,)), _centred(draft, draft.op("exp", x), (2,))
    return draft.op("div", d, _deviation(draft, other, (2,)))


def _uncentred(draft: Draft, x: Value) -> Value:
    return draft.op("div", x, _deviation(draft, _centred(draft, x, (2,)), (2,)))


def _negative_epsilon(draft: Draft, x: Value) -> Value:
    d = _centred(draft, x, (2,))
    return draft.op("div", d, _deviation(draft, d, (2,), -1e-5))


def _unbiased(draft: Draft, x: Value) -> Value:
    d = _centred(draft, x, (2,))
    power = draft.op("reduce_mean", draft.op("mul", d, d), axes=(2,), keepdims=1)
    power = draft.op("mul", power, draft.number(8 / 7))
    root = draft.op("sqrt", draft.op("add", power, draft.number(1e-5)))
    return draft.op("div", d, root)


def _put_elsewhere(draft: Draft, x: Value) -> Value:
    d = _centred(draft, x, (2,))
    power = draft.op("reduce_mean", draft.op("mul", d, d), axes=(2,), keepdims=0)
    power = draft.op("reshape", power, shape=(5, 2, 1))  # rows of another value
    power = draft.op("transpose", power, perm=(1, 0, 2))
    root = draft.op("sqrt", draft.op("add", power, draft.number(1e-5)))
    return draft.op("div", d, root)


def _scaled_by_rows(draft: Draft, x: Value) -> Value:
    d = _centred(draft, x, (2,))
    scaled = draft.op("mul", draft.normal("scale", 5, 1), d)
    return draft.op("div", scaled, _deviation(draft, d, (2,)))


def _scaled_by_a_value(draft: Draft, x: Value) -> Value:
    d = _centred(draft, x, (2,))
    return draft.op("div", draft.op("mul", draft.op("exp", x), d), _deviation(draft, d, (2,)))


def _scaled_under_the_root(draft: Draft, x: Value) -> Value:
    d = _centred(draft, x, (2,))
    scaled = draft.op("mul", draft.normal("scale", 8), d)
    return draft.op("div", d, _deviation(draft, scaled, (2,)))


NEITHER = (
    _over_rows,
    _of_another,
    _uncentred,
    _negative_epsilon,
    _unbiased,
    _put_elsewhere,
    _scaled_by_rows,
    _scaled_by_a_value,
    _scaled_under_the_root,
)


@pytest.mark.parametrize(
    ("pass_", "form"),
    [
        *((RecognizeLayerNorm(), form) for form in (*NEITHER, _two_axes)),
        *((RecognizeRmsNorm(), form) for form in NEITHER),
    ],
)
def test_what_only_looks_like_a_normalisation_stays(pass_: Pass, form: Form) -> None:
    module = module_of(form, (2, 5, 8))
    assert pass_(module) is module


def test_means_that_are_put_back_along_another_axis_are_no_normalisation() -> None:
    def form(draft: Draft, x: Value) -> Value:
        d = _centred(draft, x, (2,))
        power = draft.op("reduce_mean", draft.op("mul", d, d), axes=(2,), keepdims=0)
        power = draft.op("reshape", power, shape=(1, 1, 8))
        root = draft.op("sqrt", draft.op("add", power, draft.number(1e-5)))
        return draft.op("div", d, root)

    module = module_of(form, (1, 8, 8))
    assert RecognizeLayerNorm()(module) is module
    assert RecognizeRmsNorm()(module) is module


@pytest.mark.parametrize("shape", [(8,), (1, 8), (1, 1, 8)])
@pytest.mark.parametrize(
    ("pass_", "kind"), [(RecognizeLayerNorm(), "layer_norm"), (RecognizeRmsNorm(), "rms_norm")]
)
def test_a_scale_before_the_quotient_is_the_parameter(
    pass_: Pass, kind: str, shape: tuple[int, ...]
) -> None:
    def form(draft: Draft, x: Value) -> Value:
        d = _centred(draft, x, (2,)) if kind == "layer_norm" else x
        scaled = draft.op("mul", draft.normal("scale", *shape), d)
        draft.build.output("scaled", scaled)  # that others read it is no hindrance
        return draft.op("div", scaled, _deviation(draft, d, (2,)))

    module = module_of(form, (2, 5, 8))
    found = pass_(module)
    (node,) = (n for n in found.graph.nodes if n.kind == f"nn.{kind}")
    scale = found.graph.weight(node.operands[1])
    assert scale.shape == (8,)
    assert np.array_equal(scale, module.weights["scale"].reshape(-1))
    assert moved(module, found) <= pass_.max_rel_error


def test_a_normalisation_over_two_last_axes_has_its_first_axis() -> None:
    def form(draft: Draft, x: Value) -> Value:
        d = _centred(draft, x, (-1, 1))
        y = draft.op("div", d, _deviation(draft, d, (1, 2)))
        # varies along the last axis alone, so it is no parameter of both
        return draft.op("mul", y, draft.normal("scale", 8))

    found = RecognizeLayerNorm()(module_of(form, (2, 5, 8)))
    assert kinds(found) == ["layer_norm", "mul"]
    assert found.graph.nodes[0].operands[1].shape == (5, 8)


def test_a_normalisation_that_others_read_keeps_its_parameters_apart() -> None:
    def form(draft: Draft, x: Value) -> Value:
        d = _centred(draft, x, (2,))
        y = draft.op("div", d, _deviation(draft, d, (2,)))
        draft.build.output("normalised", y)
        return draft.op("mul", y, draft.normal("scale", 8))

    assert kinds(RecognizeLayerNorm()(module_of(form, (2, 5, 8)))) == ["layer_norm", "mul"]
