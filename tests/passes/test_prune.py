"""Pruning: which weights become zero, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, RegistryError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.module import Module
from tetrapla.passes.prune import Prune, two_of_four


def _product(w: Array) -> Module:
    build = ModuleBuilder("product")
    operands = [build.input("x", (1, len(w))), build.weight("w", w.astype(np.float32))]
    attributes: dict[str, Attribute] = {"activation": "none"}
    build.output("y", build.op("nn.matmul", operands, attributes))
    return build.finish()


def test_two_of_each_four_rows_stay() -> None:
    column = np.array([4, -1, 2, -3, 5, 5, 5, 5, 1, 2])
    made = Prune()(_product(column[:, None]))
    # equals keep the earlier ones; the last two have no others to give way to
    assert made.weights["w"][:, 0].tolist() == [4, 0, 0, -3, 5, 5, 0, 0, 1, 2]


@pytest.mark.parametrize("shape", [(6, 12, 3, 3), (5, 7, 1, 1), (8, 1, 3, 3)])
def test_filters_keep_two_of_four_input_channels(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    weights = rng.standard_normal(shape)
    mask = two_of_four(weights, 1)
    for start in range(0, shape[1], 4):
        kept, sizes = mask[:, start : start + 4], np.abs(weights[:, start : start + 4])
        assert (kept.sum(axis=1) == min(2, sizes.shape[1])).all()
        least = np.where(kept, sizes, np.inf).min(axis=1)
        assert (np.where(kept, 0, sizes).max(axis=1) <= least).all()


@pytest.mark.parametrize(("share", "zeros"), [(0.0, 0), (0.5, 5), (0.34, 3), (1.0, 10)])
def test_the_smallest_share_becomes_zero(
    share: float, zeros: int, rng: np.random.Generator
) -> None:
    module = _product(rng.standard_normal((5, 2)))
    made = Prune("magnitude", share)(module)
    old, new = module.weights["w"], made.weights["w"]
    assert int((new == 0).sum()) == zeros
    assert (new[new != 0] == old[new != 0]).all()
    if 0 < zeros < 10:
        assert np.abs(old[new == 0]).max() <= np.abs(new[new != 0]).min()


@pytest.mark.parametrize("pattern", ["2:4", "magnitude"])
def test_what_is_pruned_already_stays(pattern: str, rng: np.random.Generator) -> None:
    once = Prune(pattern)(_product(rng.standard_normal((8, 3))))
    assert Prune(pattern)(once) is once


def test_an_unknown_pattern_names_the_nearest() -> None:
    with pytest.raises(RegistryError) as caught:
        Prune(pattern="2:3")
    assert str(caught.value) == (
        "no pattern '2:3'; did you mean '2:4'?; there are: magnitude, 2:4"
    )


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        Prune("magnitude", 1.5)
    assert str(caught.value) == "sparsity_frac must lie in 0..1, not 1.5"
