"""Products in every number format, on every dataflow, any number of arrays and sparse chips."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.backends.systolic.designs import ALL, DATAFLOWS, Products, design, held

QUICK = settings(max_examples=120, deadline=None, derandomize=True, phases=[Phase.generate])

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
formats = st.sampled_from(sorted(ALL))


@st.composite
def designs(draw: st.DrawFn) -> Any:
    """Small arrays, memories that are often too small for what is asked of them."""
    units = draw(st.integers(1, 3))
    dataflow = draw(st.sampled_from(DATAFLOWS))
    sparse = dataflow == "weight_stationary" and draw(st.booleans())
    return design(
        draw(st.integers(1, 9)),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 40)),
        units * draw(st.integers(1, 4)),
        units=units,
        dataflow=dataflow,
        sparsity="2:4" if sparse else "none",
    )


@QUICK
@given(seeds, formats, designs(), st.tuples(*[st.integers(1, 20)] * 4))
def test_random_matrix_products_are_right(
    rng: np.random.Generator, form: str, spec: Any, sizes: tuple[int, ...]
) -> None:
    m, k, n, last = sizes
    net = Products(rng, form, (m, k))
    held(net.finish(net.matmul(net.matmul(net.x, n, "a"), last, "b")), spec, net.inputs())


@QUICK
@given(st.data(), seeds, formats, designs())
def test_random_convolutions_are_right(
    data: st.DataObject, rng: np.random.Generator, form: str, spec: Any
) -> None:
    batch, groups, per_group, share = data.draw(st.tuples(*[st.integers(1, 3)] * 4))
    kernel, strides = data.draw(st.tuples(*[st.tuples(*[st.integers(1, 3)] * 2)] * 2))
    pads = data.draw(st.tuples(*[st.integers(0, k - 1) for k in (*kernel, *kernel)]))
    net = Products(rng, form, (batch, groups * per_group, 5, 4))
    own = {"strides": strides, "pads": pads, "groups": groups}
    held(net.finish(net.conv(net.x, groups * share, kernel, "a", **own)), spec, net.inputs())
