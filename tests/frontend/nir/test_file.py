"""NIR files: written, read by the `nir` package, equal; defects of real files; refusals."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.frontend import nir as ours
from tetrapla.frontend.nir.network import NODES, Network, Node, same
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.interpret import evaluate

REASON = "the extra 'spiking' is not installed"


@pytest.fixture
def h5py() -> Any:
    return pytest.importorskip("h5py", reason=REASON)


@pytest.fixture
def theirs() -> Any:
    return pytest.importorskip("nir", reason=REASON)


def every_node(theirs: Any) -> Any:
    """A graph of every node type, with metadata, a cycle and an inner graph."""
    n, o = theirs, np.ones(4)
    inner = n.NIRGraph(
        {"input": n.Input(np.array([4])), "s": n.Scale(o), "output": n.Output(np.array([4]))},
        [("input", "s"), ("s", "output")],
    )
    leaky = {"r": o, "v_leak": 0 * o}
    cuba = {"tau_syn": o, "tau_mem": o, **leaky}
    image = {"stride": 1, "dilation": 1, "groups": 1, "bias": np.zeros(1)}
    nodes = {
        "in": n.Input(np.array([1, 5, 5])),
        "conv": n.Conv2d((5, 5), np.ones((1, 1, 2, 2)), padding="same", **image),
        "sum": n.SumPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        "mean": n.AvgPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        "flat": n.Flatten(np.array([1, 3, 3]), 0, -1),
        "fc": n.Affine(np.ones((4, 9), np.float32), np.zeros(4, np.float32)),
        "cell": n.LIF(tau=o, v_threshold=o, v_reset=o / 2, **leaky),
        "back": n.Linear(np.eye(4), metadata={"delays": "not of NIR", "bits": np.array([8])}),
        "part": inner,
        "delay": n.Delay(o * 1e-4),
        "threshold": n.Threshold(o / 2),
        "i": n.I(o),
        "if": n.IF(r=o, v_threshold=o),
        "li": n.LI(tau=o, **leaky),
        "cubali": n.CubaLI(**cuba),
        "cubalif": n.CubaLIF(**cuba, v_threshold=o),
        "out": n.Output(np.array([4])),
    }
    names = [name for name in nodes if name != "back"]
    edges = [*pairwise(names), ("cell", "back"), ("back", "cell")]
    nodes["conv1"] = n.Conv1d(5, np.ones((1, 1, 2)), padding=0, **image)
    nodes["in1"], nodes["out1"] = n.Input(np.array([1, 5])), n.Output(np.array([1, 4]))
    edges += [("in1", "conv1"), ("conv1", "out1")]
    return n.NIRGraph(nodes, edges)


def test_every_node_type_round_trips_through_the_package(theirs: Any, tmp_path: Path) -> None:
    theirs.write(tmp_path / "a.nir", every_node(theirs))
    network = ours.read(tmp_path / "a.nir")
    types = {each.type for each in network.nodes.values() if isinstance(each, Node)}
    assert types == set(NODES) - {"Scale"}  # which the inner graph has
    ours.write(network, tmp_path / "b.nir")
    again = ours.read(tmp_path / "b.nir")
    assert same(network, again)
    # and the package reads from ours what it reads from its own
    theirs.write(tmp_path / "c.nir", theirs.read(tmp_path / "b.nir"))
    theirs.write(tmp_path / "d.nir", theirs.read(tmp_path / "a.nir"))
    assert same(ours.read(tmp_path / "c.nir"), ours.read(tmp_path / "d.nir"))


def test_every_node_type_is_imported_and_keeps_its_metadata(
    theirs: Any, tmp_path: Path
) -> None:
    theirs.write(tmp_path / "a.nir", every_node(theirs))
    made = ours.load(tmp_path / "a.nir", {"timesteps": 3}, 2)
    inputs = {name: np.ones(v.shape, np.float32) for name, v in made.inputs.items()}
    found = evaluate(made, inputs)
    assert {name: each.shape for name, each in found.items()} == {
        "out": (2, 3, 4),
        "out1": (2, 3, 1, 4),
    }
    back = made.network.nodes["back"]
    assert isinstance(back, Node)
    assert back.metadata["delays"] == "not of NIR"


def test_a_difference_in_a_bit_a_type_or_an_edge_is_one() -> None:
    def made(weight: Any, *edges: tuple[str, str], **metadata: Any) -> Network:
        return Network({"a": Node("Linear", {"weight": np.asarray(weight)})}, edges, metadata)

    first = made([1.0])
    assert same(first, made([1.0]))
    for other in (made([-1.0]), made([1]), made([1.0], ("a", "a")), made([1.0], x="y")):
        assert not same(first, other)


def scalar(theirs: Any, h5py: Any, path: Path, *gone: str) -> None:
    """Affine and LIF of one number each, as old files have them; some datasets gone."""
    weight, bias = np.ones((1, 1)), np.zeros(1)
    one = {name: np.array([value]) for name, value in (("tau", 2.5e-3), ("r", 1.0))}
    nodes = {
        "input": theirs.Input(np.array([1])),
        "fc": theirs.Affine(weight, bias),
        "cell": theirs.LIF(**one, v_leak=np.zeros(1), v_threshold=np.array([0.1])),
        "output": theirs.Output(np.array([1])),
    }
    names = list(nodes)
    theirs.write(path, theirs.NIRGraph(nodes, list(pairwise(names))))
    with h5py.File(path, "a") as file:
        for name in ("tau", "r"):  # of no axes
            del file["node/nodes/cell"][name]
            file["node/nodes/cell"][name] = one[name][0]
        for each in gone:
            del file[each]


def test_scalars_a_lacking_v_reset_output_and_version_are_taken(
    theirs: Any, h5py: Any, tmp_path: Path
) -> None:
    scalar(theirs, h5py, tmp_path / "new.nir")
    old = ("version", "node/nodes/cell/v_reset", "node/nodes/output/shape")
    scalar(theirs, h5py, tmp_path / "old.nir", *old)
    x = {"input": (np.arange(100) % 3 == 0).astype(np.float32).reshape(1, 100, 1)}
    found = [
        evaluate(ours.load(tmp_path / name, {"timesteps": 100}), x)["output"]
        for name in ("new.nir", "old.nir")
    ]
    assert found[0].any()
    assert np.array_equal(found[0], found[1])


def test_a_file_keeps_the_discretisation_it_was_annotated_with(
    theirs: Any, h5py: Any, tmp_path: Path
) -> None:
    scalar(theirs, h5py, tmp_path / "a.nir")
    network = ours.annotated(ours.read(tmp_path / "a.nir"), "nengo", 5e-4)
    ours.write(network, tmp_path / "b.nir")
    steps = {"timesteps": 4}
    kept = ours.load(tmp_path / "b.nir", steps)
    told = ours.load(tmp_path / "a.nir", steps, discretisation="nengo", dt_s=5e-4)
    assert kept.text() == told.text()
    assert all(np.array_equal(kept.weights[name], told.weights[name]) for name in kept.weights)
    usual = ours.load(tmp_path / "a.nir", steps)
    assert 'method = "euler"' in usual.text()
    # tau of 2.5 ms at 0.1 ms
    assert any(w.size == 1 and w.ravel()[0] == 25 for w in usual.weights.values())


def test_a_network_without_a_duration_is_told_how_to_choose_one(
    theirs: Any, h5py: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.nir"
    scalar(theirs, h5py, path)
    cases: list[tuple[dict[str, int], dict[str, Any], str]] = [
        (
            {},
            {},
            "nir: the graph must have a duration, not none: its neurons never stop; give --dim "
            "timesteps=N, or --timesteps N with a target (its longest time constant is 2.5 ms, "
            "so five of it at 0.1 ms a timestep are 125)",
        ),
        ({"timesteps": 0}, {}, "timesteps must be 1 or more, not 0"),
        (
            {"timesteps": 1, "n": 2},
            {},
            "a NIR graph has the dimension timesteps alone, not n",
        ),
        (
            {"timesteps": 1},
            {"dt_s": 0.0},
            "dt_s must be positive and finite, not 0.0; times are in s",
        ),
    ]
    for dims, options, message in cases:
        with pytest.raises(ModelError) as caught:
            ours.load(path, dims, **options)
        assert str(caught.value) == f"{path}: {message}"


def test_files_that_are_none_are_refused(h5py: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    with pytest.raises(ModelError) as caught:
        ours.load(path)
    assert str(caught.value) == f"{path}: no such file; give the path of a .nir file"
    path.write_bytes(b"no HDF5")
    with pytest.raises(ModelError, match=r": must be a NIR file in HDF5, but it is broken \("):
        ours.load(path)
    with h5py.File(path, "w") as file:
        file["version"] = "1.0"
    with pytest.raises(ModelError) as caught:
        ours.load(path)
    assert str(caught.value) == (
        f"{path}: must hold a group 'node', which is absent; write it again"
    )
    with h5py.File(path, "w") as file:
        file.create_group("node")
    with pytest.raises(ModelError) as caught:
        ours.load(path)
    assert str(caught.value) == f"{path}: the node '/node' must have a type, not lack it"


def test_without_h5py_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return import_module(name)

    monkeypatch.setattr("tetrapla.frontend.nir.hdf5.import_module", missing)
    with pytest.raises(UnsupportedError) as caught:
        ours.load(tmp_path / "a.nir")
    assert str(caught.value) == (
        "NIR files need h5py, which is not installed; pip install 'tetrapla[spiking]'"
    )
