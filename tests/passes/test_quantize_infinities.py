"""Scores under a mask of -inf: what holds infinities stays float, what is finite does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.passes.small_modules import kinds
from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import METHODS, Ranges, ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.moments_ import moments
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import canonical
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.relax_clips import RelaxClips
from tetrapla.passes.scales_ import affine, weight_scales
from tetrapla.passes.text_ import parse

# see masked/README.md
EXPORTS = Path(__file__).parent / "masked"
Floats = NDArray[np.float64]

WORDS, WIDTH = 5, 4
MASKS = ("added", "chosen", "computed")


def _masked(build: ModuleBuilder, scores: Value, how: str) -> Value:
    """Causal: by a constant added, by a choice, or by an added choice over an input; or not."""
    if how == "none":
        return scores
    seen = np.tri(WORDS, dtype=bool)
    hidden = build.weight("hidden", np.array(-np.inf, np.float32))
    if how == "added":
        array = np.where(seen, 0, -np.inf).astype(np.float32)
        return build.op("nn.add", [scores, build.weight("mask", array)], name="masked")
    if how == "chosen":
        held = build.weight("seen", seen)
        return build.op("nn.where", [held, scores, hidden], name="masked")
    zero = build.weight("zero", np.array(0, np.float32))
    mask = build.op("nn.where", [build.input("seen", seen.shape, "i1"), zero, hidden])
    return build.op("nn.add", [scores, mask], name="masked")


def _attention(rng: np.random.Generator, how: str) -> Module:
    build = ModuleBuilder("attention")
    x = build.input("x", (WORDS, WIDTH))

    def product(name: str, a: Value, b: Value) -> Value:
        return build.op("nn.matmul", [a, b], {"activation": "none"}, name)

    def projected(name: str) -> Value:
        # small scores, because their errors grow in the exponential
        array = rng.standard_normal((WIDTH, WIDTH)) / (WIDTH if name == "v" else 2 * WIDTH)
        return product(name, x, build.weight(f"w_{name}", array.astype(np.float32)))

    q, k, v = (projected(name) for name in "qkv")
    keys = build.op("nn.transpose", [k], {"perm": (1, 0)}, "keys")
    scores = _masked(build, product("scores", q, keys), how)
    weights = build.op("nn.softmax", [scores], {"axis": -1}, "weights")
    build.output("y", product("y", weights, v))
    return build.finish()


def _data(rng: np.random.Generator, module: Module, count: int) -> dict[str, Array]:
    found: dict[str, Array] = {
        "x": rng.standard_normal((count, WORDS, WIDTH)).astype(np.float32)
    }
    if "seen" in module.inputs:
        found["seen"] = np.tile(np.tri(WORDS, dtype=bool), (count, 1, 1))
    return found


class _Bound:
    """How far a quantised attention may be from the float one, element by element.

    Every value made an integer errs by a whole step at most: half by rounding, half where the
    rounded zero point moves the ends of the range, inside which all of the data is. Weights err
    by half a step. An error d of the scores changes a weight of the softmax by a factor of
    exp(2 d) at most, since numerator and sum change by exp(d) each.
    """

    def __init__(self, module: Module, found: Ranges) -> None:
        self._module = module
        self._found = found

    def of(self, x: Array) -> Floats:
        """For one sample of those that the ranges were found in."""
        real = x.astype(np.float64)
        x_step = affine(*self._found.input("x")).scale
        (q, e_q), (k, e_k), (v, e_v) = (
            self._projected(name, real, np.full(real.shape, x_step)) for name in "qkv"
        )
        scores, e_scores = self._product("scores", q, e_q, k.T, e_k.T)
        seen = np.tri(WORDS, dtype=bool)
        powers = np.where(seen, np.exp(scores), 0)
        p = powers / powers.sum(axis=1, keepdims=True)
        worst = np.where(seen, e_scores, 0).max(axis=1, keepdims=True)
        e_p = p * np.expm1(2 * worst) + self._step("weights")
        return self._product("y", p, e_p, v, e_v)[1]

    def _projected(self, name: str, x: Floats, error: Floats) -> tuple[Floats, Floats]:
        w = self._module.weights[f"w_{name}"].astype(np.float64)
        half = np.broadcast_to(weight_scales(w, 1) / 2, w.shape)
        return self._product(name, x, error, w, half.astype(np.float64))

    def _product(
        self, name: str, a: Floats, e_a: Floats, b: Floats, e_b: Floats
    ) -> tuple[Floats, Floats]:
        error = np.abs(a) @ e_b + e_a @ np.abs(b) + e_a @ e_b
        return a @ b, error + self._step(name)

    def _step(self, name: str) -> float:
        return affine(*self._found.node(name)).scale


@pytest.mark.parametrize("how", MASKS)
@pytest.mark.parametrize("all_operators", [False, True])
def test_a_masked_attention_is_as_near_as_its_steps_allow(
    how: str, all_operators: bool, rng: np.random.Generator
) -> None:
    module, free = (_attention(np.random.default_rng(0), form) for form in (how, "none"))
    data = _data(rng, module, 20)
    found = ranges(module, data)
    assert found.nodes["masked"][0] == -np.inf
    made = run(module, [Quantize(found, all_operators=all_operators)])
    counts = kinds(made)
    assert counts.count("matmul") == 5
    by_name = {node.name: node.kind for node in made.graph.nodes}
    assert all(by_name[name] == "qnn.matmul" for name in ("q", "k", "v", "scores", "y"))
    assert by_name["masked"] == ("nn.where" if how == "chosen" else "nn.add")
    assert by_name["weights"] == "nn.softmax"
    bound = _Bound(module, found)
    for i, x in enumerate(data["x"]):
        sample = {name: array[i] for name, array in data.items()}
        before, after = evaluate(module, sample)["y"], evaluate(made, sample)["y"]
        allowed = bound.of(x)
        assert (np.abs(before.astype(np.float64) - after) <= allowed).all()
        # an attention that forgot its mask is farther off
        unmasked = evaluate(free, {"x": x})["y"]
        assert (np.abs(before.astype(np.float64) - unmasked) > allowed).any()


@pytest.mark.parametrize("how", MASKS)
@pytest.mark.parametrize(
    "options",
    ["", "{all_operators=true}", "{bits=16}", "{activations=f8E4M3FN,weights=f8E4M3FN}"],
)
def test_what_is_masked_does_not_reach_the_words_before(
    how: str, options: str, rng: np.random.Generator
) -> None:
    module = _attention(rng, how)
    data = _data(rng, module, 4)
    made = run(module, parse(f"canonical,quantize{options}"), Context(data))
    sample = {name: array[0] for name, array in data.items()}
    other = sample["x"].copy()
    other[-1] = -other[-1]
    before, after = (evaluate(made, sample | {"x": x})["y"] for x in (sample["x"], other))
    assert np.array_equal(before[:-1], after[:-1])
    assert not np.array_equal(before[-1], after[-1])


@pytest.mark.parametrize("stem", ["attention.dynamo18", "attention.script17"])
def test_an_export_with_a_mask_of_infinities_is_quantised(
    stem: str, rng: np.random.Generator
) -> None:
    module = canonical(load(EXPORTS / f"{stem}.onnx"))
    data: dict[str, Array] = {"x": rng.standard_normal((4, 2, 6, 16)).astype(np.float32)}
    found = ranges(module, data)
    assert any(interval[0] == -np.inf for interval in found.nodes.values())
    made = run(module, [Quantize(found)])
    # queries, keys with values, the two products of the heads, and the last projection
    assert kinds(made).count("matmul") == 5
    assert {n.kind for n in made.graph.nodes if "matmul" in n.kind} == {"qnn.matmul"}
    assert "nn.softmax" in {node.kind for node in made.graph.nodes}
    words = data["x"][0]
    other = words.copy()
    other[:, -1] = -other[:, -1]
    before, after = (evaluate(made, {"x": x})["y"] for x in (words, other))
    assert np.isfinite(before).all()
    assert np.array_equal(before[:, :-1], after[:, :-1])
    assert not np.array_equal(before[:, -1], after[:, -1])


def test_infinities_stay_float_until_they_end(rng: np.random.Generator) -> None:
    build = ModuleBuilder("chain")
    x = build.input("x", (2, 3))
    one = build.weight("one", np.ones((2, 3), np.float32))
    low = build.weight("low", np.array([0, 0, -np.inf], np.float32))
    y = build.op("nn.add", [x, one], name="finite")
    y = build.op("nn.add", [y, low], name="infinite")
    y = build.op("nn.reshape", [y], {"shape": (3, 2)}, "moved")
    y = build.op("nn.relu", [y], name="ended")
    y = build.op("nn.reshape", [y], {"shape": (2, 3)}, "back")
    build.output("y", build.op("nn.add", [y, one], name="after"))
    module = build.finish()
    data: dict[str, Array] = {"x": rng.standard_normal((4, 2, 3)).astype(np.float32)}
    for options in ("", "{all_operators=true}"):
        made = run(module, parse(f"quantize{options}"), Context(data))
        found = {node.name: node.kind for node in made.graph.nodes}
        assert {name: found[name] for name in ("finite", "infinite", "moved", "ended")} == {
            "finite": "qnn.add",
            "infinite": "nn.add",
            "moved": "nn.reshape",
            "ended": "nn.relu",
        }
        assert (found["ended.quantize"], found["after"]) == ("qnn.quantize", "qnn.add")


def _product(array: Array, x_shape: tuple[int, ...] = (1, 2)) -> Module:
    build = ModuleBuilder("product")
    x = build.input("x", x_shape)
    w = build.weight("w", array)
    build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}, name="p"))
    return build.finish()


POSITIVE: dict[str, Array] = {"x": np.ones((1, 1, 2), np.float32)}


@pytest.mark.parametrize("options", ["", "{bits=16}", "{activations=f8E5M2,weights=f8E5M2}"])
def test_infinite_weights_of_a_product_are_refused(options: str) -> None:
    module = _product(np.array([[1, np.inf], [1, 1]], np.float32))
    with pytest.raises(ModelError) as caught:
        run(module, parse(f"quantize{options}"), Context(POSITIVE))
    assert str(caught.value) == (
        "quantize: weight @w must be finite to be quantised, not inf; train or export it again"
    )


def test_nan_is_refused() -> None:
    module = _product(np.array([[1, np.inf], [1, -np.inf]], np.float32))
    with pytest.raises(ModelError) as caught:
        run(module, parse("quantize"), Context(POSITIVE))
    assert str(caught.value) == (
        "quantize: p: calibrated values must be finite, not nan..nan; "
        "mend the model's weights or the data"
    )


def test_a_product_that_overflows_stays_float() -> None:
    module = _product(np.array([[3e38], [3e38]], np.float32))
    made = run(module, parse("quantize"), Context(POSITIVE))
    assert [node.kind for node in made.graph.nodes] == ["nn.matmul"]


@pytest.mark.parametrize("method", METHODS)
def test_an_infinite_range_is_refused_where_it_is_asked_for(
    method: str, rng: np.random.Generator
) -> None:
    module = _attention(rng, "added")
    data = _data(rng, module, 3)
    found = ranges(module, data, method)
    assert np.isfinite(found.node("scores")).all()
    assert found.nodes["masked"] == ranges(module, data).nodes["masked"]
    low, high = found.nodes["masked"]
    with pytest.raises(ModelError) as caught:
        found.node("masked")
    assert str(caught.value) == (
        f"masked: calibrated values must be finite, not {low}..{high}; "
        "mend the model's weights or the data"
    )
    with pytest.raises(ModelError) as caught:
        Ranges({"x": (-np.inf, 0.0)}).input("x")
    assert str(caught.value) == (
        "input 'x': calibrated values must be finite, not -inf..0.0; "
        "mend the model's weights or the data"
    )


@pytest.mark.parametrize("high", [6.0, np.inf])
def test_a_clip_beside_infinities_is_relaxed(high: float) -> None:
    build = ModuleBuilder("clip")
    x = build.input("x", (2,))
    low = build.weight("low", np.array([0, -np.inf], np.float32))
    up = build.weight("up", np.array([0, np.inf if high == np.inf else 1], np.float32))
    build.output("masked", build.op("nn.add", [x, low]))
    raised = build.op("nn.add", [x, up])
    build.output("y", build.op("nn.clip", [raised], {"low": 0.0, "high": high}))
    module = build.finish()
    sample = {"x": np.array([1, 2], np.float32)}
    context = Context({"x": sample["x"][None]})
    made = run(module, [RelaxClips()], context)
    assert kinds(made) == ["add", "add", "relu"]
    assert np.array_equal(evaluate(module, sample)["y"], evaluate(made, sample)["y"])


def test_layers_that_read_infinities_have_no_moments(rng: np.random.Generator) -> None:
    build = ModuleBuilder("moments")
    x = build.input("x", (2, 3))
    w = build.weight("w", np.eye(3, dtype=np.float32))
    low = build.weight("low", np.array([0, 0, -np.inf], np.float32))
    plain: dict[str, Attribute] = {"activation": "none"}
    build.output("y", build.op("nn.matmul", [x, w], plain, name="finite"))
    masked = build.op("nn.add", [x, low])
    build.output("z", build.op("nn.matmul", [masked, w], plain, name="infinite"))
    data: dict[str, Array] = {"x": rng.standard_normal((4, 2, 3)).astype(np.float32)}
    with np.errstate(all="raise"):
        assert set(moments(build.finish(), data)) == {"finite"}


@pytest.mark.parametrize(
    ("hidden", "integer"), [(np.finfo(np.float32).min, False), (-9.0, True)]
)
def test_a_sum_with_the_least_float_stays_float(hidden: float, integer: bool) -> None:
    build = ModuleBuilder("hidden")
    scores, mask = (build.input(name, (WORDS, WORDS)) for name in ("scores", "mask"))
    build.output("y", build.op("nn.add", [scores, mask], name="masked"))
    drawn = np.random.default_rng(0).standard_normal((3, WORDS, WORDS)).astype(np.float32)
    masks = np.broadcast_to(np.where(np.tri(WORDS), 0, hidden).astype(np.float32), drawn.shape)
    data = {"scores": drawn, "mask": masks}
    made = run(build.finish(), parse("quantize"), Context(data))
    assert ("quantize" in kinds(made)) == integer
    y = evaluate(made, {name: array[0] for name, array in data.items()})["y"]
    # the sum of integers moves by at most half a step of each of the three tensors, of 20 / 255
    assert np.abs(y - drawn[0])[np.tri(WORDS, dtype=bool)].max() < 1.5 * 20 / 255
