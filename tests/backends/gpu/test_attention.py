"""Fused attention: by hand, by its laws, within its bound for all tiles, and as emitted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.gpu.helpers import interpreted, miswrite
from tetrapla.backends.gpu.bounds.attention import attention as attention_bound
from tetrapla.backends.gpu.bounds.rules import ROUNDINGS, tracked
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.lower import lower, plan
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import evaluated
from tetrapla.simulators.gpu.fused_attention import FusedAttention, attended
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed, values
from tetrapla.simulators.spec_ import load_spec


@dataclass(frozen=True)
class Case:
    """An attention of random numbers."""

    q: tuple[int, ...]
    k: tuple[int, ...]
    columns: int  # of the values
    mask: Array | None = None
    last_key: int | None = None
    masked_rows: str = "nan"
    scale: float = 0.25

    @property
    def attributes(self) -> dict[str, Attribute]:
        return {
            "scale": self.scale,
            "causal": int(self.last_key is not None),
            "causal_offset": self.last_key or 0,
            "masked_rows": self.masked_rows,
            "block": 0,
        }

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"q": self.q, "k": self.k, "v": (*self.k[:-1], self.columns)}

    def module(self) -> Module:
        build = ModuleBuilder("attention")
        self.add(build, "")
        return build.finish()

    def add(self, build: ModuleBuilder, number: str) -> None:
        """Add it with inputs and an output of its own."""
        operands = [build.input(f"{n}{number}", shape) for n, shape in self.shapes.items()]
        if self.mask is not None:
            operands.append(build.weight(f"mask{number}", self.mask))
        y = build.op("nn.attention", operands, self.attributes, f"attention{number}")
        build.output(f"y{number}", y)

    def inputs(self, rng: np.random.Generator, count: int = 2) -> dict[str, Array]:
        return {
            n: rng.normal(size=(count, *shape)).astype(np.float32)
            for n, shape in self.shapes.items()
        }


def only_kernel(program: Program) -> FusedAttention:
    (kernel,) = program.kernels
    assert isinstance(kernel, FusedAttention)
    return kernel


def found(case: Case, inputs: dict[str, Array], number_format: str = "fp32") -> Array:
    return values(plan(case.module(), number_format), inputs)["y"]


def off(case: Case, inputs: dict[str, Array], number_format: str) -> Array:
    """How far one plan's result may be from the exact one."""
    (node,) = case.module().graph.nodes
    entered = ROUNDINGS.get(number_format.replace("fp", "f"))
    held = list(inputs.values())
    if case.mask is not None:
        held.append(case.mask[None])
    numbers = [a if a.dtype == bool else a.astype(np.float64) for a in held]
    sides = [tracked(a, np.zeros(a.shape)) for a in numbers]
    return attention_bound(node, sides, entered).d


def test_two_keys_by_hand() -> None:
    # scores 0 and ln 3: powers 1 : 3, so that 0 and 4 are mixed to 3
    case = Case((1, 1, 1, 1), (1, 1, 2, 1), 1, scale=1.0)
    k = np.array([0, np.log(3)], np.float32).reshape(1, 1, 1, 2, 1)
    v = np.array([0, 4], np.float32).reshape(1, 1, 1, 2, 1)
    q = np.ones((1, 1, 1, 1, 1), np.float32)
    whole = only_kernel(plan(case.module(), "fp32"))
    # key by key: 1 v0, then shrunk to a third: (1/3, 0 / 3) and 1 more of each
    for kernel in (whole, replace(whole, tile_keys=1)):
        flat = {name: a.reshape(1, -1) for name, a in (("q", q), ("k", k), ("v", v))}
        assert attended(kernel, flat) == pytest.approx(3, rel=2**-20)


def test_a_shift_of_all_scores_changes_nothing(rng: np.random.Generator) -> None:
    shapes: tuple[tuple[int, ...], tuple[int, ...]] = (2, 2, 9, 4), (2, 2, 40, 4)
    inputs = {
        n: rng.integers(-3, 4, (1, *shape)).astype(np.float32)
        for n, shape in zip("qkv", (*shapes, shapes[1]), strict=True)
    }
    # whole numbers, so that sums with 5 are exact
    plain, shifted = (
        Case(*shapes, 4, mask=np.full((1, 1), number, np.float32), scale=1.0)
        for number in (0, 5)
    )
    assert np.array_equal(found(plain, inputs), found(shifted, inputs))


@pytest.mark.parametrize("last_key", [0, 3, 11, -4])
def test_causal_is_a_mask_of_truths(last_key: int, rng: np.random.Generator) -> None:
    shapes: tuple[tuple[int, ...], tuple[int, ...]] = (1, 2, 50, 8), (1, 2, 60, 8)
    causal = Case(*shapes, 8, last_key=last_key, masked_rows="zero")
    seen = np.arange(60) <= np.arange(50)[:, None] + last_key
    masked = Case(*shapes, 8, mask=seen, masked_rows="zero")
    inputs = causal.inputs(rng)
    kernels = [only_kernel(plan(case.module(), "fp32")) for case in (causal, masked)]
    # what no query of a tile sees is not looked at, and would have added zeros
    assert kernels[0].pairs < kernels[1].pairs == 2 * 50 * 60
    assert np.array_equal(found(causal, inputs), found(masked, inputs))


def test_tiles_above_the_diagonal_are_left_out_by_hand() -> None:
    kernel = only_kernel(
        plan(Case((1, 1, 64, 8), (1, 1, 64, 8), 8, last_key=0).module(), "fp32")
    )
    assert (kernel.tile_rows, kernel.tile_keys) == (32, 32)
    # the first 32 queries see 32 keys, the others 64
    assert kernel.pairs == 32 * 32 + 32 * 64
    assert kernel.macs == kernel.pairs * (8 + 8)


def test_query_heads_share_key_heads(rng: np.random.Generator) -> None:
    case = Case((2, 6, 5, 8), (2, 2, 7, 8), 4)
    inputs = case.inputs(rng)
    repeated = {n: np.repeat(a, 3, axis=2) if n != "q" else a for n, a in inputs.items()}
    same = Case((2, 6, 5, 8), (2, 6, 7, 8), 4)
    assert np.array_equal(found(case, inputs), found(same, repeated))


@pytest.mark.parametrize("masked_rows", ["nan", "zero"])
@pytest.mark.parametrize("truths", [False, True])
def test_a_query_that_sees_nothing(
    masked_rows: str, truths: bool, rng: np.random.Generator
) -> None:
    seen = rng.random((3, 40)) < 0.5
    seen[1], seen[2, :33] = False, False  # all, and the first tile of keys
    mask = seen if truths else np.where(seen, 0, -np.inf).astype(np.float32)
    case = Case((1, 1, 3, 4), (1, 1, 40, 4), 4, mask=mask, masked_rows=masked_rows)
    inputs = case.inputs(rng)
    y = found(case, inputs)
    wanted = evaluate_many(case.module(), inputs)["y"]
    nothing = np.isnan(y) if masked_rows == "nan" else y == 0
    assert nothing[:, 0, 0, 1].all()
    assert not np.isnan(y[:, 0, 0, ::2]).any()
    assert (np.abs(y - wanted)[:, 0, 0, ::2] <= off(case, inputs, "fp32")[:, 0, 0, ::2]).all()


def test_a_step_with_a_cache_is_the_last_row(rng: np.random.Generator) -> None:
    """Past and new keys are read where they lie; nothing is put together."""
    tokens, heads, size = 45, 2, 8
    full = Case((1, heads, tokens, size), (1, heads, tokens, size), size, last_key=0)
    inputs = full.inputs(rng)
    build = ModuleBuilder("step")
    q = build.input("q", (1, heads, 1, size))
    past = [build.input(f"past_{n}", (1, heads, tokens - 1, size)) for n in "kv"]
    new = [build.input(f"new_{n}", (1, heads, 1, size)) for n in "kv"]
    joined = [
        build.op("nn.concat", list(pair), {"axis": 2}, f"present_{n}")
        for n, pair in zip("kv", zip(past, new, strict=True), strict=True)
    ]
    attributes = {**full.attributes, "causal_offset": tokens - 1}
    build.output("y", build.op("nn.attention", [q, *joined], attributes, "attention"))
    module = build.finish()
    given = {"q": inputs["q"][..., -1:, :]}
    for n in "kv":
        given |= {f"past_{n}": inputs[n][..., :-1, :], f"new_{n}": inputs[n][..., -1:, :]}
    program = plan(module, "fp16")
    kernel = only_kernel(program)
    assert kernel.segments == (tokens - 1, 1)
    assert kernel.sources == ("q", "past_k", "past_v", "new_k", "new_v")
    row = found(full, inputs, "fp16")[..., -1:, :]
    step = values(program, given)["y"]
    # each is so far from the same exact result of what float16 holds
    halved = {n: a.astype(np.float16).astype(np.float32) for n, a in inputs.items()}
    assert (np.abs(step - row) <= 2 * off(full, halved, "fp16")[..., -1:, :]).all()
    assert not np.array_equal(step, 0 * step)


def random_mask(rng: np.random.Generator, kind: str, shape: Sequence[int]) -> Array | None:
    match kind:
        case "none":
            return None
        case "truths":
            return np.asarray(rng.random(shape) < 0.6)
        case "hidden":
            return np.where(rng.random(shape) < 0.6, 0, -np.inf).astype(np.float32)
        case "large":
            return np.where(rng.random(shape) < 0.6, 0, -3.4e38).astype(np.float32)
        case _:
            return rng.normal(size=shape).astype(np.float32)


@settings(max_examples=60)
@given(st.data())
def test_any_shape_mask_and_tile_is_within_the_bound(data: st.DataObject) -> None:
    def draw(least: int, most: int) -> int:
        return data.draw(st.integers(least, most))

    rng = np.random.default_rng(draw(0, 2**32 - 1))
    key_heads, group, rows, keys = draw(1, 2), draw(1, 3), draw(1, 20), draw(1, 30)
    lead = data.draw(st.sampled_from([(), (1,), (2,), (2, 1, 2)]))
    columns = draw(1, 9)
    kind = data.draw(st.sampled_from(["none", "truths", "hidden", "large", "sum"]))
    heads = key_heads * group
    axes = [n if draw(0, 1) else 1 for n in (*lead, heads, rows, keys)]
    case = Case(
        (*lead, heads, rows, columns),
        (*lead, key_heads, keys, columns),
        draw(1, 9),
        random_mask(rng, kind, axes),
        data.draw(st.none() | st.integers(-3, 12)),
        data.draw(st.sampled_from(["nan", "zero"])),
        scale=data.draw(st.sampled_from([0.3, 1.0, 5.0])),
    )
    number_format = data.draw(st.sampled_from(["fp16", "fp32"]))
    inputs = case.inputs(rng, 1)
    if number_format == "fp16":
        inputs = {n: a.astype(np.float16).astype(np.float32) for n, a in inputs.items()}
    kernel = only_kernel(plan(case.module(), number_format))
    kernel = replace(kernel, tile_rows=draw(1, 8), tile_keys=draw(1, 8))
    flat = {n: a.reshape(1, -1) for n, a in inputs.items()}
    wide = [a[0].astype(np.float64) for a in inputs.values()]
    if case.mask is not None:
        flat["mask"] = case.mask.reshape(1, -1)
        wide.append(case.mask if case.mask.dtype == bool else case.mask.astype(np.float64))
    with np.errstate(all="ignore"):
        y = attended(kernel, flat).reshape(1, *case.q[:-1], case.columns)
        exact = evaluated("nn.attention", wide, case.attributes)
        bound = off(case, inputs, number_format)
        same = (y[0] == exact) | (np.isnan(y[0]) & np.isnan(exact))
        assert (same | (np.abs(y[0] - exact) <= bound[0])).all()
    assert np.isfinite(bound).all()


def variants(rng: np.random.Generator) -> list[Case]:
    """Every form that the text has, in as few tiles as show it."""
    some = (rng.random((2, 1, 1, 40)) < 0.5).astype(bool)
    hidden = np.where(rng.random((20, 1)) < 0.5, 0, -np.inf).astype(np.float32)
    return [
        Case((2, 4, 20, 12), (2, 2, 40, 12), 20, last_key=20),
        Case((2, 2, 20, 8), (2, 2, 40, 8), 8, mask=some, masked_rows="zero"),
        Case((3, 20, 8), (3, 70, 8), 8, mask=hidden, masked_rows="zero"),
        Case((1, 1, 3, 8), (1, 1, 5, 8), 8, mask=np.ones((1, 1), np.float32)),
        Case((1, 1, 40, 8), (1, 1, 20, 8), 8, last_key=-30, masked_rows="zero"),
        Case(
            (2, 1, 2, 5, 4),
            (2, 1, 2, 5, 4),
            4,
            mask=rng.normal(size=(2, 1, 1, 5, 5)).astype("f4"),
        ),
    ]


@pytest.mark.parametrize("number_format", ["fp16", "fp32", "bf16", "tf32"])
def test_emitted_attention_is_within_its_bound(
    number_format: str, rng: np.random.Generator
) -> None:
    build, inputs = ModuleBuilder("variants"), dict[str, Array]()
    for number, case in enumerate(variants(rng)):
        case.add(build, str(number))
        inputs |= {f"{n}{number}": a for n, a in case.inputs(rng).items()}
    module = build.finish()
    program = plan(module, number_format)
    held = interpreted(program, inputs)
    reference = evaluate_many(module, inputs)
    lowered = Lowered(module, program)
    for each in (held, executed(program, inputs)):
        verdict = judged(lowered, inputs, each, reference)
        assert verdict.passed, verdict
        assert verdict.bound is not None
        assert verdict.bound < 0.02


def test_sums_that_are_not_scaled_down_are_caught(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case((1, 1, 2, 8), (1, 1, 90, 8), 8, scale=1.0)
    module, inputs = case.module(), case.inputs(rng)
    lowered = Lowered(module, plan(module, "fp16"))
    miswrite(monkeypatch, lowered.program, "tl.exp(top - origin)", "tl.exp(origin - origin)")
    held = interpreted(lowered.program, inputs)
    assert not judged(lowered, inputs, held, evaluate_many(module, inputs)).passed


def test_it_survives_json_and_has_a_text() -> None:
    case = Case((1, 2, 3, 4), (1, 2, 5, 4), 4, mask=np.ones((3, 5), bool), last_key=1)
    program = plan(case.module(), "fp16")
    assert Program.from_dict(json.loads(json.dumps(program.to_dict()))) == program
    assert program.text().splitlines()[-1] == (
        "  attention: attention = FusedAttention(q, k, v, mask)"
    )
    (function,) = functions(program)[0]
    assert "q_ptr, k_ptr, v_ptr, mask_ptr, y_ptr" in function.text


def test_the_pattern_that_exporters_write_is_one_kernel(rng: np.random.Generator) -> None:
    build = ModuleBuilder("pattern")
    q, k, v = (build.input(name, (2, 3, 5, 8)) for name in "qkv")
    turned = build.op("nn.transpose", [k], {"perm": (0, 1, 3, 2)}, "turn")
    scores = build.op("nn.matmul", [q, turned], {"activation": "none"}, "scores")
    eighth = build.weight("eighth", np.array(0.125, np.float32))
    scaled = build.op("nn.mul", [scores, eighth], {}, "scaled")
    mask = build.weight("mask", rng.normal(size=(2, 1, 5, 5)).astype(np.float32))
    masked = build.op("nn.add", [scaled, mask], {}, "masked")
    weights = build.op("nn.softmax", [masked], {"axis": -1}, "weights")
    y = build.op("nn.matmul", [weights, v], {"activation": "none"}, "mix")
    moved = build.op("nn.transpose", [y], {"perm": (0, 2, 1, 3)}, "moved")
    build.output("y", build.op("nn.reshape", [moved], {"shape": (2, 5, 24)}, "joined"))
    module = build.finish()
    spec = load_spec("h100", GpuSpec).spec
    lowered = lower(module, spec, None, Options())
    kernel = only_kernel(lowered.program)
    assert kernel.scale == 0.125
    # written as [batch, token, head, column]
    assert kernel.y.strides == (120, 8, 24, 1)
    inputs = {n: rng.normal(size=(2, 2, 3, 5, 8)).astype(np.float32) for n in "qkv"}
    reference = evaluate_many(lowered.module, inputs)
    verdict = judged(lowered, inputs, executed(lowered.program, inputs), reference)
    assert verdict.passed, verdict
