"""Commands on spiking networks: a file without a duration, codes, the report's sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.frontend import nir
from tetrapla.ir.interpret import evaluate

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


def test_a_nir_file_is_read_by_the_rule_that_is_asked_for(
    cli: Cli, net: Path, tmp_path: Path
) -> None:
    x = (np.random.default_rng(1).random((1, 60, 6)) < 0.5).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    found: dict[str, Any] = {}
    for rule, dt in (("norse", 1e-4), ("sinabs", 1e-4), ("norse", 2e-4)):
        words = ["run", net, "--dim", "timesteps=60", "--discretisation", rule, "--dt", dt]
        out = tmp_path / "y.npz"
        assert cli(*words, "--input", tmp_path / "x.npz", "-o", out).status == 0
        (made,) = np.load(out).values()
        module = nir.load(net, {"timesteps": 60}, discretisation=rule, dt_s=dt)
        assert np.array_equal(made, evaluate(module, {"in": x})["out"])
        found[f"{rule} {dt}"] = made
    first, *others = found.values()
    assert all(not np.array_equal(first, other) for other in others)


def test_a_report_says_how_a_nir_file_was_read(cli: Cli, net: Path, tmp_path: Path) -> None:
    words = ["simulate", net, "--target", "loihi", "--timesteps", 20, "--samples", 1]
    rule = ["--discretisation", "lava", "--dt", "2e-4", "--repair"]
    assert cli(*words, *rule, "--json", tmp_path / "r.json").status == 0
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert report["command"].endswith("--discretisation lava --dt 0.0002 --repair")


def test_an_edge_to_a_wrong_name_is_mended_on_request(
    cli: Cli, refused: Callable[..., None], net: Path, tmp_path: Path
) -> None:
    network = nir.read(net)
    edges = tuple((a, "lif1" if b == "lif" else b) for a, b in network.edges)
    edges = tuple(("lif1" if a == "lif" else a, b) for a, b in edges)
    path = tmp_path / "wrong.nir"
    nir.write(nir.Network(network.nodes, edges), path)
    words = ("ops", path, "--dim", "timesteps=4")
    refused(
        f"{path}: nir: node 'lif1' is named by an edge but does not exist, and 'lif' has no "
        "edge; --repair (repair=True) takes the one for the other, or write the edges again",
        *words,
    )
    assert cli(*words, "--repair").status == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--discretisation", "norse"),
            "must be a .nir file to have --discretisation; drop it",
        ),
        (("--dt", "1e-3"), "must be a .nir file to have --dt; drop it"),
        (("--repair",), "must be a .nir file to have --repair; drop it"),
    ],
)
def test_other_files_are_not_read_as_nir(
    words: tuple[str, ...], message: str, refused: Callable[..., None]
) -> None:
    model = Path(__file__).parents[2] / "examples" / "digits_mlp.onnx"
    refused(f"{model}: {message}", "ops", model, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--dt", "fast"), "--dt must be a number, not 'fast'"),
        (("--dt", "0"), "--dt must be a number of seconds above 0, not 0.0"),
        (("--dt", "nan"), "--dt must be a number of seconds above 0, not nan"),
    ],
)
def test_a_timestep_that_is_none_is_refused(
    words: tuple[str, ...], message: str, refused: Callable[..., None], net: Path
) -> None:
    refused(message, "ops", net, "--dim", "timesteps=4", *words)


def test_an_unknown_rule_names_the_known_ones(refused: Callable[..., None], net: Path) -> None:
    refused(
        f"{net}: no discretisation 'nors'; did you mean 'norse'?; there are: euler, zoh, "
        "exponential, norse, snntorch, spinnaker2, lava, nengo, sinabs, rockpool, spyx",
        *("ops", net, "--dim", "timesteps=4", "--discretisation", "nors"),
    )


def lif(size: int) -> nir.Node:
    values = {"tau": 2.5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1}
    return nir.Node("LIF", {name: np.full(size, value) for name, value in values.items()})


def weights(rows: int, columns: int) -> nir.Node:
    return nir.Node("Linear", {"weight": np.ones((rows, columns)) / columns})


@pytest.mark.parametrize(
    ("nodes", "edges", "settings", "message"),
    [
        (
            {"fc": weights(2, 3), "a": lif(2), "ab": weights(2, 2), "b": lif(2),
             "ba": weights(2, 2)},
            "in-fc fc-a a-ab ab-b b-ba ba-a b-out",
            [],
            "loihi: the cycle a -> b -> a must hold a timestep of delay for each of its hops "
            "(2), not less: a spike takes one from core to core; load it with "
            "--discretisation lava, or give it a delay",
        ),
        (
            {"u": nir.Node("Foo", {}), "l": lif(3), "w": nir.Node("Bar", {})},
            "in-u u-l l-w w-out",
            [],
            "{path}: nir: nodes u (Foo), w (Bar) have no spiking form; known are Affine, "
            "AvgPool2d, Conv1d, Conv2d, CubaLI, CubaLIF, Delay, Flatten, I, IF, Input, LI, "
            "LIF, Linear, Output, Scale, SumPool2d, Threshold, NIRGraph",
        ),
        (
            {"d": nir.Node("Delay", {"delay": np.array([1e-3, -2e-3, 0])}), "l": lif(3)},
            "in-d d-l l-out",
            [],
            "{path}: nir: node 'd': a delay must be 0 s or more, not -0.002; mend it",
        ),
        (
            {"fc": weights(6, 3), "l": lif(6)},
            "in-fc fc-l l-out",
            ["core.input_axons=2"],
            "layer l: 3 input axons exceed 2 per core by 1, for a single neuron; its inputs in "
            "2 layers that are added up would fit, or core.input_axons=3",
        ),
        (
            {"fc": weights(6, 3), "l": lif(6)},
            "in-fc fc-l l-out",
            ["core.compartments=2", "mesh.tiles_x=1", "mesh.tiles_y=1"],
            "model net must fit 4 cores, not at least 6; layer l alone takes 6, which are full "
            "of compartments; layers on 2 cores fewer would fit, or mesh.tiles_x=2",
        ),
    ],
    ids=["cycle", "unknown nodes", "negative delay", "axons", "cores"],
)  # fmt: skip
def test_a_network_that_no_chip_runs_is_refused_with_the_way_out(
    nodes: dict[str, nir.Node],
    edges: str,
    settings: list[str],
    message: str,
    refused: Callable[..., None],
    tmp_path: Path,
) -> None:
    pytest.importorskip("h5py", reason="the extra 'spiking' is not installed")
    path = tmp_path / "net.nir"
    ends = {
        "in": nir.Node("Input", {"shape": np.array([3])}),
        "out": nir.Node("Output", {"shape": np.array([3])}),
    }
    pairs = [edge.partition("-") for edge in edges.split()]
    found = tuple((source, target) for source, _, target in pairs)
    nir.write(nir.Network({**ends, **nodes}, found), path)
    words = ["simulate", path, "--target", "loihi", "--timesteps", 20]
    for each in settings:
        words += ["--set", each]
    refused(message.format(path=path), *words)
