"""Commands on spiking networks: a file without a duration, codes, the report's sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.frontend import nir

Cli = Callable[..., Any]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """One layer of LIF neurons, tau 2.5 ms."""
    pytest.importorskip("h5py", reason="the extra 'spiking' is not installed")
    rng = np.random.default_rng(0)
    lif = {"tau": 2.5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1}
    nodes = {
        "in": nir.Node("Input", {"shape": np.array([6])}),
        "fc": nir.Node("Affine", {"weight": rng.normal(size=(8, 6)), "bias": np.ones(8) / 9}),
        "lif": nir.Node("LIF", {name: np.full(8, value) for name, value in lif.items()}),
        "out": nir.Node("Output", {"shape": np.array([8])}),
    }
    edges = (("in", "fc"), ("fc", "lif"), ("lif", "out"))
    path = tmp_path / "net.nir"
    nir.write(nir.Network(nodes, edges), path)
    return path


def test_a_nir_file_runs_on_a_chip_for_as_long_as_asked(
    cli: Cli, net: Path, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", net, "--target", "loihi", "--timesteps", 40]
    assert cli(*words, "--json", path).status == 0
    report = json.loads(path.read_text("utf-8"))
    assert report["cross_check"]["mismatches"] == 0
    assert "--timesteps 40" in report["command"]
    assert any(text.startswith("40 timesteps per inference") for text in report["warnings"])
    assert any(text.startswith("weights of fc: 8 bits, off by") for text in report["warnings"])


def test_a_network_without_a_duration_is_refused_with_one(
    refused: Callable[..., None], net: Path
) -> None:
    refused(
        f"{net}: nir: the graph must have a duration, not none: its neurons never stop; give "
        "--dim timesteps=N, or --timesteps N with a target (its longest time constant is "
        "2.5 ms, so five of it at 0.1 ms a timestep are 125)",
        *("simulate", net, "--target", "loihi"),
    )


def test_a_code_and_its_certificate_are_in_the_report(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    model = Path(__file__).parents[2] / "examples" / "digits_mlp.onnx"
    words = ["simulate", model, "--target", "loihi", "--data", "digits", "--samples", 4]
    assert cli(*words, "--code", "sequential", "--timesteps", 8, "--json", path).status == 0
    report = json.loads(path.read_text("utf-8"))
    assert report["cross_check"]["mismatches"] == 0
    assert "--code sequential" in report["command"]
    assert (
        "certificate: sequential equals the network of 8 levels, activation for activation, "
        "for every input: no membrane can overflow"
    ) in report["warnings"]


def test_chips_are_compared_with_the_ends_of_their_energies(cli: Cli, tmp_path: Path) -> None:
    path, shown = tmp_path / "r.json", tmp_path / "r.html"
    model = Path(__file__).parents[2] / "examples" / "digits_mlp.onnx"
    words = ["compare", model, "--targets", "loihi,truenorth,speck", "--data", "digits"]
    words += ["--samples", 8, "--timesteps", 8, "--json", path, "--report", shown]
    done = cli(*words)
    assert done.status == 0
    energies = [r["energy_pj"] for r in json.loads(path.read_text("utf-8"))["reports"]]
    loihi, truenorth, speck = energies
    assert loihi["total"] > 0
    assert loihi["range"] is None
    low, high = truenorth["range"]
    # 11 ticks: 8, and 3 until the last layer has its first input
    assert low == pytest.approx(11 * 56.3e6, rel=1e-12)
    assert low < truenorth["total"] < high
    assert speck["total"] is None
    said = "note: truenorth: its energy by what the sources of its prices say: 619 uJ to 79"
    assert said in done.out
    assert "uJ (619 uJ to 79" in shown.read_text("utf-8")
