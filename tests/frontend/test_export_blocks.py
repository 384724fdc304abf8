"""Scales for the indices of one axis of an activation come in and go out again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tetrapla
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array

ort = pytest.importorskip("onnxruntime", reason="the exported files are run by ONNX Runtime")
SHAPE = (2, 3, 4)


def saved(path: Path, axis: int, point: Array | None) -> Path:
    count = SHAPE[axis]
    scale = (np.arange(count, dtype=np.float32) + 1) / 8
    held = [numpy_helper.from_array(scale, "s")]
    names = ["s"]
    if point is not None:
        held.append(numpy_helper.from_array(point[:count], "z"))
        names.append("z")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *names], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", *names], ["y"], axis=axis),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "point",
    [None, np.array([1, 2, 3, 4], np.uint8), np.array([-1, 0, 5, 7], np.int8)],
    ids=["none", "unsigned", "signed"],
)
def test_an_axis_with_a_scale_each_makes_the_round_trip(
    axis: int, point: Array | None, tmp_path: Path, rng: np.random.Generator
) -> None:
    module = tetrapla.load(saved(tmp_path / "m.onnx", axis, point))
    written = tmp_path / "w.onnx"
    tetrapla.save(module, written)
    x = {"x": rng.normal(0, 20, SHAPE).astype(np.float32)}
    found = tetrapla.evaluate(module, x)["y"]
    (theirs,) = ort.InferenceSession(str(written)).run(None, x)
    np.testing.assert_array_equal(found, theirs)
    np.testing.assert_array_equal(tetrapla.evaluate(tetrapla.load(written), x)["y"], found)


@pytest.mark.parametrize(
    ("blocks", "dtype", "of"),
    [((1, 1, 4), "f16", "[1, 1, 4]"), ((2, 3, 2), "f32", "[2, 3, 2]")],
)
def test_other_blocks_are_refused(
    blocks: tuple[int, ...], dtype: str, of: str, tmp_path: Path
) -> None:
    build = ModuleBuilder("m")
    x = build.input("x", SHAPE, "i8")
    shape = tuple(size // block for size, block in zip(SHAPE, blocks, strict=True))
    scale = build.weight("s", np.ones(shape, {"f16": np.float16, "f32": np.float32}[dtype]))
    y = build.op("qnn.dequantize_blocks", [x, scale], {"blocks": blocks}, name="wide")
    build.output("y", y)
    with pytest.raises(UnsupportedError) as caught:
        tetrapla.save(build.finish(), tmp_path / "w.onnx")
    assert str(caught.value) == (
        "ONNX has float32 scales for the indices or the blocks of one axis, not "
        f"{dtype} for blocks of {of} (node 'wide'); choose such a group, or weights without one"
    )
