"""A camera's recording as --data: counted in the model's own timesteps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.frontend import nir
from tetrapla.frontend.events import binned, load

Cli = Callable[..., Any]


@pytest.fixture
def events(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "events.npz"
    x, y = rng.integers(0, 4, (2, 200))
    x[0] = y[0] = 3  # the camera's last row and column
    np.savez(path, x=x, y=y, t=np.arange(200) * 7, p=rng.integers(0, 2, 200))
    return path


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A convolution and spiking neurons."""
    pytest.importorskip("h5py", reason="the extra 'spiking' is not installed")
    rng = np.random.default_rng(0)
    lif = {"tau": 2.5e-3, "r": 25.0, "v_leak": 0.0, "v_threshold": 1.0}
    pairs = {"stride": 1, "padding": 0, "dilation": 1}
    whole = {name: np.array([v, v]) for name, v in pairs.items()}
    whole |= {"groups": np.array(1), "bias": np.zeros(3, np.float32)}
    weight = rng.random((3, 2, 3, 3)).astype(np.float32)
    nodes = {
        "in": nir.Node("Input", {"shape": np.array([2, 4, 4])}),
        "conv": nir.Node(
            "Conv2d", {"input_shape": np.array([4, 4]), "weight": weight, **whole}
        ),
        "lif": nir.Node("LIF", {name: np.full((3, 2, 2), v) for name, v in lif.items()}),
        "out": nir.Node("Output", {"shape": np.array([3, 2, 2])}),
    }
    path = tmp_path / "net.nir"
    nir.write(nir.Network(nodes, (("in", "conv"), ("conv", "lif"), ("lif", "out"))), path)
    return path


def test_a_recording_runs_on_a_chip(cli: Cli, net: Path, events: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", net, "--target", "loihi", "--timesteps", 8, "--data", events]
    assert cli(*words, "--json", path).status == 0
    report = json.loads(path.read_text("utf-8"))
    assert report["cross_check"]["mismatches"] == 0
    said = "one recording: it is calibrated on itself; give another by --calib"
    assert said in report["warnings"]
    # another recording, cut into the same bins
    assert cli(*words, "--calib", events, "--json", path).status == 0


def test_a_model_of_another_shape_is_refused(
    refused: Callable[..., None], events: Path
) -> None:
    refused(
        f"model must have one input [1, T, 2, rows, columns] for the events of {events}, not "
        "[1, 1, 8, 8]; reshape it, or count them with tetrapla.frontend.events.binned",
        *("simulate", Path(__file__).parents[2] / "examples" / "digits_cnn.onnx"),
        *("--target", "loihi", "--data", events),
    )


def test_the_bins_are_the_models_timesteps(events: Path) -> None:
    counts = binned(load(events), 8)
    # 200 events, 25 in each of 8 bins: they come at equal distances
    assert counts.shape == (8, 2, 4, 4)
    assert counts.sum(axis=(1, 2, 3)).tolist() == [25] * 8
