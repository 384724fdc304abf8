"""WaveNet and PixelCNN: nothing that is predicted may be seen before."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.frontend.zoo import Draft, networks
from tetrapla.frontend.zoo.pixelcnn import mask, pixels
from tetrapla.ir.interpret import evaluate

SIDE, COLOURS, LEVELS = 7, 3, 2


@pytest.mark.parametrize("place", [5116, 5600, 6139])
def test_a_sample_changes_predictions_from_its_own_on_and_as_far_as_is_seen(
    place: int,
) -> None:
    network = networks()["wavenet"]
    module = network.module()
    samples = np.random.default_rng(0).integers(0, 256, (1, 6140))
    other = samples.copy()
    other[0, place] ^= 255
    first, second = (evaluate(module, {"samples": s})["logits"][0] for s in (samples, other))
    changed = np.flatnonzero((first != second).any(axis=0))
    # the last 1,024 predictions are of what follows the samples 5,116 to 6,139
    assert changed[0] == place - 5116
    assert changed[-1] == 1023


def test_a_prediction_sees_5117_samples() -> None:
    module = networks()["wavenet"].module()
    samples = np.random.default_rng(0).integers(0, 256, (1, 6140))
    other = samples.copy()
    other[0, 0] ^= 255
    # a layer hands on a tenth: behind more of them not even float64 shows a single sample
    layers = [f"layer{i}.filter" for i in range(14)]
    first, second = (
        evaluate(module, {"samples": each}, precision="float64", keep=layers)
        for each in (samples, other)
    )
    seen = 2  # by the causal convolution
    for i, layer in enumerate(layers):
        seen += 2 ** (i % 10)
        changed = np.flatnonzero((first[layer] != second[layer]).any(axis=(0, 1, 2)))
        # the first sample is in the first field alone
        assert changed.tolist() == [0], layer
        assert first[layer].shape[-1] == 6140 - seen + 1
    # 5 (1 + 2 + ... + 512) + 2 in all
    assert first["logits"].shape[-1] == 6140 - 5117 + 1


def test_a_colour_is_predicted_from_what_comes_before_it() -> None:
    n = Draft("pixels", 1, 0, True)
    x = n.input("image", (COLOURS, SIDE, SIDE))
    n.output("y", pixels(n, x, 2, 24, 48, LEVELS))
    module = n.builder.build()
    image = np.random.default_rng(0).random((1, COLOURS, SIDE, SIDE)).astype(np.float32)
    first = evaluate(module, {"image": image})["y"]
    order = np.arange(SIDE * SIDE * COLOURS).reshape(SIDE, SIDE, COLOURS).transpose(2, 0, 1)
    for place in [(0, 0, 0), (1, 3, 3), (2, 3, 3), (0, 6, 2), (2, 6, 6)]:
        other = image.copy()
        other[0][place] += 1
        changed = (evaluate(module, {"image": other})["y"] != first).reshape(
            COLOURS, LEVELS, SIDE, SIDE
        )
        seen = order[changed.any(axis=1)]
        assert np.all(seen > order[place])
        # the colour behind it sees it, unless it is the last of all
        assert order[place] + 1 in seen or order[place] == order.max()


def test_the_masks_hide_the_pixel_itself_in_the_first_layer_alone() -> None:
    first, later = (mask(1, 1, 3, 1, each)[0, 0].tolist() for each in (True, False))
    assert first == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert later == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    middle = mask(3, 3, 1, 3, False)[..., 0, 0]
    np.testing.assert_array_equal(middle, np.tri(3))


def test_hidden_weights_are_no_parameters() -> None:
    draft = networks()["pixelcnn-mnist"].draft()
    # first, 7 blocks, two wide layers and the logits, with the biases: 24 of 49 places of the
    # first convolution are seen, 5 of 9 of the others
    first = 24 * 32 + 32
    block = 32 * 16 + 16 + 5 * 16 * 16 + 16 + 16 * 32 + 32
    last = 32 * 32 + 32 + 32 * 32 + 32 + 32 + 1
    assert draft.parameter_count == first + 7 * block + last
