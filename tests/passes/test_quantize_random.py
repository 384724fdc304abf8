"""Every way of quantising on random networks: valid, finite, once, the operand untouched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import CLEANING, canonical
from tetrapla.passes.text_ import parse

WAYS = (
    "bits=16",
    "all_operators=true",
    "weights=i4,rounding=gptq,correct_bias=true",
    "weights=i4,rounding=mse,per_channel=false,all_operators=true",
    "weights=i4,group=3,rounding=gptq",
    "weights=i4,activations=f32,group=3,rounding=mse",
    "weights=f8E4M3FN,activations=f8E5M2,correct_bias=true",
    "weights=f32,activations=f8E4M3FN",
    "weights=f8E5M2",
    "weights=mxf4E2M1FN,activations=mxi8",
    "weights=bf16,activations=bf16",
    "weights=f16,activations=f32",
    "activations=dynamic",
    "weights=i4,activations=dynamic,rounding=gptq,correct_bias=true",
    "method=entropy",
    "method=mse,bits=16",
)


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("way", WAYS)
def test_any_network_can_be_quantised_in_any_way(way: str, family: str) -> None:
    build, steps = FAMILIES[family]
    (pass_,) = parse(f"quantize{{{way}}}")

    @settings(max_examples=5, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.sampled_from(steps), min_size=2, max_size=8), st.integers(0, 2**16))
    def holds(chosen: list[str], seed: int) -> None:
        module = canonical(build(chosen, seed))
        inputs = sampled(module, seed, 3)
        text = module.text()
        ready = pass_.bound(module, Context(inputs))
        made = run(module, [ready])
        assert module.text() == text
        again = run(made, [ready])
        assert again.text() == made.text()
        sample = {name: array[0] for name, array in inputs.items()}
        clean = run(made, CLEANING)
        for name, array in evaluate(made, sample).items():
            assert np.isfinite(array).all()
            # cleaning up moves no bit of what was chosen
            assert (evaluate(clean, sample)[name] == array).all()

    holds()


@pytest.mark.parametrize("way", ["bits=8", *WAYS])
def test_parameters_that_are_computed_are_no_hindrance(
    way: str, rng: np.random.Generator
) -> None:
    build = ModuleBuilder("computed")
    x = build.input("x", (1, 4, 5, 5))
    filters = build.op("nn.relu", [build.input("w", (3, 4, 2, 2))])
    attributes: dict[str, Attribute] = {
        "strides": (1, 1),
        "pads": (0, 0, 0, 0),
        "dilations": (1, 1),
        "groups": 1,
        "activation": "none",
    }
    made = build.op("nn.conv2d", [x, filters], attributes)
    flat = build.op("nn.reshape", [made], {"shape": (1, 48)})
    matrix = build.weight("m", rng.standard_normal((48, 3)).astype(np.float32))
    bias = build.op("nn.reduce_mean", [filters], {"axes": (1, 2, 3), "keepdims": 0})
    build.output("y", build.op("nn.matmul", [flat, matrix, bias], {"activation": "none"}))
    module = build.finish()
    inputs = sampled(module, 0, 3)
    quantised = run(module, parse(f"quantize{{{way}}}"), Context(inputs))
    sample = {name: array[0] for name, array in inputs.items()}
    wanted, found = (evaluate(m, sample)["y"] for m in (module, quantised))
    # the coarsest formats err by a quarter of a number at most, and the errors of 48 products
    # do not add up as the products do
    assert np.linalg.norm(found - wanted) < np.linalg.norm(wanted) / 2
