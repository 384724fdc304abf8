"""What converters see: the codes of the run itself, before they are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.simulators.analog import scene

MODEL = str(Path(__file__).parents[3] / "examples" / "digits_mlp.onnx")


def clipping(target: str = "isaac", **chosen: Any) -> list[dict[str, Any]]:
    words = {"data": "digits", "samples": 2, "chips": 1, **chosen}
    report = tetrapla.simulate(MODEL, target, **words)
    found: list[dict[str, Any]] = report.to_dict()["sight"]["clipping"]
    return found


def test_every_layer_has_its_codes_and_every_conversion_is_counted() -> None:
    found = clipping()
    assert [each["layer"] for each in found] == ["fc1", "fc2", "logits"]
    for each in found:
        assert (each["low"], each["high"]) == (0, 255)
        assert len(each["counts"]) <= scene.BINS
        assert sum(each["counts"]) > 0
        # the range begins where a bin does, and the bins hold it
        assert (each["low"] - 0.5 - each["start"]) % each["step"] == 0
        assert each["start"] + each["step"] * len(each["counts"]) >= each["high"] + 0.5


def test_what_is_cut_lies_in_the_bins_outside_the_range() -> None:
    # converters that are off by some six steps push small sums below zero
    found = clipping(overrides=("adc.offset=6",))
    for each in found:
        starts = each["start"] + each["step"] * np.arange(len(each["counts"]))
        outside = (starts < each["low"] - 0.5) | (starts > each["high"])
        cut = int(np.array(each["counts"])[outside].sum())
        assert each["clipped_frac"] == cut / sum(each["counts"])
    assert clipping()[0]["clipped_frac"] < 0.01 < found[0]["clipped_frac"]


def test_a_converter_that_tells_all_sums_apart_cuts_none() -> None:
    assert [each["clipped_frac"] for each in clipping(ideal=True)] == [0.0, 0.0, 0.0]


def test_layers_behind_the_budget_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # fc1 has 64 x 64 weights in four slices
    monkeypatch.setattr(scene, "_CELLS", 64 * 64 * 4)
    assert [each["layer"] for each in clipping()] == ["fc1"]


def test_a_second_look_is_the_same() -> None:
    assert np.array_equal(clipping()[0]["counts"], clipping()[0]["counts"])
