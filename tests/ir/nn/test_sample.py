"""Sampling on grids and in regions against ONNX Runtime.

ONNX Runtime mixes in float32: a coordinate below 16 is off by 3 roundings of up to 16 u, u =
2^-24, a weight has a slope below 3, and a result is a sum of n weights below 1.2 each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS

Run: TypeAlias = Callable[..., list[Array]]
U = 2.0**-24


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [0, 1])
def test_grid_sample(
    mode: str, padding: str, align: int, rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    x = rng.normal(size=(2, 3, 5, 6)).astype(np.float32)
    grid = rng.uniform(-1.6, 1.6, (2, 9, 8, 2)).astype(np.float32)  # some outside
    own: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": align}
    (theirs,) = runtime("GridSample", [x, grid], **own)
    (found,) = ours("nn.grid_sample", [x, grid], **own)
    if mode == "nearest":
        assert np.array_equal(found, theirs)
    else:
        taps = 4 if mode == "linear" else 16
        assert np.abs(found - theirs).max() <= taps * (3 * 3 * 16 + 8) * U * np.abs(x).max()


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("align", [0, 1])
def test_grid_sample_of_a_volume(
    mode: str, align: int, rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    x = rng.normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    grid = rng.uniform(-1.2, 1.2, (2, 3, 4, 5, 3)).astype(np.float32)
    own: dict[str, Any] = {"mode": mode, "padding_mode": "zeros", "align_corners": align}
    (theirs,) = runtime("GridSample", [x, grid], **own)
    (found,) = ours("nn.grid_sample", [x, grid], **own)
    assert np.abs(found - theirs).max() <= 8 * (3 * 3 * 16 + 8) * U * np.abs(x).max()


def test_the_grid_of_the_centres_gives_back_the_image(
    rng: np.random.Generator, ours: Run
) -> None:
    x = rng.normal(size=(1, 2, 4, 8)).astype(np.float32)
    down, across = (np.arange(4) + 0.5) / 2 - 1, (np.arange(8) + 0.5) / 4 - 1
    grid = np.stack(np.meshgrid(across, down), axis=-1)[None].astype(np.float32)
    own: dict[str, Any] = {"mode": "linear", "padding_mode": "zeros", "align_corners": 0}
    assert np.array_equal(ours("nn.grid_sample", [x, grid], **own)[0], x)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinate", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_roi_align(
    mode: str,
    coordinate: str,
    ratio: int,
    rng: np.random.Generator,
    ours: Run,
    runtime: Run,
) -> None:
    x = rng.normal(size=(3, 2, 9, 11)).astype(np.float32)
    start = rng.uniform(-3, 18, (7, 2))
    regions = np.concatenate([start, start + rng.uniform(0.2, 9, (7, 2))], axis=1)
    operands = [x, regions.astype(np.float32), rng.integers(0, 3, 7)]
    own: dict[str, Any] = {
        "output_height": 3,
        "output_width": 2,
        "sampling_ratio": ratio,
        "spatial_scale": 0.5,
        "mode": mode,
        "coordinate_transformation_mode": coordinate,
    }
    (theirs,) = runtime("RoiAlign", operands, opset=16, **own)
    (found,) = ours("nn.roi_align", operands, **own)
    # up to 5 by 5 points of 4 weights, whose mean is taken
    assert np.abs(found - theirs).max() <= 4 * (3 * 3 * 16 + 8 + 25) * U * np.abs(x).max()


def test_an_image_that_is_not_there_is_refused() -> None:
    op = OPS["nn.roi_align"]
    _, attributes = op.example or ((), {})
    operands = [np.ones((2, 1, 3, 3), np.float32), np.ones((1, 4), np.float32), np.array([2])]
    with pytest.raises(ModelError) as caught:
        op.evaluate(*operands, **attributes)
    assert str(caught.value) == "nn.roi_align images must lie in 0..1, not 2"


@pytest.mark.parametrize("odd", [np.nan, np.inf])
@pytest.mark.parametrize("ratio", [0, 2])
def test_a_region_without_bounds_is_refused(odd: float, ratio: int) -> None:
    op = OPS["nn.roi_align"]
    _, attributes = op.example or ((), {})
    regions = np.array([[0, 0, odd, 1]], np.float32)
    operands = [np.ones((2, 1, 3, 3), np.float32), regions, np.array([1])]
    with pytest.raises(ModelError) as caught:
        op.evaluate(*operands, **{**attributes, "sampling_ratio": ratio})
    assert str(caught.value) == "nn.roi_align regions must be finite, not NaN or infinite"
