"""Graphs that TVM imports, with their regions on our machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tetrapla
from tests.tetrapla.with_tvm import needs_tvm
from tetrapla.backends.target_ import Options
from tetrapla.datasets import load_data
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.tvm import offload
from tetrapla.tvm.process import Child

pytestmark = pytest.mark.slow  # TVM takes a second to start

Array = np.ndarray[Any, Any]


CALIBRATING, RUN = 32, 4  # images


def digits() -> tuple[dict[str, Array], dict[str, Array]]:
    """Calibration data and inputs."""
    data = load_data("digits")
    images = data.x.reshape(-1, 1, 1, 8, 8).astype(np.float32)
    return {"image": images[data.train][:CALIBRATING]}, {"image": images[data.test][:RUN]}


def network(path: Path, nodes: list[onnx.NodeProto], held: Mapping[str, Array]) -> Path:
    """A file of one input x[1,2,6,6] and one output y."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture
def broken(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A network with an operator in its middle that has no translation."""
    weights = {
        "w": rng.standard_normal((3, 2, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(3).astype(np.float32),
        "v": rng.standard_normal((16, 5)).astype(np.float32),
        "axis": np.array(2),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("CumSum", ["r", "axis"], ["s"]),
        helper.make_node("Reshape", ["s", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    return network(tmp_path / "broken.onnx", nodes, {**weights, "shape": np.array([3, 16])})


@needs_tvm
@pytest.mark.parametrize(
    ("target", "ideal"), [("systolic", False), ("analog", False), ("analog", True)]
)
def test_a_cnn_that_tvm_imports_gives_what_ours_gives(
    cnn: str, target: str, ideal: bool
) -> None:
    """To the last bit: integers, and an analog machine's noise of the same seed."""
    calibration, inputs = digits()
    options = Options(ideal=ideal)
    with offload(cnn, target, calibration, options=options) as graph:
        found = graph.run(inputs, seed=3)
        assert graph.left == ()  # TVM computes nothing
        (part,) = graph.parts
    ours = tetrapla.compile(tetrapla.load(cnn), target, calibration, ideal=ideal)
    report = ours.run(inputs, seed=3)
    np.testing.assert_array_equal(found.outputs["logits"], report.outputs["logits"])
    assert part.ops.count("nn.conv2d") == 3
    assert found.cycles == report.cycles
    assert found.total_pj == report.energy.total_pj
    assert found.reports[0].cross_check == report.cross_check


@needs_tvm
@pytest.mark.parametrize("target", ["systolic", "analog"])
def test_what_the_importer_takes_apart_is_put_together(
    tmp_path: Path, rng: np.random.Generator, target: str
) -> None:
    """Clip, paddings to the same size, batch normalisation, a sum of two branches."""
    shapes = {"w": (4, 2, 3, 3), "d": (4, 1, 3, 3), "f": (5, 4)}
    held = {name: rng.standard_normal(shape) / 3 for name, shape in shapes.items()}
    held |= {name: rng.uniform(0.5, 1, 4) for name in ("scale", "bias", "mean", "variance")}
    moments = ["scale", "bias", "mean", "variance"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("BatchNormalization", ["a", *moments], ["n"]),
        helper.make_node("Clip", ["n", "low", "high"], ["c"]),
        helper.make_node("Conv", ["c", "d"], ["e"], group=4, pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["e", "c"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("Gemm", ["h", "f"], ["y"], transB=1),
    ]
    weights = {name: array.astype(np.float32) for name, array in held.items()}
    weights |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    path = network(tmp_path / "apart.onnx", nodes, weights)
    x = rng.uniform(-1, 1, (8, 1, 2, 6, 6)).astype(np.float32)
    with offload(path, target, {"x": x}) as graph:
        found = graph.run({"x": x[:2]}, seed=5)
        assert (graph.left, graph.reasons) == ((), {})
    ours = tetrapla.compile(tetrapla.load(path), target, {"x": x}).run({"x": x[:2]}, seed=5)
    np.testing.assert_array_equal(found.outputs["y"], ours.outputs["y"])
    assert found.cycles == ours.cycles


@needs_tvm
def test_without_merging_every_match_is_a_region(mlp: str) -> None:
    data = load_data("digits")
    module = tetrapla.load(mlp)
    ((name, value),) = module.inputs.items()
    images = data.x.reshape(-1, *value.shape).astype(np.float32)
    calibration = {name: images[data.train][:CALIBRATING]}
    with offload(mlp, "systolic", calibration, merge=False) as graph:
        found = graph.run({name: images[data.test][:RUN]})
    # the longest pattern first: a layer is one region with its bias and activation
    assert [part.ops for part in graph.parts if "matmul" in part.ops] == [
        ("matmul", "add", "nn.relu"),
        ("matmul", "add", "nn.relu"),
        ("matmul", "add"),
    ]
    assert len(found.reports) == len(graph.parts)
    for report in found.reports:
        assert report.cross_check is not None
        assert report.cross_check.passed


@needs_tvm
def test_what_has_no_translation_stays_with_tvm(broken: Path, rng: np.random.Generator) -> None:
    x = rng.uniform(-1, 1, (8, 1, 2, 6, 6)).astype(np.float32)
    with offload(broken, "systolic", {"x": x}) as graph:
        found = graph.run({"x": x})
    assert graph.left == ("cumsum",)
    assert graph.reasons == {"cumsum": "it has no counterpart here"}
    assert [part.ops for part in graph.parts] == [
        ("nn.conv2d", "add", "nn.relu"),
        ("reshape", "matmul"),
    ]
    assert [report.model for report in found.reports] == [part.name for part in graph.parts]
    # the same by hand: one machine, a running sum in float32, the other machine
    first, second = (part.executable for part in graph.parts)
    product = first.run({"in0": x}).outputs["out0"]
    summed = product.cumsum(axis=3, dtype=np.float32)
    wanted = second.run({"in0": summed}).outputs["out0"]
    np.testing.assert_array_equal(found.outputs["y"], wanted)


@needs_tvm
def test_what_the_target_refuses_stays_with_tvm(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """No spiking neuron is the error function; the products are the chip's own."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Erf", ["c"], ["e"]),
        helper.make_node("Conv", ["e", "w"], ["y"]),
    ]
    weights = {"w": rng.standard_normal((2, 2, 3, 3)).astype(np.float32)}
    path = network(tmp_path / "erf.onnx", nodes, weights)
    x = rng.uniform(-1, 1, (8, 1, 2, 6, 6)).astype(np.float32)
    with offload(path, "spiking", {"x": x}) as graph:
        found = graph.run({"x": x[:1]})
    assert graph.left == ("erf",)
    assert [part.ops for part in graph.parts] == [("nn.conv2d",), ("nn.conv2d",)]
    assert list(graph.reasons) == ["erf"]
    assert graph.reasons["erf"].startswith(
        "loihi: a network of neurons cannot do 1 x nn.erf (no spiking form): erf; it can do "
    )
    assert found.outputs["y"].shape == (1, 1, 2, 2, 2)
    assert found.cycles == sum(report.cycles for report in found.reports) > 0


@needs_tvm
def test_what_tvms_importer_lacks_is_its_own_sentence(tmp_path: Path) -> None:
    path = network(tmp_path / "det.onnx", [helper.make_node("Det", ["x"], ["y"])], {})
    with pytest.raises(UnsupportedError) as error:
        offload(path, "systolic")
    assert str(error.value) == (
        "TVM refuses to load onnx: The following operators are not supported for frontend "
        "ONNX: Det"
    )


@needs_tvm
def test_a_size_that_is_not_given_is_asked_for(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "tokens"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "tokens"])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path / "tokens.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    with pytest.raises(ModelError) as error:
        offload(path, "systolic")
    assert str(error.value) == (
        "input 'x' has a symbolic size 'tokens' at axis 1; give it in dims"
    )


@needs_tvm
def test_the_end_of_tvms_process_is_one_sentence() -> None:
    with Child() as child:
        os.kill(child.pid, signal.SIGSEGV)
        with pytest.raises(UnsupportedError) as error:
            child.ask("cut", accepted=frozenset[object](), merge=True)
    assert str(error.value) == (
        "TVM's process must answer 'cut', not end with signal SIGSEGV; try another model"
    )


@needs_tvm
def test_an_answer_that_does_not_come_is_not_waited_for(cnn: str) -> None:
    with Child(limit_s=0.01) as child, pytest.raises(UnsupportedError) as error:
        child.ask("load_onnx", data=Path(cnn).read_bytes(), dims={}, batch=1)
    assert str(error.value) == "TVM's process must answer 'load onnx' in 0.01 s, not longer"


@pytest.mark.parametrize(
    ("releases", "said"),
    [
        (
            {},
            "the bridge to TVM needs apache-tvm 0.27.0.post1, which is missing; "
            'install it with pip install "tetrapla[tvm]"',
        ),
        (
            {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.15.post2"},
            "the bridge to TVM needs apache-tvm-ffi 0.1.14.post0, not 0.1.15.post2, which can "
            'end the process in TVM\'s schedules; install it with pip install "tetrapla[tvm]"',
        ),
    ],
)
def test_another_tvm_is_refused(
    monkeypatch: pytest.MonkeyPatch, cnn: str, releases: Mapping[str, str], said: str
) -> None:
    def release(package: str) -> str:
        if package not in releases:
            raise PackageNotFoundError(package)
        return releases[package]

    monkeypatch.setattr("tetrapla.tvm.pins.version", release)
    with pytest.raises(ModelError) as error:
        offload(cnn, "systolic")
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("missing.onnx", "missing.onnx: no such file; give the path of an .onnx or .json file"),
        (3, "the model must be a path or a Relax IRModule, not int; save it as ONNX"),
    ],
)
def test_what_is_no_graph_is_refused(model: object, said: str) -> None:
    with pytest.raises(ModelError) as error:
        offload(model, "systolic")
    assert str(error.value) == said


@needs_tvm
def test_the_example_hands_over_a_relax_module() -> None:
    """In a process of its own, which imports TVM."""
    script = Path(__file__).resolve().parent.parent.parent / "examples" / "offload_from_tvm.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "cycles" not in line] == [
        "systolic: 1 region of 14 operators",
        "  equal to tetrapla alone: True",
        "analog: 1 region of 14 operators",
        "  equal to tetrapla alone: True",
    ]
