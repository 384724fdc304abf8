"""Files that are not what they should be: status 2, one sentence, and no file left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.frontend.mlir_text import save
from tetrapla.ir.build import ModuleBuilder
from tetrapla.simulators.spec_ import chips

Cli = Callable[..., Any]
Refused = Callable[..., None]
NOT_FINITE = "holds NaN or infinity; drop or mend that sample"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "must be an ONNX model, not an empty file"),
        (
            b"\x08\x07\x12",
            "must be an ONNX model, but its 3 bytes are not a complete protobuf message; "
            "export or download it again",
        ),
        (
            b"no protobuf at all\n",
            "must be an ONNX model, but its 19 bytes are not a complete protobuf message; "
            "export or download it again",
        ),
    ],
)
def test_a_broken_model_leaves_no_file(
    refused: Refused, tmp_path: Path, content: bytes, rule: str
) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(content)
    flags = ["--json", tmp_path / "o.json", "--report", tmp_path / "o.html"]
    refused(f"{model}: {rule}", "simulate", model, "--target", "h100", *flags)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_truncated_model_leaves_no_file(refused: Refused, mlp: str, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(Path(mlp).read_bytes()[:5000])
    rule = "but its 5000 bytes are not a complete protobuf message"
    message = f"{model}: must be an ONNX model, {rule}; export or download it again"
    refused(message, "compile", model, "--target", "h100", "-o", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_folder_is_no_model(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").mkdir()
    rule = "must be a file, not a folder, pipe or device"
    refused(f"{tmp_path / 'm.onnx'}: {rule}", "ops", tmp_path / "m.onnx")


def _data(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    return path


X = np.zeros((4, 8, 8), np.float32)
Y = np.arange(4)


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        (
            {"x": np.zeros((4, 9, 8))},
            "array for 'image' must have 64 elements per sample to fill [1, 1, 8, 8], not "
            "shape [4, 9, 8]; give data of the model's size",
        ),
        (
            {"x": np.float32(1)},
            "array for 'image' must have 64 elements per sample to fill [1, 1, 8, 8], not "
            "shape []; give data of the model's size",
        ),
        (
            {"x": X[:0]},
            "'image' must have at least 1 samples, not 0; give more or a smaller batch",
        ),
        (
            {"x": np.where(np.arange(256).reshape(4, 8, 8) == 70, np.nan, 0)},
            f"image must be finite, but sample 1 {NOT_FINITE}",
        ),
        (
            {"x": np.full((4, 8, 8), 1e300)},
            f"image must be finite, but sample 0 {NOT_FINITE}",
        ),
        (
            {"x": np.full((4, 8, 8), 1e300), "y": Y},
            f"x must be finite, but sample 0 {NOT_FINITE}",
        ),
        ({}, "must hold an array 'image' or 'x', not only nothing; write it with numpy.savez"),
        ({"z": X}, "must hold an array 'image' or 'x', not only z; write it with numpy.savez"),
        (
            {"x": X, "y": Y[:3]},
            "y must hold one integer label per sample, shape (4,), not int64 of shape 3",
        ),
    ],
)
def test_wrong_data_is_refused(
    refused: Refused, mlp: str, tmp_path: Path, arrays: dict[str, Any], rule: str
) -> None:
    path = _data(tmp_path, **arrays)
    flags = ["--data", path, "--json", tmp_path / "o.json"]
    refused(f"{path}: {rule}", "simulate", mlp, "--target", "h100", *flags)
    assert [path.name for path in tmp_path.iterdir()] == ["d.npz"]


def test_a_label_that_no_answer_meets_is_refused(
    refused: Refused, mlp: str, tmp_path: Path
) -> None:
    path = _data(tmp_path, x=X, y=Y + 7)
    rule = "labels must be below the model's 10 classes, not 10; number the classes from 0"
    refused(rule, "simulate", mlp, "--target", "h100", "--data", path)


def test_an_archive_may_hold_arrays_alone(refused: Refused, mlp: str, tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    message = f"{path}: entry 'readme.txt' must be an array, not another file; drop it"
    refused(message, "run", mlp, "--input", path, "-o", tmp_path / "y.npz")


def test_own_data_needs_calibration(
    cli: Cli, refused: Refused, mlp: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    path = _data(tmp_path, x=rng.random((8, 64), np.float32), y=np.zeros(8, np.int64))
    words = ["simulate", mlp, "--target", "tpu-v1", "--data", path]
    refused(
        "tpu-v1 must have calibration data to quantise 'digits_mlp', not none; "
        "give --calib, --calib-fraction or --data digits",
        *words,
    )
    refused(
        "--calib-fraction must leave data on both sides of 8 invocations, not 0.01",
        *words,
        "--calib-fraction",
        0.01,
    )
    assert cli(*words, "--calib-fraction", 0.5).status == 0
    assert cli(*words, "--calib", path).status == 0
    nan = tmp_path / "c.npz"
    np.savez(nan, x=np.full((4, 64), np.nan))
    refused(
        f"{nan}: image must be finite, but sample 0 holds NaN or infinity; "
        "drop or mend that sample",
        *words,
        "--calib",
        nan,
    )
    refused(
        "--after quantize must have calibration data, not none; give --calib",
        *("ir", mlp, "--after", "quantize", "--data", path),
    )


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("  cols:", "  colums:", "{}:{}:3: array has no key 'colums'; did you mean 'cols'?"),
        (
            "clock: {value: 700 MHz",
            "clock: {value: 700",
            "{}:{}:1: clock needs a unit, not 700; write '700 MHz'",
        ),
    ],
)
def test_a_chips_typing_error_has_line_and_column(
    cli: Cli, refused: Refused, mlp: str, tmp_path: Path, old: str, new: str, rule: str
) -> None:
    path = tmp_path / "bad.yaml"
    text = cli("arch", "show", "tpu-v1").out
    path.write_text(text.replace(old, new), "utf-8")
    line = next(i for i, row in enumerate(text.splitlines(), 1) if row.startswith(old))
    refused(rule.format(path, line), "simulate", mlp, "--target", path)


def test_external_data_outside_the_folder_is_refused(
    refused: Refused, mlp: str, tmp_path: Path
) -> None:
    import onnx

    model = onnx.load(mlp)
    first = model.graph.initializer[0]
    first.ClearField("raw_data")
    first.data_location = onnx.TensorProto.EXTERNAL
    entry = first.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    path = tmp_path / "in" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    refused(
        f"{path}: initializer '{first.name}': external data must lie in the model's own "
        "folder, not at '../secret.bin'; move the file there",
        *("simulate", path, "--target", "h100", "--json", tmp_path / "o.json"),
    )
    assert {entry.name for entry in tmp_path.iterdir()} == {"secret.bin", "in"}


def test_a_symbolic_dimension_must_be_given(
    cli: Cli, refused: Refused, mlp: str, tmp_path: Path
) -> None:
    import onnx

    model = onnx.load(mlp)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    words = ["simulate", path, "--target", "h100", "--samples", 1]
    refused(
        f"{path}: input 'image' has the symbolic dimension 'height' at axis 2, which needs a "
        "value; pass --dim height=128, for instance",
        *words,
    )
    assert cli(*words, "--dim", "height=8").status == 0


def test_a_loop_that_does_not_end_is_refused(refused: Refused, tmp_path: Path) -> None:
    build = ModuleBuilder("endless")
    x = build.input("x", (1, 2))
    bodies = []
    for _ in range(2):
        body = build.body()
        state = body.input("state", (1, 2))
        bodies.append((body, state))
    (condition, _), (step, state) = bodies
    condition.output("go", condition.weight("true", np.array(True)))
    step.output("next", state)
    graphs = [condition.graph(), step.graph()]
    (y,) = build.ops("nn.while", [x], {"carried": 1, "most": 2**31}, "loop", graphs)
    build.output("y", y)
    path = tmp_path / "endless.mlir"
    save(build.finish(), path)
    rounds = (
        "nn.while must end within 65536 rounds, not go on; give the loop a limit of at most as "
        "many"
    )
    counted = (
        "ane: work must not depend on data to be counted, as that of nn.while 'loop' does; "
        "export the model with loops of a known length"
    )
    quantized = f"quantize: {rounds}"
    for target, message in (
        ("tpu-v1", quantized),
        ("isaac", quantized),
        ("loihi", rounds),
        ("ane", counted),
    ):
        refused(message, "simulate", path, "-t", target)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "rows: {value: 256",
            "rows: {value: 0",
            ":19:3: array.rows must be at least 1, not 0; give a larger one",
        ),
        (
            "cols: {value: 256",
            "cols: {value: -4",
            ":20:3: array.cols must be at least 1, not -4; give a larger one",
        ),
        (
            "rows: {value: 256",
            "rows: {value: many",
            ":19:3: array.rows must be a whole number without a unit, not 'many'; write digits "
            "alone, 64",
        ),
        (
            "24 MiB",
            "100 B",
            ":30:3: memories.unified_buffer must hold one row in and one row out, 768 bytes, "
            "not 100 bytes; enlarge it or shrink the array",
        ),
        (
            "700 MHz",
            "1e99999 GHz",
            ":27:1: clock must be at most 1e+30 Hz, not 1e99999 GHz; give a smaller one",
        ),
        (
            "name: tpu-v1",
            "name: " + "[" * 100_000,
            ":15:22: a chip must nest at most 16 deep, not deeper",
        ),
        (
            "name: tpu-v1",
            "name: &a [tpu-v1]\nx: [*a, *a]",
            ":15:7: a chip must do without anchors and aliases, not use 'a'; write the value "
            "out",
        ),
        (
            "name: tpu-v1",
            "name: tpu-v1\n" + "x: 1\n" * 5_000,
            ":2063:1: a chip must have at most 4096 keys and values, not more; remove what it "
            "does not need",
        ),
    ],
)
def test_a_chip_that_cannot_be_is_refused_in_a_sentence(
    refused: Refused, mlp: str, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = chips()["tpu-v1"].read_text("utf-8")
    assert text.count(old) == 1
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new), "utf-8")
    report = tmp_path / "r.json"
    refused(f"{path}{message}", "simulate", mlp, "--target", path, "--json", report)
    assert not report.exists()
