"""The example that learns without labels: better than chance at once, the same by seed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tetrapla.datasets import Data, load_data

PATH = Path(__file__).parents[2] / "examples" / "stdp_digits.py"


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stdp_digits", PATH)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_a_few_images_already_teach_features_and_a_seed_gives_them_again(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "PASSES", 1)
    monkeypatch.setattr(example, "NEURONS", 60)
    data = load_data("digits")
    few = Data(data.x, data.y, data.train[:240], data.test)
    count, learner = example.run(few, 0)
    # chance is 45 of 450
    assert count > 225
    again, other = example.run(few, 0)
    assert again == count
    assert np.array_equal(learner.synapses.w, other.synapses.w)
    assert not np.array_equal(learner.synapses.w, example.run(few, 1)[1].synapses.w)


def test_labels_only_name_the_neurons(example: ModuleType) -> None:
    data = load_data("digits")
    shuffled = Data(data.x, np.roll(data.y, 1), data.train[:40], data.test)
    few = Data(data.x, data.y, data.train[:40], data.test)
    _, taught = example.run(few, 0)
    count, learner = example.run(shuffled, 0)
    assert np.array_equal(taught.synapses.w, learner.synapses.w)
    assert count < 225


@pytest.mark.slow
def test_the_accuracy_is_the_stated_one(example: ModuleType) -> None:
    stated = re.search(r"Seed 0 gets (\d+) of the 450", example.__doc__ or "")
    assert stated is not None
    count, _ = example.run(load_data("digits"), 0)
    assert count == int(stated[1])
