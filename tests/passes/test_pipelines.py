"""Named pipelines on random graphs: values within what their passes promise together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import PIPELINES

# those that choose no new values
KEEPING = sorted(
    name
    for name, passes in PIPELINES.items()
    if np.isfinite([pass_.max_rel_error for pass_ in passes]).all()
)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Module, dict[str, Array]]:
    """A random network and one invocation's inputs."""
    build, steps = FAMILIES[draw(st.sampled_from(sorted(FAMILIES)))]
    seed = draw(st.integers(0, 2**16))
    module = build(draw(st.lists(st.sampled_from(steps), max_size=8)), seed)
    return module, {name: array[0] for name, array in sampled(module, seed).items()}


@pytest.mark.parametrize("name", KEEPING)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(networks())
def test_a_pipeline_keeps_what_its_passes_promise(
    name: str, given_: tuple[Module, dict[str, Array]]
) -> None:
    module, inputs = given_
    # each pass moves an output by its bound at most, and the largest by less than all together
    bound = sum(pass_.max_rel_error for pass_ in PIPELINES[name])
    wanted = evaluate(module, inputs)
    found = evaluate(run(module, PIPELINES[name]), inputs)
    assert found.keys() == wanted.keys()
    for output, array in wanted.items():
        moved = np.abs(array.astype(np.float64) - found[output]).max(initial=0)
        assert moved <= bound * (1 + bound) * np.abs(array).max(initial=0), output


def test_the_pipelines_that_keep_values_are_all_but_the_quantised_one() -> None:
    assert KEEPING == ["canonical", "clean", "flat", "fused"]
