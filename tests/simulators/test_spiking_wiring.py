"""Lists of synapses in the order of their sources: NumPy's, the compiled ones, and a sort."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.program import Synapses
from tetrapla.simulators.spiking.wiring import Connections, axons, by_source, connections


@pytest.fixture(scope="module")
def fast() -> ModuleType:
    pytest.importorskip("numba", reason="the extra 'fast' is not installed")
    from tetrapla.simulators.spiking import fast

    return fast


def drawn(seed: int, sources: int, targets: int, synapses: int) -> Connections:
    """Any synapses; two neurons may have several, whose weights tell them apart."""
    rng = np.random.default_rng(seed)
    return Connections(
        rng.integers(0, targets, synapses),
        rng.integers(0, sources, synapses),
        np.arange(synapses, dtype=np.int32),
        np.zeros(synapses, np.int32),
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    sources=st.sampled_from([1, 2, 7, 70_000]),
    targets=st.sampled_from([1, 3, 90, 70_000]),
    synapses=st.integers(0, 300),
    in_order=st.booleans(),
)
def test_synapses_by_source_are_those_of_a_stable_sort(
    fast: ModuleType, seed: int, sources: int, targets: int, synapses: int, in_order: bool
) -> None:
    part = drawn(seed, sources, targets, synapses)
    if in_order:  # the shorter way: a source's targets ascend already
        part = Connections(np.sort(part.target), *part[1:])
    order = np.lexsort((np.arange(synapses), part.target, part.source))
    for found in (by_source(part, sources, targets), fast.by_source(part, sources, targets)):
        assert np.array_equal(found.weight, part.weight[order])
        assert np.array_equal(found.target, part.target[order])
        assert len(found.start) == sources + 1
        assert np.array_equal(np.diff(found.start), np.bincount(part.source, minlength=sources))


@pytest.mark.parametrize("neurons", [[0, 1, 2, 3], [1, 2], [0, 2, 3]])
def test_a_list_keeps_the_synapses_that_end_on_chosen_neurons(neurons: list[int]) -> None:
    ends = np.array([[0, 1, 1, 2, 0], [3, 0, 2, 1, 2]], np.int32)
    weight, lags = np.arange(5, dtype=np.int8), np.array([1, 2, 3, 4, 5], np.int32)
    s = Synapses("sparse", "x", (3,), None, weight, ends=ends, lags=lags)
    chosen: Array = np.array(neurons)
    found = connections(s, (4,), chosen)
    kept = [i for i in range(5) if ends[1, i] in neurons]
    assert found.weight.tolist() == kept
    assert chosen[found.target].tolist() == ends[1, kept].tolist()
    assert found.source.tolist() == ends[0, kept].tolist()
    assert found.lag.tolist() == lags[kept].tolist()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["matmul", "conv2d", "sparse"])
def test_axons_are_the_sources_of_the_synapses(kind: str, turned: bool) -> None:
    rng = np.random.default_rng(3)
    forms: dict[str, tuple[tuple[int, ...], ...]] = {
        "matmul": ((4, 6), (4, 5), (6, 5)),
        "conv2d": ((2, 4, 3), (3, 4, 3), (3, 2, 3, 3)),
        "sparse": ((24,), (20,), (50,)),
    }
    frame, shape, size = forms[kind]
    weight = rng.integers(-3, 4, size)
    more: dict[str, Any] = {"conv2d": {"pads": (1, 1, 1, 1)}}.get(kind, {})
    if kind == "sparse":
        more = {"ends": np.stack([rng.integers(0, 24, 50), rng.integers(0, 20, 50)])}
    order = rng.permutation(24) if turned else None
    s = Synapses(kind, "x", frame, order, weight.astype(np.int8), **more)
    chosen = np.sort(rng.permutation(int(np.prod(shape)))[:7])
    found = axons(s, shape, chosen)
    assert found.tolist() == sorted(set(connections(s, shape, chosen).source.tolist()))
