"""Models that need more than their file, or have less than others: fixed inputs, tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.ir.errors import ModelError
from tetrapla.settings import Settings, parse_fixed

Cli = Callable[..., Any]
Refused = Callable[..., None]
# a layer of a graph network: which nodes its edges join decides the shapes of what it computes
GCN = str(Path(__file__).parent.parent / "frontend" / "models" / "pyg_gcn.dynamo18.onnx")


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, Any]:
    """The model's inputs and output; the edges alone in an archive, and the features."""
    with np.load(Path(GCN).with_suffix(".npz")) as file:
        arrays = dict(file)
    np.savez(tmp_path / "edges.npz", edges=arrays["in_1"])
    np.savez(tmp_path / "x.npz", x=arrays["in_0"])
    return {"edges": arrays["in_1"], "x": arrays["in_0"], "y": arrays["out_0"]}


def test_an_input_becomes_a_constant(cli: Cli, stored: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "y.npz"
    words = ["--fix", f"ei={tmp_path / 'edges.npz'}", "--input", tmp_path / "x.npz", "-o", out]
    assert cli("run", GCN, *words).status == 0
    with np.load(out) as found:
        (array,) = found.values()
    # the tolerance of tests/frontend/models/README.md
    limit = 1e-5 + 1e-4 * np.abs(stored["y"]).max()
    assert np.abs(array - stored["y"]).max() <= limit
    module = tetrapla.load(GCN, fixed={"ei": stored["edges"]})
    assert list(module.inputs) == ["x"]


def test_every_command_takes_it(cli: Cli, stored: dict[str, Any], tmp_path: Path) -> None:
    fixed = ["--fix", f"ei={tmp_path / 'edges.npz'}"]
    assert cli("ops", GCN, *fixed).status == 0
    assert cli("ir", GCN, *fixed).status == 0
    for words in (["simulate", "-t"], ["compare", "--targets"]):
        assert cli(words[0], GCN, words[1], "h100", *fixed).status == 0
        # neurons do not scatter along edges, which is said of the module with its edges
        assert "nn.scatter_elements" in cli(words[0], GCN, words[1], "loihi", *fixed).err


def test_what_cannot_be_fixed_is_refused(
    refused: Refused, stored: dict[str, Any], tmp_path: Path
) -> None:
    edges = tmp_path / "edges.npz"
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    for words, message in (
        (["--fix", "ei"], "--fix must be NAME=FILE, not 'ei'; write edges=edges.npz"),
        (
            ["--fix", f"ei={edges}", "--fix", f"ei={edges}"],
            "--fix must name 'ei' once, not twice; drop one of them",
        ),
        (
            ["--fix", f"e={edges}"],
            f"{GCN}: there is no input 'e' to fix, the model has 'x', 'ei'; did you mean 'ei'?",
        ),
        (
            ["--fix", f"ei={tmp_path / 'two.npz'}"],
            f"{tmp_path / 'two.npz'}: must hold an array 'ei' or one alone, not a, b",
        ),
        (
            ["--fix", f"ei={tmp_path / 'no.npz'}"],
            f"{tmp_path / 'no.npz'}: no such file; give the path of an .npz file",
        ),
    ):
        refused(message, "ops", GCN, *words)


def test_a_module_is_fixed_when_it_is_loaded(stored: dict[str, Any], tmp_path: Path) -> None:
    module = tetrapla.load(GCN, fixed={"ei": stored["edges"]})
    with pytest.raises(ModelError) as caught:
        tetrapla.simulate(module, "h100", fixed={"ei": tmp_path / "edges.npz"})
    assert str(caught.value) == (
        "a Module has fixed shapes; give dims and batch to load, not here"
    )
    assert Settings(fixed=parse_fixed(["a=b=c.npz"])).words() == ["--fix", "a=b=c.npz"]


def test_a_table_is_timed_without_values(cli: Cli, tmp_path: Path) -> None:
    table, out = tmp_path / "t.csv", tmp_path / "r.json"
    table.write_text("name,H,W,R,S,C,N,stride,\na,8,8,3,3,4,16,1,\nDPb,8,8,3,3,4,2,1,\n")
    for target in ("tpu-v1", "h100"):
        assert cli("ops", table, "--target", target).status == 0
        assert cli("simulate", table, "--target", target, "--json", out).status == 0
        report = json.loads(out.read_text())
        assert (report["cross_check"], report["accuracy"]) == (None, None)
        macs = {layer["name"]: layer["macs"] for layer in report["layers"] if layer["macs"]}
        # 6 * 6 outputs of 16 filters of 3 * 3 * 4, and of 4 * 2 filters of 3 * 3
        assert macs == {"a": 36 * 16 * 36, "DPb": 36 * 8 * 9}


def test_equal_rows_of_a_table_have_weights_of_their_own(cli: Cli, tmp_path: Path) -> None:
    table, out = tmp_path / "t.csv", tmp_path / "r.json"
    found: list[Any] = []
    for text in ("a,64,64,64\n", "a,64,64,64\nb,64,64,64\n"):
        table.write_text(text)
        assert cli("simulate", table, "--target", "tpu-v1", "--json", out).status == 0
        found.append(json.loads(out.read_text())["energy_pj"]["by_unit"])
    for unit in ("mac", "weight_memory", "unified_buffer"):
        assert found[1][unit] == 2 * found[0][unit]
